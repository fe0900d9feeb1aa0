"""Text to values: one object, or the words of a command line.

Recursive descent over :mod:`pbx.data.lexis`, linear in the length of the text. Every error names
line, column and what was expected there; nothing is guessed.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from datetime import UTC, datetime
from typing import Final, NamedTuple

from pbx.data import lexis
from pbx.data.errors import DataLimit, DataSyntax, syntax_error
from pbx.data.values import (
    DEFAULT_LIMITS,
    NUMBER_MAX,
    NUMBER_MIN,
    Era,
    IpAddress,
    Limits,
    Value,
    XmlObject,
)

_NUMBER_CHARS: Final = 80
"""A number of 64 bits in binary has 66 characters; longer ones are out of range unread."""


class Word(NamedTuple):
    """One word of a command line."""

    value: Value
    bare: bool
    """Written without quotes or brackets: only such a word can be a keyword."""
    column: int
    """Of its first character, from 1."""


def parse(text: str, limits: Limits = DEFAULT_LIMITS) -> Value:
    """The one object that `text` is. Raises :class:`~pbx.data.errors.DataError`."""
    reader = _Reader(text, limits)
    reader.skip()
    value = reader.value()
    reader.skip()
    if reader.at < len(text):
        raise reader.error("the end of the object")
    return value


def words_of(line: str, limits: Limits = DEFAULT_LIMITS) -> list[Word]:
    """The words of a command line (without its line end).

    A word is an object, or a bare name of more characters than an atom has. Strings beside each
    other are words of their own here. Blanks between words are optional around brackets and
    quotes. Raises :class:`~pbx.data.errors.DataError`.
    """
    reader = _Reader(line, limits)
    words: list[Word] = []
    while True:
        reader.at = lexis.BLANKS.match(line, reader.at).end()  # type: ignore[union-attr]
        if reader.at == len(line):
            return words
        words.append(reader.word())


class _Reader:
    """A position in a text."""

    __slots__ = ("at", "depth", "limits", "text")

    def __init__(self, text: str, limits: Limits) -> None:
        if len(text) > limits.chars:
            raise DataLimit(f"an object of {len(text)} characters: {limits.chars} are the most")
        self.text = text
        self.at = 0
        self.depth = 0
        self.limits = limits

    def error(self, expected: str, offset: int | None = None) -> DataSyntax:
        return syntax_error(self.text, self.at if offset is None else offset, expected)

    def skip(self) -> None:
        self.at = lexis.WS.match(self.text, self.at).end()  # type: ignore[union-attr]
        if self.text.startswith("/*", self.at):
            raise self.error('a comment with its end "*/"')

    def word(self) -> Word:
        start = self.at
        first = self.text[start]
        if first == '"':
            return Word(self._quoted(), False, start + 1)
        if first in "([{#" or (first == "<" and lexis.XML_NAME.match(self.text, start + 1)):
            return Word(self.value(), False, start + 1)
        match = lexis.LOOSE_ATOM.match(self.text, start)
        if match is None:
            raise self.error("a word or an object")
        self.at = match.end()
        return Word(match[0], True, start + 1)

    def value(self) -> Value:
        """The object at the position, which stands on its first character."""
        first = self.text[self.at : self.at + 1]
        match first:
            case '"':
                return self._string()
            case "(":
                return self._array()
            case "{":
                return self._dictionary()
            case "[":
                return self._datablock()
            case "#":
                return self._special()
            case "<":
                return self._xml()
        found = lexis.ATOM.match(self.text, self.at)
        if found is None:
            raise self.error("an object")
        self.at = found.end()
        return found[0]

    # Strings.

    def _string(self) -> str:
        """A quoted string, with those that follow it."""
        parts = [self._quoted()]
        while True:
            self.skip()
            if not self.text.startswith('"', self.at):
                return "".join(parts)
            parts.append(self._quoted())

    def _quoted(self) -> str:
        match = lexis.QUOTED.match(self.text, self.at)
        if match is None:
            raise self.error("a string with its closing quote")
        start, inner = self.at + 1, match[1]
        self.at = match.end()
        return inner if "\\" not in inner else self._unescaped(inner, start)

    def _unescaped(self, inner: str, start: int) -> str:
        parts: list[str] = []
        at = 0
        while (found := inner.find("\\", at)) >= 0:
            parts.append(inner[at:found])
            match = lexis.ESCAPE.match(inner, found)
            assert match is not None
            letter, decimal, hexadecimal = match.groups()
            if letter is not None:
                parts.append(lexis.ESCAPES[letter])
            else:
                code = (
                    int(decimal)
                    if decimal is not None
                    else int(hexadecimal, 16)
                    if hexadecimal is not None
                    else -1
                )
                if not _is_character(code, decimal is not None):
                    raise self.error(
                        'an escape: \\\\ \\" \\r \\n \\t \\e, \\nnn with a decimal code up to 255, '
                        "or \\u'hex'",
                        start + found,
                    )
                parts.append(chr(code))
            at = match.end()
        parts.append(inner[at:])
        return "".join(parts)

    # Brackets.

    def _enter(self) -> None:
        self.depth += 1
        if self.depth > self.limits.depth:
            raise DataLimit(f"brackets nested deeper than {self.limits.depth}")
        self.at += 1
        self.skip()

    def _array(self) -> list[Value]:
        self._enter()
        items: list[Value] = []
        if not self._takes(")"):
            while True:
                items.append(self.value())
                self.skip()
                if self._takes(")"):
                    break
                if not self._takes(","):
                    raise self.error('"," or ")" after an element of an array')
                self.skip()
        self.depth -= 1
        return items

    def _dictionary(self) -> dict[str, Value]:
        self._enter()
        items: dict[str, Value] = {}
        while not self._takes("}"):
            start = self.at
            key = self._key()
            if key in items:
                raise self.error(f"a key that is not in the dictionary yet ({key!r} is)", start)
            self.skip()
            if not self._takes("="):
                raise self.error('"=" after a key')
            self.skip()
            items[key] = self.value()
            self.skip()
            if not self._takes(";"):
                raise self.error('";" after a value of a dictionary')
            self.skip()
        self.depth -= 1
        return items

    def _key(self) -> str:
        if self.text.startswith('"', self.at):
            return self._string()
        match = lexis.ATOM.match(self.text, self.at)
        if match is None:
            raise self.error('a key or "}"')
        self.at = match.end()
        return match[0]

    def _takes(self, mark: str) -> bool:
        if self.text.startswith(mark, self.at):
            self.at += 1
            return True
        return False

    # Blocks and numbers.

    def _datablock(self) -> bytes:
        parts: list[bytes] = []
        while self.text.startswith("[", self.at):
            match = lexis.DATABLOCK.match(self.text, self.at)
            if match is None:
                raise self.error("a data block: base64 between [ and ]")
            try:
                parts.append(base64.b64decode("".join(match[1].split()), validate=True))
            except binascii.Error:
                raise self.error("a data block of complete base64") from None
            self.at = match.end()
            after = self.at
            self.skip()
        self.at = after
        return b"".join(parts)

    def _special(self) -> Value:
        text, at = self.text, self.at
        match text[at + 1 : at + 2]:
            case "T":
                return self._timestamp()
            case "I":
                return self._address()
            case "(":
                raise self.error("an object that can be read: #(…) is a handle, for showing only")
        found = lexis.NULL.match(text, at)
        if found is not None:
            self.at = found.end()
            return None
        found = lexis.NUMBER.match(text, at)
        if found is None or lexis.ATOM.match(text, found.end()):
            raise self.error("a number such as #50 or #0x1F, #T…, #I[…] or #NULL#")
        if found.end() - at > _NUMBER_CHARS:
            raise self.error("a number of 64 bits")
        sign, hexadecimal, octal, binary, decimal = found.groups()
        number = int(hexadecimal or octal or binary or decimal, _base(hexadecimal, octal, binary))
        number = -number if sign else number
        if not NUMBER_MIN <= number <= NUMBER_MAX:
            raise self.error("a number of 64 bits")
        self.at = found.end()
        return number

    def _timestamp(self) -> datetime | Era:
        match = lexis.TIMESTAMP.match(self.text, self.at)
        if match is None:
            raise self.error("a time such as #T22-10-2009_15:24:45, #T22-10-2009 or #TPAST")
        day, month, year, hour, minute, second, era = match.groups()
        start, self.at = self.at, match.end()
        if era is not None:
            return Era(era)
        clock = (int(hour or 0), int(minute or 0), int(second or 0))
        try:
            return datetime(int(year), int(month), int(day), *clock, tzinfo=UTC)
        except ValueError:
            raise self.error("a time that exists: #Tday-month-year_hour:min:sec", start) from None

    def _address(self) -> IpAddress:
        match = lexis.ADDRESS.match(self.text, self.at)
        if match is None:
            raise self.error("an address such as #I[10.0.44.55] or #I[2001:db8::1]:25")
        try:
            host = ipaddress.ip_address(match[1])
        except ValueError:
            raise self.error("an IPv4 or IPv6 address between #I[ and ]") from None
        port = None if match[2] is None else int(match[2])
        if port is not None and port > 65_535:
            raise self.error("a port up to 65535")
        self.at = match.end()
        return IpAddress(host, port)

    # XML.

    def _xml(self) -> XmlObject:
        """One element with all that is in it; tags must match."""
        text, start = self.text, self.at
        open_tags: list[str] = []
        while True:
            if open_tags:
                found = text.find("<", self.at)
                if found < 0:
                    raise self.error(f"</{open_tags[-1]}>", len(text))
                self.at = found
                if self._xml_skips():
                    continue
            closing = text.startswith("</", self.at)
            name = lexis.XML_NAME.match(text, self.at + (2 if closing else 1))
            if name is None:
                raise self.error("the name of an XML element")
            rest = lexis.XML_TAG_REST.match(text, name.end())
            if rest is None:
                raise self.error("an XML tag with its closing >")
            if closing:
                if not open_tags or open_tags[-1] != name[0]:
                    raise self.error(f"</{open_tags[-1]}>" if open_tags else "an XML element")
                open_tags.pop()
            elif not rest[1]:
                open_tags.append(name[0])
                if self.depth + len(open_tags) > self.limits.depth:
                    raise DataLimit(f"XML nested deeper than {self.limits.depth}")
            self.at = rest.end()
            if not open_tags:
                return XmlObject(text[start : self.at])

    def _xml_skips(self) -> bool:
        for pattern, mark, words in (
            (lexis.XML_COMMENT, "<!--", "an XML comment with its end -->"),
            (lexis.XML_CDATA, "<![CDATA[", "a CDATA section with its end ]]>"),
        ):
            if self.text.startswith(mark, self.at):
                match = pattern.match(self.text, self.at)
                if match is None:
                    raise self.error(words)
                self.at = match.end()
                return True
        return False


def _is_character(code: int, decimal: bool) -> bool:
    if decimal:
        return code <= 255
    return 0 <= code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF


def _base(hexadecimal: str | None, octal: str | None, binary: str | None) -> int:
    return 16 if hexadecimal else 8 if octal else 2 if binary else 10
