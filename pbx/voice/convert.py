"""Values of settings as values of the language, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pbx import data
from pbx.script.values import (
    FUTURE,
    PAST,
    YES,
    Data,
    Dictionary,
    IpAddress,
    Timestamp,
    Value,
    string_of,
    text_of,
    wrap,
)


def to_script(value: Any) -> Value:
    """A value of the data format as programs see it."""
    if value is None or value is False:
        return None
    if value is True:
        return YES
    if isinstance(value, str):
        return string_of(value)
    if isinstance(value, int):
        return wrap(value)
    if isinstance(value, bytes):
        return Data(value)
    if isinstance(value, datetime):
        return Timestamp(int(value.timestamp()))
    if isinstance(value, data.Era):
        return PAST if value is data.Era.PAST else FUTURE
    if isinstance(value, data.IpAddress):
        return IpAddress(value.host, value.port or 0)
    if isinstance(value, Mapping):
        made = Dictionary()
        for key, one in value.items():
            made.set(string_of(str(key)), to_script(one))
        return made
    if isinstance(value, list | tuple):
        return [to_script(one) for one in value]
    return string_of(str(value))


def from_script(value: Value) -> data.Value:
    """A value of a program as the data format has it. Raises ``TypeError`` for handles and XML."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return text_of(value)
    if isinstance(value, int):
        return value
    if isinstance(value, Data):
        return value.octets
    if isinstance(value, Timestamp):
        if value.special:
            return data.Era.PAST if value == PAST else data.Era.FUTURE
        return datetime.fromtimestamp(value.seconds, UTC)
    if isinstance(value, IpAddress):
        return data.IpAddress(value.address, value.port or None)
    if isinstance(value, list):
        return [from_script(one) for one in value]
    if isinstance(value, Dictionary):
        return {text_of(key): from_script(one) for key, one in value.items()}
    raise TypeError(f"{type(value).__name__} cannot be stored")
