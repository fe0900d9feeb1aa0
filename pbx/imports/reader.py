"""The file with accounts to import: its lines, its header, the values of a line (pure).

Objects and settings reference §6.1: UTF-8, columns separated by one TAB, the first line names them,
every line ends with an end of line, the last one too. An empty field is a setting that is not
given. CRLF and a byte order mark, which editors leave behind, are taken. Nothing is read ahead: a
file may have any size and each line has a bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO, Final, NamedTuple

from pbx.data import DataError, Limits, Value, parse
from pbx.domain.accounts import MAX_ALIASES
from pbx.kernel.errors import DomainError
from pbx.objects.account_keys import ACCOUNT_KEYS

MAX_LINE_BYTES: Final = 65_536
"""A line with every setting there is has some 10,000."""
MAX_COLUMNS: Final = 500
MAX_COLUMN_CHARS: Final = 255
_DEPTH: Final = 40
_BOM: Final = b"\xef\xbb\xbf"

NAME: Final = "Name"
PASSWORD: Final = "Password"
ALIASES: Final = "Aliases"
TELNUMS: Final = "Telnums"
TYPE: Final = "Type"
_OWN: Final = (NAME, PASSWORD, ALIASES, TELNUMS, TYPE)
"""Columns that are no settings kept as such."""
_CANONICAL: Final = {
    **{key.lower(): key for key in ACCOUNT_KEYS},
    **{key.lower(): key for key in _OWN},
    "accounttype": TYPE,
}


class LineProblem(DomainError):
    """A line, or the header, cannot be used; the text says why."""


class Columns(NamedTuple):
    """What the columns are, in their order: the keys as they are spelled in settings."""

    keys: tuple[str, ...]


class Line(NamedTuple):
    """One account as it stands in the file."""

    name: str
    """With or without a domain; nothing else is checked yet."""
    password: str | None
    aliases: tuple[str, ...]
    telnums: tuple[str, ...]
    account_type: str
    """Empty: the usual one."""
    settings: Mapping[str, Value]


def lines_of(file: BinaryIO) -> Iterator[tuple[int, bytes | LineProblem]]:
    """Numbers, from 1, and lines without their ends; a problem for a line that is too long or is
    not ended, which happens to files that were cut off."""
    number = 0
    while True:
        raw = file.readline(MAX_LINE_BYTES + 2)
        if not raw:
            return
        number += 1
        if raw.endswith(b"\n"):
            raw = raw[:-1].removesuffix(b"\r")
            if number == 1:
                raw = raw.removeprefix(_BOM)
            yield number, raw
            continue
        if len(raw) > MAX_LINE_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MAX_LINE_BYTES)
            yield number, LineProblem(f"longer than {MAX_LINE_BYTES} bytes")
        else:
            yield (
                number,
                LineProblem("the last line has no line end: is the file whole? End the line"),
            )


def parse_columns(raw: bytes) -> Columns:
    """The header line. Raises :class:`LineProblem`."""
    names = _text(raw).split("\t")
    if len(names) > MAX_COLUMNS:
        raise LineProblem(f"{len(names)} columns: {MAX_COLUMNS} are the most")
    keys: list[str] = []
    for number, name in enumerate(names, 1):
        name = name.strip()
        if not name or len(name) > MAX_COLUMN_CHARS or not name.isprintable():
            raise LineProblem(
                f"column {number} has no name: the first line names the columns, separated by "
                "one TAB"
            )
        key = _CANONICAL.get(name.lower(), name)
        if key.lower() == "unixpassword":
            raise LineProblem(
                f"column {number} is {name}: phones prove a password in a way that its crypt hash "
                "cannot be compared with; leave the column out, or give passwords in Password"
            )
        if key in keys:
            raise LineProblem(f"column {number} is {name}, which another column is already")
        keys.append(key)
    if NAME not in keys:
        raise LineProblem(f"no column is called {NAME}: it is the one that is needed")
    return Columns(tuple(keys))


def parse_line(columns: Columns, raw: bytes) -> Line:
    """One line below the header. Raises :class:`LineProblem`."""
    fields = _text(raw).split("\t")
    if len(fields) > len(columns.keys):
        raise LineProblem(
            f"{len(fields)} fields, and the first line names {len(columns.keys)} columns"
        )
    # An empty field at the end is easily lost, with its TAB, in an editor.
    given = {key: field for key, field in zip(columns.keys, fields, strict=False) if field}
    name = given.pop(NAME, "").strip()
    if not name:
        raise LineProblem(f"the column {NAME} is empty")
    password = given.pop(PASSWORD, None)
    aliases = _listed(given.pop(ALIASES, ""), ALIASES)
    telnums = _listed(given.pop(TELNUMS, ""), TELNUMS)
    account_type = given.pop(TYPE, "").strip()
    settings = {key: _value(key, field) for key, field in given.items()}
    return Line(name, password, aliases, telnums, account_type, settings)


def _text(raw: bytes) -> str:
    if len(raw) > MAX_LINE_BYTES:
        raise LineProblem(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LineProblem(f"not UTF-8: byte {error.start + 1} of the line") from None
    if "\0" in text or "\r" in text:
        raise LineProblem("control characters: is it a text file?")
    return text


def _listed(field: str, column: str) -> tuple[str, ...]:
    found = tuple(part for item in field.split(",") if (part := item.strip()))
    if len(found) > MAX_ALIASES:
        raise LineProblem(f"{len(found)} {column}: at most {MAX_ALIASES} are possible")
    return found


def _value(key: str, field: str) -> Value:
    """A setting: text, or what has brackets where the key needs an array or a dictionary."""
    known = ACCOUNT_KEYS.get(key)
    if known is None or not known.effect or field[:1] not in ("(", "{"):
        return field
    try:
        known.form.read(field)
    except ValueError:
        try:
            return parse(field, Limits(depth=_DEPTH))
        except DataError as error:
            raise LineProblem(f"{key}: {error}") from None
    return field
