"""`gex simulator` as its clients meet it: a real process over HTTP."""

from __future__ import annotations

import json
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from harness import gex, state_folder
from simulated import CLOCK_HEADER, FORM, Simulator, Stream, simulator

_WIRE = {
    "bid": "Bid",
    "ask": "Ask",
    "last": "Last",
    "bid_size": "BidSize",
    "ask_size": "AskSize",
    "volume": "Volume",
    "open_interest": "DailyOpenInterest",
}
CHAINS = "options/chains"


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    """SPY and the others in real time, from 11:00 on a Friday."""
    with simulator("--start", "2026-11-20T11:00:00", "--seed", "7") as started:
        yield started


@pytest.fixture(autouse=True)
def logged_in(request: pytest.FixtureRequest) -> None:
    """Each test has an access token that is valid."""
    if "running" in request.fixturenames:
        request.getfixturevalue("running").log_in()


def is_heartbeat(each: dict[str, Any]) -> bool:
    """Whether an object is a heartbeat."""
    return "Heartbeat" in each


def goes_away(each: dict[str, Any]) -> bool:
    """Whether an object is a farewell."""
    return each.get("StreamStatus") == "GoAway"


def assert_true(rows: dict[str, dict[str, Any]], truth: dict[str, Any]) -> None:
    """What was sent adds up to what is true."""
    true = {each["symbol"]: each for each in truth["contracts"]}
    assert rows.keys() <= true.keys()
    for symbol, row in rows.items():
        for name, field in _WIRE.items():
            told = row.get(field)
            assert (None if told is None else float(told)) == true[symbol][name], (symbol, name)


# --- tokens ----------------------------------------------------------------------------------


def test_market_data_needs_a_token_that_lives(running: Simulator) -> None:
    assert running.get("quotes/SPY").status_code == 200
    for headers in ({}, {"Authorization": "Bearer x"}):
        refused = running.client.get("/v3/marketdata/quotes/SPY", headers=headers)
        assert refused.status_code == 401
        assert refused.headers["Content-Type"] == "application/json"
        assert refused.json()["Error"] == "Unauthorized"
        assert refused.json()["Message"]
    assert running.client.post("/_simulator/expire").json()["affected"] >= 1
    assert running.get("quotes/SPY").status_code == 401
    with running.stream("quotes/SPY") as stream:
        assert stream.response.status_code == 401
    assert running.log_in().status_code == 200
    assert running.get("quotes/SPY").status_code == 200


def test_tokens_are_refused_in_oauths_words(running: Simulator) -> None:
    for changes, status, error in [
        ({"refresh_token": "wrong"}, 403, "invalid_grant"),
        ({"client_secret": "wrong"}, 401, "access_denied"),
        ({"grant_type": "password"}, 403, "unsupported_grant_type"),
        ({"client_id": ""}, 400, "invalid_request"),
    ]:
        refused = running.log_in(**changes)
        assert (refused.status_code, refused.json()["error"]) == (status, error)
    as_json = running.client.post("/oauth/token", json=FORM)
    assert (as_json.status_code, as_json.json()["error"]) == (400, "invalid_request")


def test_an_open_stream_outlives_its_token(running: Simulator) -> None:
    with running.stream("quotes/SPY") as stream:
        stream.take(1)
        running.client.post("/_simulator/expire")
        assert stream.take(2)


def test_short_tokens_and_rotation_over_a_kill() -> None:
    state = state_folder()
    options = ("--token-ttl", "0.2", "--rotate", "--client-id", "key", "--refresh-token", "one")
    try:
        with simulator(*options, state=state) as first:
            reply = first.log_in(client_id="key", refresh_token="one")
            assert reply.json()["expires_in"] == 1
            second = reply.json()["refresh_token"]
            first.wait_for(
                lambda _: first.get("quotes/SPY").status_code == 401, seconds=5, what="expiry"
            )
            first.stop(signal.SIGKILL)
        with simulator(*options, state=state) as again:
            assert again.log_in(client_id="key", refresh_token="one").status_code == 403
            assert again.log_in(client_id="key", refresh_token=second).status_code == 200
    finally:
        shutil.rmtree(state)


