"""The simulator finds bugs: each planted one makes the same command fail that is green without."""

from __future__ import annotations

import pytest

from tests.simulation.__main__ import main
from tests.simulation.planted import IN_PROGRAMS, PLANTS

#: A rare race may need another seed.
SEEDS = 3


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PLANTS))
def test_planted_bug_is_found(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1, the broken invariant and the command to repeat it."""
    calls = "120" if name in IN_PROGRAMS else "400"
    for seed in range(1, SEEDS + 1):
        arguments = ["--seed", str(seed), "--calls", calls]
        if name in IN_PROGRAMS:
            for scenario in ("program-voicemail", "program-mailbox"):
                arguments += ["--scenario", scenario]
        if main([*arguments, "--plant", name]) == 1:
            break
    else:
        raise AssertionError(f"{name} was not found by {SEEDS} seeds")
    printed = capsys.readouterr().out
    assert "broken invariants" in printed
    assert f"repeat with: python -m tests.simulation --seed {seed} --calls {calls}" in printed
    assert f"--plant {name}" in printed
