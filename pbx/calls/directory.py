"""What exists, in memory: domains, accounts and the other objects, folded from the configuration.

For tests, the simulator and what looks at a configuration of the past; a server looks things up in
a file (:mod:`.stored_directory`), which gives the same answers. Fed record by record (the log's
configuration at start, then its tail, in order); asked by authentication, routing and the registrar
on the call path. It is the router's :class:`~pbx.router.state.RoutingState`: every question is a
look-up in one dictionary. All names of a domain are keys of one table, aliases beside the account
they mean, so an alias costs its key. Router tables are compiled when they are first needed after a
change. Holds no secret in clear: digest HA1 values only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from typing import Final

from pbx.calls.account_limits import UNSET, LimitBook
from pbx.configdb.rows import changed_calls_limit
from pbx.domain import accounts as config
from pbx.domain import objects
from pbx.domain.accounts import UNLIMITED
from pbx.domain.rules import DomainLimitsSet
from pbx.domain.server import TABLES, MainDomainSet, RouterTableSet
from pbx.domain.setting_events import (
    SETTINGS,
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
)
from pbx.eventlog import Record
from pbx.kernel.events import Event
from pbx.router import (
    NO_TABLES,
    REJECTED,
    CompiledTables,
    Forwarder,
    Group,
    Kind,
    MailingList,
    NamedObject,
    NamedTask,
    ObjectKind,
    Unknown,
    UnknownPolicy,
)
from pbx.router.e164 import NumberingPlan, numbering_plan
from pbx.router.table import usable_table

_ACCOUNT_DEFAULTS: Final = "account-defaults"
_PLAN_KEYS: Final = frozenset({"PSTNAreaCode", "PSTNNationalPrefix", "PSTNInternationalPrefix"})
_DOMAIN_DEFAULTS: Final = "domain-defaults"
"""Section of the server's settings for domains without a value of their own."""
#: Settings of a domain that the Router goes by: action, address, address when none is given.
_UNKNOWN_KEYS: Final = {
    Kind.MAIL: ("MailToUnknown", "MailRerouteAddress", "spamtrap"),
    Kind.SIGNAL: ("SignalToUnknown", "SignalRerouteAddress", "pbx"),
    Kind.ACCESS: ("AccessToUnknown", "AccessRerouteAddress", "error"),
}
_CONSULT: Final = "ExternalOnUnknown"
_ROUTING_KEYS: Final = frozenset(
    {_CONSULT, *(key for keys in _UNKNOWN_KEYS.values() for key in keys[:2])}
)
NO_SECRETS: Final[Mapping[str, tuple[str, str]]] = {}
_ACTIONS: Final = {action.value.lower(): action for action in Unknown}


class SecretPending(Exception):
    """The secrets of an account are being opened somewhere else: whoever needs them comes again."""


class Account:
    """What the call path needs of one account."""

    __slots__ = (
        "_limits", "alias_ha1", "aliases", "display_name", "domain", "ha1_md5", "ha1_sha256",
        "name", "telnums",
    )  # fmt: skip

    object_kind: Final = ObjectKind.ACCOUNT

    def __init__(
        self, name: str, domain: str, display_name: str = "", limits: LimitBook | None = None
    ) -> None:
        self.name = name
        self.domain = domain
        self.display_name = display_name
        self.ha1_md5 = ""
        self.ha1_sha256 = ""
        self.alias_ha1: Mapping[str, tuple[str, str]] = NO_SECRETS
        """MD5 and SHA-256 digests for log-ins by an alias, where there are some."""
        self.aliases: tuple[str, ...] = ()
        self.telnums: tuple[str, ...] = ()
        self._limits = limits

    @property
    def calls_limit(self) -> int:
        """Calls at once, of the account's own settings, its class, its domain or the server's;
        -1: none of them says."""
        return UNSET if self._limits is None else self._limits.calls(self.name, self.domain)

    @property
    def max_contacts(self) -> int:
        """Phones at once, as `calls_limit`."""
        return UNSET if self._limits is None else self._limits.contacts(self.name, self.domain)

    @property
    def address(self) -> str:
        """``name@domain``, the address of record without its scheme."""
        return f"{self.name}@{self.domain}"

    def secret(self, login: str, algorithm: str) -> str:
        """HA1 for a log-in by this user name (with or without a domain), empty if there is none.

        Raises :class:`SecretPending`.
        """
        user = login.replace("%", "@", 1).partition("@")[0].lower()
        if user == self.name:
            return self.ha1_md5 if algorithm == "MD5" else self.ha1_sha256
        md5, sha256 = self.alias_ha1.get(user, ("", ""))
        return md5 if algorithm == "MD5" else sha256


