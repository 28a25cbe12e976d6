"""The embedded servers and the instance that owns them."""
