"""The event log takes nothing for a while: what goes on, what is refused, what comes back.

A full disk in two ways: a small file system of its own where the test may mount one, and a limit
on the size of files of the signal role, which needs no rights. A locked log by a transaction of
another process.
"""

from __future__ import annotations

import json
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.interop.conftest import SETTINGS, with_accounts
from tests.interop.peers.processes import await_condition
from tests.interop.peers.raw_phone import RawPhone, a_call_works, connect, end, talk
from tests.support.fake_phone.wire import Heard
from tests.support.server_process import DOMAIN, ServerProcess
from tests.support.small_disk import fill, small_file_system


class Trouble(Protocol):
    """Something that keeps the log from growing, on and off."""

    said: str
    """What the operator reads."""

    def begin(self) -> None: ...
    def end(self) -> None: ...


class FullFileSystem:
    """The data directory lies on a file system that is full to the last byte."""

    said = "the disk is full; free some space, nothing else is needed"

    def __init__(self, server: ServerProcess) -> None:
        self._place = server.data

    def begin(self) -> None:
        self._filler = fill(self._place)

    def end(self) -> None:
        self._filler.unlink()


class FileSizeLimit:
    """No file of the signal role may grow beyond a size that only its log has passed.

    A reader keeps the write-ahead log from starting over at its beginning.
    """

    said = "event log unavailable, new work is refused"

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._wal = server.data / "log.sqlite3-wal"
        self._reader = sqlite3.connect(server.data / "log.sqlite3", isolation_level=None)

    def begin(self) -> None:
        self._reader.execute("BEGIN")
        self._reader.execute("SELECT count(*) FROM events").fetchall()
        room = self._server.log_file.stat().st_size + 65_536
        with RawPhone(self._server, "dave") as dave:
            while self._wal.stat().st_size < room:
                assert dave.register().status == 200
                assert dave.register(0).status == 200
        self._limit(room)

    def end(self) -> None:
        self._limit(resource.RLIM_INFINITY)
        self._reader.close()

    def _limit(self, size: int) -> None:
        signal = self._server.roles()["signal"].pid
        resource.prlimit(signal, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


class LockedLog:
    """Another process is in the middle of a long transaction."""

    said = "locked by another process for more than 1 s"

    def __init__(self, server: ServerProcess) -> None:
        self._other = sqlite3.connect(server.data / "log.sqlite3", isolation_level=None)

    def begin(self) -> None:
        self._other.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        self._other.execute("ROLLBACK")
        self._other.close()


@pytest.fixture(params=["file-system", "file-size", "lock"])
def troubled(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[ServerProcess, Trouble]]:
    kinds: dict[str, Callable[[ServerProcess], Trouble]] = {
        "file-system": FullFileSystem,
        "file-size": FileSizeLimit,
        "lock": LockedLog,
    }
    kind = request.param
    with ExitStack() as stack:
        data = tmp_path / "data"
        if kind == "file-system" and not stack.enter_context(small_file_system(data)):
            kind = "file-size"
        server = ServerProcess(data, settings=SETTINGS, log_file=tmp_path / "server.log")
        stack.enter_context(server)
        with_accounts(server)
        yield server, kinds[kind](server)


def test_calls_stay_and_new_work_waits(troubled: tuple[ServerProcess, Trouble]) -> None:
    server, trouble = troubled
    before = server.roles()
    with (
        RawPhone(server, "alice", "127.0.0.2") as alice,
        RawPhone(server, "bob", "127.0.0.3") as bob,
        RawPhone(server, "carol", "127.0.0.4") as carol,
    ):
        assert alice.register().status == 200
        assert bob.register().status == 200
        staying = connect(alice, bob)
        leaving = connect(bob, alice)

        trouble.begin()
        refused(carol.register())
        refused(first_answer(carol, "bob"))
        assert trouble.said in server.log()
        talk(alice, staying[0], bob, staying[1])
        end(bob, leaving[0], alice)
        # A refresh changes no decision: phones stay registered.
        assert alice.register().status == 200
        refused(first_answer(carol, "bob"))

        trouble.end()
        await_condition(lambda: carol.register().status == 200, "a registration", 10.0)
        talk(alice, staying[0], bob, staying[1])
        end(alice, staying[0], bob)
        assert carol.register(0).status == 200
        assert alice.register(0).status == 200
        assert bob.register(0).status == 200
    a_call_works(server)

    after = server.roles()
    assert (after["signal"], after["media"]) == (before["signal"], before["media"])
    records = server.await_cdrs(3)
    assert [record["cause"] for record in records] == ["normal"] * 3
    for record in records:
        lines = server.run("log", "--call", record["call_id"], "--json").splitlines()
        story = [json.loads(line) for line in lines]
        assert [event["version"] for event in story] == list(range(1, len(story) + 1))
        assert story[0]["type"] == "call.started.v1"
        assert story[-1]["type"] == "call.ended.v1"
    assert "takes events again" in server.log()
    assert "Traceback" not in server.log(), server.log()[-4000:]


def refused(answer: Heard) -> None:
    """Not now, and when to ask again (RFC 3261 §21.5.4)."""
    assert answer.status == 503, answer.raw
    assert int(answer.get("retry-after")) > 0


def first_answer(phone: RawPhone, to: str) -> Heard:
    """What a new INVITE is answered before anybody is asked for a password."""
    call_id, tag = phone.next_id("refused"), phone.next_id("t")
    phone.send(
        phone.request(
            "INVITE", to=to, uri=f"sip:{to}@{DOMAIN}", call_id=call_id, from_tag=tag,
            body=phone.offer(), branch=f"{call_id}-1",
        )
    )  # fmt: skip
    answer = phone.final(call_id)
    phone.acknowledge(answer, to)
    return answer
