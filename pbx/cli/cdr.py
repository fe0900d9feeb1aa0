"""``pbx cdr list``: the records of ended calls. (``export`` and ``correct``
are modules of their own.)"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pbx.cli import cdr_correct, cdr_export
from pbx.cli.common import add_options, print_json, print_table
from pbx.cli.reading import add_times, as_json, opened_read_model, show_duration, show_time

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("cdr", help="records of ended calls")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list them in order of their end")
    add_times(listing)
    listing.add_argument("--account", default="", metavar="NAME@DOMAIN", help="calls of an account")
    listing.add_argument("--limit", type=int, metavar="N", help="the last N only")
    listing.add_argument("--legs", action="store_true", help="a line for each leg, with media")
    add_options(listing)
    listing.set_defaults(run=run)
    cdr_export.register(actions)
    cdr_correct.register(actions)


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    from pbx.readmodel import queries
    from pbx.readmodel.cdr_files import media_field

    with opened_read_model(arguments) as database, database.read() as connection:
        calls = queries.call_records(
            connection,
            since_ns=arguments.since or 0,
            until_ns=arguments.until,
            account=arguments.account,
            limit=arguments.limit,
        )
        legs = queries.cdr_legs_of(connection, [call["call_id"] for call in calls])
    if arguments.json:
        print_json(
            [
                as_json(call) | {"legs": [as_json(leg) for leg in legs.get(call["call_id"], ())]}
                for call in calls
            ]
        )
    elif arguments.legs:
        print_table(
            ("ENDED (UTC)", "CALL", "LEG", "ROLE", "TARGET", "TALKED", "STATUS", "CAUSE", "MEDIA"),
            [
                (
                    show_time(leg["end_ns"]),
                    leg["call_id"],
                    leg["leg_id"],
                    leg["role"],
                    leg["target_uri"] or "-",
                    show_duration(leg["talk_ms"]),
                    leg["status"],
                    f"{leg['cause']}/{leg['q850']}",
                    media_field(leg),
                )
                for call in calls
                for leg in legs.get(call["call_id"], ())
            ],
        )
    else:
        print_table(
            ("ENDED (UTC)", "CALL", "FROM", "TO", "RANG", "TALKED", "STATUS", "CAUSE", "ENDED BY"),
            [
                (
                    show_time(call["end_ns"]),
                    call["call_id"],
                    call["from_uri"],
                    call["request_uri"],
                    _rang(call["start_ns"], call["answer_ns"] or call["end_ns"]),
                    show_duration(call["talk_ms"]),
                    call["status"],
                    f"{call['cause']}/{call['q850']}",
                    call["ended_by"],
                )
                for call in calls
            ],
        )
    return 0


def _rang(start_ns: int, end_ns: int) -> str:
    return show_duration((end_ns - start_ns) // 1_000_000)
