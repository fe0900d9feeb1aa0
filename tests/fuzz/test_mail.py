"""A short seeded hunt in every run; a long one is ``python -m tests.fuzz.mail``."""

from __future__ import annotations

import pytest

from tests.fuzz.mail import WORDS, check, corpus
from tests.fuzz.mutate import Mutator


def test_corpus_itself() -> None:
    """Every member keeps the rules, unmutated."""
    for data in corpus():
        check(data)


@pytest.mark.parametrize("seed", range(4))
def test_mutants(seed: int) -> None:
    """Nothing is raised, whatever the message."""
    mutator = Mutator(corpus(), WORDS, seed)
    for run in range(200):
        data = mutator.next()
        try:
            check(data)
        except Exception as error:  # noqa: BLE001 - shown with the mutant that caused it
            pytest.fail(f"seed {seed}, run {run}, {error!r}:\n{data!r}")
