"""Tables ``domains`` and ``accounts`` from ``domain/…`` and ``account/…`` streams.

Secrets stay sealed in the log: a row says only whether there is a password.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, update

from pbx.domain.accounts import (
    CONFIG,
    DEFAULT_CONTACTS,
    UNLIMITED,
    AccountCreated,
    AccountDeleted,
    AccountLimitsSet,
    AccountPasswordSet,
    DomainAliasesSet,
    DomainCreated,
    DomainDeleted,
    changed_limit,
    changed_text,
)
from pbx.domain.setting_events import AccountSettingsChanged
from pbx.eventlog import Record
from pbx.kernel.events import Event
from pbx.readmodel.projection import ProjectionBase, Statements
from pbx.readmodel.tables import accounts, domains

_SET_ALIASES = (
    update(domains).where(domains.c.name == bindparam("key")).values(aliases=bindparam("aliases"))
)
_DELETE_DOMAIN = delete(domains).where(domains.c.name == bindparam("key"))
_OF_KEY = accounts.c.account == bindparam("key")
_SET_PASSWORD = (
    update(accounts)
    .where(_OF_KEY)
    .values(has_password=True, password_set_ns=bindparam("password_set_ns"))
)
_SET_LIMITS = (
    update(accounts)
    .where(_OF_KEY)
    .values(calls_limit=bindparam("calls_limit"), max_contacts=bindparam("max_contacts"))
)
_SET_NAME = update(accounts).where(_OF_KEY).values(display_name=bindparam("display_name"))
_SET_CALLS = update(accounts).where(_OF_KEY).values(calls_limit=bindparam("calls_limit"))
_SET_CONTACTS = update(accounts).where(_OF_KEY).values(max_contacts=bindparam("max_contacts"))
_DELETE_ACCOUNT = delete(accounts).where(_OF_KEY)


class DomainProjection(ProjectionBase):
    """One row a domain that exists."""

    name = "domains"
    categories = frozenset((CONFIG,))
    tables = (domains,)

    def __init__(self) -> None:
        self._statements = Statements()

    def apply(self, record: Record, event: Event) -> None:
        match event:
            case DomainCreated():
                self._statements.add(
                    domains,
                    name=event.name,
                    aliases=" ".join(event.aliases),
                    created_ns=record.time_ns,
                )
            case DomainAliasesSet():
                name = record.stream.partition("/")[2]
                self._statements.add(_SET_ALIASES, key=name, aliases=" ".join(event.aliases))
            case DomainDeleted():
                self._statements.add(_DELETE_DOMAIN, key=event.name)

    def flush(self, connection: Connection) -> None:
        self._statements.flush(connection)

    def reset(self) -> None:
        self._statements.clear()


class AccountProjection(ProjectionBase):
    """One row an account that exists."""

    name = "accounts"
    categories = frozenset((CONFIG,))
    tables = (accounts,)

    def __init__(self) -> None:
        self._statements = Statements()

    def apply(self, record: Record, event: Event) -> None:
        key = record.stream.partition("/")[2]
        match event:
            case AccountCreated():
                self._statements.add(
                    accounts,
                    account=key,
                    name=event.name,
                    domain=event.domain,
                    display_name=event.display_name,
                    calls_limit=_LIMITS.calls_limit,
                    max_contacts=_LIMITS.max_contacts,
                    has_password=False,
                    password_set_ns=0,
                    created_ns=record.time_ns,
                )
            case AccountPasswordSet():
                self._statements.add(_SET_PASSWORD, key=key, password_set_ns=record.time_ns)
            case AccountLimitsSet():
                self._statements.add(
                    _SET_LIMITS,
                    key=key,
                    calls_limit=event.calls_limit,
                    max_contacts=event.max_contacts,
                )
            case AccountSettingsChanged(section="settings"):
                self._settings(key, event)
            case AccountDeleted():
                self._statements.add(_DELETE_ACCOUNT, key=key)

    def _settings(self, key: str, event: AccountSettingsChanged) -> None:
        """The columns that are settings, each only if the event touches it."""
        touched = {*event.values, *event.removed}
        if "RealName" in touched:
            name = changed_text(event, "RealName", "")
            self._statements.add(_SET_NAME, key=key, display_name=name)
        if "CallsLimit" in touched:
            limit = changed_limit(event, "CallsLimit", UNLIMITED, UNLIMITED)
            self._statements.add(_SET_CALLS, key=key, calls_limit=limit)
        if "MaxSignalContacts" in touched:
            most = changed_limit(event, "MaxSignalContacts", DEFAULT_CONTACTS, DEFAULT_CONTACTS)
            self._statements.add(_SET_CONTACTS, key=key, max_contacts=most)

    def flush(self, connection: Connection) -> None:
        self._statements.flush(connection)

    def reset(self) -> None:
        self._statements.clear()


_LIMITS = AccountLimitsSet()
"""The limits of an account for which none were set."""
