"""Domains and accounts: events, state, decisions (pure; no I/O, no clock).

Streams ``domain/<name>`` and ``account/<name@domain>``, category ``pbx.config``, all *decided*.
``decide_*`` functions return the new events or raise :class:`DomainError`; ``evolve_*`` fold.
Passwords never reach the log: only the digest secrets HA1 (RFC 7616 §3.4.2) are stored, sealed.

Fed by ``pbx.commands``, which loads the state and appends what was decided. Names are
case-insensitive and kept in lower case; callers pass them through :func:`domain_name` and
:func:`account_name` first.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

from pbx.domain.setting_events import CONFIG as CONFIG
from pbx.domain.setting_events import AccountSettingsChanged
from pbx.kernel.errors import DomainError
from pbx.kernel.events import PERSONAL, SEALED, Durability, Event, event
from pbx.router.address import dialled_number
from pbx.router.engine import RESERVED_DOMAINS, SPECIAL

MAX_NAME: Final = 128
"""Characters in the name of an object."""
MAX_DOMAIN_NAME: Final = 253
"""Characters in a host name (RFC 1035 §2.3.4 in text form)."""
MAX_TELNUM: Final = 33
"""Characters: twice what E.164 §6.2.1 allows, for numbers of private plans."""
MAX_ALIASES: Final = 100
"""Aliases, or telephone numbers, of one account or domain; lists that long are mistakes."""
UNLIMITED: Final = -1

# Letters and digits, `_`, `-`, `.`; a point neither first nor last. A subset of the user part of a
# SIP URI (RFC 3261 §25.1) that needs no escapes, there or in mail.
_ACCOUNT_NAME: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


@event("domain.created.v1", category=CONFIG, durability=Durability.DECIDED)
class DomainCreated(Event):
    """A SIP domain is ours from now on."""

    name: str
    aliases: tuple[str, ...] = ()


@event("domain.deleted.v1", category=CONFIG, durability=Durability.DECIDED)
class DomainDeleted(Event):
    """The domain and its name are gone; its accounts were deleted before."""

    name: str


@event("domain.aliases-set.v1", category=CONFIG, durability=Durability.DECIDED)
class DomainAliasesSet(Event):
    """The other names of the domain, all of them."""

    aliases: tuple[str, ...] = ()


@event("account.created.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountCreated(Event):
    """An account exists; it cannot log in before a password is set."""

    name: str
    domain: str
    display_name: Annotated[str, PERSONAL] = ""


@event("account.password-set.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountPasswordSet(Event):
    """New digest secrets. ``realm`` is the domain name they were computed for."""

    realm: str
    ha1_md5: Annotated[str, SEALED]
    ha1_sha256: Annotated[str, SEALED]
    alias_ha1: Annotated[str, SEALED] = ""
    """JSON object: alias -> its two digests. The user name is part of a digest, so a phone that
    logs in by an alias needs them; an alias given later has none before the next password."""
    text: Annotated[str, SEALED] = ""
    """The password itself, only where the administrator chose to keep it recoverable."""


@event("account.limits-set.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountLimitsSet(Event):
    """Limits of the account; -1 is unlimited (keys CallsLimit and MaxSignalContacts)."""

    calls_limit: int = -1
    max_contacts: int = 10


@event("account.aliases-set.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountAliasesSet(Event):
    """The other names of the account in its domain, all of them."""

    aliases: tuple[str, ...] = ()


@event("account.telnums-set.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountTelnumsSet(Event):
    """The telephone numbers of the account, all of them; the first one is its main number."""

    telnums: tuple[str, ...] = ()
    """Digits, with a leading ``+`` if it was given."""


@event("account.deleted.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountDeleted(Event):
    """The account is gone; its bindings are removed by the registrar."""

    name: str
    domain: str


# Names.


def domain_name(text: str) -> str:
    """A domain name in its stored form. Raises :class:`DomainError` if it is none.

    A host name (RFC 1123 §2.1), or a numeric address for phones that know no other name.
    """
    name = text.strip().lower().removesuffix(".")
    labels = name.split(".")
    if not labels[-1].isdigit() and len(name) <= MAX_DOMAIN_NAME:
        if all(_LABEL.fullmatch(label) for label in labels):
            return name
    try:
        return str(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        raise DomainError(
            f"{text!r} is no domain name: labels of letters, digits and inner hyphens, with points "
            'between them, such as "example.com"'
        ) from None


def account_name(text: str) -> str:
    """An account name in its stored form. Raises :class:`DomainError` if it is none."""
    name = text.strip().lower()
    if len(name) <= MAX_NAME and _ACCOUNT_NAME.fullmatch(name):
        return name
    raise DomainError(
        f"{text!r} is no account name: at most {MAX_NAME} letters, digits, '_', '-' and '.', "
        "not beginning or ending with a point"
    )


def new_name(text: str) -> str:
    """The name of a new object. Raises :class:`DomainError` if it is none, or means something."""
    name = account_name(text)
    if name in SPECIAL:
        raise DomainError(
            f"{name} is a special address of the Router: no object can have that name"
        )
    return name


def new_domain_name(text: str) -> str:
    """The name of a new domain, as :func:`new_name`."""
    name = domain_name(text)
    if name in RESERVED_DOMAINS:
        raise DomainError(f"{name} is a special domain of the Router: choose another name")
    return name


def telnum(text: str) -> str:
    """A telephone number in its stored form. Raises :class:`DomainError` if it is none."""
    number = dialled_number(text.strip())
    if number and len(number) <= MAX_TELNUM:
        return number
    raise DomainError(
        f"{text!r} is no telephone number: up to {MAX_TELNUM - 1} digits, with a leading '+' "
        "if it is an international one"
    )


def account_address(text: str) -> tuple[str, str]:
    """The two names of ``name@domain``. Raises :class:`DomainError` if it is none."""
    name, at, domain = text.strip().removeprefix("sip:").rpartition("@")
    if not at:
        raise DomainError(f"{text!r} is no account: write it as name@domain")
    return account_name(name), domain_name(domain)


def domain_stream(name: str) -> str:
    """Where the events of a domain are."""
    return f"domain/{name}"


def account_stream(name: str, domain: str) -> str:
    """Where the events of an account are."""
    return f"account/{name}@{domain}"


# Domains.


@dataclass(frozen=True, slots=True)
class DomainState:
    """A domain as of its last event."""

    name: str = ""
    """Empty while the domain does not exist."""
    aliases: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return bool(self.name)


NO_DOMAIN: Final = DomainState()


def evolve_domain(state: DomainState, happened: Event) -> DomainState:
    """Fold one event of a domain's stream."""
    match happened:
        case DomainCreated():
            return DomainState(happened.name, happened.aliases)
        case DomainAliasesSet():
            return replace(state, aliases=happened.aliases)
        case DomainDeleted():
            return NO_DOMAIN
        case _:
            return state


