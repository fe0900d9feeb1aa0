"""The nodes of a cluster as the log tells of them: where each is linked, what it shows, its state.

Folded from the streams ``node/<name>``; asked by the location service (whether a flow's node is
up), by the shell (where to connect) and by ``pbx node list``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from pbx.domain.nodes import NodeDrainSet, NodeStarted, NodeStopped
from pbx.kernel.events import Event
from sip.flow import Address

_PREFIX: Final = "node/"


@dataclass(frozen=True, slots=True)
class PeerState:
    """A node as of its last event. Times are of the log's envelopes, in ns."""

    version: str = ""
    up: bool = False
    """Started and not stopped in order; one that was killed still counts as up."""
    draining: bool = False
    link: str = ""
    advertised: str = ""
    listeners: tuple[str, ...] = field(default=())
    started_ns: int = 0


_UNKNOWN: Final = PeerState()


class PeerTable:
    """See the module."""

    def __init__(self) -> None:
        self.nodes: dict[str, PeerState] = {}

    def fold(self, stream: str, event: Event, time_ns: int = 0) -> str:
        """Apply an event of a node's stream; gives the node's name if something changed."""
        if not stream.startswith(_PREFIX):
            return ""
        name = stream[len(_PREFIX) :]
        state = self.nodes.get(name, _UNKNOWN)
        match event:
            case NodeStarted():
                changed = PeerState(
                    version=event.version,
                    up=True,
                    link=event.link,
                    advertised=event.advertised,
                    listeners=event.listeners,
                    started_ns=time_ns,
                )
            case NodeStopped():
                changed = replace(state, up=False, draining=False)
            case NodeDrainSet():
                changed = replace(state, draining=event.on)
            case _:
                return ""
        self.nodes[name] = changed
        return name

    def is_up(self, node: str) -> bool:
        """Whether a flow of that node may be there: it started and did not stop in order."""
        return self.nodes.get(node, _UNKNOWN).up

    def draining(self, node: str) -> bool:
        """Whether the node is to take nothing new."""
        return self.nodes.get(node, _UNKNOWN).draining

    def link_of(self, node: str) -> Address | None:
        """Where the node takes connections of others; None if it does not."""
        state = self.nodes.get(node, _UNKNOWN)
        if not state.up or not state.link:
            return None
        host, _, port = state.link.rpartition(":")
        return host.strip("[]"), int(port)

    def is_linked_at(self, host: str) -> bool:
        """Whether a node that is up takes connections of others at this address."""
        return any(
            state.up and state.link.rpartition(":")[0].strip("[]") == host
            for state in self.nodes.values()
        )

    def shown(self, node: str, local: Address) -> Address | None:
        """What the node shows in Via and Contact instead of `local`."""
        advertised = self.nodes.get(node, _UNKNOWN).advertised
        return (advertised, local[1]) if advertised else None
