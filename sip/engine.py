"""Sans-I/O facade of the SIP stack: signatures only for now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from sip.dialog.invite import ExtraHeaders, InviteUsage
    from sip.dialog.subscribe import NotifierUsage, SubscriberUsage
    from sip.events import Event
    from sip.flow import Address, Flow, Target
    from sip.request import ClientRequest
    from sip.transaction.server import ServerTransaction


class Rng(Protocol):
    def getrandbits(self, k: int, /) -> int: ...
    def random(self) -> float: ...


class Transmit(NamedTuple):
    """Send `data`. UDP always names a Flow (the socket to use); streams a Flow or a Target."""

    to: Flow | Target
    data: bytes
    token: object  # give it back in transport_failed(); opaque


class Resolve(NamedTuple):
    """Resolve a URI by RFC 3263; answer with engine.resolved(query, targets, now)."""

    query: int
    uri: str
    transport: str  # hint: "" or the transport the URI or the size asks for


class CloseFlow(NamedTuple):
    flow: Flow
    reason: str


Output: TypeAlias = Transmit | Resolve | CloseFlow


@dataclass(frozen=True, slots=True)
class EngineConfig:
    t1_s: float = 0.5
    t2_s: float = 4.0
    t4_s: float = 5.0
    user_agent: str = "Ringlog"
    session_expires_s: int = 1800
    min_se_s: int = 90
    udp_mtu_bytes: int = 1300
    strict_source: bool = False
    advertised: Callable[[str, Address], Address] | None = None


class SipEngine:
    def __init__(self, config: EngineConfig, rng: Rng) -> None: ...

    def add_listener(self, transport: str, local: Address) -> None: ...
    def receive_datagram(self, data: bytes, flow: Flow, now: float) -> None: ...
    def flow_opened(self, flow: Flow, now: float) -> None: ...
    def receive_stream(self, flow: Flow, data: bytes, now: float) -> None: ...
    def flow_closed(self, flow: Flow, now: float) -> None: ...
    def transport_failed(self, to: Flow | Target, token: object, now: float) -> None: ...
    def resolved(self, query: int, targets: list[Target], now: float) -> None: ...
    def handle_timers(self, now: float) -> None: ...
    def next_timer(self) -> float | None: ...
    def outputs(self) -> list[Output]: ...
    def events(self) -> list[Event]: ...

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        reason: str | None = None,
        headers: ExtraHeaders = (),
        body: bytes = b"",
        *,
        now: float | None = None,  # default: the time of the last input
    ) -> None: ...

    def request(
        self,
        method: str,
        uri: str,
        *,
        to: str,  # header value text, e.g. '"Bob" <sip:bob@example.com>' or a bare URI
        from_: str,
        now: float,
        headers: ExtraHeaders = (),
        body: bytes = b"",
        content_type: str = "",
        target: Target | Flow | None = None,
        route: Sequence[str] = (),
        call_id: str | None = None,
        cseq: int | None = None,
        contact: str | None = None,  # None: none; "" : our own; else header value text
        credentials: object = None,
        user: object = None,
    ) -> ClientRequest: ...

    def invite(
        self,
        uri: str,
        *,
        to: str,
        from_: str,
        now: float,
        headers: ExtraHeaders = (),
        body: bytes = b"",
        content_type: str = "application/sdp",
        target: Target | Flow | None = None,
        route: Sequence[str] = (),
        call_id: str | None = None,
        reliable: Literal["supported", "off", "required"] = "supported",
        session_expires: int | None = None,
        max_forwards: int = 70,
        credentials: object = None,
        contact_user: str = "",
        user: object = None,
    ) -> InviteUsage: ...

    def accept_refer(self, transaction: ServerTransaction, *, now: float) -> NotifierUsage: ...
    def accept_subscription(
        self,
        transaction: ServerTransaction,
        expires_s: int,
        headers: ExtraHeaders = (),
        *,
        now: float,
    ) -> NotifierUsage: ...
    def subscribe(
        self,
        uri: str,
        event: str,
        *,
        to: str,
        from_: str,
        now: float,
        expires_s: int = 3600,
        target: Target | Flow | None = None,
        headers: ExtraHeaders = (),
        user: object = None,
    ) -> SubscriberUsage: ...
    def find_dialog(
        self, call_id: str, local_tag: str, remote_tag: str, *, either_order: bool = False
    ) -> InviteUsage | None: ...
    def statistics(self) -> dict[str, int]: ...
