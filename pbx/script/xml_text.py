"""XML objects from text and back (XML 1.0 without document types; namespaces).

Document type declarations are refused: they are what entity bombs and file disclosure are made of.
"""

from __future__ import annotations

import re
from typing import Final

from pbx.script.limits import MAX_NESTING, Meter
from pbx.script.values import Xml

_NAME: Final = r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_.\-\u0080-\U0010ffff]*"
_TAG: Final = re.compile(rf"<(?:({_NAME}):)?({_NAME})")
_CLOSE: Final = re.compile(rf"</(?:({_NAME}):)?({_NAME})[ \t\r\n]*>")
_ATTRIBUTE: Final = re.compile(
    rf"""[ \t\r\n]+(?:({_NAME}):)?({_NAME})[ \t\r\n]*=[ \t\r\n]*("[^"<]*"|'[^'<]*')"""
)
_END: Final = re.compile(r"[ \t\r\n]*(/?)>")
_ENTITY: Final = re.compile(r"&(?:#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6})|([a-z]{2,4}));")
_NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_PROLOG: Final = re.compile(r"[ \t\r\n]*(?:<\?.*?\?>[ \t\r\n]*|<!--.*?-->[ \t\r\n]*)*", re.DOTALL)
_TEXT_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_VALUE_ESCAPES: Final = {
    **_TEXT_ESCAPES,
    '"': "&quot;",
    "\t": "&#9;",
    "\n": "&#10;",
    "\r": "&#13;",
}


class XmlError(Exception):
    """The text is no well-formed XML; the text says where."""


def parse_xml(m: Meter, text: bytes, at: int = 0) -> tuple[Xml, int]:
    """The element that begins at `at`, and the offset behind it. Raises ``XmlError``."""
    # What follows the element may be anything; odd bytes within it survive.
    decoded = text[at:].decode("utf-8", "surrogateescape")
    m.allocate(len(decoded))
    match = _PROLOG.match(decoded)
    start = match.end() if match else 0
    element, end = _parse(m, decoded, start)
    return element, at + len(decoded[:end].encode("utf-8", "surrogateescape"))


def parse_document(m: Meter, text: bytes) -> Xml:
    """A whole document. Raises ``XmlError`` if anything follows the element."""
    element, end = parse_xml(m, text)
    rest = text[end:].decode("utf-8", "surrogateescape")
    match = _PROLOG.match(rest)
    if match is None or match.end() != len(rest):
        raise XmlError("text after the element")
    return element


def _parse(m: Meter, text: str, at: int) -> tuple[Xml, int]:
    open_elements: list[Xml] = []
    content: list[str] = []
    while True:
        if text.startswith("<!--", at):
            at = _skip(text, at, "-->")
        elif text.startswith("<![CDATA[", at) and open_elements:
            end = text.find("]]>", at)
            if end < 0:
                raise XmlError("CDATA is not closed")
            content.append(text[at + 9 : end])
            at = end + 3
        elif text.startswith("<?", at):
            at = _skip(text, at, "?>")
        elif text.startswith("</", at):
            match = _CLOSE.match(text, at)
            if match is None or not open_elements:
                raise XmlError(f"bad end tag at {at}")
            element = open_elements.pop()
            if (match.group(1) or "", match.group(2)) != (element.prefix, element.type):
                raise XmlError(f"end of {element.type} expected at {at}")
            _flush(content, element)
            at = match.end()
            if not open_elements:
                return element, at
        elif text.startswith("<", at):
            element, at, empty = _open(m, text, at)
            if open_elements:
                _flush(content, open_elements[-1])
                open_elements[-1].children.append(element)
            if empty:
                if not open_elements:
                    return element, at
            else:
                open_elements.append(element)
                if len(open_elements) > MAX_NESTING:
                    raise XmlError(f"elements nested deeper than {MAX_NESTING}")
        else:
            if not open_elements:
                raise XmlError(f"an element is expected at {at}")
            end = text.find("<", at)
            if end < 0:
                raise XmlError(f"{open_elements[-1].type} is not closed")
            content.append(_unescape(text[at:end]))
            at = end


