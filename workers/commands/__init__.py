"""The subcommands of gex, one module a verb."""
