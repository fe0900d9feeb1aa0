"""``pbx.webhooks.progress``: when to try again, when to give up."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.webhooks import WebhookState
from pbx.webhooks.poster import outcome_of
from pbx.webhooks.progress import (
    Outcome,
    Progress,
    RetryPolicy,
    failed,
    level,
    moved,
    reason_to_pause,
    succeeded,
)

SECOND = 1_000_000_000
POLICY = RetryPolicy(first_s=5, longest_s=3600, give_up_s=432_000)
DOWN = Outcome("connection refused")
HOOK = WebhookState(webhook_id="w", after="7")


def pause_s(progress: Progress, now_ns: int) -> float:
    return (progress.next_try_ns - now_ns) / SECOND


@given(st.integers(0, 2**32), st.integers(1, 20))
def test_pauses_double_up_to_the_longest_and_differ_by_chance(seed: int, count: int) -> None:
    rng = random.Random(seed)
    progress, now = Progress(after="7"), 1000 * SECOND
    for number in range(count):
        progress = failed(progress, DOWN, now, POLICY, rng)
        whole = min(3600.0, 5.0 * 2**number)
        assert whole / 2 <= pause_s(progress, now) <= whole
        assert (progress.failures, progress.failing_since_ns) == (number + 1, 1000 * SECOND)
        now = progress.next_try_ns
    assert (progress.after, progress.error) == ("7", "connection refused")


def test_days_of_failures_are_borne_and_then_it_is_paused() -> None:
    rng = random.Random(1)
    progress, now, tries = Progress(), 1000 * SECOND, 0
    while not (reason := reason_to_pause(progress, DOWN, now, POLICY)):
        progress = failed(progress, DOWN, now, POLICY, rng)
        now = progress.next_try_ns
        tries += 1
    assert 432_000 <= (now / SECOND - 1000) < 432_000 + 3600
    assert 100 < tries < 300
    assert reason == "no success for 432000 s: connection refused"


def test_a_success_forgets_the_failures() -> None:
    progress = failed(Progress(delivered=3), DOWN, SECOND, POLICY, random.Random(1))
    progress = succeeded(progress, "9", 2, 5 * SECOND)
    assert progress == Progress(after="9", delivered=5, delivered_ns=5 * SECOND)
    assert reason_to_pause(progress, Outcome(), 10**18, POLICY) == ""


def test_a_receiver_that_is_gone_is_not_tried_again() -> None:
    outcome = outcome_of(410, [], 0.0)
    progress = failed(Progress(), outcome, SECOND, POLICY, random.Random(1))
    assert reason_to_pause(progress, outcome, SECOND, POLICY).startswith("the receiver is gone")


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [
        (429, [(b"Retry-After", b"120")], 120.0),
        (503, [(b"retry-after", b"Thu, 01 Jan 1970 00:10:00 GMT")], 500.0),
        (503, [(b"retry-after", b"Thu, 01 Jan 1970 00:00:00 GMT")], 0.0),
        (503, [(b"retry-after", b"soon")], 0.0),
        (503, [], 0.0),
        (500, [(b"Retry-After", b"120")], 0.0),
    ],
)
def test_a_receiver_may_ask_for_a_pause(
    status: int, headers: list[tuple[bytes, bytes]], wait_s: float
) -> None:
    assert outcome_of(status, headers, 100.0).retry_after_s == wait_s


def test_the_pause_it_asks_for_is_bounded() -> None:
    outcome = Outcome("busy", retry_after_s=10**9)
    progress = failed(Progress(), outcome, 0, POLICY, random.Random(1))
    assert pause_s(progress, 0) == 3600


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_one(status: int) -> None:
    assert outcome_of(status, [], 0.0) == Outcome()


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 500])
def test_anything_else_is_a_failure_that_is_named(status: int) -> None:
    assert str(status) in outcome_of(status, [], 0.0).error


def test_a_redirect_is_not_followed_and_says_so() -> None:
    assert "redirects are not followed" in outcome_of(302, [], 0.0).error


class TestOrders:
    def test_a_new_webhook_begins_where_it_was_told(self) -> None:
        assert level(None, HOOK) == Progress(after="7")

    def test_nothing_changes_without_an_order(self) -> None:
        progress = Progress(after="9", failures=2, next_try_ns=5, error="x")
        assert level(progress, HOOK) == progress

    def test_a_replay_begins_anew_once(self) -> None:
        hook = WebhookState(webhook_id="w", after="3", replays=1)
        progress = level(Progress(after="9", delivered=4, failures=2, error="x"), hook)
        assert progress == Progress(after="3", replays=1, delivered=4)
        assert level(moved(progress, "5"), hook).after == "5"

    def test_a_resume_tries_at_once_and_keeps_the_place(self) -> None:
        hook = WebhookState(webhook_id="w", after="7", resumes=1)
        progress = level(Progress(after="9", failures=9, failing_since_ns=1, next_try_ns=5), hook)
        assert progress == Progress(after="9", resumes=1)
