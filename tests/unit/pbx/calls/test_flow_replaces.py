"""INVITE with Replaces: a new caller takes the place of an answered party (RFC 3891)."""

from __future__ import annotations

from ipaddress import ip_network

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
END = """
    alice > BYE
    alice < 200 BYE
    bob < BYE
    bob > 200
"""


def test_takeover() -> None:
    """Dan takes Bob's place: Alice is re-offered, Bob gets BYE, both records are complete."""
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        +2
        dan > INVITE bob d1 replaces=bob
        alice < reINVITE d1
        +0.5
        alice > 200 a2
        alice < ACK
        dan < 200 a2
        dan > ACK
        bob < BYE | Reason: Q.850;cause=16;text="transferred"
        bob > 200
        +3
        dan > BYE
        dan < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()
    assert lab.story()[7:] == [
        "started dan to bob",
        lab.story()[8],
        "media 1",
        "moved alice @2500",
        "ended alice 200 normal/16 by server @2500 talk 2500",
        "created X alice @500",
        "answered alice @500",
        "moved alice @500",
        "answered dan @500",
        "talking dan alice @500",
        "bridged dan alice @500",
        "ended bob 200 normal/16 by server @2500 talk 2500",
        "closed 200 normal/16 by server @2500 talk 2500",
        "ended dan 200 normal/16 by caller @3500 talk 3000",
        "ended alice 200 normal/16 by caller @3500 talk 3000",
        "closed 200 normal/16 by caller @3500 talk 3000",
    ]
    assert lab.story()[8].startswith("decided replaces: leg ")


@pytest.mark.parametrize(
    ("replaces", "status"),
    [
        ("Replaces: unknown;to-tag=1;from-tag=2", 481),
        ("Replaces: unknown", 400),
    ],
)
def test_no_such_dialog(replaces: str, status: int) -> None:
    lab = Lab("alice bob dan")
    lab.play(f"""
        dan > INVITE bob d1 | {replaces}
        dan < {status}
    """)
    lab.end()


def test_early_only() -> None:
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        dan > INVITE bob d1 replaces=bob!
        dan < 486
        """
        + END
    )
    lab.end()
    assert "decided replaces: 486" in lab.story()


RINGING = """
    alice > INVITE bob a1
    bob < INVITE a1
    bob > 180
    alice < 180
"""
BOB_STOPS = """
    bob < CANCEL | Reason: SIP;cause=200;text="Call completed elsewhere"
    bob > 200 CANCEL
    bob > 487 INVITE
    bob < ACK
"""
ALICE_GOES_ON = """
    bob > 486
    bob < ACK
    alice < 486
