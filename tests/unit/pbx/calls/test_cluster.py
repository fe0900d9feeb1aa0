"""Two nodes on one log: a phone's flow ends at one, the call is the other's."""

from __future__ import annotations

import pytest

from pbx.domain.nodes import NodeDrainSet, NodeStopped
from pbx.eventlog import ANY_VERSION, Meta
from sip.flow import Flow
from tests.support.fake_phone.wire import Heard, session_description
from tests.support.lone_node import DOMAIN, Cluster, LoneNode, credentials, request

ALICE, BOB = ("198.51.100.1", 5060), ("198.51.100.2", 5060)
BEHIND_NAT = ("10.9.9.9", 5060)
AT_A, AT_B = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
SDP = session_description(ALICE[0], 4000, 1, 1, "sendrecv")


class Lab:
    """Nodes a and b; Alice registers at a, Bob at b, from behind a NAT or over a connection."""

    def __init__(self, transport: str = "UDP") -> None:
        self.transport = transport
        self.cluster = Cluster()
        self.a = LoneNode(name="a", local=AT_A, cluster=self.cluster)
        self.b = LoneNode(name="b", local=AT_B, cluster=self.cluster, seed=2)
        self.cluster.settle()
        self.bobs_flow: Flow | None = self.b.connect(BOB) if transport == "TCP" else None
        self.register(self.a, "alice", ALICE, ALICE)
        self.register(self.b, "bob", BOB, BEHIND_NAT, self.bobs_flow)

    def feed(self, node: LoneNode, data: bytes, source: tuple[str, int], flow: Flow | None) -> None:
        if flow is None:
            node.datagram(data, source)
        else:
            node.stream(flow, data)
        self.cluster.settle()

    def register(
        self, node: LoneNode, name: str, source: tuple[str, int], contact: tuple[str, int],
        flow: Flow | None = None, *, cseq: int = 1, expires: int = 3600,
    ) -> Heard:  # fmt: skip
        """A phone registers; the final answer."""
        where = f"Expires: {expires}\r\n"
        transport = "TCP" if flow is not None else "UDP"
        line = ""
        for number in (cseq, cseq + 1):
            data = request(
                "REGISTER", user=name, source=contact, branch=f"{name}{number}", cseq=number,
                extra=where + line, transport=transport,
            )  # fmt: skip
            self.feed(node, data, source, flow)
            answer = node.told(source)[-1]
            if answer.status == 401:
                line = credentials(answer.raw, "REGISTER", user=name)
        return answer

    def bob_says(self, data: bytes) -> None:
        self.feed(self.b, data, BOB, self.bobs_flow)

    def call(self) -> Heard:
        """Alice calls Bob; the INVITE that Bob gets."""
        uri = f"sip:bob@{DOMAIN}"
        [challenge] = self.a.datagram(
            request("INVITE", to="bob", source=ALICE, body=SDP, branch="i1"), ALICE
        )
        line = credentials(challenge, "INVITE", uri=uri)
        self.a.datagram(
            request("INVITE", to="bob", source=ALICE, cseq=2, body=SDP, branch="i2", extra=line),
            ALICE,
        )
        self.a.told(ALICE)
        return next(heard for heard in self.b.told(BOB) if heard.method == "INVITE")

    def answer(self, invite: Heard, status: int, body: bytes = b"") -> bytes:
        vias = "".join(f"Via: {value}\r\n" for value in invite.headers["via"])
        kind = "Content-Type: application/sdp\r\n" if body else ""
        return (
            f"SIP/2.0 {status} Fine\r\n{vias}From: {invite.get('from')}\r\n"
            f"To: {invite.get('to')};tag=bobs\r\nCall-ID: {invite.call_id}\r\n"
            f"CSeq: {invite.get('cseq')}\r\nContact: <sip:bob@{BEHIND_NAT[0]}:5060>\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_a_call_to_a_phone_of_another_node_goes_through_that_node(transport: str) -> None:
    """Every message of the leg leaves from b and comes back by b; the call is a's alone."""
    lab = Lab(transport)
    invite = lab.call()
    via, contact = invite.headers["via"][0], invite.get("contact")
    assert via.startswith(f"SIP/2.0/{transport} {AT_B[0]}:{AT_B[1]};rlnode=a;branch=")
    assert f"{AT_B[0]}:{AT_B[1]}" in contact
    assert ";rlnode=a>" in contact
    lab.bob_says(lab.answer(invite, 180))
    lab.bob_says(lab.answer(invite, 200, SDP))
    heard = lab.a.told(ALICE)
    assert [h.status for h in heard if h.status >= 180] == [180, 200]
    ok = heard[-1]
    lab.a.datagram(
        request("ACK", to="bob", source=ALICE, cseq=2, to_tag=ok.to_tag, call_id=ok.call_id,
                branch="ack"),
        ALICE,
    )  # fmt: skip
    assert [h.method for h in lab.b.told(BOB)] == ["ACK"]
    assert lab.a.node.statistics()["calls"] == 1
    assert lab.b.node.statistics()["calls"] == 0
    # Bob hangs up: his BYE goes to our Contact, which is at b.
    uri = contact.partition("<")[2].partition(">")[0]
    bye = (
        f"BYE {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {BEHIND_NAT[0]}:5060;branch=z9hG4bKbye\r\n"
        f"Max-Forwards: 70\r\nFrom: {invite.get('to')};tag=bobs\r\nTo: {invite.get('from')}\r\n"
        f"Call-ID: {invite.call_id}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
    )
    lab.bob_says(bye.encode())
    assert [h.status for h in lab.b.told(BOB)] == [200]
    assert [h.method for h in lab.a.told(ALICE)] == ["BYE"]
    lab.cluster.settle()
    ended = lab.a.records("call.ended.v1")
    assert [record.node for record in ended] == ["a"]


def test_a_node_that_cannot_be_reached_fails_the_contact_at_once() -> None:
    """480 and not a time-out: nobody can be rung."""
    lab = Lab()
    lab.cluster.down.add("b")
    with pytest.raises(StopIteration):
        lab.call()
    [ended] = lab.a.records("call.ended.v1")
    assert getattr(ended.event, "status", 0) in (480, 500)


def test_a_node_that_stopped_in_order_has_no_flows() -> None:
    """Its UDP phones may still be there: they are tried from here."""
    lab = Lab()
    meta = Meta(actor="node:b", node="b")
    lab.a.events.append("node/b", ANY_VERSION, [NodeStopped(reason="upgrade")], meta)
    lab.cluster.down.add("b")
    lab.a.follow()
    with pytest.raises(StopIteration):
        lab.call()
    assert [h.method for h in lab.a.told(BOB)] == ["INVITE"]


def test_a_phone_that_registers_elsewhere_is_reached_there() -> None:
    """The flow of a binding is the one it was last refreshed over."""
    lab = Lab()
    lab.register(lab.a, "bob", BOB, BEHIND_NAT, cseq=10)
    with pytest.raises(StopIteration):
        lab.call()
    assert [h.method for h in lab.a.told(BOB)] == ["INVITE"]
    location = lab.b.node.locations.at(f"bob@{DOMAIN}")
    assert location is not None
    assert list(location.owners.values()) == ["a"]


def test_both_nodes_may_change_one_address_in_turn() -> None:
    """Each refresh is seen by the other node, so neither works on what is no longer so."""
    lab = Lab()
    for round_ in range(3):
        for node in (lab.a, lab.b):
            answer = lab.register(
                node, "bob", BOB, BEHIND_NAT, cseq=100 + 20 * round_ + 10 * (node is lab.b)
            )
            assert answer.status == 200
    a, b = (n.node.locations.at(f"bob@{DOMAIN}") for n in (lab.a, lab.b))
    assert a is not None
    assert b is not None
    assert a.version == b.version
    assert len(a.bindings) == len(b.bindings) == 1


def test_a_stale_view_is_renewed_by_the_conflict() -> None:
    """The phone notices nothing: its request is evaluated again on what the log has."""
    lab = Lab()
    lab.cluster.down.add("b")  # b hears nothing of the log for a while
    lab.register(lab.a, "bob", BOB, ("10.9.9.10", 5060), cseq=30)
    lab.cluster.down.clear()
    answers = []
    for cseq in (50, 60):
        data_b = lab.b
        for number, line in ((cseq, ""),):
            data = request("REGISTER", user="bob", source=("10.9.9.11", 5060), cseq=number,
                           branch=f"s{number}", extra="Expires: 600\r\n" + line)  # fmt: skip
            data_b.datagram(data, BOB)
            challenge = data_b.told(BOB)[-1]
            line = credentials(challenge.raw, "REGISTER", user="bob")
            data = request("REGISTER", user="bob", source=("10.9.9.11", 5060), cseq=number + 1,
                           branch=f"s{number}a", extra="Expires: 600\r\n" + line)  # fmt: skip
            data_b.datagram(data, BOB)
            data_b.writer.flush()
            data_b.pump()
            answers.append(data_b.told(BOB)[-1].status)
    assert answers == [200, 200]
    location = lab.b.node.locations.at(f"bob@{DOMAIN}")
    assert location is not None
    assert len(location.bindings) == 3


@pytest.mark.parametrize("owner_lives", [True, False])
def test_a_binding_is_removed_once_by_its_node_or_in_its_place(owner_lives: bool) -> None:
    """In its place after the ten minutes by which the log is ahead of refreshes (ADR 7)."""
    lab = Lab()
    lab.register(lab.b, "bob", BOB, BEHIND_NAT, cseq=10, expires=60)
    if not owner_lives:
        lab.cluster.down.add("b")
    for _ in range(70 if owner_lives else 700):
        for name, node in lab.cluster.nodes.items():
            if name not in lab.cluster.down:
                node.engine.handle_timers(node.clock.now)
                node.node.handle_timers(node.clock.now)
                node.pump()
        lab.cluster.settle()
        lab.a.clock.now += 1.0
    removed = lab.a.records("binding.removed.v1")
    assert [record.node for record in removed] == (["b"] if owner_lives else ["a"])


def test_a_draining_node_takes_nothing_new_until_it_starts_again() -> None:
    """503 sends phones and callers to the next server (RFC 3263 §4.3)."""
    lab = Lab()
    drain = NodeDrainSet(on=True)
    lab.a.events.append("node/a", ANY_VERSION, [drain], Meta(actor="cli:root"))
    lab.cluster.settle()
    assert lab.a.node.draining
    assert not lab.b.node.draining
    [answer] = lab.a.datagram(
        request("INVITE", to="bob", source=ALICE, body=SDP, branch="d1"), ALICE
    )
    assert Heard(answer).status == 503
    assert Heard(answer).get("retry-after")
    [answer] = lab.a.datagram(
        request("REGISTER", user="alice", source=ALICE, branch="d2", call_id="other"), ALICE
    )
    assert Heard(answer).status == 503
    lab.a.node.start("next", 2, (), lab.a.clock.now)
    assert not lab.a.node.draining


def test_a_message_that_names_an_unknown_node_is_lost() -> None:
    """Nobody can have a node pass anything on but between nodes of the cluster."""
    lab = Lab()
    before = lab.b.engine.statistics().get("forwarded", 0)
    data = request("BYE", uri=f"sip:x@{AT_B[0]}:5060;rlnode=mars", source=BOB, branch="m")
    assert lab.b.datagram(data, BOB) == []
    assert lab.b.engine.statistics()["forwarded"] == before + 1
