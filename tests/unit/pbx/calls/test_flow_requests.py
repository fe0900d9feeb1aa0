"""Everything but calls: INFO and MESSAGE inside and outside, OPTIONS, strangers' requests."""

from __future__ import annotations

import pytest

from pbx.domain.messages import MessageRelayed
from tests.unit.pbx.calls.lab import Lab

TALKING = """
    alice > INVITE bob a1
    bob < INVITE a1
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


def test_digits_cross() -> None:
    """DTMF by INFO reaches the other party, whose answer comes back; the digit is not stored."""
    lab = Lab()
    lab.play(
        TALKING
        + """
        +1
        alice > INFO text:Signal=5 | Content-Type: application/dtmf-relay
        bob < INFO text:Signal=5 | Content-Type: application/dtmf-relay
        bob > 200
        alice < 200 INFO
        bob > INFO text:7 | Content-Type: application/dtmf
        alice < INFO text:7
        alice > 200
        bob < 200 INFO
        """
        + END
    )
    lab.end()
    assert [line for line in lab.story() if "digit" in line] == [
        "digit of alice @1000",
        "digit of bob @1000",
    ]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("415 | Accept: application/dtmf", "415 | Accept: application/dtmf"),
        ("469 | Recv-Info: foo", "469 | Recv-Info: foo"),
        ("500 | Accept: x/y", "500 | !Accept"),
        ("401", "500"),
    ],
)
def test_refused_info(answer: str, told: str) -> None:
    lab = Lab()
    lab.play(
        TALKING
        + f"""
        alice > INFO text:x | Info-Package: foo
        bob < INFO text:x | Info-Package: foo
        bob > {answer}
        alice < {told}
        """
        + END
    )
    lab.end()


def test_info_to_a_party_that_is_gone() -> None:
    """481: the call ends; the sender's own dialog is not what is unknown (so 480)."""
    lab = Lab()
    lab.play(
        TALKING
        + """
        alice > INFO text:x
        bob < INFO text:x
        bob > 481
        alice < 480 INFO
        alice < BYE
        alice > 200
        bob < BYE
        bob > 481
    """
    )
    lab.end()


def test_info_that_is_never_answered() -> None:
    """RFC 4320: no 408 for it; the party counts as lost."""
    lab = Lab()
    lab.play(
        TALKING
        + """
        alice > INFO text:x
        bob < INFO text:x
        +33
        alice < 504
        alice < BYE
        alice > 200
        bob < BYE
        bob > 200 BYE
    """
    )
    lab.end()
    assert lab.story()[-1].startswith("closed 200 error/102 by server @32000")


def test_call_ends_while_info_crosses() -> None:
    """Waiting requests are answered 487 (RFC 3261 §15.1.2), a late answer is nobody's."""
    lab = Lab()
    lab.play(
        TALKING
        + """
        alice > INFO text:x
        bob < INFO text:x
        bob > BYE
        bob < 200 BYE
        alice < 487 INFO
        alice < BYE
        alice > 200
        bob > 200 INFO
    """
    )
    lab.end()


def test_message_in_the_dialog() -> None:
    lab = Lab()
    lab.play(
        TALKING
        + """
        bob > MESSAGE text:hello
        alice < MESSAGE text:hello | Content-Type: text/plain
        alice > 200
        bob < 200 MESSAGE
        """
        + END
    )
    lab.end()


def test_other_requests_in_the_dialog() -> None:
    lab = Lab()
    lab.play(
        TALKING
        + """
        alice > OPTIONS
        alice < 200 OPTIONS | Allow: INVITE | Accept: application/sdp
        alice > NOTIFY | Event: foo | Subscription-State: active
        alice < 489 | Allow-Events: refer
        alice > PUBLISH
        alice < 405 | Allow: INVITE
        """
        + END
    )
    lab.end()


def test_info_while_the_transferee_waits() -> None:
    """Nobody is there to take it."""
    lab = Lab("alice bob carol")
    lab.play(
        TALKING
        + """
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a1
        bob > BYE
        bob < 200 BYE
        alice > INFO text:x
        alice < 480
        alice > REFER bob
        alice < 481
        alice > reINVITE a2
        alice < 491
        alice > reINVITE
        alice < 491
        carol > 486
        carol < ACK
        bob < NOTIFY text:SIP/2.0 486 Whatever
        bob > 200
        alice < BYE
        alice > 200
    """
    )
    lab.end()


