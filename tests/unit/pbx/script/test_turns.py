"""Turns: families in rotation, each in its own order."""

from hypothesis import given
from hypothesis import strategies as st

from pbx.script.runtime.turns import Turns


def test_a_large_family_waits_for_a_small_one() -> None:
    turns: Turns[str] = Turns()
    for number in range(3):
        turns.append("bomb", f"b{number}")
    turns.append("polite", "p0")
    assert [turns.popleft() for _ in range(4)] == ["b0", "p0", "b1", "b2"]
    assert not turns


@given(st.lists(st.one_of(st.none(), st.integers(0, 4))))
def test_nobody_is_lost_and_nobody_waits_longer_than_there_are_families(
    steps: list[int | None],
) -> None:
    turns: Turns[tuple[int, int]] = Turns()
    waiting: dict[int, list[int]] = {}
    passed: dict[int, int] = {}
    """Turns of others since a family could have had one."""
    for number, family in enumerate(steps):
        if family is not None:
            turns.append(str(family), (family, number))
            waiting.setdefault(family, []).append(number)
            passed.setdefault(family, 0)
        elif turns:
            chosen, turn = turns.popleft()
            assert waiting[chosen].pop(0) == turn
            assert passed.pop(chosen) <= 4
            for other in passed:
                passed[other] += 1
            if waiting[chosen]:
                passed[chosen] = 0
        assert bool(turns) == any(waiting.values())
