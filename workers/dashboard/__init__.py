"""The page: the published levels and the day's history in a browser.

It reads the cache and the history, writes nothing and computes nothing.
"""
