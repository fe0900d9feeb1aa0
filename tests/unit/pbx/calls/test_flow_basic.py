"""Answered calls and the ways to an end before the answer."""

from __future__ import annotations

import pytest

from tests.unit.pbx.calls.lab import Lab, ScriptedMedia

RINGING = """
    alice > INVITE bob a1
    bob < INVITE a1
    bob > 180
    alice < 180
"""
ANSWERED = (
    RINGING
    + """
    bob > 200 b1
    alice < 200 b1
    alice > ACK
"""
)


def test_caller_hangs_up() -> None:
    """Every message, every event, exact times."""
    lab = Lab()
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1 | Request-URI: sip:bob@203.0.113.12:5060 | Max-Forwards: 69
        | From: <sip:alice@example.org>;tag= | To: <sip:bob@example.org>
        | Contact: <sip:192.0.2.1:5060> | Allow: INVITE | Supported: 100rel
        | P-Asserted-Identity: <sip:alice@example.org>
        +0.1
        bob > 100
        bob > 180
        alice < 180 | Contact: <sip:bob@192.0.2.1:5060>
        +2
        bob > 200 b1
        bob < ACK
        alice < 200 b1 | Contact: <sip:bob@192.0.2.1:5060> | Allow: INVITE | Supported: 100rel
        alice > ACK
        +3.25
        alice > BYE
        alice < 200 BYE
        bob < BYE | Reason: Q.850;cause=16
        bob > 200
    """)
    lab.end("""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B bob
        ringing bob 180 @100
        ringing alice 180 @100
        answered bob @2100
        answered alice @2100
        talking alice bob @2100
        ended alice 200 normal/16 by caller @5350 talk 3250
        ended bob 200 normal/16 by caller @5350 talk 3250
        closed 200 normal/16 by caller @5350 talk 3250
    """)


def test_callee_hangs_up() -> None:
    lab = Lab()
    lab.play(
        ANSWERED
        + """
        bob < ACK
        +1
        bob > BYE | Reason: Q.850;cause=16;text="bye"
        bob < 200 BYE
        alice < BYE | Reason: Q.850;cause=16;text="bye"
        alice > 200
    """
    )
    lab.end("""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B bob
        ringing bob 180
        ringing alice 180
        answered bob
        answered alice
        talking alice bob
        ended bob 200 normal/16 by callee @1000 talk 1000
        ended alice 200 normal/16 by callee @1000 talk 1000
        closed 200 normal/16 by callee @1000 talk 1000
    """)


def test_cancel_while_ringing() -> None:
    """CANCEL crosses both legs; its Reason goes along (RFC 3326)."""
    lab = Lab()
    lab.play(
        RINGING
        + """
        +4
        alice > CANCEL | Reason: SIP;cause=600
        alice < 200 CANCEL
        alice < 487 INVITE
        bob < CANCEL | Reason: SIP;cause=600
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
    """
    )
    lab.end("""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B bob
        ringing bob 180
        ringing alice 180
        ended alice 487 cancel/16 by caller @4000
        ended bob 487 cancel/16 by caller @4000
        closed 487 cancel/16 by caller @4000
    """)


def test_cancel_before_any_response() -> None:
    """The callee's CANCEL waits for its first provisional response (RFC 3261 §9.1)."""
    lab = Lab()
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        alice > CANCEL
        alice < 200 CANCEL
        alice < 487 INVITE
        +0.1
        bob > 180
        bob < CANCEL | Reason: Q.850;cause=16
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
    """)
    lab.end("""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B bob
        ended alice 487 cancel/16 by caller
        ended bob 487 cancel/16 by caller
        closed 487 cancel/16 by caller
    """)


def test_answer_crosses_cancel() -> None:
    """The callee's 200 crosses our CANCEL: ACK and BYE, and the call was never answered."""
    lab = Lab()
    lab.play(
        RINGING
        + """
        alice > CANCEL
        alice < 200 CANCEL
        alice < 487 INVITE
        bob > 200 INVITE b1
        bob < CANCEL
        bob > 481 CANCEL
        bob < ACK
        bob < BYE
        bob > 200 BYE
    """
    )
    lab.end("""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B bob
        ringing bob 180
        ringing alice 180
        ended alice 487 cancel/16 by caller
        ended bob 487 cancel/16 by caller
        closed 487 cancel/16 by caller
    """)


def test_cancel_comes_after_the_answer() -> None:
    """A CANCEL that arrives behind our 200 changes nothing; the caller hangs up."""
    lab = Lab()
    lab.play(
        RINGING
        + """
        bob > 200 b1
        bob < ACK
        alice > CANCEL
        alice < 200 INVITE b1
        alice < 200 CANCEL
        alice > ACK
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
    """
    )
    lab.end()
    assert lab.story()[-1] == "closed 200 normal/16 by caller"


