"""The API in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rest_lab import RestLab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RestLab]:
    """Two domains with accounts, and the application over them."""
    made = RestLab(tmp_path)
    yield made
    made.close()
