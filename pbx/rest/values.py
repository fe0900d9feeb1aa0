"""Settings between JSON and the values of the command protocol; secrets stay inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pbx.data import DataError, Value, from_json, to_json
from pbx.data.values import NUMBER_MAX, NUMBER_MIN
from pbx.domain.configuration import split_secrets
from pbx.objects.keys import is_secret
from pbx.rest.operations import merged
from pbx.web.problems import Problem

MAX_DEPTH: Final = 40
"""Brackets within brackets, as on a command line."""
DEFAULT: Final = "default"
"""The value that takes a key away, in an UPDATE."""


def shown_settings(settings: Mapping[str, Value]) -> dict[str, Any]:
    """A dictionary for JSON, without secrets."""
    return {key: to_json(value) for key, value in split_secrets(settings, is_secret)[0].items()}


def read_settings(raw: Mapping[str, Any]) -> dict[str, Value]:
    """Settings of a body. Raises :class:`Problem` (400) for what the data format has not."""
    return {key: _value(key, value) for key, value in raw.items()}


def replacing(raw: Mapping[str, Any], held: Mapping[str, Value]) -> dict[str, Value]:
    """What a PUT stores: what it gives, and the secrets that it cannot have seen."""
    return _joined(split_secrets(held, is_secret)[1], read_settings(raw))


def updating(patch: Mapping[str, Any], held: Mapping[str, Value]) -> dict[str, Value]:
    """The UPDATE that carries a merge patch out: whole values of the keys it names."""
    shown = {key: to_json(value) for key, value in held.items()}
    changed: dict[str, Value] = {}
    for key, value in patch.items():
        if value is None:
            if key in held:
                changed[key] = DEFAULT
        else:
            changed[key] = _value(key, merged(shown.get(key), value))
    return changed


def _joined(secret: Mapping[str, Value], given: Mapping[str, Value]) -> dict[str, Value]:
    joined = dict(secret)
    for key, value in given.items():
        held = joined.get(key)
        nested = isinstance(held, dict) and isinstance(value, dict)
        joined[key] = _joined(held, value) if nested else value  # type: ignore[arg-type]
    return joined


def _value(key: str, raw: Any) -> Value:
    try:
        _require_plain(raw, 0)
        return from_json(raw)
    except (ValueError, DataError) as error:
        raise Problem(
            400,
            "invalid-body",
            "A setting has a value that settings cannot have",
            f"{key[:80]}: texts, whole numbers of 64 bits, lists and dictionaries are possible; "
            f"flags are the texts YES and NO ({error})",
        ) from error


def _require_plain(raw: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if isinstance(raw, int) and not NUMBER_MIN <= raw <= NUMBER_MAX:
        raise ValueError("a number beyond 64 bits")
    inner = raw.values() if isinstance(raw, dict) else raw if isinstance(raw, list) else ()
    for item in inner:
        _require_plain(item, depth + 1)
