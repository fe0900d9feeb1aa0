"""Descriptions: early media, 100rel, late offers, hold, re-INVITE, UPDATE, glare, timers."""

from __future__ import annotations

import pytest

from sip.core import EngineConfig
from tests.unit.pbx.calls.lab import Lab, ScriptedMedia

TALKING = """
    alice > INVITE bob a1 | Allow: INVITE, UPDATE
    bob < INVITE (a1)
    bob > 200 b1 | Allow: INVITE, UPDATE
    bob < ACK
    alice < 200 (b1)
    alice > ACK
"""
END = """
    alice > BYE
    alice < 200 BYE
    bob < BYE
    bob > 200
"""


def _asked(lab: Lab) -> list[str]:
    assert isinstance(lab.media, ScriptedMedia)
    return lab.media.asked


def _lab(phones: str = "alice bob") -> Lab:
    return Lab(phones, media=ScriptedMedia())


def test_media_service_sees_everything() -> None:
    lab = _lab()
    lab.play(TALKING + END)
    lab.end("""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B bob
        answered bob
        answered alice
        talking alice bob
        ended alice 200 normal/16 by caller
        ended bob 200 normal/16 by caller
        figures 1 alice 100
        figures 1 bob 100
        closed 200 normal/16 by caller
    """)
    assert _asked(lab) == ["offer 1 a1", "answer 1 b1", "delete 1"]


# Early media.


def test_early_media_from_two_branches() -> None:
    """Each 183 with a description goes through the media service; repeats cost nothing."""
    lab = Lab("alice", media=ScriptedMedia())
    lab.add("desk", "bob")
    lab.add("soft", "bob")
    lab.play("""
        alice > INVITE bob a1
        desk < INVITE (a1)
        soft < INVITE (a1)
        desk > 183 d1
        alice < 183 (d1)
        soft > 183 s1
        alice < 183 (s1)
        desk > 183 d1
        desk > 180 d1
        alice < 180
        desk > 180
        soft > 200 s1
        soft < ACK
        desk < CANCEL
        desk > 200 CANCEL
        desk > 487 INVITE
        desk < ACK
        alice < 200 (s1)
        alice > ACK
        alice > BYE
        alice < 200 BYE
        soft < BYE
        soft > 200
    """)
    lab.end()
    assert "ringing desk 183 early" in lab.story()
    assert "ringing alice 183 early" in lab.story()
    assert _asked(lab) == [
        "offer 1 a1",
        "early answer 1 d1",
        "early answer 1 s1",
        "answer 1 s1",
        "delete 1",
    ]


def test_early_media_that_the_service_refuses() -> None:
    """The caller still learns that it rings."""
    lab = _lab()
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        media fail busy
        bob > 183 b1
        alice < 183
        bob > 486
        bob < ACK
        alice < 486
    """)
    lab.end()
    assert "ringing alice 183" in lab.story()


def test_early_media_answer_comes_too_late() -> None:
    """The 200 overtakes the 183 at the media service: nothing provisional after a final answer."""
    lab = _lab()
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        media hold
        bob > 183 b1
        bob > 200 b1
        bob < ACK
        media go 2
        alice < 200 (b1)
        media go all
        alice > ACK
    """)
    lab.play(END)
    lab.end()


def test_branch_is_gone_when_its_early_media_is_ready() -> None:
    lab = _lab()
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        media hold
        bob > 183 b1
        bob > 486
        bob < ACK
        alice < 486
        media go all
    """)
    lab.end()


# 100rel.


def test_reliable_provisional_of_the_callee() -> None:
    """The callee's leg has a PRACK of its own; a caller that cannot gets a plain 183."""
    lab = _lab()
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1) | Supported: 100rel
        bob > 183 b1 | Require: 100rel | RSeq: 7
        bob < PRACK | RAck: 7 1 INVITE
        bob > 200 PRACK
        alice < 183 (b1) | !RSeq
        bob > 200 INVITE -
        bob < ACK
        alice < 200 (b1)
        alice > ACK
    """)
    lab.play(END)
    lab.end()
    assert "ringing bob 183 early reliably" in lab.story()


def test_caller_that_requires_100rel() -> None:
    """The answer waits for the caller's PRACK of a response with a description."""
    lab = _lab()
    lab.play("""
        alice > INVITE bob a1 | Require: 100rel | Supported: 100rel
        bob < INVITE (a1) | !Require
        bob > 183 b1
        alice < 183 (b1) | Require: 100rel
        bob > 200 INVITE b1
        bob < ACK
        alice > PRACK
        alice < 200 PRACK
        alice < 200 INVITE (b1)
        alice > ACK
    """)
    lab.play(END)
    lab.end()


