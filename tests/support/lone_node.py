"""One signalling node in one thread under a virtual clock, fed with bytes from any address.

Engine and call control as the signal role composes them, with a memory log and no media, for
tests of what strangers send. What leaves the node is kept by destination in :attr:`LoneNode.sent`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import md5, sha256
from random import Random

from pbx.calls.config import CallConfig
from pbx.calls.media import NoMedia
from pbx.calls.node import SignalNode
from pbx.domain.accounts import AccountCreated, AccountPasswordSet, DomainCreated
from pbx.domain.bindings import BindingAdded
from pbx.eventlog import MemoryLog, Meta, Record
from pbx.trunks.trunks import Trunks
from sip.core import CloseFlow, EngineConfig, Forward, Output, Resolve, Transmit
from sip.engine import SipEngine
from sip.flow import Address, Flow, Target, elsewhere, node_of
from tests.support.clock import Scheduler
from tests.support.fake_phone.wire import Heard, authorization
from tests.support.sim_log import SimulatedLogWriter

LOCAL: Address = ("192.0.2.1", 5060)
DOMAIN = "example.com"
#: As the signal role runs it; tests of other rules have no use for the limits.
GENEROUS = CallConfig(
    requests_per_s=1e6, requests_burst=1_000_000, digest_algorithms=("SHA-256", "MD5")
)


class LoneNode:
    """See the module. Passwords are ``secret-NAME``."""

    def __init__(
        self,
        config: CallConfig = GENEROUS,
        *,
        names: Sequence[str] = ("alice", "bob"),
        domain: str = DOMAIN,
        engine: EngineConfig | None = None,
        seed: int = 1,
        name: str = "lone",
        local: Address = LOCAL,
        cluster: Cluster | None = None,
    ) -> None:
        self.local = local
        self.cluster = cluster
        self.scheduler = cluster.scheduler if cluster is not None else Scheduler()
        self.clock = self.scheduler.clock
        self.clock.now = max(1000.0, self.clock.now)
        self.domain = domain
        self.sent: dict[Address, list[bytes]] = defaultdict(list)
        self.closed: list[CloseFlow] = []
        self.hosts: dict[str, list[Address]] = {}
        """What names elsewhere resolve to; others do not exist."""
        self.servers: dict[Address, Callable[[bytes], None]] = {}
        """Who gets what is sent to an address, instead of :attr:`sent`."""
        self.events = MemoryLog(node=name, clock=self.clock)
        if cluster is not None:
            self.events = cluster.join(self, name, self.events)
        self._serial = 0
        rng = Random(seed)
        node_name = name if cluster is not None else ""
        engine = replace(engine or EngineConfig(), strict_source=True, node=node_name)
        self.engine = SipEngine(engine, rng)
        self.engine.add_listener("udp", local)
        self.engine.add_listener("tcp", local)
        self.writer = SimulatedLogWriter(self.events, self.clock, self.scheduler.at, node=name)
        self.node = SignalNode(
            self.engine,
            NoMedia(),
            self.writer,
            self.clock,
            rng,
            replace(config, node=name),
            nonce_secret=b"\x07" * 32,
        )
        self.node.read_stream = self.events.read_stream
        self.trunks = Trunks(self.node, clustered=cluster is not None)
        self.node.use_trunks(self.trunks)
        if not self.events.head():
            created = [DomainCreated(name=domain)]
            self.events.append(f"domain/{domain}", 0, created, Meta(actor="test"))
            for account in names:
                self._create(account)
        self.followed = 0
        self.follow()
        link = f"{local[0]}:7000" if cluster is not None else ""
        self.node.start("test", 1, ("udp:test",), self.clock.now, link=link)

    def follow(self) -> None:
        """Take in what others appended to the log."""
        for record in self.events.read(self.followed):
            self.followed = record.position
            self.node.apply(record)

    def _create(self, name: str) -> None:
        secret = f"{name}:{self.domain}:secret-{name}".encode()
        created = AccountCreated(name=name, domain=self.domain)
        password = AccountPasswordSet(
            realm=self.domain,
            ha1_md5=md5(secret).hexdigest(),
            ha1_sha256=sha256(secret).hexdigest(),
        )
        stream = f"account/{name}@{self.domain}"
        self.events.append(stream, 0, [created, password], Meta(actor="test"))

    # -- input

    def datagram(self, data: bytes, source: Address = ("203.0.113.9", 5060)) -> list[bytes]:
        """Feed one datagram; gives what goes back to its source at once."""
        before = len(self.sent[source])
        self.engine.receive_datagram(data, Flow("udp", self.local, source), self.clock.now)
        self.pump()
        return self.sent[source][before:]

    def serve(self, address: Address, receive: Callable[[bytes], None]) -> None:
        """Have `receive` get what is sent to an address."""
        self.servers[address] = receive

    def connect(self, source: Address = ("203.0.113.9", 40_000)) -> Flow:
        """A TCP connection from `source`."""
        self._serial += 1
        flow = Flow("tcp", self.local, source, self._serial)
        self.engine.flow_opened(flow, self.clock.now)
        self.pump()
        return flow

    def stream(self, flow: Flow, data: bytes) -> list[bytes]:
        """Feed bytes of a connection; gives the messages that go back over it at once."""
        before = len(self.sent[flow.remote])
        self.engine.receive_stream(flow, data, self.clock.now)
        self.pump()
        return self.sent[flow.remote][before:]

    def is_closed(self, flow: Flow) -> bool:
        """Whether the node wants the connection closed."""
        return any(output.flow == flow for output in self.closed)

    def advance(self, seconds: float) -> None:
        """Let time pass; timers fire at their moments."""
        end = self.clock.now + seconds
        while True:
            due = [self.scheduler.next_time(), self.engine.next_timer(), self.node.next_timer()]
            moment = min((time for time in due if time is not None), default=None)
            if moment is None or moment > end:
                break
            self.scheduler.run_until(max(moment, self.clock.now))
            self.engine.handle_timers(self.clock.now)
            self.node.handle_timers(self.clock.now)
            self.pump()
        self.clock.now = end

    def pump(self) -> None:
        """Carry out what engine and call control want until they want nothing more."""
        while True:
            events = self.engine.events()
            if events:
                self.node.on_events(events, self.clock.now)
            outputs = self.engine.outputs()
            for output in outputs:
                self._carry_out(output)
            self.scheduler.run_until(self.clock.now)  # decisions of the log
            if not events and not outputs:
                break

    def _carry_out(self, output: Output) -> None:
        if isinstance(output, Forward):
            if self.cluster is not None:
                self.cluster.forward(self, output)
        elif isinstance(output, Transmit):
            to = output.to
            if isinstance(to, Flow) and node_of(to.local)[0]:
                if self.cluster is None or not self.cluster.send(to, output.data):
                    self.engine.transport_failed(to, output.token, self.clock.now)
                return
            remote = to.remote if isinstance(to, Flow) else (to.host, to.port)
            server = self.servers.get(remote)
            if server is None:
                self.sent[remote].append(output.data)
            else:
                self.scheduler.at(self.clock.now, server, output.data)
        elif isinstance(output, Resolve):
            host = output.uri.partition(":")[2].rpartition("@")[2].partition(";")[0]
            found = [Target("udp", *place) for place in self.hosts.get(host, ())]
            self.engine.resolved(output.query, found, self.clock.now)
        elif isinstance(output, CloseFlow):
            self.closed.append(output)

    # -- what was told

    def told(self, source: Address) -> list[Heard]:
        """What was sent to an address so far, and forget it."""
        return [Heard(data) for data in self.sent.pop(source, [])]

    def records(self, event_type: str) -> list[Record]:
        """Records of one type, e.g. ``binding.added.v1``."""
        self.writer.flush()
        return [record for record in self.events.read() if record.type == event_type]

    def bindings(self) -> list[str]:
        """Contacts that were ever added, in order."""
        added = [record.event for record in self.records("binding.added.v1")]
        return [event.contact for event in added if isinstance(event, BindingAdded)]

    def sizes(self) -> dict[str, int]:
        """Table sizes of engine and node that must return to 0."""
        engine = self.engine.statistics()
        node = self.node.statistics()
        names = ("client_transactions", "server_transactions", "merged", "dialogs", "usages")
        return {
            **{name: engine[name] for name in (*names, "timers", "queries", "flows")},
            "calls": node["calls"],
            "bridges": node["bridges"],
        }


class Cluster:
    """Nodes that share a log, and the links between them, of which any may be down."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.nodes: dict[str, LoneNode] = {}
        self.down: set[str] = set()
        self._log: MemoryLog | None = None

    def join(self, node: LoneNode, name: str, log: MemoryLog) -> MemoryLog:
        """A node of the cluster; gives the log, which the first one made."""
        self.nodes[name] = node
        self._log = self._log or log
        return self._log

    def settle(self) -> None:
        """Everything that was appended is written and known to all."""
        for node in self.nodes.values():
            node.writer.flush()
        for name, node in self.nodes.items():
            if name not in self.down:
                node.follow()
                node.pump()

    def send(self, flow: Flow, data: bytes) -> bool:
        """Have the node that `flow` ends at send over it."""
        name, local = node_of(flow.local)
        node = self.nodes.get(name)
        if node is None or name in self.down:
            return False
        if flow.transport != "udp":
            opened = node.engine.open_stream(flow.transport, flow.remote)
            if opened is None:
                return False
        assert local == node.local
        node.sent[flow.remote].append(data)
        return True

    def forward(self, source: LoneNode, output: Forward) -> None:
        """Hand a message to the node that it belongs to."""
        node = self.nodes.get(output.node)
        if node is not None and output.node not in self.down:
            name = source.node.config.node
            flow = output.flow._replace(local=elsewhere(name, output.flow.local), id=0)
            node.engine.receive_forwarded(output.data, flow, node.clock.now)
            node.pump()