def _skip(text: str, at: int, mark: str) -> int:
    end = text.find(mark, at + 2)
    if end < 0:
        raise XmlError(f"{mark} is missing")
    return end + len(mark)


def _flush(content: list[str], element: Xml) -> None:
    if content:
        joined = "".join(content)
        # Blanks between elements are lay-out, not content.
        if joined.strip():
            element.children.append(joined.encode("utf-8", "surrogateescape"))
        content.clear()


def _open(m: Meter, text: str, at: int) -> tuple[Xml, int, bool]:
    match = _TAG.match(text, at)
    if match is None:
        raise XmlError(f"bad tag at {at}")
    m.charge(2)
    m.allocate(100)
    element = Xml(match.group(2), match.group(1) or "")
    at = match.end()
    while True:
        end = _END.match(text, at)
        if end is not None:
            return element, end.end(), bool(end.group(1))
        attribute = _ATTRIBUTE.match(text, at)
        if attribute is None:
            raise XmlError(f"bad attribute at {at}")
        prefix, name, quoted = attribute.groups()
        value = _unescape(quoted[1:-1])
        m.charge(1)
        if prefix == "xmlns":
            element.namespaces[name] = value
        elif prefix is None and name == "xmlns":
            element.namespaces[""] = value
        elif (prefix or "", name) in element.attributes:
            raise XmlError(f"two attributes {name}")
        else:
            element.attributes[(prefix or "", name)] = value
        at = attribute.end()


def _unescape(text: str) -> str:
    if "&" not in text:
        return text
    parts: list[str] = []
    at = 0
    while True:
        mark = text.find("&", at)
        if mark < 0:
            parts.append(text[at:])
            return "".join(parts)
        parts.append(text[at:mark])
        match = _ENTITY.match(text, mark)
        if match is None:
            raise XmlError("& stands alone")
        decimal, hexadecimal, name = match.groups()
        if name is not None:
            if name not in _NAMED:
                raise XmlError(f"unknown entity {name}")
            parts.append(_NAMED[name])
        else:
            code = int(decimal) if decimal is not None else int(hexadecimal, 16)
            if not 0 < code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise XmlError("no such character")
            parts.append(chr(code))
        at = match.end()


def write_xml(m: Meter, element: Xml) -> bytes:
    """The text of an element, one line, as short as XML allows."""
    parts: list[str] = []
    _write(m, element, parts, 0)
    return m.sized("".join(parts).encode("utf-8", "surrogateescape"))


def _write(m: Meter, element: Xml, parts: list[str], depth: int) -> None:
    if depth > MAX_NESTING:
        parts.append("<!-- nested too deeply -->")
        return
    m.charge(1)
    name = f"{element.prefix}:{element.type}" if element.prefix else element.type
    parts.append(f"<{name}")
    for prefix, namespace in element.namespaces.items():
        m.allocate(len(namespace))
        parts.append(f' xmlns{":" if prefix else ""}{prefix}="{_escape(namespace)}"')
    for (prefix, key), value in element.attributes.items():
        m.allocate(len(value))
        parts.append(f' {prefix}{":" if prefix else ""}{key}="{_escape(value)}"')
    if not element.children:
        parts.append("/>")
        return
    parts.append(">")
    for child in element.children:
        if isinstance(child, Xml):
            _write(m, child, parts, depth + 1)
        else:
            m.allocate(len(child))
            text = child.decode("utf-8", "surrogateescape")
            parts.append("".join(_TEXT_ESCAPES.get(char, char) for char in text))
    parts.append(f"</{name}>")


def _escape(value: str) -> str:
    return "".join(_VALUE_ESCAPES.get(char, char) for char in value)