def test_caller_never_sends_prack() -> None:
    """RFC 3262 §3: the INVITE is refused with 504, and the callee stops ringing."""
    lab = _lab()
    lab.play("""
        alice > INVITE bob a1 | Require: 100rel
        bob < INVITE (a1)
        bob > 180
        alice < 180 | RSeq:
        +33
        alice < 504
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
    """)
    lab.end()
    assert lab.story()[-1].startswith("closed 504 error/102 by server")


# Late offer.


def test_late_offer() -> None:
    """The callee's 200 carries the offer, the caller's ACK the answer (RFC 3264 §4)."""
    lab = _lab()
    lab.play("""
        alice > INVITE bob -
        bob < INVITE | Supported: timer, replaces
        bob > 180
        alice < 180
        bob > 200 b1
        alice < 200 (b1)
        alice > ACK a1
        bob < ACK (a1)
    """)
    lab.play(END)
    lab.end()
    assert _asked(lab) == ["offer 1 b1", "answer 1 a1", "delete 1"]


def test_late_offer_never_answered() -> None:
    """An ACK without the answer ends the call (RFC 3261 §13.2.2.4)."""
    lab = _lab()
    lab.play("""
        alice > INVITE bob -
        bob < INVITE
        bob > 200 b1
        alice < 200 (b1)
        alice > ACK
        bob < ACK refused
        alice < BYE
        alice > 200
        bob < BYE
        bob > 200
    """)
    lab.end()
    assert lab.story()[-1] == "closed 200 error/41 by server"


def test_late_answer_that_the_service_refuses() -> None:
    lab = _lab()
    lab.play("""
        alice > INVITE bob -
        bob < INVITE
        bob > 200 b1
        alice < 200 (b1)
        media fail no ports
        alice > ACK a1
        bob < ACK refused
        alice < BYE
        alice > 200
        bob < BYE
        bob > 200
    """)
    lab.end()
    assert lab.story()[-1] == "closed 200 error/41 by server"


def test_callee_hangs_up_before_the_late_answer() -> None:
    lab = _lab()
    lab.play("""
        alice > INVITE bob -
        bob < INVITE
        bob > 200 b1
        alice < 200 (b1)
        bob > BYE
        bob < 200 BYE
        bob < ACK refused
        alice > ACK a1
        alice < BYE
        alice > 200
    """)
    lab.end()


def test_answer_without_any_description() -> None:
    lab = _lab()
    lab.play("""
        alice > INVITE bob -
        bob < INVITE
        bob > 200 -
        bob < ACK
        alice < 488
        bob < BYE
        bob > 200
    """)
    lab.end()
    assert lab.story()[-1] == "closed 488 reject/65 by server"


def test_late_offer_that_the_service_refuses() -> None:
    lab = _lab()
    lab.play("""
        alice > INVITE bob -
        bob < INVITE
        media fail bad sdp
        bob > 200 b1
        alice < 488
        bob < ACK refused
        bob < BYE
        bob > 200
    """)
    lab.end()


# The media service refuses.


