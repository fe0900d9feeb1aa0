"""String functions (CG/PL reference §9.2). Offsets count bytes, glyphs where it says so."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from pbx.script.builtins.registry import metered, pure
from pbx.script.conversion import to_string
from pbx.script.errors import ProgramException
from pbx.script.lexer import END_OF_LINE
from pbx.script.limits import Meter
from pbx.script.posix_regex import BadExpression, translate
from pbx.script.values import Data, Value, string_of, text_of, yes

MAX_SUBJECT_BYTES: Final = 8192
"""Regular expressions are matched by backtracking: a longer text could hold the server up."""
MATCH_STEPS_PER_BYTE: Final = 1
_SPACES: Final = b" \t\r\n"
_DIGITS: Final = b"0123456789"


@metered("String")
def string(m: Meter, value: Value) -> Value:
    """A value as a string; null stays null."""
    return to_string(m, value)


def _cut(length: int, start: int, count: int) -> tuple[int, int] | None:
    """Begin and end of a piece; a negative `start` is measured from the end of the text."""
    if count < 0:
        return None
    if start >= 0:
        return min(start, length), min(start + count, length)
    end = length + start + 1
    if end <= 0:
        return 0, 0
    return max(0, end - count), end


@metered("Substring")
def substring(m: Meter, text: Value, start: Value, count: Value) -> Value:
    """`count` bytes from `start`, or ending at ``-1-start`` from the end."""
    if not (isinstance(text, bytes) and isinstance(start, int) and isinstance(count, int)):
        return None
    piece = _cut(len(text), start, count)
    return None if piece is None else m.sized(text[piece[0] : piece[1]])


@metered("Range")
def glyph_range(m: Meter, text: Value, start: Value, count: Value) -> Value:
    """As ``Substring`` by UTF-8 characters; a datablock is cut by bytes."""
    if not (isinstance(start, int) and isinstance(count, int)):
        return None
    if isinstance(text, Data):
        piece = _cut(len(text), start, count)
        return None if piece is None else m.sized_data(text.octets[piece[0] : piece[1]])
    if not isinstance(text, bytes):
        return None
    glyphs = text_of(m.sized(text))
    piece = _cut(len(glyphs), start, count)
    return None if piece is None else m.sized(string_of(glyphs[piece[0] : piece[1]]))


@metered("FindSubstring")
def find_substring(m: Meter, text: Value, part: Value, offset: Value = 0) -> Value:
    """Position of `part`, or -1; a negative offset searches backwards.

    ``-1`` leaves off nothing of the tail, ``-n`` the last n bytes (Decision of the reference).
    """
    if not (isinstance(text, bytes) and isinstance(part, bytes)):
        return -1
    if not isinstance(offset, int):
        offset = 0
    m.charge(len(text) >> 6)
    if offset >= 0:
        return text.find(part, offset) if offset <= len(text) else -1
    end = len(text) if offset == -1 else len(text) + offset
    return text.rfind(part, 0, end) if end >= 0 else -1


@pure("EOL")
def end_of_line() -> Value:
    """The line end of this server."""
    return END_OF_LINE


@pure("CRLF")
def carriage_return() -> Value:
    """CR LF."""
    return b"\r\n"


@metered("ToUpperCase")
def to_upper_case(m: Meter, text: Value) -> Value:
    """UTF-8 letters in capitals."""
    return m.sized(string_of(text_of(text).upper())) if isinstance(text, bytes) else None


@metered("ToLowerCase")
def to_lower_case(m: Meter, text: Value) -> Value:
    """UTF-8 letters in small."""
    return m.sized(string_of(text_of(text).lower())) if isinstance(text, bytes) else None


@pure("IsDigit")
def is_digit(text: Value) -> Value:
    """Whether this is one symbol, 0 to 9."""
    return yes(isinstance(text, bytes) and len(text) == 1 and text in _DIGITS)


@pure("IsWhiteSpaces")
def is_white_spaces(text: Value) -> Value:
    """Whether this is a string of blanks, tabs and line ends only."""
    return yes(isinstance(text, bytes) and not text.strip(_SPACES))


@lru_cache(maxsize=256)
def _expression(picture: bytes) -> re.Pattern[bytes] | None:
    try:
        return re.compile(translate(picture), re.DOTALL)
    except (BadExpression, re.error, OverflowError, RecursionError):
        return None


@metered("FindRegEx")
def find_regular_expression(m: Meter, text: Value, picture: Value) -> Value:
    """The matched part and the groups as an array, or null."""
    if not (isinstance(text, bytes) and isinstance(picture, bytes)):
        return None
    if len(text) > MAX_SUBJECT_BYTES:
        raise ProgramException(
            f"FindRegEx searches at most {MAX_SUBJECT_BYTES} bytes: cut the text before"
        )
    m.charge(10 + len(text) * MATCH_STEPS_PER_BYTE)
    expression = _expression(picture)
    match = expression.search(text) if expression is not None else None
    if match is None:
        return None
    found: list[Value] = [match.group()]
    found.extend(match.groups())
    for one in found:
        m.keep(one)
    return found


@pure("EmailDomainPart")
def email_domain_part(address: Value) -> Value:
    """What follows the first ``@``, or null."""
    if not isinstance(address, bytes):
        return None
    _, at, domain = address.partition(b"@")
    return domain if at else None


@pure("EmailUserPart")
def email_user_part(address: Value) -> Value:
    """What stands before the first ``@``; the whole string if there is none."""
    return address.partition(b"@")[0] if isinstance(address, bytes) else None
