"""One contract for every NG engine: our media service and rtpengine 10.5.

What call control relies on must be true of both. Where they differ on purpose (own ``o=`` line,
ports of a forked call, SRTP) the difference is in ``docs/ng-extensions.md`` and not tested here.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from media.ng.figures import leg_media
from media.ng.messages import Encoding, answer, body_of, decode, delete, offer, ping, query
from media.rtp import RtpPacket
from media.sdp.description import Description, parse
from tests.support.ng_engines import LOOPBACK, Engine, Phone, running

pytestmark = pytest.mark.slow

ENGINES = ["ours", pytest.param("rtpengine", marks=pytest.mark.needs("rtpengine"))]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with running(request.param) as started:
        yield started


@pytest.fixture
def alice() -> Iterator[Phone]:
    phone = Phone()
    yield phone
    phone.close()


@pytest.fixture
def bob() -> Iterator[Phone]:
    phone = Phone()
    yield phone
    phone.close()


@pytest.fixture
def call_id(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def sdp(port: int, *, direction: str = "sendrecv", version: int = 1, more: str = "") -> str:
    return (
        f"v=0\r\no=phone 7 {version} IN IP4 {LOOPBACK}\r\ns=call\r\nc=IN IP4 {LOOPBACK}\r\n"
        f"t=0 0\r\nm=audio {port} RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\n"
        f"a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n{more}"
    )


class Call:
    """One NG call between two telephones of this machine."""

    def __init__(self, engine: Engine, call_id: str) -> None:
        self.engine = engine
        self.call_id = call_id

    def offer(
        self, text: str, from_tag: str = "a", to_tag: str = "", rtcp_mux: tuple[str, ...] = ()
    ) -> Description:
        message = offer(
            self.call_id,
            from_tag,
            text,
            to_tag=to_tag,
            received_from=LOOPBACK,
            rtcp_mux=rtcp_mux,
        )
        return self._exchange(message)

    def answer(self, text: str, from_tag: str = "a", to_tag: str = "b") -> Description:
        return self._exchange(answer(self.call_id, from_tag, to_tag, text, received_from=LOOPBACK))

    def _exchange(self, message: dict[str, object]) -> Description:
        reply = self.engine.ask(message)
        assert reply.ok, reply.error
        return parse(reply.sdp.decode())


def rtp(sequence_number: int, payload_type: int = 8) -> bytes:
    packet = RtpPacket(payload_type, sequence_number, 160 * sequence_number, 99, b"\xd5" * 160)
    return packet.to_bytes()


def crosses(sender: Phone, port: int, receiver: Phone, data: bytes) -> bool:
    """Send to the engine's port and wait for the same bytes at the other side."""
    sender.rtp.sendto(data, (LOOPBACK, port))
    return receiver.rtp.recv(2048) == data


@pytest.mark.parametrize("encoding", list(Encoding))
def test_ping_in_both_encodings(engine: Engine, encoding: Encoding) -> None:
    assert engine.ask(ping(), encoding).data == {"result": "pong"}


def test_a_repeated_cookie_gets_the_stored_reply(
    engine: Engine, call_id: str, alice: Phone
) -> None:
    request = b"%s d7:command5:offer7:call-id%d:%s8:from-tag1:a3:sdp%d:%se" % (
        call_id.encode(),
        len(call_id),
        call_id.encode(),
        len(sdp(alice.port)),
        body_of(sdp(alice.port)),
    )
    assert engine.raw(request) == engine.raw(request)


def test_both_sides_are_shown_the_engine(
    engine: Engine, call_id: str, alice: Phone, bob: Phone
) -> None:
    call = Call(engine, call_id)
    to_bob = call.offer(sdp(alice.port)).medias[0]
    to_alice = call.answer(sdp(bob.port)).medias[0]
    ports = {to_bob.port, to_alice.port}
    assert len(ports | {alice.port, bob.port}) == 4
    for media in (to_bob, to_alice):
        assert media.connection == ("IP4", LOOPBACK)
        assert media.port % 2 == 0
        assert media.formats == ["8", "0", "101"]
        assert media.direction == "sendrecv"
        assert media.rtcp_port in (0, media.port + 1)


