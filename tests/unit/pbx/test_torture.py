"""RFC 4475 against engine and call control: the answer of a server, message by message."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.data.rfc4475 import MESSAGES
from tests.support.fake_phone.wire import Heard, NotSip
from tests.support.lone_node import GENEROUS, LoneNode, request
from tests.support.torture import ANSWERS, SILENCE, check_answer, table

ROOT = Path(__file__).parents[3]
#: Users that the messages call or register.
NAMES = ("user", "j.user", "watson", "userb")


def test_the_table_is_in_the_documentation() -> None:
    """``docs/torture.md`` is written from it."""
    assert table() in (ROOT / "docs" / "torture.md").read_text("utf-8")


def _still_answers(node: LoneNode) -> None:
    [answer] = node.datagram(request("OPTIONS", branch="after"), ("203.0.113.77", 5060))
    assert Heard(answer).status == 200


def test_every_message_has_its_answer() -> None:
    assert set(ANSWERS) == set(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_over_udp(name: str) -> None:
    node = LoneNode(names=NAMES)
    answers = node.datagram(MESSAGES[name].data)
    check_answer(name, "udp", answers)
    _still_answers(node)
    node.advance(200.0)
    assert not any(node.sizes().values()), node.sizes()


@pytest.mark.parametrize("name", MESSAGES)
def test_over_tcp(name: str) -> None:
    """Where the end of a message is in doubt the connection is closed behind the answer."""
    node = LoneNode(names=NAMES)
    flow = node.connect()
    answers = node.stream(flow, MESSAGES[name].data)
    check_answer(name, "tcp", answers)
    assert node.is_closed(flow) == ANSWERS[name].closes
    _still_answers(node)
    node.engine.flow_closed(flow, node.clock.now)
    node.pump()
    node.advance(200.0)
    assert not any(node.sizes().values()), node.sizes()


@pytest.mark.parametrize("name", ["wsinv", "sdp01", "invut", "inv2543", "esc01", "baddate"])
def test_a_trusted_source_gets_the_application_s_answer(name: str) -> None:
    """What hides behind the challenge: nobody registered, nobody there, unsuitable content."""
    config = replace(GENEROUS, client_ips=(ip_network("203.0.113.0/24"),))
    node = LoneNode(config, names=NAMES)
    source = ("203.0.113.9", 5060)
    node.datagram(MESSAGES[name].data, source)
    node.advance(1.0)
    [*_, final] = [heard for heard in node.told(source) if heard.status >= 200]
    expected = {"wsinv": 481, "sdp01": 406, "invut": 415, "esc01": 500}
    assert final.status == expected.get(name, 480)


def test_an_unreadable_via_is_echoed_as_it_came() -> None:
    """The answer goes to the source; nothing in it was made up."""
    [answer] = LoneNode().datagram(MESSAGES["badinv01"].data)
    assert b"\r\nVia: SIP/2.0/UDP 192.0.2.15;;,;,,\r\n" in answer


def test_what_a_request_lacks_its_answer_lacks_too() -> None:
    """No invented header, no "None"."""
    [answer] = LoneNode().datagram(MESSAGES["insuf"].data)
    assert b"None" not in answer
    for name in (b"From", b"To", b"Call-ID"):
        assert b"\r\n" + name + b":" not in answer
    with pytest.raises(NotSip):
        Heard(answer)


def test_an_answer_is_not_much_larger_than_its_request() -> None:
    """An unverified source must not become an amplifier (one answer, at most three times)."""
    for name, message in MESSAGES.items():
        answers = LoneNode(names=NAMES).datagram(message.data)
        assert len(answers) <= 1, name
        assert sum(map(len, answers)) <= 3 * len(message.data), name
        assert bool(answers) == (ANSWERS[name].udp != SILENCE), name
