"""The table of commands: complete, consistent, documented."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pbx.admin.document import updated
from pbx.admin.table import COMMANDS, OLD_NAMES, UNDOCUMENTED, UNSUPPORTED

ROOT: Final = Path(__file__).parents[4]
NAMES: Final = (ROOT / "tests" / "data" / "cli_commands.txt").read_text(encoding="utf-8").split()
"""Every documented name of the language."""


def test_every_documented_name_is_carried_out_or_has_its_reason() -> None:
    assert len(NAMES) == 357
    assert set(NAMES) == (set(COMMANDS) | set(UNSUPPORTED)) - UNDOCUMENTED - {"UPDATEAIRSYNCINFO"}
    assert not set(COMMANDS) & set(UNSUPPORTED)
    assert all(UNSUPPORTED.values())


def test_old_names_lead_somewhere_and_hide_nothing() -> None:
    known = set(COMMANDS) | set(UNSUPPORTED)
    assert set(OLD_NAMES.values()) <= known
    assert not set(OLD_NAMES) & known


def test_the_page_is_what_the_table_says() -> None:
    """If this fails: python -m pbx.admin.document docs/cli.md"""
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == updated(page)


def test_whoever_changes_needs_a_right() -> None:
    for name, row in COMMANDS.items():
        changes = name.startswith(("SET", "UPDATE", "CREATE", "DELETE", "RENAME", "STORE", "KILL"))
        if changes:
            assert row.needs.realm.value != "everybody", name
