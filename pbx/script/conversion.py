"""Conversions that the language makes, and those between its values and Python's.

``String`` and ``Number`` follow CG/PL reference §3. :func:`from_python` and :func:`to_python` serve
hosts and tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pbx.script.limits import Limits, Meter
from pbx.script.textform import date_text, object_to_text
from pbx.script.values import (
    YES,
    Data,
    Dictionary,
    Handle,
    IpAddress,
    TaskHandle,
    Timestamp,
    Value,
    Xml,
    string_of,
    text_of,
    wrap,
)

_LEADING_NUMBER: Final = re.compile(rb"[ \t\r\n]*([+-]?[0-9]+)")
MAX_DIGITS: Final = 40
"""Longer numbers are cut: more than 64 bits anyway."""


def to_string(m: Meter, value: Value) -> bytes | None:
    """What ``String(value)`` gives."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, Data):
        return value.octets
    if isinstance(value, Timestamp):
        return date_text(value)
    if isinstance(value, IpAddress):
        return str(value).encode()
    if isinstance(value, Xml):
        return m.sized(b"".join(one for one in value.children if isinstance(one, bytes)))
    return object_to_text(m, value)


def to_number(value: Value) -> int:
    """What ``Number(value)`` gives."""
    if isinstance(value, int):
        return value
    if isinstance(value, bytes):
        match = _LEADING_NUMBER.match(value[: MAX_DIGITS * 2])
        if match is not None:
            return wrap(int(match.group(1)[:MAX_DIGITS]))
    return 0


def from_python(value: Any) -> Value:
    """A value of the language: text and true become strings, mappings dictionaries.

    Raises ``TypeError`` for what has no counterpart.
    """
    if value is None or value is False:
        return None
    if value is True:
        return YES
    if isinstance(value, str):
        return string_of(value)
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return wrap(value)
    if isinstance(value, Mapping):
        made = Dictionary()
        for key, one in value.items():
            name = string_of(key) if isinstance(key, str) else bytes(key)
            made.set(name, from_python(one))
        return made
    if isinstance(value, list | tuple):
        return [from_python(one) for one in value]
    if isinstance(value, Timestamp | IpAddress | Data | Dictionary | Xml | TaskHandle | Handle):
        return value
    raise TypeError(f"{type(value).__name__} is no value of the language")


def to_python(value: Value) -> Any:
    """The reverse for people and tests: strings as ``str``, dictionaries as ``dict``."""
    if isinstance(value, bytes):
        return text_of(value)
    if isinstance(value, list):
        return [to_python(one) for one in value]
    if isinstance(value, Dictionary):
        return {text_of(key): to_python(one) for key, one in value.items()}
    if isinstance(value, Xml):
        return text_of(object_to_text(Meter(Limits()), value))
    return value
