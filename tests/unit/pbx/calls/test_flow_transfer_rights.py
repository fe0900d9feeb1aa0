"""Blind transfers and redirects by rights: whose account it is, rules of the target, toll fraud."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import pairwise
from typing import Any

import pytest

from pbx.calls.scope import MAX_DEPTH
from pbx.domain.calls import CallDecided, CallRouted, CallTransferred, LegCreated, RulesEvaluated
from pbx.domain.objects import GroupCreated, GroupSet
from tests.unit.pbx.calls.phone import DOMAIN
from tests.unit.pbx.calls.test_flow_classes import FOREIGN, Office
from tests.unit.pbx.calls.test_flow_rules import also, rule, to, with_engine
from tests.unit.pbx.calls.test_flow_transfer import SUCCESS, TALKING

SOME_RULE = rule(305, "never", ("Reject with", "486"), when=[("From", "is", "nobody@nowhere")])
END = """
    bob > BYE
    bob < 200 BYE
    alice < BYE
    alice > 200
"""


def refer(who: str, target: str, told: str) -> str:
    """REFER, taken and come to nothing without anybody being called."""
    return f"""
        {who} > REFER {target}
        {who} < 202
        {who} < NOTIFY text:SIP/2.0 100 Trying
        {who} > 200
        {who} < NOTIFY text:SIP/2.0 {told} | Subscription-State: terminated
        {who} > 200
    """


def last_reason(office: Office, step: str) -> str:
    reasons: list[str] = [e.reason for e in office.log.of(CallDecided) if e.step == step]
    return reasons[-1]


@pytest.mark.parametrize("rules", [False, True])
def test_a_transfer_is_within_the_class_of_the_transferor(rules: bool) -> None:
    office = Office()
    if rules:
        office.rules("server", SOME_RULE)
    office.settings("bob", CallOutAllowed=["internal"])
    office.settings("alice", CallOutAllowed="All")
    office.play(TALKING + refer("bob", FOREIGN, "403 Forbidden") + END)
    office.end()
    told = office.log.of(CallRouted)
    assert any("may not call international" in event.reason for event in told)
    assert [leg.role for leg in office.log.of(LegCreated)].count("X") == 0


def test_a_transfer_counts_among_the_calls_made() -> None:
    office = Office()
    office.settings("bob", CallOutFlow=["0", "60"])
    office.play(TALKING + refer("bob", FOREIGN, "403 Forbidden") + END)
    assert "CallOutFlow" in last_reason(office, "limit")
    office.end()


def test_help_may_be_fetched_by_a_transfer() -> None:
    """No class, limit or rule of the transferor stands in its way; nor the target's limit."""
    office = Office()
    office.add("help", "112")
    office.limit("112", 0)
    office.settings("bob", CallOutAllowed="None", CallOutFlow=["0", "60"])
    office.rules("server", rule(100010, "nothing", ("Reject with", "603"),
                                when=[("RequestURI", "is", "*112*")]))  # fmt: skip
    office.play(
        TALKING
        + """
        bob > REFER 112
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        help < INVITE a1
        help > 486
        help < ACK
        bob < NOTIFY text:SIP/2.0 486 Whatever
        bob > 200
        """
        + END
    )
    office.end()


def test_rules_of_the_target_hold() -> None:
    """Forwarded when busy, for the transferee; the call records say who redirected."""
    office = Office("alice bob carol dave")
    office.rules("carol", rule(305, "busy", to("dave")))
    office.play(
        TALKING
        + """
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a1 | Referred-By: <sip:bob@example.org>
        carol > 486
        carol < ACK
        dave < INVITE a1 | From: <sip:alice@example.org>
        | Diversion: <sip:carol@example.org>;reason=user-busy;counter=1
        dave > 180
        bob < NOTIFY text:SIP/2.0 180 Whatever
        bob > 200
        dave > 200 c1
        dave < ACK
        alice < reINVITE c1
        alice > 200 a1
        alice < ACK
        """
        + SUCCESS
        + """
        bob > BYE
        bob < 200 BYE
        alice > BYE
        alice < 200 BYE
        dave < BYE
        dave > 200
        """
    )
    office.end()
    (evaluated,) = office.log.of(RulesEvaluated)
    assert (evaluated.account, evaluated.stage) == (f"carol@{DOMAIN}", "busy")
    (outcome,) = office.log.of(CallTransferred)
    assert outcome.status == 200
    assert office.log.of(LegCreated)[-1].redirector == f"carol@{DOMAIN}"