def request(
    method: str,
    *,
    user: str = "alice",
    to: str = "",
    uri: str = "",
    branch: str = "1",
    call_id: str = "",
    cseq: int = 1,
    from_tag: str = "f",
    to_tag: str = "",
    source: Address = ("203.0.113.9", 5060),
    extra: str = "",
    body: bytes = b"",
    domain: str = DOMAIN,
    transport: str = "UDP",
) -> bytes:
    """A request as a simple phone of `user` at `source` writes it; `extra` are header lines."""
    to = to or user
    uri = uri or (f"sip:{domain}" if method == "REGISTER" else f"sip:{to}@{domain}")
    tag = f";tag={to_tag}" if to_tag else ""
    if body and "Content-Type" not in extra:
        extra += "Content-Type: application/sdp\r\n"
    return (
        f"{method} {uri} SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport} {source[0]}:{source[1]};branch=z9hG4bK{branch};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:{user}@{domain}>;tag={from_tag}\r\n"
        f"To: <sip:{to}@{domain}>{tag}\r\nCall-ID: {call_id or f'{method}-{user}'}\r\n"
        f"CSeq: {cseq} {method}\r\nContact: <sip:{user}@{source[0]}:{source[1]}>\r\n"
        f"{extra}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def credentials(
    answer: bytes,
    method: str,
    *,
    user: str = "alice",
    password: str = "",
    uri: str = "",
    domain: str = DOMAIN,
    count: int = 1,
) -> str:
    """The Authorization line that answers the first challenge in a 401."""
    heard = Heard(answer)
    assert heard.status == 401, answer
    challenge = heard.headers["www-authenticate"][0]
    uri = uri or f"sip:{domain}"
    value = authorization(
        challenge, user, password or f"secret-{user}", method, uri, count, "c0ffee"
    )
    return f"Authorization: {value}\r\n"
