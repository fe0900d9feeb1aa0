"""Call records beside what the phones saw: times, causes, media figures, text files.

The phones stamp their own events with the same wall clock, so a record is checked against what
its parties saw and not against how long a test slept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import PhoneOf, with_accounts
from tests.support.phones import PjsuaPhone, assert_talking
from tests.support.server_process import DOMAIN, ServerProcess

#: Times of a phone and of the record may differ by this: two polls of 10 ms on a busy machine.
CLOSE_S = 0.25
NO_ANSWER_S = 3.0
MEDIA_TIMEOUT_S = 3.0

SETTINGS = f"""\
[media]
ng = "off"
timeout_s = {MEDIA_TIMEOUT_S}

[sip]
no_answer_s = {NO_ANSWER_S}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("cdrs"), settings=SETTINGS) as made:
        yield with_accounts(made)


class Books:
    """The records that one test adds."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._before = len(server.cdrs())

    def new(self, count: int = 1) -> list[dict[str, Any]]:
        rows = self._server.await_cdrs(self._before + count)[self._before :]
        assert len(rows) == count, rows
        return rows


@pytest.fixture
def books(server: ServerProcess) -> Books:
    return Books(server)


def at_s(phone: PjsuaPhone, call: int, state: str) -> float:
    """When the phone saw this state of the call."""
    return float(phone.wait("call", call=call, state=state)["at_s"])


def legs_by_role(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {leg["role"]: leg for leg in record["legs"]}


def outcome(record: dict[str, Any]) -> tuple[int, str, int, str]:
    return (record["status"], record["cause"], record["q850"], record["ended_by"])


def test_an_answered_call(server: ServerProcess, phone_of: PhoneOf, books: Books) -> None:
    alice = phone_of(server, "alice", 440)
    bob = phone_of(server, "bob", 1000)
    started_s = time.time()
    call = alice.call(f"sip:bob@{DOMAIN}")
    incoming = bob.ringing()
    ringing_s = at_s(alice, call, "early")
    bob.answer(incoming)
    alice.confirmed(call)
    answered_s = at_s(alice, call, "confirmed")
    assert_talking(alice, 440, bob, 1000, seconds=2.5)
    sent = alice.do("statistics", call=call)
    hung_up_s = time.time()
    alice.hangup(call)
    bob.ended(incoming)
    ended_s = at_s(bob, incoming, "disconnected")
    [record] = books.new()
    assert outcome(record) == (200, "normal", 16, "caller")
    assert record["account"] == f"alice@{DOMAIN}"
    assert record["request_uri"] == f"sip:bob@{DOMAIN}"
    assert not record["recovered"]
    assert record["start_ns"] / 1e9 == pytest.approx(started_s, abs=CLOSE_S)
    assert record["provision_ns"] / 1e9 == pytest.approx(ringing_s, abs=CLOSE_S)
    assert record["answer_ns"] / 1e9 == pytest.approx(answered_s, abs=CLOSE_S)
    assert hung_up_s - 0.05 <= record["end_ns"] / 1e9 <= ended_s + CLOSE_S
    assert record["talk_ms"] == pytest.approx(
        (record["end_ns"] - record["answer_ns"]) / 1e6, abs=20
    )
    legs = legs_by_role(record)
    assert set(legs) == {"A", "B"}
    assert legs["B"]["account"] == f"alice@{DOMAIN}"
    for leg in legs.values():
        assert leg["codec"] == "PCMU"
        assert leg["packets_lost"] == 0
        assert leg["mos"] > 4.0
        assert leg["talk_ms"] == pytest.approx(record["talk_ms"], abs=150)
    # What the phone had sent when it was asked, and what it sent until it had hung up.
    assert sent["sent_packets"] - 5 <= legs["A"]["packets_in"] <= sent["sent_packets"] + 50
    assert legs["A"]["packets_in"] == pytest.approx(legs["B"]["packets_out"], abs=5)
    assert legs["B"]["packets_in"] == pytest.approx(legs["A"]["packets_out"], abs=5)


def test_a_callee_that_hangs_up(server: ServerProcess, phone_of: PhoneOf, books: Books) -> None:
    alice, bob = phone_of(server, "alice"), phone_of(server, "bob")
    call = alice.call(f"sip:bob@{DOMAIN}")
    incoming = bob.ringing()
    bob.answer(incoming)
    alice.confirmed(call)
    bob.hangup(incoming)
    alice.ended(call)
    [record] = books.new()
    assert outcome(record) == (200, "normal", 16, "callee")


def test_a_cancelled_call(server: ServerProcess, phone_of: PhoneOf, books: Books) -> None:
    alice, bob = phone_of(server, "alice"), phone_of(server, "bob")
    call = alice.call(f"sip:bob@{DOMAIN}")
    incoming = bob.ringing()
    alice.wait("call", call=call, state="early")
    cancelled_s = time.time()
    alice.hangup(call)
    assert bob.ended(incoming)["status"] == 487
    [record] = books.new()
    assert outcome(record) == (487, "cancel", 16, "caller")
    assert record["answer"] is None
    assert record["talk_ms"] == 0
    assert record["end_ns"] / 1e9 == pytest.approx(cancelled_s, abs=CLOSE_S)


@pytest.mark.parametrize(
    ("code", "cause", "q850"), [(486, "busy", 17), (600, "busy", 17), (603, "reject", 21)]
)
def test_a_refused_call(
    server: ServerProcess, phone_of: PhoneOf, books: Books, code: int, cause: str, q850: int
) -> None:
    alice, bob = phone_of(server, "alice"), phone_of(server, "bob")
    call = alice.call(f"sip:bob@{DOMAIN}")
    bob.hangup(bob.ringing(), code)
    assert alice.ended(call)["status"] == code
    [record] = books.new()
    assert outcome(record) == (code, cause, q850, "callee")
    assert record["answer"] is None


def test_an_unanswered_call(server: ServerProcess, phone_of: PhoneOf, books: Books) -> None:
    alice, bob = phone_of(server, "alice"), phone_of(server, "bob")
    call = alice.call(f"sip:bob@{DOMAIN}")
    incoming = bob.ringing()
    assert alice.ended(call)["status"] == 480
    assert bob.ended(incoming)["status"] == 487
    [record] = books.new()
    assert outcome(record) == (480, "noanswer", 19, "server")
    rang_s = (record["end_ns"] - record["start_ns"]) / 1e9
    assert rang_s == pytest.approx(NO_ANSWER_S, abs=0.5)


def test_a_call_to_nobody(server: ServerProcess, phone_of: PhoneOf, books: Books) -> None:
    alice = phone_of(server, "alice")
    call = alice.call(f"sip:nobody@{DOMAIN}")
    assert alice.ended(call)["status"] == 404
    [record] = books.new()
    assert outcome(record) == (404, "reject", 1, "server")


def test_a_blindly_transferred_call(server: ServerProcess, phone_of: PhoneOf, books: Books) -> None:
    alice = phone_of(server, "alice", 440)
    bob = phone_of(server, "bob", 1000)
    carol = phone_of(server, "carol", 1300)
    call = alice.call(f"sip:bob@{DOMAIN}")
    incoming = bob.ringing()
    bob.answer(incoming)
    alice.confirmed(call)
    carol.do("auto_answer", code=200)
    assert bob.transfer(incoming, f"sip:carol@{DOMAIN}")["status"] == 200
    transferred_s = time.time()
    bob.hangup(incoming)
    assert_talking(alice, 440, carol, 1300)
    alice.hangup(call)
    carol.ended(carol.wait("incoming")["call"])
    [record] = books.new()
    assert outcome(record) == (200, "normal", 16, "caller")
    legs = legs_by_role(record)
    assert set(legs) == {"A", "B", "X"}
    assert legs["A"]["talk_ms"] == record["talk_ms"]
    assert legs["B"]["end_ns"] / 1e9 == pytest.approx(transferred_s, abs=CLOSE_S)
    assert legs["X"]["end_ns"] == legs["A"]["end_ns"]
    assert legs["B"]["answer_ns"] < legs["X"]["answer_ns"]
    assert legs["X"]["packets_in"] > 50
    story = server.run("log", "--call", record["call_id"])
    for step in ("carol", "transfer"):
        assert step in story


def test_an_attended_transfer_leaves_whole_records(
    server: ServerProcess, phone_of: PhoneOf, books: Books
) -> None:
    """Two calls were made; what was talked about in them is in their two records."""
    alice = phone_of(server, "alice", 440)
    bob = phone_of(server, "bob", 1000)
    carol = phone_of(server, "carol", 1300)
    call = alice.call(f"sip:bob@{DOMAIN}")
    first = bob.ringing()
    bob.answer(first)
    alice.confirmed(call)
    bob.hold(first)
    second = bob.call(f"sip:carol@{DOMAIN}")
    carol_call = carol.ringing()
    carol.answer(carol_call)
    bob.confirmed(second)
    assert bob.attended(first, second)["status"] == 200
    assert_talking(alice, 440, carol, 1300)
    hung_up_s = time.time()
    alice.hangup(call)
    carol.ended(carol_call)
    ended_s = at_s(carol, carol_call, "disconnected")
    records = books.new(2)
    assert [record["cause"] for record in records] == ["normal", "normal"]
    last_s = max(record["end_ns"] for record in records) / 1e9
    assert hung_up_s - 0.05 <= last_s <= ended_s + CLOSE_S
    for record in records:
        assert record["answer_ns"] > 0
        assert all(leg["end_ns"] >= leg["start_ns"] > 0 for leg in record["legs"])


def test_phones_that_vanish_end_the_call_by_media_time_out(
    server: ServerProcess, phone_of: PhoneOf, books: Books
) -> None:
    alice = phone_of(server, "alice", 440)
    bob = phone_of(server, "bob", 1000)
    call = alice.call(f"sip:bob@{DOMAIN}")
    bob.answer(bob.ringing())
    alice.confirmed(call)
    assert_talking(alice, 440, bob, 1000)
    vanished_s = time.time()
    alice.kill()
    bob.kill()
    [record] = books.new()
    assert outcome(record) == (200, "mediatimeout", 102, "server")
    assert record["end_ns"] / 1e9 == pytest.approx(vanished_s + MEDIA_TIMEOUT_S, abs=2.0)


def test_the_story_of_a_call_is_in_the_log(
    server: ServerProcess, phone_of: PhoneOf, books: Books
) -> None:
    alice, bob = phone_of(server, "alice"), phone_of(server, "bob")
    call = alice.call(f"sip:bob@{DOMAIN}")
    incoming = bob.ringing()
    bob.answer(incoming)
    alice.confirmed(call)
    alice.hold(call)
    alice.resume(call)
    alice.hangup(call)
    bob.ended(incoming)
    [record] = books.new()
    events = server.events("--call", record["call_id"])
    kinds = [event["type"] for event in events]
    assert kinds[0] == "call.started.v1"
    assert kinds[-1] == "call.ended.v1"
    for kind in (
        "call.routed.v1",
        "leg.created.v1",
        "leg.ringing.v1",
        "leg.answered.v1",
        "call.answered.v1",
        "leg.held.v1",
        "leg.resumed.v1",
        "media.stats.v1",
        "leg.ended.v1",
    ):
        assert kind in kinds, kinds


def test_the_text_files_equal_the_table(server: ServerProcess) -> None:
    """Runs last: whatever the tests above did is in both."""
    legs = [leg for record in server.cdrs() for leg in record["legs"]]
    assert legs
    lines = [
        line.split("\t")
        for path in sorted(Path(server.data, "CDRs").glob("*.cdr"))
        for line in path.read_text("utf-8").splitlines()
    ]
    told = {(fields[1], fields[2].partition("/")[0]): fields for fields in lines}
    assert len(told) == len(lines) == len(legs)
    for leg in legs:
        fields = told[leg["call_id"], leg["leg_id"]]
        assert len(fields) == 24
        assert fields[3] == leg["role"]
        assert fields[11] == leg["start"]
        assert fields[13] == (leg["answer"] or "-")
        assert fields[14] == leg["end"]
        assert float(fields[15]) == pytest.approx(leg["talk_ms"] / 1000)
        assert fields[16] == str(leg["status"])
        assert fields[17] == f"{leg['cause']}/{leg['q850']}"
        assert f"{leg['packets_in']}/{leg['packets_out']}" in fields[23]
