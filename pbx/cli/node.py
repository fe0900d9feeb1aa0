"""``pbx node list|drain|resume``: the nodes that write into this log."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Final

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table
from pbx.cli.reading import show_time
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.calls.peers import PeerTable
    from pbx.cli.common import Commands
    from pbx.datadir import DataDirectory

_STEP_S: Final = 0.5


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("node", help="nodes of a cluster: list, drain, resume")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="list the nodes that ever started on this log")
    add_options(listing)
    listing.set_defaults(run=_list)

    drain = actions.add_parser(
        "drain",
        help="let a node take no new calls and registrations, so that it can be stopped",
        description="The node answers new calls and registrations with 503, which sends phones to "
        "the next server; calls that are up go on. It takes everything again when it starts anew, "
        "or after: pbx node resume NODE",
    )
    drain.add_argument("node")
    drain.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait until it has no calls left, at most so long (exit status 1 if it still has)",
    )
    add_options(drain)
    drain.set_defaults(run=_drain)

    resume = actions.add_parser("resume", help="let a drained node take calls again")
    resume.add_argument("node")
    add_options(resume)
    resume.set_defaults(run=_resume)


def _list(arguments: argparse.Namespace) -> int:
    nodes = _nodes(data_directory(arguments)).nodes
    calls = _calls(arguments)
    rows = sorted(nodes.items())
    if arguments.json:
        print_json(
            [
                {
                    "node": name,
                    "state": _state(state.up, state.draining),
                    "calls": calls.get(name, 0),
                    "version": state.version,
                    "link": state.link,
                    "advertised": state.advertised,
                    "listeners": list(state.listeners),
                    "started": show_time(state.started_ns),
                }
                for name, state in rows
            ]
        )
        return 0
    print_table(
        ("NODE", "STATE", "CALLS", "VERSION", "STARTED (UTC)", "LINK", "LISTENERS"),
        [
            (
                name,
                _state(state.up, state.draining),
                calls.get(name, 0),
                state.version,
                show_time(state.started_ns),
                state.link or "-",
                " ".join(state.listeners) or "-",
            )
            for name, state in rows
        ],
    )
    return 0


def _drain(arguments: argparse.Namespace) -> int:
    _set(arguments, on=True)
    left = _calls(arguments).get(arguments.node, 0)
    deadline = time.monotonic() + arguments.wait
    while left and time.monotonic() < deadline:
        time.sleep(_STEP_S)
        left = _calls(arguments).get(arguments.node, 0)
    if arguments.json:
        print_json({"node": arguments.node, "state": "draining", "calls": left})
    elif left:
        print(f"node {arguments.node} takes nothing new; {left} calls are still up")
    else:
        print(f"node {arguments.node} takes nothing new and has no calls: it can be stopped")
    return 1 if left and arguments.wait else 0


def _resume(arguments: argparse.Namespace) -> int:
    _set(arguments, on=False)
    if arguments.json:
        print_json({"node": arguments.node, "state": "up"})
    else:
        print(f"node {arguments.node} takes calls and registrations again")
    return 0


def _set(arguments: argparse.Namespace, *, on: bool) -> None:
    from pbx.domain.nodes import NodeDrainSet
    from pbx.eventlog import ANY_VERSION, Meta, open_log

    data = data_directory(arguments)
    nodes = _nodes(data)
    state = nodes.nodes.get(arguments.node)
    if state is None or not state.up:
        known = ", ".join(sorted(name for name, state in nodes.nodes.items() if state.up))
        raise DomainError(f"no node {arguments.node!r} is up; those that are: {known or 'none'}")
    if state.draining is on:
        return
    log = open_log(data.path, unseal=False)
    try:
        log.append(
            f"node/{arguments.node}", ANY_VERSION, [NodeDrainSet(on=on)], Meta(actor=actor())
        )
    finally:
        log.close()


def _nodes(data: DataDirectory) -> PeerTable:
    from pbx.calls.peers import PeerTable
    from pbx.eventlog import open_log
    from pbx.signal.restore import PEER_TYPES

    table = PeerTable()
    log = open_log(data.path, unseal=False)
    try:
        for record in log.read(category="pbx.nodes", types=PEER_TYPES):
            table.fold(record.stream, record.event, record.time_ns)
    finally:
        log.close()
    return table


def _calls(arguments: argparse.Namespace) -> dict[str, int]:
    """Calls that are up, by node."""
    from pbx.cli.reading import opened_read_model
    from pbx.readmodel import queries

    found: dict[str, int] = {}
    with opened_read_model(arguments) as database, database.read() as connection:
        for call in queries.live_calls(connection):
            found[call["node"]] = found.get(call["node"], 0) + 1
    return found


def _state(up: bool, draining: bool) -> str:
    return ("draining" if draining else "up") if up else "stopped"
