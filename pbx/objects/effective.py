"""The value that counts: account, class of service, domain, server, built in.

Objects and settings reference §2. The template is no level: it is copied when an account is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pbx.data import Value
from pbx.objects.account_keys import ACCOUNT_KEYS
from pbx.objects.domain_keys import DOMAIN_KEYS
from pbx.objects.keys import Table
from pbx.objects.prefs_keys import PREFS_KEYS

Level = Mapping[str, Value]

_CLASSES: Final = "ServiceClasses"


def account_settings(
    own: Level, domain_defaults: Level, server_defaults: Level
) -> dict[str, Value]:
    """All settings of an account that have a value on some level."""
    levels = _account_levels(own, domain_defaults, server_defaults)
    return _merged(levels, ACCOUNT_KEYS)


def account_setting(name: str, own: Level, domain_defaults: Level, server_defaults: Level) -> Any:
    """One setting in the form that code computes with; None if it has no value on any level.

    A stored value that is not of the form (an older version took it) counts as absent.
    """
    return _typed(name, _account_levels(own, domain_defaults, server_defaults), ACCOUNT_KEYS)


def stated_account_setting(
    name: str, own: Level, domain_defaults: Level, server_defaults: Level
) -> Any:
    """As :func:`account_setting`, but None if no level states it: nothing is built in."""
    levels = _account_levels(own, domain_defaults, server_defaults)
    form = ACCOUNT_KEYS[name].form
    for level in levels:
        if name in level:
            try:
                return form.read(level[name])
            except ValueError:
                continue
    return None


def written_account_setting(
    name: str, own: Level, domain_defaults: Level, server_defaults: Level
) -> Value:
    """As :func:`stated_account_setting`, as it is written."""
    return _first(name, _account_levels(own, domain_defaults, server_defaults))


def domain_settings(own: Level, server_defaults: Level) -> dict[str, Value]:
    """All settings of a domain that have a value on some level."""
    return _merged((own, server_defaults), DOMAIN_KEYS)


def domain_setting(name: str, own: Level, server_defaults: Level) -> Any:
    """One setting of a domain, as :func:`account_setting`."""
    return _typed(name, (own, server_defaults), DOMAIN_KEYS)


def preferences(own: Level, domain_defaults: Level, server_defaults: Level) -> dict[str, Value]:
    """All preferences of a user."""
    return _merged((own, domain_defaults, server_defaults), PREFS_KEYS)


def template_settings(
    template: Level, domain_defaults: Level, server_defaults: Level
) -> dict[str, Value]:
    """What a new account gets of the template: what differs from its defaults."""
    defaults = account_settings({}, domain_defaults, server_defaults)
    return {name: value for name, value in template.items() if defaults.get(name) != value}


def _account_levels(own: Level, domain_defaults: Level, server_defaults: Level) -> Sequence[Level]:
    name = _first("ServiceClass", (own, domain_defaults, server_defaults))
    if isinstance(name, str) and name:
        for level in (domain_defaults, server_defaults):
            classes = level.get(_CLASSES)
            settings = classes.get(name) if isinstance(classes, dict) else None
            if isinstance(settings, dict):
                return own, settings, domain_defaults, server_defaults
    return own, domain_defaults, server_defaults


def _first(name: str, levels: Sequence[Level]) -> Value:
    for level in levels:
        if name in level:
            return level[name]
    return None


def _merged(levels: Sequence[Level], table: Table) -> dict[str, Value]:
    merged: dict[str, Value] = {
        name: key.default for name, key in table.items() if key.default is not None
    }
    for level in reversed(levels):
        merged.update(level)
    return merged


def _typed(name: str, levels: Sequence[Level], table: Table) -> Any:
    key = table[name]
    for value in (_first(name, levels), key.default):
        if value is None:
            continue
        try:
            return key.form.read(value)
        except ValueError:
            continue
    return None
