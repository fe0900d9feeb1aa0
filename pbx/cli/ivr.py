"""``pbx ivr report``: what callers did in applications, from the views of the read model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pbx.cli.common import add_options, print_json, print_table
from pbx.cli.reading import opened_read_model
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands

_SECTIONS: Final = {
    "applications": "Applications",
    "paths": "Ways through the menus",
    "drop-offs": "Where callers hung up",
    "choices": "Choices",
    "failures": "Failures",
}
"""Reports without their ``ivr-``, in the order of printing."""


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("ivr", help="statistics of applications: report")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    report = actions.add_parser(
        "report",
        help="calls by application, ways through menus, where callers hung up, failures",
        description="Days are of UTC. A choice is shown if it was one digit at a prompt; of "
        "numbers, which may be PINs, only that there was one (?). docs/ivr-statistics.md explains.",
    )
    report.add_argument(
        "section", nargs="?", default="", help=f"one part only: {', '.join(_SECTIONS)}"
    )
    report.add_argument(
        "--from", dest="since", default="", metavar="DAY", help="from this day on: 2026-01-31"
    )
    report.add_argument("--to", dest="until", default="", metavar="DAY", help="before this day")
    report.add_argument("--application", default="", metavar="NAME", help="one program")
    report.add_argument("--domain", default="", metavar="NAME", help="programs of one domain")
    report.add_argument("--limit", type=int, metavar="N", help="the first N rows of each part")
    add_options(report)
    report.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> int:
    if arguments.section and arguments.section not in _SECTIONS:
        raise DomainError(f"no part {arguments.section!r}; there are: {', '.join(_SECTIONS)}")
    wanted = [arguments.section] if arguments.section else list(_SECTIONS)
    found = _rows(arguments, wanted)
    if arguments.json:
        print_json(found)
        return 0
    if not any(found.values()):
        print("no application ran in this time")
        return 0
    for number, name in enumerate(name for name in wanted if found[name]):
        if number:
            print()
        print(f"{_SECTIONS[name]}\n")
        rows = found[name]
        print_table(
            [head.upper().replace("_", " ") for head in rows[0]],
            [["-" if value in (None, "") else value for value in row.values()] for row in rows],
        )
    return 0


def _rows(
    arguments: argparse.Namespace, wanted: Sequence[str]
) -> dict[str, list[Mapping[str, Any]]]:
    from pbx.readmodel.reports import report

    with opened_read_model(arguments) as database, database.read() as connection:
        return {
            name: list(
                report(
                    connection,
                    f"ivr-{name}",
                    since=arguments.since,
                    until=arguments.until,
                    tenant=arguments.domain.lower(),
                    application=arguments.application.removesuffix(".sppr"),
                    limit=arguments.limit,
                )
            )
            for name in wanted
        }
