"""Mutants of the messages of a real call, thrown at engine and call control while it runs.

``python -m tests.fuzz.node --seed 1 --rounds 1000`` hunts; ``test_node.py`` does some rounds in
every run. A round is one call between two registered phones, of which one watches the calls of the
other; in every third round somebody picks the call up. Its own messages, mutated, come from both
phones and from a stranger, while it rings and while it is up. Whatever happens to that call,
nothing may raise, and when time has passed nothing may be left.
"""

from __future__ import annotations

import argparse
import sys
from random import Random

from tests.data.rfc4475 import MESSAGES
from tests.fuzz.mutate import Mutator
from tests.fuzz.sip import WORDS
from tests.support.fake_phone.wire import Heard, NotSip, session_description
from tests.support.lone_node import DOMAIN, LoneNode, credentials, request

ALICE, BOB, STRANGER = ("198.51.100.1", 5060), ("198.51.100.2", 5060), ("203.0.113.9", 5060)
SDP = session_description(ALICE[0], 4000, 1, 1, "sendrecv")

INSIDE = (
    ("ACK", "", b""),
    ("INVITE", "", SDP),
    ("INVITE", "", b""),
    ("UPDATE", "Session-Expires: 90;refresher=uac\r\n", SDP),
    ("PRACK", "RAck: 1 2 INVITE\r\n", b""),
    ("INFO", "Content-Type: application/dtmf-relay\r\n", b"Signal=1\r\nDuration=100\r\n"),
    ("MESSAGE", "Content-Type: text/plain\r\n", b"hello"),
    ("REFER", f"Refer-To: <sip:alice@{DOMAIN}>\r\n", b""),
    ("REFER", f"Refer-To: <sip:bob@{DOMAIN}?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>\r\n", b""),
    ("NOTIFY", "Event: refer\r\nSubscription-State: active\r\n", b"SIP/2.0 100 Trying\r\n"),
    ("OPTIONS", "", b""),
    ("BYE", "Reason: Q.850;cause=16\r\n", b""),
)


