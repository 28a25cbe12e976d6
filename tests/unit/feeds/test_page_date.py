"""Dates as pages print them in fifty locales, the traps among them, and rubbish."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.clock import iso_ms, new_york_date, parse_instant
from common.errors import InputError
from common.feeds.page_date import LONGEST, page_instant

FIRST = date(2025, 5, 1)


def read(text, first=FIRST):
    return iso_ms(page_instant(text, first_expiration=first))[:16] + "Z"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("January 5, 2026 at 10:28 AM EST", "2026-01-05T15:28Z"),
        ("Jun 22, 2026, 9:28 PM EDT", "2026-06-23T01:28Z"),
        ("11 November 2026 at 15:28 GMT-5", "2026-11-11T20:28Z"),
        ("April 5, 2026 at 1:28 a.m. EDT", "2026-04-05T05:28Z"),
        ("23 September 2026 at 11:28 am GMT-4", "2026-09-23T15:28Z"),
        ("10/2/2026, 8:28:00 pm GMT-5", "2026-02-11T01:28Z"),
        ("5. Juli 2026 um 16:28 GMT-4", "2026-07-05T20:28Z"),
        ("23. Dezember 2026 um 00:28 GMT-5", "2026-12-23T05:28Z"),
        ("11 mai 2026 \xe0 11:28 UTC\u22124", "2026-05-11T15:28Z"),
        ("4 octobre 2026 à 21 h 28 HAE", "2026-10-05T01:28Z"),
        ("23 de marzo de 2026 a las 16:28 GMT-4", "2026-03-23T20:28Z"),
        ("11 de agosto de 2026 a las 1:28 a.m. GMT-4", "2026-08-11T05:28Z"),
        ("5 de enero de 2026 a las 10:28 a. m. GMT-5", "2026-01-05T15:28Z"),
        ("22 de junho de 2026 às 21:28 GMT-4", "2026-06-23T01:28Z"),
        ("11 de novembro de 2026 às 15:28 GMT-5", "2026-11-11T20:28Z"),
        ("5 aprile 2026 alle ore 01:28 GMT-4", "2026-04-05T05:28Z"),
        ("23 set 2026, 11:28 GMT-4", "2026-09-23T15:28Z"),
        ("10 februari 2026 om 20:28 EST", "2026-02-11T01:28Z"),
        ("5 juli 2026 kl. 16:28 GMT\u22124", "2026-07-05T20:28Z"),
        ("23. december 2026 kl. 00.28 GMT-5", "2026-12-23T05:28Z"),
        ("11. mai 2026 kl. 11:28 EDT", "2026-05-11T15:28Z"),
        ("4. lokakuuta 2026 klo 21.28 UTC-4", "2026-10-05T01:28Z"),
        ("23. mars 2026 kl. GMT-4 – 16:28", "2026-03-23T20:28Z"),
        ("11 sierpnia 2026 01:28 GMT-4", "2026-08-11T05:28Z"),
        ("5. ledna 2026 v 10:28 EST", "2026-01-05T15:28Z"),
        ("22. júna 2026 o 21:28 GMT-4", "2026-06-23T01:28Z"),
        ("2026. november 11. 15:28 GMT-5", "2026-11-11T20:28Z"),
        ("5 aprilie 2026 la 01:28 GMT-4", "2026-04-05T05:28Z"),
        ("23. rujna 2026. u 11:28 GMT -4", "2026-09-23T15:28Z"),
        ("10. februar 2026 ob 20:28 GMT -5", "2026-02-11T01:28Z"),
        ("5. juuli 2026, kell 16:28 GMT \u22124", "2026-07-05T20:28Z"),
        ("2026. gada 23. decembris 00:28 GMT-5", "2026-12-23T05:28Z"),
        ("2026 m. gegu\u017e\u0117s 11 d. 11:28; GMT\u22124", "2026-05-11T15:28Z"),
        ("4 Οκτωβρίου 2026 στις 9:28 μ.μ. GMT-4", "2026-10-05T01:28Z"),
        ("23 Mart 2026 16:28 GMT-4", "2026-03-23T20:28Z"),
        ("11 августа 2026 г. в 01:28 GMT-4", "2026-08-11T05:28Z"),
        ("5 січня 2026 р. о 10:28 GMT-5", "2026-01-05T15:28Z"),
        (
            "22 \u05d1\u05d9\u05d5\u05e0\u05d9 2026 \u05d1\u05e9\u05e2\u05d4 21:28 GMT-4\u200e",
            "2026-06-23T01:28Z",
        ),
        ("١١ نوفمبر ٢٠٢٦ في ٣:٢٨ م غرينتش-٥", "2026-11-11T20:28Z"),
        ("5 अप्रैल 2026 को 1:28 am GMT-4 बजे", "2026-04-05T05:28Z"),
        ("lúc 11:28 EDT 23 tháng 9, 2026", "2026-09-23T15:28Z"),
        ("10 Februari 2026 pukul 20.28 EST", "2026-02-11T01:28Z"),
        ("2026年7月5日 16:28 GMT-4", "2026-07-05T20:28Z"),
        ("2026年12月23日 0:28:00 GMT-5", "2026-12-23T05:28Z"),
        ("2026년 5월 11일 AM 11:28 GMT-4", "2026-05-11T15:28Z"),
        ("2026년 10월 4일 PM 9시 28분 0초 GMT-4", "2026-10-05T01:28Z"),
        ("2026年3月23日 GMT-4 16:28", "2026-03-23T20:28Z"),
        ("2026年8月11日 上午1:28 [EDT]", "2026-08-11T05:28Z"),
        ("5 de gener del 2026, a les 10:28 GMT-5", "2026-01-05T15:28Z"),
        ("2026-06-22 21:28:00 GMT\u22124", "2026-06-23T01:28Z"),
    ],
)
def test_what_browsers_print(text, at):
    """Lines that ``Date.toLocaleString`` prints with month, day, year, time and zone."""
    day = new_york_date(parse_instant(at))
    assert read(text, day) == read(text, day + timedelta(days=3)) == at


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("May 1, 2025 at 8:28 AM EDT", "2025-05-01T12:28Z"),
        ("23 de marzo de 2022, 10:11 GMT-4", "2022-03-23T14:11Z"),
        ("14 March 2026 at 07:34 GMT-4", "2026-03-14T11:34Z"),
        ("July 12, 2022, 11:55 AM EDT", "2022-07-12T15:55Z"),
        ("December 12, 2022 at 8:31 PM EST", "2022-12-13T01:31Z"),
    ],
)
def test_what_files_hold(text, at):
    assert read(text, date.fromisoformat(at[:10])) == at


@pytest.mark.parametrize(
    ("zone", "at"),
    [
        ("", "2025-05-01T14:00Z"),
        ("ET", "2025-05-01T14:00Z"),
        ("EDT", "2025-05-01T14:00Z"),
        ("EST", "2025-05-01T15:00Z"),
        ("GMT-4", "2025-05-01T14:00Z"),
        ("GMT−04:00", "2025-05-01T14:00Z"),
        ("UTC+5:30", "2025-05-01T04:30Z"),
        ("GMT", "2025-05-01T10:00Z"),
        ("CDT", "2025-05-01T15:00Z"),
        ("PST", "2025-05-01T18:00Z"),
    ],
)
def test_zones_are_honoured(zone, at):
    assert read(f"May 1, 2025 at 10:00 AM {zone}") == at


def test_of_a_date_in_figures_the_first_expiration_decides():
    assert read("5/1/2025, 10:00 AM EDT") == read("1.5.2025, 10:00 EDT") == "2025-05-01T14:00Z"
    assert read("2025/5/1 10:00 EDT") == "2025-05-01T14:00Z"
    assert read("25/4/2025 10:00 EDT") == "2025-04-25T14:00Z"
    with pytest.raises(InputError, match="day or month first; give --at"):
        read("5/1/2025 10:00 EDT", None)
    with pytest.raises(InputError, match="day or month first"):
        read("10/11/2025 10:00 EST", date(2026, 1, 16))
    assert read("4/5/2025 10:00 EDT", date(2025, 5, 9)) == "2025-05-04T14:00Z"
    assert read("7/7/2025 10:00 EDT", date(2026, 1, 16)) == "2025-07-07T14:00Z"


def test_no_chain_lists_what_expired_long_ago():
    assert read("May 5, 2025 at 8:28 AM EDT") == "2025-05-05T12:28Z"
    with pytest.raises(InputError, match="later than the first expiration, 2025-05-01; give --at"):
        read("May 9, 2025 at 8:28 AM EDT")
    assert read("May 9, 2025 at 8:28 AM EDT", None) == "2025-05-09T12:28Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rubbish",
        "yesterday at 10:30",
        "3 days ago",
        "May 2025 at 10:30",
        "May 1 at 10:30 AM EDT",
        "May 1, 2025",
        "10:30",
        "May 1, 2025 at 25:61 EDT",
        "February 30, 2025 at 8:28 AM EDT",
        "May 1, 2025 at 8:28 AM or 9:30 AM",
        "May 1, 0025 at 8:28 AM",
        "1 พฤษภาคม 2568 เวลา 08:28 GMT-4",  # of the Buddhist era
        "2025-13-01T08:28:00",
        "9" * 5000 + ":22",
    ],
)
def test_what_is_no_date_and_time(text):
    with pytest.raises(InputError, match="is no date and time known here; give --at") as caught:
        read(text)
    assert len(str(caught.value)) < LONGEST + 60


@given(st.text(max_size=60))
@example("1:00")
@example("0/0/2025 0:00")
def test_any_text_is_a_date_or_one_clear_error(text):
    try:
        at = page_instant(text, first_expiration=FIRST)
    except InputError as error:
        assert str(error).endswith("give --at")  # noqa: PT017  either outcome is fine
    else:
        assert new_york_date(at) <= FIRST + timedelta(days=7)
