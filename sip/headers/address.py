"""name-addr / addr-spec: From, To, Contact, Route, Record-Route, Path, Refer-To ... (§20.10).

Fed by ``Message`` on first use. The URI inside is parsed only when asked for, so an odd scheme
or a broken URI in a header that nobody routes by does no harm.
"""

from __future__ import annotations

import re
from typing import Final

from sip.errors import MalformedHeader
from sip.grammar import (
    LWS,
    QUOTED_STRING,
    Params,
    format_params,
    parse_params,
    quote,
    readable,
    unquote,
)
from sip.uri import SipUri, Uri, parse_uri

# display-name = *(token LWS); wider: a bare comma or UTF-8 in it is met in the field and harmless
# in From and To (RFC 4475 §3.1.2.15); quotes and brackets are not, they hide where the URI begins.
_DISPLAY_BAD: Final = re.compile(r'["<>\x00-\x08\x0a-\x1f\x7f]')
# May a display name go out without quotes?
_DISPLAY_PLAIN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+(?: [A-Za-z0-9\-.!%*_+`'~]+)*")


class NameAddr:
    """A URI with an optional display name and header parameters."""

    __slots__ = ("_uri", "display", "header", "params", "text", "uri_text")

    def __init__(
        self,
        uri_text: str,
        display: str = "",
        params: Params | None = None,
        text: str = "",
        header: str = "address",
    ) -> None:
        self.uri_text = uri_text
        """As written, without the angle brackets."""
        self.display = display
        """Decoded: without quotes and backslashes, and readable."""
        self.params: Params = {} if params is None else params
        """Header parameters; names in lower case, values as written (see ``param``)."""
        self.text = text
        self.header = header
        self._uri: Uri | None = None

    @property
    def uri(self) -> Uri:
        """The parsed URI. Raises MalformedHeader."""
        uri = self._uri
        if uri is None:
            uri = self._uri = parse_uri(self.uri_text, header=self.header)
        return uri

    @property
    def sip_uri(self) -> SipUri:
        """The URI where only sip: and sips: make sense. Raises MalformedHeader for others."""
        uri = self.uri
        if not isinstance(uri, SipUri):
            raise MalformedHeader(self.header, "not a SIP URI", status_hint=416)
        return uri

    @property
    def tag(self) -> str:
        """The tag, or empty. Tags are case-sensitive."""
        return self.params.get("tag") or ""

    def param(self, name: str) -> str | None:
        """A parameter's value with quotes removed; ``None`` if absent, empty if it has none."""
        if name not in self.params:
            return None
        return unquote(self.params[name] or "")

    def with_params(self, **params: str | None) -> NameAddr:
        """A copy with parameters added or replaced; hyphens are given as underscores."""
        merged = dict(self.params)
        for name, value in params.items():
            merged[name.replace("_", "-")] = value
        return NameAddr(self.uri_text, self.display, merged, header=self.header)

    def without_params(self) -> NameAddr:
        """A copy with no header parameters."""
        return NameAddr(self.uri_text, self.display, header=self.header)

    def __str__(self) -> str:
        if not self.text:
            display = self.display
            if display:
                plain = _DISPLAY_PLAIN.fullmatch(display) is not None
                display = f"{display if plain else quote(display)} "
            self.text = f"{display}<{self.uri_text}>{format_params(self.params)}"
        return self.text

    def __repr__(self) -> str:
        return f"NameAddr({str(self)!r})"


def parse_name_addr(text: str, header: str = "address") -> NameAddr:
    """Parse one element. Raises MalformedHeader.

    Without angle brackets everything after the first semicolon belongs to the header, and the
    URI may hold neither a comma nor a question mark (RFC 3261 §20).
    """
    display = ""
    if text[:1] == '"':
        match = QUOTED_STRING.match(text)
        if match is None:
            raise MalformedHeader(header, "open quote")
        display = readable(unquote(match.group()))
        left = match.end()
        if text[left : left + 1] != "<":
            left = text.find("<", left)
            if left < 0 or text[match.end() : left].strip(LWS):
                raise MalformedHeader(header, "no URI after the display name")
    else:
        left = text.find("<")
        if left > 0:
            display = readable(text[:left].strip(LWS))
            if _DISPLAY_BAD.search(display) is not None:
                left = -1  # the bracket belongs to a quoted parameter of a bare addr-spec
                display = ""
    if left < 0:
        uri_text, semicolon, rest = text.partition(";")
        uri_text = uri_text.rstrip(LWS)
        if not uri_text or "?" in uri_text or "," in uri_text:
            raise MalformedHeader(header, "URI needs angle brackets")
        if '"' in uri_text or " " in uri_text or "<" in uri_text:
            raise MalformedHeader(header, "bad URI")
        params = parse_params(semicolon + rest, header) if semicolon else None
        return NameAddr(uri_text, "", params, text, header)
    right = text.find(">", left)
    if right < 0:
        raise MalformedHeader(header, "open bracket")
    uri_text = text[left + 1 : right]
    if not uri_text:
        raise MalformedHeader(header, "empty URI")
    rest = text[right + 1 :]
    return NameAddr(uri_text, display, parse_params(rest, header) if rest else None, text, header)
