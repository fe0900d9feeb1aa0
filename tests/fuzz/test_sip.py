"""A short seeded hunt in every run; a long one is ``python -m tests.fuzz.sip``."""

from __future__ import annotations

import pytest

from tests.fuzz.hunt import hunt_briefly
from tests.fuzz.mutate import Mutator
from tests.fuzz.sip import WORDS, check, corpus


def test_corpus_itself() -> None:
    """Every member keeps the rules, unmutated."""
    members = corpus()
    assert len(members) > 60
    for data in members:
        check(data)


def test_mutants_are_reproducible() -> None:
    first, second = (Mutator(corpus(), WORDS, 7) for _ in range(2))
    assert [first.next() for _ in range(50)] == [second.next() for _ in range(50)]


@pytest.mark.parametrize("seed", range(4))
def test_mutants(seed: int) -> None:
    """Nothing but the declared errors, whatever the bytes."""
    hunt_briefly(corpus(), WORDS, check, seed=seed, runs=500)
