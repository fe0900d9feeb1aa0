"""Limits of accounts on the call path: their own, of their class, of their domain, of the server.

Fed with the settings events of all levels; asked when a call is counted and a phone registers. An
account without limits of its own, like nearly all of a million, takes no room here.
"""

from __future__ import annotations

from typing import Final

from pbx.data import Value, from_json
from pbx.domain.accounts import AccountDeleted, AccountLimitsSet, DomainDeleted
from pbx.domain.setting_events import (
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
    SettingsChanged,
)
from pbx.kernel.events import Event
from pbx.objects import effective

UNSET: Final = -1
_KEYS: Final = frozenset({"CallsLimit", "MaxSignalContacts", "ServiceClass", "ServiceClasses"})
_OWN: Final = "settings"
_DEFAULTS: Final = "account-defaults"


class LimitBook:
    """See the module. Streams name whose settings they are."""

    def __init__(self) -> None:
        self._levels: dict[str, dict[str, Value]] = {}
        """By stream; only what limits depend on."""

    def apply(self, stream: str, event: Event) -> None:
        """Fold one event; others than those of settings are ignored."""
        match event:
            case AccountSettingsChanged(section=section) if section == _OWN:
                self._change(stream, event)
            case DomainSettingsChanged(section=section) | ServerSettingsChanged(section=section):
                if section == _DEFAULTS:
                    self._change(stream, event)
            case AccountLimitsSet():
                limits = {"CallsLimit": event.calls_limit, "MaxSignalContacts": event.max_contacts}
                level = {key: str(value) for key, value in limits.items() if value >= 0}
                self._keep(stream, {**self._levels.get(stream, {}), **level})
            case AccountDeleted() | DomainDeleted():
                self._levels.pop(stream, None)

    def calls(self, name: str, domain: str) -> int:
        """Calls at once of an account; -1 if nobody limits them."""
        return self._limit("CallsLimit", name, domain)

    def contacts(self, name: str, domain: str) -> int:
        """Phones at once of an account; -1 if nobody says."""
        return self._limit("MaxSignalContacts", name, domain)

    def _limit(self, key: str, name: str, domain: str) -> int:
        levels = self._levels
        if not levels:
            return UNSET
        value = effective.stated_account_setting(
            key,
            levels.get(f"account/{name}@{domain}", {}),
            levels.get(f"domain/{domain}", {}),
            levels.get("server", {}),
        )
        return value if isinstance(value, int) else UNSET

    def _change(self, stream: str, event: SettingsChanged) -> None:
        level = dict(self._levels.get(stream, {}))
        for key in _KEYS.intersection(event.removed):
            level.pop(key, None)
        level.update(
            {key: from_json(event.values[key]) for key in _KEYS.intersection(event.values)}
        )
        self._keep(stream, level)

    def _keep(self, stream: str, level: dict[str, Value]) -> None:
        if level:
            self._levels[stream] = level
        else:
            self._levels.pop(stream, None)
