"""Domains and accounts: events, state, decisions (pure; no I/O, no clock).

Streams ``domain/<name>`` and ``account/<name@domain>``, category ``pbx.config``, all *decided*.
``decide_*`` functions return the new events or raise :class:`DomainError`; ``evolve`` folds.
Passwords never reach the log: only the digest secrets HA1 (RFC 7616 §3.4.2) are stored, sealed.
"""

from __future__ import annotations

from typing import Annotated

from pbx.kernel.events import SEALED, Durability, Event, event

CONFIG = "pbx.config"


@event("domain.created.v1", category=CONFIG, durability=Durability.DECIDED)
class DomainCreated(Event):
    """A SIP domain is ours from now on."""

    name: str
    aliases: tuple[str, ...] = ()


@event("domain.deleted.v1", category=CONFIG, durability=Durability.DECIDED)
class DomainDeleted(Event):
    """The domain and its name are gone; its accounts were deleted before."""

    name: str


@event("account.created.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountCreated(Event):
    """An account exists; it cannot log in before a password is set."""

    name: str
    domain: str
    display_name: str = ""


@event("account.password-set.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountPasswordSet(Event):
    """New digest secrets. ``realm`` is the domain name they were computed for."""

    realm: str
    ha1_md5: Annotated[str, SEALED]
    ha1_sha256: Annotated[str, SEALED]


@event("account.limits-set.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountLimitsSet(Event):
    """Limits of the account; -1 is unlimited (keys CallsLimit and MaxSignalContacts)."""

    calls_limit: int = -1
    max_contacts: int = 10


@event("account.deleted.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountDeleted(Event):
    """The account is gone; its bindings are removed by the registrar."""

    name: str
    domain: str