# --- requests --------------------------------------------------------------------------------


def test_every_reply_carries_the_clock(running: Simulator) -> None:
    expected = running.client.get("/_simulator/state").headers[CLOCK_HEADER]
    assert json.loads(expected)["source"] == "7"
    replies = [
        running.log_in(),
        running.log_in(refresh_token="wrong"),
        running.get("quotes/SPY"),
        running.get("nowhere"),
        running.get("options/strikes/SPY", expiration="never"),
        running.client.get("/v3/marketdata/quotes/SPY"),
        running.client.get("/"),
        running.client.put("/oauth/token"),
    ]
    with running.stream("quotes/SPY") as stream:
        replies.append(stream.response)
    assert [each.status_code for each in replies] == [200, 403, 200, 404, 400, 401, 404, 405, 200]
    assert {each.headers[CLOCK_HEADER] for each in replies} == {expected}
    assert all("Server" not in each.headers for each in replies)


def test_quotes_come_with_an_error_for_what_is_no_symbol(running: Simulator) -> None:
    found = running.get("quotes/SPY,NOSUCH,$SPX.X,SPY 261123C700").json()
    assert [each["Symbol"] for each in found["Quotes"]] == ["SPY", "$SPX.X", "SPY 261123C700"]
    assert found["Errors"] == [{"Symbol": "NOSUCH", "Error": "FAILED, INVALID SYMBOL"}]
    assert all(isinstance(each["Last"], str) for each in found["Quotes"])
    encoded = running.client.get("/v3/marketdata/quotes/%24SPX.X", headers=running.headers)
    assert encoded.json()["Quotes"][0]["Symbol"] == "$SPX.X"


def test_a_list_of_symbols_has_a_limit(running: Simulator) -> None:
    many = ",".join(f"S{number}" for number in range(100))
    assert len(running.get(f"quotes/{many}").json()["Errors"]) == 100
    for path in (f"quotes/{many},SPY", f"stream/quotes/{many},SPY", f"symbols/{many}", "quotes/,"):
        refused = running.get(path)
        assert (refused.status_code, refused.json()["Error"]) == (400, "BadRequest")


def test_expirations_strikes_and_spread_types(running: Simulator) -> None:
    expirations = running.get("options/expirations/SPY").json()["Expirations"]
    assert expirations[:2] == [
        {"Date": "2026-11-20T00:00:00Z", "Type": "Monthly"},
        {"Date": "2026-11-23T00:00:00Z", "Type": "Weekly"},
    ]
    formats = ("11-23-2026", "2026-11-23", "2026-11-23T00:00:00Z")
    answers = [running.get("options/strikes/SPY", expiration=each).json() for each in formats]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["SpreadType"] == "Single"
    strikes = [each[0] for each in answers[0]["Strikes"]]
    assert len(strikes) > 50
    assert all(len(each) == 1 for each in answers[0]["Strikes"])
    every = running.get("options/strikes/SPY", expiration="2026-11-23", strikeInterval=5).json()
    assert [each[0] for each in every["Strikes"]] == strikes[::5]
    far = expirations[-1]["Date"]
    few = {each[0] for each in running.get("options/strikes/SPY", expiration=far).json()["Strikes"]}
    lacking = next(each for each in strikes if each not in few)
    dates = running.get("options/expirations/SPY", strikePrice=lacking).json()["Expirations"]
    assert [each["Date"] for each in dates] == [each["Date"] for each in expirations[:-1]]
    types = running.get("options/spreadtypes").json()["SpreadTypes"]
    assert len(types) == 16
    assert types[0] == {"Name": "Single", "StrikeInterval": False, "ExpirationInterval": False}


def test_an_index_has_a_root_for_each_settlement(running: Simulator) -> None:
    weekly = running.get("options/expirations/$SPXW.X").json()["Expirations"]
    assert weekly[0]["Date"] == "2026-11-20T00:00:00Z"
    assert running.get("options/expirations/$SPX.X").json() == {"Expirations": []}
    with running.stream(f"{CHAINS}/$SPXW.X", strikeProximity=1) as stream:
        leg = stream.take(1)[0]["Legs"][0]
    assert leg["Symbol"].startswith("SPXW 261120C")
    assert leg["AssetType"] == "IndexOption"


