"""The rows of the configuration database and how events change them (pure).

A row has what the call path and the commands ask of one object, as of the last event of its stream.
Secrets stay as sealed as they are in the log: a row carries the record of the password, which opens
with the account's key and nowhere else. Texts about persons are in clear, as in the read model, and
go with the account. Fed by :mod:`pbx.configdb.store`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from pbx.data import from_json
from pbx.domain.accounts import (
    AccountAliasesSet,
    AccountCreated,
    AccountLimitsSet,
    AccountState,
    AccountTelnumsSet,
    DomainAliasesSet,
    evolve_account,
)
from pbx.domain.objects import ObjectState
from pbx.domain.rules import (
    DatasetEntryAdded,
    DatasetEntryRemoved,
    DomainLimitsSet,
    RulesChanged,
    StoredRule,
    evolve_datasets,
)
from pbx.domain.server import MainDomainSet, RouterTableSet
from pbx.domain.setting_events import (
    SETTINGS,
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
    SettingsChanged,
)
from pbx.kernel.events import Event
from pbx.objects.forms import UNLIMITED, read_limit

T = TypeVar("T")

ACCOUNT_DEFAULTS: Final = "account-defaults"
DOMAIN_DEFAULTS: Final = "domain-defaults"
CALL_KEYS: Final = frozenset(
    {
        "CallsLimit", "MaxSignalContacts", "CallInpFlow", "CallOutFlow", "CallOutAllowed",
        "CallClasses", "CallerIdNumber", "CallerIdWithheld", "UseExtPassword", "ServiceClass",
        "ServiceClasses",
    }
)  # fmt: skip
"""Settings of accounts that calls depend on, on every level."""
_TRUNK_KEYS: Final = frozenset({"RSIP", "ServiceClass", "ServiceClasses"})
_CALLS_LIMIT: Final = "CallsLimit"
DOMAIN_KEYS: Final = frozenset(
    {
        "ExternalOnUnknown", "MailToUnknown", "MailRerouteAddress", "SignalToUnknown",
        "SignalRerouteAddress", "AccessToUnknown", "AccessRerouteAddress", "AdminDomainName",
        "ClientIPs",
    }
)  # fmt: skip
"""Settings of domains that are asked for without reading the domain's stream."""

PASSWORD_TYPE: Final = "account.password-set.v1"
Datasets = dict[str, dict[str, str]]


class AccountRow(msgspec.Struct, array_like=True):
    """An account. Values of settings are in the JSON form of ``pbx.data``."""

    display_name: str = ""
    password: tuple[str, bytes] | None = None
    """Type and data of the record that set it, sealed."""
    aliases: tuple[str, ...] = ()
    telnums: tuple[str, ...] = ()
    calls_limit: int = -1
    max_contacts: int = 10
    limits: dict[str, Any] = {}
    """Those of :data:`CALL_KEYS` that the account states itself."""
    rules: tuple[StoredRule, ...] = ()
    datasets: Datasets = {}

    def state(self, name: str, domain: str) -> AccountState:
        """As commands know it."""
        return AccountState(
            name,
            domain,
            self.display_name,
            self.password is not None,
            self.calls_limit,
            self.max_contacts,
            self.aliases,
            self.telnums,
        )


class DomainRow(msgspec.Struct, array_like=True):
    """A domain."""

    aliases: tuple[str, ...] = ()
    settings: dict[str, Any] = {}
    """Those of :data:`DOMAIN_KEYS` that it states itself."""
    limits: dict[str, Any] = {}
    """Those of :data:`CALL_KEYS` among its account defaults."""
    rules: tuple[StoredRule, ...] = ()
    calls_limit: int | None = None
    """Calls at once; -1: any number, None: what the server says."""


class ServerRow(msgspec.Struct, array_like=True):
    """The server."""

    main_domain: str = ""
    """As chosen; it may be gone."""
    tables: dict[str, str] = {}
    settings: dict[str, Any] = {}
    """As of a domain, among its domain defaults."""
    limits: dict[str, Any] = {}
    """As of a domain, among its account defaults."""
    rules: tuple[StoredRule, ...] = ()
    calls_limit: int = UNLIMITED
    """Of a domain without a limit of its own."""


