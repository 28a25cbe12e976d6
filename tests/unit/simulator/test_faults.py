"""Faults: what each does to streams, requests and rows, when it ends, what it takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_site import FakeStream, FakeTimers, fake_site

from common.errors import UsageError
from common.feeds.tradestation.messages import Malformed, parse
from workers.commands.simulator import simulator
from workers.simulator.faults.catalogue import FAULTS, catalogue, fault
from workers.simulator.faults.fault import Happening
from workers.simulator.site import Site

CHAIN = "/v3/marketdata/stream/options/chains/SPY?expiration=11-23-2026"
QUOTES = "/v3/marketdata/stream/quotes/%24SPX.X"
LISTING = "/v3/marketdata/options/strikes/SPY"


@pytest.fixture
def timers() -> FakeTimers:
    """Time that stands."""
    return FakeTimers()


@pytest.fixture
def site(timers: FakeTimers) -> Site:
    """A simulator that nobody reads."""
    return fake_site(timers)


def begin(site: Site, name: str, **arguments: Any) -> Happening:
    """Let a fault happen."""
    return site.faults.begin(fault(name, arguments), site, "request")


def row(number: int, **fields: Any) -> bytes:
    """A chain row."""
    legs = {"Legs": [{"Symbol": f"SPY 261123C{number}"}]}
    values = {"Bid": "1.0", "Ask": "1.1", "Volume": 7, "DailyOpenInterest": 9}
    return json.dumps({**values, **fields, **legs}).encode() + b"\n"


ROWS = [row(number) for number in range(600, 640)]


# --- what there is ---------------------------------------------------------------------------


def test_every_fault_says_what_it_does_and_what_it_takes() -> None:
    listed = catalogue()
    assert [each["name"] for each in listed] == list(FAULTS)
    for each in listed:
        assert each["about"].endswith(".")
        assert all("description" in argument for argument in each["arguments"].values())
    stall = next(each for each in listed if each["name"] == "stall")
    assert stall["arguments"]["seconds"]["default"] == 10.0


def test_the_help_names_them_all() -> None:
    words = (simulator.__doc__ or "").replace(",", " ").replace(".", " ").split()
    assert set(FAULTS) <= set(words)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("explode", {}, r"explode: no such fault \(there are cut, go_away, "),
        ("stall", {"seconds": "0"}, r"seconds: expected `float` > 0\.0"),
        ("stall", {"seconds": "nan"}, "seconds: "),
        ("stall", {"second": "1"}, "there is no argument 'second'"),
        ("expire", {"path": "quotes"}, "there is no argument 'path'"),
        ("go_away", {"form": "both"}, "form: invalid enum value 'both'"),
        ("bad_json", {"count": "many"}, "count: expected `int`"),
        ("unavailable", {"status": "404"}, "status: invalid enum value 404"),
    ],
)
def test_arguments_that_cannot_be_are_refused(
    name: str, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        fault(name, arguments)


def test_numbers_may_be_text() -> None:
    assert fault("stall", {"seconds": "2.5"}) == fault("stall", {"seconds": 2.5})


# --- how they begin and end ------------------------------------------------------------------


def test_a_fault_is_on_record_from_its_beginning_to_its_end(site: Site, timers: FakeTimers) -> None:
    FakeStream(site, CHAIN)
    begin(site, "cut", path="quotes")
    begin(site, "stall", seconds=30)
    timers.pass_by(10.0)
    found = site.faults.as_json()
    assert (found["faults_begun"], found["faults_active"]) == (2, 1)
    cut, stall = found["faults"]
    assert (cut["affected"], cut["began_at"], cut["ended_at"]) == (
        0,
        *["2026-11-23T16:00:00.000Z"] * 2,
    )
    assert (stall["affected"], stall["ended_at"], stall["cause"]) == (1, None, "request")
    assert stall["arguments"] == {"path": "", "seconds": 30.0}
    timers.pass_by(20.0)
    assert site.faults.as_json()["faults"][1]["ended_at"] == "2026-11-23T16:00:30.000Z"
    assert site.faults.as_json()["faults_active"] == 0


def test_a_fault_concerns_the_paths_that_contain_its_own(site: Site) -> None:
    begin(site, "stall", path="quotes/$SPX")
    assert site.faults.silence(QUOTES) == "everything"
    assert site.faults.silence(CHAIN) == ""
    begin(site, "stall_with_heartbeats")
    assert site.faults.silence(QUOTES) == "everything"
    assert site.faults.silence(CHAIN) == "data"


def test_streams_look_again_when_a_stall_is_over(site: Site, timers: FakeTimers) -> None:
    stream = FakeStream(site, CHAIN)
    begin(site, "stall", seconds=5)
    timers.pass_by(5.0)
    assert site.faults.silence(CHAIN) == ""
    assert stream.done == ["wake"]


@pytest.mark.parametrize(
    ("name", "arguments", "last"),
    [
        ("go_away", {}, {"StreamStatus": "GoAway"}),
        ("go_away", {"form": "error"}, {"Error": "GoAway"}),
        ("dual_logon", {}, {"Error": "DualLogon"}),
        ("stream_error", {}, {"Error": "Failed"}),
    ],
)
def test_streams_end_with_a_last_line(
    site: Site, name: str, arguments: dict[str, str], last: dict[str, str]
) -> None:
    chain, quotes = FakeStream(site, CHAIN), FakeStream(site, QUOTES)
    assert begin(site, name, path="chains", **arguments).affected == 1
    (line,) = chain.done
    assert isinstance(line, bytes)
    assert last.items() <= json.loads(line).items()
    assert quotes.done == []


def test_streams_above_the_budget_are_cut_a_moment_later(site: Site, timers: FakeTimers) -> None:
    old, new = FakeStream(site, CHAIN), FakeStream(site, QUOTES)
    happening = begin(site, "stream_budget", most=1, after=2, seconds=10)
    timers.pass_by(1.0)
    newest = FakeStream(site, QUOTES)
    site.faults.opened(newest, site)
    assert "cut" not in new.done
    timers.pass_by(2.0)
    assert (old.done, new.done, newest.done) == ([], ["cut"], ["cut"])
    timers.pass_by(10.0)
    site.faults.opened(FakeStream(site, QUOTES), site)
    timers.pass_by(10.0)
    assert happening.affected == 2


# --- requests --------------------------------------------------------------------------------


def test_requests_are_refused_until_there_were_enough(site: Site) -> None:
    happening = begin(site, "unauthorized", count=2)
    assert site.faults.refusal("/oauth/token", site) is None
    refused = [site.faults.refusal(LISTING, site) for _ in range(3)]
    assert [each and each.status_code for each in refused] == [401, 401, None]
    assert happening.affected == 2
    assert happening.ended_us is not None


def test_a_rate_limit_says_when_it_is_over(site: Site, timers: FakeTimers) -> None:
    begin(site, "rate_limit", seconds=30)
    timers.pass_by(9.5)
    refused = site.faults.refusal(LISTING, site)
    assert refused is not None
    assert (refused.status_code, refused.message) == (429, "Rate quota exceeded")
    assert refused.headers["X-RateLimit-Reset"] == "21"
    timers.pass_by(21.0)
    assert site.faults.refusal(LISTING, site) is None


@pytest.mark.parametrize(
    ("name", "arguments", "status", "text"),
    [
        ("quota_forbidden", {}, 403, None),
        ("quota_forbidden", {"form": "text"}, 403, "Stream quota exceeded"),
        ("unavailable", {"status": "502"}, 502, "<html>"),
    ],
)
def test_refusals_come_in_several_forms(
    site: Site, name: str, arguments: dict[str, str], status: int, text: str | None
) -> None:
    begin(site, name, **arguments)
    refused = site.faults.refusal(CHAIN, site)
    assert refused is not None
    assert refused.status_code == status
    assert (refused.text or "").startswith(text or "")
    assert (refused.text is None) == (text is None)


def test_tokens_expire_and_refresh_tokens_rotate(site: Site) -> None:
    form = {
        "grant_type": "refresh_token",
        **dict.fromkeys(("client_id", "client_secret", "refresh_token"), "simulator"),
    }
    access = site.tokens.grant(form)["access_token"]
    assert begin(site, "expire").affected == 1
    assert not site.tokens.is_valid(f"Bearer {access}")
    assert "refresh_token" not in site.tokens.grant(form)
    assert begin(site, "rotate").affected == 1
    assert site.tokens.grant(form)["refresh_token"] != "simulator"


# --- rows and lines --------------------------------------------------------------------------


def altered(site: Site, stream: FakeStream, lines: list[bytes]) -> list[bytes]:
    """What is sent in place of some rows."""
    return site.faults.altered(stream, lines)


def test_rows_are_sent_twice(site: Site) -> None:
    happening = begin(site, "duplicate")
    assert altered(site, FakeStream(site, CHAIN), ROWS[:2]) == [ROWS[0]] * 2 + [ROWS[1]] * 2
    assert happening.affected == 2


def test_older_rows_come_after_newer_ones_and_all_are_told_again(
    site: Site, timers: FakeTimers
) -> None:
    stream = FakeStream(site, CHAIN)
    happening = begin(site, "reorder", seconds=5)
    newer = [row(number, Bid="2.0") for number in range(600, 640)]
    assert altered(site, stream, []) == []
    assert altered(site, stream, ROWS) == []
    mixed = altered(site, stream, newer)
    assert sorted(mixed) == sorted(ROWS + newer)
    assert any(mixed.index(old) > mixed.index(new) for old, new in zip(ROWS, newer, strict=True))
    assert altered(site, stream, ROWS) == []  # held back when it ends
    timers.pass_by(5.0)
    assert happening.affected == 80
    assert stream.done == ["again", "wake"]
    assert altered(site, stream, ROWS) == ROWS


def test_zeros_keep_their_type(site: Site) -> None:
    begin(site, "zeros")
    quote = b'{"Symbol":"SPY 261123C600","Volume":"7","Bid":"1.0"}\n'
    found = [json.loads(line) for line in altered(site, FakeStream(site, CHAIN), [ROWS[0], quote])]
    assert found[0] == {**json.loads(ROWS[0]), "Volume": 0, "DailyOpenInterest": 0}
    assert found[1] == {"Symbol": "SPY 261123C600", "Volume": "0", "Bid": "1.0"}


@pytest.mark.parametrize(
    ("form", "value"), [("absent", ...), ("null", None), ("empty", ""), ("nan", "NaN")]
)
def test_fields_are_missing(site: Site, form: str, value: object) -> None:
    begin(site, "missing", share=1.0, fields="Bid,Volume", form=form)
    found = [json.loads(line) for line in altered(site, FakeStream(site, CHAIN), ROWS)]
    assert all(each["Ask"] == "1.1" and each["Legs"] for each in found)
    gone = [{name for name in ("Bid", "Volume") if each.get(name, ...) == value} for each in found]
    assert {frozenset(each) for each in gone} == {
        frozenset({"Bid"}),
        frozenset({"Volume"}),
        frozenset({"Bid", "Volume"}),
    }


def test_a_share_of_the_rows_is_hit(site: Site) -> None:
    happening = begin(site, "zeros", share=0.5)
    found = altered(site, FakeStream(site, CHAIN), ROWS)
    changed = sum(new != old for new, old in zip(found, ROWS, strict=True))
    assert 5 < changed < 35
    assert happening.affected == changed


def test_symbols_in_lower_case(site: Site) -> None:
    begin(site, "lower_case")
    lines = [ROWS[0], b'{"Symbol":"SPY","Last":"1"}\n', b'{"Heartbeat":1}\n']
    chain, quote, beat = (
        json.loads(line) for line in altered(site, FakeStream(site, CHAIN), lines)
    )
    assert chain["Legs"][0]["Symbol"] == "spy 261123c600"
    assert quote["Symbol"] == "spy"
    assert beat == {"Heartbeat": 1}


def test_lost_rows_end_in_a_cut(site: Site, timers: FakeTimers) -> None:
    stream = FakeStream(site, CHAIN)
    happening = begin(site, "gap", seconds=5, share=0.5)
    kept = altered(site, stream, ROWS)
    assert set(kept) < set(ROWS)
    assert happening.affected == len(ROWS) - len(kept)
    timers.pass_by(5.0)
    assert stream.done == ["cut"]


def test_every_bad_line_is_no_message(site: Site) -> None:
    stream = FakeStream(site, CHAIN)
    assert begin(site, "bad_json", count=9).affected == 9
    lines = [line for line in stream.done if isinstance(line, bytes)]
    assert len(lines) == 9
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert all(isinstance(parse(line[:-1]), Malformed) for line in lines)


def test_a_long_line_is_as_long_as_it_says_and_changes_nothing(site: Site) -> None:
    stream = FakeStream(site, CHAIN)
    begin(site, "long_line", megabytes=0.5)
    (line,) = stream.done
    assert isinstance(line, bytes)
    assert len(line) == 500_000
    assert json.loads(line).keys() == {"Symbol", "Filler"}


# --- times -----------------------------------------------------------------------------------


def test_a_clock_is_off_for_a_while(site: Site, timers: FakeTimers) -> None:
    stream, right = FakeStream(site, CHAIN), site.exchange.header
    begin(site, "clock_skew", skew=-2.5, seconds=5)
    assert site.exchange.told_now() - site.exchange.now() == -2_500_000
    assert site.exchange.header != right
    timers.pass_by(5.0)
    assert site.exchange.header == right
    assert [line for line in stream.done if line != "wake"] == [b'{"StreamStatus":"GoAway"}\n'] * 2


def test_half_a_day_begins_shortly_before_its_close(site: Site) -> None:
    rolled: list[str] = []
    site.exchange.on_roll = lambda: rolled.append(site.exchange.running.trading_date.isoformat())
    begin(site, "half_day", before=20)
    assert rolled == ["2026-11-27"]
    assert site.faults.as_json()["faults"][0]["ended_at"] == "2026-11-27T17:59:40.000Z"
    begin(site, "half_day")
    assert rolled == ["2026-11-27", "2026-12-24"]
