"""Values as text and back (CG/PL reference §3), as commands and logs show them.

This is the one place where ``pbx.script`` knows that notation: a shared library of data formats can
take its place behind :func:`object_to_text`, :func:`text_to_object` and the date functions.
"""

from __future__ import annotations

import base64
import binascii
import re
from calendar import timegm
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from pbx.script.errors import ProgramException
from pbx.script.limits import MAX_ELEMENTS, MAX_NESTING, Meter
from pbx.script.values import (
    FUTURE,
    MAX_NUMBER,
    MIN_NUMBER,
    PAST,
    Data,
    Dictionary,
    Handle,
    IpAddress,
    TaskHandle,
    Timestamp,
    Value,
    Xml,
)
from pbx.script.xml_text import XmlError, parse_xml, write_xml

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - timestamps have no zone
_PLAIN: Final = re.compile(rb"[A-Za-z0-9@_.\-]+\Z")
_QUOTED: Final = re.compile(rb'[\x00-\x1f\x7f"\\]')
_DATE: Final = re.compile(
    rb"([0-9]{1,2})-([0-9]{1,2})-([0-9]{4})(?:[_ ]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?)?"
)
_NUMBER: Final = re.compile(rb"-?(?:0x([0-9A-Fa-f]+)|0o([0-7]+)|0b([01]+)|[0-9]+)")
_ADDRESS: Final = re.compile(rb"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?")
_BARE: Final = re.compile(rb"[A-Za-z0-9@_.\-\x80-\xff]+")
_BLANK: Final = re.compile(rb"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_MAX_NUMBER_CHARS: Final = 70


# Timestamps.


def moment(timestamp: Timestamp) -> datetime:
    """Date and time of a timestamp that is not special."""
    return _EPOCH + timedelta(seconds=timestamp.seconds)


def timestamp_of(when: datetime) -> Timestamp:
    """The reverse; the zone of `when` is ignored."""
    return Timestamp(timegm(when.timetuple()))


def date_text(timestamp: Timestamp) -> bytes:
    """``dd-mm-yyyy_hh:mm:ss``, ``PAST`` or ``FUTURE``."""
    if timestamp == PAST:
        return b"PAST"
    if timestamp == FUTURE:
        return b"FUTURE"
    when = moment(timestamp)
    return (
        f"{when.day:02}-{when.month:02}-{when.year:04}"
        f"_{when.hour:02}:{when.minute:02}:{when.second:02}"
    ).encode()


def parse_date(text: bytes) -> Timestamp | None:
    """A timestamp from its text form, with or without ``#T``; None if it is none."""
    text = text.removeprefix(b"#T")
    if text.upper() == b"PAST":
        return PAST
    if text.upper() == b"FUTURE":
        return FUTURE
    match = _DATE.fullmatch(text)
    return None if match is None else _date(match)


def _date(match: re.Match[bytes]) -> Timestamp | None:
    day, month, year, hour, minute, second = (int(part or 0) for part in match.groups())
    try:
        when = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
    except ValueError:
        return None
    return timestamp_of(when)


def parse_address(text: bytes) -> IpAddress | None:
    """``[10.0.0.1]:5060``, ``[::1]``, ``10.0.0.1`` or ``10.0.0.1:5060``; None if it is none."""
    match = _ADDRESS.fullmatch(text)
    host, port = (match.groups()) if match is not None else (text, None)
    if match is None and text.count(b":") == 1:
        host, _, port = text.partition(b":")
    try:
        number = int(port) if port else 0
        address = ip_address(host.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None
    return IpAddress(address, number) if 0 <= number <= 65535 else None


# Values to text.


def object_to_text(m: Meter, value: Value) -> bytes:
    """The text form. Raises ``LimitExceeded`` or ``ProgramException`` for monstrous values."""
    parts: list[bytes] = []
    _write(m, value, parts, 0)
    return m.sized(b"".join(parts))


def _write(m: Meter, value: Value, parts: list[bytes], depth: int) -> None:
    if depth > MAX_NESTING:
        raise ProgramException(f"objects nested deeper than {MAX_NESTING} have no text form")
    if value is None:
        parts.append(b"#null#")
    elif isinstance(value, bytes):
        m.allocate(len(value))
        parts.append(quote(value))
    elif isinstance(value, int):
        m.allocate(8)
        parts.append(b"#%d" % value)
    elif isinstance(value, list):
        m.allocate(2 + len(value))
        m.charge(1 + len(value))
        parts.append(b"(")
        for number, one in enumerate(value):
            if number:
                parts.append(b",")
            _write(m, one, parts, depth + 1)
        parts.append(b")")
    elif isinstance(value, Dictionary):
        m.allocate(2 + 2 * len(value))
        m.charge(1 + len(value))
        parts.append(b"{")
        for key, one in value.items():
            m.allocate(len(key))
            parts += (quote(key), b"=")
            _write(m, one, parts, depth + 1)
            parts.append(b";")
        parts.append(b"}")
    else:
        text = _scalar(m, value)
        m.allocate(len(text))
        parts.append(text)


def _scalar(m: Meter, value: Value) -> bytes:
    match value:
        case Data(octets):
            return b"[" + base64.b64encode(octets) + b"]"
        case Timestamp():
            return b"#T" + date_text(value)
        case IpAddress():
            return b"#I" + str(value).encode()
        case Xml():
            return write_xml(m, value)
        case TaskHandle(task_id):
            return b"#task:" + task_id.encode()
        case Handle(kind, number):
            return f"#{kind}:{number}".encode()
        case _:
            raise AssertionError(value)


def quote(text: bytes) -> bytes:
    """A string as it stands in the text form: bare when that is unambiguous."""
    if _PLAIN.match(text):
        return text
    return b'"' + _QUOTED.sub(_escape, text) + b'"'


def _escape(match: re.Match[bytes]) -> bytes:
    byte = match.group()
    simple = {b'"': b'\\"', b"\\": b"\\\\", b"\r": b"\\r", b"\n": b"\\n", b"\t": b"\\t"}
    return simple.get(byte) or b"\\%03d" % byte[0]


# Text to values.


def text_to_object(m: Meter, text: bytes) -> Value:
    """The value that a text describes, or null when it is malformed."""
    try:
        return _Reader(m, text).whole()
    except _Malformed:
        return None


class _Malformed(Exception):
    pass


class _Reader:
    def __init__(self, m: Meter, text: bytes) -> None:
        self._meter = m
        self._text = text
        self._at = 0

    def whole(self) -> Value:
        value = self._value(0)
        self._blank()
        if self._at != len(self._text):
            raise _Malformed
        return value

    def _blank(self) -> None:
        match = _BLANK.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _peek(self) -> bytes:
        return self._text[self._at : self._at + 1]

    def _accept(self, sign: bytes) -> bool:
        self._blank()
        if self._text.startswith(sign, self._at):
            self._at += len(sign)
            return True
        return False

    def _expect(self, sign: bytes) -> None:
        if not self._accept(sign):
            raise _Malformed

    def _value(self, depth: int) -> Value:
        if depth > MAX_NESTING:
            raise _Malformed
        self._meter.charge(1)
        self._blank()
        char = self._peek()
        if char == b"(":
            return self._array(depth)
        if char == b"{":
            return self._dictionary(depth)
        if char == b"[":
            return self._data()
        if char == b"#":
            return self._special()
        if char == b"<":
            return self._xml()
        return self._string()

    def _array(self, depth: int) -> Value:
        self._expect(b"(")
        found: list[Value] = []
        if self._accept(b")"):
            return found
        while True:
            one = self._value(depth + 1)
            self._meter.keep(one)
            found.append(one)
            if len(found) > MAX_ELEMENTS:
                raise _Malformed
            if self._accept(b")"):
                return found
            self._expect(b",")

    def _dictionary(self, depth: int) -> Value:
        self._expect(b"{")
        found = Dictionary()
        while not self._accept(b"}"):
            self._blank()
            key = self._string()
            self._expect(b"=")
            one = self._value(depth + 1)
            self._meter.keep(key)
            self._meter.keep(one)
            found.set(key, one)
            if not self._accept(b";"):
                self._expect(b"}")
                return found
        return found

    def _data(self) -> Value:
        end = self._text.find(b"]", self._at)
        if end < 0:
            raise _Malformed
        body = b"".join(self._text[self._at + 1 : end].split())
        self._at = end + 1
        try:
            octets = base64.b64decode(body, validate=True)
        except binascii.Error:
            raise _Malformed from None
        return self._meter.sized_data(octets)

    def _special(self) -> Value:
        self._at += 1
        text, at = self._text, self._at
        if text[at : at + 5].upper() == b"NULL#":
            self._at += 5
            return None
        char = text[at : at + 1].upper()
        if char == b"T":
            for word, value in ((b"PAST", PAST), (b"FUTURE", FUTURE)):
                if text[at + 1 : at + 1 + len(word)].upper() == word:
                    self._at += 1 + len(word)
                    return value
            found = _date(self._match(_DATE, at + 1))
            if found is None:
                raise _Malformed
            return found
        if char == b"I":
            address = parse_address(self._match(_ADDRESS, at + 1).group())
            if address is None:
                raise _Malformed
            return address
        return self._number(at)

    def _number(self, at: int) -> int:
        match = self._match(_NUMBER, at)
        digits = match.group()
        if len(digits) > _MAX_NUMBER_CHARS:
            raise _Malformed
        number = int(digits, 0) if any(match.groups()) else int(digits)
        if not MIN_NUMBER <= number <= MAX_NUMBER:
            raise _Malformed
        return number

    def _match(self, pattern: re.Pattern[bytes], at: int) -> re.Match[bytes]:
        match = pattern.match(self._text, at)
        if match is None:
            raise _Malformed
        self._at = match.end()
        return match

    def _xml(self) -> Value:
        try:
            element, self._at = parse_xml(self._meter, self._text, self._at)
        except XmlError:
            raise _Malformed from None
        return element

    def _string(self) -> bytes:
        if self._peek() != b'"':
            return self._match(_BARE, self._at).group()
        text = self._text
        parts: list[bytes] = []
        at = self._at + 1
        while True:
            stop = at
            while stop < len(text) and text[stop] not in b'"\\':
                stop += 1
            if stop >= len(text):
                raise _Malformed
            parts.append(text[at:stop])
            if text[stop : stop + 1] == b'"':
                self._at = stop + 1
                return self._meter.sized(b"".join(parts))
            piece, at = _unescape(text, stop + 1)
            parts.append(piece)


def _unescape(text: bytes, at: int) -> tuple[bytes, int]:
    """What follows a backslash at `at` - 1, and where the text goes on."""
    char = text[at : at + 1]
    simple = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"e": b"\n", b'"': b'"', b"\\": b"\\"}
    if char in simple:
        return simple[char], at + 1
    digits = text[at : at + 3]
    if len(digits) == 3 and digits.isdigit() and int(digits) < 256:
        return bytes((int(digits),)), at + 3
    if char == b"u" and text[at + 1 : at + 2] == b"'":
        end = text.find(b"'", at + 2)
        if 0 < end <= at + 8:
            try:
                return chr(int(text[at + 2 : end], 16)).encode("utf-8"), end + 1
            except (ValueError, OverflowError, UnicodeEncodeError):
                raise _Malformed from None
    raise _Malformed
