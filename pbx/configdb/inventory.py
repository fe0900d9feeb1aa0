"""The :class:`~pbx.inventory.Inventory` over the configuration database.

For commands in an installation of any size: what a command asks is looked up, nothing is folded in
memory. Tables are mappings that read when they are asked; whoever goes through all of them reads in
pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pbx.configdb.reader import ConfigReader
from pbx.configdb.store import ConfigDb
from pbx.domain.accounts import AccountState, DomainState
from pbx.domain.objects import KIND_OF_PREFIX, STREAM_PREFIX, ObjectState
from pbx.domain.server import ServerState
from pbx.eventlog import EventLog
from pbx.inventory import Inventory, digits_of
from pbx.router import ObjectKind

_OWNED: Final = (ObjectKind.LIST, ObjectKind.TASK)


class StoredInventory(Inventory):
    """See the module. Not for several threads at once."""

    __slots__ = ("_database", "_reader")

    def __init__(self, database: ConfigDb, reader: ConfigReader | None = None) -> None:
        """`reader` is one that is open already."""
        self._database = database
        self._reader = database.reader() if reader is None else reader
        super().__init__(
            domains=_Domains(self._reader),
            accounts=_Accounts(self._reader),
            objects=_Objects(self._reader),
        )

    def close(self) -> None:
        """Release the file."""
        self._reader.close()

    def refresh(self, log: EventLog) -> StoredInventory:
        """Bring the database level with the log; returns itself."""
        self.position = self._database.advance(log)
        row = self._reader.server()
        self.server = ServerState(row.main_domain, row.tables)
        return self

    # Questions.

    @property
    def main_domain(self) -> str:
        chosen = self.server.main_domain
        return chosen if chosen in self.domains else self._reader.first_domain()

    def accounts_of(self, domain: str) -> list[AccountState]:
        return list(self._reader.accounts(domain))

    def objects_of(self, kind: ObjectKind, domain: str = "") -> list[ObjectState]:
        return list(self._reader.objects(kind, domain or None))

    def contents(self, domain: str) -> Mapping[str, int]:
        counted = self._reader.object_counts(domain)
        return {
            "account": self._reader.accounts_in(domain),
            **{prefix: counted.get(kind, 0) for kind, prefix in STREAM_PREFIX.items()},
        }

    def domain_of(self, name: str) -> str:
        return self._reader.domain_of(name)

    def account_of(self, name: str, domain: str) -> str:
        if self._reader.account(name, domain) is not None:
            return f"{name}@{domain}"
        account = self._reader.alias(name, domain)
        return f"{account}@{domain}" if account else ""

    def holder(self, name: str, domain: str, but: str = "") -> str:
        found = self._reader.named(name, domain)
        address = f"{name}@{domain}"
        if found is not None and not isinstance(found, ObjectState):
            return f"the account {address}"
        account = self._reader.alias(name, domain)
        if account and f"{account}@{domain}" != but:
            return f"an alias of the account {account}@{domain}"
        if isinstance(found, ObjectState) and found.kind is not None:
            return f"the {found.kind.value} {address}"
        return ""

    def telnum_holder(self, number: str) -> str:
        return self._reader.telnum(digits_of(number))

    def owned_by(self, address: str) -> Iterator[ObjectState]:
        name, _, domain = address.partition("@")
        return (
            found
            for kind in _OWNED
            for found in self._reader.objects(kind, domain)
            if found.owner == name
        )

    def aliases(self, domain: str = "") -> Iterator[tuple[str, str, str]]:
        return self._reader.aliases(domain or None)

    def telnums(self) -> Iterator[tuple[str, str]]:
        return self._reader.telnums()

    def domain_sizes(self) -> Iterator[tuple[DomainState, int]]:
        for name, row, accounts in self._reader.domains():
            yield DomainState(name, row.aliases), accounts


class _Domains(Mapping[str, DomainState]):
    """By name, in order of creation."""

    def __init__(self, reader: ConfigReader) -> None:
        self._reader = reader

    def __getitem__(self, name: str) -> DomainState:
        row = self._reader.domain(name)
        if row is None:
            raise KeyError(name)
        return DomainState(name, row.aliases)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _, _ in self._reader.domains())

    def __len__(self) -> int:
        return self._reader.counts().domains


class _Accounts(Mapping[str, AccountState]):
    """By address, in order of creation."""

    def __init__(self, reader: ConfigReader) -> None:
        self._reader = reader

    def __getitem__(self, address: str) -> AccountState:
        name, _, domain = address.partition("@")
        row = self._reader.account(name, domain)
        if row is None:
            raise KeyError(address)
        return row.state(name, domain)

    def __iter__(self) -> Iterator[str]:
        return (state.address for state in self._reader.accounts())

    def __len__(self) -> int:
        return self._reader.counts().accounts


class _Objects(Mapping[str, ObjectState]):
    """By stream."""

    def __init__(self, reader: ConfigReader) -> None:
        self._reader = reader

    def __getitem__(self, stream: str) -> ObjectState:
        prefix, _, address = stream.partition("/")
        name, _, domain = address.partition("@")
        kind = KIND_OF_PREFIX.get(prefix)
        found = None if kind is None else self._reader.other(kind, name, domain)
        if found is None:
            raise KeyError(stream)
        return found

    def __iter__(self) -> Iterator[str]:
        for state in self._reader.objects():
            assert state.kind is not None
            yield f"{STREAM_PREFIX[state.kind]}/{state.address}"

    def __len__(self) -> int:
        return sum(1 for _ in self)
