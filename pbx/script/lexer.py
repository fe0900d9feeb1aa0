"""Program text to tokens (CG/PL reference §2).

Fed by :class:`~pbx.script.source.Source`, feeds :mod:`pbx.script.parser`. Keywords and names are
case-insensitive: a token carries the spelling and the folded word. Adjacent string literals are
joined by the parser, as they may be separated by comments and line ends.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from pbx.script.source import Source

KEYWORDS: Final = frozenset(
    [
        "and",
        "by",
        "const",
        "elif",
        "else",
        "end",
        "entry",
        "exitif",
        "external",
        "false",
        "for",
        "forward",
        "function",
        "if",
        "is",
        "loop",
        "not",
        "null",
        "or",
        "procedure",
        "return",
        "spawn",
        "stop",
        "then",
        "true",
        "var",
        "while",
        "xor",
    ]
)
"""Words that cannot be names."""

MAX_NUMBER: Final = 2**63 - 1
"""Numbers are signed 64-bit integers; a literal has no sign."""

END_OF_LINE: Final = b"\n"
"""What ``\\e`` and ``EOL()`` mean on this server."""


class Kind(Enum):
    """Classes of tokens."""

    NAME = "name"
    KEYWORD = "keyword"
    NUMBER = "number"
    STRING = "string"
    SIGN = "sign"
    END = "end of the program"


class Token(NamedTuple):
    """One token. ``word`` is what the grammar compares; ``value`` of a literal is ready to use."""

    kind: Kind
    word: str
    offset: int
    text: str
    value: bytes | int | None = None


# Longest match first.
_TOKEN: Final = re.compile(
    r"""(?P<space>(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)+)
      |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<number>[0-9]+)
      |(?P<string>"(?:[^"\\\r\n]|\\[^\r\n])*")
      |(?P<sign>::|==|!=|<=|>=|&&|\|\||\+=|-=|\*=|/=|%=|\|=|&=|[-+*/%=<>!&|^?:()\[\]{};,.])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:([\\\"rnte])|([0-9]{3})|u'([0-9A-Fa-f]{1,6})')")
_SIMPLE: Final = {"\\": b"\\", '"': b'"', "r": b"\r", "n": b"\n", "t": b"\t", "e": END_OF_LINE}
_BYTE_ORDER_MARK: Final = "\ufeff"


def tokenize(source: Source) -> list[Token]:
    """All tokens, the last of kind ``END``. Raises ``CompileError`` at the first bad character."""
    text = source.text
    tokens: list[Token] = []
    offset = 0
    if text.startswith(_BYTE_ORDER_MARK):
        raise source.error(
            0,
            "entry or procedure is expected: the file begins with a byte order mark; "
            "save it as UTF-8 without one",
        )
    match_at = _TOKEN.match
    length = len(text)
    while offset < length:
        match = match_at(text, offset)
        if match is None:
            raise source.error(offset, _explain(text, offset))
        group = match.lastgroup
        found = match.group()
        if group == "name":
            word = found.lower()
            kind = Kind.KEYWORD if word in KEYWORDS else Kind.NAME
            tokens.append(Token(kind, word, offset, found))
        elif group == "sign":
            if found == "/" and text.startswith("/*", offset):
                raise source.error(offset, "the comment is not closed")
            tokens.append(Token(Kind.SIGN, found, offset, found))
        elif group == "string":
            tokens.append(Token(Kind.STRING, "", offset, found, _string(source, offset, found)))
        elif group == "number":
            tokens.append(_number(source, match.end(), offset, found))
        offset = match.end()
    tokens.append(Token(Kind.END, "", length, ""))
    return tokens


def _number(source: Source, end: int, offset: int, found: str) -> Token:
    rest = source.text[end : end + 2]
    if rest[:1].isalpha() or rest[:1] == "_":
        raise source.error(offset, f"number or name? {found}{rest[:1]}: numbers are decimal digits")
    if len(rest) == 2 and rest[0] == "." and rest[1].isdigit():
        raise source.error(offset, "numbers have no fractions: use an integer")
    # The length is tested first: Python refuses to convert thousands of digits.
    if len(found.lstrip("0")) > 19 or int(found) > MAX_NUMBER:
        raise source.error(offset, f"the number is larger than {MAX_NUMBER}")
    return Token(Kind.NUMBER, "", offset, found, int(found))


def _string(source: Source, offset: int, found: str) -> bytes:
    body = found[1:-1]
    if "\\" not in body:
        return body.encode("utf-8", "surrogatepass")
    parts: list[bytes] = []
    at = 0
    while True:
        slash = body.find("\\", at)
        if slash < 0:
            parts.append(body[at:].encode("utf-8", "surrogatepass"))
            return b"".join(parts)
        parts.append(body[at:slash].encode("utf-8", "surrogatepass"))
        match = _ESCAPE.match(body, slash)
        here = offset + 1 + slash
        if match is None:
            raise source.error(
                here,
                'unknown escape in a string: \\\\ \\" \\r \\n \\t \\e, \\nnn with three digits '
                "and \\u'hhhh' exist",
            )
        simple, decimal, point = match.groups()
        if simple is not None:
            parts.append(_SIMPLE[simple])
        elif decimal is not None:
            if int(decimal) > 255:
                raise source.error(here, f"\\{decimal} is no byte: 000 to 255")
            parts.append(bytes((int(decimal),)))
        else:
            parts.append(_code_point(source, here, int(point, 16)))
        at = match.end()


def _code_point(source: Source, offset: int, code: int) -> bytes:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise source.error(offset, f"U+{code:04X} is no Unicode character")
    return chr(code).encode("utf-8")


def _explain(text: str, offset: int) -> str:
    char = text[offset]
    if char == '"':
        return "the string is not closed on its line"
    if char in "\u201c\u201d\u00ab\u00bb":
        return f'{char} is no quote of the language: use "'
    if char.isprintable():
        return f"{char} has no meaning here"
    return f"the character U+{ord(char):04X} has no meaning here"