def changed_account(row: AccountRow, type_name: str, data: bytes, event: Event | None) -> None:
    """Change `row` as one event of its stream says; `event` is None for a password."""
    if event is None:
        row.password = (type_name, data)
        return
    match event:
        case AccountCreated():
            row.display_name = event.display_name
        case AccountAliasesSet():
            row.aliases = event.aliases
        case AccountTelnumsSet():
            row.telnums = event.telnums
        case AccountLimitsSet():
            row.calls_limit, row.max_contacts = event.calls_limit, event.max_contacts
            stated = {"CallsLimit": event.calls_limit, "MaxSignalContacts": event.max_contacts}
            row.limits = {
                **row.limits, **{key: str(value) for key, value in stated.items() if value >= 0}
            }  # fmt: skip
        case AccountSettingsChanged(section=section) if section == SETTINGS:
            # One fold says what the settings mean for the account, here and for commands.
            state = evolve_account(row.state("x", "x"), event)
            row.display_name = state.display_name
            row.calls_limit, row.max_contacts = state.calls_limit, state.max_contacts
            row.limits = _changed(row.limits, event, CALL_KEYS)
        case RulesChanged():
            row.rules = event.rules
        case DatasetEntryAdded() | DatasetEntryRemoved():
            changed = evolve_datasets(row.datasets, event)
            row.datasets = {name: dict(entries) for name, entries in changed.items()}
        case _:
            pass


def changed_domain(row: DomainRow, event: Event) -> None:
    """Change `row` as one event of its stream says."""
    match event:
        case DomainAliasesSet():
            row.aliases = event.aliases
        case DomainSettingsChanged(section=section) if section == SETTINGS:
            row.settings = _changed(row.settings, event, DOMAIN_KEYS)
            row.calls_limit = changed_calls_limit(row.calls_limit, event, None)
        case DomainSettingsChanged(section=section) if section == ACCOUNT_DEFAULTS:
            row.limits = _changed(row.limits, event, CALL_KEYS)
        case RulesChanged():
            row.rules = event.rules
        case DomainLimitsSet():
            row.calls_limit = event.calls_limit
        case _:
            pass


def changed_server(row: ServerRow, event: Event) -> None:
    """Change `row` as one event of the stream ``server`` says."""
    match event:
        case RouterTableSet():
            row.tables = {**row.tables, event.table: event.text}
        case MainDomainSet():
            row.main_domain = event.name
        case ServerSettingsChanged(section=section) if section == DOMAIN_DEFAULTS:
            row.settings = _changed(row.settings, event, DOMAIN_KEYS)
            row.calls_limit = changed_calls_limit(row.calls_limit, event, UNLIMITED)
        case ServerSettingsChanged(section=section) if section == ACCOUNT_DEFAULTS:
            row.limits = _changed(row.limits, event, CALL_KEYS)
        case RulesChanged():
            row.rules = event.rules
        case _:
            pass


def tells_of_trunks(event: SettingsChanged) -> bool:
    """Whether lines to providers may depend on a change: numbering, gateways, registrations there.

    What is sealed is taken for a password of one.
    """
    return bool(event.secrets) or any(
        key in _TRUNK_KEYS or key.startswith("PSTN") for key in (*event.values, *event.removed)
    )


def changed_calls_limit(held: T, event: SettingsChanged, absent: T) -> T | int:
    """How many calls at once a domain may have after an event; `absent` if none is stated.

    A value of another version that cannot be read is no limit.
    """
    if _CALLS_LIMIT in event.values:
        try:
            return read_limit(from_json(event.values[_CALLS_LIMIT]))
        except ValueError:
            return UNLIMITED
    return absent if _CALLS_LIMIT in event.removed else held


def _changed(
    held: Mapping[str, Any], event: SettingsChanged, keys: frozenset[str]
) -> dict[str, Any]:
    values = {key: value for key, value in held.items() if key not in event.removed}
    for key in keys.intersection(event.values):
        values[key] = event.values[key]
    return values


_ACCOUNT: Final = msgspec.msgpack.Decoder(AccountRow)
_DOMAIN: Final = msgspec.msgpack.Decoder(DomainRow)
_SERVER: Final = msgspec.msgpack.Decoder(ServerRow)
_OBJECT: Final = msgspec.msgpack.Decoder(ObjectState)
_ENCODER: Final = msgspec.msgpack.Encoder()

encode = _ENCODER.encode
decode_account = _ACCOUNT.decode
decode_domain = _DOMAIN.decode
decode_server = _SERVER.decode
decode_object = _OBJECT.decode
