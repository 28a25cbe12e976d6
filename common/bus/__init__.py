"""Redis: every name, the byte layouts, the streams and the cache."""
