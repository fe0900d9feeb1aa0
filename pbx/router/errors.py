"""The error tree of ``pbx.router``.

::

    RouterError
    ├── AddressError   a text is no address; says where and what was expected
    └── TableError     a Router table cannot be used; carries a problem for each line that is wrong

None of them is raised by :func:`pbx.router.engine.route`: there a bad address is a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pbx.kernel.errors import PbxError


class RouterError(PbxError):
    """Base of what the router raises."""


class AddressError(RouterError):
    """A text that is no address."""

    def __init__(self, text: str, column: int, expected: str) -> None:
        shown = text if len(text) <= 80 else f"{text[:77]}…"
        super().__init__(f"{shown!r} is no address: column {column}: expected {expected}")
        self.column = column
        """Counted from 1."""
        self.expected = expected


class Problem(NamedTuple):
    """What is wrong in one line of a table."""

    line: int
    column: int
    """Both counted from 1."""
    expected: str
    found: str = ""
    """What stands there instead; empty at the end of the line."""

    def __str__(self) -> str:
        found = f", not {self.found!r}" if self.found else ""
        return f"line {self.line}, column {self.column}: expected {self.expected}{found}"


class TableError(RouterError):
    """A table with errors is refused as a whole: nothing of it is used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("the Router table is refused:\n" + "\n".join(map(str, problems)))
        self.problems = tuple(problems)
