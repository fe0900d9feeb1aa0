"""The Router table: text to records (Router reference §2).

A line is ``[relay:] [type:] left = right [; comment]``. Whoever edits a table gets it back as it
was typed, so a :class:`Table` keeps its text; the records are what the engine uses. Every error of
a text is found in one pass and named with line, column and what was expected; a table with errors
is not used at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from pbx.router.address import (
    MAIN_NAMES,
    Address,
    fold_case,
    nested_at,
    normal_domain,
    parse_address,
    separators_from,
)
from pbx.router.errors import AddressError, Problem, TableError
from pbx.router.patterns import Pattern, PatternError, Wildcard, parse_pattern

MAX_TABLE: Final = 4 * 1024 * 1024
"""Characters: fifty thousand lines of eighty. The text is one event of the log."""
MAX_LINES: Final = 50_000
MAX_LINE: Final = 2048
"""Characters; two addresses of applications with their parameters."""
MAX_PROBLEMS: Final = 20
"""Reported at once; a file of another kind would give thousands."""

_STAR: Final = "\ue000"
"""Stands for ``*`` while a right side is taken apart; a private-use character no address has."""
_PREFIX: Final = re.compile(r"([A-Za-z][A-Za-z0-9]*)[ \t]*:[ \t]*", re.ASCII)
_DOMAIN_LITERALS: Final = re.compile(r"[a-z0-9._-]*", re.ASCII)
_UNSAFE: Final = frozenset("{},#")
"""What would change the parameters it is put between."""


class Kind(Enum):
    """What an address is routed for. The same alias serves mail, calls and log-ins."""

    MAIL = "mail"
    SIGNAL = "signal"
    ACCESS = "access"


class Relay(Enum):
    """Whether a record lets strangers through to a foreign destination."""

    NO_RELAY = "NoRelay"
    RELAY = "Relay"
    RELAY_ALL = "RelayAll"
    """Also for addresses whose local part names another domain."""


NO_PREFIX: Final = Relay.NO_RELAY
"""What a record without a relay prefix means. Older manuals of the source say ``Relay``; giving
strangers a way out must be written down, so it is not implied here."""

_RELAYS: Final = {relay.value.lower(): relay for relay in Relay}
_KINDS: Final = {kind.value: kind for kind in Kind}


class Match(Enum):
    """What the domain part of a record applies to."""

    MAIN = "main"
    """The Main Domain: ``<director>``."""
    LOCAL = "local"
    """Any domain of ours: ``<director@*>``. Never a foreign or a special one, or the numbers that
    ``<8(10d)@*> = 8*@telnum`` makes would be caught by it again."""
    EXACT = "exact"
    WILD = "wild"


class Rewrite(NamedTuple):
    """The right side of a record, cut at its stars."""

    local: tuple[str, ...] | None
    """None if only the domain part changes."""
    domain: tuple[str, ...]
    port: int = 0
    parameters: bool = False
    """A star stands between braces."""


def _wild_names(names: tuple[str, ...], main: bool) -> tuple[str, ...]:
    """The Main Domain has no name by then: only one of its aliases is there to be matched."""
    return names[:-1] if main else names


@dataclass(frozen=True, slots=True)
class Record:
    """One line that says something."""

    line: int
    text: str
    """The line without its comment."""
    kind: Kind | None
    """None: all three."""
    relay: Relay
    match: Match
    domain: Pattern
    """Of EXACT and WILD."""
    local: Pattern | None
    """None: a record of the domain level, which any local part fits."""
    target: Rewrite
    table: str = ""
    """Which table it is of: ``server`` or ``cluster``."""

    def fits(self, local: str, names: tuple[str, ...], main: bool, ours: bool) -> bool:
        """Whether an address matches: its local part in lower case, the names of its domain."""
        if self.match is Match.MAIN:
            if not main:
                return False
        elif self.match is Match.LOCAL:
            if not ours:
                return False
        elif self.match is Match.EXACT:
            if self.domain.prefix not in names:
                return False
        elif not any(self.domain.fits(name) for name in _wild_names(names, main)):
            return False
        return self.local is None or self.local.fits(local)

    def rewrite(self, local: str, names: tuple[str, ...]) -> Address | None:
        """The new address of one that fits; None if what a star stands for cannot go there.

        `names` are those of its domain, the real one last. Raises :class:`AddressError` if the
        domain that comes out is none.
        """
        domain_star = ""
        if self.match is Match.LOCAL:
            domain_star = names[-1]
        elif self.match is Match.WILD:
            name = next(name for name in names if self.domain.fits(name))
            domain_star = self.domain.captured(name)
        pattern = self.local
        star = domain_star
        if pattern is not None and pattern.wildcard is not Wildcard.NONE:
            star = pattern.captured(local)
        target = self.target
        new_local = local
        if target.local is not None:
            if len(target.local) > 1:
                if target.parameters and not _UNSAFE.isdisjoint(star):
                    return None
                new_local = star.join(target.local)
            else:
                new_local = target.local[0]
        if len(target.domain) == 1:
            return Address(new_local, target.domain[0], target.port)
        text = (domain_star or star).join(target.domain)
        try:
            return Address(new_local, normal_domain(text), target.port)
        except ValueError as error:
            raise AddressError(text, 1, str(error)) from None

    def marks(self, local: str) -> bool:
        """Whether the result for an address with this local part may be relayed for anybody."""
        if self.relay is Relay.RELAY:
            # user%elsewhere.dom@partner.dom would be sent on by the partner.
            return nested_at(local) < 0
        return self.relay is Relay.RELAY_ALL


@dataclass(frozen=True, slots=True)
class Table:
    """A Router table: its text, byte for byte, and its records in order."""

    text: str
    records: tuple[Record, ...]
    name: str = "server"


def parse_table(text: str, name: str = "server") -> Table:
    """Read a table; its lines end with LF or CR LF.

    Raises :class:`TableError` with all that is wrong, :data:`MAX_PROBLEMS` at most.
    """
    records, problems = _read(text, name, MAX_PROBLEMS)
    if problems:
        raise TableError(problems)
    return Table(text, tuple(records), name)


def usable_table(text: str, name: str = "server") -> Table:
    """What can be used of a stored table. It was right when it was stored; what a newer version
    took and this one does not know is left out, rather than everything."""
    records, _ = _read(text, name, MAX_LINES)
    return Table(text, tuple(records), name)


def _read(text: str, name: str, most: int) -> tuple[list[Record], list[Problem]]:
    if len(text) > MAX_TABLE:
        return [], [Problem(1, 1, f"a table of at most {MAX_TABLE} characters")]
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        return [], [Problem(MAX_LINES + 1, 1, f"at most {MAX_LINES} lines")]
    records: list[Record] = []
    problems: list[Problem] = []
    for number, line in enumerate(lines, 1):
        try:
            record = _Line(line.removesuffix("\r"), number, name).record()
        except _Wrong as wrong:
            problems.append(Problem(number, wrong.column + 1, wrong.expected, wrong.found))
            if len(problems) >= most:
                break
        else:
            if record is not None:
                records.append(record)
    return records, problems


class _Wrong(Exception):
    """`column` counts from 0 in the line."""

    def __init__(self, column: int, expected: str, found: str = "") -> None:
        super().__init__(expected)
        self.column = column
        self.expected = expected
        self.found = found[:40]


class _Line:
    """Parser of one line."""

    def __init__(self, text: str, number: int, table: str) -> None:
        self._text = text
        self._number = number
        self._table = table
        self._at = 0

    def record(self) -> Record | None:
        """None for a blank line or a comment."""
        text = self._text
        if len(text) > MAX_LINE:
            raise _Wrong(MAX_LINE, f"at most {MAX_LINE} characters in a line")
        stripped = text.strip()
        if not stripped or stripped[0] == ";":
            return None
        for column, character in enumerate(text):
            if character == _STAR or (not character.isprintable() and character != "\t"):
                raise _Wrong(column, "a character that can be printed", character)
        self._at = len(text) - len(text.lstrip())
        relay, kind = self._prefixes()
        local, match, domain = self._left()
        column, right = self._right()
        target = self._target(right, column, local, match, domain)
        end = column + len(right)
        return Record(
            line=self._number,
            text=text[:end].strip(),
            kind=kind,
            relay=NO_PREFIX if relay is None else relay,
            match=match,
            domain=domain,
            local=local,
            target=target,
            table=self._table,
        )

    def _prefixes(self) -> tuple[Relay | None, Kind | None]:
        relay: Relay | None = None
        kind: Kind | None = None
        while True:
            found = _PREFIX.match(self._text, self._at)
            if found is None:
                return relay, kind
            word = found.group(1)
            if word.lower() in _RELAYS and relay is None:
                relay = _RELAYS[word.lower()]
            elif word.lower() in _KINDS and kind is None:
                kind = _KINDS[word.lower()]
            else:
                free = [name.value for name in Relay] if relay is None else []
                free += [name.value.capitalize() for name in Kind] if kind is None else []
                expected = f"one of the prefixes {', '.join(free)}" if free else "no third prefix"
                raise _Wrong(self._at, expected, f"{word}:")
            self._at = found.end()

    def _left(self) -> tuple[Pattern | None, Match, Pattern]:
        text, start = self._text, self._at
        local: Pattern | None = None
        if text[start : start + 1] == "<":
            end = _unescaped(text, ">", start + 1)
            if end < 0:
                raise _Wrong(len(text), "'>' after the address")
            local, match, domain = self._address_pattern(start + 1, text[start + 1 : end])
            equals = end + 1
            while text[equals : equals + 1] in (" ", "\t"):
                equals += 1
        else:
            equals = text.find("=", start)
            comment = text.find(";", start)
            if equals < 0 or 0 <= comment < equals:
                equals = len(text) if comment < 0 else comment
            left = text[start:equals].rstrip()
            if not left:
                raise _Wrong(start, "a domain or an address in <>", text[equals : equals + 1])
            if "@" in left:
                at = start + left.index("@")
                raise _Wrong(at, "an address in <>, or a domain alone", left)
            match, domain = self._domain_pattern(start, left, address_level=False)
        if text[equals : equals + 1] != "=":
            raise _Wrong(equals, "'=' after the left side", text[equals : equals + 1])
        self._at = equals + 1
        return local, match, domain

    def _address_pattern(self, start: int, inner: str) -> tuple[Pattern, Match, Pattern]:
        at = _last_unescaped(inner, "@")
        local_text = inner if at < 0 else inner[:at]
        if not local_text:
            raise _Wrong(start, "a name, or * for any")
        local = self._pattern(start, _canonical(local_text))
        if at < 0:
            return local, Match.MAIN, _NOTHING
        match, domain = self._domain_pattern(start + at + 1, inner[at + 1 :], address_level=True)
        return local, match, domain

    def _domain_pattern(
        self, start: int, text: str, *, address_level: bool
    ) -> tuple[Match, Pattern]:
        if text == "*" and address_level:
            return Match.LOCAL, _NOTHING
        if "*" in text or "(" in text:
            pattern = self._pattern(start, text)
            for literal in (pattern.prefix, pattern.suffix):
                if not _DOMAIN_LITERALS.fullmatch(literal):
                    raise _Wrong(start, "a domain such as *.example.com", text)
            return Match.WILD, pattern
        try:
            name = normal_domain(text)
        except ValueError as error:
            raise _Wrong(start, str(error), text) from None
        if name in MAIN_NAMES:
            return Match.MAIN, _NOTHING
        return Match.EXACT, Pattern(name, Wildcard.NONE, "")

    def _pattern(self, start: int, text: str) -> Pattern:
        try:
            return parse_pattern(text)
        except PatternError as error:
            raise _Wrong(start + error.column, error.expected, error.found) from None

    def _right(self) -> tuple[int, str]:
        """Column and text of the right side, without the comment."""
        text = self._text
        comment = _unescaped(text, ";", self._at)
        right = text[self._at :] if comment < 0 else text[self._at : comment]
        column = self._at + len(right) - len(right.lstrip())
        right = right.strip()
        if not right:
            raise _Wrong(self._at, "an address or a domain after '='")
        return column, right

    def _target(
        self, right: str, column: int, local: Pattern | None, match: Match, domain: Pattern
    ) -> Rewrite:
        marked, first_star = self._marked(right, column)
        domain_level = local is None
        wild = (local is not None and local.wildcard is not Wildcard.NONE) or match is Match.WILD
        if domain_level and "@" not in marked and "#" not in marked:
            pieces, port = self._domain_target(marked, column, right)
            target = Rewrite(None, pieces, port)
        else:
            at = marked.rfind("@", separators_from(marked))
            host = "" if at < 0 else marked[at + 1 :]
            pieces, port = (("",), 0) if at < 0 else self._domain_target(host, column, right)
            try:
                parsed = parse_address(marked if at < 0 else marked[:at])
            except AddressError as error:
                raise _Wrong(column, error.expected, right) from None
            if parsed.domain:  # a bang path
                pieces, port = (parsed.domain,), parsed.port
            inside = re.search(rf"\{{[^{{}}]*{_STAR}", parsed.local) is not None
            target = Rewrite(tuple(parsed.local.split(_STAR)), pieces, port, inside)
        # Without a wildcard only a domain `*` has a meaning: the domain of `<name@*>`.
        in_local = target.local is not None and len(target.local) > 1
        in_domain = len(target.domain) > 1
        if (in_local and not wild) or (in_domain and not wild and match is not Match.LOCAL):
            raise _Wrong(first_star, r"no * here: the left side has none (a star is \*)", right)
        return target

    def _marked(self, right: str, column: int) -> tuple[str, int]:
        """The right side with its stars marked and its backslashes carried out."""
        pieces: list[str] = []
        first_star = at = 0
        seen = False
        while at < len(right):
            character = right[at]
            if character == "\\" and at + 1 < len(right):
                pieces.append(right[at + 1])
                at += 2
                continue
            if character == "*":
                first_star = first_star if seen else column + at
                seen = True
                character = _STAR
            elif character.isspace():
                raise _Wrong(column + at, "one address (a comment begins with ';')", right[at:])
            pieces.append(character)
            at += 1
        return "".join(pieces), first_star

    def _domain_target(self, text: str, column: int, right: str) -> tuple[tuple[str, ...], int]:
        if _STAR in text:
            try:
                normal_domain(text.replace(_STAR, "1"))
                normal_domain(text.replace(_STAR, "a"))
            except ValueError as error:
                raise _Wrong(column, str(error), right) from None
            return tuple(fold_case(text).split(_STAR)), 0
        try:
            address = parse_address(f"x@{text}")
        except AddressError as error:
            raise _Wrong(column, error.expected, right) from None
        name = "" if address.domain in MAIN_NAMES else address.domain
        return (name,), address.port


_NOTHING: Final = Pattern("", Wildcard.NONE, "")


def _canonical(local: str) -> str:
    """Nested addresses in the canonical form, so that patterns meet what addresses hold."""
    start = separators_from(local)
    return local[:start] + local[start:].replace("@", "%")


def _unescaped(text: str, character: str, start: int) -> int:
    """Index of `character` that no backslash stands before, -1 if there is none."""
    at = start
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == character:
            return at
        at += 1
    return -1


def _last_unescaped(text: str, character: str) -> int:
    last = at = -1
    while (at := _unescaped(text, character, at + 1)) >= 0:
        last = at
    return last
