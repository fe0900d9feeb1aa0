"""What transactions and usages of one engine share: tables, heap, queues, wire text.

`SipEngine` owns one `Core` and is its only outside face; transactions (`sip/transaction`),
requests (`sip/request.py`) and usages (`sip/dialog`) read and write it directly, because a
message touches these tables several times and every indirection would be paid per message.

Nothing here reads a clock: `now` is set by the engine at each input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from sip.errors import LocalProtocolError
from sip.flow import Address, Flow, Target, is_elsewhere, node_of
from sip.grammar import DEFAULT, LWS, Limits
from sip.timers import TimerHeap
from sip.transaction.timers import TimerValues

if TYPE_CHECKING:
    from sip.dialog.dialog import Dialog
    from sip.dialog.subscribe import SubscriberUsage
    from sip.events import Event
    from sip.message import Message
    from sip.parser import StreamFramer
    from sip.request import ClientRequest
    from sip.transaction.client import ClientTransaction
    from sip.transaction.match import ServerKey
    from sip.transaction.server import ServerTransaction

    Transaction: TypeAlias = ClientTransaction | ServerTransaction

ExtraHeaders: TypeAlias = Iterable[tuple[str, str]]


class Rng(Protocol):
    """random.Random in tests, random.SystemRandom in the server."""

    def getrandbits(self, k: int, /) -> int: ...
    def random(self) -> float: ...


class Transmit(NamedTuple):
    """Send `data`. For UDP `to` is a Flow (it names the socket); for streams a Flow or a Target.

    The shell opens or reuses a connection for a Target. `token` is opaque: hand it back in
    `transport_failed()` when the data could not be delivered.
    """

    to: Flow | Target
    data: bytes
    token: object


class Resolve(NamedTuple):
    """Locate the server of `uri` (RFC 3263); answer with `engine.resolved(query, targets, now)`.

    `transport` is a hint: "" or what the size of the request asks for (RFC 3261 §18.1.1).
    """

    query: int
    uri: str
    transport: str


class CloseFlow(NamedTuple):
    """The stream cannot be read any further (RFC 3261 §18.3); close it."""

    flow: Flow
    reason: str


class Forward(NamedTuple):
    """A message that came to us for a dialog or transaction of another node of the cluster.

    Hand `data` to the engine of `node` with `receive_forwarded`. `flow` is where it came from.
    """

    node: str
    flow: Flow
    data: bytes


class TargetFailed(NamedTuple):
    """A target that the shell had located did not answer, or answered 503 (RFC 3263 §4.3).

    It should be tried last for a while: `for_s` seconds if it said how long (Retry-After), else as
    long as the shell likes.
    """

    target: Target
    for_s: float | None


Output: TypeAlias = Transmit | Resolve | CloseFlow | Forward | TargetFailed

NODE_PARAMETER: Final = "rlnode"
"""In Via and Contact of what leaves by another node: who is to get the answers."""

_METHODS: Final = (
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "OPTIONS",
    "PRACK",
    "UPDATE",
    "INFO",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "MESSAGE",
    "REGISTER",
    "PUBLISH",
)


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of an engine; seconds and bytes as the names say."""

    t1_s: float = 0.5
    t2_s: float = 4.0
    t4_s: float = 5.0
    user_agent: str = "Ringlog"
    """User-Agent and Server; "" sends neither."""
    methods: tuple[str, ...] = _METHODS
    """Allow; anything else is answered 501 (405 when we know the method but refuse it here)."""
    refused_methods: frozenset[str] = frozenset()
    """Known, but answered 405 here."""
    supported: tuple[str, ...] = ("100rel", "timer", "replaces", "norefersub")
    """Supported in INVITE dialogs."""
    understood: frozenset[str] = frozenset(
        {"100rel", "timer", "replaces", "norefersub", "path", "outbound", "gruu", "eventlist"}
    )
    """Option tags that Require may name; others are answered 420 (RFC 3261 §8.2.2.3)."""
    schemes: frozenset[str] = frozenset({"sip", "sips", "tel"})
    """Request-URI schemes; others are answered 416."""
    session_expires_s: int = 1800
    """RFC 4028; 0 never asks for a session timer (the peer's wish is still honoured)."""
    min_se_s: int = 90
    keepalive_s: float = 900.0
    """OPTIONS in confirmed dialogs without a session timer; 0 never."""
    trying_delay_s: float = 0.2
    """100 Trying after this time unless the user answered (RFC 3261 §17.2.1).

    Not at once: a challenge would then be the second datagram to an unverified source.
    """
    udp_mtu_bytes: int = 1300
    """A larger request tries TCP first when its URI leaves the choice (RFC 3261 §18.1.1)."""
    max_transactions: int = 200_000
    """Client and server together: 32 s of about 1,500 calls/s. New work stops at 4/5 of it."""
    max_dialogs: int = 100_000
    max_flows: int = 50_000
    max_offers: int = 8
    """Offers queued behind a running one, per usage; more fail with 491."""
    max_provisionals: int = 10
    """Responses queued behind an unacknowledged reliable one, per usage."""
    max_early_dialogs: int = 16
    """Forks of one INVITE."""
    retry_after_s: int = 10
    """Of the 503 when a table is full; up to as much again is added at random."""
    strict_source: bool = False
    """In-dialog requests only from hosts the dialog has seen."""
    advertised: Callable[[str, Address], Address | None] | None = None
    """(transport, local address) to the address that Via and Contact show; None: the local one."""
    node: str = ""
    """Our name in a cluster; messages that name another node are forwarded. Empty: no cluster."""
    advertised_elsewhere: Callable[[str, str, Address], Address | None] | None = None
    """(node, transport, its local address) to what that node shows there; None: the local one."""
    private_host: Callable[[str], bool] | None = None
    """Which Contact hosts cannot be reached from here; None: RFC 1918, 6598, 4193, 3927."""
    limits: Limits = field(default=DEFAULT)


