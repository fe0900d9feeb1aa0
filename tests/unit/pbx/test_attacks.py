"""Attacks on signalling, each with what it must not achieve; virtual time, no sockets.

The same node as a server's, with the limits a server has unless a test is about other rules.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pbx.calls.config import CallConfig
from tests.support.fake_phone.wire import Heard, session_description
from tests.support.lone_node import DOMAIN, GENEROUS, LoneNode, credentials, request

ALICE, BOB = ("198.51.100.1", 5060), ("198.51.100.2", 5060)
MALLORY = ("203.0.113.66", 5060)
SDP = session_description(ALICE[0], 4000, 1, 1, "sendrecv")
DEFAULTS = CallConfig(digest_algorithms=("MD5",))


def register(
    node: LoneNode, name: str, source: tuple[str, int], *, cseq: int = 1, contact_as: str = ""
) -> str:
    """A phone registers; the Authorization line it used."""
    first = request("REGISTER", user=name, source=source, branch=f"{name}{cseq}", cseq=cseq)
    [challenge] = node.datagram(first, source)
    line = credentials(challenge, "REGISTER", user=name)
    again = request(
        "REGISTER", user=name, source=source, branch=f"{name}{cseq}a", cseq=cseq + 1, extra=line
    )
    node.datagram(again, source)
    node.advance(0.1)
    assert node.told(source)[-1].status == 200
    return line


class Call:
    """Alice talks to Bob through the node; what either leg looks like on the wire."""

    def __init__(self, node: LoneNode, *, answer: bool = True) -> None:
        self.node = node
        register(node, "alice", ALICE)
        register(node, "bob", BOB)
        uri = f"sip:bob@{DOMAIN}"
        first = request("INVITE", to="bob", source=ALICE, body=SDP, branch="i1")
        [challenge] = node.datagram(first, ALICE)
        line = credentials(challenge, "INVITE", uri=uri)
        node.datagram(
            request("INVITE", to="bob", source=ALICE, cseq=2, body=SDP, branch="i2", extra=line),
            ALICE,
        )
        self.invite = next(h for h in node.told(BOB) if h.method == "INVITE")
        self.to_tag = ""
        node.datagram(self.from_bob(180), BOB)
        self.ringing = next(h for h in node.told(ALICE) if h.status == 180)
        self.to_tag = self.ringing.to_tag
        if answer:
            node.datagram(self.from_bob(200, SDP), BOB)
            node.datagram(self.from_alice("ACK", 2), ALICE)
            node.advance(0.1)
            node.told(ALICE)
            node.told(BOB)

    def from_bob(self, status: int, body: bytes = b"") -> bytes:
        vias = "".join(f"Via: {value}\r\n" for value in self.invite.headers["via"])
        kind = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"SIP/2.0 {status} Fine\r\n{vias}From: {self.invite.get('from')}\r\n"
            f"To: {self.invite.get('to')};tag=bobs\r\nCall-ID: {self.invite.call_id}\r\n"
            f"CSeq: {self.invite.get('cseq')}\r\nContact: <sip:bob@{BOB[0]}:{BOB[1]}>\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def from_alice(
        self, method: str, cseq: int, *, to_tag: str = "", source: tuple[str, int] = ALICE,
        extra: str = "", body: bytes = b"", branch: str = "",
    ) -> bytes:  # fmt: skip
        """A request inside Alice's dialog, whoever writes it."""
        return request(
            method, to="bob", source=source, cseq=cseq, to_tag=to_tag or self.to_tag,
            call_id="INVITE-alice", extra=extra, body=body, branch=branch or f"{method}{cseq}",
        )  # fmt: skip

    @property
    def up(self) -> bool:
        return self.node.node.statistics()["calls"] == 1

    def state(self) -> list[str]:
        """The story of the call so far."""
        self.node.writer.flush()
        records = self.node.events.read(category="pbx.calls")
        return [record.type for record in records]


