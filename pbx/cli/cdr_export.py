"""``pbx cdr export FILE``: call records as CSV or Parquet."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pbx.cli.common import add_options, print_json
from pbx.cli.reading import add_times, opened_read_model


def register(actions: Any) -> None:
    """Add the parser."""
    parser = actions.add_parser(
        "export",
        help="write them to a file for analysts: CSV or Parquet",
        description="Records of calls that ended in the time given, in order of their end. Run it "
        "each night with --since and --until of the day: the same range gives the same file.",
    )
    parser.add_argument("file", type=Path, help="such as calls.parquet or calls.csv")
    parser.add_argument("--format", choices=("csv", "parquet"), default="", help="if not by ending")
    parser.add_argument("--legs", action="store_true", help="a row for each leg, with media")
    parser.add_argument("--domain", default="", metavar="NAME", help="calls of one domain")
    add_times(parser)
    add_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pbx.readmodel.export import export

    with opened_read_model(arguments) as database, database.read() as connection:
        rows = export(
            connection,
            arguments.file,
            what="legs" if arguments.legs else "calls",
            format=arguments.format,
            since_ns=arguments.since or 0,
            until_ns=arguments.until,
            tenant=arguments.domain.lower(),
        )
    if arguments.json:
        print_json({"file": str(arguments.file), "rows": rows})
    else:
        print(f"{rows} records written to {arguments.file}")
    return 0
