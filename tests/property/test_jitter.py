"""The jitter buffer: whatever the network does, what it plays is in order and never twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from media.jitter import SLOTS, Due, JitterBank

ROW = np.zeros(1, dtype=np.int64)
QUIET = np.zeros(1, dtype=np.bool_)


class Stream:
    """One row; payloads tell their number."""

    def __init__(self, first: int = 65_530) -> None:
        self.bank = JitterBank(8)
        self.bank.grow(1)
        self.first = first
        self.played: list[int] = []
        self.dues: list[Due] = []

    def put(self, numbers: list[int], now: float, ssrc: int = 1, stamp: int | None = None) -> None:
        """Packets of these numbers, counted from the stream's first."""
        count = len(numbers)
        if not count:
            return
        at = np.array(numbers, dtype=np.int64)
        stamps = 160 * at if stamp is None else np.full(count, stamp)
        payloads = at.astype("<i8").view(np.uint8).reshape(count, 8)
        self.bank.put(
            np.zeros(count, dtype=np.int64),
            (self.first + at) & 0xFFFF,
            stamps & 0xFFFFFFFF,
            np.full(count, ssrc),
            np.zeros(count, dtype=np.int8),
            np.full(count, 8),
            payloads,
            np.full(count, now),
        )

    def pop(self) -> Due:
        due, slot = self.bank.pop(ROW, QUIET)
        if due[0] == Due.PACKET:
            payload = self.bank.payloads[0, slot[0], :8]
            self.played.append(int(payload.view("<i8")[0]))
        self.dues.append(Due(int(due[0])))
        return self.dues[-1]


@given(st.data())
def test_never_reordered_never_doubled(data: st.DataObject) -> None:
    stream = Stream(data.draw(st.integers(0, 65_535)))
    now, sent = 0.0, 0
    late: list[int] = []
    for _ in range(data.draw(st.integers(20, 120))):
        now += 0.02
        batch = [*late]
        late = []
        for _ in range(data.draw(st.sampled_from([1, 1, 1, 1, 0, 2, 5]))):
            fate = data.draw(st.sampled_from(["in", "in", "in", "lost", "late", "twice"]))
            if fate in ("in", "twice"):
                batch += [sent] * (1 + (fate == "twice"))
            elif fate == "late":
                late.append(sent)
            sent += 1
        stream.put(data.draw(st.permutations(batch)), now)
        stream.pop()
    assert stream.played == sorted(set(stream.played))
    bank = stream.bank
    total = bank.received + bank.late + bank.duplicate + bank.dropped
    assert len(stream.played) <= bank.received[0] <= total[0]


@given(st.data())
def test_any_headers_do_no_harm(data: st.DataObject) -> None:
    """Sequence numbers, timestamps and sources at random; many rows at once."""
    bank = JitterBank(4)
    bank.grow(3)
    rows = np.arange(3, dtype=np.int64)
    for tick in range(data.draw(st.integers(1, 30))):
        count = data.draw(st.integers(0, 8))
        if count:

            def ints(high: int, count: int = count) -> np.ndarray:
                values = st.lists(st.integers(0, high), min_size=count, max_size=count)
                return np.array(data.draw(values), dtype=np.int64)

            bank.put(
                ints(2),
                ints(65_535),
                ints(2**32 - 1),
                ints(2),
                (ints(1) * -2).astype(np.int8),
                ints(6),
                np.zeros((count, 6), dtype=np.uint8),
                np.full(count, tick * 0.02),
            )
        due, slot = bank.pop(rows, np.ones(3, dtype=np.bool_))
        assert ((due >= 0) & (due <= max(Due))).all()
        assert ((slot >= 0) & (slot < SLOTS)).all()


def test_an_even_stream_is_played_whole_after_forty_milliseconds() -> None:
    stream = Stream()
    for number in range(200):
        stream.put([number], number * 0.02)
        stream.pop()
    assert stream.played == list(range(199))
    assert stream.dues[:2] == [Due.SILENCE, Due.PACKET]


def test_a_lost_packet_is_one_concealed_frame() -> None:
    stream = Stream()
    for number in range(50):
        stream.put([number] if number != 20 else [], number * 0.02)
        stream.pop()
    assert stream.dues.count(Due.LOST) + stream.dues.count(Due.DRY) == 1
    assert stream.played == [number for number in range(len(stream.played) + 1) if number != 20]


def test_reordering_within_the_delay_is_unheard() -> None:
    stream = Stream()
    for number in range(0, 100, 2):
        stream.put([number + 1, number], number * 0.02)
        stream.pop()
        stream.pop()
    assert Due.LOST not in stream.dues
    assert stream.played == list(range(len(stream.played)))


def test_another_source_starts_anew() -> None:
    stream = Stream()
    for number in range(20):
        stream.put([number], number * 0.02)
        stream.pop()
    for number in range(20):
        stream.put([1000 + number], 0.4 + number * 0.02, ssrc=2)
        stream.pop()
    assert stream.bank.restarts[0] == 1
    assert stream.played[-1] >= 1015


def test_a_restarted_sequence_needs_two_packets() -> None:
    """RFC 3550 A.1: one stray is dropped, two in a row are a restart."""
    stream = Stream(first=0)
    for number in range(20):
        stream.put([number], number * 0.02)
        stream.pop()
    stream.put([30_000], 0.4)
    stream.pop()
    assert stream.bank.restarts[0] == 0
    stream.put([20], 0.42)
    stream.pop()
    stream.put([30_001], 0.44)
    stream.put([30_002], 0.46)
    assert stream.bank.restarts[0] == 1


def test_jitter_makes_the_delay_grow_and_calm_makes_it_shrink() -> None:
    stream = Stream()
    rng = np.random.default_rng(4)
    arrivals = sorted((n * 0.02 + float(rng.random()) * 0.08, n) for n in range(500))
    now = 0.0
    for _ in range(500):
        now += 0.02
        batch = [n for due, n in arrivals if now - 0.02 <= due < now]
        stream.put(batch, now)
        stream.pop()
    grown = float(stream.bank.depth_s(ROW)[0])
    assert grown >= 0.04
    for number in range(500, 1500):
        now += 0.02
        stream.put([number], now)
        stream.bank.pop(ROW, np.ones(1, np.bool_))
    assert float(stream.bank.depth_s(ROW)[0]) <= 0.08
    assert float(stream.bank.jitter_s(ROW)[0]) < 0.002


def test_a_pause_of_the_source_is_no_loss() -> None:
    """Silence suppression: the sequence goes on, the timestamp jumps (RFC 3551 §4.1)."""
    stream = Stream()
    now = 0.0
    for number in range(20):
        now += 0.02
        stream.put([number], now)
        stream.pop()
    for _ in range(25):
        now += 0.02
        stream.pop()
    for number in range(20):
        now += 0.02
        stream.put([20 + number], now, stamp=160 * (45 + number))
        stream.pop()
    assert Due.LOST not in stream.dues
    assert stream.played == list(range(len(stream.played)))
    assert len(stream.played) >= 36
