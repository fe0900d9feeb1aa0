"""Lamps and waiting messages at real phones, and a call picked up by what a lamp said."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.interop.conftest import PhoneOf
from tests.interop.peers.raw_phone import RawPhone
from tests.support.fake_phone.wire import Heard
from tests.support.phones import assert_talking
from tests.support.server_process import DOMAIN, ServerProcess

ALICE_HZ, BOB_HZ, CAROL_HZ = 440, 1000, 1300
NS = "{urn:ietf:params:xml:ns:dialog-info}"


class Lamp:
    """A subscription of a raw phone to the calls of an account."""

    def __init__(self, phone: RawPhone, to: str) -> None:
        self.phone = phone
        self.to = to
        self.call_id = phone.next_id("sub")
        self.cseq = 0
        self.tag = ""
        self.version = -1
        challenge = self.send(3600)
        line = phone.authorization(challenge, "SUBSCRIBE", f"sip:{to}@{DOMAIN}")
        answer = self.send(3600, line)
        assert answer.status == 200, answer.raw
        self.tag = answer.to_tag
        assert self.states() == []

    def send(self, expires_s: int, line: str = "") -> Heard:
        self.cseq += 1
        extra = f"Event: dialog\r\nExpires: {expires_s}\r\n{line}"
        self.phone.send(
            self.phone.request(
                "SUBSCRIBE",
                to=self.to,
                call_id=self.call_id,
                cseq=self.cseq,
                to_tag=self.tag,
                extra=extra,
            )
        )
        return self.phone.final(self.call_id)

    def dialogs(self) -> list[ElementTree.Element]:
        """Those of the next NOTIFY, which must be the next in order."""
        notify = self.phone.receive(
            lambda heard: heard.method == "NOTIFY" and heard.call_id == self.call_id
        )
        self.phone.respond(notify, 200)
        root = ElementTree.fromstring(notify.body)
        self.version += 1
        assert int(root.attrib["version"]) == self.version
        return root.findall(f"{NS}dialog")

    def states(self) -> list[str | None]:
        return [dialog.findtext(f"{NS}state") for dialog in self.dialogs()]


def test_a_lamp_lights_and_a_neighbour_picks_the_call_up(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    carol = phone_of(server, "carol", CAROL_HZ)
    with RawPhone(server, "dave", "127.0.0.5") as watcher:
        lamp = Lamp(watcher, "bob")
        call = alice.call(f"sip:bob@{DOMAIN}")
        ringing = bob.ringing()
        [dialog] = lamp.dialogs()
        assert dialog.findtext(f"{NS}state") == "early"
        told = dialog.attrib
        replaces = f"{told['call-id']};to-tag={told['local-tag']};from-tag={told['remote-tag']}"
        taken = carol.call(f"sip:bob@{DOMAIN}", headers={"Replaces": replaces})
        alice.confirmed(call)
        assert bob.ended(ringing)["status"] == 487
        assert lamp.states() == ["terminated"]
        assert_talking(alice, ALICE_HZ, carol, CAROL_HZ)
        carol.hangup(taken)
        assert alice.ended(call)["status"] == 200
        assert lamp.send(0).status == 200
    server.await_no_calls()
    record = next(cdr for cdr in server.await_cdrs(2) if cdr["account"] == f"alice@{DOMAIN}")
    assert record["status"] == 200
    assert record["talk_ms"] > 1000


def test_a_phone_learns_that_no_messages_wait(server: ServerProcess, phone_of: PhoneOf) -> None:
    alice = phone_of(server, "alice", mwi=True)
    body = alice.wait("mwi")["message"]
    assert "Messages-Waiting: no" in body
    assert f"Message-Account: sip:alice@{DOMAIN}" in body
