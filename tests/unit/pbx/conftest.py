"""What tests of ``pbx`` have in common.

Commands and roles set up logging for their process; a test must not leave that behind.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Pbx


@pytest.fixture(autouse=True)
def _logging_is_put_back() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Pbx:
    """Commands on a server that has nothing yet."""
    return Pbx(tmp_path / "data", capsys)
