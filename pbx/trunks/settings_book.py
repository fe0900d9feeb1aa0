"""PSTN settings of every level, and what comes of them for one account.

Fed with the settings events of accounts, domains and the server; keeps the few keys that concern
trunks. An account without settings of its own takes no room here. Secrets are as the log gives
them to this reader: a role without keys gets none.
"""

from __future__ import annotations

from typing import Final

from pbx.data import Value
from pbx.domain.accounts import AccountDeleted, DomainDeleted
from pbx.domain.configuration import (
    ACCOUNT_DEFAULTS,
    SETTINGS,
    Configuration,
    evolve_configuration,
)
from pbx.domain.setting_events import (
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
    SettingsChanged,
)
from pbx.kernel.events import Event
from pbx.objects import effective
from pbx.objects.account_keys import PSTN
from pbx.router.e164 import NumberingPlan, numbering_plan

_SECTIONS: Final = {
    AccountSettingsChanged: SETTINGS,
    DomainSettingsChanged: ACCOUNT_DEFAULTS,
    ServerSettingsChanged: ACCOUNT_DEFAULTS,
}
_KEYS: Final = frozenset({"ServiceClass", "ServiceClasses", *(key.name for key in PSTN)})
_PLANS: Final = 4096
"""Number plans remembered by account; made anew when any setting changes."""


class SettingsBook:
    """See the module."""

    def __init__(self) -> None:
        self._levels: dict[str, dict[str, Value]] = {}
        """By stream."""
        self._plans: dict[str, NumberingPlan | None] = {}

    @property
    def empty(self) -> bool:
        """Nobody has a gateway."""
        return not self._levels

    def apply(self, stream: str, event: Event) -> None:
        """Fold one event; others than those of settings are ignored."""
        match event:
            case AccountSettingsChanged() | DomainSettingsChanged() | ServerSettingsChanged():
                if event.section == _SECTIONS[type(event)]:
                    self._change(stream, event)
            case AccountDeleted() | DomainDeleted():
                self._levels.pop(stream, None)
                self._plans.clear()

    def _change(self, stream: str, event: SettingsChanged) -> None:
        before = self._levels.get(stream, {})
        # What is secret is in the sealed part of the event alone: evolving joins them.
        held = Configuration(exists=True, sections={event.section: before})
        section = evolve_configuration(held, event).section(event.section)
        kept = {key: value for key, value in section.items() if key in _KEYS}
        if kept == before:
            return
        if kept:
            self._levels[stream] = kept
        else:
            del self._levels[stream]
        self._plans.clear()

    def effective(self, account: str) -> dict[str, Value]:
        """The PSTN settings of ``name@domain`` that have a value, built-in ones too."""
        found = effective.account_settings(*self._of(account))
        return {key: value for key, value in found.items() if key in _KEYS}

    def plan(self, account: str) -> NumberingPlan | None:
        """How numbers are written where the account is; None if nobody said.

        The built-in area code is that of one city: it says nothing of an installation that has
        not chosen it.
        """
        if account in self._plans:
            return self._plans[account]
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        levels = self._of(account)
        values = [
            effective.stated_account_setting(key, *levels)
            for key in ("PSTNAreaCode", "PSTNNationalPrefix", "PSTNInternationalPrefix")
        ]
        area, national, international = (v if isinstance(v, str) else None for v in values)
        plan = None
        if area:
            try:
                plan = numbering_plan(area, national, international)
            except ValueError:
                plan = None  # a dictionary by gateway, or a form of before this was looked at
        self._plans[account] = plan
        return plan

    def _of(self, account: str) -> tuple[dict[str, Value], dict[str, Value], dict[str, Value]]:
        levels = self._levels
        return (
            levels.get(f"account/{account}", {}),
            levels.get(f"domain/{account.rpartition('@')[2]}", {}),
            levels.get("server", {}),
        )
