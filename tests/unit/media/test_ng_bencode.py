"""Bencode: the vectors of the NG protocol, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from media.errors import BencodeError, LocalMediaError
from media.ng.bencode import MAX_DEPTH, decode, encode


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"command": "ping"}, b"d7:command4:pinge"),
        (["a", 1], b"l1:ai1ee"),
        ({"b": 1, "a": [{}, []]}, b"d1:bi1e1:alde" + b"le" + b"ee"),
        (-42, b"i-42e"),
        (0, b"i0e"),
        ("", b"0:"),
        ("żó", b"4:\xc5\xbc\xc3\xb3"),
    ],
)
def test_values_and_bytes(value: Any, data: bytes) -> None:
    assert encode(value) == data
    assert decode(data) == value


def test_bytes_of_no_charset_survive() -> None:
    assert encode(decode(b"3:a\xff\xfe")) == b"3:a\xff\xfe"


def test_what_else_is_written() -> None:
    assert encode((True, b"\xff")) == b"li1e1:\xffe"
    with pytest.raises(LocalMediaError, match="float"):
        encode({"x": 1.5})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends early"),
        (b"d", "ends early"),
        (b"d1:a", "ends early"),
        (b"l", "ends early"),
        (b"li1e", "ends early"),
        (b"i1", "integer"),
        (b"ie", "integer"),
        (b"i-e", "integer"),
        (b"i1.5e", "integer"),
        (b"i" + b"9" * 40 + b"e", "integer"),
        (b"5:abc", "longer"),
        (b"5abc", "length"),
        (b"99999999999999999999:a", "length"),
        (b"1x:a", "length"),
        (b"x", "not bencode"),
        (b"di1e1:ae", "key"),
        (b"i1ei2e", "after"),
        (b"l" * (MAX_DEPTH + 1) + b"e" * (MAX_DEPTH + 1), "deep"),
        (b"l" * 60_000, "deep"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BencodeError, match=reason):
        decode(data)
