"""Transfers by REFER: blind and attended, whoever hangs up at whatever moment."""

from __future__ import annotations

import pytest

from tests.unit.pbx.calls.lab import Lab, ScriptedMedia

TALKING = """
    alice > INVITE bob a1
    bob < INVITE a1
    bob > 200 b1
    bob < ACK
    alice < 200 b1
    alice > ACK
"""
#: Bob sends Alice on to Carol, whose phone rings.
REFERRED = (
    TALKING
    + """
    +1
    bob > REFER carol
    bob < 202
    bob < NOTIFY text:SIP/2.0 100 Trying | Subscription-State: active | Event: refer
    bob > 200
    carol < INVITE a1 | From: <sip:alice@example.org> | To: <sip:carol@example.org>
    | Referred-By: <sip:bob@example.org> | P-Asserted-Identity: <sip:alice@example.org>
    carol > 180
    bob < NOTIFY text:SIP/2.0 180 Whatever
    bob > 200
"""
)
#: Alice has Bob on one line, calls Carol on another and connects the two.
CONSULTED = (
    TALKING
    + """
    +1
    alice.2 > INVITE carol a2
    carol < INVITE a2
    carol > 200 c1
    carol < ACK
    alice.2 < 200 c1
    alice.2 > ACK
    +1
"""
)
ATTENDED = (
    CONSULTED
    + """
    alice > REFER carol replaces=alice.2
    alice < 202
    alice < NOTIFY text:SIP/2.0 100 Trying
    alice > 200
    carol < reINVITE b1
"""
)
SUCCESS = """
    bob < NOTIFY text:SIP/2.0 200 OK | Subscription-State: terminated;reason=noresource
    bob > 200
"""
START = """
    started alice to bob
    decided routing: 1 contacts
    media 1
    created B bob
    answered bob
    answered alice
    talking alice bob
"""
BLIND_START = (
    START
    + """
    decided transfer: blind to sip:carol@example.org
    media 2 @1000
    created X carol @1000
    ringing carol 180 @1000
"""
)


