"""The directory and the rulebook of a server of any size: looked up, cached, told of changes.

:class:`StoredDirectory` answers what :class:`~pbx.calls.directory.Directory` answers, over a source
(the configuration database of the node, :mod:`pbx.configdb`) instead of everything in memory. What
was looked up is kept in a cache with a bound; a record of the configuration
(:meth:`StoredDirectory.take`) makes the cache forget what it is about, once the source has it. An
answer is therefore never older than the last record that was taken.

What is remembered of an alias, of a telephone number and of another name of a domain is only where
it led: whether it still does says the account, or domain, that is found there. So a change needs to
name what it touches, not what that was called before.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

from pbx.calls.account_limits import UNSET, LimitBook
from pbx.calls.directory import NO_SECRETS, Account, Directory, SecretPending
from pbx.calls.rulebook import Rulebook
from pbx.configdb.reader import Counts
from pbx.configdb.rows import AccountRow, DomainRow, ServerRow
from pbx.data import Value, from_json
from pbx.domain.accounts import (
    AccountAliasesSet,
    AccountPasswordSet,
    AccountTelnumsSet,
    DomainAliasesSet,
    DomainCreated,
)
from pbx.domain.objects import KIND_OF_PREFIX, ObjectState
from pbx.domain.rules import DatasetEntryAdded, evolve_datasets, restored
from pbx.domain.server import STREAM as SERVER_STREAM
from pbx.domain.server import TABLES
from pbx.eventlog import Record
from pbx.kernel.events import Event
from pbx.objects import effective
from pbx.router import (
    REJECTED,
    CompiledTables,
    Forwarder,
    Group,
    Kind,
    MailingList,
    NamedObject,
    NamedTask,
    ObjectKind,
    UnknownPolicy,
)
from pbx.router.table import usable_table
from pbx.rules import Entries, Level, Rules, compile_rules

V = TypeVar("V")

CACHED: Final = 50_000
"""Names in the cache, some 100 MB with their secrets: the accounts that telephone, not all there
are."""
_MISSING: Final = object()
_NAMING: Final = frozenset({"account.aliases-set.v1", "account.telnums-set.v1"})
"""Events of an account that say by which other names it is found."""
# Nearly all accounts and domains state nothing: they share these.
_NO_LEVEL: Final[dict[str, Value]] = {}
_NOTHING: Final[dict[str, str]] = {}
_NO_DATASETS: Final[Mapping[str, Mapping[str, str]]] = {}

AskPassword = Callable[[str, str, bytes, Callable[[Event | None], None]], None]
"""The same, answered later, with None if it cannot be opened now."""
_DELAYED: Final = 10_000
"""Names that nobody has of which it is remembered that somebody tried them."""

Levels = tuple[dict[str, Value], dict[str, Value], dict[str, Value]]
OpenPassword = Callable[[str, str, bytes], Event]
"""Stream, type and data of a record to its event, its secrets opened; :meth:`Codec.decode` is
one."""


class ConfigSource(Protocol):
    """Where things are looked up (:class:`pbx.configdb.reader.ConfigReader`)."""

    def account(self, name: str, domain: str) -> AccountRow | None: ...
    def named(self, name: str, domain: str) -> AccountRow | ObjectState | None: ...
    def alias(self, alias: str, domain: str) -> str: ...
    def telnum(self, digits: str) -> str: ...
    def domain_of(self, host: str) -> str: ...
    def domain(self, name: str) -> DomainRow | None: ...
    def first_domain(self) -> str: ...
    def server(self) -> ServerRow: ...
    def counts(self) -> Counts: ...


class Bounded(OrderedDict[str, V]):
    """The entries that were used last, no more than `bound`."""

    def __init__(self, bound: int) -> None:
        super().__init__()
        self.bound = bound

    def use(self, key: str) -> Any:
        """The entry, which counts as used now, or :data:`_MISSING`."""
        found = self.get(key, _MISSING)
        if found is not _MISSING:
            self.move_to_end(key)
        return found

    def keep(self, key: str, value: V) -> V:
        """Add an entry."""
        self[key] = value
        if len(self) > self.bound:
            self.popitem(last=False)
        return value


def _level(values: Mapping[str, Any]) -> dict[str, Value]:
    return {key: from_json(value) for key, value in values.items()} if values else _NO_LEVEL


class StoredSettings(LimitBook):
    """Settings of the levels that the directory has."""

    def __init__(self, directory: StoredDirectory) -> None:
        super().__init__()
        self._directory = directory

    def value(self, key: str, account: str) -> Any:
        levels = self._directory.levels_of(account)
        return None if levels is None else effective.stated_account_setting(key, *levels)

    def stated(self, key: str, account: str) -> Value:
        levels = self._directory.levels_of(account)
        return None if levels is None else effective.written_account_setting(key, *levels)

    def _limit(self, key: str, name: str, domain: str) -> int:
        value = self.value(key, f"{name}@{domain}")
        return value if isinstance(value, int) else UNSET


class StoredAccount(Account):
    """An account as it was looked up. Its secrets are opened when they are first asked for."""

    __slots__ = ("_asking", "_directory", "_password", "datasets", "level", "rules")

    def __init__(self, name: str, domain: str, row: AccountRow, directory: StoredDirectory) -> None:
        super().__init__(name, domain, row.display_name, directory.settings)
        self.aliases = row.aliases
        self.telnums = row.telnums
        self.level = _level(row.limits)
        self.rules = row.rules
        self.datasets: Mapping[str, Mapping[str, str]] = row.datasets or _NO_DATASETS
        password = row.password
        if password is not None:  # one name for all of them, not one each
            password = sys.intern(password[0]), password[1]
        self._password = password
        self._asking = False
        self._directory = directory

    def secret(self, login: str, algorithm: str) -> str:
        if self._password is not None:
            self._open()
        return super().secret(login, algorithm)

    def prepare(self) -> None:
        """Have the secrets opened, where that takes long, before they are needed."""
        ask = self._directory.ask_password
        if ask is not None and self._password is not None and not self._asking:
            self._asking = True
            ask(f"account/{self.address}", *self._password, self._opened)

    def _open(self) -> None:
        assert self._password is not None
        if self._directory.ask_password is not None:
            self.prepare()
            raise SecretPending
        type_name, data = self._password
        self._opened(self._directory.open_password(f"account/{self.address}", type_name, data))

    def _opened(self, event: Event | None) -> None:
        self._asking = False
        if event is None:
            return
        self._password = None
        if isinstance(event, AccountPasswordSet):
            self.ha1_md5, self.ha1_sha256 = event.ha1_md5, event.ha1_sha256
            # Sealed to this reader or erased, it is no object.
            readable = event.alias_ha1.startswith("{")
            self.alias_ha1 = json.loads(event.alias_ha1) if readable else NO_SECRETS


class _Domain:
    """A domain as it was looked up."""

    __slots__ = ("aliases", "calls_limit", "entries", "level", "policies", "settings")

    def __init__(self, name: str, row: DomainRow) -> None:
        self.aliases = frozenset(alias.lower() for alias in row.aliases)
        self.settings = (
            {key: str(value) for key, value in row.settings.items()} if row.settings else _NOTHING
        )
        self.level = _level(row.limits)
        self.calls_limit = row.calls_limit
        rules = restored(row.rules)[0]
        self.entries: Entries = compile_rules(Level.DOMAIN, name, rules) if rules else ()
        self.policies: dict[Kind, UnknownPolicy] | None = None


_NO_DOMAIN: Final = _Domain("", DomainRow())


class StoredDirectory(Directory):
    """See the module. `cached` is how many names are kept."""

    def __init__(
        self,
        source: ConfigSource,
        open_password: OpenPassword,
        *,
        ask_password: AskPassword | None = None,
        cached: int = CACHED,
    ) -> None:
        """`ask_password` takes the place of `open_password` where that may take long."""
        super().__init__()
        self._limits = StoredSettings(self)
        self._source = source
        self.ask_password = ask_password
        self._delayed: Bounded[bool] = Bounded(_DELAYED)
        self.open_password = open_password
        self._cache: Bounded[NamedObject | str | None] = Bounded(cached)
        """By ``name@domain``: the object; the name of the account of an alias; None for nothing."""
        self._numbers: Bounded[str] = Bounded(max(1, cached // 4))
        """By digits: the address of the account, or ''."""
        self._hosts: Bounded[str] = Bounded(max(1, cached // 2))
        """By host: the name of the domain it led to, or ''."""
        self._domain_rows: Bounded[_Domain] = Bounded(max(1, cached // 2))
        self._server_level: dict[str, Value] = {}
        self._server_domain = _NO_DOMAIN
        """The server's defaults for domains, as if they were one."""
        self.server_rules: Rules = ()
        self.misses = 0
        """Look-ups that went to the source."""
        self.load()

    def load(self) -> None:
        """Take up the server's own settings; called when they have changed."""
        row = self._source.server()
        self._chosen_main = row.main_domain
        self._set_texts(row.tables)
        self._server_level = _level(row.limits)
        self._calls_default = row.calls_limit
        self._server_domain = _Domain("", DomainRow(settings=row.settings))
        self.server_rules = restored(row.rules)[0]
        self._domain_rows.clear()  # their policies were made with the server's defaults
        self._choose_main()

    def _set_texts(self, texts: Mapping[str, str]) -> None:
        if texts != self._texts:
            self._texts = dict(texts)
            self._tables = CompiledTables(
                usable_table(texts[name], name) for name in TABLES if name in texts
            )

    def _choose_main(self) -> None:
        chosen = self._chosen_main
        known = self._source.domain_of(chosen) if chosen else ""
        self.main_domain = known or self._source.first_domain()

    # The router's questions.

    def local_domain(self, host: str) -> str:
        hosts = self._hosts
        known = hosts.use(host)
        if known is _MISSING or (known and known != host and not self._is_called(known, host)):
            lower = host.lower()
            if lower != host:
                return self.local_domain(lower)
            self.misses += 1
            known = hosts.keep(host, self._source.domain_of(host))
        name: str = known
        if name:
            return name
        return self.main_domain if host in self._own_hosts else ""

    def _is_called(self, domain: str, host: str) -> bool:
        return host in self._domain_of(domain).aliases

    def _domain_of(self, name: str) -> _Domain:
        """What is known of a domain; nothing of one that does not exist."""
        found = self._domain_rows.use(name)
        if found is _MISSING:
            self.misses += 1
            row = self._source.domain(name)
            found = self._domain_rows.keep(name, _NO_DOMAIN if row is None else _Domain(name, row))
        domain: _Domain = found
        return domain

    def find(self, name: str, domain: str) -> NamedObject | None:
        key = f"{name}@{domain}"
        found = self._cache.use(key)
        if found is _MISSING:
            found = self._look_up(name, domain, key)
        if isinstance(found, str):
            account = self._account_of_alias(name, domain, found)
            if account is None:
                self._cache.pop(key, None)  # it led there; where does it lead now?
                found = self._look_up(name, domain, key)
                return self._account_of_alias(name, domain, found) if found is not None else None
            return account
        made: NamedObject | None = found
        return made

    def _account_of_alias(self, alias: str, domain: str, name: object) -> Account | None:
        if not isinstance(name, str):
            return name if isinstance(name, Account) else None
        account = self.find(name, domain)
        if isinstance(account, Account) and alias in account.aliases:
            return account
        return None

    def _look_up(self, name: str, domain: str, key: str) -> NamedObject | str | None:
        self.misses += 1
        row = self._source.named(name, domain)
        made: NamedObject | str | None
        if isinstance(row, AccountRow):
            made = StoredAccount(name, domain, row, self)
        elif row is not None:
            made = _routed(row)
        else:
            made = self._source.alias(name, domain) or None
        return self._cache.keep(key, made)

    def telnum(self, number: str) -> str:
        digits = number.removeprefix("+")
        known = self._numbers.use(digits)
        if known is not _MISSING and known:
            account = self.by_address(known)
            if account is None or all(n.removeprefix("+") != digits for n in account.telnums):
                known = _MISSING
        if known is _MISSING:
            self.misses += 1
            known = self._numbers.keep(digits, self._source.telnum(digits))
        address: str = known
        return address

    def unknown(self, domain: str, kind: Kind) -> UnknownPolicy:
        found = self._domain_of(domain)
        if not found.settings and not self._server_domain.settings:
            return REJECTED
        if found.policies is None:
            values = {**self._server_domain.settings, **found.settings}
            found.policies = {each: self._policy_of(values, each) for each in Kind}
        return found.policies[kind]

    # The other questions of the call path.

    def account(self, user: str, domain: str) -> Account | None:
        found = self.find(user.lower(), domain)
        return found if isinstance(found, Account) else None

    def by_address(self, address: str) -> Account | None:
        known = self._cache.use(address)
        if isinstance(known, Account):
            return known
        name, _, domain = address.partition("@")
        found = self.find(name, domain)
        return found if isinstance(found, Account) else None

    def prepare(self, user: str, domain: str) -> None:
        if self.ask_password is not None and domain:
            account = self.account(user, domain)
            if isinstance(account, StoredAccount):
                account.prepare()

    def delays(self, address: str) -> bool:
        # As with an account: the first time it is not known yet.
        if self.ask_password is None or self._delayed.use(address) is not _MISSING:
            return False
        return self._delayed.keep(address, True)

    def calls_limit_of(self, domain: str) -> int:
        stated = self._domain_of(domain).calls_limit
        return self._calls_default if stated is None else stated

    def entries_of(self, domain: str) -> Entries:
        """Signal Rules of a domain, compiled."""
        return self._domain_of(domain).entries

    def levels_of(self, account: str) -> Levels | None:
        """Settings that an account, its domain and the server state; None if there are none."""
        found = self._cache.use(account)
        if not isinstance(found, StoredAccount):
            found = self.by_address(account)
        known = isinstance(found, StoredAccount) and found.address == account
        own = found.level if known else _NO_LEVEL
        of_domain = self._domain_of(account.partition("@")[2]).level
        if not (own or of_domain or self._server_level):
            return None
        return own, of_domain, self._server_level

    def counts(self) -> Counts:
        """How many there are, read now."""
        return self._source.counts()

    def statistics(self) -> dict[str, int]:
        counts = self.counts()
        return {
            "domains": counts.domains,
            "accounts": counts.accounts,
            "names": len(self._cache),
            "directory_misses": self.misses,
        }

    # Changes.

    def take(self, record: Record) -> None:
        """Forget what a record of the configuration is about; the source has it already."""
        prefix, _, address = record.stream.partition("/")
        if prefix == "account" and record.type not in _NAMING:
            self._cache.pop(address, None)  # what it says, perhaps sealed, is not even opened
        else:
            self.apply(record.stream, record.event)

    def apply(self, stream: str, event: Event) -> None:
        """Forget what an event of the configuration is about; the source has it already."""
        prefix, _, name = stream.partition("/")
        if prefix == "account":
            self._cache.pop(name, None)
            if isinstance(event, AccountAliasesSet):
                domain = name.partition("@")[2]
                for alias in event.aliases:
                    self._cache.pop(f"{alias}@{domain}", None)
            elif isinstance(event, AccountTelnumsSet):
                for number in event.telnums:
                    self._numbers.pop(number.removeprefix("+"), None)
        elif prefix in KIND_OF_PREFIX:
            self._cache.pop(name, None)
        elif prefix == "domain":
            self._domain_rows.pop(name, None)
            self._hosts.pop(name, None)
            if isinstance(event, DomainCreated | DomainAliasesSet):
                for alias in event.aliases:
                    self._hosts.pop(alias.lower(), None)
            self._choose_main()
        elif stream == SERVER_STREAM:
            self.load()

    def forget_all(self) -> None:
        """Forget everything: for who was not told of each change."""
        self._cache.clear()
        self._numbers.clear()
        self._hosts.clear()
        self.load()