def test_media_and_rtcp_cross_both_ways(
    engine: Engine, call_id: str, alice: Phone, bob: Phone
) -> None:
    call = Call(engine, call_id)
    bobs = call.offer(sdp(alice.port)).medias[0].port
    alices = call.answer(sdp(bob.port)).medias[0].port
    assert crosses(alice, alices, bob, rtp(1))
    assert crosses(bob, bobs, alice, rtp(1))
    report = bytes.fromhex("80c9000100000063")
    alice.rtcp.sendto(report, (LOOPBACK, alices + 1))
    assert bob.rtcp.recv(2048) == report


def test_ports_stay_over_new_offers_of_either_side(
    engine: Engine, call_id: str, alice: Phone, bob: Phone
) -> None:
    call = Call(engine, call_id)
    bobs = call.offer(sdp(alice.port)).medias[0].port
    alices = call.answer(sdp(bob.port)).medias[0].port
    assert call.offer(sdp(alice.port, version=2), "a", "b").medias[0].port == bobs
    assert call.answer(sdp(bob.port, version=2), "a", "b").medias[0].port == alices
    assert call.offer(sdp(bob.port, version=3), "b", "a").medias[0].port == alices
    assert call.answer(sdp(alice.port, version=3), "b", "a").medias[0].port == bobs
    assert crosses(alice, alices, bob, rtp(1))
    assert crosses(bob, bobs, alice, rtp(1))


def test_hold_and_resume(engine: Engine, call_id: str, alice: Phone, bob: Phone) -> None:
    call = Call(engine, call_id)
    call.offer(sdp(alice.port))
    alices = call.answer(sdp(bob.port)).medias[0].port
    held = call.offer(sdp(alice.port, direction="sendonly", version=2), "a", "b")
    assert held.medias[0].direction == "sendonly"
    answered = call.answer(sdp(bob.port, direction="recvonly", version=2))
    assert answered.medias[0].direction == "recvonly"
    assert crosses(alice, alices, bob, rtp(1))  # music on hold
    assert call.offer(sdp(alice.port, version=3), "a", "b").medias[0].direction == "sendrecv"
    call.answer(sdp(bob.port, version=3))
    assert crosses(alice, alices, bob, rtp(2))


def test_an_old_hold_passes(engine: Engine, call_id: str, alice: Phone, bob: Phone) -> None:
    call = Call(engine, call_id)
    call.offer(sdp(alice.port))
    call.answer(sdp(bob.port))
    zero = sdp(alice.port, version=2).replace(f"c=IN IP4 {LOOPBACK}", "c=IN IP4 0.0.0.0")
    connection = call.offer(zero, "a", "b").medias[0].connection
    assert connection is not None
    assert connection.is_zero


def test_the_branch_that_answers_last_has_the_media(
    engine: Engine, call_id: str, alice: Phone, bob: Phone
) -> None:
    call = Call(engine, call_id)
    call.offer(sdp(alice.port))
    other = Phone()
    try:
        call.answer(sdp(other.port), "a", "b1")
        port = call.answer(sdp(bob.port), "a", "b2").medias[0].port
        assert crosses(alice, port, bob, rtp(1))
    finally:
        other.close()


def test_rejected_media_keeps_its_line(
    engine: Engine, call_id: str, alice: Phone, bob: Phone
) -> None:
    call = Call(engine, call_id)
    video = "m=video {} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"
    offered = call.offer(sdp(alice.port, more=video.format(5004)))
    assert [media.kind for media in offered.medias] == ["audio", "video"]
    answered = call.answer(sdp(bob.port, more=video.format(0)))
    assert [media.port == 0 for media in answered.medias] == [False, True]


def test_ice_is_removed(engine: Engine, call_id: str, alice: Phone) -> None:
    ice = (
        f"a=ice-ufrag:abcd\r\na=ice-pwd:{'p' * 24}\r\n"
        f"a=candidate:1 1 UDP 2130706431 {LOOPBACK} {alice.port} typ host\r\n"
    )
    lines = Call(engine, call_id).offer(sdp(alice.port, more=ice)).medias[0].lines
    assert not [line for line in lines if line.startswith(("a=candidate", "a=ice-"))]


