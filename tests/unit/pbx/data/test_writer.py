"""Values to text: what is quoted, what is escaped, and the pretty form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address

import pytest

from pbx.data import Era, IpAddress, Opaque, Value, XmlObject, parse, write, write_pretty

TEXTS: list[tuple[Value, str]] = [
    ("A-crpt", "A-crpt"),
    ("default.html", "default.html"),
    ("1m", "1m"),
    ("Pronto-", "Pronto-"),
    ("-1", '"-1"'),
    (".x", '".x"'),
    ("S/MIME", '"S/MIME"'),
    ("1(415)", '"1(415)"'),
    ("*", '"*"'),
    ("", '""'),
    ("Петр", '"Петр"'),
    ("a\r\n\tb\x00\x7f\\\"", '"a\\r\\e\\tb\\000\\127\\\\\\""'),
    (5, "#5"),
    (None, "#NULL#"),
    (b"\x1d\xca\x87\x7c\x72", "[HcqHfHI=]"),
    (b"", "[]"),
    (Era.FUTURE, "#TFUTURE"),
    (datetime(987, 1, 2, 3, 4, 5, tzinfo=UTC), "#T02-01-0987_03:04:05"),
    (datetime(2009, 10, 22, 2, tzinfo=timezone(timedelta(hours=3))), "#T21-10-2009_23:00:00"),
    (IpAddress(ip_address("::1"), 25), "#I[::1]:25"),
    (XmlObject("<a/>"), "<a/>"),
    (Opaque("call 12"), "#(call 12)"),
    (["a", ["b c"]], '(a,("b c"))'),
    ({"b": "1", "a": {"x y": "2"}}, '{a={"x y"=2;};b=1;}'),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_canonical_text(value: Value, text: str) -> None:
    assert write(value) == text


def test_pretty_form_is_that_of_the_reference() -> None:
    value: Value = {"sipnet": {"period": "5m", "authName": "00000X"}, "empty": {}}
    assert write_pretty(value) == (
        "{\n  empty =  {};\n  sipnet =  {\n    authName =  00000X;\n    period =  5m;\n  };\n}"
    )


def test_short_arrays_stay_on_one_line_and_long_ones_are_broken() -> None:
    assert write_pretty(["10", "1m"]) == "(10, 1m)"
    long: Value = [["a" * 60], ["b" * 60]]
    assert write_pretty(long) == f"(\n  ({'a' * 60}),\n  ({'b' * 60})\n)"
    assert parse(write_pretty(long)) == long
