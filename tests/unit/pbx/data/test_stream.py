"""Objects out of a text in pieces."""

from __future__ import annotations

import pytest

from pbx.data import DataLimit, DataSyntax, Limits, ObjectStream, Value, XmlObject

TEXT = (
    'word  "two words" (a, "b)", [AQ==])\r\n{k = ")\\"}"; x = <a b=">">)(</a>;}\n'
    "#I[10.0.0.1]:25 <x><!-- > --><y/>(</x>\n#50\n"
)
VALUES: list[Value] = [
    "word",
    "two words",
    ["a", "b)", b"\1"],
    {"k": ')"}', "x": XmlObject('<a b=">">)(</a>')},
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_pieces_of_any_size_give_the_same_objects(size: int) -> None:
    stream = ObjectStream()
    found: list[Value] = []
    for at in range(0, len(TEXT), size):
        found += stream.feed(TEXT[at : at + size])
    assert found[:4] == VALUES
    assert found[5:] == [XmlObject("<x><!-- > --><y/>(</x>"), 50]
    assert stream.pending == 0


def test_an_object_is_given_when_its_last_bracket_is_there() -> None:
    stream = ObjectStream()
    assert stream.feed("(a,\n") == []
    assert stream.feed("b") == []
    assert stream.feed(")") == [["a", "b"]]


def test_the_end_completes_a_word_and_refuses_half_an_object() -> None:
    stream = ObjectStream()
    assert stream.feed("last") == []
    assert stream.finish() == ["last"]
    assert stream.finish() == []
    stream.feed("(half")
    with pytest.raises(DataSyntax, match="expected"):
        stream.finish()


def test_what_never_ends_is_bounded() -> None:
    stream = ObjectStream(Limits(depth=3, chars=100))
    for _ in range(11):
        assert stream.feed("(endless" if not stream.pending else ", endless") == []
    with pytest.raises(DataLimit, match="more than 100"):
        stream.feed(", endless")
    with pytest.raises(DataLimit, match="deeper"):
        ObjectStream(Limits(depth=3)).feed("((((")
