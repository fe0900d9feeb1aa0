"""Webhooks that nodes share out by their database: each delivery once and in order, whoever dies.

Several nodes run in one thread; their leases and rows are those of a real PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from pbx.kernel.errors import ReadModelAway
from pbx.readmodel import Database, open_read_model
from pbx.readmodel.tables import webhook_progress
from pbx.readmodel.webhook_rows import WebhookRows
from pbx.webhooks.progress import Progress
from pbx.webhooks.store import Overtaken, ProgressFile, SharedProgress
from pbx.webhooks.worker import open_progress
from tests.contract.conftest import Open
from tests.support.webhook_site import LIMIT, Site

POSTGRESQL = pytest.mark.parametrize(
    "kind", [pytest.param("postgresql", marks=pytest.mark.needs("initdb", "psycopg"))]
)

HOOKS = 5
URLS = [f"https://hooks.example/{number}" for number in range(HOOKS)]


@dataclass
class Node:
    """A node that delivers until it is told to stop, or dies."""

    name: str
    database: Database
    task: asyncio.Task[None]
    stopping: bool = False

    async def stop(self) -> None:
        """In order: what it held is free at once."""
        self.stopping = True
        await self.task
        self.database.close()

    async def die(self) -> None:
        """Its threads with it, its session by the server's hand."""
        self.database.close()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def start(site: Site, name: str, database: Database) -> Node:
    node = Node(name, database, asyncio.create_task(asyncio.sleep(0)))
    deliveries = site.deliveries(SharedProgress(WebhookRows(database, name)), name)
    node.task = asyncio.create_task(deliveries.run(lambda: node.stopping))
    return node


async def until(site: Site, condition: Callable[[], bool]) -> None:
    for _ in range(LIMIT):
        if condition():
            return
        site.now_s += 0.1  # looks at who is there are due by the clock
        await asyncio.sleep(0.001)
    raise AssertionError("it never happened")


@pytest.fixture
def shared_site(database: Database) -> Site:
    return Site(SharedProgress(WebhookRows(database, "cli")))


def deliveries_of(site: Site) -> dict[str, list[int]]:
    return {url: site.versions(url) for url in URLS}


@POSTGRESQL
def test_each_delivery_is_made_once_whoever_comes_and_dies(shared_site: Site, reopen: Open) -> None:
    site = shared_site
    hooks = {site.add(url): url for url in URLS}

    def level(count: int) -> bool:
        return all(versions[-1:] == [count] for versions in deliveries_of(site).values())

    async def scenario() -> None:
        first = start(site, "n1", reopen())
        site.digits(3)
        await until(site, lambda: level(3))
        assert set(site.posted_by) == {"n1"}
        second, third = start(site, "n2", reopen()), start(site, "n3", reopen())
        # The first gives back what is above its share, the others take it.

        def shared_out() -> bool:
            if level(site.log.head() - HOOKS):
                site.digits(1)
            last = dict(zip((url for url, _, _ in site.posts), site.posted_by, strict=True))
            return sorted(Counter(last.values()).values()) == [1, 2, 2]

        await until(site, shared_out)
        count = site.log.head() - HOOKS
        await until(site, lambda: level(count))
        await second.die()
        site.digits(2)
        await until(site, lambda: level(count + 2))
        await first.stop()
        site.digits(2)
        await until(site, lambda: level(count + 4))
        assert site.posted_by[-1] == "n3"
        await third.stop()

    asyncio.run(scenario())
    total = site.log.head() - HOOKS
    for versions in deliveries_of(site).values():
        assert versions == list(range(1, total + 1)), "in order, none twice"
    for webhook_id in hooks:
        progress = site.store.load(webhook_id)
        assert progress is not None
        assert (progress.delivered, progress.failures) == (total, 0)
        assert site.store.deliverer(webhook_id) == "n3"


@POSTGRESQL
def test_an_attempt_that_a_node_died_in_is_repeated_with_its_id(
    shared_site: Site, reopen: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the receiver took it nobody knows: at least once, and the id tells."""
    monkeypatch.setattr("pbx.webhooks.worker.FINISH_S", 0.01)
    site = shared_site
    site.add(URLS[0])
    site.digits(3)
    hanging = asyncio.Event()

    async def hang() -> None:
        if site.posted_by.count("n1") == 2 and not hanging.is_set():
            hanging.set()
            await asyncio.Event().wait()

    site.before_answer = hang

    async def scenario() -> None:
        first = start(site, "n1", reopen())
        await until(site, hanging.is_set)
        await first.die()
        second = start(site, "n2", reopen())
        await until(site, lambda: site.versions(URLS[0])[-1:] == [3])
        await second.stop()

    asyncio.run(scenario())
    assert site.versions(URLS[0]) == [1, 2, 2, 3]
    assert site.posted_by == ["n1", "n1", "n2", "n2"]
    ids = [headers["webhook-id"] for _, headers, _ in site.posts]
    assert ids[1] == ids[2]


@POSTGRESQL
def test_who_was_cut_off_cannot_note_anything(database: Database, reopen: Open) -> None:
    """Its lease went with its session, another node went on; its own rows are old."""
    old, new = (SharedProgress(WebhookRows(d, n)) for d, n in ((database, "n1"), (reopen(), "n2")))
    assert old.take("w")
    assert not new.take("w")
    assert old.load("w") is None
    old.save("w", Progress(after="1"))
    with reopen().read() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    assert not old.alive(["w"])
    assert not new.alive(["w"])  # the server ended its session, too
    assert new.take("w")
    assert new.load("w") == Progress(after="1")
    new.save("w", Progress(after="2"))
    with pytest.raises(Overtaken):
        old.save("w", Progress(after="1", failures=1))
    assert new.load("w") == Progress(after="2")
    assert not old.take("w")
    new.give("w")
    assert old.take("w")
    assert old.load("w") == Progress(after="2")
    old.save("w", Progress(after="3", error="a\0b"))
    assert old.load("w") == Progress(after="3", error="a\ufffdb")
    old.save("w", Progress(after="4"))
    with pytest.raises(Overtaken):
        new.save("w", Progress(after="9"))  # it has given the webhook back: it knows no row
    old.forget("w")
    assert new.load("w") is None


def test_the_columns_are_those_of_the_progress() -> None:
    names = [column.name for column in webhook_progress.columns]
    assert names == ["webhook_id", "node", *Progress.__dataclass_fields__]


@POSTGRESQL
def test_a_server_that_was_alone_brings_its_progress_along(
    database: Database, tmp_path: Path
) -> None:
    file = ProgressFile(tmp_path / "webhooks.sqlite3")
    file.save("a", Progress(after="7", delivered=3))
    file.save("b", Progress(after="8"))
    file.close()
    shared = SharedProgress(WebhookRows(database, "n1"))
    shared.load("b")
    shared.save("b", Progress(after="9"))
    store = open_progress(tmp_path, lambda: WebhookRows(database, "n1"))
    assert store.load("a") == Progress(after="7", delivered=3)
    assert store.load("b") == Progress(after="9"), "what the nodes know is newer"
    assert list(tmp_path.glob("webhooks.sqlite3*")) == []


@pytest.mark.needs("psycopg")
def test_while_the_database_is_away_nothing_is_delivered(tmp_path: Path) -> None:
    """Nobody knows whose turn it is; the log keeps everything."""
    url = "postgresql://al:geheim@127.0.0.1:1/ringlog"
    with pytest.raises(ReadModelAway) as error:
        open_progress(tmp_path, lambda: WebhookRows(open_read_model(tmp_path, url), "n1"))
    assert "geheim" not in str(error.value)
