"""What every worker shares: nouns, clock, settings, quantities, bus, storage and feeds."""
