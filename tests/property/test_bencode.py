"""Bencode: every value survives, every byte string is decoded or refused."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from media.errors import BencodeError
from media.ng.bencode import decode, encode

values = st.recursive(
    st.integers(-(10**17), 10**17) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_values_survive(value: Any) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=200))
def test_byte_strings_survive(data: bytes) -> None:
    assert encode(decode(b"%d:%b" % (len(data), data))) == b"%d:%b" % (len(data), data)


@given(st.text("dlei0123456789:-ax", max_size=40).map(str.encode) | st.binary(max_size=40))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except BencodeError:
        return
    assert decode(encode(value)) == value


@given(values, st.data())
def test_a_cut_message_is_refused(value: Any, data: st.DataObject) -> None:
    encoded = encode(value)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    try:
        decode(encoded[:cut])
    except BencodeError:
        return
    raise AssertionError("a part of a value is no value")