def test_conditions_see_the_transferee_with_the_rights_of_the_transferor() -> None:
    office = Office("alice bob carol")
    office.rules(
        "carol",
        rule(100005, "seen", ("Reject with", "603 No"), when=[
            ("From", "is", f"alice@{DOMAIN}"), ("Authenticated", "is", f"bob@{DOMAIN}"),
            ("Submit Address", "is", f"SIP [{office.phones['alice'].host}]"),
            ("RequestURI", "is", f"sip:carol@{DOMAIN}"), ("CallType", "is", "AV"),
            ("ReqField", "is", "Referred-By: *bob*"),
        ]),
    )  # fmt: skip
    office.play(TALKING + refer("bob", "carol", "603 No") + END)
    office.end()


def test_limits_of_who_was_tried_are_given_back() -> None:
    """After a transfer that failed nobody of it counts the call any more."""
    office = Office("alice bob carol dave")
    for name in ("carol", "dave"):
        office.limit(name, 1)
    office.node.configured(f"group/g@{DOMAIN}", GroupCreated(name="g", domain=DOMAIN))
    office.node.configured(f"group/g@{DOMAIN}", GroupSet(members=("carol", "dave")))
    for rules in ((), (SOME_RULE,)):
        office.rules("server", *rules)
        suffix = ".2" if rules else ""
        ladder = TALKING if not rules else ""
        office.play(
            ladder
            + f"""
            bob > REFER g
            bob < 202
            bob < NOTIFY text:SIP/2.0 100 Trying
            bob > 200
            carol{suffix} < INVITE a1
            dave{suffix} < INVITE a1
            carol{suffix} > 486
            carol{suffix} < ACK
            dave{suffix} > 486
            dave{suffix} < ACK
            bob < NOTIFY text:SIP/2.0 486 Whatever
            bob > 200
            """
        )
        assert office.node.limits.active(f"carol@{DOMAIN}") == 0
        assert office.node.limits.active(f"bob@{DOMAIN}") == 1
    office.play(END)
    office.end()


def test_of_a_group_only_who_answers_counts_on() -> None:
    office = Office("alice bob carol dave")
    office.node.configured(f"group/g@{DOMAIN}", GroupCreated(name="g", domain=DOMAIN))
    office.node.configured(f"group/g@{DOMAIN}", GroupSet(members=("carol", "dave")))
    office.play(
        TALKING
        + """
        bob > REFER g
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a1
        dave < INVITE a1
        dave > 100
        carol > 200 c1
        carol < ACK
        dave < CANCEL
        dave > 200 CANCEL
        dave > 487 INVITE
        dave < ACK
        """
    )
    active = office.node.limits.active
    assert (active(f"carol@{DOMAIN}"), active(f"dave@{DOMAIN}")) == (1, 0)


def test_an_application_takes_a_transferred_call() -> None:
    office = Office("alice bob carol")
    office.add("pbx", "pbx", bind=False)
    engine = with_engine(office)
    office.rules("carol", rule(100005, "mail", to("#voicemail")))
    office.play(
        TALKING
        + """
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        """
    )
    (branch,) = engine.branches
    assert engine.started[0].text == f"voicemail#carol@{DOMAIN}"
    assert branch.account == f"bob@{DOMAIN}"
    branch.failed(486, "full", office.now)
    office.pump()
    office.play("""
        bob < NOTIFY text:SIP/2.0 486 Busy Here
        bob > 200
    """)
    office.play(END)
    office.end()


def test_rules_that_lead_back_end() -> None:
    """carol -> dave -> carol: 482 for the transferor, not a circle."""
    office = Office("alice bob carol dave")
    office.rules("carol", rule(100005, "to dave", to("dave")))
    office.rules("dave", rule(100005, "to carol", to("carol")))
    office.play(TALKING + refer("bob", "carol", "482 Loop Detected") + END)
    office.end()


