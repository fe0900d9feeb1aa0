"""Opens the log for the commands that administrate: ``domain``, ``rules`` …, the demo."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Iterator
from typing import Final

from pbx.applied import wait_applied
from pbx.commands import Administration
from pbx.configdb import StoredInventory, open_config
from pbx.datadir import DataDirectory
from pbx.domain.accounts import CONFIG
from pbx.eventlog import EmbeddedLog, EventLog, Position, open_keys, open_log
from pbx.inventory import Inventory
from pbx.kernel.errors import LogUnavailable
from pbx.rule_commands import RuleAdministration
from pbx.settings_changes import SettingsChanges

log = logging.getLogger("pbx.server")

_LETTERS: Final = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without the pairs that people confuse when they type a password into a phone: l1I, O0o."""
_LENGTH: Final = 16
"""57^16 is 93 bits: out of reach for guessing even against a stolen MD5 secret."""
_PATIENCE_S: Final = 5.0
"""How long a command waits for other writers; a server commits within milliseconds."""
_APPLY_S: Final = 1.0
"""How long a command waits for a running server to take it up; usually some 50 ms."""


@contextlib.contextmanager
def administration(data: DataDirectory, actor: str) -> Iterator[Administration]:
    """The commands over the log in `data`; a running server has applied them at the end."""
    with changing_log(data) as event_log, stored_inventory(data) as known:
        erase = open_keys(data.path).erase
        yield Administration(event_log, actor=actor, erase=erase, inventory=known)


@contextlib.contextmanager
def stored_inventory(data: DataDirectory) -> Iterator[StoredInventory]:
    """What exists, to be brought level by :meth:`~StoredInventory.refresh`."""
    database = open_config(data.path)
    try:
        known = StoredInventory(database)
        try:
            yield known
        finally:
            known.close()
    finally:
        database.close()


@contextlib.contextmanager
def rule_administration(data: DataDirectory, actor: str) -> Iterator[RuleAdministration]:
    """The same for the commands on rules."""
    with changing_log(data) as event_log:
        yield RuleAdministration(event_log, actor=actor)


@contextlib.contextmanager
def reading_rules(data: DataDirectory) -> Iterator[RuleAdministration]:
    """Rules as they are, without touching a secret."""
    event_log = open_log(data.path, unseal=False, busy_timeout_s=_PATIENCE_S)
    try:
        yield RuleAdministration(event_log, actor="")
    finally:
        event_log.close()


@contextlib.contextmanager
def changing_log(data: DataDirectory, apply_s: float = _APPLY_S) -> Iterator[EmbeddedLog]:
    """The log in `data`, for commands that append; a running server has applied it at the end, or
    `apply_s` have passed."""
    event_log = open_log(data.path, busy_timeout_s=_PATIENCE_S)
    try:
        before = event_log.head()
        yield event_log
        last = _last_change(event_log, before)
        if last:
            wait_applied(data.applied, last, apply_s)
    finally:
        event_log.close()


def _last_change(event_log: EventLog, before: Position) -> Position:
    """The last record of the configuration after a position; 0 if there is none."""
    for record in event_log.read_back():
        if record.position <= before:
            break
        if record.category == CONFIG:
            return record.position
    return 0


def install(data: DataDirectory) -> None:
    """What every server has, before it starts: see :meth:`Administration.install`.

    A log that takes nothing now (a full disk) does not keep the server from starting.
    """
    data.prepare()
    try:
        with administration(data, "server") as administrate:
            if not administrate.installed:
                administrate.install()
    except LogUnavailable as error:
        log.warning("the Router table of a new server was not written: %s", error)


@contextlib.contextmanager
def settings_changes(data: DataDirectory, actor: str) -> Iterator[tuple[EventLog, SettingsChanges]]:
    """Changes of settings and rights over the log in `data`, taken up by a running server."""
    log = open_log(data.path, busy_timeout_s=_PATIENCE_S)
    try:
        before = log.head()
        yield log, SettingsChanges(log, actor=actor, origin="cli")
        last = _last_change(log, before)
        if last:
            wait_applied(data.applied, last, _APPLY_S)
    finally:
        log.close()


@contextlib.contextmanager
def reading_inventory(data: DataDirectory) -> Iterator[Inventory]:
    """What exists now, without touching a secret."""
    event_log = open_log(data.path, unseal=False, busy_timeout_s=_PATIENCE_S)
    try:
        with stored_inventory(data) as known:
            yield known.refresh(event_log)
    finally:
        event_log.close()


def generate_password() -> str:
    """A strong password that can be typed."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
