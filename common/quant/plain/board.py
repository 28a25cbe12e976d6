"""The contracts of several expirations as columns.

Owns these definitions; must not choose expirations. Rows are contracts, expiration after
expiration, in the order of strike and right.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from common.models import QUOTE, FloatArray, Status, StatusArray, key_puts, key_strikes

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


def board(
    quotes: Bytes,
    of_shard: FloatArray,
    iv: FloatArray,
    sides: StatusArray,
    terms: FloatArray,
    out: FloatArray,
    places: Places,
    puts: npt.NDArray[np.bool_],
    statuses: StatusArray,
) -> bool:
    """Fill ``out`` (10, n) with K [$], T [years], D [1], F/S [1], sigma, F [$], S [$], r, open
    interest and volume [contracts, 0 where unknown], ``places`` (3, n) with shard, row of the
    other right of the strike (-1 where there is none) and the oldest time [us] that the row
    rests on, and ``puts``; turn the ``statuses`` of the solution into those of the instant.

    A row rests on its own quote and on that of the side that gave its IV. It is stale where
    that is older than the newest one by more than the age that is allowed, and expired once
    T <= 0.

    :param quotes: n rows of QUOTE. :param of_shard: first row, T, D and F/S of each; (4, m).
    :param iv: as solved; (n,). :param sides: letters; (n,).
    :param terms: S [$], r, a time [us] that may be newer than every quote's, the age [us].
    """
    rows, n = quotes.view(QUOTE), iv.size
    keys = np.ascontiguousarray(rows["key"])
    shards = np.repeat(np.arange(of_shard.shape[1]), np.diff(of_shard[0].astype(int), append=n))
    K, years = key_strikes(keys), of_shard[1, shards]
    puts[:] = key_puts(keys)
    places[0], places[1] = shards, _partners(keys, shards)
    times = np.ascontiguousarray(rows["time"])
    own = np.where(puts, ord("P"), ord("C"))
    leans = (places[1] >= 0) & (sides != 0) & (sides != own)
    places[2] = oldest = np.where(leans, np.minimum(times, times[places[1]]), times)
    alive = years > 0.0
    newest = max(int(oldest[alive].max(initial=0)), int(terms[2]))
    stale = (oldest < newest - int(terms[3])) & (statuses != Status.BAD_INPUT)
    statuses[stale] = Status.STALE
    statuses[~alive] = Status.EXPIRED
    out[0], out[1], out[2], out[3] = K, years, of_shard[2, shards], of_shard[3, shards]
    out[4] = np.where(statuses == Status.OK, iv, np.nan)
    out[5], out[6], out[7] = terms[0] * out[3], terms[0], terms[1]
    out[8], out[9] = np.maximum(rows["open_interest"], 0), np.maximum(rows["volume"], 0)
    return True


def _partners(keys: npt.NDArray[np.uint32], shard_of: npt.NDArray[np.intp]) -> Places:
    """The row of the other right of the same strike and shard, -1 where there is none."""
    calls = np.flatnonzero(
        (keys[:-1] & 1 == 0) & (keys[1:] == keys[:-1] + 1) & (shard_of[1:] == shard_of[:-1])
    )
    partners = np.full(keys.shape, -1, np.int64)
    partners[calls], partners[calls + 1] = calls + 1, calls
    return partners