class Side(NamedTuple):
    """Text that depends on where a message leaves from."""

    via: str  # the header line up to and including "branch="
    via_end: str
    contact_at: str  # "host:port>" with the transport parameter, and the line break
    host: str


def host_text(host: str) -> str:
    """A host as URIs and Via show it."""
    return f"[{host}]" if ":" in host else host


@lru_cache(maxsize=512)
def _tokens(text: str, upper: bool) -> frozenset[str]:
    """Phones of one make say the same all the time; 512 lines are at most a few 100 KB."""
    items = [item.strip(LWS) for item in text.split(",")]
    return frozenset(item if upper else item.lower() for item in items if item)


def option_tags(message: Message, name: str) -> frozenset[str]:
    """`Message.option_tags`, remembered by the text of the line. Raises MalformedHeader."""
    line = message.first(name)
    if line is None:
        return frozenset()
    if message.repeats or len(line) > 512 or '"' in line or "<" in line:
        return message.option_tags(name)
    return _tokens(line, name == "Allow")


def lines_of(headers: ExtraHeaders) -> str:
    """Header lines; raises LocalProtocolError for a value that would break the framing."""
    if not headers:
        return ""
    pieces = [f"{name}: {value}\r\n" for name, value in headers]
    text = "".join(pieces)
    if text.count("\n") != len(pieces) or text.count("\r") != len(pieces):
        raise LocalProtocolError("a header value holds a line break")
    return text


