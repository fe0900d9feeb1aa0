"""What exists, as the command protocol sees it: looked up when a command asks.

Over the configuration database (:mod:`pbx.configdb`), which is brought level with the log before
every command, so that a command sees what the one before it wrote, whoever gave that. In memory are
the dictionaries of the server and the list of refused addresses; those of domains and accounts are
read when they are asked for. What a million accounts cost here is their file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from pbx.calls.stored_directory import StoredDirectory
from pbx.commands import ACCOUNT, load
from pbx.configdb import ConfigDb, ConfigReader, DomainRow, StoredInventory
from pbx.data import Value, from_json
from pbx.domain import blacklist
from pbx.domain import configuration as conf
from pbx.domain.accounts import AccountState
from pbx.domain.blacklist import Blacklist
from pbx.domain.configuration import Configuration
from pbx.eventlog import START, EventLog, Record
from pbx.objects import effective
from pbx.settings_changes import Target, read

_CACHED: Final = 1_000
"""Names the Router of the command ``ROUTE`` remembers between two changes."""


class _Names(Collection[str]):
    """Names of the accounts of a domain, in their order."""

    __slots__ = ("_domain", "_reader")

    def __init__(self, reader: ConfigReader, domain: str) -> None:
        self._reader = reader
        self._domain = domain

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._reader.account(name, self._domain) is not None

    def __iter__(self) -> Iterator[str]:
        return self._reader.account_names(self._domain)

    def __len__(self) -> int:
        return self._reader.accounts_in(self._domain)


class DomainEntry:
    """A domain that exists."""

    __slots__ = ("_configuration", "_log", "accounts", "aliases", "kept", "name")

    def __init__(self, name: str, row: DomainRow, reader: ConfigReader, log: EventLog) -> None:
        self.name = name
        self.aliases = row.aliases
        self.accounts: Collection[str] = _Names(reader, name)
        self.kept = row.settings
        """Settings that can be told without reading the stream (``rows.DOMAIN_KEYS``)."""
        self._log = log
        self._configuration: Configuration | None = None

    @property
    def configuration(self) -> Configuration:
        """Its dictionaries."""
        if self._configuration is None:
            self._configuration = read(self._log, Target("domain", self.name))[0]
        return self._configuration


class _Domains(Mapping[str, DomainEntry]):
    """By name, in order of creation."""

    def __init__(self, reader: ConfigReader, log: EventLog) -> None:
        self._reader = reader
        self._log = log

    def __getitem__(self, name: str) -> DomainEntry:
        row = self._reader.domain(name)
        if row is None:
            raise KeyError(name)
        return DomainEntry(name, row, self._reader, self._log)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _, _ in self._reader.domains())

    def __len__(self) -> int:
        return self._reader.counts().domains


class World:
    """See the module. Not safe for threads: its owner serialises."""

    def __init__(self, log: EventLog, database: ConfigDb | None = None) -> None:
        """`database` is that of the node; without it one in memory is made of the log."""
        self.log = log
        if database is None:
            database = ConfigDb(None, lambda: log.codec)
        self._database = database
        self._reader = database.reader()
        self.domains: Mapping[str, DomainEntry] = _Domains(self._reader, log)
        self.server: Configuration = conf.SERVER_CONFIGURATION
        self.blacklist: Blacklist = blacklist.EMPTY
        self.inventory = StoredInventory(database, self._reader)
        """Names of all kinds, aliases and telephone numbers."""
        self.directory = StoredDirectory(self._reader, log.codec.decode, cached=_CACHED)
        """The same as the Router asks for it."""
        self._position = self._level = START
        """What was looked at, and the last change of the configuration in it."""
        self._versions = dict.fromkeys((conf.SERVER, blacklist.STREAM), 0)
        self._client_lists: list[object] | None = None

    def close(self) -> None:
        """Release the file."""
        self._reader.close()

    def catch_up(self) -> None:
        """Take up what was appended since the last time."""
        if self.log.head() == self._position:
            return
        self._position = self._database.advance(self.log)
        level = self._database.level.position
        if level != self._level:
            self._level = level
            self._changed()

    def _changed(self) -> None:
        """The configuration is another one."""
        self.inventory.refresh(self.log)
        self.directory.forget_all()
        self._client_lists = None
        for record in self._news(conf.SERVER):
            self.server = conf.evolve_configuration(self.server, record.event)
        for record in self._news(blacklist.STREAM):
            self.blacklist = blacklist.evolve_blacklist(self.blacklist, record.event)

    def _news(self, stream: str) -> Iterator[Record]:
        for record in self.log.read_stream(stream, self._versions[stream]):
            yield record
            self._versions[stream] = record.version

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
        return domain in self.domains and self._reader.account(name, domain) is not None

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
        named = self._kept_setting("AdminDomainName", entry.kept)
        other = self.domain(named) if isinstance(named, str) and named else None
        return "" if other is None else other.name

    def administered_by(self, domain: str) -> list[str]:
        """Other domains whose administrators are those of this one."""
        found = []
        known: dict[object, str] = {}
        for name, row, _ in self._reader.domains():
            named = self._kept_setting("AdminDomainName", row.settings)
            if name == domain or not isinstance(named, str) or not named:
                continue
            if named not in known:
                other = self.domain(named)
                known[named] = "" if other is None else other.name
            if known[named] == domain:
                found.append(name)
        return found

    def client_lists(self) -> list[object]:
        """The setting ``ClientIPs`` of all domains, each list once."""
        if self._client_lists is None:
            stated = {
                repr(row.settings.get("ClientIPs")): row for _, row, _ in self._reader.domains()
            }
            self._client_lists = [
                self._kept_setting("ClientIPs", row.settings) for row in stated.values()
            ]
        return self._client_lists

    def _kept_setting(self, key: str, kept: Mapping[str, object]) -> object:
        own = {key: from_json(kept[key])} if key in kept else {}
        return effective.domain_setting(key, own, self.server.section(conf.DOMAIN_DEFAULTS))
