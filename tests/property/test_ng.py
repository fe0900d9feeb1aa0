"""The NG service under any input: it answers, and nothing outlives its call."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from media.errors import NgSyntaxError
from media.ng.client import NgClient
from media.ng.figures import leg_media
from media.ng.messages import Encoding, decode, encode
from media.server.front import NgFront
from tests.support.media_lab import ALICE, BOB, MediaLab, rtp, sdp

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.sampled_from(
    [
        "sdp",
        "call-id",
        "from-tag",
        "to-tag",
        "flags",
        "replace",
        "direction",
        "received-from",
        "address-family",
        "rtcp-mux",
        "media-address",
        "transport-protocol",
        "ICE",
        "SDES",
        "limit",
        "delete-delay",
        "node",
        "epoch",
        "learn",
        "origin-key",
        "supports",
    ]
)
commands = st.sampled_from(
    ["ping", "offer", "answer", "delete", "query", "list", "statistics", "hello", "reset"]
)
likely = st.sampled_from(
    ["a", "b", "c", sdp(), sdp(5000, BOB), ["demux"], ["IP4", ALICE], ["origin"], "IP6", 3, "3"]
)
requests = st.builds(
    lambda command, fields: {**fields, "command": command},
    commands | json_values,
    st.dictionaries(keys, likely | json_values, max_size=8),
)


@given(st.lists(requests, max_size=6))
def test_any_request_is_answered_and_deletes_clean_up(messages: list[dict[str, Any]]) -> None:
    lab = MediaLab()
    for message in messages:
        reply = lab.service.handle(message, lab.now)
        assert reply["result"] in ("ok", "error", "pong", "load limit")
        encode("c", reply, Encoding.BENCODE)
    for call_id in lab.handle(command="list", limit=100)["calls"]:
        lab.handle(command="delete", call_id=call_id)
    lab.pass_time(0)
    assert lab.relay.open_ports == 0
    assert lab.service.call_count == 0


@given(st.binary(max_size=300) | requests.map(lambda data: _datagram(data)), st.data())
def test_any_datagram_is_answered_or_dropped(datagram: bytes, data: st.DataObject) -> None:
    front = NgFront(MediaLab().service)
    at = data.draw(st.integers(0, len(datagram)))
    spoiled = datagram[:at] + data.draw(st.binary(max_size=4)) + datagram[at + 2 :]
    for received in (datagram, spoiled):
        reply = front.receive(received, "peer", 0.0, subscribable=True)
        if reply is not None:
            assert "result" in decode(reply).data


def _datagram(data: dict[str, Any]) -> bytes:
    return encode("cookie", data)


@given(st.binary(max_size=200) | json_values.map(lambda value: encode("t1", {"result": value})))
def test_a_client_takes_anything(datagram: bytes) -> None:
    replies: list[object] = []
    client = NgClient("t", on_event=replies.append)
    client.request({"command": "ping"}, 0.0, replies.append)
    client.receive(datagram)
    client.handle_timers(3.0)
    assert len([reply for reply in replies if not isinstance(reply, dict)]) == 1


@given(st.dictionaries(st.sampled_from(["tags", "SSRC", "totals"]), json_values))
def test_figures_of_any_reply(reply: dict[str, Any]) -> None:
    assert leg_media(reply, "a").packets_in == 0


@given(st.binary(max_size=80))
def test_bytes_of_messages_are_refused_or_read(data: bytes) -> None:
    try:
        message = decode(data)
    except NgSyntaxError:
        return
    assert isinstance(message.data, dict)


class RelayedCalls(RuleBasedStateMachine):
    """Offers, answers, packets, holds, deletions and time in any order on a small port range."""

    calls = ("c1", "c2", "c3")
    tags = ("a", "b1", "b2")

    @initialize()
    def start(self) -> None:
        self.lab = MediaLab(port_min=10_000, port_max=10_019)

    @rule(
        call_id=st.sampled_from(calls),
        tag=st.sampled_from(tags),
        peer=st.sampled_from(("", *tags)),
        direction=st.sampled_from(["sendrecv", "sendonly", "inactive"]),
        video=st.sampled_from(["", "m=video 5004 RTP/AVP 96\r\n", "m=video 0 RTP/AVP 96\r\n"]),
    )
    def offer(self, call_id: str, tag: str, peer: str, direction: str, video: str) -> None:
        text = sdp(direction=direction, more=video)
        self.lab.handle(
            command="offer",
            call_id=call_id,
            from_tag=tag,
            to_tag=peer,
            sdp=text,
            replace=["origin"],
        )

    @rule(
        call_id=st.sampled_from(calls),
        offerer=st.sampled_from(tags),
        tag=st.sampled_from(tags),
        port=st.sampled_from([0, 5000, 6000]),
        host=st.sampled_from([BOB, "0.0.0.0", "127.0.0.1", "10.0.0.1"]),
    )
    def answer(self, call_id: str, offerer: str, tag: str, port: int, host: str) -> None:
        self.lab.handle(
            command="answer",
            call_id=call_id,
            from_tag=offerer,
            to_tag=tag,
            sdp=sdp(port, host),
            received_from=["IP4", BOB],
            replace=["origin"],
        )

    @rule(port=st.integers(10_000, 10_019), number=st.integers(0, 65_535))
    def packet(self, port: int, number: int) -> None:
        sent = self.lab.send(rtp(number), (ALICE, 11780), port)
        assert sent is None or sent.destination[0] not in ("127.0.0.1", "10.0.0.1", "0.0.0.0")

    @rule(call_id=st.sampled_from(calls), to_tag=st.sampled_from(("", *tags)))
    def delete(self, call_id: str, to_tag: str) -> None:
        self.lab.handle(command="delete", call_id=call_id, to_tag=to_tag)

    @rule(seconds=st.sampled_from([0.1, 5.0, 61.0, 3601.0]))
    def wait(self, seconds: float) -> None:
        self.lab.pass_time(seconds)

    @invariant()
    def every_open_port_is_of_a_call(self) -> None:
        if not hasattr(self, "lab"):
            return
        used = sum(pool.statistics()["used"] for pool in self.lab.service.pools.values())
        assert used <= self.lab.relay.open_ports <= 2 * used
        if self.lab.service.call_count == 0:
            assert used == 0
            assert self.lab.service.next_timer() is None

    def teardown(self) -> None:
        for call_id in self.calls:
            self.lab.handle(command="delete", call_id=call_id)
            self.lab.handle(command="delete", call_id=call_id)
        self.lab.pass_time(3601)
        assert self.lab.relay.open_ports == 0


TestRelayedCalls = RelayedCalls.TestCase
TestRelayedCalls.settings = settings(max_examples=40, stateful_step_count=25)
