"""Which node of a cluster registers a record: exactly one, and another one when it dies.

The owner is named by the last ``trunk.claimed`` of the record. A claim is a decision on the version
of the stream, so of two nodes that claim at once one gets a conflict. Who may claim:

- the node that is the first choice, at once, where nobody ever did;
- anybody else a little later, in an order that differs from record to record (rendezvous hashing),
  so that the records of a cluster spread over its nodes;
- the same when the owner has stopped in order, or the nodes' links say that it is gone, or it gave
  no sign of life for :data:`SILENT_S`.

An owner that reads of another one's claim stops at once. Two nodes that cannot read each other's
events may both register meanwhile; the provider then calls both, which loses no call.

Pure: wall time in ns, states and names are arguments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from pbx.domain.trunks import TrunkState
from pbx.trunks.records import RecordKey

SIGN_S: Final = 600.0
"""An owner writes at least so often that it is there."""
SILENT_S: Final = 2.5 * SIGN_S
"""After this it counts as dead, whatever else is known."""
STEP_S: Final = 2.0
"""Distance between the nodes that may claim: time for the first choices to settle conflicts."""
_NS: Final = 1_000_000_000


def ranked(key: RecordKey, nodes: Iterable[str]) -> list[str]:
    """Nodes in the order in which they should have the record."""
    return sorted(nodes, key=lambda node: _weight(key, node))


def _weight(key: RecordKey, node: str) -> bytes:
    return hashlib.blake2b(f"{key}\x00{node}".encode(), digest_size=8).digest()


def is_orphan(state: TrunkState, up: frozenset[str], lost: frozenset[str], now_ns: int) -> bool:
    """Whether nobody takes care of the record: `up` are nodes that did not stop in order, `lost`
    those that our links do not reach."""
    owner = state.node
    if not owner or not state.claimed or owner not in up or owner in lost:
        return True
    return now_ns - state.seen_ns > SILENT_S * _NS


def claim_delay_s(
    key: RecordKey, state: TrunkState, own: str, up: frozenset[str], lost: frozenset[str]
) -> float:
    """How long `own` waits before it claims an orphan; 0 for what was its own."""
    if state.node == own and state.claimed:
        return 0.0
    candidates = (up - lost - {state.node}) | {own}
    return STEP_S * ranked(key, candidates).index(own)
