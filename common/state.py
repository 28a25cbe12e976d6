"""The state of a shard: how quote batches change it, and what a level reads from it.

Owns the newer-wins merge; must not do I/O. The state is the newest quote of every contract
plus what :func:`common.chain.solve` makes of them, so it depends on which quotes were merged
and never on how they were cut into batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from common.bus.codec import Batch, StateBlob
from common.chain import solution_of, solve_rows
from common.levels import ShardState
from common.models import QUOTE, SPOT, BoolArray, Expiry, Rows, join_rows
from common.quant import kernels
from common.settings import QuantParameters

_DENSE = 1 << 22
"""Keys that lie within this of each other are told apart by a table, others by sorting."""


class Advance(msgspec.Struct, frozen=True):
    """A state after some batches, and what to tell of it."""

    state: StateBlob
    touched: BoolArray
    """Which of the state's contracts these batches quoted; (n,)."""
    quotes: int
    """Quotes taken off the stream, late ones included."""
    late: int
    """Quotes that were older than what the state held, or of an earlier run; they changed
    nothing."""

    @property
    def results(self) -> Rows:
        """Layout GREEKS: the contracts these batches touched."""
        rows: Rows = self.state.greek_rows()[self.touched]
        return rows

    def after(self, earlier: Advance) -> Advance | None:
        """Both as one, where this one goes on from where ``earlier`` ended; None where it has
        brought contracts.
        """
        if earlier.touched.size != self.touched.size:
            return None
        touched = earlier.touched | self.touched
        return Advance(self.state, touched, earlier.quotes + self.quotes, earlier.late + self.late)


def advance(
    state: StateBlob,
    shard: str,
    batches: Sequence[tuple[str, Batch]],
    parameters: QuantParameters,
    *,
    solved: bool = False,
) -> Advance:
    """The state after ``batches``, a list of (entry id, batch) in stream order.

    Entries at or below ``state.last_id`` must have been left out by the caller.

    :param solved: whether the state has been made with these parameters, so that it need not
        be solved again where no quote has come.
    """
    taken = late = 0
    session, epoch = state.session, state.epoch
    held = quotes = state.quote_rows()
    known = state
    spots: list[Rows] = []
    vix, vix_time = state.vix, state.vix_time
    incoming: list[Rows] = []
    for _, batch in batches:
        header = batch.header
        taken += header.quotes
        if header.epoch < epoch:
            late += header.quotes
            continue
        if header.epoch > epoch and (header.reset or header.session != session):
            quotes, incoming, known, spots = quotes[:0], [], StateBlob(), []
            vix, vix_time = 0.0, 0
        if header.vix_time:  # a run that has not seen it yet leaves what is known
            vix, vix_time = header.vix, header.vix_time
        session, epoch = header.session, header.epoch
        incoming.append(batch.quotes)
        if len(batch.spots):
            spots.append(batch.spots)
    one = len(incoming) == 1
    merge = merged(quotes, np.ascontiguousarray(incoming[0]) if one else join_rows(incoming, QUOTE))
    late += merge.late
    newest = (known.spot_time, known.spot_seq, known.spot, known.prior_close)
    spot = np.array([newest], dtype=SPOT)
    if spots:
        spot = join_rows([spot, *spots], SPOT)
        newest = spot[spot["seq"].argmax()].item()
    quotes = priced(merge.rows, spot)
    moved = msgspec.structs.replace(
        state,
        session=session,
        epoch=epoch,
        last_id=batches[-1][0] if batches else state.last_id,
        spot_time=newest[0],
        spot_seq=newest[1],
        spot=newest[2],
        prior_close=newest[3],
        vix=vix,
        vix_time=vix_time,
    )
    if solved and quotes is held and len(held):
        return Advance(moved, merge.touched, taken, late)
    greeks, solution = solve_rows(
        quotes=quotes, expiry=Expiry.from_shard(shard), parameters=parameters
    )
    advanced = msgspec.structs.replace(
        moved,
        basis=solution.basis,
        forward_source=solution.forward_source,
        forward_residual=solution.forward_residual,
        parity_pairs=solution.parity_pairs,
        quotes=quotes.tobytes(),
        greeks=greeks.tobytes(),
    )
    return Advance(advanced, merge.touched, taken, late)


