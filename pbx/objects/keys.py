"""What is known of one settings key, and a table of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from pbx.data import Value
from pbx.objects.forms import ANY, Form


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a dictionary of settings."""

    name: str
    title: str
    """What the key is called where people see it."""
    default: Value = None
    """Built in, used when no level sets the key; None is no value."""
    form: Form = ANY
    effect: str = ""
    """What the server does with the value now; empty while it only keeps it."""
    right: str = ""
    """Code a domain administrator needs to change it; empty is the key's own name."""
    secret: bool = False
    """Stored sealed, and shown to nobody but who may change it."""
    per_gateway: bool = False
    """A dictionary of such values, by gateway, is accepted as well."""

    @property
    def code(self) -> str:
        return self.right or self.name


Table: TypeAlias = Mapping[str, Key]


def table(keys: Iterable[Key]) -> Table:
    """Keys by name. Raises ``ValueError`` if one is listed twice."""
    found: dict[str, Key] = {}
    for key in keys:
        if key.name in found:
            raise ValueError(f"{key.name} is listed twice")
        found[key.name] = key
    return found


SECRET_NAMES: Final = frozenset({"pstngatewaypassword", "privatesecurekey"})
"""Names of secret values in any dictionary, dictionaries by gateway included."""


def is_secret(name: str, value: Value) -> bool:
    """Whether the value of `name` belongs into the sealed part of an event."""
    lower = name.lower()
    if isinstance(value, dict):
        return lower in SECRET_NAMES
    # "UsePassword…" settings say YES or NO.
    named = lower.endswith("password") and not lower.startswith("use")
    return named or lower in SECRET_NAMES
