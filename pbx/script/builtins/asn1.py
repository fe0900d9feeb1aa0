"""``Convert(…,"asn.1")``: BER between arrays and datablocks (ITU-T X.690).

The reference names the format and no mapping, so this is ours: SEQUENCE is an array, INTEGER and
ENUMERATED a number, OCTET STRING a datablock, UTF8String and its relatives a string, NULL null,
BOOLEAN ``YES`` or null, an object identifier the dotted string with an ``oid:`` prefix. Anything
else is a dictionary ``{tag; class; value}`` with the raw content, which can be encoded again.
"""

from __future__ import annotations

from typing import Final

from pbx.script.limits import MAX_NESTING, Meter
from pbx.script.values import MAX_NUMBER, MIN_NUMBER, YES, Data, Dictionary, Value

_TEXTS: Final = frozenset((12, 18, 19, 20, 22, 26))
_CLASSES: Final = (b"universal", b"application", b"context", b"private")


class Asn1Error(Exception):
    """No BER, or a value that has none."""


def decode(m: Meter, octets: bytes) -> list[Value]:
    """All values in a row. Raises ``Asn1Error``."""
    return _decode_all(m, octets, 0)


def _decode_all(m: Meter, octets: bytes, depth: int) -> list[Value]:
    if depth > MAX_NESTING:
        raise Asn1Error("nested too deeply")
    found: list[Value] = []
    at = 0
    while at < len(octets):
        m.charge(1)
        m.allocate(64)
        first = octets[at]
        content, at = _content(octets, at)
        found.append(_decode_one(m, first, content, depth))
    return found


def _content(octets: bytes, at: int) -> tuple[bytes, int]:
    if octets[at] & 31 == 31:
        raise Asn1Error("long tags are not read")
    if at + 1 >= len(octets):
        raise Asn1Error("ends in a header")
    length = octets[at + 1]
    at += 2
    if length & 0x80:
        count = length & 0x7F
        if not 0 < count <= 4 or at + count > len(octets):
            raise Asn1Error("bad length")
        length = int.from_bytes(octets[at : at + count], "big")
        at += count
    if at + length > len(octets):
        raise Asn1Error("ends within a value")
    return octets[at : at + length], at + length


def _decode_one(m: Meter, first: int, content: bytes, depth: int) -> Value:
    tag = first & 31
    if first & 0xC0 == 0:
        if tag == 16:
            return _decode_all(m, content, depth + 1)
        if tag == 1 and len(content) == 1:
            return YES if content[0] else None
        if tag in (2, 10) and 0 < len(content) <= 8:
            return int.from_bytes(content, "big", signed=True)
        if tag == 4:
            return m.sized_data(content)
        if tag == 5 and not content:
            return None
        if tag == 6 and content:
            return b"oid:" + _identifier(content)
        if tag in _TEXTS:
            return m.sized(content)
    other = Dictionary()
    other.set(b"tag", tag)
    other.set(b"class", _CLASSES[first >> 6])
    if first & 0x20:
        other.set(b"value", _decode_all(m, content, depth + 1))
    else:
        other.set(b"value", m.sized_data(content))
    return other


def _identifier(content: bytes) -> bytes:
    numbers: list[int] = []
    value = 0
    for byte in content[:64]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers or len(content) > 64:
        raise Asn1Error("bad object identifier")
    first = min(numbers[0] // 40, 2)
    parts = [first, numbers[0] - 40 * first, *numbers[1:]]
    return ".".join(str(part) for part in parts).encode()


def encode(m: Meter, values: list[Value]) -> bytes:
    """An array as the BER of its elements in a row. Raises ``Asn1Error``."""
    return b"".join(_encode(m, one, 0) for one in values)


def _encode(m: Meter, value: Value, depth: int) -> bytes:
    if depth > MAX_NESTING:
        raise Asn1Error("nested too deeply")
    m.charge(1)
    if value is None:
        return b"\x05\x00"
    if isinstance(value, int):
        assert MIN_NUMBER <= value <= MAX_NUMBER
        size = (value if value >= 0 else ~value).bit_length() // 8 + 1
        return _wrapped(2, value.to_bytes(size, "big", signed=True))
    if isinstance(value, bytes):
        if value.startswith(b"oid:"):
            return _wrapped(6, _encode_identifier(value[4:]))
        return _wrapped(12, m.sized(value))
    if isinstance(value, Data):
        return _wrapped(4, m.sized(value.octets))
    if isinstance(value, list):
        return _wrapped(0x30, m.sized(b"".join(_encode(m, one, depth + 1) for one in value)))
    if isinstance(value, Dictionary):
        return _encode_other(m, value, depth)
    raise Asn1Error("a value that has no BER")


def _encode_other(m: Meter, value: Dictionary, depth: int) -> bytes:
    tag, kind, content = value.get(b"tag"), value.get(b"class"), value.get(b"value")
    if not (isinstance(tag, int) and 0 <= tag < 31 and kind in _CLASSES):
        raise Asn1Error("a dictionary needs tag, class and value")
    first = tag | _CLASSES.index(kind) << 6
    if isinstance(content, Data):
        return _wrapped(first, m.sized(content.octets))
    if isinstance(content, list):
        inner = b"".join(_encode(m, one, depth + 1) for one in content)
        return _wrapped(first | 0x20, m.sized(inner))
    raise Asn1Error("the value is a datablock or an array")


def _encode_identifier(text: bytes) -> bytes:
    try:
        numbers = [int(part) for part in text[:400].split(b".")]
    except ValueError:
        raise Asn1Error("bad object identifier") from None
    if len(numbers) < 2 or min(numbers) < 0 or max(numbers) > MAX_NUMBER or numbers[0] > 2:
        raise Asn1Error("bad object identifier")
    out = bytearray()
    for number in (numbers[0] * 40 + numbers[1], *numbers[2:]):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        out.extend(reversed(groups))
    return bytes(out)


def _wrapped(first: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes((first, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((first, 0x80 | size)) + length.to_bytes(size, "big") + content