def view(state: StateBlob, shard: str) -> ShardState:
    """What a level reads from a state."""
    solution = solution_of(
        state.greek_rows(),
        state.basis,
        state.forward_source,
        state.forward_residual,
        state.parity_pairs,
    )
    return ShardState(Expiry.from_shard(shard), state.quote_rows(), solution)


def newest_spot(states: Sequence[StateBlob]) -> StateBlob | None:
    """The state that holds the newest price of the underlying, or None when none does."""
    priced = [state for state in states if state.spot_seq >= 0]
    return max(priced, key=lambda state: (state.epoch, state.spot_seq), default=None)


def newest_time(states: Sequence[StateBlob]) -> int:
    """Market time of the newest quote or price in any state [us]; 0 when there is none."""
    times = [0]
    for state in states:
        times.append(state.spot_time)
        quotes = state.quote_rows()
        if len(quotes):
            times.append(int(quotes["time"].max()))
    return max(times)


class Merge(msgspec.Struct, frozen=True):
    """Quotes of a state with new ones merged into them."""

    rows: Rows
    """The row of highest ``seq`` of every key, sorted by key; (n,). Of equal ones the last."""
    touched: BoolArray
    """Whose contract is among the new ones; (n,)."""
    late: int
    """New rows that were no newer than the held one of their key."""


def merged(held: Rows, new: Rows) -> Merge:
    """Newer wins.

    :param held: layout QUOTE, sorted by key, a row a contract. :param new: alike, in any order.
    """
    if not len(new):
        return Merge(held, np.zeros(len(held), np.bool_), 0)
    rows, touched, late = join_rows([held], QUOTE), np.zeros(len(held), np.bool_), np.empty(1)
    there, come, out = (each.view(np.uint8) for each in (held, new, rows))
    if kernels.active().merge(there, come, out, touched, late):
        return Merge(rows, touched, int(late[0]))
    rows = _merged(held, new)  # a contract that is new, or no compiler
    touched = np.zeros(len(rows), np.bool_)
    touched[np.searchsorted(rows["key"], new["key"])] = True
    return Merge(rows, touched, int(_older(new, held).sum()))


def _merged(held: Rows, new: Rows) -> Rows:
    if np.any(new["seq"][1:] < new["seq"][:-1]):
        new = new[np.argsort(new["seq"], kind="stable")]
    new = new[_last_of_each(np.ascontiguousarray(new["key"]))]
    rows = join_rows([held, new], QUOTE)
    rows = rows[np.lexsort((rows["seq"], rows["key"]))]
    last: Rows = rows[np.append(rows["key"][1:] != rows["key"][:-1], True)[: len(rows)]]
    return last


def _last_of_each(keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.intp]:
    """Where each key stands last; ascending. Thousands of rows are a few hundred contracts."""
    low = keys.min()
    if int(keys.max() - low) >= _DENSE:
        _, last = np.unique(keys[::-1], return_index=True)
        return np.sort(len(keys) - 1 - last)
    offsets, rows = keys - low, np.arange(len(keys))
    places = np.empty(int(offsets.max()) + 1, np.intp)
    places[offsets] = rows  # of equal offsets the last is written
    return np.flatnonzero(places[offsets] == rows)


def priced(quotes: Rows, spots: Rows) -> Rows:
    """Quotes that came before the first price of their run, with that price once it is there.

    It is the first price behind each of them, however the two were cut into batches.
    """
    unpriced = np.isnan(quotes["spot"]).nonzero()[0]
    if not unpriced.size:
        return quotes
    spots = spots[spots["seq"] >= 0]
    if not len(spots):
        return quotes
    spots = spots[np.argsort(spots["seq"])]
    following = np.searchsorted(spots["seq"], quotes["seq"][unpriced])
    found = following < len(spots)
    known = quotes.copy()  # what was held is not changed
    known["spot"][unpriced[found]] = spots["price"][following[found]]
    return known


def _older(new: Rows, held: Rows) -> BoolArray:
    """Which new rows are no newer than the held row of their key."""
    if not len(held) or not len(new):
        return np.zeros(len(new), np.bool_)
    held_keys, keys = np.ascontiguousarray(held["key"]), np.ascontiguousarray(new["key"])
    at = np.minimum(np.searchsorted(held_keys, keys), len(held) - 1)
    older: BoolArray = (held_keys[at] == keys) & (new["seq"] <= held["seq"][at])
    return older
