"""The table of verdicts, row by row."""

from __future__ import annotations

import msgspec
import pytest

from pbx.eventlog.kafka.envelope import (
    Envelope,
    WireEvent,
    decode_envelope,
    encode_envelope,
    wire_event,
)
from pbx.eventlog.kafka.fold import Lane, Outcome, Verdict, fold
from pbx.eventlog.record import ANY_VERSION
from pbx.kernel.errors import DecodeError


def nothing(_stream: str) -> int | None:
    return None


def record(
    session: int = 1,
    seq: int = 2,
    *,
    events: int = 1,
    version: int = 0,
    expected: int | None = None,
) -> Envelope:
    event = WireEvent(type="x.y.v1", time_ns=1, data=msgspec.Raw(b"{}"), version=version)
    return Envelope("account/a@b", "w", session, seq, [event] * events, expected=expected)


@pytest.mark.parametrize(
    ("lane", "session", "seq", "outcome"),
    [
        (Lane(3, 7), 3, 8, Outcome.VALID),
        (Lane(3, 7), 4, 1, Outcome.VALID),
        (Lane(3, 7), 9, 1, Outcome.VALID),
        (Lane(3, 7), 3, 7, Outcome.DUPLICATE),
        (Lane(3, 7), 3, 1, Outcome.DUPLICATE),
        (Lane(3, 7), 3, 9, Outcome.GAP),
        (Lane(3, 7), 4, 2, Outcome.GAP),
        (Lane(3, 7), 2, 8, Outcome.FENCED),
        (Lane(3, 7), 2, 1, Outcome.FENCED),
        (None, 3, 1, Outcome.VALID),
        (None, 3, 2, Outcome.GAP),
    ],
)
def test_a_record_counts_as_the_successor_in_its_lane(
    lane: Lane | None, session: int, seq: int, outcome: Outcome
) -> None:
    verdict = fold(record(session, seq), lane, nothing)
    assert verdict.outcome is outcome
    assert verdict.in_lane == (outcome is Outcome.VALID)


def test_a_reader_of_a_cut_partition_takes_the_first_of_a_lane_and_of_a_stream() -> None:
    verdict = fold(record(3, 8, expected=41), None, nothing, cut=True)
    assert verdict == Verdict(Outcome.VALID, (42,), 42)
    assert fold(record(3, 8, expected=40), Lane(3, 7), lambda _: 42, cut=True).outcome is (
        Outcome.CONFLICT
    )
    assert fold(record(3, 8, expected=ANY_VERSION), None, nothing, cut=True).versions == (1,)


@pytest.mark.parametrize(
    ("current", "expected", "verdict"),
    [
        (None, 0, Verdict(Outcome.VALID, (1, 2), 2)),
        (5, 5, Verdict(Outcome.VALID, (6, 7), 7)),
        (5, ANY_VERSION, Verdict(Outcome.VALID, (6, 7), 7)),
        (5, 4, Verdict(Outcome.CONFLICT, (), 5)),
        (5, 6, Verdict(Outcome.CONFLICT, (), 5)),
        (None, 1, Verdict(Outcome.CONFLICT, (), 0)),
    ],
)
def test_a_decision_counts_at_its_expected_version(
    current: int | None, expected: int, verdict: Verdict
) -> None:
    asked = record(events=2, expected=expected)
    assert fold(asked, Lane(1, 1), lambda _: current) == verdict
    assert verdict.in_lane, "a conflict does not break the lane"


@pytest.mark.parametrize(
    ("current", "wished", "version"),
    [(None, 1, 1), (3, 4, 4), (3, 9, 9), (3, 3, 4), (3, 1, 4), (3, 0, 4), (None, 0, 1)],
)
def test_a_fact_counts_whatever_happened(current: int | None, wished: int, version: int) -> None:
    verdict = fold(record(version=wished), Lane(1, 1), lambda _: current)
    assert verdict == Verdict(Outcome.VALID, (version,), version)


def test_a_barrier_counts_and_has_no_events() -> None:
    barrier = Envelope("", "w", 2, 1, [])
    assert fold(barrier, Lane(1, 9), nothing) == Verdict(Outcome.VALID)


def test_an_envelope_comes_back_as_it_was_sent() -> None:
    row = ("call/1", 3, "fax.sent.v9", 5, "n", "a", "c", "7", "t", b'{"pages": 3, "x":[1.0]}')
    sent = Envelope("call/1", "w", 1, 2, [wire_event(row)], at=9)
    met = decode_envelope(encode_envelope(sent))
    assert met.rows((3,)) == [row]
    assert (met.at, met.expected, met.is_barrier) == (9, None, False)


_EVENT = b'{"type":"t","time_ns":1,"data":{}}'


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"hello",
        b"{}",
        b'{"stream":"a","writer":"w","session":0,"seq":1,"events":[]}',
        b'{"stream":"a","writer":"w","session":1,"seq":0,"events":[]}',
        b'{"stream":"a","writer":"w","session":1,"seq":1,"events":[%s,%s]}' % (_EVENT, _EVENT),
        b'{"stream":"a","writer":"w","session":99999999999999999999,"seq":1,"events":[]}',
        b'{"stream":"a","writer":"w","session":1,"seq":1,"expected":-2,"events":[]}',
        b'{"stream":"\xff","writer":"w","session":1,"seq":1,"events":[]}',
    ],
)
def test_what_is_no_record_of_ours_is_told_apart(value: bytes | None) -> None:
    with pytest.raises(DecodeError):
        decode_envelope(value)
