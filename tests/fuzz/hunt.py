"""Mutants of a corpus against a check: a few in every run of the tests, many by hand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import pytest

from tests.fuzz.mutate import Mutator

Check = Callable[[bytes], object]
"""Raises for a mutant that breaks a rule."""


def hunt_briefly(
    corpus: Sequence[bytes], words: Sequence[bytes], check: Check, *, seed: int, runs: int
) -> None:
    """Fail the test with the first mutant that breaks a rule."""
    mutator = Mutator(corpus, words, seed)
    for run in range(runs):
        data = mutator.next()
        try:
            check(data)
        except Exception as error:  # noqa: BLE001 - shown with the mutant that caused it
            pytest.fail(f"seed {seed}, run {run}, {error!r}:\n{data!r}")


def hunt(corpus: Sequence[bytes], words: Sequence[bytes], check: Check) -> int:
    """The command ``--seed N --runs N``: prints the first mutant that breaks a rule, and how."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=100_000)
    arguments = parser.parse_args()
    mutator = Mutator(corpus, words, arguments.seed)
    for run in range(arguments.runs):
        data = mutator.next()
        try:
            check(data)
        except Exception:
            sys.stdout.write(f"seed {arguments.seed}, run {run}:\n{data!r}\n")
            raise
    sys.stdout.write(f"{arguments.runs} mutants, no rule broken\n")
    return 0
