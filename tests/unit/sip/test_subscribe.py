"""Subscriptions off the beaten track (RFC 6665): refusals, expiry, losses, odd peers."""

from __future__ import annotations

from typing import Any

import pytest

from sip.dialog.subscribe import NotifierUsage, SubscriberUsage
from sip.errors import MalformedHeader
from sip.events import (
    ReferReceived,
    RequestReceived,
    SubscriptionEnded,
    SubscriptionNotified,
    SubscriptionRefreshed,
)
from tests.support.engine_pair import EnginePair


def subscribe(pair: EnginePair, event: str = "presence", expires_s: int = 600) -> SubscriberUsage:
    return pair.alice.engine.subscribe(
        "sip:bob@192.0.2.201",
        event,
        to="<sip:bob@example.com>",
        from_="<sip:alice@example.com>",
        expires_s=expires_s,
        now=pair.now,
        user="mine",
    )


def active(pair: EnginePair, expires_s: int = 600) -> tuple[SubscriberUsage, NotifierUsage]:
    subscriber = subscribe(pair, expires_s=expires_s)
    pair.transfer("SUBSCRIBE")
    transaction = pair.bob.take(RequestReceived).transaction
    notifier = pair.bob.engine.accept_subscription(transaction, expires_s, now=pair.now)
    notifier.notify(b"open", "text/plain", now=pair.now)
    pair.roundtrip()
    pair.alice.events.clear()
    return subscriber, notifier


def inject(pair: EnginePair, usage: Any, method: str, extra: str = "") -> None:
    client = usage.dialog.new_request(usage, method, extra, contact=True)
    client.start(usage.dialog.hop(), pair.now)


def test_subscription_ends_once_and_leaves_nothing() -> None:
    pair = EnginePair()
    subscriber, notifier = active(pair)
    assert subscriber.user == "mine"
    notifier.terminate("rejected", now=pair.now)
    notifier.terminate(now=pair.now)
    notifier.notify(b"x", now=pair.now)
    pair.roundtrip()
    ended = pair.alice.take(SubscriptionEnded)
    assert (ended.reason, ended.usage) == ("rejected", subscriber)
    assert pair.bob.take(SubscriptionEnded).reason == "rejected"
    subscriber.unsubscribe(now=pair.now)
    assert pair.roundtrip() == []
    pair.settle()
    pair.assert_empty()


def test_pending_until_authorised() -> None:
    pair = EnginePair()
    _, notifier = active(pair)
    for pending, state in ((True, "pending"), (False, "active")):
        notifier.pending = pending
        notifier.notify(now=pair.now)
        pair.roundtrip()
        assert pair.alice.take(SubscriptionNotified).state == state


def test_last_state_waits_for_the_running_notify() -> None:
    pair = EnginePair()
    _, notifier = active(pair)
    notifier.notify(b"1", "text/plain", now=pair.now)
    notifier.terminate(now=pair.now)
    assert pair.roundtrip() == ["NOTIFY", "200 NOTIFY", "NOTIFY", "200 NOTIFY"]
    pair.settle()
    pair.assert_empty()


@pytest.mark.parametrize("lost", [True, False])
def test_notify_that_fails_ends_the_subscription(lost: bool) -> None:
    """§4.2.2: on 481 and on timeout alike."""
    pair = EnginePair()
    subscriber, notifier = active(pair)
    assert subscriber.dialog is not None
    subscriber.dialog.unregister()
    notifier.notify(b"1", now=pair.now)
    if lost:
        pair.advance(33, deliver=False)
    else:
        pair.roundtrip()
    ended = pair.bob.take(SubscriptionEnded)
    assert ended.status == (408 if lost else 481)
    assert pair.bob.engine.statistics()["usages"] == 0


def test_last_notify_that_fails() -> None:
    pair = EnginePair()
    _, notifier = active(pair)
    notifier.terminate(now=pair.now)
    pair.advance(33, deliver=False)
    assert pair.bob.engine.statistics()["usages"] == 0
    assert pair.bob.engine.statistics()["dialogs"] == 0


