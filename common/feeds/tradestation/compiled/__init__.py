"""What reads and merges data rows in their usual spelling, compiled by numba when this is
imported: see :mod:`common.machine.code` for what becomes of it.
"""

from common.feeds.tradestation.compiled.merging import learn_name, merge_rows
from common.feeds.tradestation.compiled.reading import read_rows

KERNELS = {"learn_name": learn_name, "merge_rows": merge_rows, "read_rows": read_rows}
"""Name: compiled entry."""
