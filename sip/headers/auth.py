"""Challenges and credentials (RFC 3261 §22, RFC 7616 §3, RFC 8760).

One value per header line: commas separate parameters here, never values (RFC 3261 §7.3.1 exempts
these four headers). Only text to values; the arithmetic is in ``sip.digest``.
"""

from __future__ import annotations

import re
from typing import Final

from sip.errors import MalformedHeader
from sip.grammar import LWS, TOKEN, TOKEN_CHARS, quote, unquote

# Digest needs about ten parameters; more are extensions nobody uses.
_MAX_PARAMS: Final = 32
# auth-param = token EQUAL ( token / quoted-string ), with the comma that follows unless it is the
# last. A value without quotes may be any text without separators: "nonce" is often sent so.
_AUTH_PARAM: Final = re.compile(
    rf"[ \t]*([{TOKEN_CHARS}]+)[ \t]*="
    r'[ \t]*("(?:[^"\\]|\\.)*"|[^\x00-\x20\x7f,"]*)[ \t]*(?:,(?=[ \t]*[^ \t,])|$)',
    re.DOTALL,
)
# nc-value = 8LHEX; int() alone would take signs, prefixes and underscores.
_NC: Final = re.compile(r"[0-9A-Fa-f]{8}")
# RFC 7616 §3.4: these go out without quotes, everything else with them.
_UNQUOTED: Final = frozenset({"algorithm", "nc", "qop", "stale"})


def _parse(text: str, header: str) -> tuple[str, dict[str, str]]:
    scheme, _, rest = text.partition(" ")
    if TOKEN.fullmatch(scheme) is None:
        raise MalformedHeader(header, "no scheme")
    params: dict[str, str] = {}
    if scheme.lower() != "digest":
        return scheme, params  # other schemes have grammars of their own
    position, end = 0, len(rest)
    while position < end:
        match = _AUTH_PARAM.match(rest, position)
        if match is None or len(params) == _MAX_PARAMS:
            raise MalformedHeader(header, "bad parameter")
        name, value = match.groups()
        name = name.lower()
        if name in params:
            raise MalformedHeader(header, "repeated parameter")
        params[name] = unquote(value)
        position = match.end()
    return scheme, params


class _AuthValue:
    """A scheme and its parameters, names in lower case, values without quotes."""

    __slots__ = ("params", "scheme")

    def __init__(self, scheme: str, params: dict[str, str]) -> None:
        self.scheme = scheme
        self.params = params

    @property
    def is_digest(self) -> bool:
        return self.scheme.lower() == "digest"

    @property
    def realm(self) -> str:
        return self.params.get("realm", "")

    @property
    def nonce(self) -> str:
        return self.params.get("nonce", "")

    @property
    def opaque(self) -> str:
        return self.params.get("opaque", "")

    @property
    def algorithm(self) -> str:
        """Upper case; MD5 when not said (RFC 7616 §3.3)."""
        return self.params.get("algorithm", "MD5").upper()


class Challenge(_AuthValue):
    """WWW-Authenticate or Proxy-Authenticate."""

    __slots__ = ()

    @property
    def qop(self) -> tuple[str, ...]:
        """Offered qualities, lower case; empty for RFC 2069 servers."""
        pieces = self.params.get("qop", "").lower().split(",")
        return tuple(piece.strip(LWS) for piece in pieces if piece.strip(LWS))

    @property
    def stale(self) -> bool:
        return self.params.get("stale", "").lower() == "true"

    def __str__(self) -> str:
        pieces = [
            f"{name}={value if name in _UNQUOTED and name != 'qop' else quote(value)}"
            for name, value in self.params.items()
        ]
        return f"{self.scheme} {', '.join(pieces)}"


class Credentials(_AuthValue):
    """Authorization or Proxy-Authorization."""

    __slots__ = ()

    @property
    def username(self) -> str:
        return self.params.get("username", "")

    @property
    def uri(self) -> str:
        return self.params.get("uri", "")

    @property
    def response(self) -> str:
        return self.params.get("response", "").lower()

    @property
    def cnonce(self) -> str:
        return self.params.get("cnonce", "")

    @property
    def qop(self) -> str:
        return self.params.get("qop", "").lower()

    @property
    def nc_text(self) -> str:
        return self.params.get("nc", "")

    @property
    def nc(self) -> int:
        """The nonce count: eight hex digits (RFC 7616 §3.4); 0 if absent or wrong."""
        text = self.nc_text
        return int(text, 16) if _NC.fullmatch(text) is not None else 0

    def __str__(self) -> str:
        pieces = [
            f"{name}={value if name in _UNQUOTED else quote(value)}"
            for name, value in self.params.items()
        ]
        return f"{self.scheme} {', '.join(pieces)}"


def parse_challenge(text: str, header: str = "WWW-Authenticate") -> Challenge:
    """Raises MalformedHeader; an unknown scheme is not an error (see ``is_digest``)."""
    return Challenge(*_parse(text, header))


def parse_authorization(text: str, header: str = "Authorization") -> Credentials:
    """Raises MalformedHeader; an unknown scheme is not an error (RFC 4475 §3.3.7)."""
    return Credentials(*_parse(text, header))
