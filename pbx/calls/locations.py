"""The location service: which contacts an account can be reached at, in memory.

State of the ``binding/<name@domain>`` streams, folded at start (from the read model's table and
the log's tail) and kept true by ``registration.py`` and, in a cluster, by what other nodes append;
asked by the router. One timer for the earliest expiry. A contact that came over a connection is
reached over that connection; after a restart only its address is left. What registered at another
node of the cluster is reached through that node, which sees to its expiry too.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pbx.calls.dial import Contact
from pbx.calls.timers import Timer
from pbx.domain.accounts import AccountDeleted
from pbx.domain.bindings import BindingAdded, BindingRefreshed, BindingRemoved
from pbx.eventlog import Conflict, Meta, Record
from pbx.kernel.errors import ClusterAway
from pbx.kernel.events import Event
from sip.flow import Flow, Target, elsewhere
from sip.registrar import Binding, Removal, has_instance

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode

_NS: Final = 1_000_000_000
#: Expired bindings are swept at most this often.
_SWEEP_S: Final = 1.0
#: A binding of another node is removed by that node; if it is dead, by one of the others then.
_GRACE_NS: Final = 30 * _NS


class Location:
    """Bindings of one address of record and the version of its stream."""

    __slots__ = ("bindings", "owners", "recorded", "version")

    def __init__(self) -> None:
        self.bindings: tuple[Binding, ...] = ()
        self.owners: dict[str, str] = {}
        """Contacts (by id) that registered at another node, and its name."""
        self.version = 0
        self.recorded: dict[str, tuple[int, tuple[object, ...]]] = {}
        """What the log was last told of refreshed contacts (``registration.unrecorded``)."""


def stream_of(address: str) -> str:
    """Stream of an address of record."""
    return f"binding/{address}"


class Locations:
    """See the module."""

    def __init__(self, node: SignalNode) -> None:
        self._node = node
        self._table: dict[str, Location] = {}
        self._expiries: list[tuple[int, str]] = []
        self._timer: Timer | None = None
        self._timer_ns = 0
        self.count = 0
        """Live bindings."""

    def at(self, address: str) -> Location | None:
        """The location of ``name@domain``, if it ever registered."""
        return self._table.get(address)

    def contacts(self, address: str, gr: str | None = None) -> list[Contact]:
        """What to try for a call, as the registrar knows it.

        `gr` is the parameter of a GRUU: only the device it names (RFC 5627 §5.1).
        """
        location = self._table.get(address)
        if location is None:
            return []
        now_ns = self._node.clock.wall_ns()
        return [
            Contact(
                binding.contact,
                address,
                self._target_of(binding, location.owners.get(binding.contact_id, "")),
                binding.path,
                binding.q,
            )
            for binding in location.bindings
            if binding.expires_ns > now_ns and (gr is None or has_instance(binding, gr))
        ]

    def _target_of(self, binding: Binding, owner: str) -> Target | None:
        """Where to send for this binding if its Contact alone does not say.

        Behind NAT and on connections the flow of the REGISTER is the way (RFC 5626 §5.3); with a
        Path the first proxy is. When its connection is gone, or was one of an earlier run, a
        phone that is not behind NAT takes a new one at its Contact (RFC 3261 §18.1.1); behind NAT
        nothing can reach it before it registers again, and the dead flow says so at once.
        """
        if binding.path:
            return None
        flow = binding.flow
        if owner and self._node.peers.is_up(owner):
            # UDP without NAT takes a message from any node; else the way is through its own.
            if not binding.nat and not flow.reliable:
                return None
            there = Flow(flow.transport, elsewhere(owner, flow.local), flow.remote)
            return Target(binding.transport, flow.remote[0], flow.remote[1], there)
        if not binding.nat and not (flow.reliable and self._node.engine.is_open(flow)):
            return None
        return Target(binding.transport, flow.remote[0], flow.remote[1], flow)

    def registered_from(self, address: str, host: str) -> bool:
        """Whether the account holds a binding that came from `host`."""
        location = self._table.get(address)
        if location is None:
            return False
        return any(binding.flow.remote[0] == host for binding in location.bindings)

    def statistics(self) -> dict[str, int]:
        """Table sizes."""
        return {"locations": len(self._table), "bindings": self.count}

    # Changes.

    def fold(self, stream: str, version: int, event: Event, node: str = "") -> None:
        """Apply a stored event (start-up, other nodes; later versions only).

        `node` is where it happened: the flow of the contact ends there.
        """
        address = stream.removeprefix("binding/")
        location = self._table.setdefault(address, Location())
        if version <= location.version:
            return
        location.version = version
        bindings = location.bindings
        if isinstance(event, BindingAdded | BindingRefreshed):
            if node and node != self._node.config.node:
                location.owners[event.contact_id] = node
            else:
                location.owners.pop(event.contact_id, None)
        elif isinstance(event, BindingRemoved):
            location.owners.pop(event.contact_id, None)
        match event:
            case BindingAdded():
                added = Binding(
                    contact_id=event.contact_id,
                    contact=event.contact,
                    expires_ns=event.expires_ns,
                    sip_call_id=event.sip_call_id,
                    cseq=event.cseq,
                    q=event.q,
                    instance=event.instance,
                    reg_id=event.reg_id,
                    path=event.path,
                    user_agent=event.user_agent,
                    transport=event.transport,
                    local=event.local,
                    remote=event.remote,
                    nat=event.nat,
                    contact_params=event.contact_params,
                    methods=event.methods,
                    since_ns=event.since_ns,
                )
                bindings = (*_without(bindings, event.contact_id), added)
            case BindingRefreshed():
                bindings = tuple(
                    replace(
                        binding,
                        expires_ns=event.expires_ns,
                        sip_call_id=event.sip_call_id,
                        cseq=event.cseq,
                        remote=event.remote,
                        local=event.local,
                        transport=event.transport,
                        nat=event.nat,
                    )
                    if binding.contact_id == event.contact_id
                    else binding
                    for binding in bindings
                )
            case BindingRemoved():
                bindings = _without(bindings, event.contact_id)
            case _:
                return
        self.set(address, location, bindings)

    def set(self, address: str, location: Location, bindings: tuple[Binding, ...]) -> None:
        """Replace the bindings of an address; the log has (or will have) taken the change."""
        self.count += len(bindings) - len(location.bindings)
        location.bindings = bindings
        for binding in bindings:
            heapq.heappush(self._expiries, (_due_ns(location, binding), address))

    def took_over(self, location: Location, bindings: Iterable[Binding]) -> None:
        """These registered here: if their flow ended at another node, it does no longer."""
        if location.owners:
            for binding in bindings:
                location.owners.pop(binding.contact_id, None)

    def reload(self, address: str, records: Iterable[Record]) -> None:
        """Fold the whole stream of an address anew: somebody else has written to it."""
        location = self._table.get(address)
        if location is None:
            return
        known = {binding.contact_id: binding.flow_id for binding in location.bindings}
        self.set(address, location, ())
        location.version = 0
        location.owners.clear()
        location.recorded.clear()
        for record in records:
            self.fold(record.stream, record.version, record.event, record.node)
        location.bindings = tuple(
            replace(binding, flow_id=known.get(binding.contact_id, 0))
            for binding in location.bindings
        )

    def location(self, address: str) -> Location:
        """The location of an address, made if need be."""
        found = self._table.get(address)
        if found is None:
            found = self._table[address] = Location()
        return found

    def arm(self, now: float) -> None:
        """Arm the timer for the earliest expiry."""
        if not self._expiries:
            return
        due_ns = self._expiries[0][0]
        if self._timer is not None:
            if self._timer_ns <= due_ns:
                return
            self._timer.cancel()
        self._timer_ns = due_ns
        wait_s = max(_SWEEP_S, (due_ns - self._node.clock.wall_ns()) / _NS)
        self._timer = self._node.timers.call_at(now + wait_s, self._sweep)

    def _sweep(self, now: float) -> None:
        self._timer = None
        now_ns = self._node.clock.wall_ns()
        expiries = self._expiries
        while expiries and expiries[0][0] <= now_ns:
            address = heapq.heappop(expiries)[1]
            location = self._table.get(address)
            if location is None:
                continue
            gone = [b for b in location.bindings if _due_ns(location, b) <= now_ns]
            if gone:
                self.remove(address, location, [Removal(binding, "expired") for binding in gone])
        if len(expiries) > 4 * self.count + 1024:
            # A refresh leaves its old entry behind: rebuild before they outnumber the bindings.
            self._expiries = [
                (_due_ns(location, binding), address)
                for address, location in self._table.items()
                for binding in location.bindings
            ]
            heapq.heapify(self._expiries)
        self.arm(now)

    def remove(self, address: str, location: Location, removals: Iterable[Removal]) -> None:
        """Bindings that end without a REGISTER: expired, account deleted."""
        events = [
            BindingRemoved(
                contact_id=removal.binding.contact_id,
                contact=removal.binding.contact,
                reason=removal.reason,
            )
            for removal in removals
        ]
        if not events:
            return
        gone = {event.contact_id for event in events}
        kept = tuple(b for b in location.bindings if b.contact_id not in gone)
        expected = location.version
        self.set(address, location, kept)
        location.version += len(events)
        self._append_removed(address, location, expected, events, alone=False)

    def _append_removed(
        self,
        address: str,
        location: Location,
        expected: int,
        events: list[BindingRemoved],
        *,
        alone: bool,
    ) -> None:
        """An expiry that could not be appended is found again at the next start, since the stored
        time says it all; but the version that was counted on is not there. `alone`: the nodes
        could not be asked, and it is a fact all the same."""

        def done(outcome: int | Exception) -> None:
            if isinstance(outcome, ClusterAway) and not alone:
                self._append_removed(address, location, expected, events, alone=True)
            elif isinstance(outcome, Conflict):
                self.conflicted(address, location, outcome)
            elif isinstance(outcome, Exception):
                location.version -= len(events)

        self._node.log.decide(
            stream_of(address),
            expected,
            events,
            self.meta(address, "registrar"),
            done,
            alone=alone,
        )

    def account_changed(self, stream: str, event: Event) -> None:
        """An account was deleted: its bindings go with it, each node sees to its own."""
        if isinstance(event, AccountDeleted):
            address = stream.removeprefix("account/")
            location = self._table.get(address)
            if location is not None:
                own = [b for b in location.bindings if b.contact_id not in location.owners]
                self.remove(address, location, [Removal(binding, "admin") for binding in own])

    def conflicted(self, address: str, location: Location, conflict: Conflict) -> None:
        """Somebody else wrote to the stream: take what is there, so that another try can succeed.

        Without a way to read the log only the version is known.
        """
        if self._node.read_stream is None:
            location.version = conflict.current_version
        else:
            self.reload(address, self._node.read_stream(stream_of(address)))

    def meta(self, address: str, actor: str) -> Meta:
        """Envelope of binding events."""
        return Meta(actor=actor, tenant=address.partition("@")[2])


def _due_ns(location: Location, binding: Binding) -> int:
    """When we remove the binding if nobody did."""
    return binding.expires_ns + (_GRACE_NS if binding.contact_id in location.owners else 0)


def _without(bindings: tuple[Binding, ...], contact_id: str) -> tuple[Binding, ...]:
    return tuple(binding for binding in bindings if binding.contact_id != contact_id)
