"""``pbx report NAME``: figures about calls, day by day, from the views of the read model."""

from __future__ import annotations

import argparse
import csv
import sys
from typing import TYPE_CHECKING

from pbx.cli.common import add_options, print_json, print_table
from pbx.cli.reading import opened_read_model
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "report",
        help="figures about calls: answer ratio, delays, traffic, quality, destinations",
        description="Figures about calls; without a name the list of reports. Days are of UTC.",
    )
    parser.add_argument("name", nargs="?", default="", help="which report")
    parser.add_argument("--since", default="", metavar="DAY", help="from this day on: 2026-01-31")
    parser.add_argument("--until", default="", metavar="DAY", help="before this day")
    parser.add_argument("--domain", default="", metavar="NAME", help="calls of one domain")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N rows only")
    parser.add_argument("--csv", action="store_true", help="print CSV")
    add_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pbx.readmodel.reports import REPORTS, report

    if not arguments.name:
        print_table(("REPORT", "WHAT"), [(name, row.what) for name, row in REPORTS.items()])
        return 0
    if arguments.name not in REPORTS:
        raise DomainError(f"no report {arguments.name!r}; there are: {', '.join(REPORTS)}")
    with opened_read_model(arguments) as database, database.read() as connection:
        try:
            rows = report(
                connection,
                arguments.name,
                since=arguments.since,
                until=arguments.until,
                tenant=arguments.domain.lower(),
                limit=arguments.limit,
            )
        except ValueError as error:
            raise DomainError(str(error)) from error
    if arguments.json:
        print_json(list(rows))
    elif arguments.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(rows[0] if rows else ())
        writer.writerows(row.values() for row in rows)
    elif rows:
        print_table(
            [name.upper().replace("_", " ") for name in rows[0]],
            [["-" if value is None else value for value in row.values()] for row in rows],
        )
    else:
        print("no calls in this time")
    return 0
