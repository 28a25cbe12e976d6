"""Levels: what the whole chain of a symbol says at one spot and one instant.

Owns the sums over contracts and the result; a level is a pure function of the shards' states,
the spot and the instant. Must not read a clock or a setting, choose quotes (that is
:mod:`common.chain`) or define a formula (:mod:`common.quant`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec
import numpy as np

from common import level_parts as parts
from common import levels_json
from common.board import Board, GreeksSource, ShardState, build_board
from common.clock import new_york_date
from common.hedging import Hedging, hedging
from common.invariants import check_invariants
from common.level_parts import ExpirationLevels, Flip, Ranking, StrikeTable, Totals
from common.models import JsonDict
from common.quality import Quality, measure
from common.quant import exposure
from common.quant.exposure import Walls
from common.readings import Readings, readings
from common.settings import QuantParameters
from common.tally import tally

__all__ = ["GreeksSource", "Levels", "ShardState", "check_invariants", "evaluate"]
NAN = float("nan")


class Levels(msgspec.Struct, frozen=True):
    """The result; NaN where there is no number, never zero in its place."""

    symbol: str
    as_of: int
    spot: float
    sign: str
    rate: float
    """r [per year]"""
    source: GreeksSource
    totals: Totals
    flip: Flip
    walls: Walls
    walls_at: str
    """What price the walls are ranked at: ``spot`` or ``prior_close``."""
    prior_close: float
    """The last close before the session [$]."""
    ranking: Ranking
    """The exposures that the walls are the largest of."""
    expected_move: float
    strikes: StrikeTable
    expirations: tuple[ExpirationLevels, ...]
    """By settlement; the first is the front expiration."""
    readings: Readings
    hedging: Hedging
    quality: Quality
    board: Board

    @property
    def net_gex(self) -> float:
        """[$ of delta per 1 % move]"""
        return self.totals.net_gex

    @property
    def zero_gamma(self) -> float:
        """The zero-gamma spot nearest the spot [$]."""
        return self.flip.nearest

    @property
    def cex_per_minute(self) -> float:
        """[$ of delta per minute]"""
        return self.totals.cex / 1440.0

    @property
    def atm_iv(self) -> float:
        """At-the-money IV of the front expiration."""
        return self.expirations[0].atm_iv if self.expirations else NAN

    @property
    def max_pain(self) -> dict[str, float]:
        """Expiration → strike [$], NaN without open interest.

        Where a date has both settlement styles, the AM one is keyed ``2026-08-21-AM``.
        """
        pm = {row.expiration for row in self.expirations if row.settlement == "PM"}
        return {
            row.shard if row.expiration in pm else row.expiration.isoformat(): row.max_pain
            for row in self.expirations
        }

    @property
    def regime(self) -> str:
        """``positive`` | ``negative`` | ``flip`` | ``unknown``."""
        return exposure.regime(net_gex=self.net_gex, zero_gamma=self.zero_gamma, spot=self.spot)

    def to_json(self, *, contracts: bool = False) -> JsonDict:
        """The JSON of ``latest`` and of ``gex compute``; plain types, null for NaN."""
        return levels_json.public(self, contracts=contracts)

    def profile_json(self, *, beside: JsonDict | None = None) -> JsonDict:
        """Per-strike exposures and the re-priced curve; plain types, null for NaN.

        :param beside: this result's ``to_json``, if it is at hand: its strikes are taken.
        """
        return levels_json.profile(self, strikes=beside["strikes"] if beside else None)


def evaluate(
    *,
    symbol: str,
    shards: Sequence[ShardState],
    spot: float,
    as_of: int,
    parameters: QuantParameters,
    spot_time: int | None = None,
    prior_close: float = NAN,
    oi_date: date | None = None,
    source: GreeksSource = "own",
    unnamed: int = 0,
    conflated: bool = False,
) -> Levels:
    """Re-price every contract at ``spot`` and ``as_of`` and sum up.

    :param spot: S [$]; not finite or not positive: every level is NaN.
    :param as_of: market time [us]; expiries settled by then leave every sum.
    :param spot_time: time of the spot [us]; quotes much older than it are stale.
    :param prior_close: of the underlying [$]; walls that are to be ranked at it are NaN without.
    :param oi_date: the session's date; by default the New York date of ``as_of``.
    :param source: ``vendor``: the source's own Greeks, our filters off.
    :param unnamed: rows that named no contract; they count as ``bad_input``.
    :param conflated: whether quotes are being left out for want of memory.
    """
    spot = spot if np.isfinite(spot) and spot > 0.0 else NAN
    board = build_board(
        shards=shards,
        spot=spot,
        as_of=as_of,
        newest=spot_time,
        parameters=parameters,
        source=source,
    )
    today = new_york_date(as_of)
    counted = tally(board, spot, today)
    by_strike = parts.by_strike(board, counted, spot, today)
    table = by_strike.table
    flip = parts.flip(board, spot, parameters)
    ranking = Ranking(spot, table.strikes, table.call_gex, table.put_gex)
    if parameters.walls_at == "prior_close":
        ranking = parts.ranking_at(board, prior_close, parameters.rate)
    return Levels(
        symbol=symbol,
        as_of=as_of,
        spot=spot,
        sign=parameters.sign,
        rate=parameters.rate,
        source=source,
        totals=parts.totals(counted),
        flip=flip,
        walls=exposure.walls(
            strikes=ranking.strikes,
            call_gex=ranking.call_gex,
            put_gex=ranking.put_gex,
            spot=ranking.price,
        ),
        walls_at=parameters.walls_at,
        prior_close=prior_close,
        ranking=ranking,
        expected_move=parts.front_expected_move(by_strike, parameters.rate),
        strikes=table,
        expirations=by_strike.expirations,
        readings=readings(counted, table.strikes, table.net_gex, by_strike.skews),
        hedging=hedging(board, flip, spot, parameters.rate),
        quality=measure(
            board=board,
            tally=counted,
            spot=spot,
            parameters=parameters,
            oi_date=oi_date or today,
            unnamed=unnamed,
            conflated=conflated,
        ),
        board=board,
    )
