"""Settings of accounts on the call path: their own, of their class, of their domain, of the server.

Limits, class of service and caller ID. Fed with the settings events of all levels; asked when a
call is routed or counted and a phone registers. An account without such settings of its own, like
nearly all of a million, takes no room here.
"""

from __future__ import annotations

from typing import Any, Final

from pbx.configdb.rows import CALL_KEYS
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
_OWN: Final = "settings"
_DEFAULTS: Final = "account-defaults"


class LimitBook:
    """See the module. Streams name whose settings they are."""

    def __init__(self) -> None:
        self._levels: dict[str, dict[str, Value]] = {}
        """By stream; only what calls depend on."""

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

    def value(self, key: str, account: str) -> Any:
        """A setting of ``name@domain``, read; None if no level states it."""
        if not self._levels:
            return None
        return effective.stated_account_setting(key, *self._levels_of(account))

    def stated(self, key: str, account: str) -> Value:
        """The same as it is written."""
        if not self._levels:
            return None
        return effective.written_account_setting(key, *self._levels_of(account))

    def _levels_of(
        self, account: str
    ) -> tuple[dict[str, Value], dict[str, Value], dict[str, Value]]:
        levels = self._levels
        domain = account.partition("@")[2]
        return (
            levels.get(f"account/{account}", {}),
            levels.get(f"domain/{domain}", {}),
            levels.get("server", {}),
        )

    def _limit(self, key: str, name: str, domain: str) -> int:
        value = self.value(key, f"{name}@{domain}") if self._levels else None
        return value if isinstance(value, int) else UNSET

    def _change(self, stream: str, event: SettingsChanged) -> None:
        level = dict(self._levels.get(stream, {}))
        for key in CALL_KEYS.intersection(event.removed):
            level.pop(key, None)
        level.update(
            {key: from_json(event.values[key]) for key in CALL_KEYS.intersection(event.values)}
        )
        self._keep(stream, level)

    def _keep(self, stream: str, level: dict[str, Value]) -> None:
        if level:
            self._levels[stream] = level
        else:
            self._levels.pop(stream, None)