class Round:
    """One call and what is thrown at it."""

    def __init__(self, seed: int, mutants: int) -> None:
        self.node = LoneNode(seed=seed)
        self.rng = Random(seed)
        self.seed = seed
        self.mutants = mutants
        self.last: tuple[bytes, tuple[str, int]] = (b"", STRANGER)
        """What was fed when something raised."""
        self.lamp_tag = ""
        """The server's, in Bob's subscription."""

    def play(self) -> None:
        """Raises whatever breaks a rule."""
        for name, source in (("alice", ALICE), ("bob", BOB)):
            self._register(name, source)
        extra = "Event: dialog\r\nExpires: 300\r\n"
        self._sent_twice("SUBSCRIBE", BOB, user="bob", to="alice", call_id="lamp", extra=extra)
        for notify in self.node.told(BOB):
            if notify.method == "NOTIFY":
                self._feed(self._response(notify, 200, b"", ""), BOB)
                self.lamp_tag = notify.from_tag
        uri = f"sip:bob@{DOMAIN}"
        extra = "Supported: 100rel, timer, replaces\r\nAllow: INVITE, ACK, BYE, UPDATE, PRACK\r\n"
        first = request("INVITE", to="bob", source=ALICE, extra=extra, body=SDP, branch="i1")
        [challenge] = self.node.datagram(first, ALICE)
        again = request(
            "INVITE", to="bob", source=ALICE, cseq=2, body=SDP, branch="i2",
            extra=extra + credentials(challenge, "INVITE", uri=uri),
        )  # fmt: skip
        self.node.datagram(again, ALICE)
        [invite] = [heard for heard in self.node.told(BOB) if heard.method == "INVITE"]
        ringing = [
            self._response(invite, status, body, lines)
            for status in (100, 180, 183, 200, 302, 401, 404, 486, 491)
            for body, lines in ((b"", ""), (SDP, "Require: 100rel\r\nRSeq: 1\r\n"))
        ]
        ringing.append(request("CANCEL", to="bob", source=ALICE, cseq=2, branch="i2"))
        if self.seed % 3 == 0:
            self._feed(self._response(invite, 180, b"", ""), BOB)
            extra = f"Replaces: {invite.call_id};to-tag=bobs;from-tag={invite.from_tag}\r\n"
            self._sent_twice("INVITE", ALICE, to="bob", call_id="pick", extra=extra, body=SDP)
        self._throw(ringing)
        answer = self._response(invite, 200, SDP, "Supported: timer\r\nSession-Expires: 90\r\n")
        self._feed(answer, BOB)
        self.node.advance(0.3)
        self._throw(self._requests_inside(invite))
        self.node.advance(1.0)
        self._throw(self._requests_inside(invite))
        assert self.node.datagram(request("OPTIONS", branch="end"), ("203.0.113.77", 5060))
        self.node.advance(4000.0)  # session timers and all their transactions
        sizes = self.node.sizes()
        assert not any(sizes.values()), sizes

    def _sent_twice(
        self,
        method: str,
        source: tuple[str, int],
        *,
        to: str,
        call_id: str,
        extra: str,
        user: str = "alice",
        body: bytes = b"",
    ) -> None:
        """A request and its repetition with credentials, if it is challenged."""

        def made(cseq: int, line: str) -> bytes:
            return request(
                method, user=user, to=to, source=source, call_id=call_id, cseq=cseq,
                branch=f"{call_id}{cseq}", extra=extra + line, body=body,
            )  # fmt: skip

        answers = [readable(data) for data in self.node.datagram(made(1, ""), source)]
        challenge = next((heard for heard in answers if heard and heard.status == 401), None)
        if challenge is not None:
            uri = f"sip:{to}@{DOMAIN}"
            self._feed(made(2, credentials(challenge.raw, method, user=user, uri=uri)), source)
            self.node.advance(0.1)

    def _register(self, name: str, source: tuple[str, int]) -> None:
        [challenge] = self.node.datagram(
            request("REGISTER", user=name, source=source, branch=f"{name}1"), source
        )
        line = credentials(challenge, "REGISTER", user=name)
        data = request("REGISTER", user=name, source=source, branch=f"{name}2", cseq=2, extra=line)
        self.node.datagram(data, source)
        self.node.advance(0.1)

    def _response(self, heard: Heard, status: int, body: bytes, lines: str) -> bytes:
        vias = "".join(f"Via: {value}\r\n" for value in heard.headers["via"])
        routes = "".join(f"Record-Route: {v}\r\n" for v in heard.headers.get("record-route", ()))
        kind = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"SIP/2.0 {status} Any\r\n{vias}{routes}From: {heard.get('from')}\r\n"
            f"To: {heard.get('to')};tag=bobs\r\nCall-ID: {heard.call_id}\r\n"
            f"CSeq: {heard.get('cseq')}\r\nContact: <sip:bob@{BOB[0]}:{BOB[1]}>\r\n{lines}{kind}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def _requests_inside(self, invite: Heard) -> list[bytes]:
        """What either side may say in the call, and answers to what the server asked them."""
        tags = {h.to_tag for h in map(readable, self.node.sent[ALICE]) if h is not None} - {""}
        messages = []
        for method, extra, body in INSIDE:
            cseq, branch = self.rng.randrange(2, 9), f"r{self.rng.getrandbits(32)}"
            messages += [
                request(
                    method, to="bob", source=ALICE, cseq=cseq, to_tag=tag, branch=branch,
                    call_id="INVITE-alice", extra=extra, body=body,
                )
                for tag in sorted(tags)
            ]  # fmt: skip
            from_bob = request(
                method, user="bob", to="alice", source=BOB, cseq=cseq, from_tag="bobs",
                to_tag=invite.from_tag, branch=branch, call_id=invite.call_id, extra=extra,
                body=body,
            )  # fmt: skip
            messages.append(from_bob)
        for expires_s in (0, 90, 2**32):
            lines = f"Event: dialog\r\nExpires: {expires_s}\r\n"
            refresh = request(
                "SUBSCRIBE", user="bob", to="alice", source=BOB, cseq=self.rng.randrange(3, 9),
                to_tag=self.lamp_tag, branch=f"s{self.rng.getrandbits(32)}", call_id="lamp",
                extra=lines,
            )  # fmt: skip
            messages.append(refresh)
        asked = [readable(data) for at in (ALICE, BOB) for data in self.node.sent.pop(at, [])]
        return messages + [
            self._response(heard, self.rng.choice((200, 491)), SDP, "")
            for heard in asked
            if heard is not None and heard.method not in ("", "ACK")
        ]

    def _throw(self, messages: list[bytes]) -> None:
        mutator = Mutator([*messages, *(m.data for m in MESSAGES.values())], WORDS, self.seed)
        precise = Mutator(messages, WORDS, self.seed + 1)
        for number in range(self.mutants):
            source = self.rng.choice((ALICE, BOB, STRANGER))
            self._feed((mutator if number % 4 == 0 else precise).next(), source)
            if number % 16 == 0:
                self.node.advance(0.05)

    def _feed(self, data: bytes, source: tuple[str, int]) -> None:
        self.last = data, source
        for answer in self.node.datagram(data, source):
            well_formed(answer)


def well_formed(data: bytes) -> None:
    """What we send is a message, whatever was echoed into it."""
    lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert data.count(b"\r\n\r\n") >= 1
    assert not any(b"\r" in line or b"\n" in line for line in lines), data
    assert all(b":" in line and not line.startswith(b" ") for line in lines[1:]), data


def readable(data: bytes) -> Heard | None:
    """A message of the server's, unless it answers something too broken to be read."""
    try:
        return Heard(data)
    except (NotSip, ValueError):
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--mutants", type=int, default=60)
    arguments = parser.parse_args()
    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        played = Round(seed, arguments.mutants)
        try:
            played.play()
        except Exception:
            sys.stdout.write(f"seed {seed}: {played.last}\n")
            raise
    sys.stdout.write(f"{arguments.rounds} rounds, no rule broken\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
