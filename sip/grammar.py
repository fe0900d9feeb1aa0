"""Patterns and small scanners of RFC 3261 §25, used by every header module.

Fed one header value at a time, already unfolded; nothing here ever sees a whole message, so no
pattern can run over more than ``Limits.header_bytes`` characters. All patterns are linear: no
nested repetition.

Text is ``str`` decoded as UTF-8 with ``surrogateescape``: any byte a peer sends survives the
round trip, as RFC 3261 §25.1 (UTF8-NONASCII) and the torture messages of RFC 4475 need. What is
stored or shown goes through ``readable``; URIs, tags and Call-IDs never hold such bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sip.errors import MalformedHeader

LWS: Final = " \t"
"""What surrounds a value after unfolding; ``str.strip()`` alone would eat Unicode spaces too."""

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")
TOKEN_CHARS: Final = r"A-Za-z0-9\-.!%*_+`'~"
TOKEN: Final = re.compile(rf"[{TOKEN_CHARS}]+")
# quoted-string = SWS DQUOTE *(qdtext / quoted-pair) DQUOTE
QUOTED_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
# One element of a list: quoted strings and <...> hide the separator.
_LIST_PIECE: Final = re.compile(r'(?:[^",<]|"(?:[^"\\]|\\.)*"|<[^>]*>)*', re.DOTALL)
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_NEEDS_ESCAPE: Final = re.compile(r'(["\\])')
# generic-param = token [ EQUAL gen-value ], with its semicolon and the white space around. The
# value is wider than gen-value (anything without separators), because Via received, maddr and the
# parameters of extensions carry URIs and IPv6 in the field.
_PARAM: Final = re.compile(
    rf"[ \t]*;[ \t]*([{TOKEN_CHARS}]+)[ \t]*"
    r'(?:=[ \t]*("(?:[^"\\]|\\.)*"|[^\x00-\x20\x7f,;<>"]*)[ \t]*)?',
    re.DOTALL,
)

Params = dict[str, str | None]
"""Parameters in order; names in lower case, values as written (quotes kept), ``None`` for none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the parser; each one is small enough that a hostile peer gains nothing by it."""

    datagram_bytes: int = 65_536
    """A UDP datagram cannot be larger."""
    stream_bytes: int = 262_144
    """One whole message on a stream: room for SIPREC metadata and pictures in vCards."""
    head_bytes: int = 65_536
    """Start line and all header fields; also what a stream peer may send before a full head."""
    headers: int = 128
    """Header field lines. The longest message of RFC 4475 has 51."""
    header_bytes: int = 8_192
    """One header line after unfolding: an Identity or a long Replaces fits, a flood does not."""
    uri_bytes: int = 4_096
    """Request-URI; longer is 414."""
    via: int = 70
    """Hops recorded: Max-Forwards starts at 70, so no honest path is longer (RFC 3261 §16.6)."""
    list_items: int = 64
    """Elements of one comma list (Contact, Route, Supported ...)."""


DEFAULT: Final = Limits()


def split_list(text: str, header: str, limit: int = DEFAULT.list_items) -> list[str]:
    """Split a comma list outside quotes and ``<>`` (RFC 3261 §7.3.1).

    Raises MalformedHeader for an open quote or bracket, an empty element, or too many elements.
    """
    if "," not in text:
        return [text]
    if '"' not in text and "<" not in text:
        items = text.split(",", limit)
    else:
        items = []
        position, end = 0, len(text)
        while True:
            match = _LIST_PIECE.match(text, position)
            assert match is not None  # the pattern matches the empty string
            items.append(match.group())
            position = match.end()
            if position == end:
                break
            if text[position] != ",":
                raise MalformedHeader(header, "open quote or bracket")
            if len(items) > limit:
                break
            position += 1
    if len(items) > limit:
        raise MalformedHeader(header, "too many elements")
    items = [item.strip(LWS) for item in items]
    if "" in items:
        raise MalformedHeader(header, "empty element")
    return items


def parse_params(text: str, header: str) -> Params:
    """Parse ``;name=value;flag`` (RFC 3261 §25.1 generic-param).

    ``text`` is empty or starts, after white space, with a semicolon. Raises MalformedHeader.
    """
    params: Params = {}
    position, end = 0, len(text)
    while position < end:
        match = _PARAM.match(text, position)
        if match is None:
            raise MalformedHeader(header, "bad parameter")
        name, value = match.groups()
        name = name.lower()
        if name in params and params[name] != value:
            # RFC 3261 §7.3.1: a name must not appear twice. A harmless echo is let through, a
            # contradiction is not: two readers would take different values.
            raise MalformedHeader(header, "contradicting parameters")
        params[name] = value
        position = match.end()
    return params


def format_params(params: Params) -> str:
    """The inverse of ``parse_params``."""
    return "".join(
        [f";{name}" if value is None else f";{name}={value}" for name, value in params.items()]
    )


def unquote(text: str) -> str:
    """The content of a quoted-string; any other text unchanged."""
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        inner = text[1:-1]
        return _QUOTED_PAIR.sub(r"\1", inner) if "\\" in inner else inner
    return text


def quote(text: str) -> str:
    """A quoted-string holding ``text``."""
    if '"' in text or "\\" in text:
        text = _NEEDS_ESCAPE.sub(r"\\\1", text)
    return f'"{text}"'


def readable(text: str) -> str:
    """Text as a person should see it: never with lone surrogates, so it can be stored anywhere.

    Bytes that are no UTF-8 are taken for Latin-1, which is what phones of that age meant.
    """
    if text.isascii():
        return text
    raw = text.encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parse_number(text: str, header: str, maximum: int = 0xFFFF_FFFF) -> int:
    """1*DIGIT up to ``maximum``; raises MalformedHeader.

    The length is checked first: ``int()`` of a huge digit string is quadratic.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise MalformedHeader(header, "not a number")
    number = int(text)
    if number > maximum:
        raise MalformedHeader(header, "number too large")
    return number
