"""``pbx settings``: every setting, its value here, its default and what it means."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import TYPE_CHECKING

from pbx.cli.common import add_options, print_json, settings_of
from pbx.settings import Settings, without_password
from pbx.settings_source import KEYS, Raw, settings_to_raw

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "settings",
        help="show all settings, their values and meaning",
        description="Prints a settings file that sets everything to what it is now; passwords are "
        "masked.",
    )
    add_options(parser)
    parser.set_defaults(run=_show)


def _show(arguments: argparse.Namespace) -> int:
    values = settings_to_raw(settings_of(arguments))
    for section, rows in KEYS.items():
        for name, row in rows.items():
            if row.about.secret:
                values[section][name] = without_password(values[section][name])
    if arguments.json:
        print_json(values)
    else:
        print(settings_as_toml(values), end="")
    return 0


def settings_as_toml(values: Raw) -> str:
    """A settings file with `values`, each key explained above it."""
    defaults = settings_to_raw(Settings())
    lines: list[str] = []
    for section, rows in KEYS.items():
        lines += [f"[{section}]", ""]
        for name, row in rows.items():
            lines += textwrap.wrap(row.about.doc, 96, initial_indent="# ", subsequent_indent="# ")
            lines.append(
                f"# {row.words[0].upper()}{row.words[1:]}; default {_toml(defaults[section][name])}"
            )
            lines += [f"{name} = {_toml(values[section][name])}", ""]
    return "\n".join(lines)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, str):  # a JSON string is a TOML string but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)
