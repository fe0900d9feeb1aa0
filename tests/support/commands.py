"""Commands of ``pbx`` as a test gives them, in its own process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pbx.cli.main import main


class Pbx:
    """Runs commands on one data directory."""

    def __init__(self, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data = data
        self._capsys = capsys

    def __call__(self, *words: str, status: int = 0) -> str:
        """Output of a command that must end with `status`; of one that fails, its complaint."""
        self._capsys.readouterr()
        code = main([*words, "--data", str(self.data)])
        captured = self._capsys.readouterr()
        assert code == status, captured.err
        return captured.out if status == 0 else captured.err

    def refused(self, *words: str) -> str:
        """The reason given by a command that must fail, and print nothing else."""
        self._capsys.readouterr()
        code = main([*words, "--data", str(self.data)])
        captured = self._capsys.readouterr()
        assert (code, captured.out) == (1, "")
        return captured.err

    def json(self, *words: str) -> Any:
        """What a command prints with ``--json``."""
        return json.loads(self(*words, "--json"))
