"""INVITE with Replaces: a new caller takes the place of an answered party (RFC 3891)."""

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


def test_early_dialog_is_not_ours_to_replace() -> None:
    lab = Lab("alice bob dan")
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 180
        alice < 180
        dan > INVITE bob d1 replaces=bob
        dan < 481
        bob > 486
        bob < ACK
        alice < 486
    """)
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
