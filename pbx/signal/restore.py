"""What a signal role folds before it opens its listeners.

Accounts, domains and bindings go into memory; calls of this node that have no end get one
(``pbx.calls.recovery``). Everything comes from the log itself.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from pbx.calls import recovery
from pbx.calls.node import SignalNode
from pbx.eventlog import Conflict, EventLog, Meta

log = logging.getLogger("pbx.signal")

#: Records at the end of the log looked at for the node's last sign of life.
_TAIL: Final = 2000


def restore(event_log: EventLog, data: Path, node: SignalNode) -> int:
    """Fill `node` and close orphaned calls; returns the position that was read up to."""
    position = event_log.head()
    for record in event_log.read(category="pbx.config"):
        node.directory.apply(record.stream, record.event)
        position = max(position, record.position)
    for record in event_log.read(category="pbx.bindings"):
        node.locations.fold(record.stream, record.version, record.event)
    close_orphans(event_log, node.config.node)
    return position


def close_orphans(event_log: EventLog, node: str) -> int:
    """Append the end of calls that died with an earlier run of this node; returns how many."""
    orphans = recovery.open_calls(event_log.read(category="pbx.calls"), node)
    if not orphans:
        return 0
    tail = event_log.read(max(0, event_log.head() - _TAIL))
    died_ns = recovery.last_alive_ns(tail, node)
    closed = 0
    for stream in orphans:
        records = list(event_log.read_stream(stream))
        events = recovery.closing_events(records, died_ns)
        if not events:
            continue
        meta = Meta(
            actor=f"node:{node}",
            correlation=stream.removeprefix("call/"),
            tenant=records[0].tenant,
        )
        try:
            event_log.append(stream, records[-1].version, events, meta)
            closed += 1
        except Conflict:
            log.warning("%s was closed by somebody else", stream)
    log.info("closed %d calls that an earlier run left open", closed)
    return closed