"""


def test_pickup() -> None:
    """Dan takes the call that rings at Bob: an inactive answer first, then Alice's offer."""
    lab = Lab("alice bob dan")
    lab.add("mobile", "bob")
    lab.play(
        RINGING
        + """
        mobile < INVITE a1
        mobile > 180
        +1
        dan > INVITE bob d1 replaces=bob!
        dan < 200 :inactive
        dan > ACK
        dan < reINVITE a1
        dan > 200 d2
        dan < ACK
        alice < 200 d2
        alice > ACK
        """
        + BOB_STOPS
        + """
        mobile < CANCEL | Reason: SIP;cause=200
        mobile > 200 CANCEL
        mobile > 487 INVITE
        mobile < ACK
        +3
        dan > BYE
        dan < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()
    story = lab.story()
    assert [line for line in story if "decided" in line] == [
        "decided routing: 2 contacts",
        next(line for line in story if line.startswith("decided replaces: leg ")),
    ]
    assert story[8:] == [
        "started dan to bob",
        story[9],
        "media 1",
        "answered dan",
        "talking dan nobody",
        "media 2 @1000",
        "moved dan",
        "ended dan 200 normal/16 by server",
        "created X dan @1000",
        "answered dan @1000",
        "moved dan @1000",
        "ended bob 487 normal/16 by server @1000",
        "ended mobile 487 normal/16 by server @1000",
        "answered alice @1000",
        "talking alice dan @1000",
        "closed 200 normal/16 by server",
        "ended dan 200 normal/16 by callee @4000 talk 3000",
        "ended alice 200 normal/16 by callee @4000 talk 3000",
        "closed 200 normal/16 by callee @4000 talk 3000",
    ]


def test_pickup_counts_for_who_has_the_call() -> None:
    """Dan has his one call and Bob none, and afterwards nobody has any."""
    lab = Lab("alice bob dan erin")
    for name in ("bob", "dan"):
        lab.limit(name, 1)
    lab.play(
        RINGING
        + """
        dan > INVITE bob d1 replaces=bob
        dan < 200 :inactive
        dan > ACK
        dan < reINVITE a1
        dan > 200 d2
        dan < ACK
        alice < 200 d2
        alice > ACK
        """
        + BOB_STOPS
        + """
        erin > INVITE dan e1
        erin < 486
        erin.2 > INVITE bob e1
        bob.2 < INVITE e1
        bob.2 > 486
        bob.2 < ACK
        erin.2 < 486
        alice > BYE
        alice < 200 BYE
        dan < BYE
        dan > 200
    """
    )
    lab.end()


@pytest.mark.parametrize(
    ("ladder", "status"),
    [
        # The early dialog with the caller was begun by the caller.
        ("dan > INVITE bob d1 replaces=alice", 481),
        # Of another domain.
        ("eve > INVITE sip:bob@example.org d1 replaces=bob", 403),
        ("dan > INVITE bob - replaces=bob", 488),
    ],
)
def test_pickup_that_is_refused(ladder: str, status: int) -> None:
    lab = Lab("alice bob dan")
    lab.add_domain("other.example")
    lab.add("eve", domain="other.example")
    name = ladder.partition(" ")[0]
    lab.play(f"{RINGING}\n{ladder}\n{name} < {status}\n{ALICE_GOES_ON}")
    lab.end()


def test_trusted_source_picks_nothing_up() -> None:
    """It speaks for no account, so for no domain either."""
    lab = Lab("alice bob", client_ips=(ip_network("203.0.113.13"),))
    lab.add("gateway", "", bind=False)
    lab.play(RINGING + "gateway > INVITE bob d1 replaces=bob\ngateway < 403" + ALICE_GOES_ON)
    lab.end()


def test_pickup_of_a_late_offer() -> None:
    lab = Lab("alice bob dan")
    lab.play("""
        alice > INVITE bob
        bob < INVITE
        bob > 180
        alice < 180
        dan > INVITE bob d1 replaces=bob
        dan < 488
        bob > 486
        bob < ACK
        alice < 486
    """)
    lab.end()


PICKING = (
    RINGING
    + """
    dan > INVITE bob d1 replaces=bob
    dan < 200 :inactive
    dan > ACK
    dan < reINVITE a1
"""
)
DAN_IS_SENT_AWAY = """
    dan < BYE
    dan > 200
"""


def test_who_rings_answers_first() -> None:
    lab = Lab("alice bob dan")
    lab.play(
        PICKING
        + """
        bob > 200 b1
        bob < ACK
        alice < 200 b1
        alice > ACK
        dan > 200 d2
        dan < ACK
        """
        + DAN_IS_SENT_AWAY
        + END
    )
    lab.end()


def test_second_picker_is_refused() -> None:
    lab = Lab("alice bob dan erin")
    lab.play(
        PICKING
        + """
        erin > INVITE bob e1 replaces=bob
        erin < 491
        dan > 200 d2
        dan < ACK
        alice < 200 d2
        alice > ACK
        """
        + BOB_STOPS
        + """
        alice > BYE
        alice < 200 BYE
        dan < BYE
        dan > 200
    """
    )
    lab.end()


def test_picker_refuses_the_callers_description() -> None:
    """Bob goes on ringing."""
    lab = Lab("alice bob dan")
    lab.play(PICKING + "dan > 488\ndan < ACK" + DAN_IS_SENT_AWAY + ALICE_GOES_ON)
    lab.end()


def test_picker_hangs_up_at_once() -> None:
    lab = Lab("alice bob dan")
    lab.play(PICKING + "dan > BYE\ndan < 200 BYE" + ALICE_GOES_ON)
    lab.end()


def test_picker_never_acknowledges() -> None:
    lab = Lab("alice bob dan")
    lab.play(
        RINGING
        + """
        dan > INVITE bob d1 replaces=bob
        dan < 200 :inactive
        +33
        dan < BYE
        dan > 200
        """
        + ALICE_GOES_ON
    )
    lab.end()


def test_caller_gives_up_while_somebody_picks_up() -> None:
    lab = Lab("alice bob dan")
    lab.play(
        PICKING
        + """
        alice > CANCEL
        alice < 200 CANCEL
        alice < 487
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
        """
        + DAN_IS_SENT_AWAY
    )
    lab.end()


def test_server_stops_while_somebody_picks_up() -> None:
    lab = Lab("alice bob dan")
    lab.play(PICKING)
    lab.node.stop(lab.now, lambda: None)
    lab.pump()
    lab.play(
        """
        alice < 503
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
        """
        + DAN_IS_SENT_AWAY
    )
    lab.end()


def test_picked_up_call_whose_answer_the_media_service_refuses() -> None:
    media = ScriptedMedia()
    lab = Lab("alice bob dan", media=media)
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE (a1)
        bob > 180
        alice < 180
        dan > INVITE bob d1 replaces=bob
        dan < 200 :inactive
        dan > ACK
        dan < reINVITE (a1)
        media fail no room
        dan > 200 d2
        dan < ACK
        alice < 500
        dan < BYE
        dan > 200
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
    """)
    lab.end()


