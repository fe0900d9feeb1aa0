"""Forking to several contacts: groups by q, winners, losers, redirects."""

from __future__ import annotations

import pytest

from tests.unit.pbx.calls.lab import Lab

#: Three devices of bob: two ring first, the mobile later.
FORK = """
    alice > INVITE bob a1
    desk < INVITE a1
    soft < INVITE a1
    desk > 180
    alice < 180
    soft > 180
"""


def _lab() -> Lab:
    lab = Lab("alice")
    lab.add("desk", "bob")
    lab.add("soft", "bob")
    lab.add("mobile", "bob", q=0.5)
    return lab


def test_winner_takes_it() -> None:
    """The first 200 wins; the others learn that it was answered elsewhere (RFC 3326)."""
    lab = _lab()
    lab.play(
        FORK
        + """
        +3
        soft > 200 b2
        soft < ACK
        desk < CANCEL | Reason: SIP;cause=200;text="Call completed elsewhere"
        desk > 200 CANCEL
        desk > 487 INVITE
        desk < ACK
        alice < 200 b2
        alice > ACK
        alice > BYE
        alice < 200 BYE
        soft < BYE
        soft > 200
    """
    )
    lab.end("""
        started alice to bob
        decided routing: 3 contacts
        media 1
        created B desk
        created B soft
        ringing desk 180
        ringing alice 180
        ringing soft 180
        answered soft @3000
        ended desk 487 normal/16 by server @3000
        answered alice @3000
        talking alice soft @3000
        ended alice 200 normal/16 by caller @3000
        ended soft 200 normal/16 by caller @3000
        closed 200 normal/16 by caller @3000
    """)


def test_two_answer_at_once() -> None:
    """The second 200 crosses its CANCEL: ACK and BYE."""
    lab = _lab()
    lab.play(
        FORK
        + """
        desk > 200 b1
        desk < ACK
        soft > 200 b2
        soft < CANCEL
        soft > 481 CANCEL
        soft < ACK
        soft < BYE
        soft > 200 BYE
        alice < 200 b1
        alice > ACK
        alice > BYE
        alice < 200 BYE
        desk < BYE
        desk > 200
    """
    )
    lab.end()
    assert "ended soft 487 normal/16 by server" in lab.story()


def test_next_group_and_best_answer() -> None:
    """A lower q is tried when all of the higher have failed; 486 beats 404 that came later."""
    lab = _lab()
    lab.play(
        FORK
        + """
        desk > 486
        desk < ACK
        soft > 404
        soft < ACK
        mobile < INVITE a1
        mobile > 503
        mobile < ACK
        alice < 486
    """
    )
    lab.end("""
        started alice to bob
        decided routing: 3 contacts
        media 1
        created B desk
        created B soft
        ringing desk 180
        ringing alice 180
        ringing soft 180
        ended desk 486 busy/17 by callee
        ended soft 404 reject/1 by callee
        created B mobile
        ended mobile 503 error/41 by callee
        ended alice 486 busy/17 by callee
        closed 486 busy/17 by callee
    """)


def test_decline_stops_the_fork() -> None:
    """6xx: nobody else of this callee rings any more (RFC 3261 §16.7 step 5)."""
    lab = _lab()
    lab.play(
        FORK
        + """
        desk > 603
        desk < ACK
        soft < CANCEL
        soft > 200 CANCEL
        soft > 487 INVITE
        soft < ACK
        alice < 603
    """
    )
    lab.end()
    assert lab.story()[-3:] == [
        "ended soft 487 cancel/16 by callee",
        "ended alice 603 reject/21 by callee",
        "closed 603 reject/21 by callee",
    ]


def test_one_is_busy_the_other_rings_out() -> None:
    """A real answer beats our own time-out (RFC 3261 §16.7 step 6)."""
    lab = _lab()
    lab.play(
        FORK
        + """
        desk > 486
        desk < ACK
        +180
        soft < CANCEL
        alice < 486
        soft > 200 CANCEL
        soft > 487 INVITE
        soft < ACK
    """
    )
    lab.end()
    assert lab.story()[-3:] == [
        "ended soft 480 noanswer/19 by server @180000",
        "ended alice 486 busy/17 by callee @180000",
        "closed 486 busy/17 by callee @180000",
    ]


def test_not_more_branches_than_allowed() -> None:
    lab = Lab("alice", max_branches=1)
    lab.add("desk", "bob")
    lab.add("soft", "bob")
    lab.play("""
        alice > INVITE bob a1
        desk < INVITE a1
        desk > 486
        desk < ACK
        alice < 486
    """)
    lab.end()


