"""INVITE usages off the beaten track: late calls of the user, odd peers, forks, credentials."""

from __future__ import annotations

import gc

import pytest

from sip import digest
from sip.core import EngineConfig
from sip.dialog.dialog import Dialog
from sip.dialog.invite import InviteUsage
from sip.errors import LocalProtocolError
from sip.events import (
    AnswerReceived,
    DialogRequest,
    DialogResponse,
    InviteAnswered,
    InviteCancelled,
    InviteConfirmed,
    InviteFailed,
    InviteProgress,
    InviteReceived,
    OfferFailed,
    OfferReceived,
    OfferRequested,
    ReferProgress,
    ReferReceived,
    UsageEnded,
)
from sip.flow import Flow, Target
from sip.login import DigestLogin
from sip.message import Request
from sip.parser import parse_message
from sip.request import ClientRequest
from sip.transaction.client import ClientTransaction
from sip.transaction.server import ServerTransaction
from tests.support.engine_pair import ANSWER, OFFER, EnginePair, Packet


def inject(
    pair: EnginePair, usage: InviteUsage, method: str, extra: str = "", body: bytes = b""
) -> None:
    """A request in the dialog that the usage itself would not send now."""
    dialog = usage.dialog
    assert dialog is not None
    client = dialog.new_request(usage, method, extra, body, contact=True)
    client.start(dialog.hop(), pair.now)


def with_tag(packet: Packet, tag: str, new: str) -> bytes:
    """The same response from another phone."""
    return packet.data.replace(tag.encode(), new.encode())


# -- what the user may ask at odd moments


def test_hanging_up_before_the_answer() -> None:
    """A caller cancels, a callee rejects with 480."""
    pair = EnginePair()
    caller, _ = pair.ringing()
    caller.bye(now=pair.now)
    assert pair.roundtrip() == ["CANCEL", "200 CANCEL", "487 INVITE", "ACK"]
    assert pair.bob.take(InviteCancelled).reason_header == ""
    pair.alice.take(InviteProgress)
    assert pair.alice.take(InviteFailed).cause == "cancelled"
    _, callee = pair.ringing()
    callee.bye(now=pair.now)
    assert pair.roundtrip() == ["480 INVITE", "ACK"]
    pair.settle()
    pair.assert_empty()


def test_calls_that_come_too_late_do_nothing() -> None:
    pair = EnginePair()
    caller, callee = pair.established()
    callee.provisional(180, now=pair.now)
    callee.accept(b"x", now=pair.now)
    callee.reject(486, now=pair.now)
    callee.drop(now=pair.now)
    caller.cancel(now=pair.now)
    caller.ack(b"x", now=pair.now)
    caller.answer(b"x", now=pair.now)
    caller.answer_with_offer(b"x", now=pair.now)
    caller.reject_offer(now=pair.now)
    caller.notify_refer(200, now=pair.now)
    assert pair.roundtrip() == []
    caller.bye(now=pair.now)
    caller.bye(now=pair.now)
    caller.offer(b"x", now=pair.now)
    assert pair.roundtrip() == ["BYE", "200 BYE"]
    assert not pair.alice.has(OfferFailed)


def test_roles_are_kept_apart() -> None:
    pair = EnginePair()
    caller, callee = pair.ringing()
    with pytest.raises(LocalProtocolError):
        caller.provisional(180, now=pair.now)
    with pytest.raises(LocalProtocolError):
        callee.cancel(now=pair.now)
    with pytest.raises(LocalProtocolError):
        callee.reject(200, now=pair.now)
    with pytest.raises(LocalProtocolError):
        caller.request("BYE", now=pair.now)
    fresh = pair.call()
    with pytest.raises(LocalProtocolError):
        fresh.request("INFO", now=pair.now)


def test_wrong_kind_of_answer_is_our_own_fault() -> None:
    pair = EnginePair()
    caller, callee = pair.established()
    caller.offer(b"", now=pair.now)
    pair.transfer("INVITE")
    pair.bob.take(OfferRequested)
    with pytest.raises(LocalProtocolError):
        callee.answer(b"x", now=pair.now)
    callee.reject_offer(488, now=pair.now)
    assert pair.roundtrip() == ["488 INVITE", "ACK"]
    assert pair.alice.take(OfferFailed).status == 488
    caller.offer(b"y", now=pair.now)
    pair.transfer("INVITE")
    with pytest.raises(LocalProtocolError):
        callee.answer_with_offer(b"x", now=pair.now)


def test_what_a_usage_says_about_itself() -> None:
    pair = EnginePair()
    caller = pair.call(user="mine")
    assert (caller.role, caller.state, caller.user) == ("uac", "trying", "mine")
    assert (caller.remote_tag, caller.flow, caller.last_cseq) == ("", None, 1)
    assert caller.local_uri == "sip:alice@atlanta.example.com"
    assert caller.remote_uri == "sip:bob@biloxi.example.com"
    pair.transfer("INVITE")
    callee = pair.bob.take(InviteReceived).usage
    assert callee.last_cseq == 1
    assert "UPDATE" in callee.remote_allow
    assert callee.remote_supported == {"100rel", "timer", "replaces", "norefersub"}
    assert (callee.remote_body, callee.local_body) == (OFFER, b"")
    callee.accept(ANSWER, now=pair.now)
    pair.roundtrip()
    assert (caller.remote_tag, caller.local_tag) == (callee.local_tag, callee.remote_tag)
    assert (caller.remote_body, callee.local_body) == (ANSWER, ANSWER)
    assert caller.flow == pair.flow(pair.alice)
    moved = Flow("udp", pair.bob.address, ("192.0.2.102", 5060))
    callee.flow = moved
    assert callee.flow == moved
    found = pair.bob.engine.find_dialog(callee.call_id, callee.local_tag, callee.remote_tag)
    assert found is callee
    swapped = (callee.call_id, callee.remote_tag, callee.local_tag)
    assert pair.bob.engine.find_dialog(*swapped) is None
    assert pair.bob.engine.find_dialog(*swapped, either_order=True) is callee


