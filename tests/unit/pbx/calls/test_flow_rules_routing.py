"""Rules and the Router together: groups, aliases, forwarders and applications under rules."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from pbx.domain import calls as domain
from pbx.domain.accounts import AccountCreated
from pbx.domain.rules import DomainLimitsSet
from pbx.domain.server import RouterTableSet
from pbx.router import DEFAULT_TABLE
from tests.unit.pbx.calls.lab import Lab
from tests.unit.pbx.calls.phone import DOMAIN
from tests.unit.pbx.calls.test_flow_routing import change, forward, group, lab_with, outside
from tests.unit.pbx.calls.test_flow_rules import also, reasons, rule, to, with_engine

SOME_RULE = rule(305, "never", ("Reject with", "486"), when=[("From", "is", "nobody@nowhere")])
"""With a rule anywhere, calls take the way through the rules."""

BOB_STOPS = """
    bob < CANCEL
    bob > 200 CANCEL
    bob > 487 INVITE
    bob < ACK
"""


def test_each_member_of_a_group_has_rules_of_its_own() -> None:
    """One is forwarded while the other rings; who only rang may take another call."""
    lab = lab_with(phones="alice bob carol dave")
    group(lab, "sales", "401", "carol")
    lab.rules("carol", rule(100005, "away", to("dave")))
    for account in ("bob", "carol", "dave"):
        lab.limit(account, 1)
    lab.play(f"""
        alice > INVITE sales a1
        bob < INVITE a1 | !Diversion
        dave < INVITE a1 | Diversion: <sip:carol@example.org>;reason=unconditional
        bob > 180
        alice < 180
        dave > 200 d1
        dave < ACK
        {BOB_STOPS}
        alice < 200 d1
        alice > ACK
    """)
    active = {name: lab.node.limits.active(f"{name}@{DOMAIN}") for name in ("bob", "carol", "dave")}
    assert active == {"bob": 0, "carol": 1, "dave": 1}
    lab.play("""
        alice > BYE
        alice < 200
        dave < BYE
        dave > 200
    """)
    lab.end("""
        started alice to sales
        decided routing: 2 contacts
            result: sales@example.org (group of 2)
            group member: bob@example.org (1 contacts)
            group member: carol@example.org (1 contacts)
        rules at once of carol: away
        decided redirect: sip:dave@example.org
        media 1
        created B bob
        created B dave redirected by carol@example.org
        ringing bob 180
        ringing alice 180
        answered dave
        ended bob 487 normal/16 by server
        answered alice
        talking alice dave
        ended alice 200 normal/16 by caller
        ended dave 200 normal/16 by caller
        closed 200 normal/16 by caller
    """)


def test_a_group_with_rules_somewhere_rings_as_without() -> None:
    """Rules that do not apply change nothing; unknown members do not spoil the answer."""
    lab = lab_with()
    lab.rules("server", SOME_RULE)
    group(lab, "sales", "bob", "nobody", "carol@mail.example.org")
    group(lab, "empty", "nobody")
    lab.play("""
        alice > INVITE sales a1
        bob < INVITE a1
        carol < INVITE a1
        bob > 486
        bob < ACK
        carol > 486
        carol < ACK
        alice < 486
        alice.2 > INVITE empty a1
        alice.2 < 480
    """)
    lab.end()


def test_rules_of_the_server_when_all_members_failed() -> None:
    """The busy rule of the server waits for the last member; those of a member do not."""
    lab = lab_with(phones="alice bob carol dave erin")
    group(lab, "sales", "bob", "carol")
    lab.rules("server", rule(305, "attendant", to("erin")))
    lab.rules("bob", rule(305, "busy", to("dave")))
    lab.play("""
        alice > INVITE sales a1
        bob < INVITE a1
        carol < INVITE a1
        bob > 486
        bob < ACK
        dave < INVITE a1 | Diversion: <sip:bob@example.org>;reason=user-busy
        dave > 486
        dave < ACK
        carol > 486
        carol < ACK
        erin < INVITE a1
        erin > 486
        erin < ACK
        alice < 486
    """)
    lab.end()


def test_a_member_that_names_its_group_rings_once() -> None:
    """The account itself among the members is its own devices, which ring already."""
    lab = lab_with()
    group(lab, "sales", "bob", "carol")
    lab.rules("bob", rule(100005, "all of us", also("sales")))
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        carol < INVITE a1 | Diversion: <sip:bob@example.org>;reason=follow-me
        bob > 486
        bob < ACK
        carol > 486
        carol < ACK
        alice < 486
    """)
    lab.end()


