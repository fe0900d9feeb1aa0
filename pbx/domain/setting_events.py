"""Settings as events: what was set, what was taken back, never the whole dictionary.

:mod:`pbx.domain.configuration` says what sections are, and decides. The events are declared apart,
since other folds of the same streams look at some keys as well.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import msgspec

from pbx.kernel.events import SEALED, Durability, Event, event

CONFIG: Final = "pbx.config"

SETTINGS: Final = "settings"
PREFS: Final = "prefs"


@event("account.settings-changed.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountSettingsChanged(Event):
    """Settings of an account, or its preferences, changed."""

    section: str = SETTINGS
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    """What was set, by key."""
    removed: tuple[str, ...] = ()
    """Keys that have no value of their own any more."""
    secrets: Annotated[str, SEALED] = ""
    """JSON object with the parts of the new values that are secret, nested as they are."""


@event("domain.settings-changed.v1", category=CONFIG, durability=Durability.DECIDED)
class DomainSettingsChanged(Event):
    """Settings of a domain, or the defaults it gives its accounts, changed."""

    section: str = SETTINGS
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    removed: tuple[str, ...] = ()
    secrets: Annotated[str, SEALED] = ""


@event("server.settings-changed.v1", category=CONFIG, durability=Durability.DECIDED)
class ServerSettingsChanged(Event):
    """Settings of the server, of one of its modules, or its defaults, changed."""

    section: str = SETTINGS
    values: dict[str, Any] = msgspec.field(default_factory=dict)
    removed: tuple[str, ...] = ()
    secrets: Annotated[str, SEALED] = ""


@event("account.rights-set.v1", category=CONFIG, durability=Durability.DECIDED)
class AccountRightsSet(Event):
    """What the account may administrate: codes such as ``Master`` or ``CanCreateAccounts``."""

    rights: tuple[str, ...] = ()


SettingsChanged: TypeAlias = AccountSettingsChanged | DomainSettingsChanged | ServerSettingsChanged