def test_what_a_usage_says_after_it_failed() -> None:
    """For the record of a call that was never answered."""
    pair = EnginePair()
    caller = pair.call()
    pair.transfer("INVITE")
    pair.bob.take(InviteReceived).usage.reject(486, now=pair.now)
    pair.roundtrip()
    assert caller.ended
    assert caller.local_uri == "sip:alice@atlanta.example.com"
    assert caller.remote_uri == "sip:bob@biloxi.example.com"
    assert (caller.last_cseq, caller.flow) == (1, pair.flow(pair.alice))


def test_nothing_is_left_for_the_cycle_collector() -> None:
    """Thousands of calls a minute: what is over is freed by its last reference, at once."""
    kinds = (InviteUsage, Dialog, ClientRequest, ClientTransaction, ServerTransaction)

    def alive() -> int:
        return sum(isinstance(thing, kinds) for thing in gc.get_objects())

    pair = EnginePair()
    gc.collect()
    before = alive()
    gc.disable()
    try:
        for _ in range(3):
            caller, callee = pair.established()
            caller.bye(now=pair.now)
            pair.roundtrip()
            pair.alice.events.clear()
            pair.bob.events.clear()
        assert alive() > before
        del caller, callee
        pair.settle()
        assert alive() == before
    finally:
        gc.enable()


def test_own_contact_and_allow_replace_ours() -> None:
    pair = EnginePair()
    pair.call(headers=[("Allow", "INVITE, ACK"), ("Supported", "x"), ("User-Agent", "Me")])
    text = pair.transfer("INVITE").data
    for name in (b"Allow: ", b"Supported: ", b"User-Agent: "):
        assert text.count(b"\r\n" + name) == 1
    assert pair.bob.take(InviteReceived).usage.remote_allow == {"INVITE", "ACK"}


def test_user_agent_can_be_silent() -> None:
    pair = EnginePair(alice=EngineConfig(user_agent="", supported=()))
    pair.call()
    data = pair.transfer("INVITE").data
    assert b"User-Agent" not in data
    assert b"Supported" not in data


# -- odd peers in the dialog


def test_out_of_order_request() -> None:
    """RFC 3261 §12.2.2: a CSeq that does not grow gets 500 with Retry-After."""
    pair = EnginePair()
    caller, _ = pair.established()
    assert caller.dialog is not None
    caller.dialog.local_cseq = 0
    inject(pair, caller, "INFO")
    pair.transfer("INFO")
    assert b"\r\nRetry-After: " in pair.transfer("500 INFO").data
    assert not pair.bob.has(DialogRequest)


def test_unknown_extension_in_the_dialog() -> None:
    pair = EnginePair()
    caller, _ = pair.established()
    inject(pair, caller, "INFO", "Require: teleport\r\n")
    pair.transfer("INFO")
    assert b"\r\nUnsupported: teleport\r\n" in pair.transfer("420 INFO").data


def test_source_that_the_dialog_has_not_seen() -> None:
    """strict_source: right tags from the wrong host get 481 (requests) or nothing (ACK)."""
    pair = EnginePair(bob=EngineConfig(strict_source=True))
    caller, callee = pair.ringing()
    callee.accept(ANSWER, now=pair.now)
    pair.transfer("200 INVITE")
    ack = pair.drop("ACK")
    stranger = Flow("udp", pair.bob.address, ("203.0.113.66", 5060))
    pair.bob.engine.receive_datagram(ack.data, stranger, pair.now)
    pair.collect()
    assert not pair.bob.has(InviteConfirmed)
    pair.deliver(ack)
    assert pair.bob.has(InviteConfirmed)
    caller.bye(now=pair.now)
    bye = pair.drop("BYE")
    pair.bob.engine.receive_datagram(bye.data, stranger, pair.now)
    pair.collect()
    assert not callee.ended
    pair.deliver(bye)
    assert callee.ended


def test_bye_of_the_callee_on_an_early_dialog() -> None:
    """RFC 3261 §15: the callee must not; 481, and the INVITE goes on."""
    pair = EnginePair()
    caller, callee = pair.ringing()
    inject(pair, callee, "BYE")
    callee._closing += 1
    pair.transfer("BYE")
    pair.transfer("481 BYE")
    assert not caller.ended


def test_bye_that_crosses_a_deferred_one() -> None:
    """Bob hung up before the ACK; Alice hangs up too, so Bob's BYE is no longer needed."""
    pair = EnginePair()
    caller, callee = pair.ringing()
    callee.accept(ANSWER, now=pair.now)
    callee.bye(now=pair.now)
    pair.transfer("200 INVITE")
    pair.drop("ACK")
    caller.bye(now=pair.now)
    assert pair.roundtrip() == ["BYE", "200 BYE"]
    pair.settle()
    pair.assert_empty()
    assert [line for _, who, line in pair.trace if who == "bob" and line == "BYE"] == []


