"""One registration as a machine: refresh, back-off, 423, identity over restarts."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.data import Value
from pbx.trunks.records import RecordKey, read_record
from pbx.trunks.registration import (
    CSEQ_MAX,
    Granted,
    Identity,
    Kind,
    Refused,
    Registration,
    State,
    cseq_after,
    new_identity,
)

KEY = RecordKey("pbx@corp1.un", "voip1")


def registration(due: float = 0.0, **change: Value) -> Registration:
    values: dict[str, Value] = {"domain": "voip1.un", "fromName": "x", "period": "5m", **change}
    return Registration(read_record(KEY, values), Identity("t1", "c1", 7), Random(1), due)


def test_it_asks_for_more_than_the_period_and_refreshes_at_it() -> None:
    one = registration()
    attempt = one.attempt()
    assert (attempt.cseq, attempt.expires_s) == (8, 375)
    assert not one.due
    one.succeeded(Granted(375, 9), 100.0)
    assert one.state is State.REGISTERED
    assert one.identity.cseq == 9, "the repeat with credentials had its own number"
    assert one.due is not None
    assert 100 + 270 <= one.due <= 100 + 300
    assert one.is_registered(474.0)
    assert not one.is_registered(475.0)


def test_a_registrar_that_shortens_is_followed() -> None:
    one = registration()
    one.attempt()
    one.succeeded(Granted(60, 8), 0.0)
    assert one.due is not None
    assert 43.2 <= one.due <= 48


def test_too_brief_is_asked_again_for_longer_at_once_but_not_for_ever() -> None:
    one = registration()
    for wanted in (600, 1200):
        one.attempt()
        assert not one.failed(Refused(Kind.REFUSED, 423, "", 8, wanted), 5.0)
        assert one.due == 5.0
        assert one.attempt_number == 0
    assert one.attempt().expires_s == 1200
    assert one.failed(Refused(Kind.REFUSED, 423, "", 9, 2400), 5.0), "the third is a failure"
    broken = registration()
    broken.attempt()
    assert broken.failed(Refused(Kind.REFUSED, 423, "", 8, 10), 5.0), "less than we asked for"
    broken.attempt()
    assert broken.failed(Refused(Kind.REFUSED, 423, "", 8, 10**9), 5.0), "years"


@pytest.mark.parametrize(
    ("kind", "longest"),
    [
        (Kind.UNREACHABLE, (60, 120, 240, 300, 300, 300)),
        (Kind.REFUSED, (30, 300, 1800, 1800)),
        (Kind.PASSWORD, (30, 300, 1800, 1800)),
    ],
)
def test_failures_are_tried_again_ever_later(kind: Kind, longest: tuple[int, ...]) -> None:
    """RFC 5626 §4.5 while nobody answers; far later where somebody says no."""
    one, now = registration(), 0.0
    for number, most in enumerate(longest, 1):
        one.attempt()
        assert one.failed(Refused(kind, 403, "no", 8), now)
        assert one.attempt_number == number
        assert one.due is not None
        assert most / 2 <= one.due - now <= most
        now = one.due
    one.begin_anew(now)
    assert one.due == now, "an operator does not wait"
    assert one.attempt_number == 0


def test_retry_after_is_heeded_within_reason() -> None:
    one = registration()
    one.attempt()
    one.failed(Refused(Kind.UNREACHABLE, 503, "", 8, 0, 900.0), 0.0)
    assert one.due == 900.0
    one.attempt()
    one.failed(Refused(Kind.UNREACHABLE, 503, "", 8, 0, 1e9), 0.0)
    assert one.due == 3600.0


def test_a_failed_refresh_does_not_end_the_registration() -> None:
    one = registration()
    one.attempt()
    one.succeeded(Granted(375, 8), 0.0)
    one.attempt()
    one.failed(Refused(Kind.UNREACHABLE, 408, "", 9), 300.0)
    assert one.state is State.FAILED
    assert one.is_registered(374.0)
    one.begin_anew(301.0)
    assert one.due == 301.0


def test_nothing_is_sent_beside_a_running_attempt() -> None:
    one = registration()
    one.attempt()
    one.begin_anew(1.0)
    assert one.due is None


@given(st.integers(1, CSEQ_MAX), st.floats(0, 1e9))
def test_numbers_grow_over_a_crash(recorded: int, seconds: float) -> None:
    """A request a second at most may have been sent since one was recorded."""
    following = cseq_after(recorded, seconds)
    assert 0 < following < CSEQ_MAX
    if recorded + seconds + 20 < CSEQ_MAX:
        assert following > recorded + int(seconds)


def test_identities_differ_and_fit_into_a_uri() -> None:
    rng = Random(1)
    made = {new_identity(rng).token for _ in range(100)}
    assert len(made) == 100
    assert all(token.isalnum() and len(token) == 21 for token in made)