SPOOFED = [
    ("BYE", "", b""),
    ("INVITE", "", SDP),
    ("UPDATE", "", SDP),
    ("REFER", f"Refer-To: <sip:mallory@{DOMAIN}>\r\n", b""),
    ("INFO", "Content-Type: application/dtmf-relay\r\n", b"Signal=1\r\nDuration=99\r\n"),
    ("MESSAGE", "Content-Type: text/plain\r\n", b"pay now"),
    ("NOTIFY", "Event: refer\r\nSubscription-State: terminated\r\n", b"SIP/2.0 200 OK\r\n"),
    ("PRACK", "RAck: 1 2 INVITE\r\n", b""),
]


@pytest.mark.parametrize(("method", "extra", "body"), SPOOFED, ids=[s[0] for s in SPOOFED])
@pytest.mark.parametrize("tag", ["right", "wrong"])
def test_a_stranger_s_request_inside_a_call_changes_nothing(
    method: str, extra: str, body: bytes, tag: str
) -> None:
    """Even with the right Call-ID, tags and CSeq: the source is none the dialog has seen."""
    node = LoneNode()
    call = Call(node)
    story = call.state()
    to_tag = call.to_tag if tag == "right" else "guessed"
    data = call.from_alice(method, 3, to_tag=to_tag, source=MALLORY, extra=extra, body=body)
    answers = node.datagram(data, MALLORY)
    node.advance(1.0)
    assert [Heard(answer).status for answer in answers] == [481]
    assert call.up
    assert call.state() == story
    assert not node.told(BOB)
    assert [h.raw for h in node.told(ALICE)] == []
    # The true peer goes on with the number that the stranger used.
    [answer] = node.datagram(call.from_alice("OPTIONS", 3), ALICE)
    assert Heard(answer).status == 200


def test_a_stranger_s_ack_does_not_complete_a_call() -> None:
    node = LoneNode()
    call = Call(node, answer=False)
    node.datagram(call.from_bob(200, SDP), BOB)
    assert node.datagram(call.from_alice("ACK", 2, source=MALLORY), MALLORY) == []
    node.advance(3.0)
    oks = [heard for heard in node.told(ALICE) if heard.status == 200]
    assert len(oks) > 2, "the 200 is repeated until the true ACK"


@pytest.mark.parametrize("branch", ["i2", "guessed"])
def test_a_stranger_s_cancel_stops_no_ringing(branch: str) -> None:
    """A CANCEL needs the branch of the INVITE; with the right one, it needs the source too."""
    node = LoneNode()
    call = Call(node, answer=False)
    data = request("CANCEL", to="bob", source=ALICE, cseq=2, branch=branch).replace(
        b"CANCEL-alice", b"INVITE-alice"
    )
    answers = node.datagram(data, MALLORY)
    node.advance(0.5)
    assert [Heard(answer).status for answer in answers] == [481]
    assert call.up
    assert not [heard for heard in node.told(BOB) if heard.method == "CANCEL"]
    own = node.datagram(data, ALICE)
    if branch == "i2":
        assert Heard(own[0]).status == 200
        assert [heard for heard in node.told(BOB) if heard.method == "CANCEL"]


def test_a_stranger_s_answer_is_none() -> None:
    """Without the branch, which cannot be guessed, a 200 to our INVITE belongs to nothing."""
    node = LoneNode()
    call = Call(node, answer=False)
    branch = call.invite.branch.encode()
    node.datagram(call.from_bob(200, SDP).replace(branch, b"z9hG4bK0123456789abcdef01"), MALLORY)
    node.advance(0.1)
    assert "call.answered.v1" not in call.state()


def test_a_replayed_digest_is_challenged_and_registers_nobody() -> None:
    """The same nonce and count, from elsewhere and from the phone's own address."""
    node = LoneNode()
    line = register(node, "alice", ALICE)
    count = len(node.bindings())
    for number, source in enumerate((MALLORY, ALICE)):
        replay = request(
            "REGISTER", source=source, call_id="replay", cseq=9, branch=f"re{number}", extra=line,
            from_tag=f"m{number}",
        )  # fmt: skip
        [answer] = node.datagram(replay, source)
        assert Heard(answer).status == 401
        node.advance(0.1)
        assert len(node.bindings()) == count


