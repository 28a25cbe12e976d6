"""One aggregation: the states of a symbol in, its published levels out.

Owns when a level is due and what is written of it; must not know who asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from common.bus.cache import Cache, ChainView, Tick
from common.clock import iso_ms, parse_instant, whole_ms
from common.levels import check_invariants
from common.live import differences
from common.models import JsonDict, Session
from common.publication import (
    flat_levels,
    is_whole,
    labels_of,
    levels_at,
    present_chain,
    state_of,
)
from common.settings import QuantParameters

log = logging.getLogger(__name__)


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
    recorded: bool = True,
) -> str:
    """Compute and publish the level of one instant.

    :param at: market time [us]; None means the present instant of a live session's grid.
    :param recorded: whether a level goes onto its stream; without memory it is published alone.
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
    return _compute(cache, session, policy, instant, wall_us, recorded=recorded)


def _compute(
    cache: Cache,
    session: Session,
    policy: TickPolicy,
    instant: int,
    wall_us: Callable[[], int],
    *,
    recorded: bool,
) -> str:
    """The level of an instant from the states as they are now, published."""
    symbol = session.symbol
    chain = present_chain(cache.chain(symbol, cache.shards(symbol)), session)
    live = None if session.replay else cache.committed(symbol)
    if not is_whole(session, chain):
        return "starting"
    levels = levels_at(session, chain, policy.parameters, instant)
    if levels is None:
        if session.replay:  # it waits for an answer, and there will be none for this instant
            cache.answer_tick(session, at=instant, final=session.ended)
        return "no data"
    breaches = check_invariants(levels)
    for breach in breaches:
        log.error("%s %s: invariant broken: %s", symbol, iso_ms(instant), breach)
    latest = {
        **levels.to_json(),
        **labels_of(session, chain, instant),
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
        profile={**levels.profile_json(beside=latest), **labels},
        recorded=recorded,
    )
    if published and live is not None:
        _reconcile(cache, session, chain, policy, live)
    return "published" if published else "superseded"


def _reconcile(
    cache: Cache, session: Session, chain: ChainView, policy: TickPolicy, live: JsonDict
) -> None:
    """Count whether the provisional level of the same states is what the record would say."""
    if live["watermark"] != dict(sorted(chain.watermark.items())):
        return
    again = levels_at(session, chain, policy.parameters, parse_instant(live["as_of"]))
    if again is None or live["session"] != session.key:
        return
    wrong = differences(live, again.to_json())
    if wrong:
        log.error("%s: live level of %s differs in %s", session.symbol, live["as_of"], wrong)
    name = "live_differed" if wrong else "live_agreed"
    cache.add_counts(session.symbol, {name: 1})


def _close(cache: Cache, session: Session, last: Tick, wall: int) -> str | None:
    """Say a live session's last level again, labelled; None when it is gone.

    It is not computed anew: quotes of the close itself have no time left to be priced with.
    """
    latest, profile = cache.latest(session.symbol), cache.profile(session.symbol)
    if last.epoch != session.epoch or latest is None or profile is None:
        return None
    labels = {"state": state_of(session, last.at, last.at), "published_at": iso_ms(wall)}
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


def _instant(session: Session, period_us: int, wall: int, last: Tick | None) -> int:
    """The grid instant a live session stands at.

    The last one is a period before the close: at the close itself the front expiration has
    settled. Once the session has ended, the last level is said again, labelled.
    """
    if session.ended and last is not None and last.epoch == session.epoch:
        return last.at
    now = session.clock.market(wall - wall % period_us)
    return whole_ms(min(now, session.close_us - round(period_us * session.clock.rate)))


def _is_news(last: Tick | None, session: Session, at: int) -> bool:
    if last is None or last.epoch < session.epoch:
        return True
    if last.epoch > session.epoch:
        return False
    return at > last.at or (at == last.at and session.ended and not last.final)
