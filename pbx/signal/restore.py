"""What a signal role knows before it opens its listeners.

Accounts and domains are looked up when they are needed, in the configuration database, which is
level before (:mod:`pbx.configdb`). Bindings and calls without an end come from the read model as of
its checkpoint, and the log's tail after it is folded on top: the result is that of folding the
whole log, which is what happens without a usable read model (:mod:`pbx.signal.projected`). Calls
and programs of this node that have no end get one (:mod:`pbx.calls.recovery`,
:mod:`pbx.voice.recovery`): their node died.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final

from pbx.calls import recovery
from pbx.calls.locations import Locations
from pbx.calls.node import SignalNode
from pbx.domain import blacklist
from pbx.domain.applications import APPLICATIONS
from pbx.eventlog import START, Conflict, EventLog, Meta, Position
from pbx.signal.projected import (
    Projected,
    ProjectedBindings,
    ProjectedCalls,
    ProjectedTasks,
    read_projected,
)
from pbx.voice import recovery as voice_recovery

log = logging.getLogger("pbx.signal")

PEER_TYPES: Final = ("node.started.v1", "node.stopped.v1", "node.drain-set.v1")
"""What tells of other nodes; heartbeats are many more."""
TRUNK_TYPES: Final = ("trunk.claimed.v1", "trunk.registered.v1", "trunk.removed.v1")
"""What tells how to go on as the same client of a registrar; signs of life are many more."""

#: Records at the end of the log looked at for the node's last sign of life.
_TAIL: Final = 2000


def restore(
    event_log: EventLog,
    data: Path,
    node: SignalNode,
    *,
    clustered: bool = False,
    configured: Position | None = None,
    trunk_streams: Iterable[str] = (),
) -> Position:
    """Fill `node` and close orphaned calls; returns the position that was read up to.

    `configured` is what the node's directory knows already, `trunk_streams` where the settings of
    trunks are, which it does not; None: nothing is known, all is folded in memory. In a
    cluster the bindings are folded from the log: only its envelopes say at which node a contact
    registered.
    """
    if configured is not None:
        position = configured
        for stream in trunk_streams:
            for record in event_log.read_stream(stream):
                node.trunks.configured(stream, record.event)
    else:
        position = event_log.head()
        for record in event_log.read(category="pbx.config"):
            if record.stream != blacklist.STREAM:
                node.configured(record.stream, record.event)
            position = max(position, record.position)
    for record in event_log.read_stream(blacklist.STREAM):
        node.apply(record)
    for record in event_log.read(category="pbx.nodes", types=(*PEER_TYPES, *TRUNK_TYPES)):
        if record.stream.startswith("node/"):
            node.peers.fold(record.stream, record.event, record.time_ns)
        else:
            node.trunks.apply(record)
    name = node.config.node
    projected = read_projected(data, event_log, name)
    if clustered:
        restore_bindings(event_log, node.locations, None, owners=True)
    else:
        restore_bindings(event_log, node.locations, projected.bindings)
    close_orphans(event_log, name, projected)
    return position


def close_orphans(event_log: EventLog, node: str, projected: Projected) -> None:
    """Append the ends of the calls and programs that died with an earlier run of `node`."""
    calls = open_calls(event_log, node, projected.calls)
    programs = open_tasks(event_log, node, projected.tasks)
    if calls or programs:
        died_ns = recovery.last_alive_ns(islice(event_log.read_back(), _TAIL), node)
        _close_tasks(event_log, node, programs, died_ns)
        _close(event_log, node, calls, died_ns)


def restore_bindings(
    event_log: EventLog,
    locations: Locations,
    projected: ProjectedBindings | None,
    *,
    owners: bool = False,
) -> None:
    """Fill `locations` with what the log's bindings fold to; `owners`: and at which node they are.

    A server that stands alone has all of them, whatever its name was.
    """
    after = START
    if projected is not None:
        after = projected.position
        for address, version in projected.versions.items():
            location = locations.location(address)
            location.version = version
            locations.set(address, location, tuple(projected.bindings.get(address, ())))
    for record in event_log.read(after, category="pbx.bindings"):
        node = record.node if owners else ""
        locations.fold(record.stream, record.version, record.event, node)


def open_calls(event_log: EventLog, node: str, projected: ProjectedCalls | None) -> list[str]:
    """Streams of the calls of `node` that have no end in the log."""
    after, known = (START, []) if projected is None else projected
    tail = event_log.read(after, category="pbx.calls", types=recovery.TYPES)
    return recovery.open_calls(tail, node, known)


def open_tasks(event_log: EventLog, node: str, projected: ProjectedTasks | None) -> list[str]:
    """Streams of the programs of `node` that have no end in the log."""
    after, known = (START, []) if projected is None else projected
    tail = event_log.read(after, category=APPLICATIONS, types=voice_recovery.TYPES)
    return voice_recovery.open_tasks(tail, node, known)


def _close_tasks(event_log: EventLog, node: str, orphans: list[str], died_ns: int) -> None:
    """Append the end of programs that died with an earlier run of this node."""
    closed = 0
    for stream in orphans:
        records = list(event_log.read_stream(stream))
        event = voice_recovery.closing_event(records, died_ns)
        if event is None:
            continue
        meta = Meta(
            actor=f"node:{node}",
            correlation=records[0].correlation,
            tenant=records[0].tenant,
        )
        try:
            event_log.append(stream, records[-1].version, [event], meta)
            closed += 1
        except Conflict:
            log.warning("%s was closed by somebody else", stream)
    if closed:
        log.info("closed %d programs that an earlier run left open", closed)


def _close(event_log: EventLog, node: str, orphans: list[str], died_ns: int) -> None:
    """Append the end of calls that died with an earlier run of this node."""
    if not orphans:
        return
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
