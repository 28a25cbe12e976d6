"""A level as it is published: computed from the states of its shards, labelled, flattened.

Owns the labels of freshness and provenance that go with a level; must not read or write
anything, nor decide when there is a level.
"""

from __future__ import annotations

from common.bus.cache import ChainView
from common.bus.entries import id_order
from common.clock import SECOND, iso_ms
from common.levels import Levels, evaluate
from common.levels_json import front_max_pain
from common.models import JsonDict, Session
from common.settings import QuantParameters
from common.state import newest_spot, newest_time, view

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


def levels_at(
    session: Session, chain: ChainView, parameters: QuantParameters, at: int
) -> Levels | None:
    """The level of an instant [us, market time] from states as they are; None without a price."""
    spot = newest_spot(list(chain.states.values()))
    if spot is None:
        return None
    return evaluate(
        symbol=session.symbol,
        shards=[view(state, shard) for shard, state in sorted(chain.states.items())],
        spot=spot.spot,
        as_of=at,
        parameters=parameters,
        spot_time=spot.spot_time,
        prior_close=spot.prior_close,
        oi_date=session.trading_date,
        conflated=session.conflated,
    )


def is_whole(session: Session, chain: ChainView) -> bool:
    """Whether the states include the first whole chain of this run of the session."""
    if session.replay:
        return True  # the replayer's barrier sees to it
    return session.first_pass is not None and all(
        id_order(chain.watermark.get(shard, "0-0")) >= id_order(entry_id)
        for shard, entry_id in session.first_pass.items()
    )


def present_chain(chain: ChainView, session: Session) -> ChainView:
    """Only states of the present session: a shard may still hold an earlier one's."""
    states = {
        shard: state
        for shard, state in chain.states.items()
        if state.session == session.key and (session.resume or state.epoch == session.epoch)
    }
    return ChainView(states, {k: v for k, v in chain.watermark.items() if k in states})


def state_of(session: Session, at: int, newest: int) -> str:
    """``live``, ``stale``, ``closed`` or ``ended``, by the newest quote [us, market time]."""
    if session.ended:
        return "ended" if session.replay else "closed"
    return "stale" if at - newest > session.stale_after_us else "live"


def labels_of(session: Session, chain: ChainView, at: int) -> JsonDict:
    """How fresh a level is and what it was made of."""
    newest = newest_time(list(chain.states.values()))
    return {
        "state": state_of(session, at, newest),
        "feed": session.feed,
        "session": session.key,
        "newest_quote_at": iso_ms(newest),
        "data_age_seconds": (at - newest) / SECOND,
        "watermark": dict(sorted(chain.watermark.items())),
        **_vix(chain),
    }


def _vix(chain: ChainView) -> JsonDict:
    """The newest VIX in any state and when it was quoted, null while none was.

    It is told beside the level, which does not depend on it.
    """
    known = [state for state in chain.states.values() if state.vix_time]
    if not known:
        return {"vix": None, "vix_at": None}
    newest = max(known, key=lambda state: (state.epoch, state.vix_time))
    return {"vix": newest.vix, "vix_at": iso_ms(newest.vix_time)}


def flat_levels(latest: JsonDict) -> dict[str, str]:
    """The fields of the levels hash: one text each, empty for null."""
    levels, quality = latest["levels"], latest["quality"]
    fields = {
        "state": latest["state"],
        "spot": latest["spot"],
        "vix": latest["vix"],
        "vix_at": latest["vix_at"],
        **{name: levels[name] for name in _LEVEL_FIELDS},
        "max_pain": front_max_pain(latest),
        "as_of": latest["as_of"],
        "published_at": latest["published_at"],
        "newest_quote_at": latest["newest_quote_at"],
        "oldest_quote_at": quality["oldest_quote_at"],
        "coverage_oi": quality["coverage_oi"],
        "coverage_gamma": quality["coverage_gamma"],
        "conflated": str(quality["conflated"]).lower(),
        "oi_date": quality["oi_date"],
        "sign": latest["sign"],
        "symbol": latest["symbol"],
        "feed": latest["feed"],
        "session": latest["session"],
        "schema": latest["schema"],
    }
    return {name: "" if value is None else str(value) for name, value in fields.items()}
