"""``pbx settings``: every setting, its value here, its default and what it means."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import TYPE_CHECKING

from pbx.cli.common import add_options, print_json, print_table, settings_of
from pbx.cli.reading import opened_log
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
        "masked. With `unused` the settings of accounts, domains and the server that are kept and "
        "have no effect in this version.",
    )
    parser.add_argument("what", nargs="?", choices=("unused",), help="what is kept without effect")
    add_options(parser)
    parser.set_defaults(run=_show)


def _show(arguments: argparse.Namespace) -> int:
    if arguments.what == "unused":
        return _show_unused(arguments)
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


def _show_unused(arguments: argparse.Namespace) -> int:
    from pbx.data import write
    from pbx.objects.check import unused
    from pbx.settings_changes import configurations

    rows: list[tuple[str, str, str, str, str]] = []
    with opened_log(arguments) as log:
        for stream, state in configurations(log):
            kind, _, name = stream.partition("/")
            for section, values in sorted(state.sections.items()):
                for found in unused(kind, section, values):
                    known = "no effect yet" if found.known else "unknown key"
                    shown = write(found.value)
                    rows.append((name or kind, section, found.key, shown, known))
    if arguments.json:
        names = ("of", "section", "key", "value", "why")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        print_table(("OF", "SECTION", "KEY", "VALUE", "WHY"), rows)
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
