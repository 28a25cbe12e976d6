"""The date and time that a web page printed in its reader's language, as an instant.

Owns the reading of such lines; must not know which page printed them or what they mean.
Names of months are dateparser's affair (a quarter of a second, which the commonest English
forms are spared). Its guesses are not: the clock and the zone are taken out beforehand, a date
without day, month and year is none, and of a date in figures whose order is open the chain's
first expiration decides, or nobody.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any

from common.clock import NEW_YORK, from_datetime, new_york_date, parse_instant, to_datetime
from common.errors import InputError, UsageError

_ENGLISH = ("%B %d %Y at %I:%M %p", "%B %d %Y %I:%M %p", "%d %B %Y at %H:%M")
EXPIRED_AT_MOST = timedelta(days=7)
"""A chain still lists what expired this long before its date, over a weekend; never longer."""
NEAR = timedelta(days=10)
"""The first expiration lies this close where it is called as a witness."""
LONGEST = 80
"""Characters that are looked at; no page prints a longer date."""
_YEARS = range(2000, 2200)
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?")
_OFFSET = re.compile(r"[^\W\d]+\s?([+-])\s?(1[0-4]|0?\d)(?::?([0-5]\d))?(?!\d)")
_ZONES: dict[str, tzinfo] = {
    "ET": NEW_YORK,
    "EST": timezone(timedelta(hours=-5)),
    "EDT": timezone(timedelta(hours=-4)),
    "HNE": timezone(timedelta(hours=-5)),  # the same in French: heure normale de l'Est
    "HAE": timezone(timedelta(hours=-4)),
}
_ZONE = re.compile(rf"\b({'|'.join(_ZONES)})\b")
_SECONDS = r"(?:\s?(?:[:.]|min|[分분]\s?)\s?\d{1,2}(?!\d)(?:\s?[s秒초])?|\s?[分분])?"
_CLOCK = re.compile(
    r"(?<![\d.:])(\d{1,2})(?:\s?[:h時时点點시]|\.(?=\d\d(?!\d|\.\d{4})))"
    rf"\s?(\d{{1,2}})(?!\d){_SECONDS}"
)
_HALF = re.compile(r"(?i)\b([ap])\.\s?m\.?(?!\w)")
_LINKS = re.compile(r"(?i)[,;()،]|\b(?:klo?|kell|ob|gada|στις|pada|nang|del|a les|[dmгч])\b\.?")
"""Punctuation and words between date and time that dateparser does not pass over."""


def page_instant(text: str, *, first_expiration: date | None) -> int:
    """The instant [us] of a printed date and time; New York time where no zone is printed.

    :param first_expiration: of the chain, which tells 5/12 from 12/5 and exposes a misreading.
    :raises InputError: when the text is none, or open to more than one reading.
    """
    text = text[:LONGEST]
    readings = {from_datetime(at) for at in _readings(_plain(text))}
    if not readings:
        raise InputError(f"{text!r} is no date and time known here; give --at")
    if first_expiration is None:
        possible = readings
    else:
        latest = first_expiration + EXPIRED_AT_MOST
        possible = {at for at in readings if new_york_date(at) <= latest}
        if not possible:
            raise InputError(
                f"{text!r} is later than the first expiration, {first_expiration}; give --at"
            )
        if len(possible) > 1:
            near = first_expiration - NEAR
            possible = {at for at in possible if new_york_date(at) >= near} or possible
    if len(possible) > 1:
        raise InputError(f"{text!r} may be read day or month first; give --at")
    return possible.pop()


def _plain(text: str) -> str:
    """Ordinary spaces, figures and minus signs; no marks of writing direction."""
    spaced = "".join(" " if unicodedata.category(c) in {"Zs", "Cf"} else c for c in text)
    digits = "".join(str(unicodedata.digit(c)) if c.isdigit() else c for c in spaced)
    return re.sub("[\u2010-\u2015\u2212]", "-", digits).strip()


def _readings(text: str) -> list[datetime]:
    """What the text may mean, aware; empty when it is no date and time."""
    if _ISO.fullmatch(text):
        try:
            return [to_datetime(parse_instant(text))]
        except UsageError:
            return []
    text, zone = _without_zone(text)
    clocks = list(_CLOCK.finditer(text))
    if len(clocks) != 1:
        return []
    clock = clocks[0]
    hour, minute = int(clock.group(1)), int(clock.group(2))
    text = f"{text[: clock.start()]} {hour:02d}:{minute:02d} {text[clock.end() :]}"
    text = " ".join(_LINKS.sub(" ", _halves(text)).split())
    orders = ("YMD",) if re.match(r"\d{4}", text) else ("DMY", "MDY")
    found = []
    for order in orders:
        at = _parsed(text, order)
        if at is None:
            continue
        if (at.hour % 12, at.minute) != (hour % 12, minute) or (at.tzinfo and zone):
            return []
        if at.year not in _YEARS or str(at.year) not in text:
            return []
        found.append(at if at.tzinfo else at.replace(tzinfo=zone or NEW_YORK))
    return found


def _without_zone(text: str) -> tuple[str, tzinfo | None]:
    """The text without its zone, and the zone; a name that is not known here stays in it."""
    offset = _OFFSET.search(text)
    if offset:
        sign, hours, minutes = offset.groups()
        east = timedelta(hours=int(hours), minutes=int(minutes or 0))
        zone: tzinfo = timezone(-east if sign == "-" else east)
        return f"{text[: offset.start()]} {text[offset.end() :]}", zone
    name = _ZONE.search(text)
    if name:
        return f"{text[: name.start()]} {text[name.end() :]}", _ZONES[name.group()]
    return text, None


def _halves(text: str) -> str:
    """Halves of the day that dateparser does not know by these spellings."""
    return _HALF.sub(r"\1m", text).replace("π.μ.", "am").replace("μ.μ.", "pm")


def _parsed(text: str, order: str) -> datetime | None:
    """English as most pages print it, else dateparser's reading with its guesses off."""
    for form in _ENGLISH:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007  its zone has been taken out
        except ValueError:
            continue
    import dateparser  # noqa: PLC0415  slow, and few files need it

    settings: dict[str, Any] = {
        "DATE_ORDER": order,
        "PREFER_LOCALE_DATE_ORDER": False,
        "REQUIRE_PARTS": ["day", "month", "year"],
        "PARSERS": ["absolute-time"],
        "RELATIVE_BASE": datetime(2000, 1, 1),  # noqa: DTZ001  its base is naive, and unused
    }
    at: datetime | None = dateparser.parse(text, settings=settings)
    return at
