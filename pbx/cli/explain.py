"""``pbx explain CALL``: the SIP ladder of a call, with each decision and its reason."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pbx.cli.common import add_options, print_json
from pbx.cli.reading import opened_log, show_time

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.eventlog import EventLog


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "explain",
        help="the SIP ladder of a call, with each decision and its reason",
        description="Shows who sent what to whom and when, and between the messages what the "
        "server decided: who the caller is, what the Router and the rules made of the address, "
        "which contacts were tried, which limits stood in the way.",
    )
    parser.add_argument("call", metavar="CALL", help="its id, its start, or a SIP Call-ID")
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the ladder."""
    from pbx.cli.ladder import ladder_of
    from pbx.cli.log import find_call
    from pbx.cli.programs import CallStreams
    from pbx.readmodel.cdr_files import iso_time

    with opened_log(arguments) as log:
        stream = find_call(arguments, log, arguments.call)
        records = list(CallStreams(stream).records(log))
        ladder = ladder_of(records, lambda time_ns: _table(log, time_ns))
    name = stream.partition("/")[2]
    if arguments.json:
        print_json({"call": name, "started": iso_time(ladder.start_ns), **ladder.as_json()})
        return 0
    print(f"call {name}, {show_time(ladder.start_ns)} UTC")
    for line in ladder.lines():
        print(line)
    return 0


def _table(log: EventLog, time_ns: int) -> str:
    """Who set the Router tables that were in force at a time."""
    from pbx.domain.server import STREAM

    last = None
    for record in log.read_stream(STREAM):
        if record.type.startswith("router.table-set.") and record.time_ns <= time_ns:
            last = record
    if last is None:
        return ""
    return (
        f"the table was last set by {last.actor or 'somebody'} on {show_time(last.time_ns)}"
        f" (position {last.position})"
    )