def test_rtcp_mux_is_undone_for_the_answerer(
    engine: Engine, call_id: str, alice: Phone, bob: Phone
) -> None:
    call = Call(engine, call_id)
    to_bob = call.offer(sdp(alice.port, more="a=rtcp-mux\r\n"), rtcp_mux=("demux",))
    assert not to_bob.medias[0].rtcp_mux
    to_alice = call.answer(sdp(bob.port)).medias[0]
    assert to_alice.rtcp_mux
    report = bytes.fromhex("80c9000100000063")
    alice.rtp.sendto(report, (LOOPBACK, to_alice.port))
    assert bob.rtcp.recv(2048) == report


def test_fax_passes(engine: Engine, call_id: str, alice: Phone, bob: Phone) -> None:
    def fax(port: int) -> str:
        head = sdp(port).partition("m=audio")[0]
        return f"{head}m=image {port} udptl t38\r\na=T38FaxVersion:0\r\n"

    call = Call(engine, call_id)
    assert call.offer(fax(alice.port)).medias[0].proto == "udptl"
    port = call.answer(fax(bob.port)).medias[0].port
    assert crosses(alice, port, bob, b"\x00\x01\x02 no RTP")


def test_deletion_tells_the_figures_of_each_party(
    engine: Engine, call_id: str, alice: Phone, bob: Phone
) -> None:
    call = Call(engine, call_id)
    bobs = call.offer(sdp(alice.port)).medias[0].port
    alices = call.answer(sdp(bob.port)).medias[0].port
    for number in range(10):
        assert crosses(alice, alices, bob, rtp(number))
        if number < 4:
            assert crosses(bob, bobs, alice, rtp(number))
    running_figures = leg_media(engine.ask(query(call_id)).data, "a")
    reply = engine.ask(delete(call_id, "a"))
    assert reply.ok
    a, b = leg_media(reply.data, "a"), leg_media(reply.data, "b")
    assert (a.packets_in, a.packets_out, b.packets_in, b.packets_out) == (10, 4, 4, 10)
    assert (a.bytes_in, b.bytes_in) == (1720, 688)
    assert running_figures.packets_in == 10
    assert engine.ask(query(call_id)).error == "Unknown call-id"


def test_running_calls_are_listed(engine: Engine, call_id: str, alice: Phone) -> None:
    Call(engine, call_id).offer(sdp(alice.port))
    listed = engine.ask({"command": "list", "limit": 1000})
    assert call_id in listed.data["calls"]
    statistics = engine.ask({"command": "statistics"}).data["statistics"]
    assert statistics["currentstatistics"]["sessionstotal"] >= 1


def test_unknown_calls(engine: Engine, alice: Phone) -> None:
    assert engine.ask(query("nobody")).error == "Unknown call-id"
    assert engine.ask(answer("nobody", "a", "b", sdp(alice.port))).error == "Unknown call-id"
    gone = engine.ask(delete("nobody", "a"))
    assert gone.ok
    assert gone.warning == "Call-ID not found or tags didn't match"
    assert not engine.ask(delete("nobody", "a") | {"flags": ["fatal"]}).ok


@pytest.mark.parametrize(
    "message",
    [
        {"command": "bogus"},
        {"command": "offer", "call-id": "x", "from-tag": "a"},
        {"command": "offer", "from-tag": "a", "sdp": sdp(9)},
        {"command": "offer", "call-id": "x", "from-tag": "a", "sdp": "garbage"},
    ],
)
def test_requests_that_cannot_be_carried_out_are_answered(
    engine: Engine, message: dict[str, object]
) -> None:
    reply = engine.ask(message)
    assert reply.error
    assert not reply.is_local


@pytest.mark.parametrize("garbage", [b"g1 x", b"g2 d7:command4:pin", b'g3 {"command":'])
def test_garbage_with_a_cookie_is_answered_and_survived(engine: Engine, garbage: bytes) -> None:
    reply = decode(engine.raw(garbage))
    assert reply.data["result"] == "error"
    assert engine.ask(ping()).ok