REFERRED_PICKUP = (
    """
    dan > INVITE erin d1
    erin < INVITE d1
    erin > 200 e1
    erin < ACK
    dan < 200 e1
    dan > ACK
"""
    + RINGING
)


def test_refer_to_a_dialog_that_rings() -> None:
    """Dan gives Erin the call that rings at Bob."""
    lab = Lab("alice bob dan erin")
    lab.play(
        REFERRED_PICKUP
        + """
        dan > REFER bob replaces=bob
        dan < 202
        dan < NOTIFY text:SIP/2.0 100 Trying
        dan > 200
        erin < reINVITE a1
        erin > 200 e2
        erin < ACK
        alice < 200 e2
        alice > ACK
        dan < NOTIFY text:SIP/2.0 200 OK | Subscription-State: terminated
        dan > 200
        dan < BYE
        dan > 200
        """
        + BOB_STOPS
        + """
        erin > BYE
        erin < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()


def test_refer_to_a_dialog_that_rings_in_vain() -> None:
    """Bob is faster: Dan and Erin go on, with what they had agreed on."""
    lab = Lab("alice bob dan erin")
    lab.play(
        REFERRED_PICKUP
        + """
        dan > REFER bob replaces=bob
        dan < 202
        dan < NOTIFY text:SIP/2.0 100 Trying
        dan > 200
        erin < reINVITE a1
        bob > 200 b1
        bob < ACK
        alice < 200 b1
        alice > ACK
        erin > 200 e2
        erin < ACK
        dan < NOTIFY text:SIP/2.0 481 somebody else was faster
        dan > 200
        erin < reINVITE d1
        erin > 200 e1
        erin < ACK
        dan < reINVITE e1
        dan > 200 d1
        dan < ACK
        dan > BYE
        dan < 200 BYE
        erin < BYE
        erin > 200
        """
        + END
    )
    lab.end()


def test_transferor_leaves_while_its_peer_picks_up() -> None:
    lab = Lab("alice bob dan erin")
    lab.play(
        REFERRED_PICKUP
        + """
        dan > REFER bob replaces=bob
        dan < 202
        dan < NOTIFY text:SIP/2.0 100 Trying
        dan > 200
        erin < reINVITE a1
        dan > BYE
        dan < 200 BYE
        erin > 200 e2
        erin < ACK
        alice < 200 e2
        alice > ACK
        dan < NOTIFY text:SIP/2.0 200 OK
        dan > 200
        """
        + BOB_STOPS
        + """
        alice > BYE
        alice < 200 BYE
        erin < BYE
        erin > 200
    """
    )
    lab.end()


def test_refer_of_a_stranger_to_a_dialog_that_rings() -> None:
    """Rights are those of the account whose leg refers; an outside callee has none."""
    lab = Lab("alice bob dan")
    lab.add("out")
    lab.outside["outside.example"] = "out"
    lab.play(
        """
        dan > INVITE sip:out@outside.example d1
        out < INVITE d1
        out > 200 o1
        out < ACK
        dan < 200 o1
        dan > ACK
        """
        + RINGING
        + """
        out > REFER bob replaces=bob
        out < 403
        dan > BYE
        dan < 200 BYE
        out < BYE
        out > 200
        """
        + ALICE_GOES_ON
    )
    lab.end()


def test_target_of_a_transfer_rings_and_a_neighbour_takes_the_call() -> None:
    lab = Lab("alice bob carol dan")
    lab.play(
        TALKING
        + """
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a1
        carol > 180
        bob < NOTIFY text:SIP/2.0 180 Whatever
        bob > 200
        dan > INVITE carol d1 replaces=carol
        dan < 200 :inactive
        dan > ACK
        dan < reINVITE a1
        dan > 200 d2
        dan < ACK
        carol < CANCEL | Reason: SIP;cause=200
        carol > 200 CANCEL
        carol > 487 INVITE
        carol < ACK
        alice < reINVITE d2
        alice > 200 a1
        alice < ACK
        bob < NOTIFY text:SIP/2.0 200 OK
        bob > 200
        bob > BYE
        bob < 200 BYE
        dan > BYE
        dan < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()


def test_dialog_that_is_over() -> None:
    """While its BYE is on the way: 603 (RFC 3891 §3)."""
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        alice > BYE
        alice < 200 BYE
        bob < BYE
        dan > INVITE bob d1 replaces=bob
        dan < 603
        bob > 200
    """
    )
    lab.end()


def test_unproven_callers_take_nothing_over() -> None:
    """Without credentials: 401; a stranger that may call accounts of ours still gets 403."""
    lab = Lab("alice bob", outside_calls=True)
    lab.add("out")
    lab.play(
        TALKING
        + """
        out > INVITE bob o1 replaces=bob
        out < 403
        """
        + END
    )
    lab.end()
    lab = Lab("alice bob")
    lab.add("out")
    lab.play(
        TALKING
        + """
        out > INVITE bob o1 replaces=bob raw
        out < 401
        """
        + END
    )
    lab.end()


def test_without_description() -> None:
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        dan > INVITE bob - replaces=bob
        dan < 488
        """
        + END
    )
    lab.end()


