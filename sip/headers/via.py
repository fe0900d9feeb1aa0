"""Via (RFC 3261 §20.42, received §18.2.1, rport RFC 3581).

Fed by ``Message.via``/``vias``; feeds transaction matching and the routing of responses.
"""

from __future__ import annotations

import re
from typing import Final

from sip.errors import MalformedHeader
from sip.grammar import TOKEN_CHARS, Params, format_params, parse_number, parse_params

MAGIC_COOKIE: Final = "z9hG4bK"
"""RFC 3261 §8.1.1.7: a branch with this prefix is unique in space and time."""

# via-parm = protocol-name SLASH protocol-version SLASH transport LWS host [COLON port]
# *(SEMI via-params); SLASH and COLON take white space around them. The version may be any: a 505
# has to find its way back too (RFC 4475 §3.1.2.16).
_VIA: Final = re.compile(
    rf"[Ss][Ii][Pp][ \t]*/[ \t]*[{TOKEN_CHARS}]+[ \t]*/[ \t]*([{TOKEN_CHARS}]+)[ \t]+"
    r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._\-]{1,255})"
    r"(?:[ \t]*:[ \t]*([0-9]{1,5}))?[ \t]*(;.*)?",
    re.DOTALL,
)


class Via:
    """One hop."""

    __slots__ = ("host", "params", "port", "text", "transport")

    def __init__(
        self,
        transport: str,
        host: str,
        port: int | None = None,
        params: Params | None = None,
        text: str = "",
    ) -> None:
        self.transport = transport
        """As written, e.g. ``UDP``; compare with ``transport_name``."""
        self.host = host.lower() if host[-1:] != "]" else host[1:-1].lower()
        """Host of sent-by, lower case, without brackets."""
        self.port = port
        self.params: Params = {} if params is None else params
        self.text = text

    @property
    def transport_name(self) -> str:
        return self.transport.lower()

    @property
    def host_text(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def sent_by(self) -> str:
        """Host and port as they identify a server transaction (RFC 3261 §17.2.3)."""
        return self.host_text if self.port is None else f"{self.host_text}:{self.port}"

    @property
    def branch(self) -> str:
        """The branch, or empty (RFC 2543 peers)."""
        return self.params.get("branch") or ""

    @property
    def is_rfc3261(self) -> bool:
        """Whether the branch alone may match transactions.

        A bare cookie is no identifier (RFC 4475 §3.2.1): match by the rules of RFC 2543.
        """
        branch = self.branch
        return len(branch) > len(MAGIC_COOKIE) and branch.startswith(MAGIC_COOKIE)

    @property
    def received(self) -> str:
        """Source host a server saw, without brackets (RFC 5118 §4.5 meets both forms), or empty."""
        return (self.params.get("received") or "").strip("[]")

    @property
    def rport(self) -> int | None:
        """Source port a server saw; ``None`` if absent, empty or no port."""
        value = self.params.get("rport")
        if value and value.isascii() and value.isdigit() and len(value) <= 5:
            port = int(value)
            return port if 0 < port < 65_536 else None
        return None

    @property
    def wants_rport(self) -> bool:
        return "rport" in self.params

    def with_source(self, host: str, port: int, *, force_rport: bool = False) -> Via:
        """A copy that records where the request came from.

        RFC 3261 §18.2.1: ``received`` when sent-by differs from the source address. RFC 3581 §4:
        both when the client asked by ``rport``. ``force_rport`` does as if it had asked, for
        clients behind NAT which do not know RFC 3581.
        """
        params = dict(self.params)
        rport = force_rport or "rport" in params
        if rport:
            params["rport"] = str(port)
        if rport or host != self.host:
            params["received"] = host
        else:
            params.pop("received", None)  # never believe what the client claims
        return Via(self.transport, self.host, self.port, params)

    def __str__(self) -> str:
        if not self.text:
            params = format_params(self.params)
            self.text = f"SIP/2.0/{self.transport} {self.sent_by}{params}"
        return self.text

    def __repr__(self) -> str:
        return f"Via({str(self)!r})"


def parse_via(text: str) -> Via:
    """Parse one Via value (not a list). Raises MalformedHeader."""
    match = _VIA.fullmatch(text)
    if match is None:
        raise MalformedHeader("Via", "not a via-parm")
    transport, host, port_text, rest = match.groups()
    port = None if port_text is None else parse_number(port_text, "Via", 65_535)
    return Via(transport, host, port, parse_params(rest, "Via") if rest else None, text)
