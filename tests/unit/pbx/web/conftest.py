"""The API in process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.web_lab import WebLab


@pytest.fixture
def lab() -> Iterator[WebLab]:
    """An application over an empty log."""
    made = WebLab()
    yield made
    made.close()
