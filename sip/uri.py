"""URI values (RFC 3261 §19.1, RFC 3966): parsed once, text kept verbatim.

Fed by the request line and by address headers, one URI at a time; feeds routing, the registrar
and dialog targets. ``str(uri)`` is always the text that was parsed: escapes, case and parameter
order are forwarded as they came, and only comparison (§19.1.4) decodes.
"""

from __future__ import annotations

import re
from typing import Final

from sip.errors import MalformedHeader
from sip.grammar import DEFAULT, Limits, Params, format_params

# scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")
# Never in a URI: controls, white space, quotes, angle brackets, bytes that are no UTF-8.
_NEVER: Final = r'\x00-\x20\x7f<>"\ud800-\udfff'
# userinfo: everything RFC 3261 allows and, beyond it, UTF-8 and "#", which phones do send
# unescaped.
_USERINFO: Final = re.compile(rf"[^{_NEVER}@:]+(?::[^{_NEVER}@]*)?")
# hostport *( ";" uri-parameter ) [ "?" headers ]; "_" in host names is not legal DNS, but is met.
_AFTER_USER: Final = re.compile(
    r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._\-]{1,255})"
    r"(?::([0-9]{1,5}))?"
    rf"((?:;[^{_NEVER}?;@]+)*)"
    rf"(?:\?([^{_NEVER}]+))?"
)
_OPAQUE_BAD: Final = re.compile(rf"[{_NEVER}]")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_ESCAPE_BYTES: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
# RFC 3261 §19.1.4: such a parameter in only one of two URIs makes them different. The examples
# of that section add transport to the list that its rules give.
_NEVER_IGNORED: Final = ("transport", "user", "ttl", "method", "maddr")
# RFC 2396 "reserved": escaped and plain forms of these are not the same character.
_RESERVED: Final = frozenset(";/?:@&=+$,")


def unescape(text: str) -> str:
    """Decode ``%HH`` escapes; a stray ``%`` stays."""
    if "%" not in text:
        return text
    raw = text.encode("utf-8", "surrogateescape")
    raw = _ESCAPE_BYTES.sub(lambda match: bytes((int(match.group(1), 16),)), raw)
    return raw.decode("utf-8", "surrogateescape")


def _comparable(text: str) -> str:
    """Decode the escapes that §19.1.4 calls equal to the plain character."""
    if "%" not in text:
        return text

    def decode(match: re.Match[str]) -> str:
        character = chr(int(match.group(1), 16))
        plain = character.isascii() and character not in _RESERVED and character.isprintable()
        return character if plain and character != "%" else match.group().upper()

    return _ESCAPE.sub(decode, text)


class OpaqueUri:
    """A URI of a scheme that we do not take apart: ``tel:``, ``urn:``, ``mailto:`` ..."""

    __slots__ = ("scheme", "text")

    def __init__(self, scheme: str, text: str) -> None:
        self.scheme = scheme
        """In lower case."""
        self.text = text
        """The whole URI, scheme included."""

    @property
    def rest(self) -> str:
        """What follows the scheme's colon."""
        return self.text[len(self.scheme) + 1 :]

    def equivalent(self, other: Uri) -> bool:
        """Equal text after the scheme: the rules of an unknown scheme are unknown."""
        return (
            isinstance(other, OpaqueUri) and self.scheme == other.scheme and self.rest == other.rest
        )

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"OpaqueUri({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpaqueUri) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