def test_symbol_details(running: Simulator) -> None:
    found = running.get("symbols/SPY,$SPX.X,SPY 261123C700,NOSUCH").json()
    kinds = [each["AssetType"] for each in found["Symbols"]]
    assert kinds == ["STOCK", "INDEX", "STOCKOPTION"]
    option = found["Symbols"][2]
    assert (option["Root"], option["Underlying"], option["StrikePrice"]) == ("SPY", "SPY", "700")
    assert (option["OptionType"], option["PriceFormat"]["PointValue"]) == ("CALL", "100")
    assert found["Errors"][0]["Symbol"] == "NOSUCH"


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("options/chains/SPY", 404, "NotFound"),  # there is no chain but the stream
        ("options/expirations/NOSUCH", 404, "NotFound"),
        ("options/strikes/SPX", 404, "NotFound"),  # an index has other names
        ("options/strikes/$SPX.X", 404, "NotFound"),
        ("options/strikes/SPY?expiration=2026-11-24", 400, "BadRequest"),
        ("options/strikes/SPY?spreadType=Butterfly", 501, "NotImplemented"),
        ("options/expirations/SPY?strikePrice=x", 400, "BadRequest"),
        ("stream/options/chains/NOSUCH", 404, "NotFound"),
        ("stream/options/chains/SPY?expiration=2026-11-24", 400, "BadRequest"),
        ("stream/options/chains/SPY?strikeProximity=-1", 400, "BadRequest"),
        ("stream/options/quotes", 400, "BadRequest"),
        ("stream/options/quotes?legs[0].Symbol=SPY", 400, "BadRequest"),
        ("stream/options/quotes?legs[0].Symbol=a&legs[1].Symbol=b", 501, "NotImplemented"),
    ],
)
def test_what_cannot_be_answered(running: Simulator, path: str, status: int, error: str) -> None:
    refused = running.client.get(f"/v3/marketdata/{path}", headers=running.headers)
    assert (refused.status_code, refused.json()["Error"]) == (status, error)
    assert refused.json()["Message"]
    assert refused.headers["Content-Type"] == "application/json"


def test_a_rate_quota_is_told_and_enforced() -> None:
    with simulator("--start", "2026-11-20T11:00:00") as fresh:
        first = fresh.get("options/spreadtypes")
        assert first.headers["X-RateLimit-Limit"] == "90"
        assert first.headers["X-RateLimit-Remaining"] == "89"
        assert first.headers["X-RateLimit-Resource"] == "option-spread-types"
        replies = [fresh.get("options/spreadtypes") for _ in range(120)]
        refused = [each for each in replies if each.status_code == 429]
        assert len(refused) >= 10
        assert refused[0].json() == {"Error": "TooManyRequests", "Message": "Rate quota exceeded"}
        assert refused[0].headers["X-RateLimit-Remaining"] == "0"
        assert 0 < int(refused[0].headers["X-RateLimit-Reset"]) <= 60
        assert fresh.get("options/expirations/SPY").status_code == 200


# --- streams ---------------------------------------------------------------------------------


def test_a_chain_is_told_whole_and_then_what_changes(running: Simulator) -> None:
    strikes = running.get("options/strikes/SPY", expiration="11-20-2026").json()["Strikes"]
    wanted = {f"SPY 261120{right}{strike[0]}" for strike in strikes for right in "CP"}
    with running.stream(f"{CHAINS}/SPY", strikeProximity=1000) as stream:
        headers = stream.response.headers
        assert headers["Content-Type"] == "application/vnd.tradestation.streams.v2+json"
        assert headers["Transfer-Encoding"] == "chunked"
        assert headers["Connection"] == "keep-alive"
        assert "Content-Length" not in headers
        first = stream.take(len(wanted))
        assert {each["Legs"][0]["Symbol"] for each in first} == wanted
        assert all("Symbol" not in each and "Timestamp" not in each for each in first)
        later = stream.take(50)
        assert all(each["Legs"][0]["Symbol"] in wanted for each in later)


