"""All trunks of one signalling node: implements :class:`pbx.calls.ports.TrunkPort`.

Fed by the node with the configuration and with the events of ``trunk/…`` and ``node/…`` streams;
keeps a :class:`~pbx.trunks.line.Line` for each record that this node registers, answers call
control about calls from providers and through gateways, and writes what happens to the log.
Sans-I/O like its node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from pbx.calls.ports import Arrival, ThroughGateway
from pbx.domain import trunks as domain
from pbx.eventlog import ANY_VERSION, Conflict, Meta, Record
from pbx.kernel.events import Event
from pbx.trunks import gateways, ownership
from pbx.trunks.arrivals import arrival
from pbx.trunks.line import Line
from pbx.trunks.records import RecordBook, RecordKey, RsipRecord
from pbx.trunks.registration import Identity, Refused, State, cseq_after, new_identity
from pbx.trunks.settings_book import SettingsBook
from sip.errors import RemoteProtocolError
from sip.login import DigestLogin
from sip.uri import SipUri, parse_uri

if TYPE_CHECKING:
    from pbx.calls.dial import Contact
    from pbx.calls.node import SignalNode
    from pbx.calls.timers import Timer
    from sip.flow import Flow
    from sip.message import Request

MAX_LINES: Final = 10_000
"""Registrations of one node: 40 REGISTER a second at the usual period."""
START_GAP_S: Final = 0.02
"""Distance of the first REGISTERs of a start: a provider takes 50 a second from one address."""
RETRY_S: Final = 0.2
"""How soon after a lost claim; up to twice that, so that two nodes do not meet again."""
REVIEW_S: Final = 5.0
"""How often a node of a cluster looks for records that nobody takes care of."""
_NS: Final = 1_000_000_000


class Trunks:
    """See the module."""

    def __init__(self, node: SignalNode, *, clustered: bool = False) -> None:
        self._node = node
        self._clustered = clustered
        self._book = RecordBook()
        self._settings = SettingsBook()
        self._streams: dict[str, domain.Trunks] = {}
        """What the log says, by account."""
        self._records: dict[RecordKey, RsipRecord] = {}
        """Records that can be registered, whoever does it."""
        self._problems: dict[RecordKey, str] = {}
        """The others, and why."""
        self._lines: dict[RecordKey, Line] = {}
        """Those that this node registers."""
        self._leaving: set[Line] = set()
        self._tokens: dict[str, RecordKey] = {}
        self._claims: dict[RecordKey, Timer | None] = {}
        """Records that we are about to claim; None while the log decides."""
        self._signs: dict[RecordKey, float] = {}
        """When we last wrote that we are there, monotonic."""
        self._started = False
        self._stopping = False
        self._next_start = 0.0
        self.lost_nodes: Callable[[Iterable[str]], frozenset[str]] = lambda nodes: frozenset()
        """Which of these nodes our links do not reach; filled in by the shell of a cluster."""

    # What is.

    def configured(self, stream: str, event: Event) -> None:
        self._settings.apply(stream, event)
        account = self._book.apply(stream, event)
        if account and self._started:
            self._reread(account, self._node.now())

    def apply(self, record: Record) -> None:
        if not record.stream.startswith(domain.PREFIX):
            if self._started and self._clustered:
                self._review(self._node.now())
            return
        self._take_in(record.stream.removeprefix(domain.PREFIX), record)

    def _take_in(self, account: str, record: Record) -> None:
        """Fold an event of a stream and do what follows from it, once."""
        event = record.event
        if not self._fold(account, record) or not self._started:
            return
        key = RecordKey(account, getattr(event, "record", ""))
        now = self._node.now()
        line = self._lines.get(key)
        if isinstance(event, domain.TrunkRegisterAsked) and line is not None:
            self._signs.pop(key, None)  # who asked waits for what is written
            line.register_now(now)
        elif isinstance(event, domain.TrunkClaimed) and record.node != self._node.config.node:
            self._forget_claim(key)
            if line is not None and self._state(key).node != self._node.config.node:
                self._leave(key, "moved", now)

    def _fold(self, account: str, record: Record) -> bool:
        """False for an event that is known."""
        event = record.event
        held = self._streams.get(account, domain.NOTHING)
        if record.version <= held.version:
            return False
        self._streams[account] = domain.evolve_trunks(
            held, event, version=record.version, node=record.node, time_ns=record.time_ns
        )
        if isinstance(event, domain.TrunkRegistered):
            before = held.of(event.record).token
            if before != event.token:
                self._tokens.pop(before, None)
            self._tokens[event.token] = RecordKey(account, event.record)
        return True

    def start(self, now: float) -> None:
        self._started = True
        self._next_start = now
        for account in self._book.accounts():
            self._reread(account, now)
        if self._clustered:
            self._node.timers.call_at(now + REVIEW_S, self._review_due)

    def stop(self, now: float) -> None:
        self._stopping = True
        for key in list(self._claims):
            self._forget_claim(key)
        for key in list(self._lines):
            self._leave(key, "stopped", now)

    def lines(self) -> list[Line]:
        """The registrations of this node."""
        return list(self._lines.values())

    def statistics(self) -> dict[str, int]:
        now = self._node.now()
        up = sum(line.registration.is_registered(now) for line in self._lines.values())
        return {
            "trunks": len(self._lines),
            "trunks_registered": up,
            "trunks_leaving": len(self._leaving),
        }

    # Records.

    def _reread(self, account: str, now: float) -> None:
        """Compare the records of an account with what we do."""
        if self._stopping:
            return
        wanted: dict[RecordKey, RsipRecord] = {}
        problems: dict[RecordKey, str] = {}
        for key, found in self._book.of(account):
            if isinstance(found, str):
                problems[key] = found
            elif found.enabled:
                wanted[key] = found
        for key in [key for key in self._records if key.account == account and key not in wanted]:
            del self._records[key]
            self._forget_claim(key)
            self._leave(key, "removed", now)
        for key in [key for key in self._problems if key.account == account]:
            if key not in problems:
                del self._problems[key]
        for key, problem in problems.items():
            self._wrong(key, problem)
        for key, record in wanted.items():
            self._records[key] = record
            line = self._lines.get(key)
            if line is not None:
                self._changed(key, line, record, now)
            elif not self._clustered:
                self._take(key, now)
        if self._clustered:
            self._review(now)

    def _wrong(self, key: RecordKey, problem: str) -> None:
        if self._problems.get(key) == problem:
            return
        self._problems[key] = problem
        state = self._state(key)
        if state.kind == "configuration" and state.reason == problem:
            return  # it was wrong before the server started anew
        self._write(
            key,
            domain.TrunkFailed(
                record=key.name,
                registrar="",
                kind="configuration",
                status=0,
                reason=problem,
                attempt=0,
                next_ns=0,
            ),
        )

    def _changed(self, key: RecordKey, line: Line, record: RsipRecord, now: float) -> None:
        before = line.record
        if before == record:
            return
        same = (before.registrar, before.address, before.route) == (
            record.registrar, record.address, record.route,
        )  # fmt: skip
        if same:
            line.update(record, now)
        else:
            self._leave(key, "changed", now)
            self._take(key, now, anew=True)

    def _take(self, key: RecordKey, now: float, *, anew: bool = False) -> None:
        """Register a record from now on."""
        record = self._records.get(key)
        if record is None or key in self._lines or self._stopping:
            return
        if len(self._lines) >= MAX_LINES:
            self._wrong(key, f"this node has {MAX_LINES} registrations, which are the most")
            return
        identity = None if anew else self._known_identity(key, record)
        if identity is None:
            identity = new_identity(self._node.rng)
        due = self._next_start = max(now, self._next_start)
        self._next_start += START_GAP_S
        self._tokens[identity.token] = key
        line = Line(self, self._node, record, identity, due)
        state = self._state(key)
        if state.token == identity.token:
            line.sources = frozenset(state.sources)
        self._lines[key] = line
        self._signs[key] = now

    def _known_identity(self, key: RecordKey, record: RsipRecord) -> Identity | None:
        """The client that the registrar knows from an earlier run, or from another node."""
        state = self._state(key)
        if not state.token or (state.registrar, state.address) != (
            record.registrar, record.address,
        ):  # fmt: skip
            return None
        passed_s = (self._node.clock.wall_ns() - state.cseq_ns) / _NS
        return Identity(state.token, state.sip_call_id, cseq_after(state.cseq, passed_s))

    def _leave(self, key: RecordKey, reason: str, now: float) -> None:
        line = self._lines.pop(key, None)
        self._signs.pop(key, None)
        if line is None:
            return
        if reason in ("removed", "changed"):
            self._tokens.pop(line.registration.identity.token, None)
        self._leaving.add(line)
        line.leave(now)
        if reason != "moved":  # the one that took it over writes how it is
            self._write(key, domain.TrunkRemoved(record=key.name, reason=reason))

    def _state(self, key: RecordKey) -> domain.TrunkState:
        return self._streams.get(key.account, domain.NOTHING).of(key.name)

    # What lines report.

    def line_registered(self, line: Line, *, first: bool, now: float) -> None:
        key, registration = line.record.key, line.registration
        identity = registration.identity
        if first:
            self._signs[key] = now
            self._write(
                key,
                domain.TrunkRegistered(
                    record=key.name,
                    registrar=line.record.registrar,
                    address=line.record.address,
                    contact=line.contact,
                    token=identity.token,
                    sip_call_id=identity.sip_call_id,
                    cseq=identity.cseq,
                    expires_ns=self._wall_ns(registration.expires_at, now),
                    next_ns=self._wall_ns(registration.due, now),
                    sources=tuple(sorted(line.sources)),
                ),
            )
        elif now - self._signs.get(key, -math.inf) >= ownership.SIGN_S:
            self._sign(key, line, now)

    def line_failed(self, line: Line, refused: Refused, now: float) -> None:
        key, registration = line.record.key, line.registration
        self._signs[key] = now
        self._write(
            key,
            domain.TrunkFailed(
                record=key.name,
                registrar=line.record.registrar,
                kind=refused.kind.value,
                status=refused.status,
                reason=refused.reason,
                attempt=registration.attempt_number,
                next_ns=self._wall_ns(registration.due, now),
            ),
        )

    def line_gone(self, line: Line) -> None:
        self._leaving.discard(line)

    def _sign(self, key: RecordKey, line: Line, now: float) -> None:
        registration = line.registration
        self._signs[key] = now
        self._write(
            key,
            domain.TrunkRefreshed(
                record=key.name,
                cseq=registration.identity.cseq,
                expires_ns=self._wall_ns(registration.expires_at or None, now),
                next_ns=self._wall_ns(registration.due, now),
            ),
        )

    def _wall_ns(self, moment: float | None, now: float) -> int:
        """Wall time of a monotonic moment; 0 for none."""
        if moment is None:
            return 0
        return self._node.clock.wall_ns() + int((moment - now) * _NS)

    def _write(self, key: RecordKey, event: Event) -> None:
        self._node.log.observe(f"{domain.PREFIX}{key.account}", ANY_VERSION, event, self._meta(key))

    def _meta(self, key: RecordKey) -> Meta:
        tenant = key.account.rpartition("@")[2]
        return Meta(actor=f"node:{self._node.config.node}", tenant=tenant)

    # Who registers what, in a cluster.

    def _review_due(self, now: float) -> None:
        if self._stopping:
            return
        self._review(now)
        for key, line in self._lines.items():
            # A refresh is a sign, too, but periods may be long.
            waiting = line.registration.state is not State.TRYING
            if waiting and now - self._signs.get(key, -math.inf) >= ownership.SIGN_S:
                self._sign(key, line, now)
        self._node.timers.call_at(now + REVIEW_S, self._review_due)

    def _review(self, now: float) -> None:
        """Claim what nobody takes care of."""
        node = self._node
        if self._stopping or node.draining:
            return
        own = node.config.node
        up = frozenset(name for name, peer in node.peers.nodes.items() if peer.up) | {own}
        owners = {self._state(key).node for key in self._records} - {own, ""}
        lost = self.lost_nodes(sorted(owners & up)) - {own}
        now_ns = node.clock.wall_ns()
        # Records of one account are of one stream: those of one moment are claimed together.
        groups: dict[tuple[str, float], list[RecordKey]] = {}
        for key in self._records:
            if key in self._lines or key in self._claims:
                continue
            state = self._state(key)
            if (state.node == own and state.claimed) or ownership.is_orphan(
                state, up, lost, now_ns
            ):
                delay_s = ownership.claim_delay_s(key, state, own, up, lost)
                groups.setdefault((key.account, delay_s), []).append(key)
        for (account, delay_s), keys in groups.items():
            timer = node.timers.call_at(now + delay_s, partial(self._claim, account, keys))
            for key in keys:
                self._claims[key] = timer

    def _claim(self, account: str, keys: list[RecordKey], now: float) -> None:
        """Have the log decide that these are ours."""
        wanted = [key for key in keys if key in self._claims and key in self._records]
        if self._stopping or not wanted:
            return
        events = []
        for key in wanted:
            self._claims[key] = None
            before = self._state(key).node
            reason = f"after {before}" if before else "first"
            events.append(domain.TrunkClaimed(record=key.name, reason=reason))

        def decided(outcome: int | Exception) -> None:
            for key in wanted:
                self._claims.pop(key, None)
            later = self._node.now()
            if isinstance(outcome, Exception):
                # Somebody was faster, perhaps with other records of the account; or the log is
                # away; or a start did not read signs of life. What is left is looked at anew.
                if isinstance(outcome, Conflict) and self._node.read_stream is not None:
                    for record in self._node.read_stream(stream):
                        self._take_in(account, record)
                again = later + RETRY_S * (1.0 + self._node.rng.random())
                self._node.timers.call_at(again, self._review)
                return
            for key in wanted:
                self._take(key, later)

        version = self._streams.get(account, domain.NOTHING).version
        stream = f"{domain.PREFIX}{account}"
        self._node.log.decide(stream, version, events, self._meta(wanted[0]), decided)

    def _forget_claim(self, key: RecordKey) -> None:
        """Somebody else has it, or nobody needs it; one that the log is deciding goes on."""
        self._claims.pop(key, None)

    # Calls.

    def arrival(self, request: Request, flow: Flow) -> Arrival | None:
        if not self._tokens:
            return None
        uri = request.request_uri
        key = self._tokens.get(uri.user or "") if isinstance(uri, SipUri) else None
        record = None if key is None else self._records.get(key)
        if key is None or record is None or not self._comes_from_registrar(key, flow):
            return None
        plan = self._settings.plan(key.account)
        line = self._lines.get(key)
        # The realm that asked for our password before is the only one that gets a digest of it:
        # the caller, too, could challenge what we send inside the call.
        realm = "" if line is None else line.realm
        login = None
        if realm and record.password:
            login = DigestLogin(record.auth_name, record.password, realm, pin=True)
        return arrival(request, record, plan, flow.remote[0], login)

    def _comes_from_registrar(self, key: RecordKey, flow: Flow) -> bool:
        host = flow.remote[0]
        line = self._lines.get(key)
        if line is None:  # another node registers, or this one just started
            return host in self._state(key).sources
        return host in line.sources or flow == line.flow

    def through(self, contact: Contact, account: str) -> ThroughGateway:
        if self._settings.empty:
            return ThroughGateway(contact, "")
        try:
            uri = parse_uri(contact.uri)
        except RemoteProtocolError:
            return ThroughGateway(contact, "")
        if not isinstance(uri, SipUri):
            return ThroughGateway(contact, "")
        settings = self._settings.effective(account)
        for found in gateways.all_gateways(settings, account.rpartition("@")[2]):
            if gateways.is_at(found, uri):
                plan = self._settings.plan(account)
                return gateways.dressed(contact, found, self._caller(account), plan)
        return ThroughGateway(contact, "")

    def gateway_call(self, number: str, gateway: str, account: str) -> ThroughGateway:
        settings = self._settings.effective(account)
        found = gateways.gateway(settings, gateway, account.rpartition("@")[2])
        if found is None:
            named = f"no gateway {gateway}" if gateway else "no gateway"
            return ThroughGateway(None, f"{named} configured for {account} (PSTNGatewayDomain)")
        return gateways.contact(number, found, self._caller(account), self._settings.plan(account))

    def _caller(self, account: str) -> gateways.Caller:
        known = self._node.directory.by_address(account)
        if known is None:
            return gateways.Caller(account)
        return gateways.Caller(account, known.display_name, (*known.telnums, "")[0])
