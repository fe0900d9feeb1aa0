"""The link between nodes: who may talk, and what a stranger or a broken line can do (nothing)."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.signal.link import (
    MAX_FRAME_BYTES,
    MAX_GREETING_BYTES,
    NONCE_BYTES,
    Failed,
    Frame,
    Link,
    LinkError,
    Received,
    Send,
)

SECRET = b"what only the nodes know"


class Pair:
    """Both ends, and the bytes on the way in each direction."""

    def __init__(
        self,
        secret_a: bytes = SECRET,
        secret_b: bytes = SECRET,
        to: str = "b",
        *,
        greet: bool = True,
    ) -> None:
        self.to_b: deque[bytes] = deque()
        self.to_a: deque[bytes] = deque()
        self.b = Link.accept("b", secret_b, bytes([2] * NONCE_BYTES), self.to_a.append)
        self.a = Link.initiate("a", to, secret_a, bytes([1] * NONCE_BYTES), self.to_b.append)
        if greet:
            self.carry()

    def carry(self, step: int = 0) -> list[Frame]:
        """Deliver everything, in pieces of `step` bytes; the frames that arrive at either end."""
        frames: list[Frame] = []
        while self.to_b or self.to_a:
            for way, end in ((self.to_b, self.b), (self.to_a, self.a)):
                while way:
                    data = way.popleft()
                    size = step or len(data)
                    for start in range(0, len(data), size):
                        frames += end.receive(data[start : start + size])
        return frames


def message(data: bytes = b"SIP/2.0 200 OK\r\n\r\n") -> Received:
    return Received("udp", ("192.0.2.1", 5060), ("198.51.100.2", 5060), data)


def test_both_ends_open_and_know_each_other() -> None:
    pair = Pair()
    assert pair.a.is_open
    assert pair.b.is_open
    assert (pair.a.peer, pair.b.peer) == ("b", "a")


@given(
    st.lists(st.one_of(
        st.builds(Failed, st.integers(0, 2**32)),
        st.binary(max_size=3000).map(message),
        st.builds(
            Send, st.integers(0, 2**32), st.sampled_from(["udp", "tls"]),
            st.just(("::1", 5061)), st.just(("2001:db8::2", 4)), st.binary(max_size=100),
        ),
    ), max_size=6),
    st.integers(0, 7),
)  # fmt: skip
def test_frames_arrive_as_they_were_sent_however_the_stream_is_cut(
    frames: list[Frame], step: int
) -> None:
    pair = Pair()
    for frame in frames:
        pair.a.write(frame)
    assert pair.carry(step) == frames
    for frame in frames:
        pair.b.write(frame)
    assert pair.carry(step) == frames


def test_frames_cannot_be_read_on_the_way() -> None:
    pair = Pair()
    pair.a.write(message(b"INVITE sip:bob@example.com SIP/2.0\r\n\r\n"))
    assert b"bob" not in pair.to_b[0]


@pytest.mark.parametrize("wrong", ["a", "b"])
def test_who_does_not_hold_the_secret_is_refused(wrong: str) -> None:
    with pytest.raises(LinkError, match="secret"):
        Pair(**{f"secret_{wrong}": b"guessed, and guessed wrong"})  # type: ignore[arg-type]


def test_a_node_that_was_not_meant_does_not_answer() -> None:
    """Two nodes may have changed addresses: a call must not end at the wrong one."""
    with pytest.raises(LinkError, match="looks for 'c'"):
        Pair(to="c")


def test_a_replayed_or_swapped_frame_ends_the_link() -> None:
    for order in ((0, 0), (1, 0)):
        pair = Pair()
        pair.a.write(Failed(1))
        pair.a.write(Failed(2))
        sent = list(pair.to_b)
        together = b"".join(sent[index] for index in order)
        with pytest.raises(LinkError):
            pair.b.receive(together)
        assert not pair.b.is_open
        assert pair.b.receive(sent[1]) == []


@given(st.integers(0, 200), st.integers(0, 7))
def test_an_altered_frame_ends_the_link(at: int, bit: int) -> None:
    pair = Pair()
    pair.a.write(message())
    data = bytearray(pair.to_b[0])
    at = 4 + at % (len(data) - 4)
    data[at] ^= 1 << bit
    with pytest.raises(LinkError):
        pair.b.receive(bytes(data))


@given(st.binary(max_size=300))
def test_a_stranger_cannot_open_a_link(data: bytes) -> None:
    """Whatever is sent: an error or silence, and never an open link."""
    for link in (Pair(greet=False).a, Pair(greet=False).b):
        try:
            assert link.receive(data) == []
        except LinkError:
            assert link.receive(b"more") == []
        assert not link.is_open


def test_a_stranger_cannot_make_us_remember_much() -> None:
    link = Pair(greet=False).b
    with pytest.raises(LinkError):
        link.receive((MAX_GREETING_BYTES + 1).to_bytes(4, "big"))
    pair = Pair()
    with pytest.raises(LinkError):
        pair.b.receive((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
