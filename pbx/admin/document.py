"""The generated half of ``docs/cli.md``: settings with an effect, commands, names not carried out.

``python -m pbx.admin.document docs/cli.md`` writes it anew behind its mark. A test compares, so the
page cannot fall behind the code.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pbx.admin.dispatch import Row
from pbx.admin.table import COMMANDS, OLD_NAMES, UNSUPPORTED
from pbx.data import write
from pbx.objects.check import TABLES
from pbx.objects.keys import Key

_GROUPS: Final = {
    "domains": "Domains and defaults",
    "accounts": "Accounts",
    "objects": "Groups, forwarders, aliases, numbers, the Router",
    "records": "Rules, registrations elsewhere, scheduled tasks",
    "signal_rules": "Signal Rules",
    "info": "Information and counters",
    "alerts": "Alerts",
    "storage": "File storage of accounts",
    "environments": "Files of applications",
    "tasks": "Applications that run, named tasks",
    "lists": "Mailing lists",
    "sessions": "Sessions",
    "server": "The server, address lists, statistics",
    "misc": "Others",
}
"""Module of the handlers -> title."""

MARK: Final = "<!-- What follows is made by python -m pbx.admin.document -->\n"


def updated(page: str) -> str:
    """The page with its generated half as the code is now."""
    written, mark, _ = page.partition(MARK)
    assert mark, "the page has lost its mark"
    return written + mark + "\n".join(["", *_settings(), *_commands(), *_unsupported(), ""])


def _settings() -> Iterator[str]:
    yield "Settings with an effect in this version:\n"
    yield "| Key | Of | Form | Default | Effect |"
    yield "|---|---|---|---|---|"
    seen: dict[tuple[str, str], Key] = {}
    for (kind, section), table in TABLES.items():
        if section in ("account-defaults", "template", "domain-defaults", "records"):
            continue  # the same keys on another level, or the commands' own
        for key in table.values():
            if key.effect and (kind, key.name) not in seen:
                seen[kind, key.name] = key
                where = kind if section in ("settings", "prefs") else f"{kind}, {section}"
                default = "" if key.default in (None, "", {}) else f"`{_text(key)}`"
                yield f"| `{key.name}` | {where} | {key.form.words} | {default} | {key.effect} |"
    yield ""


def _text(key: Key) -> str:
    return key.default if isinstance(key.default, str) else write(key.default)


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    yield f"{len(COMMANDS)} commands, in any letter case. `[ ]` may be left out,"
    yield "`{ | }` is a choice."
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in COMMANDS.values():
        groups[_group(row)].append(row)
    for module, title in _GROUPS.items():
        rows = groups.pop(module, [])
        if not rows:
            continue
        yield f"\n### {title}\n"
        yield "| Command | Result | Who may |"
        yield "|---|---|---|"
        for row in rows:
            syntax = f"{row.name} {row.syntax.text}".strip().replace("|", "\\|")
            yield f"| `{syntax}` | {row.shows or '-'} | {row.needs.words()} |"
    assert not groups, groups
    yield "\nOld names: " + ", ".join(f"`{old}` is `{new}`" for old, new in OLD_NAMES.items()) + "."


def _group(row: Row) -> str:
    """The module of the handler; GET, UPDATE and SET of dictionaries are made in ``domains``."""
    return row.handler.__module__.rpartition(".")[2]


def _unsupported() -> Iterator[str]:
    yield "\n## Not carried out\n"
    yield "These names of the language are answered `501 not supported: ` and the reason.\n"
    yield "| Reason | Names |"
    yield "|---|---|"
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in UNSUPPORTED.items():
        by_reason[reason].append(name)
    for reason, names in by_reason.items():
        yield f"| {reason} | {', '.join(f'`{name}`' for name in sorted(names))} |"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(updated(file.read_text(encoding="utf-8")), encoding="utf-8")