def test_deferred_bye_without_any_ack() -> None:
    """RFC 3261 §15: the BYE leaves when the 2xx times out, and the end is told once."""
    pair = EnginePair()
    _, callee = pair.ringing()
    callee.accept(ANSWER, now=pair.now)
    callee.bye(now=pair.now)
    pair.collect()
    assert pair.bob.take(UsageEnded).by == "local"
    pair.drop_all()
    pair.advance(33, deliver=False)
    lines = [packet.line for packet in pair.wire if packet.sender is pair.bob]
    assert lines[-1] == "BYE"
    pair.wire = []
    pair.settle()
    assert not pair.bob.has(UsageEnded)


def test_invite_inside_the_early_dialog() -> None:
    pair = EnginePair()
    caller, callee = pair.ringing()
    inject(pair, caller, "INVITE")
    pair.transfer("INVITE")
    pair.transfer("500 INVITE")
    pair.transfer("ACK")
    inject(pair, callee, "INVITE")
    pair.transfer("INVITE")
    pair.transfer("491 INVITE")


def test_refer_that_cannot_be_read() -> None:
    pair = EnginePair()
    caller, callee = pair.established()
    for extra in ("", "Refer-To: <sip:a@x>, <sip:b@x>\r\n", "Refer-To: <sip:a@x?Replaces=1>\r\n"):
        inject(pair, caller, "REFER", extra)
        pair.transfer("REFER")
        pair.transfer("400 REFER")
    inject(pair, caller, "REFER", "Refer-To: <tel:+123>\r\nRefer-Sub: false\r\n")
    pair.transfer("REFER")
    event = pair.bob.take(ReferReceived)
    assert event.replaces is None
    callee.respond(event.transaction, 200, None, (), b"x", now=pair.now, content_type="text/x")
    # RFC 4488: no subscription was wanted.
    assert pair.roundtrip() == ["200 REFER"]
    assert not callee._refers


def test_second_refer_has_an_id() -> None:
    """RFC 3515 §2.4.6."""
    pair = EnginePair()
    caller, callee = pair.established()
    texts = []
    for _ in range(2):
        caller.request("REFER", [("Refer-To", "<sip:c@192.0.2.7>")], now=pair.now)
        pair.transfer("REFER")
        event = pair.bob.take(ReferReceived)
        callee.respond(event.transaction, 202, now=pair.now)
        pair.transfer("202 REFER")
        texts.append(pair.transfer("NOTIFY").data)
        pair.transfer("200 NOTIFY")
    assert b"\r\nEvent: refer\r\n" in texts[0]
    assert b"\r\nEvent: refer;id=3\r\n" in texts[1]


def test_progress_nobody_has_seen_is_replaced() -> None:
    pair = EnginePair()
    caller, callee = pair.established()
    caller.request("REFER", [("Refer-To", "<sip:c@192.0.2.7>")], now=pair.now)
    pair.transfer("REFER")
    callee.respond(pair.bob.take(ReferReceived).transaction, 202, now=pair.now)
    for status in (180, 181, 182, 183):
        callee.notify_refer(status, now=pair.now)
    callee.notify_refer(486, "Not now", final=True, now=pair.now)
    callee.notify_refer(200, final=True, now=pair.now)
    pair.roundtrip()
    seen = [e.status for e in pair.alice.events if isinstance(e, ReferProgress)]
    assert seen == [100, 180, 486]


def test_refused_notify_ends_the_implicit_subscription() -> None:
    pair = EnginePair()
    caller, callee = pair.established()
    caller.request("REFER", [("Refer-To", "<sip:c@192.0.2.7>")], now=pair.now)
    pair.transfer("REFER")
    callee.respond(pair.bob.take(ReferReceived).transaction, 202, now=pair.now)
    pair.roundtrip()
    callee.notify_refer(180, now=pair.now)
    pair.advance(40, deliver=False)  # nobody answers it
    assert not callee._refers
    assert not callee.ended


def test_notify_of_other_packages_and_bad_sipfrag() -> None:
    pair = EnginePair()
    caller, callee = pair.established()
    inject(pair, caller, "NOTIFY", "Event: keep-alive\r\n")
    pair.transfer("NOTIFY")
    pair.bob.take(DialogRequest)
    state = "Event: refer\r\nSubscription-State: active\r\n"
    for extra, body in (
        ("", b""),
        ("Event: refer\r\n", b""),
        (state, b"hello"),
        (state, b"SIP/2.0 2x0 OK"),
    ):
        inject(pair, caller, "NOTIFY", extra, body)
        pair.transfer("NOTIFY")
        assert pair.transfer().line in ("400 NOTIFY", "489 NOTIFY")
    inject(pair, caller, "NOTIFY", state, b"SIP/2.0 200\r\n")
    pair.roundtrip()
    event = pair.bob.take(ReferProgress)
    assert (event.status, event.reason, event.final, event.usage) == (200, "", True, callee)


def test_request_that_nobody_answers() -> None:
    """INFO: the call goes on; the user hears of it."""
    pair = EnginePair()
    caller, _ = pair.established()
    client = caller.request("INFO", user=7, now=pair.now)
    pair.advance(33, deliver=False)
    event = pair.alice.take(DialogResponse)
    assert (event.client, event.client.user, event.response, event.cause) == (
        client,
        7,
        None,
        "timeout",
    )
    assert not caller.ended


def test_bye_that_nobody_answers() -> None:
    pair = EnginePair()
    caller, callee = pair.established()
    caller.bye(now=pair.now)
    pair.advance(33, deliver=False)
    pair.wire = []
    assert pair.alice.engine.statistics()["dialogs"] == 0
    assert pair.bob.engine.statistics()["dialogs"] == 1
    assert not callee.ended


