"""Settings of every level as events: what was set, what was taken back, never the whole.

Streams ``account/<name@domain>``, ``domain/<name>`` and ``server``, category ``pbx.config``, all
*decided*. An object has several dictionaries, its *sections*: an account has ``settings`` and
``prefs``, a domain ``settings``, ``account-defaults``, ``prefs`` and ``template``, the server one
for each subject (``domain-defaults``, ``module.SIP``, ``ips`` …). An event holds the change of one
section; values are in the JSON form of ``pbx.data``. What of them is secret (passwords of gateways
and of outgoing registrations) is in the sealed field and nowhere else.

Fed by ``pbx.commands``; which keys exist and what they accept is known by ``pbx.objects``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import msgspec

from pbx.data import DataError, Value, from_json, to_json
from pbx.domain.accounts import (
    AccountCreated,
    AccountDeleted,
    AccountLimitsSet,
    DomainCreated,
    DomainDeleted,
)
from pbx.domain.setting_events import PREFS as PREFS
from pbx.domain.setting_events import SETTINGS as SETTINGS
from pbx.domain.setting_events import (
    AccountRightsSet,
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
    SettingsChanged,
)
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Event

SERVER: Final = "server"
"""The one stream of the server's own settings."""

ACCOUNT_DEFAULTS: Final = "account-defaults"
DOMAIN_DEFAULTS: Final = "domain-defaults"
TEMPLATE: Final = "template"
RECORDS: Final = "records"
"""Rules, outgoing registrations and the like: what has commands of its own."""

Dictionary: TypeAlias = dict[str, Value]


# State.


@dataclass(frozen=True, slots=True)
class Configuration:
    """The dictionaries of one object, as of its last event."""

    exists: bool = False
    """The server always does."""
    sections: Mapping[str, Dictionary] = field(default_factory=dict)
    """By section; none that is empty."""
    rights: tuple[str, ...] = ()

    def section(self, name: str) -> Dictionary:
        """A copy of the dictionary of a section, empty if nothing is set."""
        return dict(self.sections.get(name, {}))


NO_CONFIGURATION: Final = Configuration()
SERVER_CONFIGURATION: Final = Configuration(exists=True)


def evolve_configuration(state: Configuration, happened: Event) -> Configuration:
    """Fold one event of an account's, a domain's or the server's stream."""
    match happened:
        case AccountSettingsChanged() | DomainSettingsChanged() | ServerSettingsChanged():
            section = state.section(happened.section)
            for key in happened.removed:
                section.pop(key, None)
            section.update(_changed_values(happened))
            return _with_section(state, happened.section, section)
        case AccountRightsSet():
            return replace(state, rights=happened.rights)
        case AccountCreated():
            named: Dictionary = {"RealName": happened.display_name} if happened.display_name else {}
            return _with_section(Configuration(exists=True), SETTINGS, named)
        case AccountLimitsSet():
            limits = {
                "CallsLimit": happened.calls_limit,
                "MaxSignalContacts": happened.max_contacts,
            }
            section = state.section(SETTINGS)
            section.update({key: str(value) for key, value in limits.items()})
            return _with_section(state, SETTINGS, section)
        case DomainCreated():
            return Configuration(exists=True)
        case AccountDeleted() | DomainDeleted():
            return NO_CONFIGURATION
        case _:
            return state


def _with_section(state: Configuration, name: str, section: Dictionary) -> Configuration:
    sections = {other: held for other, held in state.sections.items() if other != name}
    if section:
        sections[name] = section
    return replace(state, sections=sections)


def _changed_values(happened: SettingsChanged) -> Dictionary:
    values = {key: from_json(raw) for key, raw in happened.values.items()}
    if not happened.secrets.startswith("{"):  # none, sealed to this reader, or erased
        return values
    secrets = {key: from_json(raw) for key, raw in _SECRETS.decode(happened.secrets).items()}
    return _joined(values, secrets)


def _joined(public: Dictionary, secret: Dictionary) -> Dictionary:
    joined = dict(public)
    for key, value in secret.items():
        held = joined.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            joined[key] = _joined(held, value)
        else:
            joined[key] = value
    return joined


_SECRETS: Final = msgspec.json.Decoder(dict[str, Any])

# Decisions.

SecretPart = Callable[[str, Value], bool]
"""Whether the value of a key, at any depth, is secret."""

MAX_KEYS: Final = 1000
"""Keys of one dictionary; the longest published one has 120."""
MAX_KEY_CHARS: Final = 255


def decide_update(
    state: Configuration,
    kind: type[SettingsChanged],
    section: str,
    values: Mapping[str, Value],
    removed: Sequence[str],
    is_secret: SecretPart,
) -> list[Event]:
    """Merge `values` into a section and take `removed` out of it; nothing if that is no change."""
    held = state.sections.get(section, {})
    new = {key: value for key, value in values.items() if key not in held or held[key] != value}
    gone = tuple(sorted(key for key in removed if key in held and key not in new))
    if not new and not gone:
        return []
    total = len(held) + sum(key not in held for key in new)
    if total > MAX_KEYS:
        raise DomainError(f"{total} keys in one dictionary: {MAX_KEYS} are the most")
    long = next((key for key in new if len(key) > MAX_KEY_CHARS), None)
    if long is not None:
        raise DomainError(f"a key of {len(long)} characters: {MAX_KEY_CHARS} are the most")
    public, secret = split_secrets(new, is_secret)
    return [
        kind(
            section=section,
            values={key: to_json(value) for key, value in public.items()},
            removed=gone,
            secrets=_sealed_text(secret),
        )
    ]


def decide_replace(
    state: Configuration,
    kind: type[SettingsChanged],
    section: str,
    values: Mapping[str, Value],
    is_secret: SecretPart,
) -> list[Event]:
    """Make a section exactly `values`."""
    gone = [key for key in state.sections.get(section, {}) if key not in values]
    return decide_update(state, kind, section, values, gone, is_secret)


def decide_set_rights(state: Configuration, rights: Sequence[str]) -> list[Event]:
    """Replace the rights of an account."""
    wanted = tuple(dict.fromkeys(rights))
    return [] if wanted == state.rights else [AccountRightsSet(rights=wanted)]


def split_secrets(
    values: Mapping[str, Value], is_secret: SecretPart
) -> tuple[Dictionary, Dictionary]:
    """The public and the secret part of a dictionary; joined they are the whole."""
    public: Dictionary = {}
    secret: Dictionary = {}
    for key, value in values.items():
        if is_secret(key, value):
            secret[key] = value
        elif isinstance(value, dict):
            public[key], hidden = split_secrets(value, is_secret)
            if hidden:
                secret[key] = hidden
        else:
            public[key] = value
    return public, secret


def _sealed_text(secret: Dictionary) -> str:
    if not secret:
        return ""
    try:
        return msgspec.json.encode({key: to_json(value) for key, value in secret.items()}).decode()
    except UnicodeEncodeError:
        raise DataError("a secret with characters that UTF-8 has not") from None
