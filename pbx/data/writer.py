"""Values to text: the canonical form on one line, and the pretty one for people.

Both read back equal. Keys are sorted, so that equal values give equal text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from pbx.data.lexis import BARE
from pbx.data.values import Era, IpAddress, Opaque, Value, XmlObject

_INDENT: Final = "  "
_LINE_CHARS: Final = 100
"""An array that fits into so many characters stays on one line of the pretty form."""
_SPECIAL: Final = re.compile(r"[\x00-\x1f\x7f\"\\]")
_ESCAPED: Final = {"\\": "\\\\", '"': '\\"', "\r": "\\r", "\n": "\\e", "\t": "\\t"}


def write(value: Value) -> str:
    """The canonical text of `value`, without line breaks."""
    match value:
        case None:
            return "#NULL#"
        case str():
            return _string(value)
        case int():
            return f"#{value}"
        case bytes():
            return f"[{base64.b64encode(value).decode('ascii')}]"
        case list():
            return f"({','.join(map(write, value))})"
        case dict():
            items = sorted(value.items())
            return f"{{{''.join(f'{_string(key)}={write(item)};' for key, item in items)}}}"
        case datetime():
            return _timestamp(value)
        case Era():
            return f"#T{value.value}"
        case IpAddress(host, port):
            return f"#I[{host}]" if port is None else f"#I[{host}]:{port}"
        case XmlObject(text):
            return text
        case Opaque(text):
            return f"#({text})"


def write_pretty(value: Value) -> str:
    """The text of `value` over several lines, two blanks a level; no line end behind it."""
    return "".join(_pretty(value, ""))


def _pretty(value: Value, indent: str) -> Iterator[str]:
    deeper = indent + _INDENT
    match value:
        case dict() if value:
            yield "{\n"
            for key, item in sorted(value.items()):
                yield f"{deeper}{_string(key)} =  "
                yield from _pretty(item, deeper)
                yield ";\n"
            yield f"{indent}}}"
        case list() if value:
            line = _one_line(value)
            if len(line) + len(indent) <= _LINE_CHARS and "\n" not in line:
                yield line
                return
            yield "(\n"
            for number, item in enumerate(value):
                yield ",\n" if number else ""
                yield deeper
                yield from _pretty(item, deeper)
            yield f"\n{indent})"
        case _:
            yield write(value)


def _one_line(value: Value) -> str:
    if isinstance(value, list):
        return f"({', '.join(map(_one_line, value))})"
    return write(value)


def _string(text: str) -> str:
    if BARE.fullmatch(text):
        return text
    if _SPECIAL.search(text):
        text = _SPECIAL.sub(_escaped, text)
    return f'"{text}"'


def _escaped(match: re.Match[str]) -> str:
    found = match[0]
    return _ESCAPED.get(found) or f"\\{ord(found):03d}"


def _timestamp(moment: datetime) -> str:
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    year = f"{moment.year:04d}"  # strftime writes years below 1000 without zeros
    return f"#T{moment:%d-%m}-{year}_{moment:%H:%M:%S}"
