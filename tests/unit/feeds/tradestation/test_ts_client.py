"""Requests, tokens and refusals: what is tried again, what is not, and what is never said."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from broker import SECRETS, URL, Broker, Chunks

from common.errors import CredentialsError, FeedError, UsageError
from common.feeds.backoff import Backoff
from common.feeds.tradestation.client import UnavailableError
from common.feeds.tradestation.simulated import CLOCK_HEADER, Announcement
from common.feeds.tradestation.tokens import TokenFile, Tokens
from common.models import MarketClock

PATH = "/marketdata/options/spreadtypes"


@pytest.fixture
def broker(tmp_path: Path) -> Broker:
    return Broker(tmp_path)


def ok(text: str = "{}", **headers: str) -> httpx.Response:
    return httpx.Response(200, text=text, headers=headers)


def get(broker: Broker, path: str = PATH) -> bytes:
    return asyncio.run(broker.client.get(path))


async def read(broker: Broker, path: str = "/stream") -> list[bytes]:
    return [chunk async for chunk in broker.client.stream(path)]


# --- tokens ----------------------------------------------------------------------------------


def test_a_token_is_fetched_once_and_kept_until_it_is_about_to_expire(broker: Broker) -> None:
    broker.on(f"/v3{PATH}", ok())
    for _ in range(3):
        get(broker)
    assert broker.granted == 1
    broker.wall += 1200 - 59
    get(broker)
    assert broker.granted == 2
    assert broker.requests[-1].headers["Authorization"] == "Bearer access-2"


def test_many_at_once_renew_once(broker: Broker) -> None:
    async def many() -> set[str]:
        return set(await asyncio.gather(*(broker.tokens.access() for _ in range(20))))

    assert asyncio.run(many()) == {"access-1"}
    assert broker.granted == 1


def test_a_rejected_token_is_renewed_once_for_all_who_had_it(broker: Broker) -> None:
    async def many() -> set[str]:
        had = await broker.tokens.access()
        return set(await asyncio.gather(*(broker.tokens.after(had) for _ in range(20))))

    assert asyncio.run(many()) == {"access-2"}
    assert broker.granted == 2


def test_another_process_token_is_taken_over(broker: Broker) -> None:
    broker.file.save(Tokens(access="theirs", expires_at=broker.wall + 600, refresh="refresh-9"))
    assert asyncio.run(broker.tokens.access()) == "theirs"
    assert broker.granted == 0


def test_a_rotated_refresh_token_is_stored_and_used(broker: Broker) -> None:
    broker.on("/oauth/token", lambda: broker.grant(refresh_token="refresh-2"))
    asyncio.run(broker.tokens.access())
    stored = broker.file.load()
    assert stored is not None
    assert stored.refresh == "refresh-2"
    broker.wall += 1200
    asyncio.run(broker.tokens.access())
    assert b"refresh_token=refresh-2" in broker.requests[-1].content


@pytest.mark.parametrize("times", [1, 3])
def test_a_renewal_is_whole_although_nobody_waits_for_it(broker: Broker, times: int) -> None:
    """The host has rotated the refresh token by then: a reply that is dropped is a lost login."""

    async def cancel_in_the_midst() -> None:
        asked, answer = asyncio.Event(), asyncio.Event()

        class Late(httpx.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                asked.set()
                await answer.wait()
                yield b'{"access_token":"access-7","expires_in":1200,"refresh_token":"refresh-2"}'

        broker.on("/oauth/token", httpx.Response(200, stream=Late()))
        waiting = asyncio.create_task(broker.tokens.access())
        await asked.wait()
        for _ in range(times):
            waiting.cancel()
            await asyncio.sleep(0)
        answer.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(cancel_in_the_midst())
    stored = broker.file.load()
    assert stored is not None
    assert (stored.access, stored.refresh) == ("access-7", "refresh-2")


def test_a_renewal_that_fails_although_nobody_waits_for_it(broker: Broker) -> None:
    async def cancel_in_the_midst() -> None:
        asked, answer = asyncio.Event(), asyncio.Event()

        class Broken(httpx.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                asked.set()
                await answer.wait()
                raise httpx.ReadError("cut")
                yield b""

        broker.on("/oauth/token", httpx.Response(200, stream=Broken()))
        waiting = asyncio.create_task(broker.tokens.access())
        await asked.wait()
        waiting.cancel()
        await asyncio.sleep(0)
        answer.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(cancel_in_the_midst())
    assert broker.file.load() is None


def test_without_rotation_the_refresh_token_stays(broker: Broker) -> None:
    asyncio.run(broker.tokens.access())
    stored = broker.file.load()
    assert stored is not None
    assert stored.refresh == "refresh-1"


def test_a_new_login_replaces_one_that_is_refused(broker: Broker) -> None:
    broker.file.save(Tokens(refresh="revoked"))
    refused = httpx.Response(403, json={"error": "invalid_grant"})
    broker.on("/oauth/token", refused, broker.grant)
    assert asyncio.run(broker.tokens.access()) == "access-1"
    assert b"refresh_token=refresh-1" in broker.requests[-1].content


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_login_stops_and_says_what_to_do(broker: Broker, status: int) -> None:
    body = {"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."}
    broker.on("/oauth/token", httpx.Response(status, json=body))
    with pytest.raises(CredentialsError, match=f"{status} invalid_grant.*log in again"):
        get(broker)
    assert len(broker.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        httpx.ConnectError("no"),
        httpx.Response(503),
        httpx.Response(200, text="<html>"),
        httpx.Response(403, text="Stream quota exceeded"),
        httpx.Response(403, json={"Error": "Forbidden", "Message": "Quota exceeded"}),
        httpx.Response(401, json={"Error": "Unauthorized"}),
        httpx.Response(403, text="<html>blocked</html>"),
        httpx.Response(400, json={"error": "temporarily_unavailable"}),
    ],
)
def test_a_sign_in_host_in_trouble_is_an_outage(
    broker: Broker, reply: httpx.Response | Exception
) -> None:
    broker.file.save(Tokens(refresh="rotated"))
    broker.on("/oauth/token", reply)
    with pytest.raises(FeedError, match="sign-in host"):
        get(broker)
    assert len(broker.requests) == 1  # the first login is not tried: this one was not refused


def test_the_token_file_is_the_owners_alone_and_replaced_whole(broker: Broker) -> None:
    asyncio.run(broker.tokens.access())
    assert stat.S_IMODE(broker.file.path.stat().st_mode) == 0o600
    assert {path.name for path in broker.file.path.parent.iterdir()} == {
        "tokens.json",
        "tokens.lock",
    }


def test_a_damaged_token_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text("{")
    with pytest.raises(CredentialsError, match=r"tokens\.json is not readable"):
        TokenFile(tmp_path / "tokens.json").load()


def test_no_secret_is_ever_said(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    broker.on(f"/v3{PATH}", httpx.Response(401), httpx.Response(401))
    broker.on("/oauth/token", lambda: broker.grant(refresh_token="refresh-2"))
    with pytest.raises(CredentialsError) as caught:
        get(broker)
    said = caplog.text + repr(broker.file.load()) + repr(caught.value)
    assert "renewed" in said
    assert not [secret for secret in SECRETS if secret in said]


# --- requests --------------------------------------------------------------------------------


def test_an_expired_token_costs_one_renewal(broker: Broker) -> None:
    broker.on(f"/v3{PATH}", httpx.Response(401), ok("fine"))
    assert get(broker) == b"fine"
    used = [request.headers["Authorization"] for request in broker.asked(f"/v3{PATH}")]
    assert used == ["Bearer access-1", "Bearer access-2"]
    assert broker.slept == []


def test_a_new_token_that_is_rejected_too_is_the_end(broker: Broker) -> None:
    broker.on(f"/v3{PATH}", httpx.Response(401, json={"Error": "Unauthorized"}))
    with pytest.raises(CredentialsError, match="401 Unauthorized"):
        get(broker)
    assert len(broker.asked(f"/v3{PATH}")) == 2


def test_a_login_that_was_served_before_outlives_a_host_that_refuses_new_tokens(
    broker: Broker,
) -> None:
    no = [httpx.Response(401)] * 2
    broker.on(f"/v3{PATH}", ok("before"), *no, *no, ok("after"))
    assert [get(broker), get(broker)] == [b"before", b"after"]
    assert len(broker.slept) == 2
    broker.on("/v3/stream", *no)
    with pytest.raises(UnavailableError, match="401 although the token is new"):
        asyncio.run(read(broker))


@pytest.mark.parametrize(
    ("reply", "pause"),
    [
        (httpx.Response(429, headers={"X-RateLimit-Reset": "37"}), 37.0),
        (httpx.Response(429, json={"Error": "TooManyRequests"}), 60.0),
        (httpx.Response(403, text="Stream quota exceeded"), 60.0),
        (httpx.Response(429, headers={"X-RateLimit-Reset": "soon"}), 60.0),
    ],
)
def test_a_quota_is_waited_out(broker: Broker, reply: httpx.Response, pause: float) -> None:
    broker.on(f"/v3{PATH}", reply, ok("fine"))
    assert get(broker) == b"fine"
    assert broker.slept == [pause]


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (httpx.Response(403, json={"Error": "Forbidden"}), CredentialsError, "scopes"),
        (httpx.Response(404, json={"Error": "NotFound", "Message": "no"}), UsageError, "NotFound"),
        (httpx.Response(400, text="<html> bad\n request"), UsageError, "<html> bad request"),
        (httpx.Response(414), UsageError, "414"),
        (httpx.Response(501), UsageError, "501"),
    ],
)
def test_what_asking_again_does_not_mend(
    broker: Broker, reply: httpx.Response, kind: type[Exception], says: str
) -> None:
    broker.on(f"/v3{PATH}", reply)
    with pytest.raises(kind, match=says):
        get(broker)
    assert len(broker.asked(f"/v3{PATH}")) == 1


@pytest.mark.parametrize(
    "fault", [httpx.Response(502, text="gateway"), httpx.ReadTimeout("late"), httpx.Response(504)]
)
def test_faults_of_the_host_are_tried_again_but_not_for_ever(
    broker: Broker, fault: httpx.Response | Exception
) -> None:
    broker.on(f"/v3{PATH}", fault, fault, ok("fine"))
    assert get(broker) == b"fine"
    broker.on(f"/v3{PATH}", fault)
    broker.slept.clear()
    with pytest.raises(UnavailableError):
        get(broker)
    assert len(broker.slept) == 4


def test_the_backoff_grows_to_a_minute_with_full_jitter() -> None:
    backoff = Backoff()
    ceilings = [1, 2, 4, 8, 16, 32, 60, 60]
    for ceiling in ceilings:
        assert 0.0 <= backoff.next() <= ceiling
    backoff.reset()
    assert backoff.next() <= 1.0


# --- streams ---------------------------------------------------------------------------------


def test_a_stream_gives_its_chunks_and_is_closed(broker: Broker) -> None:
    body = Chunks(b"a", b"b\n")
    broker.on("/v3/stream", httpx.Response(200, stream=body))
    assert asyncio.run(read(broker)) == [b"a", b"b\n"]
    assert body.closed


def test_a_stream_opens_with_a_renewed_token(broker: Broker) -> None:
    broker.on("/v3/stream", httpx.Response(401), httpx.Response(200, stream=Chunks(b"x")))
    assert asyncio.run(read(broker)) == [b"x"]
    assert broker.granted == 2


@pytest.mark.parametrize("fault", [httpx.ReadTimeout("silent"), httpx.RemoteProtocolError("cut")])
def test_a_broken_stream_is_an_outage(broker: Broker, fault: Exception) -> None:
    body = Chunks(b"a", fault)
    broker.on("/v3/stream", httpx.Response(200, stream=body))
    with pytest.raises(UnavailableError, match=type(fault).__name__):
        asyncio.run(read(broker))
    assert body.closed


def test_a_stream_left_early_is_closed(broker: Broker) -> None:
    body = Chunks(b"a", None)
    broker.on("/v3/stream", httpx.Response(200, stream=body))

    async def first() -> bytes:
        chunks = broker.client.stream("/stream")
        chunk = await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
        return chunk

    assert asyncio.run(first()) == b"a"
    assert body.closed


# --- a simulator's clock ---------------------------------------------------------------------


@pytest.mark.parametrize(("url", "honoured"), [(URL, True), ("https://broker.test/v3", False)])
def test_a_clock_is_honoured_over_plain_http_alone(
    tmp_path: Path, url: str, honoured: bool
) -> None:
    broker = Broker(tmp_path, url=url)
    said = Announcement(MarketClock(5, 7, 60.0), "20261123")
    broker.on(f"/v3{PATH}", ok(**{CLOCK_HEADER: said.header()}))
    get(broker)
    assert broker.client.announcement == (said if honoured else None)


@pytest.mark.parametrize("value", [None, "", "{}", "soon", '{"clock":[],"source":1}'])
def test_a_header_that_is_no_clock(value: str | None) -> None:
    assert Announcement.parse(value) is None


def test_the_real_host_is_not_probed(tmp_path: Path) -> None:
    broker = Broker(tmp_path, url="https://broker.test/v3")
    asyncio.run(broker.client.probe())
    assert broker.requests == []


# --- quotas ----------------------------------------------------------------------------------


def test_a_quota_that_is_used_up_is_waited_for_before_the_next_request(broker: Broker) -> None:
    used_up = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "37"}
    broker.on("/v3/options/strikes/SPY", ok(**used_up))
    broker.on("/v3/options/strikes/QQQ", ok())
    broker.on("/v3/options/expirations/QQQ", ok())
    for path in ("strikes/SPY", "expirations/QQQ"):
        get(broker, f"/options/{path}")
    assert broker.slept == []  # another kind of request has another quota
    get(broker, "/options/strikes/QQQ")
    assert broker.slept == [37.0]
    broker.wall += 37.0
    get(broker, "/options/strikes/QQQ")
    assert broker.slept == [37.0]


@pytest.mark.parametrize("left", ["1", "many", None])
def test_a_quota_that_is_not_used_up_costs_no_wait(broker: Broker, left: str | None) -> None:
    headers = {} if left is None else {"X-RateLimit-Remaining": left}
    broker.on(f"/v3{PATH}", ok(**headers, **{"X-RateLimit-Reset": "37"}))
    for _ in range(2):
        get(broker)
    assert broker.slept == []


def test_streams_too_wait_for_their_quota(broker: Broker) -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "5"}
    broker.on("/v3/quotes/A", httpx.Response(200, headers=headers, stream=Chunks(b"x\n")))
    broker.on("/v3/quotes/B", httpx.Response(200, stream=Chunks(b"y\n")))

    async def both() -> list[list[bytes]]:
        return [await read(broker, f"/quotes/{name}") for name in "AB"]

    assert asyncio.run(both()) == [[b"x\n"], [b"y\n"]]
    assert broker.slept == [5.0]


@pytest.mark.parametrize(
    ("reset", "pause"),
    [("37", 37.0), ("0", 0.5), ("9999", 600.0), ("nan", 60.0), ("soon", 60.0), (None, 60.0)],
)
def test_a_refused_quota_is_waited_out_as_the_host_says(
    broker: Broker, reset: str | None, pause: float
) -> None:
    headers = {} if reset is None else {"X-RateLimit-Reset": reset}
    broker.on(f"/v3{PATH}", httpx.Response(429, headers=headers), ok())
    get(broker)
    assert broker.slept == [pause]
