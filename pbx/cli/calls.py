"""``pbx calls``: the calls that are up now."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from pbx.cli.common import add_options, print_json, print_table
from pbx.cli.reading import as_json, opened_read_model, show_duration, show_time

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("calls", help="calls that are up now")
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print them, oldest first."""
    from pbx.readmodel import queries

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
