"""Folds records of the configuration into the tables of the configuration database.

Used by :mod:`pbx.configdb.store` within a transaction: rows of accounts are kept until the batch
ends, since an account that is made comes as three records or more; everything else is written at
once.
"""

from __future__ import annotations

import sqlite3
from enum import Enum
from typing import Final

from pbx.configdb import rows
from pbx.configdb.rows import PASSWORD_TYPE, AccountRow, DomainRow, ServerRow
from pbx.domain import objects, server
from pbx.domain.accounts import (
    AccountAliasesSet,
    AccountCreated,
    AccountDeleted,
    AccountTelnumsSet,
    DomainAliasesSet,
    DomainCreated,
    DomainDeleted,
)
from pbx.domain.environments import EnvironmentFileStored
from pbx.domain.setting_events import SettingsChanged
from pbx.eventlog import Codec, Record
from pbx.kernel.events import Event
from pbx.router import ObjectKind

KINDS: Final = (
    ObjectKind.ACCOUNT, ObjectKind.GROUP, ObjectKind.FORWARDER, ObjectKind.LIST, ObjectKind.TASK,
)  # fmt: skip
"""By the number in the column ``kind``; a name that two of them have means the first."""
NUMBER_OF: Final = {kind: number for number, kind in enumerate(KINDS)}

_ACCOUNT_TYPES: Final = frozenset(
    {
        PASSWORD_TYPE, "account.created.v1", "account.deleted.v1", "account.aliases-set.v1",
        "account.telnums-set.v1", "account.limits-set.v1", "account.settings-changed.v1",
        "rules.changed.v1", "dataset.entry-added.v1", "dataset.entry-removed.v1",
    }
)  # fmt: skip
"""What changes a row of an account; the others are not even decoded."""
_MEETING_SET: Final = "meeting.set.v1"
_UPSERT: Final = (
    "INSERT INTO objects (domain, name, kind, data) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (domain, name, kind) DO UPDATE SET data = excluded.data"
)
_ROW: Final = "SELECT data FROM objects WHERE domain = ? AND name = ? AND kind = ?"
_DELETE: Final = "DELETE FROM objects WHERE domain = ? AND name = ? AND kind = ?"


class Noted(Enum):
    """What few streams of the configuration have and the signal role keeps in memory.

    A start reads those streams, not a million others (:meth:`.reader.ConfigReader.noted`). A stream
    stays noted until its object is deleted.
    """

    TRUNKS = "trunks"
    """Settings that lines to providers depend on."""
    MEETINGS = "meetings"
    """Meetings that programs made."""
    FILES = "files"
    """Files of an application environment."""


