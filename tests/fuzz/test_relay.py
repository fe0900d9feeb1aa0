"""Mutated packets through real sockets: the relay lives on, and nobody but the peer is heard.

Seeded; on both relays. The packet code itself is driven harder, under the sanitizers, by
relay_fuzz.c (`make sanitize`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from media.native import ANY_PAYLOAD_TYPE, LearnPolicy, Relay, StreamConfig, open_relay
from tests.support.rtp_peer import RtpPeer, receiver_report, rtp, sender_report

SEEDS = range(3)
ROUNDS = 40
PACKETS = 25  # a round; they fit into the smallest receive buffer

GOOD = (
    rtp(1),
    rtp(1, payload_type=101, payload=b"\x05\x0a\x00\xa0"),
    b"\x91" + rtp(1, payload=b"CSRC\xbe\xde\0\1EXTNx")[1:],
    sender_report(1),
    receiver_report(1, 2) + sender_report(1),
    b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),  # STUN
    b"\x16\xfe\xff" + bytes(30),  # DTLS
)


def mutated(rng: random.Random) -> bytes:
    """A packet with some bytes changed, cut off or doubled."""
    data = bytearray(rng.choice(GOOD))
    for _ in range(rng.randrange(4)):
        data[rng.randrange(len(data))] = rng.getrandbits(8)
    match rng.randrange(6):
        case 0:
            del data[rng.randrange(len(data)) :]
        case 1:
            data += data[: rng.randrange(len(data))]
        case 2:
            data = bytearray(rng.randbytes(rng.randrange(200)))
    return bytes(data)


@pytest.fixture(params=["native", "twin"])
def relay(request: pytest.FixtureRequest) -> Iterator[Relay]:
    made = open_relay(implementation=request.param)
    yield made
    made.shutdown()


@pytest.mark.parametrize("seed", SEEDS)
def test_mutated_packets_stop_nothing(relay: Relay, seed: int) -> None:
    rng = random.Random(seed)
    peer, other, stranger = RtpPeer(), RtpPeer("127.0.0.2"), RtpPeer("127.0.0.66")
    a, b = relay.open("127.0.0.1", 0), relay.open("127.0.0.1", 0)
    at_a = relay.address(a)
    relay.configure(b, StreamConfig(sink=a, remote=other.address, mux=True))
    for round_number in range(ROUNDS):
        relay.configure(
            a,
            StreamConfig(
                sink=b,
                remote=peer.address if rng.random() < 0.5 else None,
                signalling_host=peer.address[0],
                nat=True,
                learn=LearnPolicy.SIGNALLING_IP,
                mux=rng.random() < 0.5,
                payload_types=rng.choice([ANY_PAYLOAD_TYPE, frozenset({0}), None]),
                generation=round_number,
            ),
        )
        for _ in range(PACKETS):
            stranger.send(at_a, mutated(rng))
            peer.send(at_a, mutated(rng))
        # The peer is learned in spite of it all, and heard.
        first = 1000 * round_number
        peer.send_sequence(at_a, range(first, first + 5), ssrc=round_number)
        while other.receive() != rtp(first + 4, ssrc=round_number):
            continue
        assert relay.stats(a).locked == peer.address
    stats = relay.stats(a)
    assert stats.packets_in >= ROUNDS
    assert stranger.has_nothing()
    assert sum(stats.dropped.values()) >= ROUNDS * PACKETS
    for one in (peer, other, stranger):
        one.close()
