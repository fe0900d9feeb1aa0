"""All that exists: domains, accounts, groups and the other objects, folded from the configuration.

Used by ``pbx.commands`` for the rules that span streams (a name belongs to one object) and by the
listings. :meth:`Inventory.refresh` reads only what was appended since. This one is in memory, for
small logs and for tests; over files of any size ``pbx.configdb`` answers the same questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

from pbx.domain import accounts, objects, server
from pbx.domain.accounts import AccountState, DomainState
from pbx.domain.objects import KIND_OF_PREFIX, STREAM_PREFIX, ObjectState
from pbx.domain.server import ServerState
from pbx.eventlog import START, EventLog, Position, Record
from pbx.router import ObjectKind

S = TypeVar("S")

_DIGITS: Final = str.maketrans("", "", "+")


@dataclass(slots=True)
class Inventory:
    """See the module; tables in order of creation, by name or address."""

    domains: Mapping[str, DomainState] = field(default_factory=dict)
    accounts: Mapping[str, AccountState] = field(default_factory=dict)
    objects: Mapping[str, ObjectState] = field(default_factory=dict)
    """Groups, forwarders, lists and tasks by stream name: one address has one kind."""
    server: ServerState = server.NO_SERVER
    position: Position = START
    """What was read up to."""
    _aliases: dict[str, str] = field(default_factory=dict)
    """``alias@domain`` -> address of the account."""
    _telnums: dict[str, str] = field(default_factory=dict)
    """Digits -> address of the account."""

    def refresh(self, log: EventLog) -> Inventory:
        """Take up what was appended meanwhile; returns itself."""
        for record in log.read(self.position, category=accounts.CONFIG):
            self.apply(record)
        return self

    def apply(self, record: Record) -> None:
        """Fold one record."""
        self.position = max(self.position, record.position)
        kind, _, name = record.stream.partition("/")
        if kind == "account":
            self._account(name, record)
        elif kind == "domain":
            domain = accounts.evolve_domain(
                self.domains.get(name, accounts.NO_DOMAIN), record.event
            )
            _keep(self.domains, name, domain, domain.exists)
        elif kind in KIND_OF_PREFIX:
            state = self.objects.get(record.stream, objects.NO_OBJECT)
            made = objects.evolve_object(state, record.event)
            _keep(self.objects, record.stream, made, made.exists)
        elif record.stream == server.STREAM:
            self.server = server.evolve_server(self.server, record.event)

    def _account(self, name: str, record: Record) -> None:
        before = self.accounts.get(name, accounts.NO_ACCOUNT)
        after = accounts.evolve_account(before, record.event)
        _keep(self.accounts, name, after, after.exists)
        if before.aliases != after.aliases:
            domain = name.partition("@")[2]
            for alias in before.aliases:
                self._aliases.pop(f"{alias}@{domain}", None)
            self._aliases.update((f"{alias}@{domain}", name) for alias in after.aliases)
        if before.telnums != after.telnums:
            for number in before.telnums:
                self._telnums.pop(digits_of(number), None)
            self._telnums.update((digits_of(number), name) for number in after.telnums)

    # Questions.

    @property
    def main_domain(self) -> str:
        """The domain of addresses without one; empty if there is no domain."""
        chosen = self.server.main_domain
        return chosen if chosen in self.domains else next(iter(self.domains), "")

    def accounts_of(self, domain: str) -> list[AccountState]:
        """Accounts of one domain."""
        return [account for account in self.accounts.values() if account.domain == domain]

    def objects_of(self, kind: ObjectKind, domain: str = "") -> list[ObjectState]:
        """Objects of a kind, of one domain or of all."""
        return [
            found
            for found in self.objects.values()
            if found.kind is kind and (not domain or found.domain == domain)
        ]

    def contents(self, domain: str) -> Mapping[str, int]:
        """How many objects of each kind a domain has, by the word of their command."""
        return {
            "account": len(self.accounts_of(domain)),
            **{
                prefix: len(self.objects_of(kind, domain)) for kind, prefix in STREAM_PREFIX.items()
            },
        }

    def domain_of(self, name: str) -> str:
        """The domain that a name or an alias of it means, empty if there is none."""
        if name in self.domains:
            return name
        return next((domain.name for domain in self.domains.values() if name in domain.aliases), "")

    def account_of(self, name: str, domain: str) -> str:
        """Address of the account that a name or alias in a domain means, empty if none does."""
        address = f"{name}@{domain}"
        return address if address in self.accounts else self._aliases.get(address, "")

    def holder(self, name: str, domain: str, but: str = "") -> str:
        """What has a name in a domain, in words; empty if it is free.

        `but` is the address of an account whose own aliases do not count.
        """
        address = f"{name}@{domain}"
        if address in self.accounts:
            return f"the account {address}"
        alias_of = self._aliases.get(address, "")
        if alias_of and alias_of != but:
            return f"an alias of the account {alias_of}"
        for kind, prefix in STREAM_PREFIX.items():
            if f"{prefix}/{address}" in self.objects:
                return f"the {kind.value} {address}"
        return ""

    def telnum_holder(self, number: str) -> str:
        """Address of the account that a number is assigned to, empty if it is free."""
        return self._telnums.get(digits_of(number), "")

    def aliases(self, domain: str = "") -> Iterator[tuple[str, str, str]]:
        """Every alias, of one domain or of all, its domain and the name of its account."""
        for account in self.accounts_of(domain) if domain else self.accounts.values():
            yield from ((alias, account.domain, account.name) for alias in account.aliases)

    def telnums(self) -> Iterator[tuple[str, str]]:
        """Every telephone number and the address of its account."""
        for account in self.accounts.values():
            yield from ((number, account.address) for number in account.telnums)

    def domain_sizes(self) -> Iterator[tuple[DomainState, int]]:
        """Every domain and how many accounts it has."""
        for domain in self.domains.values():
            yield domain, len(self.accounts_of(domain.name))

    def owned_by(self, address: str) -> Iterator[ObjectState]:
        """Mailing lists and named tasks of an account."""
        name, _, domain = address.partition("@")
        return (
            found
            for found in self.objects.values()
            if (found.owner, found.domain) == (name, domain)
        )


def digits_of(number: str) -> str:
    """What makes two telephone numbers the same one: ``+74951234567`` is ``74951234567``."""
    return number.translate(_DIGITS)


def inventory(log: EventLog) -> Inventory:
    """Read the configuration of the log: exact as of now, server running or not."""
    return Inventory().refresh(log)


def _keep(kept: Mapping[str, S], name: str, state: S, exists: bool) -> None:
    table = cast("dict[str, S]", kept)
    if exists:
        table[name] = state
    else:
        table.pop(name, None)