class Core:
    """Shared state of one engine."""

    __slots__ = (
        "allow_line",
        "clients",
        "config",
        "connecting",
        "counters",
        "dialogs",
        "events",
        "flows",
        "listeners",
        "merged",
        "now",
        "outputs",
        "queries",
        "query_serial",
        "refusal_guard",
        "rng",
        "secret",
        "server_line",
        "servers",
        "session_lines",
        "sides",
        "streams",
        "subscribers",
        "supported_line",
        "timers",
        "usages",
        "user_agent_line",
        "values",
    )

    def __init__(self, config: EngineConfig, rng: Rng) -> None:
        self.config = config
        self.rng = rng
        self.values = TimerValues(config.t1_s, config.t2_s, config.t4_s)
        self.timers = TimerHeap()
        self.now = 0.0
        self.outputs: list[Output] = []
        self.events: list[Event] = []
        self.clients: dict[str, ClientTransaction] = {}
        """By branch; a CANCEL shares its INVITE's branch and has " CANCEL" behind it."""
        self.servers: dict[ServerKey, ServerTransaction] = {}
        self.merged: dict[tuple[str, str, str], ServerTransaction] = {}
        """(From tag, Call-ID, CSeq) of requests outside dialogs: RFC 3261 §8.2.2.2."""
        self.dialogs: dict[tuple[str, str, str], Dialog] = {}
        """(Call-ID, local tag, remote tag)."""
        self.subscribers: dict[tuple[str, str], SubscriberUsage] = {}
        """(Call-ID, local tag): a NOTIFY may open the dialog before the 200 (RFC 6665 §4.1.2.4)."""
        self.usages = 0
        self.listeners: list[tuple[str, Address]] = []
        self.sides: dict[tuple[str, Address], Side] = {}
        self.flows: dict[Flow, FlowState] = {}
        self.streams: dict[tuple[str, str, int], Flow] = {}
        """Open streams by transport and remote address."""
        self.connecting: dict[tuple[str, str, int], dict[ClientTransaction, None]] = {}
        """Requests that wait for a connection, likewise."""
        self.queries: dict[int, ClientRequest] = {}
        self.query_serial = 0
        self.secret = rng.getrandbits(32)
        self.refusal_guard: Callable[[Flow, float], bool] | None = None
        """Whether a source still gets its requests refused, or no answer at all; None: always."""
        self.counters: dict[str, int] = {}
        agent = config.user_agent
        self.user_agent_line = f"User-Agent: {agent}\r\n" if agent else ""
        self.server_line = f"Server: {agent}\r\n" if agent else ""
        allowed = [m for m in config.methods if m not in config.refused_methods]
        self.allow_line = f"Allow: {', '.join(allowed)}\r\n"
        supported = ", ".join(config.supported)
        self.supported_line = f"Supported: {supported}\r\n" if supported else ""
        self.session_lines = self.allow_line + self.supported_line
        """What every message that opens or changes a session says about us."""

    def session_lines_with(self, headers: ExtraHeaders, agent_line: str) -> str:
        """Allow, Supported, the agent and `headers`, where a header given replaces ours."""
        if not headers:
            return self.session_lines + agent_line
        headers = tuple(headers)
        names = {name.lower() for name, _ in headers}
        text = lines_of(headers)
        if "allow" not in names:
            text += self.allow_line
        if "supported" not in names:
            text += self.supported_line
        if "user-agent" not in names and "server" not in names:
            text += agent_line
        return text

    def count(self, name: str) -> None:
        """Something worth a statistic happened."""
        self.counters[name] = self.counters.get(name, 0) + 1

    # -- ids

    def new_branch(self) -> str:
        """Unguessable, so that nobody off the path can answer for the peer."""
        return f"z9hG4bK{self.rng.getrandbits(72):018x}"

    def new_tag(self) -> str:
        """RFC 3261 §19.3 asks for at least 32 random bits."""
        return f"{self.rng.getrandbits(64):016x}"

    def new_call_id(self) -> str:
        """No host in it: topology stays hidden."""
        return f"{self.rng.getrandbits(96):024x}"

    # -- admission

    def admits_new_work(self) -> bool:
        """New calls and requests stop first, so that calls in progress can still end."""
        config = self.config
        used = len(self.servers) + len(self.clients)
        return used * 5 < config.max_transactions * 4 and len(self.dialogs) < config.max_dialogs

    def admits_in_dialog(self) -> bool:
        return len(self.servers) + len(self.clients) < self.config.max_transactions

    # -- where messages leave from

    def add_listener(self, transport: str, local: Address) -> None:
        self.listeners.append((transport, local))

    def side(self, transport: str, local: Address) -> Side:
        """Via and Contact text for messages from `local`."""
        side = self.sides.get((transport, local))
        if side is None:
            side = self._new_side(transport, local)
        return side

    def _new_side(self, transport: str, local: Address) -> Side:
        config = self.config
        node, shown = node_of(local)
        back = ""
        if node:
            # It leaves from there, so the answers arrive there: say whose they are.
            back = f";{NODE_PARAMETER}={config.node}"
            if config.advertised_elsewhere is not None:
                shown = config.advertised_elsewhere(node, transport, shown) or shown
        else:
            if (transport, local) not in self.listeners:
                # An outgoing stream has a port of its own, where nobody listens.
                shown = self.listener_for(transport, local[0])
            if config.advertised is not None:
                shown = config.advertised(transport, shown) or shown
        host = host_text(shown[0])
        at = f"{host}:{shown[1]}"
        parameter = back if transport == "udp" else f";transport={transport}{back}"
        side = Side(
            f"Via: SIP/2.0/{transport.upper()} {at}{back};branch=",
            # RFC 3581 §3: always ask; harmless where the server ignores it.
            ";rport\r\n" if transport == "udp" else "\r\n",
            f"{at}{parameter}>\r\n",
            host,
        )
        if len(self.sides) > 1024:  # ports of outgoing streams come and go
            self.sides.clear()
        self.sides[(transport, local)] = side
        return side

    def listener_for(self, transport: str, remote_host: str) -> Address:
        """The listener that names our side toward `remote_host`."""
        v6 = ":" in remote_host
        best: Address | None = None
        for known, local in self.listeners:
            if known == transport and (":" in local[0]) is v6:
                return local
            if best is None or known == transport:
                best = local
        if best is None:
            raise LocalProtocolError("the engine has no listener")
        return best

    def leaving(self, to: Flow | Target) -> tuple[Flow | Target, Side]:
        """Normalize a destination, and say what our side is called there."""
        if isinstance(to, Target):
            if to.flow is None:
                local = self.listener_for(to.transport, to.host)
                side = self.side(to.transport, local)
                if to.transport == "udp":
                    return Flow("udp", local, (to.host, to.port)), side
                if not to.tls_name:
                    # A connection that is up is used again (RFC 3261 §18); with a name to prove
                    # only the shell knows what the certificate proved.
                    flow = self.streams.get((to.transport, to.host, to.port))
                    if flow is not None:
                        return flow, side
                return to, side
            to = to.flow
        return to, self.side(to.transport, to.local)

    def send(self, to: Flow | Target, data: bytes, token: object = None) -> None:
        self.outputs.append(Transmit(to, data, token))

    # -- flows

    def is_up(self, flow: Flow) -> bool:
        """Whether a stream may still be sent over; of those of other nodes only they know."""
        return flow in self.flows or is_elsewhere(flow.local)

    def forget_sides(self, node: str) -> None:
        """`node` shows itself otherwise from now on."""
        for key in [key for key in self.sides if node_of(key[1])[0] == node]:
            del self.sides[key]

    def open_flow(self, flow: Flow, framer: StreamFramer) -> None:
        """A stream is up; requests that asked for this connection depend on it from now on."""
        state = self.flows[flow] = FlowState(framer)
        key = (flow.transport, flow.remote[0], flow.remote[1])
        self.streams[key] = flow
        for transaction in self.connecting.pop(key, ()):
            transaction.to = flow
            state.transactions[transaction] = None

    def close_flow(self, flow: Flow) -> list[Transaction]:
        """A stream is gone; gives what waited on it."""
        key = (flow.transport, flow.remote[0], flow.remote[1])
        if self.streams.get(key) == flow:
            del self.streams[key]
        state = self.flows.pop(flow, None)
        return list(state.transactions) if state is not None else []

    def watch(self, flow: Flow, transaction: Transaction) -> None:
        """Tell `transaction` when its stream closes; a no-op for UDP."""
        if flow.transport != "udp":
            state = self.flows.get(flow)
            if state is not None:
                state.transactions[transaction] = None

    def unwatch(self, flow: Flow, transaction: Transaction) -> None:
        if flow.transport != "udp":
            state = self.flows.get(flow)
            if state is not None:
                state.transactions.pop(transaction, None)

    def await_stream(self, target: Target, client: ClientTransaction) -> None:
        """`client` waits for the shell to connect to `target`."""
        key = (target.transport, target.host, target.port)
        self.connecting.setdefault(key, {})[client] = None

    def forget_stream(self, target: Target, client: ClientTransaction) -> None:
        key = (target.transport, target.host, target.port)
        waiting = self.connecting.get(key)
        if waiting is not None:
            waiting.pop(client, None)
            if not waiting:
                del self.connecting[key]


class FlowState:
    """An open stream: its framer and the transactions that wait on it."""

    __slots__ = ("framer", "transactions")

    def __init__(self, framer: StreamFramer) -> None:
        self.framer = framer
        self.transactions: dict[Transaction, None] = {}
        """In the order they started, so that a run can be repeated exactly."""