@pytest.mark.parametrize(
    ("problem", "status", "cause"),
    [("no ports left", 500, "error/41"), ("cannot parse sdp", 488, "reject/65")],
)
def test_service_refuses_the_offer(problem: str, status: int, cause: str) -> None:
    lab = _lab()
    lab.play(f"""
        media fail {problem}
        alice > INVITE bob a1
        alice < {status}
    """)
    lab.end(f"""
        started alice to bob
        decided routing: 1 contacts
        decided media: failed
        ended alice {status} {cause} by server
        closed {status} {cause} by server
    """)


def test_service_refuses_the_answer() -> None:
    lab = _lab()
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        media fail no ports
        bob > 200 b1
        bob < ACK
        alice < 500
        bob < BYE
        bob > 200
    """)
    lab.end()


def test_caller_gives_up_while_the_service_thinks() -> None:
    """The reply that comes after the end is nobody's, and the ports go back."""
    lab = _lab()
    lab.play("""
        media hold
        alice > INVITE bob a1
        alice > CANCEL
        alice < 200 CANCEL
        alice < 487 INVITE
        media go all
    """)
    lab.end()
    assert _asked(lab) == ["offer 1 a1", "delete 1"]


def test_service_is_away() -> None:
    lab = _lab()
    assert isinstance(lab.media, ScriptedMedia)
    lab.media.available = False
    lab.play("""
        alice > INVITE bob a1
        alice < 503 | Retry-After:
    """)
    lab.end()
    assert lab.story() == []


def test_media_timeout() -> None:
    """Half-dead calls end by the silence on their streams."""
    lab = _lab()
    lab.play(TALKING + "+60")
    (session,) = lab.node.bridges
    lab.node.on_media_timeout(session, lab.now)
    lab.node.on_media_timeout(session, lab.now)
    lab.node.on_media_timeout("unknown", lab.now)
    lab.pump()
    lab.play("""
        alice < BYE | Reason: Q.850;cause=102;text="media timeout"
        alice > 200
        bob < BYE
        bob > 200
    """)
    lab.end()
    assert lab.story()[-6:] == [
        "media timeout 1 @60000",
        "ended alice 200 mediatimeout/102 by server @60000 talk 60000",
        "ended bob 200 mediatimeout/102 by server @60000 talk 60000",
        "figures 1 alice 100",
        "figures 1 bob 100",
        "closed 200 mediatimeout/102 by server @60000 talk 60000",
    ]


def test_media_timeout_while_ringing_is_ignored() -> None:
    lab = _lab()
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
    """)
    (session,) = lab.node.bridges
    lab.node.on_media_timeout(session, lab.now)
    lab.play("""
        bob > 486
        bob < ACK
        alice < 486
    """)
    lab.end()


# Hold.

HELD = """
    alice > reINVITE a2:sendonly
    bob < reINVITE (a2):sendonly
    bob > 200 b2:recvonly
    bob < ACK
    alice < 200 (b2):recvonly
    alice > ACK
"""


def test_hold_and_resume_by_the_caller() -> None:
    lab = _lab()
    lab.play(
        TALKING
        + "+1"
        + HELD
        + """
        +2
        alice > reINVITE a3
        bob < reINVITE (a3)
        bob > 200 b3
        bob < ACK
        alice < 200 (b3)
        alice > ACK
        """
        + END
    )
    lab.end()
    assert lab.story()[7:11] == [
        "renegotiated alice 200 @1000",
        "held by alice sendonly @1000",
        "renegotiated alice 200 @3000",
        "resumed by alice @3000",
    ]


def test_hold_by_the_callee_and_double_hold() -> None:
    """Each side holds for itself; one resumes, the other's hold stays."""
    lab = _lab()
    lab.play(
        TALKING
        + HELD
        + """
        bob > reINVITE b3:inactive
        alice < reINVITE (b3):inactive
        alice > 200 a3:inactive
        alice < ACK
        bob < 200 (a3):inactive
        bob > ACK
        +1
        alice > reINVITE a4
        bob < reINVITE (a4)
        bob > 200 b4:sendonly
        bob < ACK
        alice < 200 (b4):sendonly
        alice > ACK
        """
        + END
    )
    lab.end()
    assert [line for line in lab.story() if "held" in line or "resumed" in line] == [
        "held by alice sendonly",
        "held by bob inactive",
        "resumed by alice @1000",
    ]