def test_allow_that_cannot_be_read() -> None:
    pair = EnginePair()
    caller = pair.call()
    pair.transfer("INVITE")
    callee = pair.bob.take(InviteReceived).usage
    callee.accept(ANSWER, [("Allow", 'INVITE, "x')], now=pair.now)
    pair.roundtrip()
    assert caller.state == "confirmed"
    assert pair.alice.engine.statistics()["headers_ignored"] == 1


# -- offers


def test_peer_that_answers_without_an_offer() -> None:
    """Our re-INVITE asked for an offer and none came: nothing changes."""
    pair = EnginePair()
    caller, callee = pair.established()
    caller.offer(b"", now=pair.now)
    pair.transfer("INVITE")
    pair.bob.take(OfferRequested)
    callee.answer_with_offer(b"", now=pair.now)
    pair.roundtrip()
    assert pair.alice.take(OfferFailed).status == 488


def test_offer_that_is_unwanted_in_a_2xx() -> None:
    """RFC 3261 §13.2.2.4: ACK, then BYE."""
    pair = EnginePair()
    caller, callee = pair.established()
    caller.offer(b"", now=pair.now)
    pair.transfer("INVITE")
    callee.answer_with_offer(b"m=video 1 RTP/AVP 34", now=pair.now)
    pair.transfer("200 INVITE")
    pair.alice.take(OfferReceived)
    caller.reject_offer(488, now=pair.now)
    assert pair.roundtrip() == ["ACK", "BYE", "200 BYE"]
    assert pair.alice.take(UsageEnded).by == "local"


def test_early_offer_that_is_unwanted() -> None:
    """In a reliable 183: PRACK, then CANCEL."""
    pair = EnginePair()
    caller = pair.call(b"")
    pair.transfer("INVITE")
    callee = pair.bob.take(InviteReceived).usage
    callee.provisional(183, b"offer", reliable=True, now=pair.now)
    pair.transfer("183 INVITE")
    assert pair.alice.take(InviteProgress).answer_needed
    caller.reject_offer(488, now=pair.now)
    lines = pair.roundtrip()
    assert lines[:2] == ["PRACK", "CANCEL"]
    assert pair.alice.take(InviteFailed).cause == "cancelled"
    pair.settle()
    pair.assert_empty()


def test_early_offer_answered_by_answer() -> None:
    """`answer()` finds its way into the PRACK too."""
    pair = EnginePair()
    caller = pair.call(b"")
    pair.transfer("INVITE")
    callee = pair.bob.take(InviteReceived).usage
    callee.provisional(183, b"offer", reliable=True, now=pair.now)
    pair.transfer("183 INVITE")
    caller.answer(b"answer", now=pair.now)
    assert b"answer" in pair.transfer("PRACK").data
    assert pair.bob.take(AnswerReceived).body == b"answer"


def test_new_offer_in_a_prack() -> None:
    """RFC 3262 §5: the 200 to the PRACK waits for the user."""
    pair = EnginePair()
    for refuse in (False, True):
        caller = pair.call()
        pair.transfer("INVITE")
        callee = pair.bob.take(InviteReceived).usage
        callee.provisional(183, ANSWER, reliable=True, now=pair.now)
        response = parse_message(pair.drop("183 INVITE").data)
        assert response.first("RSeq")
        pair.deliver(Packet(pair.bob, pair.alice, pair.flow(pair.alice), response.to_bytes()))
        pair.drop("PRACK")
        assert caller.dialog is not None
        inject(
            pair,
            caller,
            "PRACK",
            f"RAck: {response.first('RSeq')} 1 INVITE\r\nContent-Type: application/sdp\r\n",
            b"offer2",
        )
        pair.transfer("PRACK")
        assert pair.bob.take(OfferReceived).method == "PRACK"
        if refuse:
            callee.reject_offer(488, now=pair.now)
            pair.transfer("488 PRACK")
        else:
            callee.answer(b"answer2", now=pair.now)
            assert pair.transfer("200 PRACK").data.endswith(b"answer2")
            assert (callee.local_body, callee.remote_body) == (b"answer2", b"offer2")
        callee.accept(now=pair.now)
        pair.roundtrip()
        caller.bye(now=pair.now)
        pair.settle()
        pair.assert_empty()


def test_prack_for_nothing() -> None:
    """RFC 3262 §3: 481."""
    pair = EnginePair()
    caller, callee = pair.ringing()
    for extra in ("", "RAck: 1 1 INVITE\r\n"):
        inject(pair, caller, "PRACK", extra)
        pair.transfer("PRACK")
        pair.transfer("481 PRACK")
    callee.provisional(183, ANSWER, reliable=True, now=pair.now)
    pair.drop("183 INVITE")
    for extra in ("RAck: x\r\n", "RAck: 1 1 INVITE\r\n"):
        inject(pair, caller, "PRACK", extra)
        pair.transfer("PRACK")
        pair.transfer("481 PRACK")
    assert pair.alice.engine.statistics()["pracks_failed"] == 4
    inject(pair, caller, "PRACK")
    pair.advance(40, deliver=False)
    assert pair.alice.engine.statistics()["pracks_failed"] == 5


def test_reliable_response_without_a_number() -> None:
    """It cannot be acknowledged, so it does not exist."""
    pair = EnginePair()
    caller = pair.call()
    pair.transfer("INVITE")
    callee = pair.bob.take(InviteReceived).usage
    callee.provisional(183, ANSWER, [("Require", "100rel")], now=pair.now)
    pair.transfer("183 INVITE")
    assert not pair.alice.has(InviteProgress)
    callee.provisional(180, b"", [("Require", '100rel, "')], now=pair.now)
    pair.transfer("180 INVITE")
    assert not pair.alice.take(InviteProgress).reliable
    assert caller.state == "early"


