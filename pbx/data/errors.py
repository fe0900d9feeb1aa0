"""The error tree of ``pbx.data``.

::

    PbxError
    └── DataError
        ├── DataSyntax    the text is not of the format; says where, and what was expected
        └── DataLimit     too deep, too long: refused before it costs anything
"""

from __future__ import annotations

from typing import NamedTuple

from pbx.kernel.errors import PbxError

_SHOWN = 20
"""Characters of the input that an error repeats: enough to find the place by eye."""


class Place(NamedTuple):
    """Where in a text: both count from 1; a column is a character, not a byte."""

    line: int
    column: int


class DataError(PbxError):
    """A text is no object of the data format."""


class DataSyntax(DataError):
    """The text breaks the grammar at :attr:`place`, where :attr:`expected` should stand."""

    def __init__(self, place: Place, expected: str, found: str) -> None:
        super().__init__(
            f"line {place.line}, column {place.column}: expected {expected}, found {found}"
        )
        self.place = place
        self.expected = expected
        self.found = found


class DataLimit(DataError):
    """A bound of :class:`~pbx.data.values.Limits` was passed."""


def place_of(text: str, offset: int) -> Place:
    """The place of the character at `offset`; lines end with LF, CR or both."""
    before = text[:offset].replace("\r\n", "\n").replace("\r", "\n")
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def syntax_error(text: str, offset: int, expected: str) -> DataSyntax:
    """The error for what stands at `offset` of `text`."""
    rest = text[offset : offset + _SHOWN + 1]
    if not rest:
        found = "the end"
    else:
        line = rest[:_SHOWN].splitlines()[0] if rest[0] not in "\r\n" else "the end of the line"
        shown = line if rest[0] in "\r\n" else repr(line) + ("…" if len(rest) > _SHOWN else "")
        found = shown
    return DataSyntax(place_of(text, offset), expected, found)
