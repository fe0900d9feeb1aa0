"""``pbx registrations``: which phones are registered."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from pbx.cli.common import add_options, print_json, print_table
from pbx.cli.reading import as_json, opened_read_model, show_duration

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("registrations", help="phones that are registered now")
    parser.add_argument("account", nargs="?", default="", help="of this account only")
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the bindings that have not lapsed."""
    from pbx.readmodel import queries

    now_ns = time.time_ns()
    with opened_read_model(arguments) as database, database.read() as connection:
        bindings = queries.live_bindings(connection, now_ns, arguments.account)
    if arguments.json:
        print_json([as_json(binding) for binding in bindings])
        return 0
    print_table(
        ("ACCOUNT", "CONTACT", "Q", "LAPSES IN", "FROM", "NAT", "PHONE"),
        [
            (
                binding["account"],
                binding["contact"],
                f"{binding['q']:g}",
                show_duration((binding["expires_ns"] - now_ns) // 1_000_000),
                f"{binding['remote']}/{binding['transport']}",
                "yes" if binding["nat"] else "no",
                binding["user_agent"] or "-",
            )
            for binding in bindings
        ],
    )
    return 0