def test_credentials_of_another_method_or_target_are_worth_nothing() -> None:
    """What a phone signed for REGISTER places no call (the method is part of the digest)."""
    node = LoneNode()
    [challenge] = node.datagram(request("REGISTER", source=ALICE), ALICE)
    line = credentials(challenge, "REGISTER")
    invite = request("INVITE", to="bob", source=ALICE, body=SDP, extra=line)
    [answer] = node.datagram(invite, ALICE)
    assert Heard(answer).status == 401


def _attempt(
    node: LoneNode, number: int, user: str, password: str, source: tuple[str, int]
) -> Heard:
    """One REGISTER with a password; the final answer."""
    tag = f"t{number}"
    ask = request(
        "REGISTER",
        user=user,
        source=source,
        branch=f"a{number}",
        call_id=f"a{number}",
        from_tag=tag,
    )
    [challenge] = node.datagram(ask, source)
    line = credentials(challenge, "REGISTER", user=user, password=password)
    try_it = request(
        "REGISTER", user=user, source=source, branch=f"b{number}", call_id=f"a{number}", cseq=2,
        extra=line, from_tag=tag,
    )  # fmt: skip
    node.datagram(try_it, source)
    node.advance(0.05)
    return node.told(source)[-1]


def test_guessing_locks_the_address_and_the_lock_ends() -> None:
    """Ten wrong answers in a minute; then even the right one is not looked at for five minutes."""
    node = LoneNode(DEFAULTS)
    for number in range(10):
        assert _attempt(node, number, "alice", "guess", MALLORY).status == 401
    assert _attempt(node, 100, "alice", "secret-alice", MALLORY).status == 401
    assert _attempt(node, 101, "bob", "secret-bob", MALLORY).status == 401
    assert _attempt(node, 102, "bob", "secret-bob", BOB).status == 200, "others are not touched"
    [blocked] = node.records("source.blocked.v1")
    assert blocked.event.source == MALLORY[0]  # type: ignore[attr-defined]
    node.advance(DEFAULTS.lock_s)
    assert _attempt(node, 103, "bob", "secret-bob", MALLORY).status == 200


def test_slow_guessing_decays_before_it_locks() -> None:
    """A person who mistypes now and then is never locked out."""
    node = LoneNode(DEFAULTS)
    for number in range(30):
        _attempt(node, number, "alice", "typo", ALICE)
        node.advance(30.0)
    assert _attempt(node, 99, "alice", "secret-alice", ALICE).status == 200


def test_guessing_from_many_addresses_locks_the_account_but_not_its_phone() -> None:
    """The registered phone's address stays welcome: a lock-out is no way to switch it off."""
    node = LoneNode(DEFAULTS)
    register(node, "alice", ALICE)
    for number in range(60):
        _attempt(node, number, "alice", "guess", (f"203.0.113.{number}", 5060))
    stranger = ("203.0.113.200", 5060)
    assert _attempt(node, 200, "alice", "secret-alice", stranger).status == 401
    assert _attempt(node, 201, "bob", "secret-bob", stranger).status == 200
    register(node, "alice", ALICE, cseq=10)
    node.advance(DEFAULTS.lock_s)
    assert _attempt(node, 202, "alice", "secret-alice", stranger).status == 200


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS", "BYE", "BREW"])
def test_a_flood_from_one_source_is_answered_up_to_its_rate(method: str) -> None:
    """Burst, then so many a second; whatever is sent, refusals without state included."""
    config = replace(DEFAULTS, requests_per_s=10, requests_burst=20)
    node = LoneNode(config)

    def flood(count: int, first: int) -> int:
        answered = 0
        for number in range(first, first + count):
            data = request(
                method, branch=f"f{number}", call_id=f"f{number}", source=MALLORY,
                body=SDP if method == "INVITE" else b"",
            )  # fmt: skip
            answered += len(node.datagram(data, MALLORY))
        return answered

    assert flood(200, 0) == 20
    node.advance(1.0)
    assert flood(200, 200) == 10
    assert node.datagram(request("OPTIONS", branch="other"), ("203.0.113.7", 5060))
    node.advance(100.0)
    assert not any(node.sizes().values())