def test_the_transferee_hangs_up_while_rules_are_about() -> None:
    office = Office("alice bob carol dave")
    office.rules("carol", rule(99005, "also", also("dave")))
    office.play(
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
        +10
        dave < INVITE a1
        alice > BYE
        alice < 200 BYE
        dave > 100
        carol < CANCEL
        carol > 200 CANCEL
        carol > 487 INVITE
        carol < ACK
        dave < CANCEL
        dave > 200 CANCEL
        dave > 487 INVITE
        dave < ACK
        bob < NOTIFY text:SIP/2.0 487 the transferee hung up
        bob > 200
        bob < BYE
        bob > 200
        """
    )
    office.end()


# Toll fraud.


@pytest.mark.parametrize("rules", [False, True])
@pytest.mark.parametrize("trusted", [False, True])
def test_an_outside_caller_cannot_make_us_dial_out(rules: bool, trusted: bool) -> None:
    """Not by REFER to a number, to another server, through the gateway program; a gateway that is
    trusted to call in is not trusted to send its peer out (Telephony reference §26.10)."""
    config: dict[str, Any] = {"client_ips": (ip_network("203.0.113.66"),)} if trusted else {}
    office = Office("bob", outside_calls=True, **config)
    office.add("pbx", "pbx", bind=False)
    engine = with_engine(office)
    office.add("out", host="203.0.113.66", bind=False)
    if rules:
        office.rules("server", SOME_RULE)
    office.play("""
        out > INVITE bob o1 raw
        bob < INVITE o1
        bob > 200 b1
        bob < ACK
        out < 200 b1
        out > ACK
    """)
    for target in (FOREIGN, "sip:rich@trunk.example", "sip:+19001234567@trunk.example"):
        office.play(refer("out", target, "403 Forbidden"))
    office.play("""
        out > REFER sip:5551234@pstn
        out < 202
        out < NOTIFY text:SIP/2.0 100 Trying
        out > 200
        out < NOTIFY text:SIP/2.0 480 Temporarily Unavailable
        out > 200
        out > BYE
        out < 200 BYE
        bob < BYE
        bob > 200
    """)
    assert engine.started == []
    assert [leg for leg in office.log.of(LegCreated) if leg.role == "X"] == []
    office.end()


@pytest.mark.parametrize("rules", [False, True])
def test_a_3xx_from_outside_is_not_followed(rules: bool) -> None:
    """Whoever we call outside cannot have us call somebody else, not even inside."""
    office = Office()
    if rules:
        office.rules("server", SOME_RULE)
    office.settings("alice", CallOutAllowed="All")
    for contact in ("sip:+19001234567@trunk.example", "sip:bob@example.org", FOREIGN):
        uri = contact if ":" in contact else f"sip:{contact}@{DOMAIN}"
        office._calls += 1
        name, there = f"alice.{office._calls}", f"gw.{office._calls}"
        office.play(f"""
            {name} > INVITE {FOREIGN} a1
            {there} < INVITE a1
            {there} > 302 | Contact: <{uri}>
            {there} < ACK
            {name} < 480
        """)
    office.end()


def test_a_phone_cannot_send_calls_to_help() -> None:
    office = Office()
    office.add("help", "112")
    office.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | Contact: <sip:112@example.org>
        bob < ACK
        alice < 480
    """)
    assert "no call is sent to emergency numbers" in last_reason(office, "redirect")
    office.end()


# Redirects under rules.


def test_rules_of_whom_a_phone_redirects_to() -> None:
    """302 to carol, who is forwarded to dave: each in the name of who sent the call on."""
    office = Office("alice bob carol dave")
    office.rules("carol", rule(100005, "away", to("dave")))
    office.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | Contact: <sip:carol@example.org>
        bob < ACK
        dave < INVITE a1 | Diversion: <sip:carol@example.org>;reason=unconditional;counter=1
        | Diversion: <sip:bob@example.org>;reason=unconditional;counter=1
        dave > 486
        dave < ACK
        alice < 486
    """)
    office.end()


def test_a_busy_stage_after_a_redirect() -> None:
    """Nobody there took it: the rules of the redirecting account go on with what happened there."""
    office = Office("alice bob carol dave")
    office.rules("carol", rule(505, "nobody", ("Reject with", "486")))
    office.rules("bob", rule(305, "busy", to("dave")))
    office.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | Contact: <sip:carol@example.org>
        bob < ACK
        carol < INVITE a1
        carol > 480
        carol < ACK
        dave < INVITE a1
        dave > 603
        dave < ACK
        alice < 603
    """)
    office.end()


def test_phones_that_redirect_to_each_other_end_under_rules() -> None:
    office = Office("alice bob carol")
    office.rules("bob", SOME_RULE)
    office.rules("carol", SOME_RULE)
    office.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | Contact: <sip:carol@example.org>
        bob < ACK
        carol < INVITE a1
        carol > 302 | Contact: <sip:bob@example.org>
        carol < ACK
        alice < 482
    """)
    assert len(office.log.of(LegCreated)) == 2
    office.end()


def test_a_long_chain_of_redirects_ends_under_rules() -> None:
    names = [f"p{number}" for number in range(MAX_DEPTH + 3)]
    office = Office(" ".join(["alice", *names]))
    for name in names:
        office.rules(name, SOME_RULE)
    office.play("alice > INVITE p0 a1")
    for this, following in pairwise(names):
        if not office.phones[this].fresh:
            break
        office.play(f"""
            {this} < INVITE a1
            {this} > 302 | Contact: <sip:{following}@example.org>
            {this} < ACK
        """)
    office.play("alice < 482")
    assert len(office.log.of(LegCreated)) <= MAX_DEPTH + 1
    office.end()
