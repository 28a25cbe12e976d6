"""TradeStation's market data API v3: bytes → frames → typed updates."""
