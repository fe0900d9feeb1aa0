r"""Patterns of the Router table: literal text with at most one wildcard (Router reference §2.2).

``*`` stands for any text, ``(3d)`` for three decimal digits, ``(7-20d)`` for seven to twenty. A
backslash takes a character literally: ``\*(2d)`` is a star and two digits. Comparison ignores the
case of ASCII letters. A pattern always fits the whole text.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final

from pbx.router.address import fold_case

MAX_DIGITS: Final = 128
"""Upper bound of a digit class: names are no longer."""

_DIGIT_CLASS: Final = re.compile(r"\(([0-9]{1,3})(?:-([0-9]{1,3}))?d\)", re.ASCII | re.IGNORECASE)


class Wildcard(IntEnum):
    """What a pattern has between its prefix and its suffix."""

    NONE = 0
    ANY = 1
    DIGITS = 2


class PatternError(Exception):
    """`column` counts from 0 in the pattern's text; the table's parser makes a problem of it."""

    def __init__(self, column: int, expected: str, found: str) -> None:
        super().__init__(expected)
        self.column = column
        self.expected = expected
        self.found = found


class Pattern:
    """A compiled pattern; immutable."""

    __slots__ = ("high", "low", "prefix", "suffix", "wildcard")

    def __init__(
        self, prefix: str, wildcard: Wildcard, suffix: str, low: int = 0, high: int = 0
    ) -> None:
        self.prefix = fold_case(prefix)
        """The whole text of a pattern without a wildcard."""
        self.wildcard = wildcard
        self.suffix = fold_case(suffix)
        self.low = low
        self.high = high
        """Digits, if the wildcard is of digits."""

    def fits(self, text: str) -> bool:
        """Whether the whole of `text` (see :func:`~pbx.router.address.fold_case`) matches."""
        if self.wildcard is Wildcard.NONE:
            return text == self.prefix
        prefix, suffix = self.prefix, self.suffix
        length = len(text) - len(prefix) - len(suffix)
        if length < self.low or not text.startswith(prefix) or not text.endswith(suffix):
            return False
        if self.wildcard is Wildcard.ANY:
            return True
        captured = text[len(prefix) : len(prefix) + length]
        return length <= self.high and captured.isdigit() and captured.isascii()

    def captured(self, text: str) -> str:
        """What the wildcard stands for in a text that fits, in the case it was written."""
        return text[len(self.prefix) : len(text) - len(self.suffix)]

    def __str__(self) -> str:
        middle = ""
        if self.wildcard is Wildcard.ANY:
            middle = "*"
        elif self.wildcard is Wildcard.DIGITS:
            exactly = self.low == self.high
            middle = f"({self.low}d)" if exactly else f"({self.low}-{self.high}d)"
        return f"{escaped(self.prefix)}{middle}{escaped(self.suffix)}"

    def __repr__(self) -> str:
        return f"Pattern({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return (self.prefix, self.wildcard, self.suffix, self.low, self.high)


def escaped(literal: str) -> str:
    """Literal text as it stands in a pattern."""
    return re.sub(r"([\\*(<>;])", r"\\\1", literal)


def parse_pattern(text: str) -> Pattern:
    """Read a pattern. Raises :class:`PatternError`."""
    before: list[str] = []
    after: list[str] = []
    literal = before
    wildcard = Wildcard.NONE
    low = high = 0
    at = 0
    while at < len(text):
        character = text[at]
        if character in "*(" and wildcard is not Wildcard.NONE:
            raise PatternError(
                at,
                r"literal text after the wildcard (one wildcard a part; a star is \*)",
                character,
            )
        if character == "\\":
            if at + 1 == len(text):
                raise PatternError(at, "a character after the backslash", "")
            literal.append(text[at + 1])
            at += 2
            continue
        if character == "*":
            wildcard = Wildcard.ANY
            literal = after
        elif character == "(":
            low, high, length = _digits(text, at)
            wildcard = Wildcard.DIGITS
            literal = after
            at += length - 1
        elif character.isspace():
            raise PatternError(at, "a character other than a blank", character)
        else:
            literal.append(character)
        at += 1
    return Pattern("".join(before), wildcard, "".join(after), low, high)


def _digits(text: str, at: int) -> tuple[int, int, int]:
    """Bounds and length of the digit class at `at`."""
    found = _DIGIT_CLASS.match(text, at)
    if found is None:
        end = text.find(")", at) + 1 or len(text)
        raise PatternError(at, r"a digit class such as (3d) or (7-20d), or \(", text[at:end])
    low = int(found.group(1))
    high = int(found.group(2) or low)
    if not 1 <= low <= high <= MAX_DIGITS:
        raise PatternError(
            at, f"a digit class of 1 to {MAX_DIGITS} digits, the smaller first", found.group()
        )
    return low, high, found.end() - at
