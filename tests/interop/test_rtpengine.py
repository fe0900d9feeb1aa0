"""The same calls with rtpengine as media engine: our signalling speaks its NG protocol."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.conftest import PhoneOf, with_accounts
from tests.interop.peers.rtpengine import PORTS, Rtpengine
from tests.support.phones import assert_talking, listen
from tests.support.server_process import DOMAIN, ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    directory = tmp_path_factory.mktemp("rtpengine")
    with Rtpengine(directory) as engine:
        settings = f'[media]\nengine = "ng:{engine.ng}"\n'
        with ServerProcess(directory / "server", settings=settings) as made:
            yield with_accounts(made)


def test_a_call_with_hold_and_its_figures(server: ServerProcess, phone_of: PhoneOf) -> None:
    alice = phone_of(server, "alice", 440)
    bob = phone_of(server, "bob", 1000)
    call = alice.call(f"sip:bob@{DOMAIN}")
    incoming = bob.ringing()
    offer = bob.wait("incoming")["message"]
    media_port = int(offer.partition("m=audio ")[2].split()[0])
    assert PORTS[0] <= media_port <= PORTS[1], offer
    bob.answer(incoming)
    alice.confirmed(call)
    assert_talking(alice, 440, bob, 1000, seconds=2.5)
    mark = bob.mark
    alice.hold(call)
    bob.wait("media", call=incoming, state="remote-hold", after=mark)
    assert all(heard.silent for heard in listen(alice, bob, seconds=1.0))
    alice.resume(call)
    assert_talking(alice, 440, bob, 1000)
    before = len(server.cdrs())
    alice.hangup(call)
    bob.ended(incoming)
    record = server.await_cdrs(before + 1)[-1]
    assert record["cause"] == "normal"
    for leg in record["legs"]:
        assert leg["packets_in"] > 100
        assert leg["packets_out"] > 100


def test_a_blind_transfer(server: ServerProcess, phone_of: PhoneOf) -> None:
    alice = phone_of(server, "alice", 440)
    bob = phone_of(server, "bob", 1000)
    carol = phone_of(server, "carol", 1300)
    call = alice.call(f"sip:bob@{DOMAIN}")
    incoming = bob.ringing()
    bob.answer(incoming)
    alice.confirmed(call)
    carol.do("auto_answer", code=200)
    assert bob.transfer(incoming, f"sip:carol@{DOMAIN}")["status"] == 200
    bob.hangup(incoming)
    assert_talking(alice, 440, carol, 1300)
    alice.hangup(call)
    carol.ended(carol.wait("incoming")["call"])