def test_queue_of_provisional_responses_is_bounded() -> None:
    pair = EnginePair(bob=EngineConfig(max_provisionals=3))
    pair.call()
    pair.transfer("INVITE")
    callee = pair.bob.take(InviteReceived).usage
    for _ in range(10):
        callee.provisional(180, reliable=True, now=pair.now)
    pair.advance(5)
    assert sum(line == "180 INVITE" for _, _, line in pair.trace) == 4


def test_reliable_response_without_sdp_does_not_hold_the_answer() -> None:
    pair = EnginePair()
    caller = pair.call()
    pair.transfer("INVITE")
    callee = pair.bob.take(InviteReceived).usage
    callee.provisional(180, reliable=True, now=pair.now)
    pair.drop("180 INVITE")
    callee.accept(ANSWER, now=pair.now)
    assert pair.roundtrip() == ["200 INVITE", "ACK"]
    assert caller.state == callee.state == "confirmed"
    pair.advance(40)
    assert "180 INVITE" not in [line for at, _, line in pair.trace if at > 0]


def test_offer_queue_is_bounded() -> None:
    pair = EnginePair(alice=EngineConfig(max_offers=2))
    caller, _ = pair.established()
    for _ in range(4):
        caller.offer(b"x", now=pair.now)
    pair.collect()
    assert [e.status for e in pair.alice.events if isinstance(e, OfferFailed)] == [491]


def test_offer_before_the_answer_waits_for_it() -> None:
    pair = EnginePair()
    caller, callee = pair.ringing()
    caller.offer(b"new", now=pair.now)
    pair.collect()
    assert pair.wire == []
    callee.accept(ANSWER, now=pair.now)
    lines = pair.roundtrip()
    assert lines == ["200 INVITE", "ACK", "INVITE"]
    assert pair.bob.take(OfferReceived).body == b"new"


