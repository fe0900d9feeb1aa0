"""Keys and values of views as text for people and as JSON for programs; secrets as ``***``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pbx.data import to_json, write
from pbx.domain.environments import StoredFile
from pbx.history.lines import hunks, lines_of
from pbx.history.view import Change, Hidden, Key, Stated
from pbx.objects.keys import is_secret

SECRET: Final = "***"
_NAMES: Final[Mapping[str, str]] = {"sealed": "secrets of ", "list": "settings.", "address": ""}


def key_text(key: Key) -> str:
    """``settings.CallsLimit``, ``aliases``, ``router table server``."""
    match key:
        case ("set", section, name):
            return f"{section}.{name}"
        case ("router", table):
            return f"{table} Router table"
        case ("event", noun):
            return noun
        case (head, name):
            return f"{_NAMES.get(head, head + ' ')}{name}"
        case _:
            return key[0].replace("_", " ")


def json_of(key: Key, value: Any) -> Any:
    """A value for programs; None for absent, ``***`` for secrets."""
    if value is None:
        return None
    match value:
        case Hidden():
            return SECRET
        case Stated():
            fields = msgspec.json.decode(msgspec.json.encode(value.fields))
            return next(iter(fields.values())) if len(fields) == 1 else fields
        case StoredFile():
            return {"sha256": value.sha256, "size_bytes": value.size_bytes}
        case tuple():
            return list(value)
    if key[0] == "sealed":
        return SECRET
    return to_json(_masked(key[-1], value)) if key[0] in ("set", "list") else value


def value_text(key: Key, value: Any) -> str:
    """One line for people; ``-`` for absent."""
    if value is None:
        return "-"
    if key[0] in ("set", "list"):
        return write(_masked(key[-1], value))
    shown = json_of(key, value)
    if isinstance(shown, list):
        return ", ".join(str(item) for item in shown) or "-"
    if isinstance(shown, bool):
        return "yes" if shown else "no"
    return str(shown)


def change_lines(change: Change) -> list[str]:
    """A change for people: ``key: old -> new``, of a Router table the lines with - and +."""
    key, old, new = change
    if key == ("exists",):
        return ["created" if new else "deleted"]
    if key[0] == "router":
        return table_lines(key_text(key), old or "", new or "")
    if isinstance(old, Stated) or isinstance(new, Stated):
        return _stated_lines(change)
    return [f"{key_text(key)}: {value_text(key, old)} -> {value_text(key, new)}"]


def table_lines(name: str, old: str, new: str) -> list[str]:
    """The lines of a text that changed, with their numbers (removed: as it was)."""
    before, after = lines_of(old), lines_of(new)
    shown = [f"{name}:"]
    for hunk in hunks(before, after):
        removed = enumerate(before[hunk.start : hunk.end], hunk.start + 1)
        added = enumerate(hunk.new, hunk.new_start + 1)
        shown += [f"  -{number}: {line.rstrip()}" for number, line in removed]
        shown += [f"  +{number}: {line.rstrip()}" for number, line in added]
    return shown


def _stated_lines(change: Change) -> list[str]:
    """Of lists (rules) the elements that went and came."""
    old, new = json_of(change.key, change.old), json_of(change.key, change.new)
    if not isinstance(old or [], list) or not isinstance(new or [], list):
        return [f"{key_text(change.key)}: {_word(old)} -> {_word(new)}"]
    return table_lines(key_text(change.key), _rows(old), _rows(new))


def _rows(rows: Any) -> str:
    """Each element on a line of its own."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows or ())


def _word(value: Any) -> str:
    return "-" if value is None else str(value)


def _masked(name: str, value: Any) -> Any:
    if is_secret(name, value):
        return SECRET
    if isinstance(value, dict):
        return {key: _masked(key, inner) for key, inner in value.items()}
    return value