def decide_create_domain(state: DomainState, name: str, aliases: Sequence[str]) -> list[Event]:
    """Make a domain ours. That its names are free elsewhere is the caller's to check."""
    if state.exists:
        raise DomainError(f"the domain {name} exists already")
    others = tuple(dict.fromkeys(alias for alias in aliases if alias != name))
    return [DomainCreated(name=name, aliases=others)]


def decide_set_domain_aliases(state: DomainState, name: str, aliases: Sequence[str]) -> list[Event]:
    """Replace the aliases; nothing if they are the same. That they are free is checked before."""
    _require_domain(state, name)
    wanted = tuple(dict.fromkeys(alias for alias in aliases if alias != name))
    _few(wanted, "aliases")
    return [] if wanted == state.aliases else [DomainAliasesSet(aliases=wanted)]


def decide_delete_domain(state: DomainState, name: str, contents: Mapping[str, int]) -> list[Event]:
    """Give a domain up; `contents` says how many objects of each kind are still in it."""
    _require_domain(state, name)
    left = [
        f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in contents.items() if count
    ]
    if left:
        kinds = ", ".join(f"pbx {kind} list" for kind, count in contents.items() if count)
        raise DomainError(
            f"the domain {name} still has {', '.join(left)}: delete them first, see: {kinds}"
        )
    return [DomainDeleted(name=name)]


def _require_domain(state: DomainState, name: str) -> None:
    if not state.exists:
        raise DomainError(f"there is no domain {name}; see: pbx domain list")


def _few(names: Sequence[str], what: str) -> None:
    if len(names) > MAX_ALIASES:
        raise DomainError(f"{len(names)} {what}: at most {MAX_ALIASES} are possible")


# Accounts.


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account as of its last event."""

    name: str = ""
    """Empty while the account does not exist."""
    domain: str = ""
    display_name: str = ""
    has_password: bool = False
    calls_limit: int = UNLIMITED
    max_contacts: int = 10
    aliases: tuple[str, ...] = ()
    telnums: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return bool(self.name)

    @property
    def address(self) -> str:
        """``name@domain``."""
        return f"{self.name}@{self.domain}"


NO_ACCOUNT: Final = AccountState()


@dataclass(frozen=True, slots=True)
class Secrets:
    """Digest secrets of a password for one realm (RFC 7616 §3.4.2), in hexadecimal."""

    realm: str
    ha1_md5: str
    ha1_sha256: str
    alias_ha1: str = ""
    """Those of the aliases, see :class:`AccountPasswordSet`."""
    text: str = ""
    """The password itself, if it is to be kept recoverable."""

    def __repr__(self) -> str:
        return f"Secrets({self.realm!r}, …)"


def evolve_account(state: AccountState, happened: Event) -> AccountState:
    """Fold one event of an account's stream."""
    match happened:
        case AccountCreated():
            return AccountState(happened.name, happened.domain, happened.display_name)
        case AccountPasswordSet():
            return replace(state, has_password=True)
        case AccountLimitsSet():
            return replace(
                state, calls_limit=happened.calls_limit, max_contacts=happened.max_contacts
            )
        case AccountAliasesSet():
            return replace(state, aliases=happened.aliases)
        case AccountTelnumsSet():
            return replace(state, telnums=happened.telnums)
        case AccountSettingsChanged(section="settings"):
            return with_settings(state, happened)
        case AccountDeleted():
            return NO_ACCOUNT
        case _:
            return state


