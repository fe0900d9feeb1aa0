"""A program text with its name: offsets to lines and columns, excerpts for messages.

Line ends are CR, LF or CRLF (CG/PL reference §1). The text is UTF-8 without a byte order mark.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from pbx.script.errors import CompileError, Diagnostic, Severity

_LINE_END: Final = re.compile(r"\r\n|\r|\n")

MAX_SOURCE_BYTES: Final = 1 << 20
"""The size up to which environment files are read at all (CG/PL reference §8)."""

EXCERPT_CHARS: Final = 200
"""Longer lines are cut in messages: they go into logs."""


class Source:
    """One file of program text."""

    __slots__ = ("_lines", "_starts", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        starts = [0]
        starts.extend(match.end() for match in _LINE_END.finditer(text))
        self._starts = starts
        self._lines: list[str] | None = None

    @classmethod
    def from_bytes(cls, name: str, data: bytes) -> Source:
        """Decode a stored file. Raises ``CompileError`` if it is too large or not UTF-8."""
        if len(data) > MAX_SOURCE_BYTES:
            raise CompileError(
                (_plain(name, f"the program is larger than {MAX_SOURCE_BYTES} bytes"),)
            )
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = len(_LINE_END.findall(data[: error.start].decode("utf-8", "replace"))) + 1
            raise CompileError(
                (_plain(name, "the text is not UTF-8: save the file as UTF-8", line),)
            ) from None
        return cls(name, text)

    def locate(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of a character offset."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Text of a line (from 1) without its end, at most 200 characters; "" if there is none."""
        if self._lines is None:
            self._lines = _LINE_END.split(self.text)
        if 0 < number <= len(self._lines):
            return self._lines[number - 1][:EXCERPT_CHARS]
        return ""

    def diagnostic(
        self, offset: int, message: str, severity: Severity = Severity.ERROR
    ) -> Diagnostic:
        """A finding at `offset`."""
        line, column = self.locate(offset)
        return Diagnostic(severity, message, self.name, line, column, self.line(line))

    def error(self, offset: int, message: str) -> CompileError:
        """A compile error at `offset`, to be raised by the caller."""
        return CompileError((self.diagnostic(offset, message),))


def _plain(name: str, message: str, line: int = 1) -> Diagnostic:
    return Diagnostic(Severity.ERROR, message, name, line, 1)
