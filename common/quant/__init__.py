"""Pure arrays in, arrays out: prices, implied volatilities, forwards, exposures."""
