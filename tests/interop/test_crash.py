"""kill -9 of the whole server while calls are up, and what is right after the next start."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from tests.interop.conftest import TRUSTING, PhoneOf, with_accounts
from tests.interop.peers.sipp import Sipp, register
from tests.support.phones import assert_talking
from tests.support.server_process import DOMAIN, ServerProcess

CALLS = 200
#: The end of a lost call is known as exactly as the node says that it is alive (1 s), and events
#: of the last group commit may be lost with it.
KNOWN_ALIVE_S = 2.0


def test_two_hundred_running_calls_get_their_records(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "server", settings=TRUSTING)
    server.start()
    try:
        with_accounts(server)
        with ExitStack() as sipps:
            uas = sipps.enter_context(Sipp(tmp_path, "uas_answer", calls=2 * CALLS, timeout_s=120))
            register(tmp_path, server.address(), "bob", uas.port)
            uac = sipps.enter_context(
                Sipp(
                    tmp_path,
                    "uac_plain",
                    server.address(),
                    calls=CALLS,
                    rate=100,
                    hold_ms=100_000,
                    timeout_s=120,
                )
            )
            deadline = time.monotonic() + 30.0
            while (up := Counter(call["state"] for call in server.calls()))["answered"] < CALLS:
                assert time.monotonic() < deadline, f"{up}\n{uac.story()}"
            killed_s = time.time()
            server.kill()
            uac.kill()
            uas.kill()
        server.start()
        records = server.await_cdrs(CALLS, timeout_s=20.0)
        assert len(records) == CALLS
        assert len({record["call_id"] for record in records}) == CALLS
        for record in records:
            assert record["recovered"]
            assert record["status"] == 200
            assert record["cause"] == "error"
            assert record["ended_by"] == "server"
            assert killed_s - KNOWN_ALIVE_S <= record["end_ns"] / 1e9 <= killed_s + 0.1
            assert record["start_ns"] < record["answer_ns"] <= record["end_ns"]
            talked_ms = (record["end_ns"] - record["answer_ns"]) / 1e6
            assert abs(record["talk_ms"] - talked_ms) < 50
            assert {leg["role"] for leg in record["legs"]} == {"A", "B"}
        assert server.calls() == []
        bindings = server.registrations()
        assert [row["account"] for row in bindings] == [f"bob@{DOMAIN}"]
    finally:
        server.stop()


def test_phones_call_again_after_a_crash_without_registering_anew(
    tmp_path: Path, phone_of: PhoneOf
) -> None:
    """Accounts and bindings were promised, so they are there; no call of before is."""
    server = ServerProcess(tmp_path / "server", settings=TRUSTING)
    server.start()
    try:
        with_accounts(server)
        alice = phone_of(server, "alice", 440)
        bob = phone_of(server, "bob", 1000)
        call = alice.call(f"sip:bob@{DOMAIN}")
        bob.answer(bob.ringing())
        alice.confirmed(call)
        server.await_calls(1)  # what is younger than 10 ms may be lost
        server.kill()
        server.start()
        alice.do("hangup", call=call)
        mark = bob.mark
        again = alice.call(f"sip:bob@{DOMAIN}")
        bob.answer(bob.ringing(after=mark))
        alice.confirmed(again)
        assert_talking(alice, 440, bob, 1000)
        alice.hangup(again)
        recovered = [record["recovered"] for record in server.await_cdrs(2)]
        assert sorted(recovered) == [False, True]
    finally:
        server.stop()