class SipUri:
    """A ``sip:`` or ``sips:`` URI. ``==`` compares text; use ``equivalent`` for §19.1.4."""

    __slots__ = (
        "_text",
        "headers",
        "host",
        "host_text",
        "params",
        "password",
        "port",
        "scheme",
        "user",
    )

    def __init__(
        self,
        scheme: str,
        user: str | None,
        password: str | None,
        host: str,
        port: int | None = None,
        params: Params | None = None,
        headers: str = "",
        text: str = "",
    ) -> None:
        self.scheme = scheme
        """``sip`` or ``sips``."""
        self.user = user
        """As written (escapes kept), ``None`` if there is none."""
        self.password = password
        self.host_text = f"[{host}]" if ":" in host and host[0] != "[" else host
        """As written, with brackets around IPv6."""
        self.host = self.host_text.strip("[]").lower()
        """Lower case, no brackets."""
        self.port = port
        self.params: Params = {} if params is None else params
        """Names in lower case, values as written."""
        self.headers = headers
        """What follows ``?``, as written."""
        self._text = text

    @property
    def secure(self) -> bool:
        return self.scheme == "sips"

    @property
    def user_text(self) -> str:
        """The user part with escapes decoded; empty if there is none."""
        return unescape(self.user) if self.user else ""

    @property
    def transport(self) -> str:
        """The transport parameter in lower case, or empty."""
        return (self.params.get("transport") or "").lower()

    @property
    def aor(self) -> str:
        """``user@host``, decoded and without port: the key of an address of record (§10.3)."""
        return f"{self.user_text}@{self.host}" if self.user else self.host

    def header_items(self) -> list[tuple[str, str]]:
        """The URI headers (``?Replaces=...``), names and values with escapes decoded."""
        items = []
        for piece in self.headers.split("&"):
            name, _, value = piece.partition("=")
            if name:
                items.append((unescape(name), unescape(value)))
        return items

    def replace(
        self,
        *,
        user: str | None = None,
        host: str | None = None,
        port: int | None = None,
        params: Params | None = None,
        headers: str | None = None,
    ) -> SipUri:
        """A copy with the given parts changed; ``None`` keeps a part."""
        return SipUri(
            self.scheme,
            self.user if user is None else user,
            self.password,
            self.host_text if host is None else host,
            self.port if port is None else port,
            dict(self.params) if params is None else params,
            self.headers if headers is None else headers,
        )

    def equivalent(self, other: Uri) -> bool:
        """RFC 3261 §19.1.4."""
        if not isinstance(other, SipUri):
            return False
        if (
            self.host != other.host
            or self.port != other.port
            or self.scheme != other.scheme
            or (self.user is None) is not (other.user is None)
            or (self.password is None) is not (other.password is None)
            or _comparable(self.user or "") != _comparable(other.user or "")
            or _comparable(self.password or "") != _comparable(other.password or "")
        ):
            return False
        for name in _NEVER_IGNORED:
            if (name in self.params) is not (name in other.params):
                return False
        for name, value in self.params.items():
            if name in other.params:
                theirs = other.params[name]
                if _comparable(value or "").lower() != _comparable(theirs or "").lower():
                    return False
        if self.headers == other.headers:
            return True
        return _header_set(self.headers) == _header_set(other.headers)

    def __str__(self) -> str:
        if not self._text:
            userinfo = ""
            if self.user is not None:
                password = "" if self.password is None else f":{self.password}"
                userinfo = f"{self.user}{password}@"
            port = "" if self.port is None else f":{self.port}"
            headers = f"?{self.headers}" if self.headers else ""
            params = format_params(self.params) if self.params else ""
            self._text = f"{self.scheme}:{userinfo}{self.host_text}{port}{params}{headers}"
        return self._text

    def __repr__(self) -> str:
        # The password stays out of logs.
        user = "" if self.user is None else f"{self.user}@"
        return f"SipUri({self.scheme}:{user}{self.host_text}:{self.port})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SipUri) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


Uri = SipUri | OpaqueUri


def _header_set(headers: str) -> list[tuple[str, str]]:
    """URI headers in an order-free comparable form (§19.1.4: never ignored)."""
    pairs = []
    for piece in headers.split("&"):
        name, _, value = piece.partition("=")
        pairs.append((_comparable(name).lower(), _comparable(value)))
    pairs.sort()
    return pairs


# The messages of a call or registration repeat a handful of URIs: eleven times in a REGISTER with
# digest. Values are immutable, so the parsed one may serve again. Bounded to some 3 MB.
_PARSED_ENTRIES: Final = 4096
_PARSED_CHARS: Final = 128
_parsed: Final[dict[str, Uri]] = {}


def parse_uri(text: str, limits: Limits = DEFAULT, header: str = "URI") -> Uri:
    """Parse any URI; raises MalformedHeader naming ``header``.

    Unknown schemes give an OpaqueUri: whether that is 416 is for the transaction user to say.
    """
    uri = _parsed.get(text)
    if uri is not None and limits is DEFAULT:
        return uri
    uri = _parse(text, limits, header)
    if limits is DEFAULT and len(text) <= _PARSED_CHARS:
        if len(_parsed) >= _PARSED_ENTRIES:
            _parsed.clear()
        _parsed[text] = uri
    return uri


def _parse(text: str, limits: Limits, header: str) -> Uri:
    if len(text) > limits.uri_bytes:
        raise MalformedHeader(header, "URI too long", status_hint=414)
    scheme, colon, rest = text.partition(":")
    if not colon:
        raise MalformedHeader(header, "URI without a scheme")
    lower = scheme if scheme == "sip" else scheme.lower()
    if lower != "sip" and lower != "sips":
        if _SCHEME.fullmatch(scheme) is None or not rest or _OPAQUE_BAD.search(rest) is not None:
            raise MalformedHeader(header, "bad URI")
        return OpaqueUri(lower, text)
    user: str | None = None
    password: str | None = None
    # The user part may hold ";" and "?", so its end is looked for first; it never holds a
    # plain "@", so the first one ends it.
    userinfo, at, after = rest.partition("@")
    if at:
        if _USERINFO.fullmatch(userinfo) is None:
            raise MalformedHeader(header, "bad user part")
        user, colon, secret = userinfo.partition(":")
        if colon:
            password = secret
    else:
        after = rest
    match = _AFTER_USER.fullmatch(after)
    if match is None:
        raise MalformedHeader(header, "bad URI")
    host, port_text, params_text, headers = match.groups()
    port = None
    if port_text is not None:
        port = int(port_text)
        if not 0 < port <= 65_535:
            # Nothing can be sent to port 0 either, whatever the grammar allows.
            raise MalformedHeader(header, "bad port")
    params: Params = {}
    if params_text:
        for piece in params_text[1:].split(";"):
            name, equals, value = piece.partition("=")
            params.setdefault(name.lower(), value if equals else None)
    return SipUri(lower, user, password, host, port, params, headers or "", text)
