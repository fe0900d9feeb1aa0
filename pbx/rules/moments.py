"""Times, dates and days in conditions: parsed once, compared with the local time of the account.

::

    Time Of Day   09:00-13:00,14:00-18:00   7:30pm   22:00-06:00 (over midnight)
    Current Date  01 Jun 2026   01 Jun 2026 12:30:00   2026-06-01   25 Dec (each year)
                  01 Jun 2026-15 Jun 2026 (a span, both days in it)
    Current Day   Mon,Tue   Monday   Mon-Fri   0 (Sunday) to 6
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Final, NamedTuple

from pbx.rules.errors import RuleError

_DAY_S: Final = 86_400
_TIME: Final = re.compile(
    r"(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?\s*([ap]m)?", re.ASCII | re.IGNORECASE
)
_WORDED: Final = re.compile(
    r"(\d{1,2})[ -]([A-Za-z]{3})[a-z]*(?:[ -](\d{4})(?:[ _T](\S.*))?)?", re.ASCII
)
_NUMBERED: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[ _T](\S.*))?", re.ASCII)
_REVERSED: Final = re.compile(r"(?:#T)?(\d{2})-(\d{2})-(\d{4})(?:[ _T](\S.*))?", re.ASCII)
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
#: Sunday is 0, as in the tables of administrators; :meth:`datetime.isoweekday` modulo 7.
_DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

DAY_NAMES: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
MONTH_NAMES: Final = tuple(name.capitalize() for name in _MONTHS)

Test = Callable[[datetime], bool]
"""Whether a local time is meant."""


def day_second(moment: datetime) -> int:
    """Seconds since local midnight, by the clock on the wall."""
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def parse_time(text: str) -> int:
    """``7:30``, ``7:30am``, ``19:30:15``, ``24:00`` as seconds since midnight."""
    match = _TIME.fullmatch(text.strip())
    if match is not None:
        hour, minute, second = int(match[1]), int(match[2] or 0), int(match[3] or 0)
        half = (match[4] or "").lower()
        plausible = minute < 60 and second < 60
        if half and 1 <= hour <= 12 and plausible:
            return (hour % 12 + (12 if half == "pm" else 0)) * 3600 + minute * 60 + second
        whole = hour * 3600 + minute * 60 + second
        # "7" alone may be anything: hours are written with minutes.
        if not half and match[2] is not None and plausible and whole <= _DAY_S:
            return whole
    raise RuleError(f'"{text}" is no time of day: expected 09:00, 7:30pm or 18:30:00')


def time_test(text: str) -> Test:
    """One time (that minute) or one interval ``from-until``; it may go over midnight."""
    begin_text, dash, end_text = text.partition("-")
    begin = parse_time(begin_text)
    if not dash:
        minute = begin // 60
        return lambda moment: moment.hour * 60 + moment.minute == minute
    end = parse_time(end_text)
    if begin <= end:
        return lambda moment: begin <= day_second(moment) < end
    return lambda moment: not end <= day_second(moment) < begin


class Date(NamedTuple):
    """A date or moment of local time; `year` 0: each year, `second` -1: the whole day."""

    year: int
    month: int
    day: int
    second: int = -1


def parse_date(text: str) -> Date:
    """One date; see the module."""
    text = text.strip()
    year = month = day = 0
    rest: str | None = None
    if (match := _WORDED.fullmatch(text)) is not None:
        day, month, year = int(match[1]), _MONTHS.get(match[2].lower(), 0), int(match[3] or 0)
        rest = match[4]
    elif (match := _NUMBERED.fullmatch(text)) is not None:
        year, month, day, rest = int(match[1]), int(match[2]), int(match[3]), match[4]
    elif (match := _REVERSED.fullmatch(text)) is not None:
        day, month, year, rest = int(match[1]), int(match[2]), int(match[3]), match[4]
    try:
        date(year or 2000, month, day)  # 2000 had a 29th of February
    except ValueError:
        raise RuleError(
            f'"{text}" is no date: expected 01 Jun 2026, 01 Jun 2026 12:30:00, 2026-06-01, or '
            "25 Dec for each year"
        ) from None
    return Date(year, month, day, -1 if rest is None else parse_time(rest))


def date_test(text: str) -> Test:
    """One day or moment, or a span of days ``from-until`` that contains both."""
    begin_text, end_text = _span(text)
    begin = parse_date(begin_text)
    if end_text is None:
        return _single(begin)
    end = parse_date(end_text)
    if bool(begin.year) != bool(end.year):
        raise RuleError(f'"{text}": either both dates have a year or neither has')
    first = (*begin[:3], max(0, begin.second))
    last = (*end[:3], _DAY_S if end.second < 0 else end.second)
    if not begin.year:
        head, tail = first[1:], last[1:]
        if head <= tail:
            return lambda moment: head <= _date_key(moment)[1:] <= tail
        return lambda moment: not tail < _date_key(moment)[1:] < head
    if first > last:
        raise RuleError(f'"{text}": the span ends before it begins')
    return lambda moment: first <= _date_key(moment) <= last


def later_test(text: str) -> Test:
    """``greater than``: after the moment, or after the whole day."""
    day = _with_year(text)
    bound = (*day[:3], _DAY_S if day.second < 0 else day.second)
    return lambda moment: _date_key(moment) > bound


def earlier_test(text: str) -> Test:
    """``less than``: before the moment, or before the day begins."""
    day = _with_year(text)
    bound = (*day[:3], max(0, day.second))
    return lambda moment: _date_key(moment) < bound


def _with_year(text: str) -> Date:
    found = parse_date(text)
    if not found.year:
        raise RuleError(f'"{text}" has no year: greater and less compare with one')
    return found


def _single(wanted: Date) -> Test:
    year, month, day, second = wanted

    def test(moment: datetime) -> bool:
        return (
            moment.day == day
            and moment.month == month
            and (not year or moment.year == year)
            and (second < 0 or day_second(moment) == second)
        )

    return test


def _span(text: str) -> tuple[str, str | None]:
    """``from-until``; the hyphens of ``2026-06-01`` and ``01-06-2026`` are not meant."""
    text = text.strip()
    try:
        parse_date(text)
    except RuleError:
        for index, letter in enumerate(text):
            if letter == "-":
                begin, end = text[:index], text[index + 1 :]
                try:
                    parse_date(begin)
                    parse_date(end)
                except RuleError:
                    continue
                return begin, end
    return text, None


def _date_key(moment: datetime) -> tuple[int, int, int, int]:
    return moment.year, moment.month, moment.day, day_second(moment)


def parse_day(text: str) -> int:
    """``Mon``, ``monday``, ``1``: the number of a weekday, Sunday is 0."""
    word = text.strip().lower()
    if len(word) == 1 and word in "0123456":
        return int(word)
    if len(word) >= 3:
        for number, name in enumerate(_DAYS):
            if name.startswith(word):
                return number
    raise RuleError(f'"{text.strip()}" is no day: expected Mon, Tue, … Sun, or Mon-Fri')


def parse_days(text: str) -> frozenset[int]:
    """One day or a span ``Mon-Fri``; it may go over the end of the week."""
    begin_text, dash, end_text = text.partition("-")
    begin = parse_day(begin_text)
    if not dash:
        return frozenset((begin,))
    end = parse_day(end_text)
    return frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def show_time(moment: datetime) -> str:
    """As traces show the value of ``Time Of Day``."""
    return f"{moment.hour:02}:{moment.minute:02}:{moment.second:02}"


def show_date(moment: datetime) -> str:
    """As traces show the value of ``Current Date``."""
    return f"{moment.day:02} {MONTH_NAMES[moment.month - 1]} {moment.year:04} {show_time(moment)}"


def show_day(moment: datetime) -> str:
    """As traces show the value of ``Current Day``."""
    return DAY_NAMES[moment.isoweekday() % 7]