def test_blind() -> None:
    """The transferee is re-offered the target's answer; the transferor hangs up by itself."""
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + """
        +2
        carol > 200 INVITE c1
        carol < ACK
        alice < reINVITE c1
        +0.5
        alice > 200 a1
        alice < ACK
        """
        + SUCCESS
        + """
        bob > BYE
        bob < 200 BYE
        +1
        carol > BYE
        carol < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end(
        BLIND_START
        + """
        answered carol @3000
        bridged alice carol @3500
        transferred alice by bob blind 200 @3500
        ended bob 200 normal/16 by callee @3500 talk 3500
        ended carol 200 normal/16 by callee @4500 talk 1500
        ended alice 200 normal/16 by callee @4500 talk 4500
        closed 200 normal/16 by callee @4500 talk 4500
    """
    )


def test_transferor_that_stays_is_hung_up() -> None:
    """Without a BYE of its own the server sends it after the grace time."""
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + """
        carol > 200 INVITE c1
        carol < ACK
        alice < reINVITE c1
        alice > 200 a1
        alice < ACK
        """
        + SUCCESS
        + """
        +4.99
        +0.02
        bob < BYE | Reason: Q.850;cause=16;text="transferred"
        bob > 200
        alice > BYE
        alice < 200 BYE
        carol < BYE
        carol > 200
    """
    )
    lab.end()
    assert "ended bob 200 normal/16 by server @6000 talk 6000" in lab.story()


@pytest.mark.parametrize(("status", "told"), [(486, 486), (603, 603), (503, 500)])
def test_blind_refused(status: int, told: int) -> None:
    """The final NOTIFY tells why; the old pair talks on."""
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + f"""
        carol > {status} INVITE
        carol < ACK
        bob < NOTIFY text:SIP/2.0 {told} Whatever | Subscription-State: terminated
        bob > 200
        +1
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying | Event: refer
        bob > 200
        carol.2 < INVITE a1
        carol.2 > 486
        carol.2 < ACK
        bob < NOTIFY text:SIP/2.0 486 Whatever
        bob > 200
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
    """
    )
    lab.end()
    assert f"transferred alice by bob blind {told} @1000" in lab.story()
    assert lab.story()[-1] == "closed 200 normal/16 by caller @2000 talk 2000"


def test_blind_not_answered() -> None:
    lab = Lab("alice bob carol", no_answer_s=30.0)
    lab.play(
        REFERRED
        + """
        +30
        carol < CANCEL
        carol > 200 CANCEL
        carol > 487 INVITE
        carol < ACK
        bob < NOTIFY text:SIP/2.0 480 nobody answered | Subscription-State: terminated
        bob > 200
        bob > BYE
        bob < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()
    assert "transferred alice by bob blind 480 @31000" in lab.story()


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("nobody", "404 Not Found"),
        ("dan", "480 Temporarily Unavailable"),
        ("full", "486 Busy Here"),
    ],
)
def test_blind_to_nobody(target: str, told: str) -> None:
    """Accepted, then told by the only NOTIFY but the first; limits of the target count."""
    lab = Lab("alice bob full")
    lab.add("dan", "dan", bind=False)
    lab.limit("full", 0)
    lab.play(
        TALKING
        + f"""
        bob > REFER {target}
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        bob < NOTIFY text:SIP/2.0 {told} | Subscription-State: terminated
        bob > 200
        bob > BYE
        bob < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()
    assert f"transferred alice by bob blind {told[:3]}" in lab.story()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Refer-To: <sip:carol@example.org;method=BYE>", 603),
        ("Refer-To: <tel:+4930>", 416),
        ("Refer-To: <sip:>", 400),
        ("Refer-To: <sip:carol@example.org", 400),
        ("Refer-To: <sip:carol@example.org?Replaces=a%0D%0Ab%3Bto-tag%3D1%3Bfrom-tag%3D2>", 400),
        ("X: y", 400),
    ],
)
def test_refer_that_cannot_be_done(header: str, status: int) -> None:
    lab = Lab()
    lab.play(TALKING)
    bob = lab.dialogs["bob"]
    bob.phone.request(bob, "REFER", bob.target, f"{header}\r\n")
    lab.play(f"""
        bob < {status}
        bob > BYE
        bob < 200 BYE
        alice < BYE
        alice > 200
    """)
    lab.end()


def test_method_parameter_without_value() -> None:
    """``;method`` says nothing: an INVITE is meant."""
    lab = Lab("alice bob carol")
    lab.play(
        TALKING
        + """
        bob > REFER sip:carol@example.org;method
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a1 | To: <sip:carol@example.org>
        carol > 486
        carol < ACK
        bob < NOTIFY text:SIP/2.0 486 Whatever
        bob > 200
        bob > BYE
        bob < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()


def test_without_subscription() -> None:
    """Refer-Sub: false is repeated in the 202, and no NOTIFY comes (RFC 4488)."""
    lab = Lab("alice bob carol")
    lab.play(
        TALKING
        + """
        bob > REFER carol | Refer-Sub: false | Require: norefersub
        bob < 202 | Refer-Sub: false
        carol < INVITE a1
        carol > 486
        carol < ACK
        bob > BYE
        bob < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()


def test_second_refer() -> None:
    """One transfer at a time."""
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + """
        bob > REFER carol
        bob < 491
        alice > REFER carol
        alice < 491
        bob > BYE
        bob < 200 BYE
        carol > 486 INVITE
        carol < ACK
        bob < NOTIFY text:SIP/2.0 486 Whatever
        bob > 481
        alice < BYE
        alice > 200
    """
    )
    lab.end()


def test_transferor_hangs_up_while_it_rings() -> None:
    """The transferee waits for the target; the final NOTIFY still goes to who asked for it."""
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + """
        bob > BYE
        bob < 200 BYE
        +5
        carol > 200 INVITE c1
        carol < ACK
        alice < reINVITE c1
        alice > 200 a1
        alice < ACK
        """
        + SUCCESS
        + """
        alice > BYE
        alice < 200 BYE
        carol < BYE
        carol > 200
    """
    )
    lab.end(
        BLIND_START
        + """
        ended bob 200 normal/16 by callee @1000 talk 1000
        answered carol @6000
        bridged alice carol @6000
        transferred alice by bob blind 200 @6000
        ended alice 200 normal/16 by caller @6000 talk 6000
        ended carol 200 normal/16 by caller @6000
        closed 200 normal/16 by caller @6000 talk 6000
    """
    )


def test_transferor_gone_and_target_busy() -> None:
    """Nobody is left for the transferee: it is hung up, the record says why."""
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + """
        bob > BYE
        bob < 200 BYE
        carol > 486 INVITE
        carol < ACK
        bob < NOTIFY text:SIP/2.0 486 Whatever
        bob > 200
        alice < BYE | Reason: Q.850;cause=17
        alice > 200
    """
    )
    lab.end()
    assert lab.story()[-1] == "closed 200 busy/17 by server @1000 talk 1000"


def test_transferor_hangs_up_while_the_transferee_is_asked() -> None:
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + """
        carol > 200 INVITE c1
        carol < ACK
        alice < reINVITE c1
        bob > BYE
        bob < 200 BYE
        alice > 200 a1
        alice < ACK
        """
        + SUCCESS
        + """
        carol > BYE
        carol < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()


def test_transferee_hangs_up_while_it_rings() -> None:
    """It was the caller who hung up, not a transfer that failed."""
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + """
        alice > BYE
        alice < 200 BYE
        carol < CANCEL
        carol > 200 CANCEL
        carol > 487 INVITE
        carol < ACK
        bob < NOTIFY text:SIP/2.0 487 the transferee hung up | Subscription-State: terminated
        bob > 200
        bob < BYE
        bob > 200
    """
    )
    lab.end()
    assert lab.story()[-1] == "closed 200 normal/16 by caller @1000 talk 1000"


def test_transferee_hangs_up_while_it_is_asked() -> None:
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + """
        carol > 200 INVITE c1
        carol < ACK
        alice < reINVITE c1
        alice > BYE
        alice < 200 BYE
        bob < NOTIFY text:SIP/2.0 487 the transferee hung up
        bob > 200
        carol < BYE
        carol > 200 BYE
        bob < BYE
        bob > 200
        alice > 487 INVITE
        alice < ACK
    """
    )
    lab.end()
    assert lab.story()[-1] == "closed 200 normal/16 by caller @1000 talk 1000"


