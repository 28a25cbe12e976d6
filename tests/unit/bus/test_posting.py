"""Commands whose replies are read later."""

from __future__ import annotations

import fakeredis
import redis

from common.bus.client import posting


def test_replies_come_in_order_and_an_error_is_one_of_them(client: fakeredis.FakeRedis) -> None:
    with posting(client) as post:
        post.send([("SET", "a", 1), ("LPUSH", "a", 2)])
        post.send([])
        post.send([("GET", "a")])
        written, wrong, read = post.replies()
    assert (written, read) == (b"OK", b"1")
    assert isinstance(wrong, redis.ResponseError)
    assert post.replies() == []


def test_replies_that_nobody_read_are_nobody_elses(client: fakeredis.FakeRedis) -> None:
    with posting(client) as post:
        post.send([("SET", "a", "not mine")])
    client.set("b", "mine")
    assert client.get("b") == b"mine"
