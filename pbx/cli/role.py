"""``pbx role NAME``: what the supervisor starts; not for people."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser; without a help text it is not listed."""
    parser = commands.add_parser("role")
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--report-to", type=int, required=True, metavar="DESCRIPTOR")
    parser.add_argument("--supervisor", type=int, required=True, metavar="PID")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pbx.app import ROLES
    from pbx.roles import run_role

    return run_role(
        arguments.name, arguments.data, arguments.report_to, arguments.supervisor, ROLES
    )
