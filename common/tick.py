"""One aggregation: the states of a symbol in, its published levels out.

Owns the labels of freshness and provenance that go with a level; must not know who asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from common.bus.cache import Cache, ChainView, Tick
from common.bus.streams import id_order
from common.clock import SECOND, iso_ms
from common.levels import check_invariants, evaluate
from common.levels_json import front_max_pain
from common.models import JsonDict, Session
from common.settings import QuantParameters
from common.state import newest_spot, newest_time, view

log = logging.getLogger(__name__)
_LEVEL_FIELDS = (
    "net_gex",
    "net_gex_0dte",
    "zero_gamma",
    "call_wall",
    "put_wall",
    "expected_move",
    "regime",
    "dex",
    "vex",
    "cex",
    "net_volume_gex",
    "atm_iv",
)


@dataclass(frozen=True, slots=True)
class TickPolicy:
    """The grid of the levels and what they are computed with."""

    parameters: QuantParameters
    period_us: int
    """Wall-clock grid of a live session's levels [us]; live keys expire after three."""
    software: str


def publish_tick(
    cache: Cache,
    symbol: str,
    policy: TickPolicy,
    *,
    wall_us: Callable[[], int],
    at: int | None = None,
) -> str:
    """Compute and publish the level of one instant.

    :param at: market time [us]; None means the present instant of a live session's grid.
    :returns: what was done: ``published``, or why nothing was (``no session``, ``replay``,
        ``nothing new``, ``starting``, ``no data``, ``superseded``).
    """
    session = cache.session(symbol)
    if session is None:
        return "no session"
    if session.replay and at is None:
        return "replay"
    last = cache.tick(symbol)
    instant = _instant(session, policy.period_us, wall_us(), last) if at is None else at
    if not _is_news(last, session, instant):
        return "nothing new"
    if session.ended and not session.replay and last is not None:
        closed = _close(cache, session, last, wall_us())
        if closed:
            return closed
    return _compute(cache, session, policy, instant, wall_us)


def _compute(
    cache: Cache, session: Session, policy: TickPolicy, instant: int, wall_us: Callable[[], int]
) -> str:
    """The level of an instant from the states as they are now, published."""
    symbol = session.symbol
    chain = _present_chain(cache.chain(symbol, cache.shards(symbol)), session)
    if not _is_whole(session, chain):
        return "starting"
    spot = newest_spot(list(chain.states.values()))
    if spot is None:
        if session.replay:  # it waits for an answer, and there will be none for this instant
            cache.answer_tick(session, at=instant, final=session.ended)
        return "no data"
    levels = evaluate(
        symbol=symbol,
        shards=[view(state, shard) for shard, state in sorted(chain.states.items())],
        spot=spot.spot,
        as_of=instant,
        parameters=policy.parameters,
        spot_time=spot.spot_time,
        oi_date=session.trading_date,
    )
    breaches = check_invariants(levels)
    for breach in breaches:
        log.error("%s %s: invariant broken: %s", symbol, iso_ms(instant), breach)
    latest = {
        **levels.to_json(),
        **_labels(session, chain, instant),
        "published_at": iso_ms(wall_us()),
        "software": policy.software,
        "parameters": policy.parameters.model_dump(),
        "invariants": breaches,
    }
    labels = {name: latest[name] for name in ("state", "session")}
    published = cache.publish_levels(
        session=session,
        at=instant,
        final=session.ended,
        ttl_ms=0 if session.replay or session.ended else 3 * policy.period_us // 1000,
        latest=latest,
        levels=flat_levels(latest),
        profile={**levels.profile_json(), **labels},
    )
    return "published" if published else "superseded"


def _close(cache: Cache, session: Session, last: Tick, wall: int) -> str | None:
    """Say a live session's last level again, labelled; None when it is gone.

    It is not computed anew: quotes of the close itself have no time left to be priced with.
    """
    latest, profile = cache.latest(session.symbol), cache.profile(session.symbol)
    if last.epoch != session.epoch or latest is None or profile is None:
        return None
    labels = {"state": _state(session, last.at, last.at), "published_at": iso_ms(wall)}
    latest.update(labels)
    profile["state"] = labels["state"]
    published = cache.publish_levels(
        session=session,
        at=last.at,
        final=True,
        ttl_ms=0,
        latest=latest,
        levels=flat_levels(latest),
        profile=profile,
    )
    return "published" if published else "superseded"


def flat_levels(latest: JsonDict) -> dict[str, str]:
    """The fields of the levels hash: one text each, empty for null."""
    levels, quality = latest["levels"], latest["quality"]
    fields = {
        "state": latest["state"],
        "spot": latest["spot"],
        **{name: levels[name] for name in _LEVEL_FIELDS},
        "max_pain": front_max_pain(latest),
        "as_of": latest["as_of"],
        "published_at": latest["published_at"],
        "newest_quote_at": latest["newest_quote_at"],
        "oldest_quote_at": quality["oldest_quote_at"],
        "coverage_oi": quality["coverage_oi"],
        "coverage_gamma": quality["coverage_gamma"],
        "oi_date": quality["oi_date"],
        "sign": latest["sign"],
        "symbol": latest["symbol"],
        "feed": latest["feed"],
        "session": latest["session"],
        "schema": latest["schema"],
    }
    return {name: "" if value is None else str(value) for name, value in fields.items()}


def _instant(session: Session, period_us: int, wall: int, last: Tick | None) -> int:
    """The grid instant a live session stands at.

    The last one is a period before the close: at the close itself the front expiration has
    settled. Once the session has ended, the last level is said again, labelled.
    """
    if session.ended and last is not None and last.epoch == session.epoch:
        return last.at
    now = session.clock.market(wall - wall % period_us)
    return min(now, session.close_us - round(period_us * session.clock.rate))


def _is_whole(session: Session, chain: ChainView) -> bool:
    """Whether the states include the first whole chain of this run of the session."""
    if session.replay:
        return True  # the replayer's barrier sees to it
    return session.first_pass is not None and all(
        id_order(chain.watermark.get(shard, "0-0")) >= id_order(entry_id)
        for shard, entry_id in session.first_pass.items()
    )


def _is_news(last: Tick | None, session: Session, at: int) -> bool:
    if last is None or last.epoch < session.epoch:
        return True
    if last.epoch > session.epoch:
        return False
    return at > last.at or (at == last.at and session.ended and not last.final)


def _present_chain(chain: ChainView, session: Session) -> ChainView:
    """Only states of the present session: a shard may still hold an earlier one's."""
    states = {
        shard: state
        for shard, state in chain.states.items()
        if state.session == session.key and (session.resume or state.epoch == session.epoch)
    }
    return ChainView(states, {k: v for k, v in chain.watermark.items() if k in states})


def _state(session: Session, at: int, newest: int) -> str:
    if session.ended:
        return "ended" if session.replay else "closed"
    return "stale" if at - newest > session.stale_after_us else "live"


def _labels(session: Session, chain: ChainView, at: int) -> JsonDict:
    """How fresh a level is and what it was made of."""
    newest = newest_time(list(chain.states.values()))
    return {
        "state": _state(session, at, newest),
        "feed": session.feed,
        "session": session.key,
        "newest_quote_at": iso_ms(newest),
        "data_age_seconds": (at - newest) / SECOND,
        "watermark": dict(sorted(chain.watermark.items())),
    }
