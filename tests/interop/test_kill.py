"""kill -9 of each role and of the whole server at random moments, under calls and registrations.

``KILL_SEED=7 KILLS=5 make interop ARGS="-k kill"`` draws other moments, and more of them.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.interop.conftest import with_accounts
from tests.interop.peers.processes import await_condition
from tests.interop.peers.raw_phone import RawPhone, a_call_works
from tests.interop.peers.sipp import Sipp, register
from tests.support.server_process import DOMAIN, ServerError, ServerProcess

SEED = int(os.environ.get("KILL_SEED", "1"))
KILLS = int(os.environ.get("KILLS", "2"))
#: Calls whose phones are switched off with the load end soon, for want of audio or of answers, also
#: of a phone that rang.
SETTINGS = """
[sip]
client_ips = ["127.0.0.0/8"]
t1_s = 0.1
t2_s = 0.4
no_answer_s = 5
[media]
ng = "off"
timeout_s = 2
"""
VICTIMS = ("signal", "media", "project", "server")
#: Registrars that come and go; alice and bob call each other.
REGISTRARS = ("carol", "dave")
#: A role is back within this: its back-off doubles with each kill in a row.
BACK_S = 15.0
TRY_S = 1.0


class Registrar(threading.Thread):
    """One account whose phones come and go; remembers what it was promised.

    A REGISTER without an answer promises nothing: what it asked for may or may not have happened.
    """

    def __init__(self, server: ServerProcess, name: str) -> None:
        super().__init__(name=f"registrar-{name}")
        self._server = server
        self.account = name
        self.promised: dict[str, str] = {}
        """Contact -> what the last answered REGISTER decided: "added" or "removed"."""
        self.uncertain: set[str] = set()
        """Contacts whose last REGISTER was not answered."""
        self.answered = 0
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            with RawPhone(self._server, self.account) as phone:
                contact = f"sip:{self.account}@{phone.address[0]}:{phone.address[1]}"
                for expires_s, decided in ((300, "added"), (0, "removed")):
                    self.uncertain.add(contact)
                    try:
                        answer = phone.register(expires_s, TRY_S)
                    except TimeoutError:
                        continue
                    if answer.status == 200:
                        self.promised[contact] = decided
                        self.uncertain.discard(contact)
                        self.answered += 1


@contextmanager
def load(server: ServerProcess, directory: Path) -> Iterator[list[Registrar]]:
    """Calls of half a second, forty new ones a second, and registrations without a pause."""
    registrars = [Registrar(server, name) for name in REGISTRARS]
    with ExitStack() as stack:
        uas = stack.enter_context(Sipp(directory, "uas_answer", calls=100_000, timeout_s=100))
        register(directory, server.address(), "bob", uas.port)
        caller = Sipp(
            directory, "uac_plain", server.address(), calls=100_000, rate=40, hold_ms=500,
            timeout_s=100,
        )  # fmt: skip
        stack.enter_context(caller)
        for registrar in registrars:
            registrar.start()
        try:
            yield registrars
        finally:
            for registrar in registrars:
                registrar.enough.set()
            for registrar in registrars:
                registrar.join()
            caller.kill()
            uas.kill()


def events(server: ServerProcess, kind: str) -> list[dict[str, object]]:
    """All records of a type."""
    lines = server.run("log", "--type", kind, "--limit", "1000000", "--json").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_loses_nothing_that_was_promised(victim: str, tmp_path: Path) -> None:
    rng = Random(f"{SEED}/{victim}")
    server = ServerProcess(tmp_path / "server", settings=SETTINGS)
    server.start()
    created = []
    try:
        with_accounts(server)
        ports = dict(server.addresses)
        with load(server, tmp_path) as registrars:
            for number in range(KILLS):
                answered = [registrar.answered for registrar in registrars]
                name = f"new{number}"
                time.sleep(rng.uniform(0.5, 1.5))
                server.create_account(name)
                created.append(f"{name}@{DOMAIN}")
                if victim == "server":
                    server.kill()
                    server.start()
                else:
                    kill_role(server, victim)
                for registrar, before in zip(registrars, answered, strict=True):
                    await_condition(
                        lambda r=registrar, n=before: r.answered > n + 2,  # type: ignore[misc]
                        f"registrations after {victim} was killed",
                        BACK_S,
                    )
        assert server.addresses == ports
        await_condition(lambda: not server.calls(), "the end of all calls", 20.0)
        await_condition(lambda: talks(server), "a call", BACK_S)
        check_promises(server, registrars, created)
        check_records(server)
    finally:
        server.stop()


def kill_role(server: ServerProcess, name: str) -> None:
    """Kill it and wait until the supervisor has started another."""
    role = server.roles()[name]
    role.send_signal(signal.SIGKILL)

    def is_back() -> bool:
        again = server.roles().get(name)
        return again is not None and again != role

    await_condition(is_back, f"the restart of {name}", BACK_S)


def talks(server: ServerProcess) -> bool:
    try:
        a_call_works(server)
    except (AssertionError, TimeoutError):
        return False
    return True


def check_promises(server: ServerProcess, registrars: list[Registrar], created: list[str]) -> None:
    """Everything that was answered 200, or by a command's exit status 0, is in the log."""
    added = {record["data"]["contact"] for record in events(server, "binding.added")}  # type: ignore[index]
    removed = {record["data"]["contact"] for record in events(server, "binding.removed")}  # type: ignore[index]
    now = {row["contact"] for row in server.registrations()}
    for registrar in registrars:
        assert registrar.answered > 10
        for contact, decided in registrar.promised.items():
            if decided == "added":
                assert contact in added, contact
            else:  # of a contact whose addition was never answered there may be nothing to remove
                assert contact in removed or contact not in added, contact
            if contact not in registrar.uncertain:
                assert (contact in now) == (decided == "added"), (contact, decided)
    accounts = {row["account"] for row in server.listing("account", "list")}
    assert set(created) <= accounts


def check_records(server: ServerProcess) -> None:
    """One start, one end, one record for each call, in table and projection alike."""
    started = [str(record["stream"]) for record in events(server, "call.started")]
    ended = [str(record["stream"]) for record in events(server, "call.ended")]
    assert len(started) == len(set(started)) > 20
    assert sorted(ended) == sorted(started)
    deadline = time.monotonic() + 20.0
    while len(records := server.cdrs()) < len(started):
        if time.monotonic() > deadline:
            raise ServerError(f"{len(records)} records of {len(started)} calls")
        time.sleep(0.2)
    assert sorted(f"call/{record['call_id']}" for record in records) == sorted(started)
    for record in records:
        assert record["start_ns"] <= (record["answer_ns"] or record["start_ns"])
        assert (record["answer_ns"] or record["start_ns"]) <= record["end_ns"]
        assert record["cause"], record
    server.run("replay", "--all")
    assert server.cdrs() == records, "records do not depend on when they were made"
