"""Market data sources: each yields the same typed updates, whatever it reads."""