# Outside dialogs.


def test_message_to_every_device() -> None:
    """The first 200 is the answer; the text is not stored, the fact is."""
    lab = Lab("alice")
    lab.add("desk", "bob")
    lab.add("soft", "bob")
    lab.play("""
        alice > MESSAGE bob text:hello | Max-Forwards: 9
        desk < MESSAGE text:hello | Max-Forwards: 8 | From: <sip:alice@example.org>
        soft < MESSAGE text:hello
        desk > 486
        soft > 202
        alice < 202
    """)
    lab.end()
    (event,) = lab.log.of(MessageRelayed)
    assert (event.status, event.account, event.size_bytes) == (202, "alice@example.org", 5)
    assert event.to_uri == "sip:bob@example.org"


@pytest.mark.parametrize(
    ("answers", "told"), [((486, 404), 486), ((503, 503), 500), ((481, 481), 480)]
)
def test_message_that_nobody_takes(answers: tuple[int, int], told: int) -> None:
    lab = Lab("alice")
    lab.add("desk", "bob")
    lab.add("soft", "bob")
    lab.play(f"""
        alice > MESSAGE bob text:hello
        desk < MESSAGE text:hello
        soft < MESSAGE text:hello
        desk > {answers[0]}
        soft > 100
        soft > {answers[1]}
        alice < {told}
    """)
    lab.end()


def test_message_without_answer_or_addressee() -> None:
    lab = Lab()
    lab.play("""
        alice > MESSAGE nobody text:hello
        alice < 404
        alice.2 > MESSAGE bob text:hello
        bob < MESSAGE text:hello
        +33
        alice.2 < 504
    """)
    lab.end()


def test_late_answer_to_a_message() -> None:
    """Once one device has taken it, what the others say is nobody's business."""
    lab = Lab("alice")
    lab.add("desk", "bob")
    lab.add("soft", "bob")
    lab.play("""
        alice > MESSAGE bob text:hello
        desk < MESSAGE text:hello
        soft < MESSAGE text:hello
        desk > 200
        alice < 200
        soft > 200
    """)
    lab.end()


def test_anonymous_message() -> None:
    lab = Lab()
    lab.play("""
        alice > MESSAGE bob text:hello | Privacy: id
        bob < MESSAGE text:hello | From: "Anonymous" <sip:anonymous@anonymous.invalid>
        bob > 200
        alice < 200
    """)
    lab.end()


def test_strangers_send_no_messages() -> None:
    lab = Lab()
    lab.add("out")
    lab.play("""
        out > MESSAGE bob text:hello raw
        out < 401
    """)
    lab.end()


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("OPTIONS", "200"),
        ("SUBSCRIBE", "489 | Allow-Events: dialog, message-summary, refer"),
        ("PUBLISH", "489"),
        ("NOTIFY", "481"),
        ("INFO", "481"),
        ("UPDATE", "481"),
        ("FOO", "501"),
    ],
)
def test_requests_of_strangers(method: str, answer: str) -> None:
    """Nothing depends on whether the account exists."""
    lab = Lab()
    lab.add("out")
    for number, user in enumerate(("bob", "nobody"), 1):
        phone = lab.phones["out"]
        name = f"out.{number}"
        dialog = lab._new_dialog(phone, name, name)
        dialog.local, dialog.remote = phone.address, f"<sip:{user}@example.org>"
        extra = "Event: foo\r\n" if method in ("SUBSCRIBE", "PUBLISH", "NOTIFY") else ""
        phone.request(dialog, method, f"sip:{user}@example.org", extra)
        lab.play(f"{name} < {answer}")
    lab.end()


def test_requests_of_ended_usages() -> None:
    """What crosses our BYE finds no call any more."""
    lab = Lab()
    lab.play(
        TALKING
        + """
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > INFO text:x
        bob < 481
        bob > reINVITE b2
        bob < 481
        bob > 200 BYE
    """
    )
    lab.end()


def test_scanners_get_no_answer() -> None:
    lab = Lab()
    lab.add("out")
    lab.play("""
        out > OPTIONS bob | User-Agent: friendly-scanner
        out.2 > INVITE bob o1 raw | User-Agent: sipvicious
        +1
    """)
    lab.end()
    assert lab.node.statistics()["guard_dropped"] == 2
