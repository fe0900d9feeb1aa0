"""The simulator finds bugs: each planted one makes the same command fail that is green without."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import main
from tests.simulation.planted import PLANTS


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PLANTS))
def test_planted_bug_is_found(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1, the broken invariant and the command to repeat it."""
    arguments = ["--seed", "1", "--calls", "300"]
    assert main([*arguments, "--plant", name]) == 1
    printed = capsys.readouterr().out
    assert "broken invariants" in printed
    assert "repeat with: python -m tests.simulation --seed 1 --calls 300" in printed