@pytest.mark.parametrize(
    "target",
    ["401", "desk", "tel:+4930123456", "solo", "bob@mail.example.org", "77", "401@example.org"],
)
def test_targets_are_looked_up_by_the_router(target: str) -> None:
    """Alias, forwarder, number, group, alias of the domain, and a line of the table."""
    lab = lab_with(DEFAULT_TABLE + "<77@*> = desk\n")
    forward(lab, "desk", "401")
    group(lab, "solo", "desk")
    lab.rules("carol", rule(100005, "away", to(target)))
    lab.rules("bob", rule(305, "busy", ("Write To Log", "bob was reached")))
    lab.play("""
        alice > INVITE carol a1
        bob < INVITE a1 | Diversion: <sip:carol@example.org>;reason=unconditional
        bob > 486
        bob < ACK
        alice < 486
    """)
    assert [event.account for event in lab.log.of(domain.RulesEvaluated)] == [
        f"carol@{DOMAIN}",
        f"bob@{DOMAIN}",
    ]
    lab.end()


def test_rules_of_an_account_hold_when_its_alias_is_called() -> None:
    lab = lab_with()
    lab.rules("bob", rule(100005, "away", to("carol")))
    lab.play("""
        alice > INVITE 401 a1
        carol < INVITE a1 | Diversion: <sip:bob@example.org>;reason=unconditional
        carol > 486
        carol < ACK
        alice < 486
    """)
    lab.end()


def test_a_number_outside_is_a_program_of_the_gateway() -> None:
    """What the default table does with numbers holds for targets of rules."""
    lab = lab_with()
    engine = with_engine(lab)
    lab.rules("bob", rule(100005, "mobile", also("+79161234567")))
    change(lab, "account/pbx", AccountCreated(name="pbx", domain=DOMAIN))
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
    """)
    (application,) = engine.started
    assert application.text == f"gatewaycaller{{+79161234567}}#pbx@{DOMAIN}"
    assert (application.called, application.redirector) == (f"bob@{DOMAIN}", f"bob@{DOMAIN}")
    engine.branches[0].failed(486, "busy there", lab.now)
    lab.pump()
    lab.play("""
        bob > 486
        bob < ACK
        alice < 486
    """)
    lab.end()


@pytest.mark.parametrize("rules", [False, True])
def test_a_program_that_was_dialled(rules: bool) -> None:
    """A line of the table starts it, with rules about or without."""
    lab = lab_with()
    if rules:
        lab.rules("server", SOME_RULE)
    engine = with_engine(lab)
    lab.play("alice > INVITE *401 a1")
    (application,) = engine.started
    assert application.text == f"voicemail#bob@{DOMAIN}"
    assert (application.called, application.redirector) == ("", "")
    assert application.request_uri == f"sip:*401@{DOMAIN}"
    assert lab.log.of(domain.RulesEvaluated) == []
    assert engine.branches[0].taken(lab.now)
    lab.play("""
        alice > CANCEL
        alice < 200 CANCEL
        alice < 487 INVITE
        alice > ACK
    """)
    assert engine.cancelled == []
    lab.end()


def test_a_program_in_a_group_and_a_phone() -> None:
    """The program rings along; whoever answers first has the call."""
    lab = lab_with()
    engine = with_engine(lab)
    forward(lab, "robot", "queue{a}#401")
    group(lab, "sales", "bob", "robot", "carol")
    lab.limit("bob", 1)
    lab.play("""
        alice > INVITE sales a1
        bob < INVITE a1
        carol < INVITE a1
        carol > 486
        carol < ACK
        bob > 180
        alice < 180
    """)
    (application,) = engine.started
    assert application.text == f"queue{{a}}#bob@{DOMAIN}"
    assert lab.node.limits.active(f"bob@{DOMAIN}") == 1
    assert engine.branches[0].taken(lab.now)
    lab.pump()
    assert lab.node.limits.active(f"bob@{DOMAIN}") == 0
    lab.play(f"""
        {BOB_STOPS}
        alice > CANCEL
        alice < 200 CANCEL
        alice < 487 INVITE
        alice > ACK
    """)
    lab.end()


def test_an_emergency_number_that_a_program_serves() -> None:
    """The Router's line holds, rules and limits do not."""
    lab = lab_with("Signal:<112@*> = help#bob")
    engine = with_engine(lab)
    lab.limit("alice", 0)
    lab.rules("server", rule(100010, "no", ("Reject with", "403")))
    lab.play("alice > INVITE 112 a1")
    assert [application.text for application in engine.started] == [f"help#bob@{DOMAIN}"]
    engine.branches[0].failed(480, "nobody", lab.now)
    lab.pump()
    lab.play("alice < 480")
    lab.end()