def test_call_that_changes_just_now() -> None:
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        alice > reINVITE a2
        bob < reINVITE a2
        dan > INVITE bob d1 replaces=bob
        dan < 491
        bob > 200 b2
        bob < ACK
        alice < 200 b2
        alice > ACK
        """
        + END
    )
    lab.end()


def test_limit_of_the_new_caller() -> None:
    lab = Lab("alice bob dan")
    lab.limit("dan", 0)
    lab.play(
        TALKING
        + """
        dan > INVITE bob d1 replaces=bob
        dan < 403
        """
        + END
    )
    lab.end()


def test_other_party_refuses() -> None:
    """The old call goes on untouched."""
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        dan > INVITE bob d1 replaces=bob
        alice < reINVITE d1
        alice > 488
        alice < ACK
        dan < 488
        """
        + END
    )
    lab.end()


@pytest.mark.parametrize("requests", [1, 2])
def test_service_refuses(requests: int) -> None:
    """At the offer nothing has happened; at the answer Alice is told of Bob again."""
    lab = Lab("alice bob dan", media=ScriptedMedia())
    lab.play(
        TALKING.replace("INVITE a1", "INVITE (a1)").replace("alice < 200 b1", "alice < 200 (b1)")
    )
    if requests == 1:
        lab.play("""
            media fail no
            dan > INVITE bob d1 replaces=bob
            dan < 500
        """)
    else:
        lab.play("""
            dan > INVITE bob d1 replaces=bob
            alice < reINVITE (d1)
            media fail no
            alice > 200 a2
            alice < ACK
            dan < 500
            bob < reINVITE (a2)
            bob > 200 b1
            bob < ACK
            alice < reINVITE (b1)
            alice > 200 a2
            alice < ACK
        """)
    lab.play(END)
    lab.end()