def test_target_hangs_up_at_once() -> None:
    """Before the transferee has agreed: the old pair talks on, with its old descriptions."""
    lab = Lab("alice bob carol", media=ScriptedMedia())
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        bob > 200 b1
        bob < ACK
        alice < 200 (b1)
        alice > ACK
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE (a1)
        carol > 200 c1
        carol < ACK
        alice < reINVITE (c1)
        carol > BYE
        carol < 200 BYE
        bob < NOTIFY text:SIP/2.0 480 the target hung up
        bob > 200
        alice > 200 a2
        alice < ACK
        # Alice has agreed to nobody: she and Bob are joined anew.
        bob < reINVITE (a1)
        bob > 200 b1
        bob < ACK
        alice < reINVITE (b1)
        alice > 200 a1
        alice < ACK
        bob > BYE
        bob < 200 BYE
        alice < BYE
        alice > 200
    """)
    lab.end()
    assert isinstance(lab.media, ScriptedMedia)
    assert [word for word in lab.media.asked if word.startswith("delete")] == [
        "delete 2",
        "delete 1",
        "delete 3",
    ]


@pytest.mark.parametrize("status", [488, 500])
def test_transferee_refuses_the_target(status: int) -> None:
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + f"""
        carol > 200 INVITE c1
        carol < ACK
        alice < reINVITE c1
        alice > {status}
        alice < ACK
        bob < NOTIFY text:SIP/2.0 {status} the parties could not be joined
        bob > 200
        carol < BYE
        carol > 200
        bob > BYE
        bob < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()
    assert f"transferred alice by bob blind {status} @1000" in lab.story()


