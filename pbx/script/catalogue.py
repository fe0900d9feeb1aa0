"""All built-ins of the language, by environment. Importing this declares every one of them."""

from __future__ import annotations

from functools import cache

from pbx.script import events
from pbx.script.builtins import (
    calls,
    containers,
    data,
    dates,
    general,
    numbers,
    serialize,
    strings,
    xml,
)
from pbx.script.builtins.registry import Builtin, Environment, table
from pbx.script.requests import (
    accounts,
    ambient,
    communications,
    mailboxes,
    realtime,
    storage,
    tasks,
    web,
)

DECLARED_BY = (
    accounts,
    ambient,
    calls,
    communications,
    containers,
    data,
    dates,
    events,
    general,
    mailboxes,
    numbers,
    realtime,
    serialize,
    storage,
    strings,
    tasks,
    web,
    xml,
)
"""The modules whose import fills the catalogue."""


@cache
def table_of(environment: Environment) -> dict[str, Builtin]:
    """Folded name to built-in."""
    return table(environment)