def test_by_default_a_chain_is_cut_to_five_strikes_on_either_side(running: Simulator) -> None:
    with running.stream(f"{CHAINS}/SPY") as stream:
        stream.take(60)
        assert len(stream.rows) == 20
        spot = running.truth()["spot"]
        strikes = sorted({float(each["Strikes"][0]) for each in stream.rows.values()})
        assert strikes[4] - 2 < spot < strikes[5] + 2
    with running.stream(f"{CHAINS}/SPY", enableGreeks="false", optionType="Put") as stream:
        rows = stream.take(10)
        assert all(each["Side"] == "Put" and "Delta" not in each for each in rows)


def test_quotes_are_told_whole_and_then_what_changes(running: Simulator) -> None:
    with running.stream("quotes/SPY,BAD 261123C1,SPY 261120C700") as stream:
        error, spy, option, *deltas = stream.take(12)
        assert error == {"Symbol": "BAD 261123C1", "Error": "FAILED, INVALID SYMBOL"}
        assert (spy["Symbol"], option["Symbol"]) == ("SPY", "SPY 261120C700")
        assert {"Bid", "Ask", "Last", "PreviousClose", "MarketFlags"} <= spy.keys()
        for delta in deltas:
            assert delta["Symbol"] in ("SPY", "SPY 261120C700")
            assert "MarketFlags" not in delta
            assert 1 < len(delta) < len(spy)
            assert all(isinstance(value, str) for value in delta.values())


def test_one_contract_may_be_followed_by_itself(running: Simulator) -> None:
    with running.stream("options/quotes", **{"legs[0].Symbol": "SPY 261120C700"}) as stream:
        rows = stream.take(3)
        assert {each["Legs"][0]["Symbol"] for each in rows} == {"SPY 261120C700"}
        assert stream.response.headers["X-Concurrency-Limit"] == "10"


def test_the_eleventh_chain_stream_is_refused(running: Simulator) -> None:
    with ExitStack() as stack:
        for number in range(10):
            stream = stack.enter_context(running.stream(f"{CHAINS}/SPY"))
            assert stream.response.status_code == 200
            assert stream.response.headers["X-Concurrency-Remaining"] == str(9 - number)
        refused = running.get(f"stream/{CHAINS}/SPY")
        assert refused.status_code == 429
        assert refused.json() == {"Error": "TooManyRequests", "Message": "Stream quota exceeded"}
    running.wait_for(lambda s: not s["streams_open"], seconds=10, what="the streams to be gone")
    with running.stream(f"{CHAINS}/SPY") as stream:
        assert stream.response.status_code == 200


def test_a_cut_ends_a_stream_in_the_middle_of_a_line(running: Simulator) -> None:
    with running.stream(f"{CHAINS}/SPY") as chain, running.stream("quotes/SPY") as quotes:
        chain.take(20)
        quotes.take(1)
        assert running.client.post("/_simulator/cut?path=chains").json()["affected"] == 1
        with pytest.raises(httpx.RemoteProtocolError):
            list(chain.objects())
        assert chain.rest.startswith(b'{"Heartbeat"')
        assert quotes.take(3)
    host, port = running.client.base_url.host, running.client.base_url.port or 0
    with socket.create_connection((host, port), timeout=30) as raw:
        token = running.headers["Authorization"]
        raw.sendall(
            f"GET /v3/marketdata/stream/quotes/SPY HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {token}\r\n\r\n".encode()
        )
        received = raw.recv(65536)
        running.wait_for(lambda s: len(s["streams_open"]) == 1, seconds=10, what="the stream")
        assert running.client.post("/_simulator/cut").json()["affected"] == 1
        while part := raw.recv(65536):
            received += part
    assert not received.endswith(b"\n")
    assert received.rpartition(b"\r\n")[2].startswith(b'{"Heartbeat"')
    assert running.state()["streams_open"] == []
    assert running.state()["streams_cut"] >= 2