def test_update_falls_back_to_invite() -> None:
    """RFC 3311 §4: only to peers that allow it."""
    allowed = ("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "OPTIONS")
    pair = EnginePair(bob=EngineConfig(methods=allowed))
    caller, _ = pair.established()
    caller.offer(b"new", "UPDATE", now=pair.now)
    pair.transfer("INVITE")


def test_glare_without_end() -> None:
    pair = EnginePair()
    caller, callee = pair.established()
    caller.offer(b"a", now=pair.now)
    for _ in range(4):
        packet = pair.transfer("INVITE")
        event = pair.bob.take(OfferReceived)
        assert event.body == b"a"
        callee.reject_offer(491, now=pair.now)
        pair.transfer("491 INVITE")
        pair.transfer("ACK")
        assert packet.data.endswith(b"a")
        for _ in range(50):
            if not pair.wire:
                pair.advance(0.1, deliver=False)
    assert pair.alice.take(OfferFailed).status == 491


def test_retry_after_glare_waits_for_the_peer() -> None:
    """The peer's own offer is not answered yet when our turn comes."""
    pair = EnginePair()
    caller, callee = pair.established()
    caller.offer(b"a", now=pair.now)
    pair.transfer("INVITE")
    callee.reject_offer(491, now=pair.now)
    pair.transfer("491 INVITE")
    pair.transfer("ACK")
    callee.offer(b"b", now=pair.now)
    pair.transfer("INVITE")
    pair.advance(4.5)
    assert "INVITE" not in [line for at, who, line in pair.trace if who == "alice" and at > 0]
    caller.answer(b"c", now=pair.now)
    pair.advance(2)
    pair.bob.take(OfferReceived)
    assert pair.bob.take(OfferReceived).body == b"a"


def test_update_rules() -> None:
    """RFC 3311 §5.2: 500 while an answer is owed to the peer, 491 while one is owed to us."""
    sdp = "Content-Type: application/sdp\r\n"
    pair = EnginePair()
    caller, callee = pair.ringing()
    inject(pair, caller, "UPDATE", sdp, b"new")
    pair.transfer("UPDATE")
    assert b"\r\nRetry-After: " in pair.transfer("500 UPDATE").data
    inject(pair, callee, "UPDATE", sdp, b"new")
    pair.transfer("UPDATE")
    pair.transfer("491 UPDATE")
    inject(pair, caller, "UPDATE")  # only a target refresh
    pair.transfer("UPDATE")
    assert b"Session-Expires" not in pair.transfer("200 UPDATE").data
    inject(pair, caller, "UPDATE", "Session-Expires: 20\r\nSupported: timer\r\n")
    pair.transfer("UPDATE")
    pair.transfer("422 UPDATE")
    inject(pair, caller, "UPDATE", "Session-Expires: x\r\nSupported: timer\r\n")
    pair.transfer("UPDATE")
    pair.transfer("400 UPDATE")


def test_offer_that_cannot_be_sent_or_is_never_answered() -> None:
    pair = EnginePair()
    caller, _ = pair.established()
    caller.offer(b"a", now=pair.now)
    packet = pair.drop("INVITE")
    pair.alice.engine.transport_failed(packet.flow, packet.token, pair.now)
    pair.collect()
    assert pair.alice.take(OfferFailed).status == 503
    assert not caller.ended
    caller.offer(b"a", now=pair.now)
    pair.advance(33, deliver=False)
    assert pair.alice.take(UsageEnded).by == "timeout"


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_offer_is_not_repeated_to_a_peer_that_hung_up(method: str) -> None:
    pair = EnginePair()
    caller, callee = pair.established()
    caller.offer(b"a", method, now=pair.now)
    pair.drop(method)
    callee.bye(now=pair.now)
    pair.roundtrip()
    pair.trace.clear()
    pair.settle()
    assert [line for _, _, line in pair.trace] == []
    pair.assert_empty()


@pytest.mark.parametrize("offer", [b"a", b""])
def test_answer_to_an_offer_that_crossed_our_bye_is_acknowledged(offer: bytes) -> None:
    """Else the peer would repeat its 200 until it gives up (RFC 3261 §13.3.1.4)."""
    pair = EnginePair()
    caller, callee = pair.established()
    caller.offer(offer, now=pair.now)
    pair.transfer("INVITE")
    if offer:
        pair.bob.take(OfferReceived)
        callee.answer(b"b", now=pair.now)
    else:
        pair.bob.take(OfferRequested)
        callee.answer_with_offer(OFFER, now=pair.now)
    pair.collect()
    caller.bye(now=pair.now)
    assert pair.roundtrip() == ["200 INVITE", "BYE", "ACK", "200 BYE"]
    pair.settle()
    pair.assert_empty()


def test_early_update_that_fails_is_only_a_failed_offer() -> None:
    """Before the answer there is no session to end."""
    for status in (0, 481):
        pair = EnginePair()
        caller = pair.call()
        pair.transfer("INVITE")
        callee = pair.bob.take(InviteReceived).usage
        callee.provisional(183, ANSWER, reliable=True, now=pair.now)
        pair.roundtrip()
        caller.offer(b"a", now=pair.now)
        if status:
            pair.transfer("UPDATE")
            callee.reject_offer(status, now=pair.now)
            pair.roundtrip()
        else:
            pair.advance(33, deliver=False)
        assert pair.alice.take(OfferFailed).status == (status or 408)
        assert caller.state == "early"
        assert not pair.alice.has(UsageEnded)


def test_refresh_that_is_refused() -> None:
    """RFC 4028 §10: the session ends when its interval does, not before."""
    pair = EnginePair()
    caller, callee = pair.established(session_expires=90)
    allow = callee.remote_allow
    caller.remote_allow = allow - {"UPDATE"}
    caller.local_body = b"changed behind Bob's back"
    pair.advance(45, deliver=False)
    pair.transfer("INVITE")
    pair.bob.take(OfferReceived)
    callee.reject_offer(488, now=pair.now)
    pair.roundtrip()
    assert not pair.alice.has(OfferFailed)
    pair.advance(14)
    assert not caller.ended
    pair.advance(2)
    assert pair.alice.take(UsageEnded).by == "timeout"


def test_refresh_waits_for_a_running_exchange() -> None:
    pair = EnginePair()
    caller, callee = pair.established(session_expires=90)
    pair.advance(44)
    callee.offer(b"b", now=pair.now)
    pair.transfer("INVITE")
    pair.advance(2)
    assert "UPDATE" not in [line for _, _, line in pair.trace]
    caller.answer(b"c", now=pair.now)
    pair.roundtrip()
    assert not caller.ended


def test_refresh_with_too_small_an_interval() -> None:
    """422 to the refresh: the same again with the peer's minimum."""
    pair = EnginePair()
    caller, callee = pair.established(session_expires=90)
    object.__setattr__(callee.core.config, "min_se_s", 300)
    pair.advance(45, deliver=False)
    pair.transfer("UPDATE")
    pair.transfer("422 UPDATE")
    assert b"Session-Expires: 300;refresher=uac" in pair.transfer("UPDATE").data
    pair.transfer("200 UPDATE")
    assert caller.session.interval_s == 300


# -- forks and races of the caller


def test_early_dialogs_of_several_phones() -> None:
    """Each tag is an early dialog; the 2xx decides; requests to the others get 481."""
    pair = EnginePair()
    caller, callee = pair.ringing()
    callee.provisional(180, now=pair.now)
    ringing = pair.drop("180 INVITE")
    other = with_tag(ringing, callee.local_tag, "another")
    pair.deliver(Packet(pair.bob, pair.alice, pair.flow(pair.alice), other))
    assert pair.alice.engine.statistics()["dialogs"] == 2
    assert caller.remote_tag == "another"
    callee.accept(ANSWER, now=pair.now)
    pair.roundtrip()
    assert caller.remote_tag == callee.local_tag
    assert pair.alice.engine.statistics()["dialogs"] == 1
    assert [e.remote_tag for e in pair.alice.events if isinstance(e, InviteProgress)] == [
        callee.local_tag,
        "another",
    ]


def test_too_many_phones() -> None:
    pair = EnginePair(alice=EngineConfig(max_early_dialogs=2))
    caller, callee = pair.ringing()
    callee.provisional(180, now=pair.now)
    packet = pair.drop("180 INVITE")
    callee.accept(ANSWER, now=pair.now)
    pair.collect()
    accepted = pair.wire[0]
    for number in range(4):
        data = with_tag(packet, callee.local_tag, f"phone{number}")
        pair.deliver(Packet(pair.bob, pair.alice, pair.flow(pair.alice), data))
    assert pair.alice.engine.statistics()["dialogs"] == 2
    pair.transfer("200 INVITE")
    for number in range(4):
        data = with_tag(accepted, callee.local_tag, f"phone{number}")
        pair.deliver(Packet(pair.bob, pair.alice, pair.flow(pair.alice), data))
    assert pair.alice.engine.statistics()["early_dialogs_refused"] == 5
    assert caller.state == "confirmed"
    pair.advance(70)
    caller.bye(now=pair.now)
    pair.settle()
    pair.assert_empty()


def test_bye_of_a_phone_that_lost() -> None:
    """The surplus dialog answers it itself."""
    pair = EnginePair()
    caller, callee = pair.ringing()
    callee.accept(ANSWER, now=pair.now)
    pair.collect()
    data = with_tag(pair.wire[0], callee.local_tag, "late")
    pair.roundtrip()
    pair.deliver(Packet(pair.bob, pair.alice, pair.flow(pair.alice), data))
    pair.drop_all()
    bye = (
        "BYE sip:alice@192.0.2.101:5060 SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 192.0.2.201:5060;branch=z9hG4bKbye\r\n"
        f"From: <sip:bob@biloxi.example.com>;tag=late\r\n"
        f"To: <sip:alice@atlanta.example.com>;tag={caller.local_tag}\r\n"
        f"Call-ID: {caller.call_id}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    pair.deliver(Packet(pair.bob, pair.alice, pair.flow(pair.alice), bye))
    assert pair.drop().line == "200 BYE"
    assert not caller.ended
    pair.advance(40, deliver=False)
    pair.wire = []
    caller.bye(now=pair.now)
    pair.settle()
    pair.assert_empty()


def test_cancel_before_the_resolver_answers() -> None:
    pair = EnginePair()
    usage = pair.alice.engine.invite(
        "sip:bob@biloxi.example.com", to="<sip:bob@x>", from_="<sip:a@x>", now=pair.now
    )
    pair.collect()
    assert len(pair.alice.queries) == 1
    usage.cancel(now=pair.now)
    pair.collect()
    failed = pair.alice.take(InviteFailed)
    assert (failed.status, failed.cause) == (487, "cancelled")
    pair.alice.engine.resolved(pair.alice.queries[0].query, [Target("udp", *pair.bob.address)], 0.0)
    pair.collect()
    assert pair.wire == []
    pair.assert_empty()


def test_cancelled_before_anything_came_back() -> None:
    """No provisional, so no CANCEL; the timeout ends it, and it still counts as cancelled."""
    pair = EnginePair()
    caller = pair.call()
    caller.cancel([("Reason", "SIP;cause=200")], now=pair.now)
    caller.cancel(now=pair.now)
    pair.advance(33, deliver=False)
    assert pair.alice.take(InviteFailed).cause == "cancelled"
    assert "CANCEL" not in [line for _, _, line in pair.trace]


def test_reason_travels_with_the_cancel() -> None:
    """RFC 3326: without it every forked phone logs a missed call."""
    pair = EnginePair()
    caller, _ = pair.ringing()
    reason = 'SIP;cause=200;text="Call completed elsewhere"'
    caller.cancel([("Reason", reason)], now=pair.now)
    pair.transfer("CANCEL")
    assert pair.bob.take(InviteCancelled).reason_header == reason


def test_second_422_with_the_same_minimum() -> None:
    """A peer that cannot make up its mind is not asked a third time."""
    pair = EnginePair()
    pair.call(session_expires=90)
    for minimum, expected in (("600", "INVITE"), ("600", "")):
        pair.transfer("INVITE")
        usage = pair.bob.take(InviteReceived).usage
        usage.reject(422, None, [("Min-SE", minimum)], now=pair.now)
        pair.transfer("422 INVITE")
        pair.transfer("ACK")
        if not expected:
            assert pair.alice.take(InviteFailed).status == 422
    pair.call(session_expires=90)
    pair.transfer("INVITE")
    pair.bob.take(InviteReceived).usage.reject(422, now=pair.now)
    pair.roundtrip()
    assert pair.alice.take(InviteFailed).status == 422


def test_early_dialog_before_the_422() -> None:
    pair = EnginePair()
    caller = pair.call(session_expires=90)
    pair.transfer("INVITE")
    usage = pair.bob.take(InviteReceived).usage
    usage.provisional(180, now=pair.now)
    usage.reject(422, None, [("Min-SE", "600")], now=pair.now)
    assert pair.roundtrip() == ["180 INVITE", "422 INVITE", "ACK", "INVITE"]
    assert caller.state == "trying"
    assert pair.alice.engine.statistics()["dialogs"] == 0


def test_late_offer_given_up_by_hanging_up() -> None:
    """BYE while the ACK is owed: the ACK goes first."""
    pair = EnginePair()
    for who in ("alice", "bob"):
        caller = pair.call(b"")
        pair.transfer("INVITE")
        callee = pair.bob.take(InviteReceived).usage
        callee.accept(b"offer", now=pair.now)
        pair.transfer("200 INVITE")
        assert pair.alice.take(InviteAnswered).answer_needed
        if who == "alice":
            caller.bye(now=pair.now)
            assert pair.roundtrip()[:3] == ["ACK", "BYE", "200 BYE"]
        else:
            inject(pair, callee, "BYE")
            callee._closing += 1
            assert set(pair.roundtrip()) == {"BYE", "200 BYE", "ACK"}
            assert caller.ended


def test_binding_serves_the_dialog() -> None:
    """A Target with a flow: everything in the dialog goes over that flow."""
    pair = EnginePair()
    flow = pair.flow(pair.alice)
    for target in (flow, Target("udp", "10.9.9.9", 5060, flow)):
        caller, _ = pair.established(target=target)
        assert caller.dialog is not None
        assert caller.dialog.pinned == flow
        caller.bye(now=pair.now)
        pair.roundtrip()


def test_2xx_after_everything_is_over_is_ignored() -> None:
    """The transaction absorbs it once it lingers no more."""
    pair = EnginePair()
    caller, callee = pair.ringing()
    callee.accept(ANSWER, now=pair.now)
    pair.collect()
    packet = pair.wire[0]
    pair.roundtrip()
    caller.bye(now=pair.now)
    pair.roundtrip()
    pair.deliver(packet)
    assert [p.line for p in pair.wire] == ["ACK"]
    pair.settle()
    pair.deliver(packet)
    assert pair.wire == []
    pair.assert_empty()


# -- credentials


def challenged(pair: EnginePair, request: Request, usage: InviteUsage) -> bool:
    """Bob's side of digest: True once the credentials are right."""
    credentials = digest.credentials_for(request, "r", "Authorization")
    if credentials is None:
        headers = digest.build_challenges("r", "nonce1", ("SHA-256", "MD5"))
        usage.reject(401, None, headers, now=pair.now)
        return False
    secret = digest.ha1(credentials.algorithm, "alice", "r", "secret")
    assert digest.verify(credentials, "INVITE", secret)
    return True


def test_challenge_is_answered() -> None:
    """RFC 3261 §22.2: the same INVITE again with credentials, CSeq + 1; the ACK repeats them."""
    pair = EnginePair()
    caller = pair.call(credentials=DigestLogin("alice", "secret"))
    pair.transfer("INVITE")
    event = pair.bob.take(InviteReceived)
    assert not challenged(pair, event.request, event.usage)
    assert pair.roundtrip() == ["401 INVITE", "ACK", "INVITE"]
    event = pair.bob.take(InviteReceived)
    assert event.request.cseq.number == 2
    assert challenged(pair, event.request, event.usage)
    event.usage.accept(ANSWER, now=pair.now)
    pair.transfer("200 INVITE")
    ack = pair.transfer("ACK")
    assert b"\r\nAuthorization: Digest " in ack.data
    assert b"\r\nCSeq: 2 ACK\r\n" in ack.data
    caller.bye(now=pair.now)
    assert b"\r\nCSeq: 3 BYE\r\n" in pair.transfer("BYE").data
    assert repr(caller.credentials) == "DigestLogin('alice')"


def test_challenges_that_are_not_answered() -> None:
    """No credentials, another realm, nothing we know; the same once more; stale for ever."""
    for login, challenge, tries in (
        (None, 'Digest realm="r", nonce="n"', 1),
        (DigestLogin("a", "b", realm="other"), 'Digest realm="r", nonce="n"', 1),
        (DigestLogin("a", "b"), "Basic x", 1),
        (DigestLogin("a", "b"), 'Digest realm="r", nonce="n"', 2),
        (DigestLogin("a", "b"), 'Digest realm="r", nonce="n", stale=true', 4),
    ):
        pair = EnginePair()
        pair.call(credentials=login)
        for _ in range(tries):
            pair.transfer("INVITE")
            usage = pair.bob.take(InviteReceived).usage
            usage.reject(401, None, [("WWW-Authenticate", challenge)], now=pair.now)
            pair.transfer("401 INVITE")
            pair.transfer("ACK")
        assert pair.alice.take(InviteFailed).status == 401
        pair.settle()
        pair.assert_empty()


def test_a_proxy_and_a_server_that_both_ask_get_both_answers() -> None:
    """RFC 3261 §22.3: the proxy wants its own again beside the other, each with a new count."""
    pair = EnginePair()
    pair.call(credentials=DigestLogin("a", "b"))
    asked = [
        (407, "Proxy-Authenticate", 'Digest realm="p", qop="auth", nonce="n1"'),
        (401, "WWW-Authenticate", 'Digest realm="s", qop="auth", nonce="n2"'),
    ]
    for status, name, challenge in asked:
        pair.transfer("INVITE")
        usage = pair.bob.take(InviteReceived).usage
        usage.reject(status, None, [(name, challenge)], now=pair.now)
        pair.transfer(f"{status} INVITE")
        pair.transfer("ACK")
    pair.transfer("INVITE")
    event = pair.bob.take(InviteReceived)
    proxy = digest.credentials_for(event.request, "p", "Proxy-Authorization")
    server = digest.credentials_for(event.request, "s", "Authorization")
    assert proxy is not None
    assert server is not None
    assert (proxy.nc, server.nc) == (2, 1)
    event.usage.reject(486, now=pair.now)
    pair.settle()
    assert pair.alice.take(InviteFailed).status == 486
    pair.assert_empty()


def test_who_asked_first_is_the_only_one_to_get_an_answer() -> None:
    """A party behind the provider challenges our BYE to get a digest of the provider's password."""
    login = DigestLogin("a", "b", pin=True)

    def answers(line: bytes) -> int:
        response = parse_message(b"SIP/2.0 " + line + b', nonce="n", qop="auth"\r\n\r\n')
        assert not isinstance(response, Request)
        return len(login.authorize(response, "BYE", "sip:x", b"", "c"))

    proxy = b'407 x\r\nProxy-Authenticate: Digest realm="provider"'
    assert answers(proxy) == 1
    assert answers(b'401 x\r\nWWW-Authenticate: Digest realm="provider"') == 0
    assert answers(b'407 x\r\nProxy-Authenticate: Digest realm="thief"') == 0
    assert answers(proxy) == 1


def test_nonce_counts_grow() -> None:
    login = DigestLogin("a", "b")
    counts = []
    for number in range(12):
        response = parse_message(
            b'SIP/2.0 407 x\r\nProxy-Authenticate: Digest realm="r", qop="auth", '
            + f'nonce="n{number % 10 if number < 10 else 9}"\r\n\r\n'.encode()
        )
        assert not isinstance(response, Request)
        ((name, value),) = login.authorize(response, "BYE", "sip:x", b"", "c")
        assert name == "Proxy-Authorization"
        counts.append(value.split("nc=")[1].split(",")[0].strip())
    assert counts[:10] == ["00000001"] * 10
    assert counts[-2:] == ["00000002", "00000003"]
