"""The processes of the platform and the command that composes them."""