class Directory:
    """See the module. Names are case-insensitive (kept lower case)."""

    def __init__(self) -> None:
        self._domains: dict[str, str] = {}
        """Domain name or alias -> domain name, in order of creation."""
        self._names: dict[str, NamedObject] = {}
        """``name@domain`` of every object, and of every alias -> its account."""
        self._telnums: dict[str, Account] = {}
        """Digits of a telephone number, world-wide ones where the plan can place it -> the account
        it is assigned to."""
        self._plan_settings: dict[str, str] = {}
        self._plan: NumberingPlan | None = None
        """How numbers are written at this server; None if nobody said."""
        self._accounts = 0
        self._own_hosts: frozenset[str] = frozenset()
        self._limits = LimitBook()
        self._chosen_main = ""
        self.main_domain = ""
        """The domain of addresses without one: as chosen, else the first; '' if there is none."""
        self._texts: dict[str, str] = {}
        self._tables: CompiledTables | None = NO_TABLES
        self._settings: dict[str, dict[str, str]] = {}
        """Routing settings of the domains that have some; of the server under ''."""
        self._policies: dict[tuple[str, Kind], UnknownPolicy] = {}
        """What they come to; filled when asked, no larger than the domains with settings."""
        self._calls_limits: dict[str, int] = {}
        """Of domains that state one."""
        self._calls_default = UNLIMITED

    def set_own_hosts(self, hosts: frozenset[str]) -> None:
        """Addresses of this server: as a domain part they mean the main domain."""
        self._own_hosts = hosts

    @property
    def settings(self) -> LimitBook:
        """What accounts may, by the settings of all levels."""
        return self._limits

    # The router's questions.

    @property
    def tables(self) -> CompiledTables:
        """The Router tables, compiled."""
        if self._tables is None:
            texts = [(name, self._texts[name]) for name in TABLES if name in self._texts]
            self._tables = CompiledTables(usable_table(text, name) for name, text in texts)
        return self._tables

    def with_table(self, text: str, table: str) -> Directory:
        """The same configuration with another Router table, for as long as neither changes."""
        other = copy(self)
        other._texts = {**self._texts, table: text}
        other._tables = None
        return other

    def local_domain(self, host: str) -> str:
        """Name of our domain that `host` means, empty if it is not ours."""
        known = self._domains.get(host)
        if known is not None:
            return known
        host = host.lower()
        known = self._domains.get(host)
        if known is not None:
            return known
        return self.main_domain if host in self._own_hosts else ""

    def find(self, name: str, domain: str) -> NamedObject | None:
        """The object of a name or alias in lower case, in a domain by its own name."""
        return self._names.get(f"{name}@{domain}")

    def telnum(self, number: str) -> str:
        """Address of the account that a telephone number is assigned to, or ''."""
        account = self._telnums.get(self._digits(number))
        return "" if account is None else account.address

    def _digits(self, number: str) -> str:
        """``84951234567`` and ``+74951234567`` are one number where 8 is dialled for +7."""
        placed = "" if self._plan is None else self._plan.e164(number)
        return (placed or number).removeprefix("+")

    def unknown(self, domain: str, kind: Kind) -> UnknownPolicy:
        """What a domain does with names it does not know."""
        if not self._settings:
            return REJECTED
        own = self._settings.get(domain)
        key = (domain if own is not None else "", kind)
        policy = self._policies.get(key)
        if policy is None:
            values = {**self._settings.get("", {}), **(own or {})}
            policy = self._policies[key] = self._policy_of(values, kind)
        return policy

    @staticmethod
    def _policy_of(values: Mapping[str, str], kind: Kind) -> UnknownPolicy:
        action_key, address_key, address = _UNKNOWN_KEYS[kind]
        action = _ACTIONS.get(values.get(action_key, "").lower(), Unknown.REJECT)
        consult = values.get(_CONSULT, "").lower() in ("yes", "true", "1")
        return UnknownPolicy(action, values.get(address_key) or address, consult)

    # The other questions of the call path.

    def account(self, user: str, domain: str) -> Account | None:
        """The account of a name or alias; `domain` is as :meth:`local_domain` gave it."""
        found = self._names.get(f"{user.lower()}@{domain}")
        return found if isinstance(found, Account) else None

    def by_address(self, address: str) -> Account | None:
        """The account ``name@domain``."""
        found = self._names.get(address)
        return found if isinstance(found, Account) else None

    def by_login(self, username: str, realm: str) -> Account | None:
        """The account a digest user name means: ``user``, ``user@domain``, ``user%domain``."""
        user, separator, domain = username.replace("%", "@", 1).partition("@")
        if separator:
            local = self.local_domain(domain)
            return self.account(user, local) if local and local == realm else None
        return self.account(user, realm)

    def calls_limit_of(self, domain: str) -> int:
        """Calls at once of a domain; -1 if nobody limits them."""
        return self._calls_limits.get(domain, self._calls_default)

    def prepare(self, user: str, domain: str) -> None:
        """Somebody is about to log in."""

    def delays(self, address: str) -> bool:
        """Whether a login in this name, which nobody has, is answered as if its secrets were
        pending."""
        return False

    def statistics(self) -> dict[str, int]:
        """Table sizes."""
        return {
            "domains": len(set(self._domains.values())),
            "accounts": self._accounts,
            "names": len(self._names),
        }

    # Changes.

    def take(self, record: Record) -> None:
        """Take up a record of the configuration."""
        self.apply(record.stream, record.event)

    def apply(self, stream: str, event: Event) -> None:
        """Fold one event of the configuration; what is none of ours is ignored."""
        self._limits.apply(stream, event)
        change = _CHANGES.get(type(event))
        if change is not None:
            change(self, stream, event)  # type: ignore[operator]

    def _domain_created(self, stream: str, event: config.DomainCreated) -> None:
        name = event.name.lower()
        self._domains[name] = name
        self._name_domain(name, event.aliases)

    def _domain_aliases(self, stream: str, event: config.DomainAliasesSet) -> None:
        name = stream.removeprefix("domain/")
        if name in self._domains:
            self._drop_domain_names(name, but=name)
            self._name_domain(name, event.aliases)

    def _name_domain(self, name: str, aliases: tuple[str, ...]) -> None:
        for alias in aliases:
            self._domains.setdefault(alias.lower(), name)
        self._choose_main()

    def _drop_domain_names(self, name: str, but: str = "") -> None:
        self._domains = {
            alias: domain
            for alias, domain in self._domains.items()
            if domain != name or alias == but
        }

    def _domain_deleted(self, stream: str, event: config.DomainDeleted) -> None:
        self._drop_domain_names(event.name.lower())
        self._settings.pop(event.name.lower(), None)
        self._calls_limits.pop(event.name.lower(), None)
        self._policies.clear()
        self._choose_main()

    def _domain_limits(self, stream: str, event: DomainLimitsSet) -> None:
        self._calls_limits[stream.partition("/")[2]] = event.calls_limit

    def _main_domain(self, stream: str, event: MainDomainSet) -> None:
        self._chosen_main = event.name
        self._choose_main()

    def _choose_main(self) -> None:
        chosen = self._domains.get(self._chosen_main, "")
        self.main_domain = chosen or next(iter(self._domains.values()), "")

    def _account_created(self, stream: str, event: config.AccountCreated) -> None:
        domain = event.domain.lower()
        # One string for all accounts of a domain, not one each.
        account = Account(
            event.name.lower(), self._domains.get(domain, domain), event.display_name, self._limits
        )
        if not isinstance(self._names.get(account.address), Account):
            self._accounts += 1
        self._names[account.address] = account

    def _account_deleted(self, stream: str, event: config.AccountDeleted) -> None:
        account = self.by_address(stream.removeprefix("account/"))
        if account is not None:
            self._set_aliases(account, ())
            self._set_telnums(account, ())
            del self._names[account.address]
            self._accounts -= 1

    def _account_changed(self, stream: str, event: Event) -> None:
        account = self.by_address(stream.removeprefix("account/"))
        if account is None:
            return
        match event:
            case config.AccountPasswordSet():
                account.ha1_md5 = event.ha1_md5
                account.ha1_sha256 = event.ha1_sha256
                # Sealed to this reader or erased, it is no object.
                readable = event.alias_ha1.startswith("{")
                account.alias_ha1 = json.loads(event.alias_ha1) if readable else NO_SECRETS
            case AccountSettingsChanged(section="settings"):
                account.display_name = config.changed_text(event, "RealName", account.display_name)
            case config.AccountAliasesSet():
                self._set_aliases(account, event.aliases)
            case config.AccountTelnumsSet():
                self._set_telnums(account, event.telnums)

    def _set_aliases(self, account: Account, aliases: tuple[str, ...]) -> None:
        names, domain = self._names, account.domain
        for alias in account.aliases:
            if names.get(f"{alias}@{domain}") is account:
                del names[f"{alias}@{domain}"]
        account.aliases = aliases
        for alias in aliases:
            # Whoever has the name by itself keeps it, should two commands have raced.
            names.setdefault(f"{alias}@{domain}", account)

    def _set_telnums(self, account: Account, telnums: tuple[str, ...]) -> None:
        for number in account.telnums:
            digits = self._digits(number)
            if self._telnums.get(digits) is account:
                del self._telnums[digits]
        account.telnums = telnums
        for number in telnums:
            self._telnums[self._digits(number)] = account

    def _plan_changed(self, event: ServerSettingsChanged) -> None:
        """The defaults of all accounts say where the server is."""
        changed = {key: event.values[key] for key in _PLAN_KEYS if key in event.values}
        touched = _PLAN_KEYS.intersection(event.removed).union(changed)
        if not touched:
            return
        kept = {key: text for key, text in self._plan_settings.items() if key not in touched}
        kept.update({key: text for key, text in changed.items() if isinstance(text, str)})
        self._plan_settings = kept
        self._plan = None
        if "PSTNAreaCode" in kept:
            try:
                self._plan = numbering_plan(
                    kept["PSTNAreaCode"],
                    kept.get("PSTNNationalPrefix"),
                    kept.get("PSTNInternationalPrefix"),
                )
            except ValueError:
                self._plan = None  # for gateways by name, or of before forms were looked at
        holders = dict.fromkeys(self._telnums.values())
        self._telnums = {}
        for account in holders:
            for number in account.telnums:
                self._telnums.setdefault(self._digits(number), account)

    def _object_changed(self, stream: str, event: Event) -> None:
        address = stream.partition("/")[2]
        name = address.partition("@")[0]
        held = self._names.get(address)
        made: NamedObject
        match event:
            case objects.GroupCreated():
                made = Group(name)
            case objects.GroupSet() if isinstance(held, Group):
                made = Group(
                    name,
                    event.members,
                    mail="EmailDisabled" not in event.options,
                    signal="SignalDisabled" not in event.options,
                )
            case objects.ForwarderCreated():
                made = Forwarder(name, event.target)
            case objects.ForwarderSet() if isinstance(held, Forwarder):
                made = Forwarder(name, event.target)
            case objects.ListCreated():
                made = MailingList(name)
            case objects.TaskCreated():
                made = NamedTask(name, event.owner, event.program)
            case objects.TaskSet() if isinstance(held, NamedTask):
                made = NamedTask(name, event.owner, event.program)
            case _:
                return
        if not isinstance(held, Account) or held.address != address:
            self._names[address] = made

    def _object_deleted(self, stream: str, event: Event) -> None:
        prefix, _, address = stream.partition("/")
        held = self._names.get(address)
        if held is not None and held.object_kind is objects.KIND_OF_PREFIX.get(prefix):
            del self._names[address]

    def _table(self, stream: str, event: RouterTableSet) -> None:
        self._texts[event.table] = event.text
        self._tables = None

    def _settings_changed(
        self, stream: str, event: DomainSettingsChanged | ServerSettingsChanged
    ) -> None:
        if isinstance(event, DomainSettingsChanged):
            section, name = SETTINGS, stream.removeprefix("domain/")
        else:
            section, name = _DOMAIN_DEFAULTS, ""
            if event.section == _ACCOUNT_DEFAULTS:
                self._plan_changed(event)
        if event.section != section:
            return
        if name:
            limit = changed_calls_limit(self._calls_limits.get(name), event, None)
            if limit is None:
                self._calls_limits.pop(name, None)
            else:
                self._calls_limits[name] = limit
        else:
            self._calls_default = changed_calls_limit(self._calls_default, event, UNLIMITED)
        held = self._settings.get(name, {})
        values = {key: value for key, value in held.items() if key not in event.removed}
        for key in _ROUTING_KEYS.intersection(event.values):
            values[key] = str(event.values[key])
        self._policies.clear()
        if values:
            self._settings[name] = values
        else:
            self._settings.pop(name, None)


