"""A short seeded hunt in every run; a long one is ``python -m tests.fuzz.router``."""

from __future__ import annotations

import pytest

from tests.fuzz.hunt import hunt_briefly
from tests.fuzz.router import WORDS, check, corpus


def test_corpus_itself() -> None:
    """Every member keeps the rules, unmutated."""
    members = corpus()
    assert len(members) > 100
    for data in members:
        check(data)


@pytest.mark.parametrize("seed", range(4))
def test_mutants(seed: int) -> None:
    """Nothing but the declared errors, whatever the text."""
    hunt_briefly(corpus(), WORDS, check, seed=seed, runs=200)
