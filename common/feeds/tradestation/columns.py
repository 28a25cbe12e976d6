"""The columns of data rows in memory: what a chunk of lines says, one row a line.

Owns their places alone. All are doubles, which hold every count and offset exactly.
"""

from __future__ import annotations

READ = 0
"""1 where the line was read; 0 where it is spelled in an unusual way, or is no data."""
AT, END = 1, 2
"""Where the line begins and where the next one does [bytes]."""
NAME_AT, NAME_SIZE = 3, 4
"""The contract's symbol in the line [bytes]."""
PRESENT = 5
"""Sum of 2^place of the values that the row has; once merged, the contract's number."""
VALUES = 6
"""The first of the values; in a chain they stand in the same order from 0."""
BID, ASK, LAST, BID_SIZE, ASK_SIZE, VOLUME, OPEN_INTEREST = range(VALUES, VALUES + 7)
WIDTH = VALUES + 7
LONGEST_NAME = 32
"""Longer symbols are left to Python [bytes]."""
SLOT = LONGEST_NAME + 8
"""Bytes of one place in the table of names: the symbol, zeros behind it; a number from 1."""
KEYS, KEY = 64, 64
"""Keys of rows that are remembered, and bytes of each."""
