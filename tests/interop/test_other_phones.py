"""baresip and linphone through the server, with audio both ways."""

from __future__ import annotations

from pathlib import Path

from tests.interop.conftest import PhoneOf
from tests.interop.peers.baresip import Baresip
from tests.interop.peers.linphone import Linphone
from tests.support.phones import listen
from tests.support.server_process import DOMAIN, ServerProcess
from tests.support.tones import measure


def test_baresip_calls(server: ServerProcess, phone_of: PhoneOf, tmp_path: Path) -> None:
    bob = phone_of(server, "bob", 1000)
    with Baresip(
        tmp_path / "baresip", "carol", 700, password="secret-carol", outbound=server.uri()
    ) as carol:
        carol.registered()
        carol.command("dial", f"sip:bob@{DOMAIN}")
        incoming = bob.ringing()
        bob.answer(incoming)
        carol.wait("CALL_ESTABLISHED")
        [heard] = listen(bob)
        assert heard.is_at(700), heard
        carol.command("hangup")
        assert bob.ended(incoming)["status"] == 200
        assert measure(carol.recording()).is_at(1000)


def test_baresip_is_called(server: ServerProcess, phone_of: PhoneOf, tmp_path: Path) -> None:
    bob = phone_of(server, "bob", 1000)
    with Baresip(
        tmp_path / "baresip",
        "carol",
        700,
        password="secret-carol",
        outbound=server.uri(),
        answers=True,
    ) as carol:
        carol.registered()
        call = bob.call(f"sip:carol@{DOMAIN}")
        bob.confirmed(call)
        [heard] = listen(bob)
        assert heard.is_at(700), heard
        bob.hold(call)
        bob.resume(call)
        [heard] = listen(bob)
        assert heard.is_at(700), heard
        bob.hangup(call)
        carol.wait("CALL_CLOSED")
        assert measure(carol.recording()).is_at(1000)


def test_linphone_calls(server: ServerProcess, phone_of: PhoneOf, tmp_path: Path) -> None:
    bob = phone_of(server, "bob", 1000)
    with Linphone(
        tmp_path / "linphone", "dave", 850, password="secret-dave", proxy=server.uri()
    ) as dave:
        dave.registered()
        dave.command(f"call sip:bob@{DOMAIN}")
        incoming = bob.ringing()
        bob.answer(incoming)
        bob.confirmed(incoming)
        [heard] = listen(bob)
        assert heard.is_at(850), heard
        dave.command("terminate")
        assert bob.ended(incoming)["status"] == 200
        assert measure(dave.recording()).is_at(1000)


def test_linphone_is_called(server: ServerProcess, phone_of: PhoneOf, tmp_path: Path) -> None:
    bob = phone_of(server, "bob", 1000)
    with Linphone(
        tmp_path / "linphone",
        "dave",
        850,
        password="secret-dave",
        proxy=server.uri(),
        answers=True,
    ) as dave:
        dave.registered()
        call = bob.call(f"sip:dave@{DOMAIN}")
        bob.confirmed(call)
        [heard] = listen(bob)
        assert heard.is_at(850), heard
        bob.hangup(call)
        dave.wait("ended")
        assert measure(dave.recording()).is_at(1000)