def test_faults_that_there_are_not(running: Simulator) -> None:
    assert running.client.post("/_simulator/explode").status_code == 404
    assert running.client.get("/_simulator/cut").status_code == 405
    assert running.client.get("/_simulator/truth/NOSUCH").status_code == 404


def test_a_quiet_recording_sends_heartbeats(recording: Path) -> None:
    # between the snapshots of 12:58:46 and 13:03:46 New York nothing changes
    options = ("--recording", str(recording), "--start", "2026-08-19T13:01", "--heartbeat", "0.3")
    with simulator(*options) as quiet:
        source = json.loads(quiet.get("quotes/SPY").headers[CLOCK_HEADER])["source"]
        assert source.startswith("recording-")
        with quiet.stream(f"{CHAINS}/SPY", strikeProximity=1000) as stream:
            first = stream.until(is_heartbeat)
            assert len(first) > 100
            beats = [first[-1], *stream.take(3)]
        assert [each["Heartbeat"] for each in beats] == [1, 2, 3, 4]
        assert all(each["Timestamp"].startswith("2026-08-19T17:01:0") for each in beats)
        assert set(stream.rows) == {each["symbol"] for each in quiet.truth()["contracts"]}
        assert_true(stream.rows, quiet.truth())


def test_split_chunks_hold_the_same_objects(recording: Path) -> None:
    def read(chunking: str) -> tuple[dict[str, Any], int]:
        """The rows of a whole chain, and how many pieces ended inside an object."""
        options = ("--recording", str(recording), "--start", "2026-08-19T13:01")
        with simulator(*options, "--chunking", chunking) as started:
            wanted = len(started.truth()["contracts"])
            with started.stream(f"{CHAINS}/SPY", strikeProximity=1000) as stream:
                stream.take(wanted)
        assert len(stream.rows) == wanted > 100
        return stream.rows, stream.torn

    (merged, _), (line, torn_lines), (split, torn) = read("merged"), read("line"), read("split")
    assert merged == line == split
    assert torn_lines < 10 < torn  # a client's own buffer may tear a line, too


# --- the session -----------------------------------------------------------------------------


def read_past_the_close(stream: Stream) -> Stream:
    """Read until a heartbeat after the close of 2026-11-20: then nothing is pending."""
    stream.until(lambda each: is_heartbeat(each) and each["Timestamp"] >= "2026-11-20T21:00:01Z")
    return stream


def test_an_accelerated_session_ends_with_the_truth_sent() -> None:
    options = ("--start", "2026-11-20T09:30", "--speed", "4000", "--pause", "60", "--step", "0.05")
    with simulator(*options, "--heartbeat", "0.5") as fast, ExitStack() as stack:
        dates = [each["Date"] for each in fast.get("options/expirations/SPY").json()["Expirations"]]
        streams = [
            stack.enter_context(fast.stream(f"{CHAINS}/SPY", expiration=date, strikeProximity=1000))
            for date in dates
        ]
        quotes = stack.enter_context(fast.stream("quotes/SPY,SPY 261120C700"))
        with ThreadPoolExecutor(len(streams) + 1) as readers:
            list(readers.map(read_past_the_close, [*streams, quotes]))
        state, truth = fast.state(), fast.truth()
        assert (state["closed"], state["as_of"]) == (True, "2026-11-20T21:00:00.000Z")
        assert state["lines_sent"] > 10_000
        rows = {name: row for stream in streams for name, row in stream.rows.items()}
        assert rows.keys() == {each["symbol"] for each in truth["contracts"]}
        assert_true(rows, truth)
        assert float(quotes.quotes["SPY"]["Last"]) == truth["spot"]
        assert_true({"SPY 261120C700": quotes.quotes["SPY 261120C700"]}, truth)


