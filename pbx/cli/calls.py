"""``pbx calls``: the calls that are up now; ``pbx calls end`` ends one."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table
from pbx.cli.reading import as_json, opened_read_model, show_duration, show_time
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("calls", help="calls that are up now; end one")
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "end"),
        default="list",
        help="list them (the default), or end the one named",
    )
    parser.add_argument("call", nargs="?", default="", help="its id, or the start of it, for end")
    parser.add_argument("--reason", default="", help="why it is ended; its parties are told")
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print them, oldest first."""
    from pbx.readmodel import queries

    if arguments.action == "end":
        return _end(arguments)

    with opened_read_model(arguments) as database, database.read() as connection:
        calls = queries.live_calls(connection)
        legs = queries.legs_of(connection, [call["call_id"] for call in calls])
    if arguments.json:
        print_json(
            [
                as_json(call) | {"legs": [as_json(leg) for leg in legs.get(call["call_id"], ())]}
                for call in calls
            ]
        )
        return 0
    now_ns = time.time_ns()
    print_table(
        ("CALL", "STATE", "FROM", "TO", "STARTED (UTC)", "TALKING", "LEGS"),
        [
            (
                call["call_id"],
                call["state"],
                call["from_uri"],
                call["request_uri"],
                show_time(call["start_ns"]),
                show_duration((now_ns - call["answer_ns"]) // 1_000_000)
                if call["answer_ns"]
                else "-",
                sum(not leg["end_ns"] for leg in legs.get(call["call_id"], ())),
            )
            for call in calls
        ],
    )
    return 0


def _end(arguments: argparse.Namespace) -> int:
    """Ask the call's node; it is gone a moment later."""
    from pbx.call_commands import ask_end
    from pbx.eventlog import open_log
    from pbx.readmodel import queries

    with opened_read_model(arguments) as database, database.read() as connection:
        found = [
            call
            for call in queries.live_calls(connection)
            if arguments.call and call["call_id"].startswith(arguments.call)
        ]
    if len(found) != 1:
        what = "no call that is up" if not found else f"{len(found)} calls"
        raise DomainError(f"{what} begins with {arguments.call!r}; see: pbx calls")
    call_id, node = found[0]["call_id"], found[0]["node"]
    log = open_log(data_directory(arguments).path, unseal=False)
    try:
        ask_end(
            log, node, call_id, actor=actor(), reason=arguments.reason, tenant=found[0]["tenant"]
        )
    finally:
        log.close()
    if arguments.json:
        print_json({"call_id": call_id, "node": node, "asked": True})
    else:
        print(f"call {call_id} on node {node} is asked to end")
    return 0
