"""A short seeded hunt in every run; a long one is ``python -m tests.fuzz.node``."""

from __future__ import annotations

import pytest

from tests.fuzz.node import Round

#: 149: a redirection whose Contact cannot be read.
SEEDS = (*range(1, 120), 149)


@pytest.mark.parametrize("first", range(0, len(SEEDS), 20))
def test_a_call_among_mutants(first: int) -> None:
    """Nothing raises, every answer is a message, nothing is left when time has passed."""
    for seed in SEEDS[first : first + 20]:
        played = Round(seed, 60)
        try:
            played.play()
        except Exception as error:  # noqa: BLE001 - shown with the mutant that caused it
            pytest.fail(f"seed {seed}, {error!r}: {played.last}")