class StoredRulebook(Rulebook):
    """The rules that the directory's source has."""

    __slots__ = ("_counts", "_directory")

    def __init__(self, directory: StoredDirectory) -> None:
        super().__init__()
        self._directory = directory
        self._load()

    def _load(self) -> None:
        self._set_server(self._directory.server_rules)
        self._counts = self._directory.counts()

    @property
    def present(self) -> bool:
        counts = self._counts
        return bool(self._server_rules or counts.ruled_accounts or counts.ruled_domains)

    def _entries_of(self, domain: str) -> Entries:
        return self._directory.entries_of(domain)

    def _rules_of(self, address: str) -> Rules:
        account = self._account(address)
        return restored(account.rules)[0] if account is not None and account.rules else ()

    def _datasets_of(self, address: str) -> Mapping[str, Mapping[str, str]]:
        account = self._account(address)
        return {} if account is None else account.datasets

    def _account(self, address: str) -> StoredAccount | None:
        """The account whose own address that is."""
        found = self._directory.by_address(address)
        return found if isinstance(found, StoredAccount) and found.address == address else None

    def apply(self, stream: str, event: Event) -> None:
        """What this node has just observed, before its log has it: an address remembered."""
        account = self._account(stream.partition("/")[2])
        if isinstance(event, DatasetEntryAdded) and account is not None:
            account.datasets = evolve_datasets(account.datasets, event)

    def take(self, record: Record) -> None:
        """Forget what was merged with rules that changed; the directory took the record before."""
        prefix, _, name = record.stream.partition("/")
        if record.type == "rules.changed.v1":
            if prefix == "account":
                self._forget(name)
                self._counts = self._directory.counts()
            else:
                self._merged.clear()
                self._load()
        elif record.type in ("account.deleted.v1", "domain.deleted.v1"):
            if prefix == "account":
                self._forget(name)
            else:
                self._merged.clear()
            if self.present:
                self._counts = self._directory.counts()

    def statistics(self) -> dict[str, int]:
        counts = self._counts
        return {
            "accounts_with_rules": counts.ruled_accounts,
            "domains_with_rules": counts.ruled_domains,
            "rules_unreadable": self.unreadable,
        }


def _routed(state: ObjectState) -> NamedObject | None:
    """A group and its kin as the Router knows them."""
    match state.kind:
        case ObjectKind.GROUP:
            return Group(
                state.name,
                state.members,
                mail="EmailDisabled" not in state.options,
                signal="SignalDisabled" not in state.options,
            )
        case ObjectKind.FORWARDER:
            return Forwarder(state.name, state.target)
        case ObjectKind.LIST:
            return MailingList(state.name)
        case ObjectKind.TASK:
            return NamedTask(state.name, state.owner, state.program)
        case _:
            return None