class Fold:
    """One batch."""

    def __init__(self, database: sqlite3.Connection, codec: Codec) -> None:
        self._database = database
        self._codec = codec
        self._accounts: dict[tuple[str, str], AccountRow] = {}
        """By domain and name, in order of creation."""
        self._gained: dict[str, int] = {}
        """Accounts more, or fewer, by domain."""
        self._ruled_accounts = 0
        self._ruled_domains = 0

    def apply(self, record: Record) -> None:
        """Fold one record; what is none of ours is ignored."""
        prefix, _, name = record.stream.partition("/")
        if prefix == "account":
            if record.type in _ACCOUNT_TYPES:
                self._account(name, record)
            elif record.type == _MEETING_SET:
                self._meeting(name, record.stream)
        elif prefix == "domain":
            self._domain(name, self._event(record))
        elif prefix in objects.KIND_OF_PREFIX:
            self._object(prefix, name, self._event(record))
        elif record.stream == server.STREAM:
            self._server(self._event(record))

    def flush(self) -> None:
        """Write what was kept."""
        database = self._database
        database.executemany(
            _UPSERT,
            [(*key, 0, rows.encode(row)) for key, row in self._accounts.items()],
        )
        gained = {domain: count for domain, count in self._gained.items() if count}
        database.executemany(
            "UPDATE domains SET accounts = accounts + ? WHERE name = ?",
            [(count, domain) for domain, count in gained.items()],
        )
        database.execute(
            "UPDATE level SET accounts = accounts + ?, ruled_accounts = ruled_accounts + ?,"
            " ruled_domains = ruled_domains + ?",
            (sum(gained.values()), self._ruled_accounts, self._ruled_domains),
        )
        self._accounts.clear()

    def _event(self, record: Record) -> Event:
        return self._codec.decode(record.stream, record.type, record.data)

    # Accounts.

    def _account(self, address: str, record: Record) -> None:
        name, _, domain = address.partition("@")
        key = (domain, name)
        event = None if record.type == PASSWORD_TYPE else self._event(record)
        if isinstance(event, AccountCreated):
            if record.version == 1 or self._known(key) is None:
                self._gained[domain] = self._gained.get(domain, 0) + 1
            row = AccountRow()
            rows.changed_account(row, record.type, record.data, event)
            self._accounts[key] = row
            return
        held = self._known(key)
        if held is None:
            return
        self._note_event(record.stream, event)
        if isinstance(event, AccountDeleted):
            self._set_aliases(key, held.aliases, ())
            self._set_telnums(address, held.telnums, ())
            self._ruled_accounts -= bool(held.rules)
            self._gained[domain] = self._gained.get(domain, 0) - 1
            del self._accounts[key]
            self._database.execute(_DELETE, (*key, 0))
            return
        if isinstance(event, AccountAliasesSet):
            self._set_aliases(key, held.aliases, event.aliases)
        elif isinstance(event, AccountTelnumsSet):
            self._set_telnums(address, held.telnums, event.telnums)
        ruled = bool(held.rules)
        rows.changed_account(held, record.type, record.data, event)
        self._ruled_accounts += bool(held.rules) - ruled

    def _known(self, key: tuple[str, str]) -> AccountRow | None:
        """The row of an account, kept from now on."""
        row = self._accounts.get(key)
        if row is None:
            found = self._database.execute(_ROW, (*key, 0)).fetchone()
            if found is None:
                return None
            row = self._accounts[key] = rows.decode_account(found[0])
        return row

    def _set_aliases(
        self, key: tuple[str, str], before: tuple[str, ...], after: tuple[str, ...]
    ) -> None:
        domain, name = key
        if before:
            self._database.executemany(
                "DELETE FROM aliases WHERE domain = ? AND alias = ? AND account = ?",
                [(domain, alias, name) for alias in before],
            )
        # Whoever has the name already keeps it, should two commands have raced.
        self._database.executemany(
            "INSERT OR IGNORE INTO aliases VALUES (?, ?, ?)",
            [(domain, alias, name) for alias in after],
        )

    def _set_telnums(self, address: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        if before:
            self._database.executemany(
                "DELETE FROM telnums WHERE digits = ? AND address = ?",
                [(number.removeprefix("+"), address) for number in before],
            )
        self._database.executemany(
            "INSERT OR REPLACE INTO telnums VALUES (?, ?, ?)",
            [(number.removeprefix("+"), number, address) for number in after],
        )

    def _meeting(self, address: str, stream: str) -> None:
        name, _, domain = address.partition("@")
        if self._known((domain, name)) is not None:  # of one that is gone it is nobody's
            self._note(stream, Noted.MEETINGS)

    def _note_event(self, stream: str, event: Event | None) -> None:
        """Remember where what is kept in memory comes from, and forget it."""
        if isinstance(event, AccountDeleted | DomainDeleted):
            self._database.execute("DELETE FROM noted_streams WHERE stream = ?", (stream,))
        elif isinstance(event, SettingsChanged) and rows.tells_of_trunks(event):
            self._note(stream, Noted.TRUNKS)
        elif isinstance(event, EnvironmentFileStored):
            self._note(stream, Noted.FILES)

    def _note(self, stream: str, what: Noted) -> None:
        self._database.execute(
            "INSERT OR IGNORE INTO noted_streams VALUES (?, ?)", (stream, what.value)
        )

    # Domains, objects, server.

    def _domain(self, name: str, event: Event) -> None:
        database = self._database
        found = database.execute("SELECT data FROM domains WHERE name = ?", (name,)).fetchone()
        if isinstance(event, DomainCreated):
            row = DomainRow(aliases=event.aliases)
            accounts = "SELECT count(*) FROM objects WHERE domain = ? AND kind = 0"
            count = database.execute(accounts, (name,)).fetchone()[0] if found is None else 0
            database.execute(
                "INSERT INTO domains (name, accounts, data) VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET data = excluded.data",
                (name, count, rows.encode(row)),
            )
            database.execute("INSERT OR REPLACE INTO domain_names VALUES (?, ?)", (name, name))
            self._name_domain(name, event.aliases)
            return
        if found is None:
            return
        self._note_event(f"domain/{name}", event)
        row = rows.decode_domain(found[0])
        ruled = bool(row.rules)
        if isinstance(event, DomainDeleted):
            self._unname_domain(name, (name, *row.aliases))
            self._ruled_domains -= ruled
            database.execute("DELETE FROM domains WHERE name = ?", (name,))
            return
        if isinstance(event, DomainAliasesSet):
            self._unname_domain(name, row.aliases)
            self._name_domain(name, event.aliases)
        rows.changed_domain(row, event)
        self._ruled_domains += bool(row.rules) - ruled
        database.execute("UPDATE domains SET data = ? WHERE name = ?", (rows.encode(row), name))

    def _name_domain(self, name: str, aliases: tuple[str, ...]) -> None:
        self._database.executemany(
            "INSERT OR IGNORE INTO domain_names VALUES (?, ?)",
            [(alias.lower(), name) for alias in aliases],
        )

    def _unname_domain(self, name: str, names: tuple[str, ...]) -> None:
        self._database.executemany(
            "DELETE FROM domain_names WHERE name = ? AND domain = ?",
            [(alias.lower(), name) for alias in names],
        )

    def _object(self, prefix: str, address: str, event: Event) -> None:
        name, _, domain = address.partition("@")
        key = (domain, name, NUMBER_OF[objects.KIND_OF_PREFIX[prefix]])
        found = self._database.execute(_ROW, key).fetchone()
        held = objects.NO_OBJECT if found is None else rows.decode_object(found[0])
        made = objects.evolve_object(held, event)
        if made.exists:
            self._database.execute(_UPSERT, (*key, rows.encode(made)))
        elif found is not None:
            self._database.execute(_DELETE, key)

    def _server(self, event: Event) -> None:
        found = self._database.execute("SELECT data FROM server").fetchone()
        self._note_event(server.STREAM, event)
        row = ServerRow() if found is None else rows.decode_server(found[0])
        rows.changed_server(row, event)
        self._database.execute("INSERT OR REPLACE INTO server VALUES (1, ?)", (rows.encode(row),))
