"""A short seeded hunt in every run; a long one is ``python -m tests.fuzz.router``."""

from __future__ import annotations

import pytest

from tests.fuzz.mutate import Mutator
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
    mutator = Mutator(corpus(), WORDS, seed)
    for run in range(200):
        data = mutator.next()
        try:
            check(data)
        except Exception as error:  # noqa: BLE001 - shown with the mutant that caused it
            pytest.fail(f"seed {seed}, run {run}, {error!r}:\n{data!r}")