def test_on_behalf_of_an_alias() -> None:
    """The application works for the account that the alias means."""
    lab = lab_with()
    engine = with_engine(lab)
    lab.rules("carol", rule(100005, "q", to("queue#401")))
    lab.play("alice > INVITE carol a1")
    assert [application.account for application in engine.started] == [f"bob@{DOMAIN}"]
    engine.branches[0].failed(480, "nobody", lab.now)
    lab.pump()
    lab.play("alice < 480")
    lab.end()


def test_a_member_without_a_phone_has_rules() -> None:
    """Its voice mail takes the call of the group."""
    lab = lab_with(phones="alice bob")
    lab.add("none", "carol", bind=False)
    engine = with_engine(lab)
    group(lab, "sales", "carol")
    lab.rules("carol", rule(505, "mail", to("#voicemail")))
    lab.play("alice > INVITE sales a1")
    assert [application.account for application in engine.started] == [f"carol@{DOMAIN}"]
    engine.branches[0].failed(480, "full", lab.now)
    lab.pump()
    lab.play("alice < 480")
    lab.end()


def test_a_domain_counts_a_group_call_once_and_to_its_end() -> None:
    """Members that are let go do not end the domain's part, nor does it outlive the call."""
    lab = lab_with()
    lab.rules("server", SOME_RULE)
    lab.node.configured(f"domain/{DOMAIN}", DomainLimitsSet(calls_limit=1))
    group(lab, "sales", "bob", "carol")
    lab.play(f"""
        alice > INVITE sales a1
        bob < INVITE a1
        carol < INVITE a1
        bob > 180
        alice < 180
        carol > 200 c1
        carol < ACK
        {BOB_STOPS}
        alice < 200 c1
        alice > ACK
    """)
    assert lab.node.limits.active(f"@{DOMAIN}") == 1
    lab.play("""
        alice > BYE
        alice < 200
        carol < BYE
        carol > 200
    """)
    assert lab.node.limits.active(f"@{DOMAIN}") == 0
    lab.end()


def test_a_trusted_source_calls_through_us_with_rules_about() -> None:
    """Rules take nothing from what it may do without."""
    lab = Lab("bob", client_ips=(ip_network("203.0.113.66/32"),))
    lab.rules("server", SOME_RULE)
    lab.add("trunk", host="203.0.113.66")
    outside(lab)
    lab.play("""
        trunk > INVITE sip:x@far.example a1
        out < INVITE a1
        out > 486
        out < ACK
        trunk < 486
    """)
    lab.end()


def test_texts_to_groups_and_to_nobody() -> None:
    """Each member's rules say where its text goes; what the Router discards is taken."""
    lab = lab_with(phones="alice bob carol dave")
    group(lab, "sales", "401", "carol", "*401")
    lab.rules("carol", rule(100005, "away", to("dave")))
    lab.play("""
        alice > MESSAGE sales text:hello
        bob < MESSAGE text:hello
        dave < MESSAGE text:hello
        bob > 200
        dave > 200
        alice < 200
        alice.2 > MESSAGE null text:hello
        alice.2 < 200
        alice.3 > MESSAGE *401 text:hello
        alice.3 < 480
    """)
    lab.end()


def test_the_way_of_a_target_is_told() -> None:
    """The story says which line made of a rule's address what it became."""
    lab = lab_with("<77@*> = carol")
    change(lab, "server", RouterTableSet(text="<77@*> = carol"))
    lab.rules("bob", rule(100005, "away", to("77")))
    lab.play("""
        alice > INVITE bob a1
        carol < INVITE a1
        carol > 486
        carol < ACK
        alice < 486
    """)
    assert reasons(lab, "redirect") == [f'rule "away": account carol@{DOMAIN}']
    stories = [line for line in lab.story() if "table, line 1" in line]
    assert stories == ["server table, line 1: <77@*> = carol -> carol"]
    lab.end()
