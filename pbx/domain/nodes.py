"""Events of a server node: stream ``node/<name>``, category ``pbx.nodes``.

The heartbeat bounds how far the end of a call that died with its node can be off
(see ``pbx.calls.recovery``).
"""

from __future__ import annotations

from typing import Annotated

from pbx.kernel.events import PERSONAL, Durability, Event, event

NODES = "pbx.nodes"


@event("node.started.v1", category=NODES, durability=Durability.DECIDED)
class NodeStarted(Event):
    """A signal role started."""

    version: str
    pid: int = 0
    listeners: tuple[str, ...] = ()
    link: str = ""
    """``HOST:PORT`` where other nodes of the cluster connect; empty outside a cluster."""
    advertised: str = ""
    """Address that phones reach the node at, if it is not that of its listeners."""


@event("node.drain-set.v1", category=NODES, durability=Durability.DECIDED)
class NodeDrainSet(Event):
    """The node is to take no new calls and registrations (or takes them again).

    Asked by an operator who wants to stop it without ending calls; a start of the node ends it.
    """

    on: bool


@event("node.call-end-asked.v1", category=NODES, durability=Durability.DECIDED)
class CallEndAsked(Event):
    """An administrator wants a call of this node to end. Nothing comes of it if it has ended."""

    call_id: str
    reason: str = ""


@event("node.alive.v1", category=NODES, durability=Durability.OBSERVED, expendable=True)
class NodeAlive(Event):
    """Heartbeat while calls are up."""

    calls: int = 0
    bindings: int = 0


@event("node.stopped.v1", category=NODES, durability=Durability.DECIDED)
class NodeStopped(Event):
    """The node stopped in order: no call was left."""

    reason: str = ""


@event("auth.failed.v1", category=NODES, durability=Durability.OBSERVED, expendable=True)
class AuthFailed(Event):
    """A request carried wrong credentials; rate-limited by the writer."""

    account: Annotated[str, PERSONAL]
    source: str
    method: str
    verdict: str


@event("source.blocked.v1", category=NODES, durability=Durability.OBSERVED, expendable=True)
class SourceBlocked(Event):
    """A source address was put on the temporary block list."""

    source: str
    reason: str
    seconds: int
