"""NG datagrams in both encodings, and the requests of call control."""

from __future__ import annotations

import pytest

from media.errors import NgSyntaxError
from media.ng import messages
from media.ng.messages import Encoding, body_of, decode, encode, text_of


def test_bencode_and_json_are_told_apart() -> None:
    assert decode(b"5323_1 d7:command4:pinge") == ("5323_1", {"command": "ping"}, Encoding.BENCODE)
    assert decode(b'x1 {"command":"ping"}') == ("x1", {"command": "ping"}, Encoding.JSON)


def test_keys_of_several_words_are_spelled_with_hyphens() -> None:
    data = decode(b'x1 {"received from":["IP4","192.0.2.1"],"call-id":"a b"}').data
    assert data == {"received-from": ["IP4", "192.0.2.1"], "call-id": "a b"}


@pytest.mark.parametrize("encoding", list(Encoding))
def test_datagrams_survive_a_round_trip(encoding: Encoding) -> None:
    data = {"result": "ok", "n": 3, "list": ["ü", {}]}
    assert decode(encode("c1", data, encoding)) == ("c1", data, encoding)


def test_text_that_json_cannot_hold_is_sent_as_bencode() -> None:
    body = b"s=caf\xe9\r\n"
    message = decode(encode("c1", {"sdp": text_of(body)}, Encoding.JSON))
    assert message.encoding is Encoding.BENCODE
    assert body_of(message.data["sdp"]) == body


@pytest.mark.parametrize(
    ("datagram", "cookie"),
    [
        (b"", ""),
        (b"noblank", ""),
        (b" d2:xxe", ""),
        (b"c" * 129 + b" de", ""),
        (b"c de" + b" " * 66_000, ""),
        (b"c1 xyz", "c1"),
        (b"c1 ", "c1"),
        (b"c1 d1:", "c1"),
        (b'c1 {"a":', "c1"),
        (b'c1 {"a":"\xff"}', "c1"),
        (b"c1 {" + b'"a":{' * 12_000, "c1"),
        (b'c1 {"a":1} x', "c1"),
    ],
)
def test_what_is_no_message_is_refused_with_its_cookie(datagram: bytes, cookie: str) -> None:
    with pytest.raises(NgSyntaxError) as caught:
        decode(datagram)
    assert caught.value.cookie == cookie


def test_a_plain_offer() -> None:
    assert messages.offer("cid", "a", b"v=0\r\n") == {
        "command": "offer",
        "call-id": "cid",
        "from-tag": "a",
        "sdp": "v=0\r\n",
        "ICE": "remove",
        "replace": ["origin"],
        "flags": ["trust-address"],
    }


def test_an_offer_with_everything() -> None:
    message = messages.offer(
        "cid",
        "a",
        "v=0\r\n",
        to_tag="b",
        received_from="2001:db8::1",
        direction=("lan", "wan"),
        address_family="IP4",
        source_address=True,
        rtcp_mux=("demux",),
        flags=("loop-protect",),
        learn="exact",
        origin_key="b",
        ice="default",
    )
    assert message["to-tag"] == "b"
    assert message["received-from"] == ["IP6", "2001:db8::1"]
    assert message["direction"] == ["lan", "wan"]
    assert message["address-family"] == "IP4"
    assert message["flags"] == ["SIP-source-address", "loop-protect"]
    assert message["rtcp-mux"] == ["demux"]
    assert message["origin-key"] == "b"
    assert message["learn"] == "exact"
    assert message["ICE"] == "default"


def test_an_answer_names_both_parties() -> None:
    message = messages.answer("cid", "a", "b", b"v=0\r\n", received_from="192.0.2.1")
    assert (message["from-tag"], message["to-tag"]) == ("a", "b")
    assert message["received-from"] == ["IP4", "192.0.2.1"]
    assert message["flags"] == ["trust-address"]
    early = messages.answer("cid", "a", "b", b"v=0\r\n", provisional=True)
    assert early["flags"] == ["trust-address", "provisional"]


def test_the_other_requests() -> None:
    assert messages.delete("cid") == {"command": "delete", "call-id": "cid", "delete-delay": 0}
    deletion = messages.delete("cid", "a", "b")
    assert (deletion["from-tag"], deletion["to-tag"]) == ("a", "b")
    assert messages.query("cid") == {"command": "query", "call-id": "cid"}
    assert messages.ping() == {"command": "ping"}
    assert messages.hello("n1", "e1") == {"command": "hello", "node": "n1", "epoch": "e1"}


def test_an_engine_without_our_extensions_is_recognised() -> None:
    refusal = {"result": "error", "error-reason": "Unrecognized command"}
    assert messages.is_unknown_command(refusal)
    assert not messages.is_unknown_command({"result": "ok"})
