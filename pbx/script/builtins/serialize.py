"""Values to text, XML and JSON and back (CG/PL reference §9.9)."""

from __future__ import annotations

import base64
import json
from datetime import UTC
from email.utils import format_datetime
from typing import Any, Final

from pbx.script.builtins.registry import metered
from pbx.script.conversion import to_string
from pbx.script.errors import ProgramException
from pbx.script.limits import MAX_NESTING, Meter
from pbx.script.operators import describe
from pbx.script.textform import moment, object_to_text, text_to_object
from pbx.script.values import (
    MAX_NUMBER,
    MIN_NUMBER,
    YES,
    Data,
    Dictionary,
    Timestamp,
    Value,
    Xml,
    string_of,
    text_of,
)
from pbx.script.xml_text import write_xml

MAX_JSON_BYTES: Final = 1 << 20
"""Larger texts would be read by one long call that nothing can interrupt."""


@metered("ObjectToString")
def object_to_string(m: Meter, value: Value) -> Value:
    """The text form of a value."""
    return object_to_text(m, value)


@metered("ToObject")
def to_object(m: Meter, value: Value) -> Value:
    """The value of a text form; null for a bad text."""
    if isinstance(value, Xml):
        return _from_xml(m, value, 0)
    if isinstance(value, Data):
        return text_to_object(m, value.octets)
    if isinstance(value, bytes):
        return text_to_object(m, value)
    raise ProgramException(f"ToObject needs a string, datablock or XML, not {describe(value)}")


@metered("TextToObject")
def text_object(m: Meter, value: Value) -> Value:
    """The value of a text form; null for a bad text."""
    if not isinstance(value, bytes):
        raise ProgramException(f"TextToObject needs a string, not {describe(value)}")
    return text_to_object(m, value)


@metered("ObjectToXML")
def object_to_xml(m: Meter, value: Value) -> Value:
    """A dictionary as ``subKey`` elements, an array as ``subValue`` elements."""
    element = Xml("object")
    _to_xml(m, value, element, 0)
    return element


def _to_xml(m: Meter, value: Value, element: Xml, depth: int) -> None:
    if depth > MAX_NESTING:
        raise ProgramException(f"objects nested deeper than {MAX_NESTING} have no XML form")
    m.allocate(160)
    m.charge(1)
    if isinstance(value, Dictionary):
        for key, one in value.items():
            child = Xml("subKey")
            child.attributes[("", "key")] = text_of(key)
            _to_xml(m, one, child, depth + 1)
            element.children.append(child)
    elif isinstance(value, list):
        for one in value:
            child = Xml("subValue")
            _to_xml(m, one, child, depth + 1)
            element.children.append(child)
    elif isinstance(value, bytes):
        element.children.append(m.sized(value))
    elif isinstance(value, Xml):
        element.children.append(value)
    else:
        element.children.append(object_to_text(m, value))


def _from_xml(m: Meter, element: Xml, depth: int) -> Value:
    if depth > MAX_NESTING:
        return None
    m.charge(1)
    keys = [one for one in element.children if isinstance(one, Xml) and one.type == "subKey"]
    values = [one for one in element.children if isinstance(one, Xml) and one.type == "subValue"]
    if keys:
        made = Dictionary()
        for one in keys:
            m.allocate(160)
            name = string_of(one.attributes.get(("", "key"), ""))
            made.set(name, _from_xml(m, one, depth + 1))
        return made
    if values:
        found: list[Value] = []
        for one in values:
            m.allocate(64)
            found.append(_from_xml(m, one, depth + 1))
        return found
    text = to_string(m, element) or b""
    if text.startswith((b"#", b"[")):
        return text_to_object(m, text)
    return text


# JSON.


@metered("ObjectToJSON")
def object_to_json(m: Meter, value: Value) -> Value:
    """JSON text: dates as RFC 822 strings, datablocks as base64."""
    text = json.dumps(_to_json(m, value, 0), ensure_ascii=False, separators=(",", ":"))
    return m.sized(string_of(text))


def _to_json(m: Meter, value: Value, depth: int) -> Any:
    if depth > MAX_NESTING:
        raise ProgramException(f"objects nested deeper than {MAX_NESTING} have no JSON form")
    m.charge(1)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, bytes):
        m.sized(value)
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        m.allocate(8 * len(value))
        return [_to_json(m, one, depth + 1) for one in value]
    if isinstance(value, Dictionary):
        m.allocate(64 * len(value))
        return {
            key.decode("utf-8", "replace"): _to_json(m, one, depth + 1)
            for key, one in value.items()
        }
    if isinstance(value, Timestamp) and not value.special:
        return format_datetime(moment(value).replace(tzinfo=UTC))
    if isinstance(value, Data):
        m.sized(value.octets)
        return base64.b64encode(value.octets).decode("ascii")
    if isinstance(value, Xml):
        return write_xml(m, value).decode("utf-8", "replace")
    return (to_string(m, value) or b"").decode("utf-8", "replace")


@metered("JSONToObject")
def json_to_object(m: Meter, value: Value) -> Value:
    """The value of a JSON text; null for a bad one. Fractions become strings."""
    if isinstance(value, Data):
        value = value.octets
    if not isinstance(value, bytes):
        raise ProgramException(f"JSONToObject needs a string or datablock, not {describe(value)}")
    if len(value) > MAX_JSON_BYTES:
        return None
    m.charge(len(value) >> 4)
    m.allocate(len(value) * 4)
    try:
        parsed = json.loads(value.decode("utf-8"), parse_float=str, parse_int=_json_number)
        return _from_json(m, parsed, 0)
    except (ValueError, RecursionError):
        return None


def _json_number(text: str) -> int | str:
    if len(text) > 20:
        return text
    number = int(text)
    return number if MIN_NUMBER <= number <= MAX_NUMBER else text


def _from_json(m: Meter, value: Any, depth: int) -> Value:
    if depth > MAX_NESTING:
        raise ValueError("nested too deeply")
    m.charge(1)
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if value is True:
        return YES
    if value is None or value is False:
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):  # NaN and Infinity, which JSON does not have
        raise ValueError("no number")
    if isinstance(value, list):
        return [_from_json(m, one, depth + 1) for one in value]
    made = Dictionary()
    for key, one in value.items():
        made.set(key.encode("utf-8", "replace"), _from_json(m, one, depth + 1))
    return made
