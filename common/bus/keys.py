"""Every Redis name of the platform, with its writer, its readers and its bound.

Owns names only; must not talk to Redis. ``{symbol}`` is a plain root (SPY), ``{shard}`` an
expiry's label (2026-08-19, or 2026-08-21-AM).

===========================  =======  ==================  =====================  =====================
name                         type     written by          read by                bound
===========================  =======  ==================  =====================  =====================
quotes:{symbol}:{shard}      stream   ingest              groups greeks, store   trimmed when acknowledged
greeks:{symbol}              stream   greeks              group store            trimmed when acknowledged
levels:{symbol}              stream   tick task           group store            trimmed when acknowledged
dead:{group}                 stream   any actor           people                 kept until handled
chain:{symbol}:{shard}       string   greeks              tick task              one blob a shard
watermark:{symbol}           hash     greeks              ingest, tick task      one field a shard
lease:{symbol}:{shard}       hash     greeks              greeks                 one a shard
appended:{symbol}            hash     ingest              ingest                 one field a shard
session:{symbol}             string   ingest              everyone               one a symbol
shards:{symbol}              set      ingest              tick task, ingest      this session's shards
epoch:{symbol}               string   ingest              ingest                 one a symbol
counters:{symbol}            hash     ingest, actors      status, doctor         a few fields
tick:{symbol}                hash     tick task           tick task, ingest      one a symbol
gex:{symbol}:latest          string   tick task           everyone               three ticks while live
gex:{symbol}:levels          hash     tick task           everyone               three ticks while live
gex:{symbol}:profile         string   tick task           everyone               three ticks while live
gex:{symbol}                 pub/sub  tick task           everyone               –
gex:{symbol}:live            string,  greeks              everyone               three ticks
                             pub/sub
committed:{symbol}           string   greeks              tick task              three ticks
lock:levels:{symbol}         string   tick task           tick task              expires
lock:beat                    string   beat                beat                   expires
actors:{group}               zset     actors              actors, status         silent members leave
actor:{group}:{consumer}     hash     that actor          status, doctor         a minute of silence
spool:{consumer}             hash     store               store, status, doctor  one a store worker
registry:streams             set      ingest, greeks,     actors                 streams in use
                                      tick task
registry:symbols             set      ingest              status, doctor         one a symbol
===========================  =======  ==================  =====================  =====================
"""

from __future__ import annotations

GREEKS_GROUP = "greeks"
STORE_GROUP = "store"
STREAMS = "registry:streams"
SYMBOLS = "registry:symbols"
QUOTES_PREFIX = "quotes:"
GREEKS_PREFIX = "greeks:"
LEVELS_PREFIX = "levels:"
ACTOR_PREFIX = "actor:"
DEAD_PREFIX = "dead:"


def quotes(symbol: str, shard: str) -> str:
    """Stream of quote batches of one expiry."""
    return f"{QUOTES_PREFIX}{symbol}:{shard}"


def greeks(symbol: str) -> str:
    """Stream of implied volatilities and Greeks."""
    return f"{GREEKS_PREFIX}{symbol}"


def level_stream(symbol: str) -> str:
    """Stream of published levels."""
    return f"{LEVELS_PREFIX}{symbol}"


def dead(group: str) -> str:
    """Stream of the entries a group could not handle."""
    return f"{DEAD_PREFIX}{group}"


def chain(symbol: str, shard: str) -> str:
    """Latest state of one expiry."""
    return f"chain:{symbol}:{shard}"


def watermark(symbol: str) -> str:
    """Shard → id of the last quotes entry that is part of its state."""
    return f"watermark:{symbol}"


def lease(symbol: str, shard: str) -> str:
    """Who may write the state of a shard, until when, under which fencing epoch."""
    return f"lease:{symbol}:{shard}"


def appended(symbol: str) -> str:
    """Shard → 'epoch:batch:id' of the last batch appended, so that a retry changes nothing."""
    return f"appended:{symbol}"


def session(symbol: str) -> str:
    """The session being produced, as JSON."""
    return f"session:{symbol}"


def shards(symbol: str) -> str:
    """Shards of the present session."""
    return f"shards:{symbol}"


def epoch(symbol: str) -> str:
    """Number of the producer's latest run."""
    return f"epoch:{symbol}"


def counters(symbol: str) -> str:
    """What was appended, processed, stored, dropped, late or refused."""
    return f"counters:{symbol}"


def tick(symbol: str) -> str:
    """The last published instant: 'epoch', 'at', 'final'."""
    return f"tick:{symbol}"


def latest(symbol: str) -> str:
    """The whole result as JSON."""
    return f"gex:{symbol}:latest"


def levels(symbol: str) -> str:
    """The levels, a field each."""
    return f"gex:{symbol}:levels"


def profile(symbol: str) -> str:
    """Per-strike exposures and the re-priced curve as JSON."""
    return f"gex:{symbol}:profile"


def live(symbol: str) -> str:
    """The provisional level as JSON, and the channel that carries each."""
    return f"gex:{symbol}:live"


def committed(symbol: str) -> str:
    """The provisional level of the states that were committed last: others go ahead of them."""
    return f"committed:{symbol}"


def channel(symbol: str) -> str:
    """Pub/sub channel that carries the JSON of ``latest`` at each tick."""
    return f"gex:{symbol}"


def levels_lock(symbol: str) -> str:
    """Held while one aggregation of a symbol runs."""
    return f"lock:levels:{symbol}"


def beat_lock() -> str:
    """Name of the one beat."""
    return "lock:beat"


def actors(group: str) -> str:
    """Consumers of a group by the wall time of their last sign of life."""
    return f"actors:{group}"


def actor(group: str, consumer: str) -> str:
    """What one actor says of itself."""
    return f"{ACTOR_PREFIX}{group}:{consumer}"


def spool(consumer: str) -> str:
    """What a store worker has spooled, and how far it has been loaded."""
    return f"spool:{consumer}"


def stream_symbol(stream: str) -> str:
    """The symbol a stream belongs to: ``quotes:SPY:2026-08-19`` → ``SPY``."""
    return stream.split(":")[1]


def stream_shard(stream: str) -> str:
    """The shard of a quotes stream."""
    return stream.split(":", 2)[2]


def groups_of(stream: str) -> tuple[str, ...]:
    """The platform's own consumer groups, which every entry of a stream has to pass before it may
    be trimmed; others may have joined them."""
    if stream.startswith(QUOTES_PREFIX):
        return (GREEKS_GROUP, STORE_GROUP)
    return (STORE_GROUP,)