def test_a_running_call_is_not_touched_by_a_flood_in_its_name() -> None:
    """The flooder shares the caller's address (NAT): what belongs to the call gets through."""
    node = LoneNode(replace(DEFAULTS, requests_per_s=10, requests_burst=20))
    call = Call(node)
    for number in range(100):
        node.datagram(request("OPTIONS", branch=f"f{number}", call_id=f"f{number}"), ALICE)
    node.told(ALICE)
    node.datagram(call.from_alice("BYE", 3), ALICE)
    node.advance(0.1)
    assert [heard for heard in node.told(BOB) if heard.method == "BYE"]


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE"])
def test_a_sweep_over_extensions_learns_nothing(method: str) -> None:
    """Known, unknown, registered or not: answers differ in nothing but what was asked."""
    node = LoneNode()
    register(node, "bob", BOB)
    answers = set()
    for number, user in enumerate(("alice", "bob", "nobody", "100", "admin", "a.b")):
        data = request(
            method, user=user, to=user, source=MALLORY, branch=f"s{number:02}",
            call_id=f"s{number:02}", extra="Event: presence\r\n", from_tag=f"s{number:02}",
            body=SDP if method == "INVITE" else b"",
        )  # fmt: skip
        [answer] = node.datagram(data, MALLORY)
        heard = Heard(answer)
        challenge = heard.get("www-authenticate")
        answers.add((heard.status, challenge.partition("nonce")[0], sorted(heard.headers) == []))
    assert len(answers) == 1, answers


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "OPTIONS", "BREW"])
def test_a_forged_source_hears_one_datagram_for_one(method: str) -> None:
    """No amplifier: what nobody acknowledges is not sent again (RFC 3261 §8.2.7)."""
    node = LoneNode()
    victim = ("192.0.2.99", 5060)
    node.datagram(request(method, body=SDP if method == "INVITE" else b""), victim)
    node.advance(60.0)
    assert len(node.told(victim)) == 1


def test_known_scanners_hear_nothing() -> None:
    node = LoneNode()
    for number, agent in enumerate(("friendly-scanner", "sipvicious/0.3", "VaxSIPUserAgent/3.5")):
        data = request("OPTIONS", branch=f"s{number}", extra=f"User-Agent: {agent}\r\n")
        assert node.datagram(data, MALLORY) == []


def test_no_relay_for_strangers() -> None:
    """Nobody without a password calls through us to a host that is not ours, whatever From says."""
    node = LoneNode()
    victim = ("192.0.2.99", 5060)
    for number, domain in enumerate((DOMAIN, "elsewhere.example")):
        for method in ("INVITE", "MESSAGE", "REFER", "REGISTER"):
            data = request(
                method, uri="sip:victim@192.0.2.99", source=MALLORY, domain=domain,
                branch=f"{method}{number}", call_id=f"{method}{number}",
                extra="Refer-To: <sip:victim@192.0.2.99>\r\n",
                body=SDP if method == "INVITE" else b"",
            )  # fmt: skip
            [answer] = node.datagram(data, MALLORY)
            assert Heard(answer).status in (401, 403, 404), (method, domain)
    node.advance(2.0)
    assert not node.told(victim)


def test_a_call_in_another_account_s_name_is_refused() -> None:
    """Alice's password does not let her be Bob."""
    node = LoneNode(GENEROUS, names=("alice", "bob"))
    invite = request("INVITE", user="bob", to="alice", source=ALICE, body=SDP)
    [challenge] = node.datagram(invite, ALICE)
    uri = f"sip:alice@{DOMAIN}"
    line = credentials(challenge, "INVITE", user="alice", uri=uri)
    node.datagram(
        request(
            "INVITE", user="bob", to="alice", source=ALICE, body=SDP, cseq=2, branch="2", extra=line
        ),
        ALICE,
    )
    node.advance(0.1)
    assert node.told(ALICE)[-1].status == 403
