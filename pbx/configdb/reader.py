"""Look-ups in the configuration database: some 10 µs each, by key, from memory or the page cache.

What a look-up gives is a snapshot of that moment; who caches it is told by the log when it is old
(:mod:`pbx.calls.stored_directory`). Not for several threads at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pbx.configdb import rows
from pbx.configdb.fold import KINDS, NUMBER_OF, Noted
from pbx.configdb.rows import AccountRow, DomainRow, ServerRow
from pbx.domain.accounts import AccountState
from pbx.domain.objects import ObjectState
from pbx.kernel.errors import PbxError
from pbx.router import ObjectKind

_PAGE: Final = 1_000
"""Rows fetched at once by listings: each fetch is a short snapshot, so that no reader keeps the WAL
from being checkpointed."""


class ConfigUnavailable(PbxError):
    """The configuration database cannot be read or written now; the text says why."""


class Counts(NamedTuple):
    """How many there are."""

    domains: int
    accounts: int
    ruled_accounts: int
    """Accounts with Signal Rules of their own."""
    ruled_domains: int


class ConfigReader:
    """See the module. Names are in lower case, domains by their own names."""

    def __init__(self, database: sqlite3.Connection, *, owned: bool = True) -> None:
        self._database = database
        self._owned = owned

    def close(self) -> None:
        """Release the file."""
        if self._owned:
            self._database.close()

    # By key.

    def account(self, name: str, domain: str) -> AccountRow | None:
        """The account of that name; aliases do not count."""
        found = self._one(
            "SELECT data FROM objects WHERE domain = ? AND name = ? AND kind = 0", domain, name
        )
        return None if found is None else rows.decode_account(found[0])

    def named(self, name: str, domain: str) -> AccountRow | ObjectState | None:
        """What has a name by itself, an account before anything else."""
        found = self._one(
            "SELECT kind, data FROM objects WHERE domain = ? AND name = ? ORDER BY kind LIMIT 1",
            domain,
            name,
        )
        if found is None:
            return None
        return rows.decode_object(found[1]) if found[0] else rows.decode_account(found[1])

    def other(self, kind: ObjectKind, name: str, domain: str) -> ObjectState | None:
        """A group, forwarder, list or task."""
        found = self._one(
            "SELECT data FROM objects WHERE domain = ? AND name = ? AND kind = ?",
            domain,
            name,
            NUMBER_OF[kind],
        )
        return None if found is None else rows.decode_object(found[0])

    def alias(self, alias: str, domain: str) -> str:
        """Name of the account that an alias stands for, or ''."""
        return self._text(
            "SELECT account FROM aliases WHERE domain = ? AND alias = ?", domain, alias
        )

    def telnum(self, digits: str) -> str:
        """``name@domain`` of the account that a telephone number is assigned to, or ''."""
        return self._text("SELECT address FROM telnums WHERE digits = ?", digits)

    def domain_of(self, host: str) -> str:
        """Name of the domain that a name or alias means, or ''."""
        return self._text("SELECT domain FROM domain_names WHERE name = ?", host)

    def domain(self, name: str) -> DomainRow | None:
        """A domain by its own name."""
        found = self._one("SELECT data FROM domains WHERE name = ?", name)
        return None if found is None else rows.decode_domain(found[0])

    def first_domain(self) -> str:
        """The domain that was created first, of those that exist; '' if there is none."""
        return self._text("SELECT name FROM domains ORDER BY id LIMIT 1")

    def server(self) -> ServerRow:
        """The server."""
        found = self._one("SELECT data FROM server")
        return ServerRow() if found is None else rows.decode_server(found[0])

    # Listings.

    def counts(self) -> Counts:
        """How many there are."""
        found = self._one(
            "SELECT (SELECT count(*) FROM domains), accounts, ruled_accounts, ruled_domains"
            " FROM level"
        )
        return Counts(*found) if found is not None else Counts(0, 0, 0, 0)

    def accounts_in(self, domain: str) -> int:
        """How many accounts a domain has."""
        found = self._one("SELECT accounts FROM domains WHERE name = ?", domain)
        return 0 if found is None else int(found[0])

    def noted(self, what: Noted) -> list[str]:
        """Streams that have something which is kept in memory, in their order."""
        found = self._all(
            "SELECT stream FROM noted_streams WHERE what = ? ORDER BY stream", what.value
        )
        return [stream for (stream,) in found]

    def account_names(self, domain: str) -> Iterator[str]:
        """Names of the accounts of a domain, in their order."""
        return (row[0] for row in self._accounts_of(domain, "name"))

    def accounts(self, domain: str | None = None) -> Iterator[AccountState]:
        """Accounts of a domain in the order of names, or all in order of creation."""
        if domain is not None:
            for name, data in self._accounts_of(domain, "name, data"):
                yield rows.decode_account(data).state(name, domain)
            return
        after = 0
        while found := self._all(
            "SELECT id, name, domain, data FROM objects WHERE kind = 0 AND id > ?"
            f" ORDER BY id LIMIT {_PAGE}",
            after,
        ):
            for _, name, of, data in found:
                yield rows.decode_account(data).state(name, of)
            after = found[-1][0]

    def _accounts_of(self, domain: str, columns: str) -> Iterator[tuple[Any, ...]]:
        after = ""
        while found := self._all(
            f"SELECT {columns} FROM objects WHERE domain = ? AND name > ? AND kind = 0"
            f" ORDER BY name LIMIT {_PAGE}",
            domain,
            after,
        ):
            yield from found
            after = found[-1][0]

    def objects(
        self, kind: ObjectKind | None = None, domain: str | None = None
    ) -> Iterator[ObjectState]:
        """Groups, forwarders, lists and tasks, of a kind or domain or all, in order of creation."""
        where, values = "kind > 0", list[object]()
        if kind is not None:
            where += " AND kind = ?"
            values.append(NUMBER_OF[kind])
        if domain is not None:
            where += " AND domain = ?"
            values.append(domain)
        # Few among many accounts: an index holds them alone.
        found = self._all(f"SELECT data FROM objects WHERE {where} ORDER BY id", *values)
        return (rows.decode_object(data) for (data,) in found)

    def object_counts(self, domain: str) -> dict[ObjectKind, int]:
        """How many objects other than accounts a domain has."""
        found = self._all(
            "SELECT kind, count(*) FROM objects WHERE domain = ? AND kind > 0 GROUP BY kind", domain
        )
        return {KINDS[number]: count for number, count in found}

    def domains(self) -> Iterator[tuple[str, DomainRow, int]]:
        """Names, rows and numbers of accounts of all domains, in order of creation."""
        after = 0
        while found := self._all(
            f"SELECT id, name, data, accounts FROM domains WHERE id > ? ORDER BY id LIMIT {_PAGE}",
            after,
        ):
            for _, name, data, accounts in found:
                yield name, rows.decode_domain(data), accounts
            after = found[-1][0]

    def aliases(self, domain: str | None = None) -> Iterator[tuple[str, str, str]]:
        """Alias, domain and name of the account, in the order of domains and aliases."""
        of, after = domain or "", ""
        within = "domain = ? AND alias > ?" if domain is not None else "(domain, alias) > (?, ?)"
        while found := self._all(
            f"SELECT alias, domain, account FROM aliases WHERE {within}"
            f" ORDER BY domain, alias LIMIT {_PAGE}",
            of,
            after,
        ):
            yield from found
            after, of = found[-1][0], found[-1][1]

    def telnums(self) -> Iterator[tuple[str, str]]:
        """Numbers as they were given and addresses of their accounts, in the order of digits."""
        after = ""
        while found := self._all(
            "SELECT digits, number, address FROM telnums WHERE digits > ?"
            f" ORDER BY digits LIMIT {_PAGE}",
            after,
        ):
            yield from ((number, address) for _, number, address in found)
            after = found[-1][0]

    # Asking.

    def _text(self, statement: str, *values: object) -> str:
        found = self._one(statement, *values)
        return "" if found is None else str(found[0])

    def _one(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        try:
            found: tuple[Any, ...] | None = self._database.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise ConfigUnavailable(f"the configuration database: {error}") from error
        return found

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise ConfigUnavailable(f"the configuration database: {error}") from error
