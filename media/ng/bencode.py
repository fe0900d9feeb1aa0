"""Bencode, the default encoding of NG messages.

Fed by ``media.ng.messages``; pure. Byte strings become ``str`` by UTF-8 with ``surrogateescape``,
so a description in another charset survives a round trip byte for byte. Dictionaries keep their
order on output: NG, unlike BitTorrent, does not sort keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from media.errors import BencodeError, LocalMediaError

#: Dictionaries of a statistics reply nest six deep; twice that leaves room for extensions and
#: keeps a hostile ``lllll…`` from exhausting the stack.
MAX_DEPTH: Final = 12
#: 18 digits hold any 59-bit integer; longer ones only cost time (CPython's quadratic ``int``).
MAX_DIGITS: Final = 18

_END: Final = 0x65  # e
_DIGITS: Final = frozenset(b"0123456789")


def encode(value: Any) -> bytes:
    """Return the bencoding of str, bytes, int, bool, list, tuple and dict values.

    Raises :class:`LocalMediaError` for anything else: what is sent is built by us.
    """
    out: list[bytes] = []
    _encode(value, out)
    return b"".join(out)


def _encode(value: Any, out: list[bytes]) -> None:
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        out.append(b"%d:%b" % (len(data), data))
    elif isinstance(value, int):  # bool too: NG has no booleans
        out.append(b"i%de" % value)
    elif isinstance(value, Mapping):
        out.append(b"d")
        for key, item in value.items():
            _encode(key, out)
            _encode(item, out)
        out.append(b"e")
    elif isinstance(value, list | tuple):
        out.append(b"l")
        for item in value:
            _encode(item, out)
        out.append(b"e")
    elif isinstance(value, bytes):
        out.append(b"%d:%b" % (len(value), value))
    else:
        raise LocalMediaError(f"bencode has no form for {type(value).__name__}")


def decode(data: bytes) -> Any:
    """Return the one value that ``data`` holds. Raises :class:`BencodeError`."""
    try:
        value, end = _decode(data, 0, 0)
    except IndexError:
        raise BencodeError("bencode ends early") from None
    if end != len(data):
        raise BencodeError("bytes after the bencoded value")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    first = data[at]
    if first in _DIGITS:
        return _string(data, at)
    if first == 0x69:  # i
        return _integer(data, at + 1)
    if depth == MAX_DEPTH:
        raise BencodeError("bencode nests too deeply")
    at += 1
    if first == 0x64:  # d
        table: dict[str, Any] = {}
        while data[at] != _END:
            if data[at] not in _DIGITS:
                raise BencodeError("a dictionary key is not a string")
            key, at = _string(data, at)
            table[key], at = _decode(data, at, depth + 1)
        return table, at + 1
    if first == 0x6C:  # l
        items: list[Any] = []
        while data[at] != _END:
            item, at = _decode(data, at, depth + 1)
            items.append(item)
        return items, at + 1
    raise BencodeError("not bencode")


def _string(data: bytes, at: int) -> tuple[str, int]:
    colon = data.find(b":", at, at + MAX_DIGITS + 1)
    length = data[at:colon]
    if colon < 0 or not length.isdigit():
        raise BencodeError("a string has no length")
    start = colon + 1
    end = start + int(length)
    if end > len(data):
        raise BencodeError("a string is longer than the message")
    return data[start:end].decode("utf-8", "surrogateescape"), end


def _integer(data: bytes, at: int) -> tuple[int, int]:
    end = data.find(b"e", at, at + MAX_DIGITS + 2)
    digits = data[at:end]
    if end < 0 or not digits.removeprefix(b"-").isdigit():
        raise BencodeError("not an integer")
    return int(digits), end + 1
