"""The domain of the implied volatilities: what every implementation keeps to.

Owns the numbers that decide a status; must not compute anything.
"""

from __future__ import annotations

LOWEST_TOTAL = 1e-9
"""Least sigma sqrt(T) that is looked for; 1 % over one second is 1.8e-6."""
HIGHEST_TOTAL = 20.0
"""Largest; beyond it a double holds no time value below the bound."""
MAX_STEPS = 40
"""Steps of the general branch before it gives up; it takes three or four."""
NOISE = 4.440892098500626e-16
"""An in-the-money price's time value below this share of the price is rounding: no bits left."""
FARTHEST_D1 = 37.5
"""|d1| from which on a contract adds nothing to the curve: its density is below 1e-305."""
NOISE_WINDOW = 0.01
"""A sign change of the curve counts only if it is visible within this share of spot around ..."""
NOISE_SHARE = 1e-4
"""... that is, reaches this share of the curve's largest value."""
PEAK_STEPS = 4.0
"""A gamma peak with a deviation below this many grid steps gets a grid point of its own."""
ROOT_TOLERANCE = 1e-13
"""Roots are refined to this share of spot, far below a cent."""
ROOT_STEPS = 120
"""Turns of the search for one root; it takes about six."""
NEAR_SIGMAS = 0.5
"""Within this many standard deviations of the forward both sides of a strike have a say."""
LEAST_SPREAD = 1e-9
"""[$]: the weight of a quote is one over its spread squared."""
MAX_SPOT_GAP = 2e-4
"""A pair whose sides were quoted at spots further apart than this share gives no forward."""
OUTLIER = 3.0
"""Robust deviations from which on a pair's forward is an outlier's."""
NORMAL_MAD = 1.4826
"""Standard deviations in a median absolute deviation of a normal distribution."""
YEAR_US = 365.0 * 86400.0 * 1e6
"""Microseconds in the year of every T."""
SKEW_DELTA = 0.25
"""Size of the deltas whose volatilities a skew compares."""
TIE = 1e-12
"""Sizes within this share of each other are equal: the strike decides."""
