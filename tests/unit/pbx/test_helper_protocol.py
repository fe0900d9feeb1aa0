"""The line protocol of external programs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.helper.protocol import MAX_PENDING, HelperProtocol


class Answers:
    """Keeps what comes back."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []

    def __call__(self, word: str, text: str) -> None:
        self.got.append((word, text))


@pytest.fixture
def protocol() -> HelperProtocol:
    protocol = HelperProtocol(timeout_s=5.0)
    assert protocol.opening(0.0) == b"000000 INTF 1\n"
    return protocol


def test_answers_come_in_any_order(protocol: HelperProtocol) -> None:
    one, two = Answers(), Answers()
    assert protocol.request("NEW", ("a@x.un",), one, 1.0) == b"000001 NEW a@x.un\n"
    assert protocol.request("READPLAIN", ("b@x.un",), two, 1.0) == b"000002 READPLAIN b@x.un\n"
    protocol.received(b"000000 INTF 3\n")
    assert protocol.agreed
    protocol.received(b"2 plain pass word \r\n")
    protocol.received(b"* a line for the log\n")
    protocol.received(b"000001 ERROR unknown account\n")
    assert (one.got, two.got) == ([("ERROR", "unknown account")], [("PLAIN", "pass word")])
    assert protocol.pending == 0 and protocol.next_due() is None


def test_what_answers_nothing_is_ignored(protocol: HelperProtocol) -> None:
    one = Answers()
    protocol.request("NEW", ("a@x.un",), one, 1.0)
    for line in (b"", b"x OK\n", b"7 OK\n", b"-1 OK\n", b"\xff\xfe\n", b"1" * 30 + b" OK\n", b"\n"):
        protocol.received(line)
    assert one.got == []
    protocol.received(b"1 OK\n")
    protocol.received(b"1 OK\n")
    assert one.got == [("OK", "")]


def test_too_late_and_gone(protocol: HelperProtocol) -> None:
    one = Answers()
    protocol.received(b"0 INTF 1\n")
    protocol.request("NEW", ("a@x.un",), one, 1.0)
    assert protocol.next_due() == 6.0
    assert not protocol.overdue(5.9) and protocol.overdue(6.0)
    protocol.ended("it ended")
    assert one.got == [("FAILURE", "it ended")]
    assert not protocol.overdue(9.0)


@pytest.mark.parametrize("word", ["", "a b", "a\nQUIT", "a\r", "x" * 5000, "\x00"])
def test_what_cannot_be_written_on_one_line(protocol: HelperProtocol, word: str) -> None:
    one = Answers()
    assert protocol.request("NEW", (word,), one, 1.0) == b""
    assert one.got[0][0] == "FAILURE"
    assert protocol.request("NEW", ("b",), one, 1.0) == b"000001 NEW b\n"


def test_a_slow_program_is_not_asked_without_end(protocol: HelperProtocol) -> None:
    answers = Answers()
    lines = [protocol.request("NEW", ("a",), answers, 0.0) for _ in range(MAX_PENDING + 50)]
    assert len([line for line in lines if line]) == MAX_PENDING - 1
    assert {word for word, _ in answers.got} == {"FAILURE"}


@given(st.binary(max_size=300))
def test_no_line_breaks_it(line: bytes) -> None:
    protocol = HelperProtocol(5.0)
    protocol.opening(0.0)
    protocol.request("NEW", ("a",), Answers(), 0.0)
    protocol.received(line)
