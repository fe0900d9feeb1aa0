"""What commands share: options, the data directory, settings, output.

A command is a module of this package with a function ``register(commands)`` that adds its parser
and names the function to run: ``parser.set_defaults(run=run)``, where ``run(arguments)`` returns
the exit status. It prints results on standard output and raises
:class:`~pbx.kernel.errors.PbxError` with words for the administrator when it cannot. Heavy modules
are imported inside ``run``: ``pbx --help`` answers at once.

Exit status: 0 done; 1 refused or failed, the reason on standard error; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pbx.datadir import DataDirectory, default_data_directory
from pbx.settings import Settings
from pbx.settings_source import Raw, load_settings

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

SETTINGS_FILE: Final = "ringlog.toml"
"""Read from the data directory if it is there and no other file is named."""


def add_options(parser: argparse.ArgumentParser, *, json_output: bool = True) -> None:
    """``--data``, ``--config`` and, for commands that list something, ``--json``."""
    parser.add_argument("--data", metavar="DIR", type=Path, help="data directory of the server")
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help=f"settings file (default: {SETTINGS_FILE} in the data directory, if there is one)",
    )
    if json_output:
        parser.add_argument("--json", action="store_true", help="print JSON")


def settings_of(arguments: argparse.Namespace, overrides: Raw | None = None) -> Settings:
    """Settings from file, environment and `overrides`, with ``server.data`` filled in."""
    file: Path | None = arguments.config
    # Who names no file may have one in the data directory, whose place is itself a setting.
    settings = load_settings(file, os.environ, overrides)
    data = arguments.data or settings.server.data or _default_data()
    beside = Path(data) / SETTINGS_FILE
    if file is None and beside.is_file():
        settings = load_settings(beside, os.environ, overrides)
    return replace(settings, server=replace(settings.server, data=str(data)))


def data_directory(arguments: argparse.Namespace, *, create: bool = False) -> DataDirectory:
    """The data directory a command works on; it must exist unless the command may make it."""
    data = DataDirectory(Path(settings_of(arguments).server.data))
    if create:
        data.prepare()
    else:
        data.require()
    return data


def actor() -> str:
    """Who gives the command, for the log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user id without a name
        return f"cli:{os.getuid()}"


def print_json(value: Any) -> None:
    """`value` on standard output."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest cell; nothing but the heads if there are no rows."""
    table = [list(heads), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def _default_data() -> Path:
    return default_data_directory(os.environ, root=os.geteuid() == 0)
