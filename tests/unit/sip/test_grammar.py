"""Scanners of lists, parameters and quoted strings."""

from __future__ import annotations

import pytest

from sip.errors import MalformedHeader
from sip.grammar import (
    format_params,
    parse_number,
    parse_params,
    quote,
    readable,
    split_list,
    unquote,
)


def test_lists_split_outside_quotes_and_brackets() -> None:
    assert split_list("a", "X") == ["a"]
    assert split_list("a, b\t,c", "X") == ["a", "b", "c"]
    assert split_list('"a,\\"b" <sip:x,y>;p="1,2", <sip:z>', "X") == [
        '"a,\\"b" <sip:x,y>;p="1,2"',
        "<sip:z>",
    ]


@pytest.mark.parametrize("text", ["a,,b", ",", "a,", '"a, b', "<a, b", '"a" <b>, "'])
def test_broken_lists(text: str) -> None:
    with pytest.raises(MalformedHeader):
        split_list(text, "X")


@pytest.mark.parametrize("element", ["a", "<a>"])
def test_lists_are_bounded(element: str) -> None:
    assert len(split_list(", ".join([element] * 5), "X", 5)) == 5
    with pytest.raises(MalformedHeader, match="too many"):
        split_list(", ".join([element] * 6), "X", 5)
    with pytest.raises(MalformedHeader, match="too many"):
        split_list(", ".join([element] * 5000), "X", 5)


def test_params() -> None:
    text = ' ;A=1; b ;c = "x;\\"y" ;d=[::1]'
    params = parse_params(text, "X")
    assert params == {"a": "1", "b": None, "c": '"x;\\"y"', "d": "[::1]"}
    assert format_params(params) == ';a=1;b;c="x;\\"y";d=[::1]'
    assert parse_params("", "X") == {}


def test_params_repeated() -> None:
    """RFC 3261 §7.3.1: a harmless echo passes, a contradiction does not."""
    assert parse_params(";a=1;a=1", "X") == {"a": "1"}
    with pytest.raises(MalformedHeader, match="contradicting"):
        parse_params(";tag=1;tag=2", "X")


@pytest.mark.parametrize(
    "text", ["x;a=1", ";;", ";", ";a=1;", ";a b=1", ";a=b c", ';a="b', ';a="b"c', ";a=<b>", ";=1"]
)
def test_broken_params(text: str) -> None:
    with pytest.raises(MalformedHeader):
        parse_params(text, "X")


@pytest.mark.parametrize("text", ["", "plain", 'a"b', "back\\slash", 'both\\"', "ünï"])
def test_quote_round_trip(text: str) -> None:
    assert unquote(quote(text)) == text


def test_unquote_leaves_tokens() -> None:
    assert unquote("token") == "token"
    assert unquote('"') == '"'


def test_readable() -> None:
    """UTF-8, else Latin-1; never a lone surrogate."""
    assert readable("plain") == "plain"
    assert readable("Жанна") == "Жанна"
    assert readable(b"M\xfcller".decode("utf-8", "surrogateescape")) == "Müller"


def test_numbers() -> None:
    assert parse_number("0070", "X") == 70
    assert parse_number("4294967295", "X") == 2**32 - 1
    for text in ("", "-1", "1.5", "٣", "4294967296", "9" * 5000):
        with pytest.raises(MalformedHeader):
            parse_number(text, "X")