DEFAULT_CONTACTS: Final = 10


def with_settings(state: AccountState, happened: AccountSettingsChanged) -> AccountState:
    """The settings that are the account's name and limits, as one event changes them."""
    name = changed_text(happened, "RealName", state.display_name)
    calls = changed_limit(happened, "CallsLimit", state.calls_limit, UNLIMITED)
    contacts = changed_limit(happened, "MaxSignalContacts", state.max_contacts, DEFAULT_CONTACTS)
    return replace(state, display_name=name, calls_limit=calls, max_contacts=contacts)


def changed_text(happened: AccountSettingsChanged, key: str, held: str) -> str:
    """The text of a key after the event."""
    value = happened.values.get(key, "" if key in happened.removed else held)
    return value if isinstance(value, str) else held


def changed_limit(happened: AccountSettingsChanged, key: str, held: int, absent: int) -> int:
    """The limit of a key after the event; `absent` once it has no value of its own."""
    if key in happened.removed:
        return absent
    value = happened.values.get(key, held)
    try:
        return UNLIMITED if str(value).lower() == "unlimited" else int(value)
    except (TypeError, ValueError):
        return held


def decide_create_account(
    state: AccountState, name: str, domain: str, display_name: str, secrets: Secrets | None
) -> list[Event]:
    """Create an account, with its password in the same append: it is never half made."""
    if state.exists:
        raise DomainError(
            f"the account {state.address} exists already; a new password: "
            f"pbx account passwd {state.address}"
        )
    events: list[Event] = [AccountCreated(name=name, domain=domain, display_name=display_name)]
    return events if secrets is None else events + _password_set(secrets)


def decide_set_password(state: AccountState, address: str, secrets: Secrets) -> list[Event]:
    """Replace the digest secrets."""
    _require_account(state, address)
    return _password_set(secrets)


def decide_set_limits(
    state: AccountState, address: str, calls_limit: int | None, max_contacts: int | None
) -> list[Event]:
    """Change the limits that are given; nothing if that changes nothing."""
    _require_account(state, address)
    wanted = AccountLimitsSet(
        calls_limit=state.calls_limit if calls_limit is None else calls_limit,
        max_contacts=state.max_contacts if max_contacts is None else max_contacts,
    )
    if wanted.calls_limit < UNLIMITED:
        raise DomainError(f"a limit of {wanted.calls_limit} calls: give 0 or more, or -1 for none")
    if wanted.max_contacts < 0:
        raise DomainError(f"a limit of {wanted.max_contacts} contacts: give 0 or more")
    if (wanted.calls_limit, wanted.max_contacts) == (state.calls_limit, state.max_contacts):
        return []
    return [wanted]


def decide_set_aliases(state: AccountState, address: str, aliases: Sequence[str]) -> list[Event]:
    """Replace the aliases; nothing if they are the same. That they are free is checked before."""
    _require_account(state, address)
    wanted = tuple(dict.fromkeys(alias for alias in aliases if alias != state.name))
    _few(wanted, "aliases")
    return [] if wanted == state.aliases else [AccountAliasesSet(aliases=wanted)]


def decide_set_telnums(state: AccountState, address: str, telnums: Sequence[str]) -> list[Event]:
    """Replace the telephone numbers, as :func:`decide_set_aliases`."""
    _require_account(state, address)
    wanted = tuple(dict.fromkeys(telnums))
    _few(wanted, "telephone numbers")
    return [] if wanted == state.telnums else [AccountTelnumsSet(telnums=wanted)]


def decide_delete_account(state: AccountState, address: str) -> list[Event]:
    """Remove an account; its bindings go with it, calls in progress do not."""
    _require_account(state, address)
    return [AccountDeleted(name=state.name, domain=state.domain)]


def _require_account(state: AccountState, address: str) -> None:
    if not state.exists:
        raise DomainError(f"there is no account {address}; see: pbx account list")


def _password_set(secrets: Secrets) -> list[Event]:
    return [
        AccountPasswordSet(
            realm=secrets.realm,
            ha1_md5=secrets.ha1_md5,
            ha1_sha256=secrets.ha1_sha256,
            alias_ha1=secrets.alias_ha1,
            text=secrets.text,
        )
    ]