def test_target_answers_without_description() -> None:
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + """
        carol > 200 INVITE -
        carol < ACK
        bob < NOTIFY text:SIP/2.0 488 no session description
        bob > 200
        carol < BYE
        carol > 200
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
    """
    )
    lab.end()


def test_held_transferee() -> None:
    """Who was on hold is offered, and answers, sendrecv; the hold ends with the transfer."""
    lab = Lab("alice bob carol")
    lab.play(
        TALKING
        + """
        bob > reINVITE b2:sendonly
        alice < reINVITE b2:sendonly
        alice > 200 a2:recvonly
        alice < ACK
        bob < 200 a2:recvonly
        bob > ACK
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a2
        carol > 200 c1
        carol < ACK
        alice < reINVITE c1
        alice > 200 a2
        alice < ACK
        """
        + SUCCESS
        + """
        bob > BYE
        bob < 200 BYE
        alice > BYE
        alice < 200 BYE
        carol < BYE
        carol > 200
    """
    )
    lab.end()


def test_transferee_answers_with_other_ports() -> None:
    """What it says now is told to the target too, and to the media service."""
    lab = Lab("alice bob carol", media=ScriptedMedia())
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        bob > 200 b1
        bob < ACK
        alice < 200 (b1)
        alice > ACK
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE (a1)
        carol > 200 c1
        carol < ACK
        alice < reINVITE (c1)
        alice > 200 a9
        alice < ACK
        carol < reINVITE (a9)
        carol > 200 c2
        carol < ACK
    """)
    lab.play(
        SUCCESS
        + """
        bob > BYE
        bob < 200 BYE
        alice > BYE
        alice < 200 BYE
        carol < BYE
        carol > 200
    """
    )
    lab.end()
    assert isinstance(lab.media, ScriptedMedia)
    assert "answer 2 c2" in lab.media.asked


# Rights.


def test_outside_callee_has_no_rights_of_its_caller() -> None:
    """Toll fraud: whom we call outside may not send our account's call where it likes."""
    lab = Lab("alice bob")
    lab.add("out")
    lab.add("premium")
    lab.outside["outside.example"] = "out"
    lab.outside["premium.example"] = "premium"
    lab.play("""
        alice > INVITE sip:x@outside.example a1
        out < INVITE a1 | !P-Asserted-Identity
        out > 200 o1
        out < ACK
        alice < 200 o1
        alice > ACK
        out > REFER sip:rich@premium.example
        out < 202
        out < NOTIFY text:SIP/2.0 100 Trying
        out > 200
        out < NOTIFY text:SIP/2.0 403 Forbidden
        out > 200
        out > REFER bob
        out < 202
        out < NOTIFY text:SIP/2.0 100 Trying
        out > 200
        bob < INVITE a1
        bob > 486
        bob < ACK
        out < NOTIFY text:SIP/2.0 486 Whatever
        out > 200
        alice > BYE
        alice < 200 BYE
        out < BYE
        out > 200
    """)
    lab.end()


