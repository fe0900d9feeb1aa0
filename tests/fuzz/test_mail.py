"""A short seeded hunt in every run; a long one is ``python -m tests.fuzz.mail``."""

from __future__ import annotations

import pytest

from tests.fuzz.hunt import hunt_briefly
from tests.fuzz.mail import WORDS, check, corpus


def test_corpus_itself() -> None:
    """Every member keeps the rules, unmutated."""
    for data in corpus():
        check(data)


@pytest.mark.parametrize("seed", range(4))
def test_mutants(seed: int) -> None:
    """Nothing is raised, whatever the message."""
    hunt_briefly(corpus(), WORDS, check, seed=seed, runs=200)