_CHANGES: Final = {
    config.DomainCreated: Directory._domain_created,
    config.DomainAliasesSet: Directory._domain_aliases,
    config.DomainDeleted: Directory._domain_deleted,
    DomainLimitsSet: Directory._domain_limits,
    config.AccountCreated: Directory._account_created,
    config.AccountPasswordSet: Directory._account_changed,
    AccountSettingsChanged: Directory._account_changed,
    config.AccountAliasesSet: Directory._account_changed,
    config.AccountTelnumsSet: Directory._account_changed,
    config.AccountDeleted: Directory._account_deleted,
    MainDomainSet: Directory._main_domain,
    RouterTableSet: Directory._table,
    DomainSettingsChanged: Directory._settings_changed,
    ServerSettingsChanged: Directory._settings_changed,
    objects.GroupCreated: Directory._object_changed,
    objects.GroupSet: Directory._object_changed,
    objects.GroupDeleted: Directory._object_deleted,
    objects.ForwarderCreated: Directory._object_changed,
    objects.ForwarderSet: Directory._object_changed,
    objects.ForwarderDeleted: Directory._object_deleted,
    objects.ListCreated: Directory._object_changed,
    objects.ListDeleted: Directory._object_deleted,
    objects.TaskCreated: Directory._object_changed,
    objects.TaskSet: Directory._object_changed,
    objects.TaskDeleted: Directory._object_deleted,
}