def test_requests_that_do_not_fit_the_subscription() -> None:
    pair = EnginePair()
    subscriber, notifier = active(pair)
    for usage, method, extra, status in (
        (subscriber, "MESSAGE", "", 481),
        (subscriber, "SUBSCRIBE", "Event: dialog\r\n", 489),
        (subscriber, "SUBSCRIBE", "", 489),
        (subscriber, "SUBSCRIBE", "Event: presence\r\nExpires: soon\r\n", 400),
        (notifier, "INFO", "", 481),
        (notifier, "NOTIFY", "Event: dialog\r\nSubscription-State: active\r\n", 489),
        (notifier, "NOTIFY", "Event: presence\r\n", 400),
    ):
        dialog = usage.dialog
        assert dialog is not None

        class Quiet:
            def on_response(self, *arguments: object) -> None: ...
            def on_failure(self, *arguments: object) -> None: ...

        client = dialog.new_request(Quiet(), method, extra)
        client.start(dialog.hop(), pair.now)
        pair.transfer(method)
        pair.transfer(f"{status} {method}")
    # An ACK in such a dialog is absorbed.
    ack = subscriber.dialog.new_request(Quiet(), "ACK", "") if subscriber.dialog else None
    assert ack is not None
    ack.start(pair.flow(pair.alice), pair.now)
    back = notifier.dialog.new_request(Quiet(), "ACK", "")
    back.start(pair.flow(pair.bob), pair.now)
    pair.roundtrip()
    assert not notifier.ended
    assert not subscriber.ended


def test_refresh_without_expires_keeps_the_time_left() -> None:
    pair = EnginePair()
    subscriber, _ = active(pair)
    pair.advance(100)
    inject(pair, subscriber, "SUBSCRIBE", "Event: presence\r\n")
    pair.transfer("SUBSCRIBE")
    assert pair.bob.take(SubscriptionRefreshed).expires_s == 500


def test_granted_interval_is_taken_but_never_a_longer_one() -> None:
    """§4.1.2.1, also when the NOTIFY says how long it lasts."""
    for granted_s, refresh_s in ((100, 90), (6000, 540)):
        pair = EnginePair()
        subscribe(pair, expires_s=600)
        pair.transfer("SUBSCRIBE")
        transaction = pair.bob.take(RequestReceived).transaction
        notifier = pair.bob.engine.accept_subscription(transaction, granted_s, now=pair.now)
        notifier.notify(now=pair.now)
        pair.advance(refresh_s - 1)
        assert [line for _, _, line in pair.trace].count("SUBSCRIBE") == 1
        pair.advance(2)
        assert [line for _, _, line in pair.trace].count("SUBSCRIBE") == 2


def test_unreadable_expires_in_the_answer() -> None:
    pair = EnginePair()
    subscribe(pair, expires_s=600)
    pair.transfer("SUBSCRIBE")
    transaction = pair.bob.take(RequestReceived).transaction
    pair.bob.engine.respond(
        transaction, 200, None, [("Expires", "soon"), ("Contact", "<sip:bob@192.0.2.201>")]
    )
    pair.transfer("200 SUBSCRIBE")
    pair.advance(540.2, deliver=False)
    assert [line for _, _, line in pair.trace].count("SUBSCRIBE") == 2


def test_subscribe_that_nobody_answers() -> None:
    pair = EnginePair()
    subscribe(pair)
    pair.advance(33, deliver=False)
    assert pair.alice.take(SubscriptionEnded).status == 408
    pair.wire = []
    pair.assert_empty()


def test_refresh_that_nobody_answers() -> None:
    pair = EnginePair()
    subscriber, _ = active(pair)
    subscriber.unsubscribe(now=pair.now)
    pair.advance(33, deliver=False)
    assert pair.alice.take(SubscriptionEnded).reason == "timeout"


def test_unsubscribed_without_a_last_notify() -> None:
    """Timer N: silence after the 200 ends it too."""
    pair = EnginePair()
    subscriber, _ = active(pair)
    subscriber.unsubscribe(now=pair.now)
    pair.transfer("SUBSCRIBE")
    pair.transfer("200 SUBSCRIBE")
    pair.advance(33, deliver=False)
    assert pair.alice.take(SubscriptionEnded).reason == "unsubscribed"


