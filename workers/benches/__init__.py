"""The figures of `gex bench`, one module a suite."""
