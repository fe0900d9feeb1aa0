"""Timestamps and ip-addresses (CG/PL reference §9.4). What reads the clock is a host request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final

from pbx.script.builtins.registry import pure
from pbx.script.textform import moment, parse_address, parse_date, timestamp_of
from pbx.script.values import FUTURE, PAST, IpAddress, Timestamp, Value

MONTHS: Final = (
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun",
    b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
)  # fmt: skip
WEEK_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
DAY_S: Final = 86400
_MAX_DAYS: Final = 2_900_000
"""Beyond the year 9900; later days are the remote future."""


@pure("Date")
def to_date(value: Value) -> Value:
    """A timestamp from a timestamp, day number or text."""
    if isinstance(value, Timestamp):
        return value
    if isinstance(value, bytes):
        return parse_date(value)
    if isinstance(value, int):
        if value == 0:
            return PAST
        if value < 0 or value > _MAX_DAYS:
            return FUTURE
        return Timestamp(value * DAY_S)
    return None


def _part(name: str, past: int, future: int, take: Callable[[datetime], int]) -> None:
    def function(value: Any) -> Value:
        if not isinstance(value, Timestamp):
            return None
        if value.special:
            return past if value == PAST else future
        return take(moment(value))

    function.__doc__ = f"{name} of a timestamp."
    pure(name)(function)


_part("Year", 0, 9999, lambda when: when.year)
_part("Hour", 0, 9999, lambda when: when.hour)
_part("Minute", 0, 9999, lambda when: when.minute)
_part("Second", 0, 9999, lambda when: when.second)
_part("MonthNum", 1, 12, lambda when: when.month)
_part("MonthDay", 1, 31, lambda when: when.day)
_part("YearDay", 1, 366, lambda when: when.timetuple().tm_yday)
_part(
    "TimeOfDay",
    0,
    DAY_S - 1,
    lambda when: when.hour * 3600 + when.minute * 60 + when.second,
)


@pure("Month")
def month(value: Value) -> Value:
    """The name of the month of a timestamp, or of a number 1 to 12."""
    if isinstance(value, int):
        return MONTHS[value - 1] if 1 <= value <= 12 else None
    if not isinstance(value, Timestamp):
        return None
    if value.special:
        return MONTHS[0] if value == PAST else MONTHS[11]
    return MONTHS[moment(value).month - 1]


@pure("WeekDay")
def week_day(value: Value) -> Value:
    """The name of the week day."""
    if not isinstance(value, Timestamp):
        return None
    return WEEK_DAYS[0] if value.special else WEEK_DAYS[moment(value).weekday()]


@pure("DateNumber")
def date_number(value: Value) -> Value:
    """Full days since 1-Jan-1970."""
    if not isinstance(value, Timestamp):
        return None
    if value.special:
        return 0 if value == PAST else _MAX_DAYS
    return value.seconds // DAY_S


@pure("DateByMonthDay")
def date_by_month_day(year: Value, month_number: Value, day: Value) -> Value:
    """Midnight of a day, or null if there is no such day."""
    if not (isinstance(year, int) and isinstance(month_number, int) and isinstance(day, int)):
        return None
    try:
        return timestamp_of(datetime(year, month_number, day))  # noqa: DTZ001
    except (ValueError, OverflowError):
        return None


@pure("DateByYearDay")
def date_by_year_day(year: Value, day: Value) -> Value:
    """Midnight of the n-th day of a year, or null."""
    if not (isinstance(year, int) and isinstance(day, int)) or not 1 <= year <= 9999:
        return None
    leap = (date(year, 12, 31) - date(year, 1, 1)).days + 1
    if not 1 <= day <= leap:
        return None
    first = timestamp_of(datetime(year, 1, 1))  # noqa: DTZ001
    return first.moved((day - 1) * DAY_S)


@pure("IPAddress")
def to_ip_address(value: Value) -> Value:
    """An ip-address from its text."""
    if isinstance(value, IpAddress):
        return value
    return parse_address(value) if isinstance(value, bytes) else None
