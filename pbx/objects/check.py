"""Refuses settings of the wrong form, before anything is decided.

A value is checked where it has an effect; where it has none yet it is kept as it came, so that
settings of the re-implemented product move over whole. ``default`` is no value but the wish to
have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from pbx.data import Value, write
from pbx.kernel.errors import DomainError
from pbx.objects.account_keys import ACCOUNT_KEYS, RECORD_KEYS
from pbx.objects.domain_keys import DOMAIN_KEYS
from pbx.objects.keys import Key, Table, table
from pbx.objects.prefs_keys import PREFS_KEYS
from pbx.objects.server_keys import SERVER_TABLES

ACCOUNT, DOMAIN, SERVER = "account", "domain", "server"

TABLES: Final[Mapping[tuple[str, str], Table]] = {
    (ACCOUNT, "settings"): ACCOUNT_KEYS,
    (ACCOUNT, "prefs"): PREFS_KEYS,
    (ACCOUNT, "records"): RECORD_KEYS,
    (DOMAIN, "settings"): DOMAIN_KEYS,
    (DOMAIN, "account-defaults"): ACCOUNT_KEYS,
    (DOMAIN, "prefs"): PREFS_KEYS,
    (DOMAIN, "template"): ACCOUNT_KEYS,
    (DOMAIN, "records"): RECORD_KEYS,
    **{(SERVER, section): keys for section, keys in SERVER_TABLES.items()},
}
"""By kind of object and section."""

_NO_KEYS: Final = table(())
_SHOWN: Final = 60
"""Characters of a wrong value that an error repeats."""


class WrongValue(DomainError):
    """A value is not of its key's form."""

    def __init__(self, key: str, value: Value, expected: str) -> None:
        text = write(value)
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
        super().__init__(f"{key}: expected {expected}, not {shown}")
        self.key = key


def keys_of(kind: str, section: str) -> Table:
    """The keys that are known for a section."""
    return TABLES.get((kind, section), _NO_KEYS)


def is_default(value: Value) -> bool:
    """Whether a value of an UPDATE takes the key's own value away."""
    return isinstance(value, str) and value.lower() == "default"


def check(kind: str, section: str, values: Mapping[str, Value]) -> None:
    """Raises :class:`WrongValue` for the first value that its key cannot have."""
    known = keys_of(kind, section)
    for name, value in values.items():
        key = known.get(name)
        if key is not None and key.effect:
            _check_value(key, value)


def _check_value(key: Key, value: Value) -> None:
    if key.per_gateway:
        if isinstance(value, dict):
            for item in value.values():
                _check_form(key, item)
            return
        if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
            return  # a dictionary as it is typed into a form; who uses it reads it
    _check_form(key, value)
    if key.name == "ServiceClasses" and isinstance(value, dict):
        for settings in value.values():
            if isinstance(settings, dict):
                check(ACCOUNT, "settings", settings)


def _check_form(key: Key, value: Value) -> None:
    try:
        key.form.read(value)
    except ValueError:
        secret = "" if key.secret else value
        raise WrongValue(key.name, secret, key.form.words) from None


class Unused(NamedTuple):
    """A value that is kept and has no effect yet."""

    key: str
    value: Value
    known: bool
    """Whether the reference names the key."""


def unused(kind: str, section: str, values: Mapping[str, Value]) -> Iterator[Unused]:
    """What of a dictionary has no effect in this version."""
    known = keys_of(kind, section)
    for name, value in sorted(values.items()):
        key = known.get(name)
        if key is None or not key.effect:
            yield Unused(name, value, key is not None)
