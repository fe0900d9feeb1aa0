"""Web programs in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.support.web_program_lab import WebProgramLab


@pytest.fixture
def lab() -> Iterator[WebProgramLab]:
    """An empty environment."""
    made = WebProgramLab()
    yield made
    made.close()


@pytest.fixture
def http(lab: WebProgramLab) -> Iterator[TestClient]:
    """A browser without a token."""
    with lab.client() as client:
        yield client
