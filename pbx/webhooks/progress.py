"""How far a webhook got, and what follows from an answer or the lack of one (pure).

A webhook delivers in order: an event that is not taken is tried again, ever more seldom, and those
behind it wait. After ``give_up_s`` without a success, or when the receiver says that it is gone,
the webhook is paused; an administrator resumes it, and nothing was lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from pbx.domain.webhooks import WebhookState

_NS: Final = 1_000_000_000


class Rng(Protocol):
    """``random.Random``, or the system's."""

    def random(self) -> float: ...


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """See the settings of ``webhooks``."""

    first_s: float
    longest_s: float
    give_up_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt."""

    error: str = ""
    """Empty: the receiver took it."""
    retry_after_s: float = 0.0
    """It asked for this pause."""
    gone: bool = False
    """It will never take anything again (410)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One webhook's row."""

    after: str = ""
    """Token behind the last event that was delivered, or looked at and not wanted."""
    replays: int = 0
    """The order to begin anew that `after` follows from."""
    resumes: int = 0
    delivered: int = 0
    """Events, ever."""
    delivered_ns: int = 0
    """Wall time of the last success."""
    failures: int = 0
    """Attempts in a row that failed."""
    failing_since_ns: int = 0
    next_try_ns: int = 0
    error: str = ""


def level(progress: Progress | None, hook: WebhookState) -> Progress:
    """The row as the newest orders want it."""
    if progress is None:
        return Progress(after=hook.after, replays=hook.replays, resumes=hook.resumes)
    if progress.replays != hook.replays:
        progress = replace(_calm(progress), after=hook.after, replays=hook.replays)
    if progress.resumes != hook.resumes:
        progress = replace(_calm(progress), resumes=hook.resumes)
    return progress


def moved(progress: Progress, after: str) -> Progress:
    """Nothing up to `after` was wanted."""
    return replace(progress, after=after)


def succeeded(progress: Progress, after: str, events: int, now_ns: int) -> Progress:
    """`events` were taken, the last of which lies before `after`."""
    return replace(
        _calm(progress), after=after, delivered=progress.delivered + events, delivered_ns=now_ns
    )


def failed(
    progress: Progress, outcome: Outcome, now_ns: int, policy: RetryPolicy, rng: Rng
) -> Progress:
    """They were not."""
    pause_s = min(policy.longest_s, policy.first_s * 2.0 ** min(progress.failures, 30))
    # Jitter, so that a receiver that comes back is not met by everybody at once.
    pause_s *= 0.5 + rng.random() / 2
    pause_s = max(pause_s, min(outcome.retry_after_s, policy.longest_s))
    return replace(
        progress,
        failures=progress.failures + 1,
        failing_since_ns=progress.failing_since_ns or now_ns,
        next_try_ns=now_ns + int(pause_s * _NS),
        error=outcome.error,
    )


def reason_to_pause(progress: Progress, outcome: Outcome, now_ns: int, policy: RetryPolicy) -> str:
    """Why to give up; empty: go on trying."""
    if outcome.gone:
        return f"the receiver is gone: {outcome.error}"
    if progress.failures and now_ns - progress.failing_since_ns >= policy.give_up_s * _NS:
        return f"no success for {policy.give_up_s:g} s: {outcome.error}"
    return ""


def _calm(progress: Progress) -> Progress:
    return replace(progress, failures=0, failing_since_ns=0, next_try_ns=0, error="")
