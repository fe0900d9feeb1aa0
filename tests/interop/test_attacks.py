"""Attacks on a running server with its media process: strangers change, hear and learn nothing."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

import pytest

from tests.interop.conftest import SETTINGS, with_accounts
from tests.interop.peers.raw_phone import RawPhone, a_call_works, connect, end, talk
from tests.support.fake_phone.wire import Heard
from tests.support.server_process import DOMAIN, ServerProcess

#: Far below the defaults, so that a flood of a second shows them.
LIMITED = SETTINGS + "[limits]\nrequests_per_s = 20\nrequests_burst = 40\n"
MALLORY = "127.0.0.66"
PRIVATE = "192.168.77.7"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("limited"), settings=LIMITED) as made:
        yield with_accounts(made)


def test_requests_of_a_stranger_inside_a_call_change_nothing(server: ServerProcess) -> None:
    """With everything right but the address, tags included, and with a wrong tag."""
    with (
        RawPhone(server, "alice", "127.0.0.2") as alice,
        RawPhone(server, "bob", "127.0.0.3") as bob,
        RawPhone(server, "alice", MALLORY) as mallory,
    ):
        bob.register()
        ours, theirs = connect(alice, bob)
        right = ours.remote_tag
        for tag in (right, "guessed"):
            ours.remote_tag = tag
            for method, extra, body in (
                ("BYE", "", b""),
                ("INVITE", "", mallory.offer()),
                ("UPDATE", "", mallory.offer()),
                ("REFER", f"Refer-To: <sip:carol@{DOMAIN}>\r\n", b""),
            ):
                mallory.send(
                    mallory.inside(ours, method, cseq=ours.cseq + 1, extra=extra, body=body)
                )
                assert mallory.receive().status == 481
        assert mallory.rtp.has_nothing()
        ours.remote_tag = right
        talk(alice, ours, bob, theirs)
        [live] = server.calls()
        assert live["state"] == "answered"
        end(alice, ours, bob)
    server.await_no_calls()


@pytest.mark.parametrize("behind_nat", [False, True])
def test_rtp_of_a_stranger_reaches_nobody_and_gets_nothing(
    server: ServerProcess, behind_nat: bool
) -> None:
    """Before the first packet of the phone, when a careless relay would latch to whoever sends
    first, and after it. Behind a NAT only the address that signals may be learned."""
    shown = PRIVATE if behind_nat else ""
    with (
        RawPhone(server, "alice", "127.0.0.2", sdp_host=shown) as alice,
        RawPhone(server, "bob", "127.0.0.3") as bob,
        RawPhone(server, "carol", MALLORY) as mallory,
    ):
        bob.register()
        ours, theirs = connect(alice, bob)

        def attack() -> None:
            for number in range(1, 40):
                mallory.rtp.send_sequence(ours.media, [number], ssrc=0xBAD)
                mallory.rtp.send_sequence(theirs.media, [number], ssrc=0xBAD)

        attack()
        # Bob's first packets show that those before were judged: one socket keeps its order.
        bob.rtp.send_sequence(theirs.media, range(1, 10), ssrc=0xB)
        time.sleep(0.2)
        assert mallory.rtp.has_nothing()
        assert bob.rtp.has_nothing()
        talk(alice, ours, bob, theirs)
        attack()
        talk(alice, ours, bob, theirs)
        assert mallory.rtp.has_nothing()
        for phone in (alice, bob):
            assert {packet[8:12] for packet in drained(phone)} <= {b"\0\0\0\x0a", b"\0\0\0\x0b"}
        end(alice, ours, bob)


def drained(phone: RawPhone) -> list[bytes]:
    packets = []
    while select.select([phone.rtp.socket], [], [], 0.1)[0]:
        packets.append(phone.rtp.receive())
    return packets


def test_a_replayed_registration_is_challenged(server: ServerProcess) -> None:
    """The very bytes that registered, from another address and from the same."""
    with RawPhone(server, "dave") as dave, RawPhone(server, "dave", MALLORY) as mallory:
        call_id = dave.next_id("reg")
        dave.send(dave.request("REGISTER", call_id=call_id))
        line = dave.authorization(dave.final(call_id), "REGISTER")
        assert dave.register_with(line, call_id).status == 200
        for phone in (mallory, dave):
            assert phone.register_with(line, phone.next_id("replay")).status == 401
        contacts = [row["contact"] for row in server.registrations() if "dave" in row["account"]]
        assert contacts == [f"sip:dave@{dave.address[0]}:{dave.address[1]}"]
        assert dave.register(0).status == 200


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "BREW"])
def test_a_flood_is_answered_up_to_its_rate_and_disturbs_nobody(
    limited: ServerProcess, method: str
) -> None:
    with RawPhone(limited, "alice", MALLORY) as mallory:
        started = time.monotonic()
        for number in range(2000):
            body = mallory.offer() if method == "INVITE" else b""
            mallory.send(mallory.request(method, call_id=f"{method}{number}", body=body))
        a_call_works(limited)
        answers = 0
        while select.select([mallory.socket], [], [], 0.2)[0]:
            mallory.receive()
            answers += 1
        assert 0 < answers <= 40 + 20 * (time.monotonic() - started)
    assert "Traceback" not in limited.log()


def test_a_sweep_over_extensions_learns_nothing(server: ServerProcess) -> None:
    """svwar's question, as REGISTER, INVITE and OPTIONS: is there a 100, a 101, an alice?"""
    with RawPhone(server, "bob") as bob, RawPhone(server, "mallory", MALLORY) as mallory:
        bob.register()
        for method in ("REGISTER", "INVITE", "OPTIONS"):
            shapes = set()
            for user in ("alice", "bob", "100", "nobody"):
                call_id = mallory.next_id("sweep")
                body = mallory.offer() if method == "INVITE" else b""
                mallory.send(
                    mallory.request(method, user=user, to=user, call_id=call_id, body=body)
                )
                shapes.add(shape(mallory.final(call_id)))
            assert len(shapes) == 1, (method, shapes)
        bob.register(0)


def shape(answer: Heard) -> tuple[object, ...]:
    """Everything in an answer that does not merely repeat the question or count."""
    own = {"via", "from", "to", "call-id", "cseq", "www-authenticate"}
    challenge = answer.get("www-authenticate")
    kept = sorted((k, tuple(v)) for k, v in answer.headers.items() if k not in own)
    return (answer.status, challenge.partition("nonce")[0], len(challenge), tuple(kept))