# Refusals.


@pytest.mark.parametrize(("status", "told"), [(488, 488), (500, 488), (603, 488)])
def test_peer_refuses_a_change(status: int, told: int) -> None:
    """Nothing changes: the media service is given what was agreed on before."""
    lab = _lab()
    lab.play(
        TALKING
        + f"""
        alice > reINVITE a2
        bob < reINVITE (a2)
        bob > {status}
        bob < ACK
        alice < {told} INVITE
        """
        + HELD
        + END
    )
    lab.end()
    assert "renegotiated alice 488" in lab.story()
    assert _asked(lab)[2:7] == [
        "offer 1 a2",
        "offer 1 a1",
        "answer 1 b1",
        "offer 1 a2:sendonly",
        "answer 1 b2:recvonly",
    ]


def test_peer_is_busy_with_an_offer_of_its_own() -> None:
    """491 is retried by the engine until it gives up; the offerer learns it then."""
    lab = _lab()
    lab.play(TALKING + "alice > reINVITE a2\n")
    for _ in range(4):
        lab.play("""
            bob < reINVITE (a2)
            bob > 491
            bob < ACK
            +4.1
        """)
    lab.play("alice < 491 INVITE\n" + END)
    lab.end()


def test_service_refuses_a_change() -> None:
    lab = _lab()
    lab.play(
        TALKING
        + """
        media fail no
        alice > reINVITE a2
        alice < 488
        """
        + END
    )
    lab.end()
    assert "renegotiated alice 488" in lab.story()


def test_service_refuses_the_answer_to_a_change() -> None:
    """The peer agreed already: both are put together anew."""
    lab = _lab()
    lab.play(
        TALKING
        + """
        media hold
        alice > reINVITE a2
        media go
        bob < reINVITE (a2)
        media fail no
        bob > 200 b2
        bob < ACK
        media go all
        alice < 488
        bob < reINVITE (a1)
        bob > 200 b1
        bob < ACK
        alice < reINVITE (b1)
        alice > 200 a1
        alice < ACK
        """
        + END
    )
    lab.end()


def test_peer_hangs_up_during_a_change() -> None:
    lab = _lab()
    lab.play(
        TALKING
        + """
        alice > reINVITE a2
        bob < reINVITE (a2)
        bob > BYE
        bob < 200 BYE
        bob > 487 INVITE
        bob < ACK
        alice < BYE
        alice < 487 INVITE
        alice > 200
    """
    )
    lab.end()


def test_offerer_hangs_up_during_a_change() -> None:
    lab = _lab()
    lab.play(
        TALKING
        + """
        alice > reINVITE a2
        bob < reINVITE (a2)
        alice > BYE
        alice < 200 BYE
        alice < 487 INVITE
        bob < BYE
        bob > 200 BYE
        bob > 487 INVITE
        bob < ACK
    """
    )
    lab.end()


# UPDATE, glare, offerless re-INVITE.


def test_update_in_the_conversation() -> None:
    """An UPDATE of one leg is a re-INVITE on the other: each leg has its own means."""
    lab = _lab()
    lab.play(
        TALKING
        + """
        alice > UPDATE a2
        bob < reINVITE (a2)
        bob > 200 b2
        bob < ACK
        alice < 200 UPDATE (b2)
        bob > UPDATE
        bob < 200 UPDATE
        """
        + END
    )
    lab.end()