def test_our_account_may_transfer_outside() -> None:
    """The transferor's account carries the new leg, the transferee is a stranger to it."""
    lab = Lab("alice bob")
    lab.add("premium")
    lab.outside["premium.example"] = "premium"
    lab.play(
        TALKING
        + """
        bob > REFER sip:rich@premium.example
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        premium < INVITE a1 | Referred-By: <sip:bob@example.org> | !P-Asserted-Identity
        premium > 486
        premium < ACK
        bob < NOTIFY text:SIP/2.0 486 Whatever
        bob > 200
        bob > BYE
        bob < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()


def test_refer_outside_a_call() -> None:
    lab = Lab("alice bob")
    alice = lab.phones["alice"]
    dialog = lab._new_dialog(alice, "alice", "stray")
    dialog.local, dialog.remote = alice.address, "<sip:bob@example.org>"
    alice.request(dialog, "REFER", "sip:bob@example.org", "Refer-To: <sip:carol@example.org>\r\n")
    lab.play("alice < 403")
    lab.end()


# Attended.


def test_attended() -> None:
    """The legs of the transferor go, those of the others are joined; each stream is complete."""
    lab = Lab("alice bob carol")
    lab.play(
        ATTENDED
        + """
        carol > 200 c1
        carol < ACK
        bob < reINVITE c1
        bob > 200 b1
        bob < ACK
        alice < NOTIFY text:SIP/2.0 200 OK | Subscription-State: terminated;reason=noresource
        alice > 200
        alice.2 < BYE | Reason: Q.850;cause=16;text="transferred"
        alice.2 > 200
        alice > BYE
        alice < 200 BYE
        +3
        carol > BYE
        carol < 200 BYE
        bob < BYE
        bob > 200
    """
    )
    lab.end(
        START
        + """
        started alice.2 to carol
        decided routing: 1 contacts
        media 1
        created B carol
        answered carol
        answered alice.2
        talking alice.2 carol
        decided transfer: attended with call 0
        media 2 @2000
        moved carol @1000
        ended carol 200 normal/16 by server @1000 talk 1000
        created X carol @2000
        answered carol @2000
        moved carol @2000
        bridged bob carol @2000
        transferred bob by alice attended 200 @2000
        ended alice.2 200 normal/16 by server @1000 talk 1000
        closed 200 normal/16 by server @1000 talk 1000
        ended alice 200 normal/16 by caller @2000 talk 2000
        ended carol 200 normal/16 by callee @5000 talk 3000
        ended bob 200 normal/16 by callee @5000 talk 5000
        closed 200 normal/16 by callee @5000 talk 5000
    """.replace("call 0", "call " + list({s[5:]: 1 for s, *_ in lab.log.events if "call/" in s})[1])
    )


def test_attended_with_swapped_tags() -> None:
    """Many phones swap them (RFC 3891 §3)."""
    lab = Lab("alice bob carol")
    lab.play(
        ATTENDED.replace("replaces=alice.2", "replaces=alice.2~")
        + """
        carol > 200 c1
        carol < ACK
        bob < reINVITE c1
        bob > 200 b1
        bob < ACK
        alice < NOTIFY text:SIP/2.0 200 OK
        alice > 200
        alice.2 < BYE
        alice.2 > 200
        alice > BYE
        alice < 200 BYE
        bob > BYE
        bob < 200 BYE
        carol < BYE
        carol > 200
    """
    )
    lab.end()


_CAROL_AGREES = """
    carol > 200 INVITE c1
    carol < ACK
    bob < reINVITE c1
"""
_BOB_AGREES = """
    bob > 200 b1
    bob < ACK
    alice < NOTIFY text:SIP/2.0 200 OK
    alice > 200
"""
_FIRST_LEAVES = """
    alice > BYE
    alice < 200 BYE
"""
_SECOND_LEAVES = """
    alice.2 > BYE
    alice.2 < 200 BYE
"""
_SECOND_IS_HUNG_UP = """
    alice.2 < BYE
    alice.2 > 200
"""
_FIRST_IS_HUNG_UP = """
    +5.1
    alice < BYE
    alice > 200
"""


@pytest.mark.parametrize(
    "ladder",
    [
        _FIRST_LEAVES + _SECOND_LEAVES + _CAROL_AGREES + _BOB_AGREES,
        _FIRST_LEAVES + _CAROL_AGREES + _BOB_AGREES + _SECOND_IS_HUNG_UP,
        _SECOND_LEAVES + _CAROL_AGREES + _BOB_AGREES + _FIRST_IS_HUNG_UP,
        _CAROL_AGREES + _FIRST_LEAVES + _SECOND_LEAVES + _BOB_AGREES,
        _CAROL_AGREES + _FIRST_LEAVES + _BOB_AGREES + _SECOND_IS_HUNG_UP,
        _CAROL_AGREES + _SECOND_LEAVES + _BOB_AGREES + _FIRST_IS_HUNG_UP,
    ],
)
def test_transferor_leaves(ladder: str) -> None:
    """Whenever it does: Bob and Carol talk in the end, and one record tells it."""
    lab = Lab("alice bob carol")
    lab.play(
        ATTENDED
        + ladder
        + """
        bob > BYE
        bob < 200 BYE
        carol < BYE
        carol > 200
    """
    )
    lab.end()
    assert "transferred bob by alice attended 200 @2000" in lab.story()
    assert lab.story()[-1].startswith("closed 200 normal/16 by callee")


def test_target_refuses_to_be_joined() -> None:
    """Both old calls go on; nobody was re-offered for nothing."""
    lab = Lab("alice bob carol")
    lab.play(
        ATTENDED
        + """
        carol > 488
        carol < ACK
        alice < NOTIFY text:SIP/2.0 488 the parties could not be joined
        alice > 200
        +1
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
        carol > BYE
        carol < 200 BYE
        alice.2 < BYE
        alice.2 > 200
    """
    )
    lab.end()
    assert "transferred bob by alice attended 488 @2000" in lab.story()


def test_transferee_refuses_to_be_joined() -> None:
    """Carol had agreed: she is given back to the leg of Alice that she talked with."""
    lab = Lab("alice bob carol")
    lab.play(
        ATTENDED
        + """
        carol > 200 c1
        carol < ACK
        bob < reINVITE c1
        bob > 488
        bob < ACK
        alice < NOTIFY text:SIP/2.0 488 the parties could not be joined
        alice > 200
        carol < reINVITE a2
        carol > 200 c1
        carol < ACK
        alice.2 < reINVITE c1
        alice.2 > 200 a2
        alice.2 < ACK
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
        carol > BYE
        carol < 200 BYE
        alice.2 < BYE
        alice.2 > 200
    """
    )
    lab.end()


def test_target_hangs_up_meanwhile() -> None:
    """Before Bob agrees: Alice keeps Bob, and he is told her description again."""
    lab = Lab("alice bob carol")
    lab.play(
        ATTENDED
        + """
        carol > 200 c1
        carol < ACK
        bob < reINVITE c1
        carol > BYE
        carol < 200 BYE
        alice < NOTIFY text:SIP/2.0 480 the target hung up
        alice > 200
        alice.2 < BYE
        alice.2 > 200
        bob > 200 INVITE b1
        bob < ACK
        bob < reINVITE a1
        bob > 200 INVITE b1
        bob < ACK
        alice < reINVITE b1
        alice > 200 a1
        alice < ACK
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
    """
    )
    lab.end()
    closed = [line for line in lab.story() if line.startswith("closed")]
    assert closed == [
        "closed 200 normal/16 by callee @1000 talk 1000",
        "closed 200 normal/16 by caller @2000 talk 2000",
    ]


def test_transferee_hangs_up_meanwhile() -> None:
    """Carol goes back to Alice's other leg; Alice's leg to Bob ends."""
    lab = Lab("alice bob carol")
    lab.play(
        ATTENDED
        + """
        bob > BYE
        bob < 200 BYE
        alice < NOTIFY text:SIP/2.0 487 the transferee hung up
        alice > 200
        alice < BYE
        alice > 200
        carol > 200 INVITE c1
        carol < ACK
        carol < reINVITE a2
        carol > 200 INVITE c1
        carol < ACK
        alice.2 < reINVITE c1
        alice.2 > 200 a2
        alice.2 < ACK
        carol > BYE
        carol < 200 BYE
        alice.2 < BYE
        alice.2 > 200
    """
    )
    lab.end()
    closed = [line for line in lab.story() if line.startswith("closed")]
    assert closed == [
        "closed 200 normal/16 by callee @2000 talk 2000",
        "closed 200 normal/16 by callee @1000 talk 1000",
    ]


def test_all_hang_up_meanwhile() -> None:
    """Transferor and target leave before it is decided: the transferee is hung up, too."""
    lab = Lab("alice bob carol")
    lab.play(
        ATTENDED
        + """
        alice > BYE
        alice < 200 BYE
        alice.2 > BYE
        alice.2 < 200 BYE
        carol > BYE
        carol < 200 BYE
        alice < NOTIFY text:SIP/2.0 480 the target hung up
        alice > 200
        bob < BYE
        bob > 200
        carol > 487 INVITE
        carol < ACK
    """
    )
    lab.end()


def test_replaces_of_this_very_call() -> None:
    lab = Lab()
    lab.play(
        TALKING
        + """
        alice > REFER bob replaces=alice
        alice < 481
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
    """
    )
    lab.end()


def test_unknown_replaces() -> None:
    """A dialog that is not ours is for the target to judge: it gets the Replaces."""
    lab = Lab("alice bob carol")
    lab.play(TALKING)
    bob = lab.dialogs["bob"]
    refer = "Refer-To: <sip:carol@example.org?Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n"
    bob.phone.request(bob, "REFER", bob.target, refer)
    lab.play("""
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a1 | Replaces: x@y;to-tag=1;from-tag=2
        carol > 481
        carol < ACK
        bob < NOTIFY text:SIP/2.0 481 Whatever
        bob > 200
        bob > BYE
        bob < 200 BYE
        alice < BYE
        alice > 200
    """)
    lab.end()


def test_semi_attended() -> None:
    """The other call still rings: its target is dialled anew, without a Replaces it cannot know."""
    lab = Lab("alice bob carol")
    lab.play(
        TALKING
        + """
        alice.2 > INVITE carol a2
        carol < INVITE a2
        carol > 180
        alice.2 < 180
        alice > REFER carol replaces=alice.2
        alice < 202
        alice < NOTIFY text:SIP/2.0 100 Trying
        alice > 200
        carol.2 < INVITE b1 | !Replaces
        alice.2 > CANCEL
        alice.2 < 200 CANCEL
        alice.2 < 487
        carol < CANCEL
        carol > 200 CANCEL
        carol > 487 INVITE
        carol < ACK
        carol.2 > 200 c2
        carol.2 < ACK
        bob < reINVITE c2
        bob > 200 b1
        bob < ACK
        alice < NOTIFY text:SIP/2.0 200 OK
        alice > 200
        alice > BYE
        alice < 200 BYE
        bob > BYE
        bob < 200 BYE
        carol.2 < BYE
        carol.2 > 200
    """
    )
    lab.end()


def test_other_call_is_busy() -> None:
    """A call that is changed itself just now cannot be merged."""
    lab = Lab("alice bob carol")
    lab.play(
        CONSULTED
        + """
        carol > reINVITE c2
        alice.2 < reINVITE c2
        alice > REFER carol replaces=alice.2
        alice < 491
        alice.2 > 200 a2
        alice.2 < ACK
        carol < 200 a2
        carol > ACK
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
        carol > BYE
        carol < 200 BYE
        alice.2 < BYE
        alice.2 > 200
    """
    )
    lab.end()


def test_server_stops_during_a_transfer() -> None:
    """Every leg of both calls gets its BYE, once."""
    lab = Lab("alice bob carol")
    lab.play(ATTENDED)
    stopped: list[bool] = []
    lab.node.stop(lab.now, lambda: stopped.append(True))
    lab.pump()
    lab.play("""
        alice < NOTIFY text:SIP/2.0 487 the call ended
        alice > 200
        alice < BYE
        alice > 200
        bob < BYE
        bob > 200
        alice.2 < BYE
        alice.2 > 200
        carol < BYE
        carol > 200 BYE
        carol > 487 INVITE
        carol < ACK
    """)
    lab.end()
    assert stopped == [True]


def test_call_ends_while_the_old_pair_is_put_together_again() -> None:
    """Every media session of a call is closed, and told of, before the call is."""
    lab = Lab("alice bob carol", media=ScriptedMedia())
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        bob > 200 b1
        bob < ACK
        alice < 200 (b1)
        alice > ACK
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE (a1)
        carol > 200 c1
        carol < ACK
        alice < reINVITE (c1)
        carol > BYE
        carol < 200 BYE
        bob < NOTIFY text:SIP/2.0 480 the target hung up
        bob > 200
        alice > 200 a1
        alice < ACK
        bob < reINVITE (a1)
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200 BYE
        bob > 487 INVITE
        bob < ACK
    """)
    lab.end()
    assert lab.story()[-1] == "closed 200 normal/16 by caller"


