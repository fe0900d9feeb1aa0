"""Objects out of a text that arrives in pieces: where one ends is seen, not announced.

A reply may span lines and has no end mark: its end is where its brackets close. The scanner looks
at each character once, whatever the pieces are; a complete object then goes through the reader.
"""

from __future__ import annotations

import re
from typing import Final

from pbx.data import lexis
from pbx.data.errors import DataLimit
from pbx.data.reader import parse
from pbx.data.values import DEFAULT_LIMITS, Limits, Value

_OPENING: Final = "([{"
_CLOSING: Final = ")]}"
_NEXT: Final = re.compile(r"[\"()\[\]{}<]")
_LONGEST_MARK: Final = len("<![CDATA[")
_NOT_BLANK: Final = re.compile(r"[^ \t\r\n]")


class ObjectStream:
    """Feed text, take objects. A bare word ends at a blank, a quoted string at a blank behind its
    quote (another quoted string on the same line belongs to it), all else with its last bracket."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._text = ""
        self._at = 0
        """Everything before was scanned."""
        self._depth = 0
        self._quoted = False
        self._xml = False
        """Within an XML object."""
        self._xml_open = 0
        """Of its elements, those that are open."""
        self._started = False
        self._bracketed = False
        """The object begins with a bracket, so it ends with one; ``#I[…]:25`` does not."""

    @property
    def pending(self) -> int:
        """Characters of an object that is not complete."""
        return len(self._text)

    def feed(self, text: str) -> list[Value]:
        """The objects that are complete now.

        Raises :class:`~pbx.data.errors.DataError`; the stream is of no use then, since nobody
        knows where the next object begins.
        """
        self._text += text
        found: list[Value] = []
        while (end := self._scan()) is not None:
            found.append(parse(self._text[:end], self._limits))
            self._text = self._text[end:]
            self._at, self._started = 0, False
        if len(self._text) > self._limits.chars:
            raise DataLimit(f"an object of more than {self._limits.chars} characters")
        return found

    def finish(self) -> list[Value]:
        """What is left when no more text comes; raises as :meth:`feed` does if that is half."""
        rest, self._text, self._at = self._text, "", 0
        self._depth, self._quoted, self._started = 0, False, False
        self._xml, self._xml_open = False, 0
        return [parse(rest, self._limits)] if rest.strip() else []

    def _scan(self) -> int | None:
        """The end of the object that begins the text; None if it is not there yet."""
        text = self._text
        if not self._started:
            first = _NOT_BLANK.search(text, self._at)
            if first is None:
                self._text, self._at = "", 0
                return None
            self._at = first.start()
            self._started = True
            self._bracketed = text[self._at] in _OPENING
        while self._at < len(text):
            if self._quoted:
                if not self._scan_quoted():
                    return None
                continue
            if self._xml:
                if not self._scan_xml():
                    return None
                if self._depth == 0 and self._xml_open == 0:
                    return self._at
                continue
            if self._depth == 0:
                # A word, a quoted string or the piece before a bracket.
                character = text[self._at]
                if character in " \t\r\n":
                    return self._at
                if character == "<":
                    self._xml = True
                    continue
                self._at += 1
                if character == '"':
                    self._quoted = True
                elif character in _OPENING:
                    self._depth = 1
                continue
            match = _NEXT.search(text, self._at)
            if match is None:
                self._at = len(text)
                return None
            if match[0] == "<":
                self._at = match.start()
                self._xml = True
                continue
            self._at = match.end()
            if match[0] == '"':
                self._quoted = True
            elif match[0] in _OPENING:
                self._depth += 1
                if self._depth > self._limits.depth:
                    raise DataLimit(f"brackets nested deeper than {self._limits.depth}")
            elif match[0] in _CLOSING:
                self._depth -= 1
                if self._depth == 0 and self._bracketed:
                    return self._at
        return None

    def _scan_xml(self) -> bool:
        """Over one tag (a comment, a CDATA section); False if it is not there yet.

        A tag that cannot become one stays pending: the reader says why when the text is over.
        """
        text = self._text
        at = text.find("<", self._at)
        if at < 0:
            self._at = len(text)
            return False
        self._at = at
        if len(text) - at < _LONGEST_MARK and ">" not in text[at:]:
            return False
        for pattern, mark in ((lexis.XML_COMMENT, "<!--"), (lexis.XML_CDATA, "<![CDATA[")):
            if text.startswith(mark, at):
                match = pattern.match(text, at)
                if match is not None:
                    self._at = match.end()
                return match is not None
        closing = text.startswith("</", at)
        name = lexis.XML_NAME.match(text, at + (2 if closing else 1))
        rest = None if name is None else lexis.XML_TAG_REST.match(text, name.end())
        if rest is None:
            return False
        self._at = rest.end()
        self._xml_open += -1 if closing else 0 if rest[1] else 1
        self._xml = self._xml_open > 0
        return True

    def _scan_quoted(self) -> bool:
        """To the end of the quoted string; False if it is not there yet."""
        text = self._text
        while self._at < len(text):
            quote = text.find('"', self._at)
            escape = text.find("\\", self._at, quote if quote >= 0 else len(text))
            if escape >= 0:
                if escape + 1 >= len(text):
                    self._at = escape
                    return False
                self._at = escape + 2
                continue
            if quote < 0:
                self._at = len(text)
                return False
            self._at = quote + 1
            self._quoted = False
            return True
        return False
