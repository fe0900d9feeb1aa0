"""Statistics elements that administrators and programs set: stream ``node/<name>/statistics``.

Category ``pbx.nodes``: a figure of one node, not configuration.
"""

from __future__ import annotations

from pbx.kernel.events import Durability, Event, event

NODES = "pbx.nodes"


@event("statistic.set.v1", category=NODES, durability=Durability.DECIDED)
class StatisticSet(Event):
    """A custom element has a new value."""

    element: int
    """The last number of its object id."""
    value: int


def statistics_stream(node: str) -> str:
    """Where the custom elements of a node are."""
    return f"node/{node}/statistics"