def test_a_reader_that_does_not_read_gets_the_newest_rows_and_costs_no_memory() -> None:
    options = ("--start", "2026-11-20T09:30", "--speed", "2000", "--pause", "60", "--step", "0.01")
    with simulator(*options, "--heartbeat", "0.5") as fast:
        with fast.stream(f"{CHAINS}/SPY", strikeProximity=1000) as stream:
            stream.take(1)
            process = psutil.Process(fast.process.pid)
            before = process.memory_info().rss
            fast.wait_for(lambda s: s["closed"], seconds=90, what="the close")
            state, grown = fast.state(), process.memory_info().rss - before
            assert state["conflated"] > 10_000
            assert grown < 64 * 1024 * 1024
            read_past_the_close(stream)
            assert fast.state()["lines_sent"] < state["conflated"]
            truth = fast.truth()
        names = {e["symbol"] for e in truth["contracts"] if e["expiration"] == "2026-11-20"}
        assert stream.rows.keys() == names
        assert_true(stream.rows, truth)


def test_a_recorded_day_ends_with_its_last_snapshot_and_stays_there(recording: Path) -> None:
    options = ("--recording", str(recording), "--speed", "6000", "--once", "--heartbeat", "0.5")
    with simulator(*options, "--pause", "0") as day:
        with day.stream(f"{CHAINS}/SPY", strikeProximity=1000) as stream:
            stream.until(lambda _: day.state()["closed"])
            stream.until(is_heartbeat)
            stream.until(is_heartbeat)
            truth = day.truth()
        assert truth["as_of"] == "2026-08-19T20:00:00.000Z"
        assert set(stream.rows) == {each["symbol"] for each in truth["contracts"]}
        assert_true(stream.rows, truth)


def test_the_next_date_begins_with_a_farewell_and_a_new_clock() -> None:
    # an early close, then the weekend
    options = ("--start", "2026-11-27T12:59:59", "--pause", "1.5", "--heartbeat", "0.3")
    with simulator(*options) as rolling:
        before = rolling.get("quotes/SPY").headers[CLOCK_HEADER]
        with ExitStack() as stack:
            paths = (f"{CHAINS}/SPY", "quotes/SPY", "quotes/QQQ")
            streams = [stack.enter_context(rolling.stream(path)) for path in paths]
            for stream in streams:
                last = list(stream.objects())[-4:]
                assert goes_away(last[-1])
                assert all(is_heartbeat(each) for each in last[1:-1])
        after = rolling.get("quotes/SPY")
        assert after.headers[CLOCK_HEADER] != before
        state = rolling.state()
        assert state["trading_date"] == "2026-11-30"
        assert state["streams_open"] == []
        assert json.loads(after.headers[CLOCK_HEADER])["source"] == state["source"]
        expirations = rolling.get("options/expirations/SPY").json()["Expirations"]
        assert expirations[0] == {"Date": "2026-11-30T00:00:00Z", "Type": "EOM"}


def test_a_killed_simulator_goes_on_in_the_same_market_time() -> None:
    state = state_folder()
    try:
        with simulator("--seed", "7", "--speed", "5", state=state) as first:
            clock, before = first.get("quotes/SPY").headers[CLOCK_HEADER], first.state()
            first.stop(signal.SIGKILL)
        with simulator("--seed", "7", "--speed", "5", state=state) as again:
            assert again.get("quotes/SPY").headers[CLOCK_HEADER] == clock
            assert again.state()["trading_date"] == before["trading_date"]
            assert again.state()["as_of"] > before["as_of"]
        with simulator("--seed", "8", state=state) as other:
            assert other.get("quotes/SPY").headers[CLOCK_HEADER] != clock
    finally:
        shutil.rmtree(state)


def test_an_orderly_end_tells_every_stream() -> None:
    with simulator() as ending, ending.stream("quotes/SPY") as stream:
        stream.take(1)
        ending.process.send_signal(signal.SIGTERM)
        assert goes_away(list(stream.objects())[-1])
        assert ending.process.wait(20) == 0


def test_two_simulators_never_share_a_port_or_a_folder(running: Simulator) -> None:
    state = state_folder()
    try:
        port = str(running.client.base_url.port)
        refused = gex(state, "simulator", "--port", port)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "cannot be listened on" in refused.stderr
        assert len(refused.stderr.strip().splitlines()) <= 2  # after the log's line
        with simulator(state=state):
            refused = gex(state, "simulator", "--port", "0")
            assert refused.returncode == 2
            assert "a simulator already runs in" in refused.stderr
    finally:
        shutil.rmtree(state)
