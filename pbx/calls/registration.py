"""REGISTER from authentication to the reply (RFC 3261 §10.3 around ``sip.registrar``).

What a 200 promises is in the log before it leaves. A refresh only moves an expiry, which is written
ahead of time, so that most of them need not be written at all (:func:`unrecorded`). Requests for
one address are taken one after another while an append is under way, so each is evaluated on what
the log has. While the log takes nothing, refreshes are accepted and queued: the phone is there.

While the nodes of a cluster cannot agree (Kafka is away) this node decides on bindings by itself:
that a phone is here is a fact, whatever others say, and it must be reachable meanwhile. The others
learn it when the log is whole again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from pbx.calls.locations import Location, stream_of
from pbx.domain.bindings import BindingAdded, BindingRefreshed, BindingRemoved
from pbx.eventlog import Conflict
from pbx.kernel.errors import ClusterAway, LogUnavailable
from pbx.kernel.events import Event
from sip import registrar
from sip.registrar import PRIVATE_NETWORKS, Binding, RegisterResult, RegistrarConfig
from sip.uri import SipUri

if TYPE_CHECKING:
    from pbx.calls.directory import Account
    from pbx.calls.node import SignalNode
    from sip.flow import Flow
    from sip.message import Request
    from sip.transaction.server import ServerTransaction

#: REGISTERs of one address that may wait for a running append; more get 500 with Retry-After.
_MAX_WAITING: Final = 16
#: How often a REGISTER is evaluated if another node writes to its address at the same time: a phone
#: that moves, or two phones of an account, make one conflict, not three in a row.
_TRIES: Final = 3

#: How much later than promised the log lets a refreshed binding lapse. Phones behind NAT refresh
#: every minute: ten thousand of them would write four gigabytes a day, so it is a tenth of that.
AHEAD_NS: Final = 600 * 1_000_000_000

#: After the nodes could not be asked, they are not for so long: each REGISTER would wait as long as
#: a decision may (``kafka.decide_s``), and a thousand phones may come back at once.
ALONE_S: Final = 10.0

_Waiting = tuple["ServerTransaction", "Request", "Flow"]


class Registration:
    """See the module."""

    def __init__(self, node: SignalNode) -> None:
        self._node = node
        self._running: dict[str, deque[_Waiting]] = {}
        self._alone_until = 0.0
        config = node.config
        networks = tuple(str(network) for network in config.nat_networks) or PRIVATE_NETWORKS
        self._configs: dict[int, RegistrarConfig] = {}
        self._base = RegistrarConfig(
            default_expires_s=config.register_expires_s,
            min_expires_s=config.register_min_s,
            max_expires_s=config.register_max_s,
            private_networks=networks,
        )

    def request(
        self, transaction: ServerTransaction, request: Request, flow: Flow, now: float
    ) -> None:
        """Answer one REGISTER, now or when the log has taken it."""
        node = self._node
        if node.draining or node.behind:
            # The phone tries the next server (RFC 3263 §4.3) and is from then on that one's.
            self._unavailable(transaction, now)
            return
        account, challenges = node.authenticator.registrant(request, flow, now)
        if account is None:
            node.engine.respond(transaction, 401, None, challenges, now=now)
            return
        uri = request.to.uri
        domain = node.directory.local_domain(uri.host) if isinstance(uri, SipUri) else ""
        if not domain:
            node.engine.respond(transaction, 404, now=now)
            return
        user = uri.user_text if isinstance(uri, SipUri) else ""
        named = node.directory.account(user, domain)
        if named is None or named.address != account.address:
            node.engine.respond(transaction, 403, now=now)
            return
        waiting = self._running.get(account.address)
        if waiting is not None:
            if len(waiting) >= _MAX_WAITING:
                self._unavailable(transaction, now)
            else:
                waiting.append((transaction, request, flow))
            return
        self._evaluate(account, transaction, request, flow, now)

    def _config(self, max_contacts: int) -> RegistrarConfig:
        config = self._configs.get(max_contacts)
        if config is None:
            if len(self._configs) > 256:
                self._configs.clear()
            base = self._base
            config = self._configs[max_contacts] = RegistrarConfig(
                default_expires_s=base.default_expires_s,
                min_expires_s=base.min_expires_s,
                max_expires_s=base.max_expires_s,
                private_networks=base.private_networks,
                max_contacts=(
                    max_contacts if max_contacts >= 0 else self._node.config.contacts_per_account
                ),
            )
        return config

    def _evaluate(
        self,
        account: Account,
        transaction: ServerTransaction,
        request: Request,
        flow: Flow,
        now: float,
        tries: int = _TRIES,
    ) -> None:
        node = self._node
        address = account.address
        location = node.locations.location(address)
        result = registrar.evaluate(
            request,
            flow,
            location.bindings,
            node.clock.wall_ns(),
            self._config(account.max_contacts),
        )
        if result.status != 200:
            node.engine.respond(transaction, result.status, result.reason, result.headers, now=now)
            return
        decided = [*map(_removed, result.removed), *map(_added, result.added)]
        refreshed = unrecorded(location, result.refreshed)
        if not decided and (not refreshed or not node.log.healthy):
            self._refreshed(address, transaction, location, refreshed, result, now)
            return
        full = node.locations.count + len(result.added) > node.config.registrations
        if not node.log.healthy or (result.added and full):
            self._unavailable(transaction, now)
            return
        self._running[address] = deque()
        expected = location.version

        events = [*decided, *refreshed]

        def decide(*, alone: bool) -> None:
            node.log.decide(
                stream_of(address),
                expected,
                events,
                node.locations.meta(address, address),
                partial(done, alone),
                alone=alone,
            )

        def done(alone: bool, outcome: int | Exception) -> None:
            if isinstance(outcome, ClusterAway) and not alone:
                self._alone_until = node.now() + ALONE_S
                decide(alone=True)
            elif isinstance(outcome, Conflict) and tries > 1 and node.read_stream is not None:
                self._again(account, transaction, request, flow, outcome, tries - 1)
            elif isinstance(outcome, LogUnavailable) and not decided:
                waiting = self._running.pop(address, deque())
                self._refreshed(address, transaction, location, refreshed, result, node.now())
                self._go_on(address, waiting, node.now())
            else:
                self._done(account, transaction, location, result, events, expected, outcome)

        # That a phone is still there needs nobody's consent.
        decide(alone=not decided or now < self._alone_until)

    def _again(
        self,
        account: Account,
        transaction: ServerTransaction,
        request: Request,
        flow: Flow,
        conflict: Conflict,
        tries: int,
    ) -> None:
        """Another node wrote to the address a moment ago: evaluate on what is there now."""
        node = self._node
        now = node.now()
        address = account.address
        waiting = self._running.pop(address, deque())
        location = node.locations.location(address)
        location.recorded.clear()
        node.locations.conflicted(address, location, conflict)
        current = node.directory.by_address(address)
        if current is None:
            node.engine.respond(transaction, 403, now=now)
        else:
            self._evaluate(current, transaction, request, flow, now, tries)
        self._go_on(address, waiting, now)

    def _refreshed(
        self,
        address: str,
        transaction: ServerTransaction,
        location: Location,
        refreshed: list[Event],
        result: RegisterResult,
        now: float,
    ) -> None:
        """Answer a refresh that the log knows already, or that it cannot take now: a fact, which
        waits until it can."""
        node = self._node
        meta = node.locations.meta(address, address)
        for event in refreshed:
            location.version += 1
            node.log.observe(stream_of(address), location.version, event, meta)
        if result.refreshed:
            node.locations.took_over(location, result.refreshed)
            node.locations.set(address, location, result.bindings)
        node.engine.respond(transaction, 200, None, result.headers, now=now)
        node.locations.arm(now)

    def _done(
        self,
        account: Account,
        transaction: ServerTransaction,
        location: Location,
        result: RegisterResult,
        events: list[Event],
        expected: int,
        outcome: int | Exception,
    ) -> None:
        node = self._node
        now = node.now()
        waiting = self._running.pop(account.address, deque())
        if isinstance(outcome, Exception):
            location.recorded.clear()
            if isinstance(outcome, Conflict):
                # Another try must not fail for ever; it is evaluated on what is there then.
                node.locations.conflicted(account.address, location, outcome)
            self._unavailable(transaction, now)
        elif node.directory.by_address(account.address) is None:
            # The account was deleted while its binding was being written.
            location.version = expected + len(events)
            node.locations.set(account.address, location, result.bindings)
            gone = [registrar.Removal(binding, "admin") for binding in location.bindings]
            node.locations.remove(account.address, location, gone)
            node.engine.respond(transaction, 403, now=now)
        else:
            location.version = expected + len(events)
            node.locations.took_over(location, (*result.added, *result.refreshed))
            node.locations.set(account.address, location, result.bindings)
            node.locations.arm(now)
            node.engine.respond(transaction, 200, None, result.headers, now=now)
        self._go_on(account.address, waiting, now)

    def _go_on(
        self,
        address: str,
        waiting: deque[_Waiting],
        now: float,
    ) -> None:
        """Take those that came meanwhile."""
        node = self._node
        for transaction, request, flow in waiting:
            # Through the front door again: authenticated already, but the account may be gone.
            current = node.directory.by_address(address)
            if current is None:
                node.engine.respond(transaction, 403, now=now)
                continue
            running = self._running.get(address)
            if running is not None:
                running.append((transaction, request, flow))
            else:
                self._evaluate(current, transaction, request, flow, now)

    def _unavailable(self, transaction: ServerTransaction, now: float) -> None:
        """The log or the table takes nothing: nothing may be promised (RFC 3261 §21.5.4)."""
        base = self._node.config.retry_after_s
        retry_after = str(base + int(self._node.rng.random() * base * 2))
        self._node.engine.respond(transaction, 503, None, (("Retry-After", retry_after),), now=now)


def unrecorded(location: Location, refreshed: Iterable[Binding]) -> list[Event]:
    """The events of those refreshes that the log does not know yet; they count as recorded then.

    An event lets the binding lapse :data:`AHEAD_NS` later than the phone was told. Refreshes that
    move the expiry up to there and nothing else are in the log already. Memory has the true
    expiry, and the removal is written when that is over: what is too late in the log matters only
    after a crash, when a phone that vanished before is known for ten minutes longer than it should
    be, and one that did refresh is never forgotten.
    """
    events: list[Event] = []
    recorded = location.recorded
    for binding in refreshed:
        way = (
            binding.transport,
            binding.local,
            binding.remote,
            binding.nat,
            binding.sip_call_id,
        )
        until_ns, known = recorded.get(binding.contact_id, (0, ()))
        if known == way and binding.expires_ns <= until_ns:
            continue
        ahead = replace(binding, expires_ns=binding.expires_ns + AHEAD_NS)
        if binding.contact_id not in recorded and len(recorded) >= len(location.bindings):
            recorded.clear()  # some are of contacts that are gone
        recorded[binding.contact_id] = (ahead.expires_ns, way)
        events.append(_refreshed(ahead))
    return events


def _added(binding: Binding) -> Event:
    return BindingAdded(
        contact_id=binding.contact_id,
        contact=binding.contact,
        expires_ns=binding.expires_ns,
        sip_call_id=binding.sip_call_id,
        cseq=binding.cseq,
        q=binding.q,
        instance=binding.instance,
        reg_id=binding.reg_id,
        path=binding.path,
        user_agent=binding.user_agent,
        transport=binding.transport,
        local=binding.local,
        remote=binding.remote,
        nat=binding.nat,
        contact_params=binding.contact_params,
        methods=binding.methods,
        since_ns=binding.since_ns,
    )


def _removed(removal: registrar.Removal) -> Event:
    return BindingRemoved(
        contact_id=removal.binding.contact_id,
        contact=removal.binding.contact,
        reason=removal.reason,
    )


def _refreshed(binding: Binding) -> Event:
    return BindingRefreshed(
        contact_id=binding.contact_id,
        expires_ns=binding.expires_ns,
        sip_call_id=binding.sip_call_id,
        cseq=binding.cseq,
        remote=binding.remote,
        local=binding.local,
        transport=binding.transport,
        nat=binding.nat,
    )
