"""Machine code that Python calls: made by numba once, kept in a file, run without numba."""