def test_unsubscribing_before_the_answer() -> None:
    """There is no dialog to do it in: the first SUBSCRIBE has to end first."""
    pair = EnginePair()
    subscriber = subscribe(pair)
    subscriber.unsubscribe(now=pair.now)
    pair.transfer("SUBSCRIBE")
    transaction = pair.bob.take(RequestReceived).transaction
    notifier = pair.bob.engine.accept_subscription(transaction, 600, now=pair.now)
    notifier.notify(now=pair.now)
    pair.roundtrip()
    pair.advance(33)
    assert pair.alice.take(SubscriptionEnded).reason == "unsubscribed"
    # Bob's next NOTIFY meets nobody.
    notifier.notify(now=pair.now)
    pair.roundtrip()
    assert notifier.ended
    pair.settle()
    pair.assert_empty()


def test_notify_from_nowhere() -> None:
    """A NOTIFY for a subscription that has its dialog already, or whose Contact is unreadable."""
    pair = EnginePair()
    subscriber = subscribe(pair)
    pair.transfer("SUBSCRIBE")
    text = (
        "NOTIFY sip:alice@192.0.2.101 SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 192.0.2.201:5060;branch=z9hG4bK{0}\r\n"
        "From: <sip:bob@example.com>;tag={0}\r\n"
        f"To: <sip:alice@example.com>;tag={subscriber.local_tag}\r\n"
        f"Call-ID: {subscriber.call_id}\r\nCSeq: 1 NOTIFY\r\n"
        "Event: presence\r\nSubscription-State: active;expires=60\r\n"
        "{1}Content-Length: 0\r\n\r\n"
    )
    flow = pair.flow(pair.alice)
    for tag, extra, status in (
        ("t0", "Record-Route: <sip:open\r\n", 481),
        ("t1", "", 200),
        ("t2", "", 481),
    ):
        pair.alice.engine.receive_datagram(text.format(tag, extra).encode(), flow, pair.now)
        pair.collect()
        assert pair.wire.pop().line == f"{status} NOTIFY"


def test_subscribe_that_cannot_open_a_dialog() -> None:
    pair = EnginePair()
    subscribe(pair)
    packet = pair.drop("SUBSCRIBE")
    flow = pair.flow(pair.bob)
    for old, new in (
        (b"Event: presence\r\n", b""),
        (b"Expires", b"Record-Route: <sip:x\r\nExpires"),
    ):
        data = packet.data.replace(old, new).replace(
            b"branch=z9hG4bK", b"branch=z9hG4bKx" + new[:5]
        )
        data = data.replace(b"Call-ID: ", b"Call-ID: " + old[:3])
        pair.bob.engine.receive_datagram(data, flow, pair.now)
        pair.collect()
        transaction = pair.bob.take(RequestReceived).transaction
        with pytest.raises(MalformedHeader):
            pair.bob.engine.accept_subscription(transaction, 60, now=pair.now)
    assert pair.bob.engine.statistics()["usages"] == 0


def test_notifier_expires_while_a_notify_runs() -> None:
    pair = EnginePair()
    _, notifier = active(pair, expires_s=100)
    pair.advance(80)
    notifier.notify(b"x", now=pair.now)
    pair.advance(25, deliver=False)
    assert pair.bob.take(SubscriptionEnded).reason == "timeout"
    pair.settle()
    pair.assert_empty()


def test_refer_subscription_of_its_own() -> None:
    pair = EnginePair()
    pair.alice.engine.request(
        "REFER",
        "sip:bob@192.0.2.201",
        to="<sip:bob@example.com>",
        from_="<sip:alice@example.com>",
        headers=[("Refer-To", "<sip:carol@192.0.2.7>")],
        contact="alice",
        now=pair.now,
    )
    pair.transfer("REFER")
    transaction = pair.bob.take(ReferReceived).transaction
    usage = pair.bob.engine.accept_refer(transaction, now=pair.now)
    usage.notify_refer(180, now=pair.now)
    usage.notify_refer(603, "No", final=True, now=pair.now)
    pair.transfer("202 REFER")
    pair.transfer("NOTIFY")
    # Alice's user did not keep the subscription: 481 ends it.
    pair.transfer("481 NOTIFY")
    pair.bob.take(SubscriptionEnded)
    pair.settle()
    pair.assert_empty()