def test_update_before_the_answer() -> None:
    """With the first offer unanswered another one gets 491 or 500 (RFC 3311 §5.2)."""
    lab = _lab()
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        bob > 183 b1 | Require: 100rel | RSeq: 1 | Allow: UPDATE
        bob < PRACK
        bob > 200 PRACK
        alice < 183 (b1)
        bob > UPDATE b2
        bob < 491 UPDATE
        alice > UPDATE a2
        alice < 500 UPDATE | Retry-After:
        bob > 200 INVITE b1
        bob < ACK
        alice < 200 (b1)
        alice > ACK
    """)
    lab.play(END)
    lab.end()


def test_glare() -> None:
    """Both change at once: one gets 491 and tries again (RFC 3261 §14.1)."""
    lab = _lab()
    lab.play(
        TALKING
        + """
        alice > reINVITE a2
        bob < reINVITE (a2)
        bob > reINVITE b9
        bob < 491 INVITE
        bob > 200 INVITE b2
        bob < ACK
        alice < 200 (b2)
        alice > ACK
        bob > reINVITE b9
        alice < reINVITE (b9)
        alice > 200 a2
        alice < ACK
        bob < 200 (a2)
        bob > ACK
        """
        + END
    )
    lab.end()


def test_glare_while_the_service_thinks() -> None:
    """The second offer of a call is refused before it touches anything."""
    lab = _lab()
    lab.play(
        TALKING
        + """
        media hold
        alice > reINVITE a2
        bob > reINVITE b9
        bob < 491
        media go all
        bob < reINVITE (a2)
        bob > 200 b2
        bob < ACK
        alice < 200 (b2)
        alice > ACK
        """
        + END
    )
    lab.end()


def test_offerless_reinvite() -> None:
    """The peer's description is offered; an answer that changes nothing does not bother it."""
    lab = _lab()
    lab.play(
        TALKING
        + """
        alice > reINVITE
        alice < 200 (b1)
        alice > ACK a1
        """
        + END
    )
    lab.end()
    assert "renegotiated alice 200" in lab.story()


def test_offerless_reinvite_with_news() -> None:
    """The answer changes something: the peer and the media service are told."""
    lab = _lab()
    lab.play(
        TALKING
        + """
        alice > reINVITE
        alice < 200 (b1)
        alice > ACK a2:sendonly
        bob < reINVITE (a2):sendonly
        bob > 200 b2:recvonly
        bob < ACK
        """
        + END
    )
    lab.end()
    assert "held by alice sendonly" in lab.story()
    assert _asked(lab)[2:] == [
        "offer 1 b1",
        "answer 1 a2:sendonly",
        "offer 1 a2:sendonly",
        "answer 1 b2:recvonly",
        "delete 1",
    ]


def test_offerless_reinvite_of_a_held_party() -> None:
    """Who is held by the peer may not undo that; who holds may."""
    lab = _lab()
    lab.play(
        TALKING
        + HELD
        + """
        bob > reINVITE
        bob < 200 (a2):sendonly
        bob > ACK b2:recvonly
        alice > reINVITE
        alice < 200 (b2)
        alice > ACK a3
        bob < reINVITE (a3)
        bob > 200 b3
        bob < ACK
        """
        + END
    )
    lab.end()


def test_offerless_reinvite_fails() -> None:
    """Refused by the service, or never answered in the ACK: nothing changes."""
    lab = _lab()
    lab.play(
        TALKING
        + """
        media fail no
        alice > reINVITE
        alice < 488
        alice > reINVITE
        alice < 200 (b1)
        alice > ACK
        alice > reINVITE
        alice < 200 (b1)
        media fail no
        alice > ACK a7
        """
        + END
    )
    lab.end()