def test_cancel_while_the_answer_waits_for_media() -> None:
    """The callee has answered, the caller does not know yet and gives up: the callee gets BYE."""
    lab = Lab(media=ScriptedMedia())
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        media hold
        bob > 200 b1
        bob < ACK
        +0.2
        alice > CANCEL
        alice < 200 CANCEL
        alice < 487 INVITE
        bob < BYE | Reason: Q.850;cause=16
        bob > 200
        media go all
    """)
    lab.end("""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B bob
        answered bob
        ended alice 487 cancel/16 by caller @200
        ended bob 200 cancel/16 by caller @200 talk 200
        figures 1 alice 100
        figures 1 bob 100
        closed 487 cancel/16 by caller @200
    """)


@pytest.mark.parametrize(
    ("status", "passed", "cause"),
    [
        (486, 486, "busy/17"),
        (600, 600, "busy/17"),
        (603, 603, "reject/21"),
        (404, 404, "reject/1"),
        (480, 480, "noanswer/18"),
        (415, 415, "reject/79"),
        (488, 488, "reject/65"),
        (500, 500, "error/41"),
        (503, 500, "error/41"),
        (401, 500, "reject/21"),
        (407, 500, "reject/21"),
    ],
)
def test_refusal(status: int, passed: int, cause: str) -> None:
    """What a callee says reaches the caller, unless it would mean something else from us."""
    lab = Lab()
    shown = cause if passed == status else cause.partition("/")[0] + "/41"
    lab.play(
        RINGING
        + f"""
        +1
        bob > {status}
        bob < ACK
        alice < {passed}
    """
    )
    lab.end(f"""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B bob
        ringing bob 180
        ringing alice 180
        ended bob {status} {cause} by callee @1000
        ended alice {passed} {shown} by callee @1000
        closed {passed} {shown} by callee @1000
    """)


def test_reason_of_a_refusal_goes_along() -> None:
    lab = Lab()
    lab.play(
        RINGING
        + """
        bob > 486 | Reason: Q.850;cause=17;text="in a meeting"
        bob < ACK
        alice < 486 | Reason: Q.850;cause=17;text="in a meeting"
    """
    )
    lab.end()


def test_unknown_and_unregistered_callees() -> None:
    lab = Lab()
    lab.add("dan", "dan", bind=False)
    lab.play("""
        alice > INVITE nobody a1
        alice < 404
        alice.2 > INVITE dan a1
        alice.2 < 480
        alice.3 > INVITE tel:+123 a1
        alice.3 < 404
        alice.4 > INVITE urn:service:sos a1
        alice.4 < 416
    """)
    lab.end("""
        started alice to nobody
        decided routing: 404
        ended alice 404 reject/1 by server
        closed 404 reject/1 by server
        started alice.2 to dan
        decided routing: 480
        ended alice.2 480 noanswer/18 by server
        closed 480 noanswer/18 by server
        started alice.3 to +123
        decided routing: 404
        ended alice.3 404 reject/1 by server
        closed 404 reject/1 by server
    """)


@pytest.mark.parametrize(
    ("headers", "after"),
    [("", 20), (" | Expires: 7", 7), (" | Expires: 90", 20), (" | Expires: x", 20)],
)
def test_nobody_answers(headers: str, after: int) -> None:
    """The shorter of our own patience and the caller's Expires field counts."""
    lab = Lab(no_answer_s=20.0)
    lab.play(f"""
        alice > INVITE bob a1{headers}
        bob < INVITE a1
        bob > 180
        alice < 180
        +{after - 0.001}
        +0.001
        alice < 480
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
    """)
    lab.end(f"""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B bob
        ringing bob 180
        ringing alice 180
        ended bob 480 noanswer/19 by server @{after * 1000}
        ended alice 480 noanswer/19 by server @{after * 1000}
        closed 480 noanswer/19 by server @{after * 1000}
    """)


def test_silent_phone() -> None:
    """A contact that never says anything: timer B, 408 is not passed on as such to the record."""
    lab = Lab()
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        +31.9
        +0.2
        alice < 408
    """)
    lab.end()
    assert lab.story()[-1] == "closed 408 noanswer/102 by server @32000"
    assert lab.phones["bob"].repeats == 6


def test_callee_hangs_up_before_the_caller_knows() -> None:
    lab = Lab(media=ScriptedMedia())
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        media hold
        bob > 200 b1
        bob < ACK
        bob > BYE
        bob < 200 BYE
        alice < 480
        media go all
    """)
    lab.end()
    assert lab.story()[-1] == "closed 480 noanswer/18 by callee"


def test_caller_never_acknowledges() -> None:
    """Without ACK our 200 is repeated for 32 s, then both sides are hung up."""
    lab = Lab()
    lab.play(
        RINGING
        + """
        bob > 200 b1
        bob < ACK
        alice < 200 b1
        +32
        alice < BYE
        alice > 200
        bob < BYE
        bob > 200
    """
    )
    lab.end()
    assert lab.story()[-1] == "closed 200 error/102 by server @32000 talk 32000"
    assert lab.phones["alice"].repeats > 8


def test_forwarded_and_withheld_headers() -> None:
    """What concerns the call goes on, what belongs to the leg stays (and 100rel is announced)."""
    lab = Lab()
    lab.play("""
        alice > INVITE bob a1 | Subject: hi | Alert-Info: <x:y> | Call-Info: <x:z> | User-Agent: A
        | X-Own: 1 | Record-Route: <sip:p;lr> | Max-Forwards: 5
        bob < INVITE a1 | Subject: hi | Alert-Info: <x:y> | Call-Info: <x:z> | Max-Forwards: 4
        | !X-Own | !Record-Route | !Authorization | User-Agent: Ringlog
        bob > 486
        bob < ACK
        alice < 486
    """)
    lab.end()


def test_too_many_hops() -> None:
    """Max-Forwards 0 ends here (RFC 3261 §16.3), before anything is written."""
    lab = Lab()
    lab.play("""
        alice > INVITE bob a1 raw | Max-Forwards: 0
        alice < 483
    """)
    lab.end("")
    assert lab.story() == []


def test_call_to_our_own_address() -> None:
    """Our address as domain part is the main domain: no loop through ourselves."""
    lab = Lab()
    lab.play("""
        alice > INVITE sip:bob@192.0.2.1 a1
        bob < INVITE a1
        bob > 486
        bob < ACK
        alice < 486
    """)
    lab.end()


def test_other_bodies_are_refused() -> None:
    lab = Lab()
    lab.play("""
        alice > INVITE bob text:hello raw
        alice < 415 | Accept: application/sdp
    """)
    lab.end()
    assert lab.story() == []
