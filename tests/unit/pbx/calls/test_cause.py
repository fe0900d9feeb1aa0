"""End causes: RFC 3398 mapping, best response of RFC 3261 §16.7."""

import pytest

from pbx.calls import cause
from pbx.calls.cause import End, EndCause, EndedBy


@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ([], 480),
        ([408], 408),
        ([408, 486], 486),
        ([486, 603], 603),
        ([500, 404], 404),
        ([486, 415], 415),
        ([302, 486], 302),
        ([503, 408], 503),
        ([404, 486], 404),
        ([430, 486], 486),
        ([430, 500], 500),
        ([430], 430),
    ],
)
def test_best_status_follows_the_classes(statuses: list[int], best: int) -> None:
    """6xx, then the lowest class, preferring what the caller can act on; our 408 last."""
    assert cause.best_status(statuses) == best


@pytest.mark.parametrize(
    ("status", "passed"),
    [(401, 500), (407, 500), (503, 500), (302, 480), (430, 480), (486, 486), (603, 603)],
)
def test_what_is_not_for_the_caller_is_not_passed(status: int, passed: int) -> None:
    """No foreign challenges, no 503 of somebody else, no redirect to follow."""
    assert cause.passed_status(status) == passed


@pytest.mark.parametrize(
    ("status", "passed"), [(200, 200), (408, 504), (481, 480), (401, 500), (415, 415)]
)
def test_a_lost_party_does_not_take_the_others_dialog_along(status: int, passed: int) -> None:
    """RFC 4320 §4.2: no 408 to a request other than INVITE."""
    assert cause.passed_non_invite_status(status) == passed


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, EndCause.NORMAL),
        (486, EndCause.BUSY),
        (600, EndCause.BUSY),
        (408, EndCause.NO_ANSWER),
        (480, EndCause.NO_ANSWER),
        (603, EndCause.REJECT),
        (404, EndCause.REJECT),
        (500, EndCause.ERROR),
    ],
)
def test_cause_of_a_status(status: int, expected: EndCause) -> None:
    """The class a call record shows."""
    assert cause.cause_of(status) is expected


@pytest.mark.parametrize(
    ("status", "q850"), [(200, 16), (404, 1), (486, 17), (480, 18), (603, 21), (499, 41), (699, 21)]
)
def test_q850_of_a_status(status: int, q850: int) -> None:
    """RFC 3398 §8.2.6.1, with a class default for what it does not list."""
    assert cause.q850_of(status) == q850


def test_reason_field_names_the_cause() -> None:
    """RFC 3326 form."""
    end = End(480, EndCause.NO_ANSWER, 19, EndedBy.SERVER, "nobody answered")
    assert cause.reason_field(end) == 'Q.850;cause=19;text="nobody answered"'
