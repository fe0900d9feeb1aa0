"""``pbx``: reads the arguments, runs the command, turns errors into words and an exit status."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from pbx import __version__
from pbx.kernel.errors import PbxError

COMMANDS: Final = (
    "serve",
    "media",
    "domain",
    "account",
    "alias",
    "telnum",
    "group",
    "forwarder",
    "list",
    "task",
    "router",
    "route",
    "config",
    "whatif",
    "token",
    "webhook",
    "rules",
    "calls",
    "cdr",
    "report",
    "registrations",
    "mailbox",
    "trunk",
    "node",
    "erase",
    "keys",
    "log",
    "explain",
    "replay",
    "settings",
    "script",
    "env",
    "ivr",
    "role",
)
"""Modules of this package, in the order of ``pbx --help``."""

INTERRUPTED: Final = 130
"""What a shell reports for a command ended by Ctrl-C (128 + SIGINT)."""
BROKEN_PIPE: Final = 141
"""The same for a reader that went away (128 + SIGPIPE): ``pbx log | head``."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="pbx",
        description="Ringlog, the PBX whose calls, messages and settings are one log.",
    )
    parser.add_argument("--version", action="version", version=f"Ringlog {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for name in COMMANDS:
        importlib.import_module(f"pbx.cli.{name}").register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = build_parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        code = run(arguments)
        sys.stdout.flush()
        return code
    except PbxError as error:
        print(f"pbx: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more at exit: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