def test_target_learns_who_comes_and_from_whom() -> None:
    """The transferee's name and proven address; Referred-By is the transferor's proven one, and
    not what its REFER claims (RFC 3892)."""
    lab = Lab("alice bob carol")
    lab.play(
        TALKING.replace("bob a1", 'bob a1 | From: "Alice A." <sip:alice@example.org>')
        + """
        bob > REFER carol | Referred-By: <sip:boss@example.org>
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a1 | From: "Alice A." <sip:alice@example.org>;tag=
        | Referred-By: <sip:bob@example.org> | P-Asserted-Identity: <sip:alice@example.org>
        carol > 486
        carol < ACK
        bob < NOTIFY text:SIP/2.0 486 Whatever
        bob > 200
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
    """
    )
    lab.end()


def test_anonymous_transferee_stays_anonymous() -> None:
    lab = Lab("alice bob carol")
    lab.play(
        TALKING.replace("bob a1", "bob a1 | Privacy: id")
        + """
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a1 | From: "Anonymous" <sip:anonymous@anonymous.invalid>
        | !P-Asserted-Identity
        carol > 486
        carol < ACK
        bob < NOTIFY text:SIP/2.0 486 Whatever
        bob > 200
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
    """
    )
    lab.end()


@pytest.mark.parametrize("answer", ["bob > 200", "bob > 481", "# nothing"])
def test_final_notify_after_the_bye(answer: str) -> None:
    """The implicit subscription outlives the session (RFC 5057 §4.1), not its own last NOTIFY."""
    lab = Lab("alice bob carol")
    lab.play(
        REFERRED
        + f"""
        bob > BYE
        bob < 200 BYE
        carol > 486
        carol < ACK
        bob < NOTIFY text:SIP/2.0 486 Whatever | Subscription-State: terminated
        {answer}
        alice < BYE
        alice > 200
    """
    )
    lab.end()


def test_reinvite_is_not_repeated_to_a_party_that_hung_up() -> None:
    """Its phone forgot the dialog with the BYE and answers nothing of it any more."""
    lab = Lab("alice bob")
    lab.play(
        TALKING
        + """
        alice > reINVITE a2
        bob < reINVITE a2
        bob > BYE
        bob < 200 BYE
        alice < BYE
        alice > 200
        alice < 487 INVITE
    """
    )
    before = lab.phones["bob"].repeats
    lab.advance(40.0)
    assert lab.phones["bob"].repeats == before
    lab.end()
