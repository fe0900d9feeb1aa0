"""The two databases of the read model: the same tests run on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pbx.readmodel import Database, open_read_model
from tests.support.postgres import PostgresServer

Open = Callable[[], Database]

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("initdb", "psycopg"))]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of a process."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=DATABASES)
def kind(request: pytest.FixtureRequest) -> str:
    """Which database."""
    return str(request.param)


@pytest.fixture
def new_place(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> Callable[[], tuple[Path, str]]:
    """Makes a place for an empty read model: a data directory and a URL."""
    made: list[Path] = []

    def new() -> tuple[Path, str]:
        folder = tmp_path / f"data{len(made)}"
        folder.mkdir()
        made.append(folder)
        if kind == "sqlite":
            return folder, ""
        return folder, request.getfixturevalue("postgres").new_database()

    return new


@pytest.fixture
def reopen(new_place: Callable[[], tuple[Path, str]]) -> Iterator[Open]:
    """Opens the read model, each time as another process would."""
    folder, url = new_place()
    opened: list[Database] = []

    def open_once_more() -> Database:
        opened.append(open_read_model(folder, url))
        return opened[-1]

    yield open_once_more
    for database in opened:
        database.close()


@pytest.fixture
def database(reopen: Open) -> Database:
    """An open, empty read model."""
    return reopen()