def test_redirect_is_followed_for_the_redirector() -> None:
    """302: in the name of the account that sent it; Diversion and History-Info tell the story."""
    lab = Lab("alice bob carol")
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1 | !Diversion
        bob > 302 | Contact: <sip:carol@example.org>
        bob < ACK
        carol < INVITE a1 | Request-URI: sip:carol@203.0.113.13 | To: <sip:bob@example.org>
        | Diversion: <sip:bob@example.org>;reason=unconditional;counter=1
        | History-Info: <sip:bob@example.org?Reason=SIP%3Bcause%3D302>;index=1,
        | , <sip:carol@example.org>;index=1.1;mp=1
        carol > 486
        carol < ACK
        alice < 486
    """)
    lab.end("""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B bob
        ended bob 302 reject/41 by callee
        decided redirect: sip:carol@example.org
        created B carol redirected by bob@example.org
        ended carol 486 busy/17 by callee
        ended alice 486 busy/17 by callee
        closed 486 busy/17 by callee
    """)


def test_redirect_after_ringing_is_a_deflection() -> None:
    lab = Lab("alice bob carol")
    lab.play("""
        alice > INVITE bob a1 | Diversion: <sip:first@example.org>;reason=user-busy;counter=2
        bob < INVITE a1
        bob > 180
        alice < 180
        bob > 302 | Contact: <sip:carol@example.org>
        bob < ACK
        carol < INVITE a1 | Diversion: <sip:bob@example.org>;reason=deflection;counter=1
        | Diversion: <sip:first@example.org>;reason=user-busy;counter=2
        carol > 486
        carol < ACK
        alice < 486
    """)
    lab.end()


def test_redirects_end() -> None:
    """A phone that redirects to itself is not followed for ever."""
    lab = Lab("alice bob", max_redirects=5)
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | Contact: <sip:bob@example.org>
        bob < ACK
        bob.2 < INVITE a1
        bob.2 > 302 | Contact: <sip:bob@example.org>
        bob.2 < ACK
        bob.3 < INVITE a1
        bob.3 > 302 | Contact: <sip:bob@example.org>
        bob.3 < ACK
        bob.4 < INVITE a1
        bob.4 > 302 | Contact: <sip:bob@example.org>
        bob.4 < ACK
        bob.5 < INVITE a1
        bob.5 > 302 | Contact: <sip:bob@example.org>
        bob.5 < ACK
        bob.6 < INVITE a1
        bob.6 > 302 | Contact: <sip:bob@example.org>
        bob.6 < ACK
        alice < 480
    """)
    lab.end()


def test_redirect_to_the_outside() -> None:
    """Our account may have its calls sent outside; it pays, so no identity of ours is told."""
    lab = Lab("alice bob")
    lab.add("out")
    lab.outside["outside.example"] = "out"
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | Contact: <sip:out@outside.example>
        bob < ACK
        out < INVITE a1 | Request-URI: sip:out@outside.example | !P-Asserted-Identity
        out > 302 | Contact: <sip:alice@example.org>
        out < ACK
        alice < 480
    """)
    lab.end()


@pytest.mark.parametrize(
    "contact",
    [
        "Contact: <sip:",
        "Contact: *",
        "Contact: <tel:123>",
        "Contact: <sip:none@example.org>",
        "X: y",
    ],
)
def test_redirect_to_nowhere(contact: str) -> None:
    """A Contact that cannot be read or reached: the redirect is the callee's failure."""
    lab = Lab()
    lab.play(f"""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | {contact}
        bob < ACK
        alice < 480
    """)
    lab.end()


def test_nobody_can_be_reached() -> None:
    """A name that does not resolve."""
    lab = Lab("alice")
    lab.play("""
        alice > INVITE sip:x@nowhere.example a1
        alice < 500
    """)
    lab.end()
    assert lab.story()[-1] == "closed 500 error/41 by server"


def test_a_device_whose_connection_is_gone_is_as_good_as_not_registered() -> None:
    """RFC 5626 §5.3: 480 for the caller; the log says what happened."""
    lab = Lab("alice bob")
    lab.cut_off.add(lab.phones["bob"].host)
    lab.play("""
        alice > INVITE bob a1
        alice < 480
        alice.2 > MESSAGE bob text:hello
        alice.2 < 480
    """)
    lab.end("""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B nobody
        ended nobody 503 error/41 by server
        ended alice 480 noanswer/18 by server
        closed 480 noanswer/18 by server
    """)


@pytest.mark.parametrize(("answer", "told"), [(486, 486), (500, 500), (503, 500)])
def test_what_a_device_says_counts_more_than_a_lost_connection(answer: int, told: int) -> None:
    lab = Lab("alice bob")
    lab.add("mobile", "bob")
    lab.cut_off.add(lab.phones["bob"].host)
    lab.play(f"""
        alice > INVITE bob a1
        mobile < INVITE a1
        mobile > {answer}
        mobile < ACK
        alice < {told}
    """)
    lab.end()


def test_contacts_of_a_redirect_ring_by_their_preference() -> None:
    """RFC 3261 §8.1.3.4: highest q first, equal ones at once; then the others of the fork."""
    lab = Lab("alice bob carol dan erin")
    lab.add("slow", "bob", q=0.3)
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | Contact: <sip:dan@example.org>;q=0.2, <sip:carol@example.org>;q=0.9
        | Contact: <sip:erin@example.org>;q=0.9
        bob < ACK
        carol < INVITE a1
        erin < INVITE a1
        carol > 486
        carol < ACK
        erin > 486
        erin < ACK
        dan < INVITE a1
        dan > 486
        dan < ACK
        slow < INVITE a1
        slow > 486
        slow < ACK
        alice < 486
    """)
    lab.end()


def test_who_is_later_in_a_redirect_is_not_busy_before_its_turn() -> None:
    """The limit of calls is taken when the phone is tried, and what it refuses is told."""
    lab = Lab("alice bob carol dan erin")
    lab.limit("carol", 1)
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | Contact: <sip:carol@example.org>;q=0.1, <sip:dan@example.org>;q=x
        bob < ACK
        dan < INVITE a1
        erin > INVITE carol e1
        carol < INVITE e1
        dan > 404
        dan < ACK
        alice < 404
        carol > 486
        carol < ACK
        erin < 486
    """)
    lab.end()
    assert "decided limit: refused" in lab.story()
