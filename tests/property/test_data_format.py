"""The data format: what is written reads back equal, in every form and in pieces of any size."""

from __future__ import annotations

import contextlib
from datetime import UTC
from ipaddress import IPv4Address, IPv6Address

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pbx.data import (
    DataError,
    Era,
    IpAddress,
    Limits,
    ObjectStream,
    Value,
    XmlObject,
    from_json,
    parse,
    to_json,
    words_of,
    write,
    write_pretty,
)
from tests.support import cli_client

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["", "YES", "10G", "-1", "a\r\nb", '"', "\\e", "{", "//", "/*", "#NULL#", "default"]
)
addresses = st.builds(
    IpAddress,
    st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address),
    st.none() | st.integers(0, 65_535),
)
moments = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0))
xml = st.sampled_from(["<a/>", '<a b="(">)</a>', "<x:y><z>{</z></x:y>", "<a><!-- ] --></a>"]).map(
    XmlObject
)
leaves: st.SearchStrategy[Value] = st.one_of(
    texts,
    st.binary(max_size=20),
    st.integers(-(2**63), 2**63 - 1),
    moments,
    st.sampled_from([Era.PAST, Era.FUTURE]),
    addresses,
    xml,
    st.none(),
)
values: st.SearchStrategy[Value] = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


@given(values)
def test_both_written_forms_read_back_equal(value: Value) -> None:
    text = write(value)
    assert "\n" not in text
    assert parse(text) == value
    assert parse(write_pretty(value)) == value


@given(values)
def test_the_canonical_form_is_a_fixed_point(value: Value) -> None:
    text = write(value)
    assert write(parse(text)) == text


@given(values)
def test_values_survive_json(value: Value) -> None:
    assert from_json(msgspec.json.decode(msgspec.json.encode(to_json(value)))) == value


@given(st.lists(values, max_size=4), st.data())
def test_a_stream_in_pieces_gives_the_same_objects(found: list[Value], data: st.DataObject) -> None:
    text = "".join(f"{write_pretty(value)}\r\n" for value in found)
    stream = ObjectStream()
    seen: list[Value] = []
    at = 0
    while at < len(text):
        size = data.draw(st.integers(1, max(1, len(text) - at)))
        seen += stream.feed(text[at : at + size])
        at += size
    assert seen + stream.finish() == found


@given(values)
def test_a_command_line_carries_any_object(value: Value) -> None:
    words = words_of(f"ECHO {write(value)}")
    assert [word.value for word in words] == ["ECHO", value]


def _plain(value: Value) -> bool:
    """What both implementations have the same Python value for."""
    if isinstance(value, list):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    return value is None or isinstance(value, str | bytes | int)


@given(values.filter(_plain))
def test_two_implementations_agree(value: Value) -> None:
    """The client of the tests was written from the reference, without a look at the server."""
    assert cli_client.read_object(write(value)) == value
    assert cli_client.read_object(write_pretty(value)) == value
    assert parse(cli_client.write_object(value)) == value


def _read(text: str) -> list[Value]:
    stream = ObjectStream(Limits(chars=1000))
    return stream.feed(text) + stream.finish()


@given(st.text(max_size=60) | st.text("(){}[]<>/=;,\"\\#TIae01 \n'", max_size=60))
def test_any_text_is_an_object_or_an_error(text: str) -> None:
    with contextlib.suppress(DataError):
        words_of(text)
    with contextlib.suppress(DataError):
        value = parse(text)
        assert parse(write(value)) == value
    with contextlib.suppress(DataError):
        for value in _read(text):
            assert parse(write(value)) == value