def test_offerless_reinvite_meets_a_transfer() -> None:
    lab = Lab("alice bob carol")
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 200 b1
        bob < ACK
        alice < 200 b1
        alice > ACK
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a1
        carol > 200 c1
        carol < ACK
        alice < reINVITE c1
        bob > reINVITE
        bob < 491
        bob > reINVITE b5
        bob < 491
        alice > 200 a1
        alice < ACK
        bob < NOTIFY text:SIP/2.0 200 OK
        bob > 200
        bob > BYE
        bob < 200 BYE
        alice > BYE
        alice < 200 BYE
        carol < BYE
        carol > 200
    """)
    lab.end()


def test_acknowledgement_of_an_offerless_reinvite_is_lost() -> None:
    """No ACK: the leg is gone, and the call with it."""
    lab = _lab()
    lab.play(
        TALKING
        + """
        alice > reINVITE
        alice < 200 (b1)
        +33
        alice < BYE
        alice > 200
        bob < BYE
        bob > 200
    """
    )
    lab.end()
    assert lab.story()[-1].startswith("closed 200 error/102 by server @32000")


# Session timers (RFC 4028).


def test_session_timer_cures_a_lost_bye() -> None:
    """Bob is gone without a trace: our refresh gets no answer, the call ends."""
    lab = Lab(media=ScriptedMedia(), engine=EngineConfig(session_expires_s=90, keepalive_s=0.0))
    lab.play(
        TALKING.replace("bob > 200 b1", "bob > 200 b1 | Session-Expires: 90;refresher=uac")
        + """
        +45
        bob < UPDATE
        alice < UPDATE
        alice > 200
        +32
        bob < BYE
        bob > 200
        alice < BYE
        alice > 200
    """
    )
    lab.end()
    assert lab.story()[-1] == "closed 200 error/102 by server @77000 talk 77000"


def test_peer_that_forgot_the_dialog() -> None:
    """481 to a refresh: that party hung up, only its BYE was lost."""
    lab = Lab(media=ScriptedMedia(), engine=EngineConfig(session_expires_s=90, keepalive_s=0.0))
    lab.play(
        TALKING.replace("bob > 200 b1", "bob > 200 b1 | Session-Expires: 90;refresher=uac")
        + """
        +45
        bob < UPDATE
        alice < UPDATE
        alice > 200
        bob > 481
        bob < BYE
        bob > 481
        alice < BYE
        alice > 200
    """
    )
    lab.end()
    assert lab.story()[-1] == "closed 200 normal/16 by callee @45000 talk 45000"


def test_peer_that_never_refreshes() -> None:
    lab = Lab(media=ScriptedMedia(), engine=EngineConfig(session_expires_s=90, keepalive_s=0.0))
    lab.play(
        TALKING.replace("Allow: INVITE, UPDATE", "Supported: timer", 1)
        + """
        +59
        +2
        alice < BYE
        alice > 200
        bob < BYE
        bob > 200
    """
    )
    lab.end()
    assert lab.story()[-1] == "closed 200 error/102 by server @60000 talk 60000"


def test_refresh_of_a_phone_stays_on_its_leg() -> None:
    """The same description again is answered from memory; nobody else hears of it."""
    lab = _lab()
    lab.play(
        TALKING
        + """
        alice > reINVITE a1
        alice < 200 (b1)
        alice > ACK
        """
        + END
    )
    lab.end()
    assert _asked(lab) == ["offer 1 a1", "answer 1 b1", "delete 1"]


def test_media_service_restarts() -> None:
    """Who talk are joined anew; who ring are refused."""
    lab = _lab("alice bob carol dan")
    lab.play(
        TALKING
        + """
        carol > INVITE dan c1
        dan < INVITE (c1)
    """
    )
    for call in list(lab.node.calls.values()):
        call.on_media_lost(lab.now)
    lab.pump()
    lab.play(
        """
        bob < reINVITE (a1)
        bob > 200 b1
        bob < ACK
        alice < reINVITE (b1)
        alice > 200 a1
        alice < ACK
        carol < 500
        dan > 100
        dan < CANCEL
        dan > 200 CANCEL
        dan > 487 INVITE
        dan < ACK
        """
        + END
    )
    lab.end()


def test_media_cannot_be_restored() -> None:
    lab = _lab()
    lab.play(TALKING)
    (call,) = lab.node.calls.values()
    call.on_media_lost(lab.now)
    lab.pump()
    lab.play("""
        bob < reINVITE (a1)
        bob > 488
        bob < ACK
        alice < BYE
        alice > 200
        bob < BYE
        bob > 200
    """)
    lab.end()
    assert lab.story()[-1] == "closed 200 error/41 by server"
