"""What exists, as the command protocol sees it: names in memory, settings on demand.

Folded from the configuration of the log and brought level before every command, so that a command
sees what the one before it wrote, whoever gave that. In memory are the names of all objects and the
dictionaries of domains and of the server; those of an account are read when it is asked for. An
account costs about 100 bytes here, a domain without settings of its own about 1 KB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pbx.calls.directory import Directory
from pbx.commands import ACCOUNT, load
from pbx.data import Value
from pbx.domain import accounts, blacklist
from pbx.domain import configuration as conf
from pbx.domain.accounts import AccountState
from pbx.domain.blacklist import Blacklist
from pbx.domain.configuration import Configuration
from pbx.eventlog import START, EventLog, Record
from pbx.inventory import Inventory
from pbx.objects import effective
from pbx.settings_changes import Target, read

_OF_ACCOUNTS: Final = frozenset({"account.created.v1", "account.deleted.v1"})
"""The only events of accounts that are looked at: the others are many, and partly sealed."""


@dataclass(slots=True)
class DomainEntry:
    """A domain that exists."""

    name: str
    aliases: tuple[str, ...] = ()
    accounts: dict[str, None] = field(default_factory=dict)
    """Names, in order of creation."""
    configuration: Configuration = conf.NO_CONFIGURATION


class World:
    """See the module. Not safe for threads: its owner serialises."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.domains: dict[str, DomainEntry] = {}
        self.server: Configuration = conf.SERVER_CONFIGURATION
        self.blacklist: Blacklist = blacklist.EMPTY
        self.inventory = Inventory()
        """Names of all kinds, aliases and telephone numbers."""
        self.directory = Directory()
        """The same as the Router asks for it."""
        self._position = START

    def catch_up(self) -> None:
        """Fold what was appended since the last time."""
        head = self.log.head()
        if head == self._position:
            return
        for record in self.log.read(self._position, category=accounts.CONFIG):
            self._apply(record)
            head = max(head, record.position)
        self._position = head

    def _apply(self, record: Record) -> None:
        self.inventory.apply(record)
        self.directory.apply(record.stream, record.event)
        kind, _, name = record.stream.partition("/")
        if kind == "account":
            if record.type in _OF_ACCOUNTS:
                self._apply_account(name, record.type == "account.created.v1")
        elif kind == "domain":
            self._apply_domain(name, record)
        elif record.stream == conf.SERVER:
            self.server = conf.evolve_configuration(self.server, record.event)
        elif record.stream == blacklist.STREAM:
            self.blacklist = blacklist.evolve_blacklist(self.blacklist, record.event)

    def _apply_account(self, address: str, exists: bool) -> None:
        name, _, domain = address.partition("@")
        entry = self.domains.get(domain)
        if entry is None:
            return  # an account that lost the race with the end of its domain
        if exists:
            entry.accounts[name] = None
        else:
            entry.accounts.pop(name, None)

    def _apply_domain(self, name: str, record: Record) -> None:
        event = record.event
        match event:
            case accounts.DomainCreated():
                self.domains[name] = DomainEntry(name, event.aliases)
            case accounts.DomainAliasesSet() if name in self.domains:
                self.domains[name].aliases = event.aliases
            case accounts.DomainDeleted():
                self.domains.pop(name, None)
        entry = self.domains.get(name)
        if entry is not None:
            entry.configuration = conf.evolve_configuration(entry.configuration, event)

    # ------------------------------------------------------------------------------ questions

    @property
    def main_domain(self) -> str:
        """The domain of names without one; empty if there is none."""
        return self.inventory.main_domain

    def domain(self, name: str) -> DomainEntry | None:
        """A domain by its name or by an alias."""
        found = self.inventory.domain_of(name.strip().lower().removesuffix("."))
        return self.domains.get(found)

    def account_exists(self, name: str, domain: str) -> bool:
        entry = self.domains.get(domain)
        return entry is not None and name in entry.accounts

    def account_state(self, address: str) -> AccountState:
        return load(self.log, ACCOUNT, f"account/{address}")

    def account_configuration(self, address: str) -> Configuration:
        return read(self.log, Target("account", address))[0]

    # ----------------------------------------------------------------------- effective values

    def account_levels(self, domain: str) -> tuple[Mapping[str, Value], Mapping[str, Value]]:
        """The account defaults of a domain and of the server."""
        entry = self.domains.get(domain)
        section = {} if entry is None else entry.configuration.section(conf.ACCOUNT_DEFAULTS)
        return section, self.server.section(conf.ACCOUNT_DEFAULTS)

    def account_setting(self, key: str, domain: str, configuration: Configuration) -> object:
        """What `key` is for an account with this configuration, typed."""
        own = configuration.section(conf.SETTINGS)
        return effective.account_setting(key, own, *self.account_levels(domain))

    def domain_setting(self, key: str, entry: DomainEntry) -> object:
        """What `key` is for a domain, typed."""
        own = entry.configuration.section(conf.SETTINGS)
        return effective.domain_setting(key, own, self.server.section(conf.DOMAIN_DEFAULTS))

    def admin_domain_of(self, domain: str) -> str:
        """The domain whose administrators may administer `domain` too; empty if there is none."""
        entry = self.domains.get(domain)
        if entry is None:
            return ""
        named = self.domain_setting("AdminDomainName", entry)
        other = self.domain(named) if isinstance(named, str) and named else None
        return "" if other is None else other.name