def test_new_caller_gives_up() -> None:
    """Alice may have agreed to Dan already: once she has answered she is given back to Bob."""
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        dan > INVITE bob d1 replaces=bob
        alice < reINVITE d1
        dan > CANCEL
        dan < 200 CANCEL
        dan < 487 INVITE
        alice > 200 a2
        alice < ACK
        bob < reINVITE a1
        bob > 200 b1
        bob < ACK
        alice < reINVITE b1
        alice > 200 a1
        alice < ACK
        """
        + END
    )
    lab.end()


def test_replaced_party_hangs_up_meanwhile() -> None:
    """It was to go anyway."""
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        dan > INVITE bob d1 replaces=bob
        alice < reINVITE d1
        bob > BYE
        bob < 200 BYE
        alice > 200 a2
        alice < ACK
        dan < 200 a2
        dan > ACK
        dan > BYE
        dan < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()


def test_replaced_party_hangs_up_and_it_fails() -> None:
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        dan > INVITE bob d1 replaces=bob
        alice < reINVITE d1
        bob > BYE
        bob < 200 BYE
        alice > 488
        alice < ACK
        dan < 488
        alice < BYE
        alice > 200
    """
    )
    lab.end()
    assert lab.story()[-1] == "closed 200 normal/16 by callee"


def test_remaining_party_hangs_up_meanwhile() -> None:
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        dan > INVITE bob d1 replaces=bob
        alice < reINVITE d1
        alice > BYE
        alice < 200 BYE
        dan < 480
        bob < BYE
        bob > 200
        alice > 487 INVITE
        alice < ACK
    """
    )
    lab.end()
    assert lab.story()[-1] == "closed 200 normal/16 by caller"


def test_server_stops_meanwhile() -> None:
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        dan > INVITE bob d1 replaces=bob
        alice < reINVITE d1
    """
    )
    stopped: list[bool] = []
    lab.node.stop(lab.now, lambda: stopped.append(True))
    lab.pump()
    lab.play("""
        dan < 480
        alice < BYE
        alice > 200 BYE
        alice > 487 INVITE
        alice < ACK
        bob < BYE
        bob > 200
    """)
    lab.end()
    assert stopped == [True]


def test_refer_in_a_call_that_is_taken_over() -> None:
    lab = Lab("alice bob dan")
    lab.play(
        TALKING
        + """
        dan > INVITE bob d1 replaces=bob
        alice < reINVITE d1
        bob > REFER dan
        bob < 491
        bob > reINVITE b4
        bob < 491
        alice > 200 a2
        alice < ACK
        dan < 200 a2
        dan > ACK
        bob < BYE
        bob > 200
        dan > REFER bob
        dan < 202
        dan < NOTIFY text:SIP/2.0 100 Trying
        dan > 200
        bob.2 < INVITE a2
        bob.2 > 486
        bob.2 < ACK
        dan < NOTIFY text:SIP/2.0 486 Whatever
        dan > 200
        dan > BYE
        dan < 200 BYE
        alice < BYE
        alice > 200
    """
    )
    lab.end()
