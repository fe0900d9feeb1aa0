"""Values as JSON and back, for events: strings, arrays and dictionaries stay what they look like.

What JSON has not travels as an object with one key that begins with ``$``: ``{"$data": "AQID"}``,
``{"$time": "#T22-10-2009_00:00:00"}``, ``{"$ip": "#I[10.0.0.1]:25"}``, ``{"$xml": "<a/>"}``. A
dictionary that could be taken for one is ``{"$dictionary": {…}}``. Numbers are JSON numbers, since
strings of digits are strings.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from pbx.data.reader import parse
from pbx.data.values import Era, IpAddress, Opaque, Value, XmlObject
from pbx.data.writer import write


def to_json(value: Value) -> Any:
    """Builtin types that JSON can carry."""
    match value:
        case str() | int() | None:
            return value
        case list():
            return [to_json(item) for item in value]
        case dict():
            fields = {key: to_json(item) for key, item in value.items()}
            tagged = len(fields) == 1 and next(iter(fields)).startswith("$")
            return {"$dictionary": fields} if tagged else fields
        case bytes():
            return {"$data": base64.b64encode(value).decode("ascii")}
        case datetime() | Era():
            return {"$time": write(value)}
        case IpAddress():
            return {"$ip": write(value)}
        case XmlObject(text):
            return {"$xml": text}
        case Opaque(text):
            return {"$opaque": text}


def from_json(raw: Any) -> Value:
    """What :func:`to_json` was given. Raises ``ValueError`` for anything else."""
    match raw:
        case bool() | float():
            raise ValueError(f"{raw!r} is no value of the data format")
        case str() | int() | None:
            return raw
        case list():
            return [from_json(item) for item in raw]
        case dict():
            if len(raw) == 1:
                ((key, inner),) = raw.items()
                if key.startswith("$"):
                    return _tagged(key, inner)
            return {str(key): from_json(item) for key, item in raw.items()}
        case _:
            raise ValueError(f"{raw!r} is no value of the data format")


def _tagged(key: str, inner: Any) -> Value:
    match key, inner:
        case "$dictionary", dict():
            return {str(name): from_json(item) for name, item in inner.items()}
        case "$data", str():
            return base64.b64decode(inner, validate=True)
        case "$time" | "$ip", str():
            return parse(inner)
        case "$xml", str():
            return XmlObject(inner)
        case "$opaque", str():
            return Opaque(inner)
    raise ValueError(f"{key} is no tag of the data format")
