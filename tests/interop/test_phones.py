"""Real phones through the server: registration, audio both ways, hold, transfers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import SETTINGS, PhoneOf, with_accounts
from tests.support.phones import PhoneError, PjsuaPhone, assert_talking, listen
from tests.support.server_process import DOMAIN, ServerProcess

ALICE_HZ, BOB_HZ, CAROL_HZ = 440, 1000, 1300


def connect(caller: PjsuaPhone, callee: PjsuaPhone, callee_name: str) -> tuple[int, int]:
    """A confirmed call between two phones; the two numbers of it."""
    mark = callee.mark
    call = caller.call(f"sip:{callee_name}@{DOMAIN}")
    incoming = callee.ringing(after=mark)
    callee.answer(incoming)
    caller.confirmed(call)
    callee.confirmed(incoming)
    return call, incoming


@pytest.mark.parametrize(
    ("caller_transport", "callee_transport"),
    [("udp", "udp"), ("tcp", "tcp"), ("udp", "tcp"), ("tcp", "udp")],
)
def test_two_phones_register_and_talk(
    server: ServerProcess, phone_of: PhoneOf, caller_transport: str, callee_transport: str
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ, transport=caller_transport)
    bob = phone_of(server, "bob", BOB_HZ, transport=callee_transport)
    registered = {row["account"]: row["transport"] for row in server.registrations()}
    assert registered[f"alice@{DOMAIN}"] == caller_transport
    assert registered[f"bob@{DOMAIN}"] == callee_transport
    call, incoming = connect(alice, bob, "bob")
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    [live] = server.calls()
    assert live["state"] == "answered"
    assert live["account"] == f"alice@{DOMAIN}"
    alice.hangup(call)
    assert bob.ended(incoming)["status"] == 200
    server.await_no_calls()


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    listeners = ("127.0.0.1:0/udp", "127.0.0.1:0/tls")
    directory = tmp_path_factory.mktemp("tls-server")
    with ServerProcess(directory, listeners=listeners, settings=SETTINGS) as made:
        yield with_accounts(made)


@pytest.mark.parametrize("callee_transport", ["tls", "udp"])
def test_phones_talk_when_they_signal_over_tls(
    tls_server: ServerProcess, phone_of: PhoneOf, callee_transport: str
) -> None:
    """Calls come in over the connection that the phone opened; either side may hang up."""
    alice = phone_of(tls_server, "alice", ALICE_HZ, transport="tls")
    bob = phone_of(tls_server, "bob", BOB_HZ, transport=callee_transport)
    registered = {row["account"]: row["transport"] for row in tls_server.registrations()}
    assert registered[f"alice@{DOMAIN}"] == "tls"
    assert registered[f"bob@{DOMAIN}"] == callee_transport
    for caller, caller_hz, callee, callee_hz, name in (
        (alice, ALICE_HZ, bob, BOB_HZ, "bob"),
        (bob, BOB_HZ, alice, ALICE_HZ, "alice"),
    ):
        call, incoming = connect(caller, callee, name)
        assert_talking(caller, caller_hz, callee, callee_hz)
        callee.hangup(incoming)
        assert caller.ended(call)["status"] == 200
        tls_server.await_no_calls()


@pytest.mark.parametrize("transport", ["tls", "tcp"])
def test_a_phone_whose_connection_died_is_not_there(
    tmp_path: Path, phone_of: PhoneOf, transport: str
) -> None:
    """Both it and the server lost power; its registration did not. The caller gets 480."""
    listeners = ("127.0.0.1:0/udp", f"127.0.0.1:0/{transport}")
    with ServerProcess(tmp_path / "server", listeners=listeners, settings=SETTINGS) as server:
        with_accounts(server)
        bob = phone_of(server, "bob", transport=transport)
        bob.kill()
        server.kill()
        server.start()
        assert f"bob@{DOMAIN}" in {row["account"] for row in server.registrations()}
        alice = phone_of(server, "alice")
        call = alice.call(f"sip:bob@{DOMAIN}")
        assert alice.ended(call)["status"] == 480


def test_hold_is_silent_and_resume_brings_both_voices_back(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    """From either side, one after the other."""
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    call, incoming = connect(alice, bob, "bob")
    for holder, its_call, other, other_call in (
        (alice, call, bob, incoming),
        (bob, incoming, alice, call),
    ):
        assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
        mark = other.mark
        holder.hold(its_call)
        other.wait("media", call=other_call, state="remote-hold", after=mark)
        heard_holder, heard_other = listen(holder, other, seconds=1.0)
        assert heard_holder.silent, heard_holder
        assert heard_other.silent, heard_other
        mark = other.mark
        holder.resume(its_call)
        other.wait("media", call=other_call, state="active", after=mark)
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    bob.hangup(incoming)
    assert alice.ended(call)["status"] == 200


@pytest.mark.parametrize("transferor", ["callee", "caller"])
def test_a_blind_transfer_moves_the_call(
    server: ServerProcess, phone_of: PhoneOf, transferor: str
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    carol = phone_of(server, "carol", CAROL_HZ)
    call, incoming = connect(alice, bob, "bob")
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    carol.do("auto_answer", code=200)
    if transferor == "callee":
        stays, stays_hz, goes, its_call = alice, ALICE_HZ, bob, incoming
    else:
        stays, stays_hz, goes, its_call = bob, BOB_HZ, alice, call
    assert goes.transfer(its_call, f"sip:carol@{DOMAIN}")["status"] == 200
    assert_talking(stays, stays_hz, carol, CAROL_HZ)
    goes.ended(its_call)
    carol.hangup(carol.wait("incoming")["call"])
    server.await_no_calls()


def test_a_failed_blind_transfer_leaves_the_call_as_it_was(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    call, incoming = connect(alice, bob, "bob")
    assert bob.transfer(incoming, f"sip:dave@{DOMAIN}")["status"] >= 400
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    alice.hangup(call)
    bob.ended(incoming)


def test_an_attended_transfer_connects_the_two_others(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    carol = phone_of(server, "carol", CAROL_HZ)
    call, incoming = connect(alice, bob, "bob")
    bob.hold(incoming)
    second, carol_call = connect(bob, carol, "carol")
    assert_talking(bob, BOB_HZ, carol, CAROL_HZ)
    assert bob.attended(incoming, second)["status"] == 200
    assert_talking(alice, ALICE_HZ, carol, CAROL_HZ)
    bob.ended(incoming)
    bob.ended(second)
    alice.hangup(call)
    carol.ended(carol_call)
    server.await_no_calls()


def test_a_transferor_may_hang_up_before_the_target_answers(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    """The phone sends BYE right after its REFER was accepted, as many do."""
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    carol = phone_of(server, "carol", CAROL_HZ)
    _, incoming = connect(alice, bob, "bob")
    bob.do("transfer", call=incoming, uri=f"sip:carol@{DOMAIN}")
    carol_call = carol.ringing()
    bob.hangup(incoming)
    bob.ended(incoming)
    carol.answer(carol_call)
    carol.confirmed(carol_call)
    assert_talking(alice, ALICE_HZ, carol, CAROL_HZ)
    carol.hangup(carol_call)
    server.await_no_calls()


def test_all_phones_of_an_account_ring_and_one_gets_the_call(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    """The others stop ringing and do not show a missed call (RFC 3326)."""
    alice = phone_of(server, "alice", ALICE_HZ)
    desk = phone_of(server, "bob", BOB_HZ)
    mobile = phone_of(server, "bob", CAROL_HZ, transport="tcp")
    call = alice.call(f"sip:bob@{DOMAIN}")
    at_desk, at_mobile = desk.ringing(), mobile.ringing()
    mobile.answer(at_mobile)
    alice.confirmed(call)
    assert desk.ended(at_desk)["status"] == 487
    assert_talking(alice, ALICE_HZ, mobile, CAROL_HZ)
    alice.hangup(call)
    mobile.ended(at_mobile)


def test_phones_that_insist_on_reliable_provisionals_talk(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ, reliable=True)
    bob = phone_of(server, "bob", BOB_HZ)
    call, incoming = connect(alice, bob, "bob")
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    alice.hangup(call)
    bob.ended(incoming)


def test_a_wrong_password_registers_nobody(server: ServerProcess, phone_of: PhoneOf) -> None:
    with pytest.raises(AssertionError, match="401"):
        phone_of(server, "dave", password="wrong")
    assert f"dave@{DOMAIN}" not in {row["account"] for row in server.registrations()}


def test_unregistering_removes_the_binding(server: ServerProcess, phone_of: PhoneOf) -> None:
    dave = phone_of(server, "dave")
    assert f"dave@{DOMAIN}" in {row["account"] for row in server.registrations()}
    assert dave.unregister()["status"] == 200
    assert f"dave@{DOMAIN}" not in {row["account"] for row in server.registrations()}
    alice = phone_of(server, "alice")
    call = alice.call(f"sip:dave@{DOMAIN}")
    with pytest.raises(PhoneError, match="480"):
        alice.confirmed(call)
