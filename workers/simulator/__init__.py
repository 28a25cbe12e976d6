"""The TradeStation stand-in: a real HTTP server over a market model or a recorded day."""
