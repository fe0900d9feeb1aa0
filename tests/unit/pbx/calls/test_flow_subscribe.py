"""SUBSCRIBE of phones: lamps of neighbours, waiting messages, and who may watch what."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from pbx.calls.event_packages import MessageCounts
from pbx.domain.accounts import AccountDeleted
from pbx.domain.nodes import NodeDrainSet
from pbx.eventlog import MemoryLog, Meta
from sip.message import Request
from tests.unit.pbx.calls.lab import Lab
from tests.unit.pbx.calls.phone import SERVER

NS = "{urn:ietf:params:xml:ns:dialog-info}"
RINGING = """
    alice > INVITE bob a1 | From: "Alice <A>" <sip:alice@example.org>
    bob < INVITE a1
    bob > 180
    alice < 180
"""
ANSWERED = """
    bob > 200 b1
    bob < ACK
    alice < 200 b1
    alice > ACK
"""
END = """
    alice > BYE
    alice < 200 BYE
    bob < BYE
    bob > 200
"""


def notified(lab: Lab, name: str, answer: int = 200) -> Request:
    """The next message at `name` is a NOTIFY; it is answered (0: not)."""
    dialog = lab.dialogs[name]
    assert dialog.inbox, f"{name} got nothing"
    message = dialog.inbox.pop(0)
    assert isinstance(message, Request), message
    assert message.method == "NOTIFY"
    dialog.phone.learn(dialog, message)
    if answer:
        dialog.phone.respond(dialog, message, answer)
    return message


def subscribed(lab: Lab, name: str, target: str, event: str = "dialog", extra: str = "") -> Request:
    """`name` subscribes and gets its first NOTIFY."""
    lab.play(f"{name} > SUBSCRIBE {target} | Event: {event}{extra}\n{name} < 200 SUBSCRIBE")
    dialog = lab.dialogs[name]
    first = notified(lab, name)
    dialog.remote_tag = first.from_.tag
    return first


def unsubscribe(lab: Lab, name: str) -> Request:
    lab.play(
        f"{name} > SUBSCRIBE | Event: dialog | Expires: 0\n{name} < 200 SUBSCRIBE | Expires: 0"
    )
    return notified(lab, name)


class Info:
    """A dialog-info document."""

    def __init__(self, notify: Request) -> None:
        assert notify.content_type == "application/dialog-info+xml"
        root = ElementTree.fromstring(notify.body)
        assert root.tag == NS + "dialog-info"
        self.version = int(root.attrib["version"])
        self.state = root.attrib["state"]
        self.entity = root.attrib["entity"]
        self.dialogs = root.findall(NS + "dialog")

    def states(self) -> list[str]:
        return [dialog.findtext(NS + "state") or "" for dialog in self.dialogs]


def text(element: Any, path: str) -> str:
    found = element.find("/".join(NS + step for step in path.split("/")))
    assert found is not None, path
    return found.text or ""


def test_a_lamp_follows_a_call() -> None:
    """Nothing, ringing, talking, nothing; full first, then what changed, versions without gap."""
    lab = Lab("alice bob dan")
    first = subscribed(lab, "dan", "bob")
    assert (first.first("Subscription-State") or "").startswith("active;expires=3")
    info = Info(first)
    assert (info.version, info.state, info.entity) == (0, "full", "sip:bob@example.org")
    assert info.dialogs == []
    lab.advance(2)
    lab.play(RINGING + "+0.1")
    info = Info(notified(lab, "dan"))
    assert (info.version, info.state, info.states()) == (1, "partial", ["early"])
    [dialog] = info.dialogs
    assert dialog.attrib["direction"] == "recipient"
    assert dialog.attrib["call-id"] == lab.dialogs["bob"].call_id
    assert dialog.attrib["local-tag"] == lab.dialogs["bob"].local_tag
    assert dialog.attrib["remote-tag"] == lab.dialogs["bob"].remote_tag
    assert text(dialog, "local/identity") == "sip:bob@example.org"
    assert text(dialog, "remote/identity") == "sip:alice@example.org"
    identity = dialog.find(f"{NS}remote/{NS}identity")
    assert identity is not None
    assert identity.attrib["display"] == "Alice <A>"
    lab.play(ANSWERED + "+0.5")
    lab.quiet()
    lab.advance(0.6)
    info = Info(notified(lab, "dan"))
    assert (info.version, info.state, info.states()) == (2, "partial", ["confirmed"])
    lab.play("+2" + END + "+0.1")
    info = Info(notified(lab, "dan"))
    assert (info.version, info.states()) == (3, ["terminated"])
    assert info.dialogs[0].attrib["id"] == dialog.attrib["id"]
    last = unsubscribe(lab, "dan")
    assert last.first("Subscription-State") == "terminated;reason=timeout"
    lab.end()


def test_what_the_lamp_says_is_enough_to_pick_the_call_up() -> None:
    """Replaces is built from the document, with the tags as RFC 4235 has them."""
    lab = Lab("alice bob dan")
    subscribed(lab, "dan", "bob")
    lab.advance(2)
    lab.play(RINGING + "+0.1")
    told = Info(notified(lab, "dan")).dialogs[0].attrib
    replaces = (
        f"{told['call-id']};to-tag={told['local-tag']};from-tag={told['remote-tag']};early-only"
    )
    lab.play(f"""
        dan.2 > INVITE bob d1 | Replaces: {replaces}
        dan.2 < 200 :inactive
        dan.2 > ACK
        dan.2 < reINVITE a1
        dan.2 > 200 d2
        dan.2 < ACK
        alice < 200 d2
        alice > ACK
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
        +2
    """)
    assert Info(notified(lab, "dan")).states() == ["terminated"]
    unsubscribe(lab, "dan")
    lab.play("""
        alice > BYE
        alice < 200 BYE
        dan.2 < BYE
        dan.2 > 200
    """)
    lab.end()


def test_lamp_of_a_caller() -> None:
    """Dialling, ringing there, talking, on hold; several calls at once."""
    lab = Lab("alice bob carol dan")
    subscribed(lab, "dan", "alice")
    lab.advance(2)
    lab.play("alice > INVITE bob a1\nbob < INVITE a1\n+0.1")
    info = Info(notified(lab, "dan"))
    assert info.states() == ["trying"]
    assert info.dialogs[0].attrib["direction"] == "initiator"
    assert text(info.dialogs[0], "remote/identity") == "sip:bob@example.org"
    lab.play("bob > 180\nalice < 180\n+2")
    assert Info(notified(lab, "dan")).states() == ["early"]
    lab.play(ANSWERED + "+2")
    assert Info(notified(lab, "dan")).states() == ["confirmed"]
    lab.play("""
        alice > reINVITE a2:sendonly
        bob < reINVITE a2:sendonly
        bob > 200 b2:recvonly
        bob < ACK
        alice < 200 b2:recvonly
        alice > ACK
        alice.2 > INVITE carol a3
        carol < INVITE a3
        +2
    """)
    info = Info(notified(lab, "dan"))
    assert info.states() == ["confirmed", "trying"]
    assert b"+sip.rendering" in ElementTree.tostring(info.dialogs[0])
    assert b"+sip.rendering" not in ElementTree.tostring(info.dialogs[1])
    lab.play("carol > 486\ncarol < ACK\nalice.2 < 486" + END + "+2")
    assert Info(notified(lab, "dan")).states() == ["terminated", "terminated"]
    unsubscribe(lab, "dan")
    lab.end()


def test_subscriber_who_comes_late_or_refreshes_sees_everything() -> None:
    lab = Lab("alice bob dan")
    lab.play(RINGING)
    first = Info(subscribed(lab, "dan", "sip:Bob@example.org:5060;x=y"))
    assert (first.state, first.states()) == ("full", ["early"])
    assert first.entity == "sip:Bob@example.org:5060;x=y"
    lab.play("+5\ndan > SUBSCRIBE | Event: dialog | Expires: 99999\ndan < 200 | Expires: 3600")
    again = Info(notified(lab, "dan"))
    assert (again.version, again.state, again.states()) == (1, "full", ["early"])
    lab.play("bob > 486\nbob < ACK\nalice < 486\n+2")
    notified(lab, "dan")
    unsubscribe(lab, "dan")
    lab.end()


def test_fetch() -> None:
    """Expires 0 at once: one NOTIFY with the state of now, and nothing is left."""
    lab = Lab("alice bob dan")
    lab.play(RINGING)
    only = subscribed(lab, "dan", "bob", extra=" | Expires: 0")
    assert only.first("Subscription-State") == "terminated;reason=timeout"
    assert Info(only).states() == ["early"]
    lab.play("bob > 486\nbob < ACK\nalice < 486\n+2")
    lab.end()


def test_nothing_is_told_while_a_notify_is_unanswered() -> None:
    """Documents build on each other: none may be lost between two."""
    lab = Lab("alice bob dan")
    subscribed(lab, "dan", "bob")
    lab.advance(2)
    lab.play(RINGING + "+0.1")
    waiting = notified(lab, "dan", answer=0)
    lab.play(ANSWERED + "+3")
    lab.quiet()
    lab.dialogs["dan"].phone.respond(lab.dialogs["dan"], waiting, 200)
    lab.advance(1.1)
    assert (info := Info(notified(lab, "dan"))).version == 2
    assert info.states() == ["confirmed"]
    lab.play(END + "+2")
    notified(lab, "dan")
    unsubscribe(lab, "dan")
    lab.end()


def test_short_calls_between_two_notifies_leave_no_trace() -> None:
    """At most one NOTIFY a second, however much happens."""
    lab = Lab("alice bob dan")
    subscribed(lab, "dan", "alice")
    lab.play(RINGING + "bob > 486\nbob < ACK\nalice < 486\n+3")
    lab.quiet()
    unsubscribe(lab, "dan")
    lab.end()


def test_a_subscriber_that_forgot_is_forgotten() -> None:
    """After a reboot the phone answers 481."""
    lab = Lab("alice bob dan")
    subscribed(lab, "dan", "bob")
    lab.advance(2)
    lab.play(RINGING + "+0.1")
    notified(lab, "dan", answer=481)
    assert lab.node.statistics()["subscriptions"] == 0
    lab.play("bob > 486\nbob < ACK\nalice < 486\n+2")
    lab.end()


def test_a_subscription_ends_by_itself() -> None:
    lab = Lab("bob dan")
    subscribed(lab, "dan", "bob", extra=" | Expires: 60")
    lab.advance(61)
    last = notified(lab, "dan")
    assert last.first("Subscription-State") == "terminated;reason=timeout"
    lab.end()


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("dan > SUBSCRIBE nobody | Event: dialog", "404"),
        ("dan > SUBSCRIBE sip:bob@outside.example | Event: dialog", "404"),
        ("dan > SUBSCRIBE tel:123 | Event: dialog", "404"),
        ("dan > SUBSCRIBE sip:eve@other.example | Event: dialog", "403"),
        ("eve > SUBSCRIBE sip:bob@example.org | Event: dialog", "403"),
        ("eve > SUBSCRIBE sip:nobody@example.org | Event: dialog", "403"),
        ("dan > SUBSCRIBE bob | Event: message-summary", "403"),
        ("dan > SUBSCRIBE bob | Event: presence", "489 | Allow-Events: dialog, message-summary"),
        ("dan > SUBSCRIBE bob", "489"),
        ("dan > SUBSCRIBE bob | Event: dialog | Expires: 10", "423 | Min-Expires: 60"),
        ("dan > SUBSCRIBE bob | Event: dialog | Accept: text/plain", "406"),
        ("dan > SUBSCRIBE bob raw | Event: dialog", "401"),
        ("dan > SUBSCRIBE bob | Event: dialog | From: <sip:bob@example.org>", "403"),
        ("out > SUBSCRIBE bob raw | Event: dialog", "401"),
    ],
)
def test_subscription_that_is_refused(line: str, answer: str) -> None:
    lab = Lab("bob dan")
    lab.add_domain("other.example")
    lab.add("eve", domain="other.example")
    lab.add("out")
    lab.play(f"{line}\n{line.partition(' ')[0]} < {answer}")
    lab.end()


def test_bounds() -> None:
    lab = Lab("alice bob dan", subscriptions=2, subscriptions_per_account=1)
    subscribed(lab, "dan", "bob")
    lab.play("dan.2 > SUBSCRIBE alice | Event: dialog\ndan.2 < 403")
    subscribed(lab, "bob", "alice")
    lab.play("alice > SUBSCRIBE bob | Event: dialog\nalice < 503 | Retry-After: ")
    unsubscribe(lab, "dan")
    subscribed(lab, "alice.2", "bob")
    for name in ("bob", "alice.2"):
        unsubscribe(lab, name)
    lab.end()


class Mailbox:
    """A stand-in for voice mail."""

    def __init__(self) -> None:
        self.waiting = MessageCounts()

    def counts(self, account: str) -> MessageCounts:
        assert account == "bob@example.org"
        return self.waiting


def test_message_summary() -> None:
    """Zero without voice mail; news of it are told, what is no news is not."""
    lab = Lab("bob")
    mailbox = Mailbox()
    lab.node.subscriptions._packages["message-summary"].messages = mailbox  # type: ignore[attr-defined]
    first = subscribed(lab, "bob", "sip:example.org", "message-summary")
    assert first.content_type == "application/simple-message-summary"
    assert first.body == (
        b"Messages-Waiting: no\r\nMessage-Account: sip:bob@example.org\r\n"
        b"Voice-Message: 0/0 (0/0)\r\n"
    )
    lab.advance(2)
    lab.node.subscriptions.changed("message-summary", "bob@example.org", lab.now)
    lab.advance(2)
    lab.quiet()
    mailbox.waiting = MessageCounts(new=2, old=8, urgent_new=1)
    lab.node.subscriptions.changed("message-summary", "bob@example.org", lab.now)
    lab.node.subscriptions.changed("message-summary", "bob@example.org", lab.now)
    lab.advance(2)
    news = notified(lab, "bob")
    assert news.body.startswith(b"Messages-Waiting: yes\r\n")
    assert news.body.endswith(b"Voice-Message: 2/8 (1/0)\r\n")
    lab.node.stop(lab.now, lambda: None)
    lab.pump()
    assert notified(lab, "bob").first("Subscription-State") == "terminated;reason=deactivated"
    lab.end()


@pytest.mark.parametrize("deleted", ["bob", "dan"])
def test_deleted_account_is_neither_watched_nor_watches(deleted: str) -> None:
    lab = Lab("bob dan")
    subscribed(lab, "dan", "bob")
    log = MemoryLog()
    stream = f"account/{deleted}@example.org"
    log.append(stream, 0, [AccountDeleted(name=deleted, domain="example.org")], Meta())
    for record in log.read_stream(stream):
        lab.node.apply(record)
    lab.pump()
    assert notified(lab, "dan").first("Subscription-State") == "terminated;reason=noresource"
    lab.end()


def test_who_withholds_a_name_is_nobody_on_a_lamp() -> None:
    lab = Lab("alice bob dan")
    lab.play("""
        alice > INVITE bob a1 | Privacy: id | From: "Alice" <sip:alice@example.org>
        bob < INVITE a1
        bob > 180
        alice < 180
    """)
    first = subscribed(lab, "dan", "bob")
    assert b"alice" not in first.body.lower()
    assert text(Info(first).dialogs[0], "remote/identity") == "sip:anonymous@anonymous.invalid"
    lab.play("bob > 486\nbob < ACK\nalice < 486\n+2")
    notified(lab, "dan")
    unsubscribe(lab, "dan")
    lab.end()


def test_refresh_of_a_subscription_that_a_restart_forgot() -> None:
    """481 has the phone subscribe anew (RFC 6665 §4.1.2.2)."""
    lab = Lab("bob dan")
    dialog = lab._new_dialog(lab.phones["dan"], "dan", "old")
    dialog.local, dialog.remote = "<sip:dan@example.org>", "<sip:bob@example.org>"
    dialog.remote_tag = "of-an-earlier-run"
    dialog.target = f"sip:bob@{SERVER[0]}:5060"
    lab.play("dan > SUBSCRIBE | Event: dialog\ndan < 481")
    subscribed(lab, "dan.2", "bob")
    unsubscribe(lab, "dan.2")
    lab.end()


def test_a_node_that_is_to_be_empty_takes_no_subscription() -> None:
    """Those that are there go on until their phones come to another node."""
    lab = Lab("alice bob dan")
    subscribed(lab, "dan", "bob")
    log = MemoryLog()
    log.append("node/lab", 0, [NodeDrainSet(on=True)], Meta())
    for record in log.read_stream("node/lab"):
        lab.node.apply(record)
    lab.play("alice > SUBSCRIBE bob | Event: dialog\nalice < 503 | Retry-After: ")
    unsubscribe(lab, "dan")
    lab.end()
