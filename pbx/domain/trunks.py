"""Events of our registrations with other systems: stream ``trunk/<name@domain>``.

The stream is of the account whose record it is; each event names the record. Category
``pbx.nodes``: which node registers what, and how that went. What a record says (and its password)
is configuration of the account and nowhere here.

``trunk.registered`` has all that the next start, or another node, needs to go on as the same
client: the name in our contact, Call-ID and a sequence number that later ones must exceed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pbx.domain.nodes import NODES
from pbx.kernel.events import Durability, Event, event

PREFIX: Final = "trunk/"


@event("trunk.claimed.v1", category=NODES, durability=Durability.DECIDED)
class TrunkClaimed(Event):
    """The node of the envelope registers this record from now on, nobody else does."""

    record: str
    reason: str = ""


@event("trunk.registered.v1", category=NODES, durability=Durability.OBSERVED)
class TrunkRegistered(Event):
    """The registrar accepted us: the first time, or again after a failure."""

    record: str
    registrar: str
    """URI that was registered with."""
    address: str
    """Our address there (URI)."""
    contact: str
    """Our contact as the registrar keeps it (URI)."""
    token: str
    """User part of the contact: calls that name it are for this record."""
    sip_call_id: str
    cseq: int
    expires_ns: int
    """Wall time at which the registrar forgets us."""
    next_ns: int
    """Wall time of the next refresh."""
    sources: tuple[str, ...] = ()
    """Hosts of the registrar: its calls come from there."""


@event("trunk.refreshed.v1", category=NODES, durability=Durability.OBSERVED, expendable=True)
class TrunkRefreshed(Event):
    """Still registered; written now and then, not for each refresh."""

    record: str
    cseq: int
    expires_ns: int
    next_ns: int


@event("trunk.failed.v1", category=NODES, durability=Durability.OBSERVED)
class TrunkFailed(Event):
    """A registration, or a refresh, did not succeed."""

    record: str
    registrar: str
    kind: str
    """``unreachable`` ``refused`` ``password`` ``configuration``."""
    status: int
    """SIP status; 408 without an answer, 503 without a connection."""
    reason: str
    """In words, with what to do if that is known."""
    attempt: int
    """Failures in a row."""
    next_ns: int
    """Wall time of the next attempt; 0: none before the record changes."""


@event("trunk.removed.v1", category=NODES, durability=Durability.OBSERVED)
class TrunkRemoved(Event):
    """Registered no more, by our own will."""

    record: str
    reason: str
    """``stopped`` ``removed`` ``changed`` ``moved``."""


@event("trunk.register-asked.v1", category=NODES, durability=Durability.DECIDED)
class TrunkRegisterAsked(Event):
    """An operator wants it registered now, whatever it waits for."""

    record: str


@dataclass(frozen=True, slots=True)
class TrunkState:
    """A record as of its last event. Times are wall time in ns, 0 for never."""

    state: str = "new"
    """``new`` ``registered`` ``failed`` ``removed``."""
    node: str = ""
    """Who registers it."""
    claimed: bool = False
    """By an event of its own: nodes of a cluster agreed on it."""
    seen_ns: int = 0
    """Last sign of life of that node in this matter."""
    since_ns: int = 0
    """When the state began."""
    registrar: str = ""
    address: str = ""
    contact: str = ""
    token: str = ""
    sip_call_id: str = ""
    cseq: int = 0
    cseq_ns: int = 0
    """When `cseq` was used."""
    expires_ns: int = 0
    next_ns: int = 0
    sources: tuple[str, ...] = ()
    kind: str = ""
    status: int = 0
    reason: str = ""
    attempt: int = 0


NEW: Final = TrunkState()


@dataclass(frozen=True, slots=True)
class Trunks:
    """The records of one stream."""

    version: int = 0
    records: Mapping[str, TrunkState] = field(default_factory=dict)

    def of(self, record: str) -> TrunkState:
        """A record's state; a new one if nothing is known."""
        return self.records.get(record, NEW)


NOTHING: Final = Trunks()


def evolve_trunks(
    state: Trunks, happened: Event, *, version: int, node: str, time_ns: int
) -> Trunks:
    """Fold one event of a stream; `node` and `time_ns` are those of its envelope."""
    name = getattr(happened, "record", None)
    if not isinstance(name, str):
        return replace(state, version=max(version, state.version))
    held = state.of(name)
    changed = _evolve(held, happened, node, time_ns)
    return Trunks(max(version, state.version), {**state.records, name: changed})


def _evolve(held: TrunkState, happened: Event, node: str, time_ns: int) -> TrunkState:
    match happened:
        case TrunkClaimed():
            return replace(held, node=node, claimed=True, seen_ns=time_ns)
        case TrunkRegistered():
            return replace(
                held,
                state="registered",
                node=node,
                seen_ns=time_ns,
                since_ns=time_ns,
                registrar=happened.registrar,
                address=happened.address,
                contact=happened.contact,
                token=happened.token,
                sip_call_id=happened.sip_call_id,
                cseq=happened.cseq,
                cseq_ns=time_ns,
                expires_ns=happened.expires_ns,
                next_ns=happened.next_ns,
                sources=happened.sources,
                kind="",
                status=200,
                reason="",
                attempt=0,
            )
        case TrunkRefreshed():
            return replace(
                held,
                node=node,
                seen_ns=time_ns,
                cseq=happened.cseq,
                cseq_ns=time_ns,
                expires_ns=happened.expires_ns,
                next_ns=happened.next_ns,
            )
        case TrunkFailed():
            return replace(
                held,
                state="failed",
                node=node,
                seen_ns=time_ns,
                since_ns=held.since_ns if held.state == "failed" else time_ns,
                registrar=happened.registrar,
                kind=happened.kind,
                status=happened.status,
                reason=happened.reason,
                attempt=happened.attempt,
                next_ns=happened.next_ns,
            )
        case TrunkRemoved():
            return replace(
                held,
                state="removed",
                since_ns=time_ns,
                seen_ns=0,
                expires_ns=0,
                next_ns=0,
                contact="",
                sources=(),
                reason=happened.reason,
            )
        case _:
            return held
