"""Calls under rules: stages, redirects, forks, refusals, orders, loops, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pbx.domain import calls as domain
from pbx.domain.messages import MessageRelayed
from pbx.domain.rules import DomainLimitsSet
from pbx.rules import Simple, rules_to_data, simple_rules
from tests.unit.pbx.calls.lab import Lab
from tests.unit.pbx.calls.phone import DOMAIN

if TYPE_CHECKING:
    from pbx.calls.call import Call
    from pbx.calls.ports import Application, ApplicationBranch


def rule(number: int | str, name: str, *actions: Any, when: Any = ()) -> list[Any]:
    """A rule in its stored form; an action is a string or (name, parameter)."""
    parts = [[action] if isinstance(action, str) else list(action) for action in actions]
    return [str(number), name, [list(test) for test in when], parts]


def to(target: str) -> tuple[str, str]:
    return ("Redirect To", target)


def also(target: str) -> tuple[str, str]:
    return ("Fork to", target)


def reasons(lab: Lab, step: str) -> list[str]:
    return [event.reason for event in lab.log.of(domain.CallDecided) if event.step == step]


NO_ENGINE = "this server has no script engine"
CHAIN = [
    rule(99005, "mobile", also("mobile")),
    rule(98005, "voice mail", to("mail")),
]
"""Telephony reference §26.4: ring, after 10 s the mobile too, after 20 s something else."""


#: The rules of the reference (§3.6), the second example for the domain of these tests.
CC_IN = rule(
    100010,
    "ccIn",
    ("Redirect to", "ccincoming#pbx"),
    "Stop Processing",
    when=[("Method", "is", "INVITE"), ("RequestURI", "is not", "*;fromCC=true")],
)
NOT_LOCAL = ("Submit Address", "is not", "LOCAL [0.0.0.0]*")
CC_OUT = rule(
    100010,
    "ccOut",
    ("Redirect To", "ccincoming#pbx@your.domain.name"),
    "Stop Processing",
    when=[("Method", "is", "INVITE"), NOT_LOCAL, ("From", "is", f"*@{DOMAIN}")],
)
TRANSFER = rule(
    100005,
    "transfer",
    ("Redirect To", f"b2bua-transfer#pbx@{DOMAIN}"),
    "Discard Rules",
    when=[
        ("Method", "IS", "INVITE"),
        ("CallType", "IS", "AV"),
        NOT_LOCAL,
        ("RequestURI", "IS", f"sip:*@{DOMAIN}"),
    ],
)
PBX = rule(100005, "all to the attendant", to("#pbx"))


def test_no_rules_no_events() -> None:
    """A server without rules evaluates nothing and writes nothing about them."""
    lab = Lab()
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 486
        bob < ACK
        alice < 486
        alice > ACK
    """)
    assert lab.log.of(domain.RulesEvaluated) == []
    lab.end()


def test_timed_chain() -> None:
    """Ring; after 10 s the mobile rings too, after 20 s both stop and somebody else is tried."""
    lab = Lab("alice bob mobile mail")
    lab.rules("bob", *CHAIN)
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 180
        alice < 180
        +10
        mobile < INVITE a1 | Diversion: <sip:bob@example.org>;reason=follow-me
        mobile > 180
        +10
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
        mobile < CANCEL
        mobile > 200 CANCEL
        mobile > 487 INVITE
        mobile < ACK
        mail < INVITE a1 | Diversion: <sip:bob@example.org>;reason=no-answer
        mail > 200 m1
        mail < ACK
        alice < 200 m1
        alice > ACK
        alice > BYE
        alice < 200 BYE
        mail < BYE
        mail > 200
    """)
    lab.end("""
        started alice to bob
        decided routing: 1 contacts
        media 1
        created B bob
        ringing bob 180
        ringing alice 180
        rules after 10 s of bob: mobile
        decided redirect: sip:mobile@example.org
        created B mobile redirected by bob@example.org @10000
        ringing mobile 180 @10000
        rules after 20 s of bob: voice mail
        ended bob 487 cancel/16 by server @20000
        ended mobile 487 cancel/16 by server @20000
        decided redirect: sip:mail@example.org
        created B mail redirected by bob@example.org @20000
        answered mail @20000
        answered alice @20000
        talking alice mail @20000
        ended alice 200 normal/16 by caller @20000
        ended mail 200 normal/16 by caller @20000
        closed 200 normal/16 by caller @20000
    """)


def test_timed_chain_without_devices() -> None:
    """With nothing to ring the timed stages do not wait (Telephony reference §26.4)."""
    lab = Lab("alice mobile mail")
    lab.add("none", "bob", bind=False)
    lab.rules("bob", *CHAIN)
    lab.play("""
        alice > INVITE bob a1
        mobile < INVITE a1
        mobile > 480
        mobile < ACK
        mail < INVITE a1
        mail > 486
        mail < ACK
        alice < 480
        alice > ACK
    """)
    assert [event.stage for event in lab.log.of(domain.RulesEvaluated)] == [
        "after 10 s",
        "after 20 s",
    ]
    lab.end()


@pytest.mark.parametrize(
    ("status", "stage"),
    [(486, "busy"), (600, "busy"), (603, "busy"), (500, "error"), (404, "error")],
)
def test_failure_stages(status: int, stage: str) -> None:
    """What a phone answers decides which rules come (Telephony reference §2.3, §26.5)."""
    lab = Lab("alice bob onbusy onerror silent")
    lab.rules(
        "bob",
        rule(305, "busy", to("onbusy")),
        rule(105, "error", to("onerror")),
        rule(505, "none", to("silent")),
    )
    other = "onbusy" if stage == "busy" else "onerror"
    lab.play(f"""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > {status}
        bob < ACK
        {other} < INVITE a1
        {other} > 200 x1
        {other} < ACK
        alice < 200 x1
        alice > ACK
        alice > BYE
        alice < 200 BYE
        {other} < BYE
        {other} > 200
    """)
    assert [event.stage for event in lab.log.of(domain.RulesEvaluated)] == [stage]
    lab.end()


def test_no_answer_stage() -> None:
    """Nobody answers within the server's patience: the rules for it come, with new patience."""
    lab = Lab("alice bob carol", no_answer_s=30.0)
    lab.rules("bob", rule(505, "away", to("carol")))
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 180
        alice < 180
        +30
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
        carol < INVITE a1 | ;reason=no-answer
        carol > 180
        +29
        carol > 486
        carol < ACK
        alice < 486
        alice > ACK
    """)
    lab.end()


def test_busy_without_a_rule_for_it() -> None:
    """A class without rules of its own runs no other failure stage (Telephony reference §2.3)."""
    lab = Lab("alice bob carol")
    lab.rules("bob", rule(105, "error", to("carol")), rule(505, "none", to("carol")))
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 486
        bob < ACK
        alice < 486
        alice > ACK
    """)
    lab.end()


def test_order_of_levels() -> None:
    """Server and domain above 5, the account, domain and server up to 5 (reference §26.6)."""
    lab = Lab()
    note = ("Write To Log", "seen")
    lab.rules("server", rule(98006, "s6", note), rule(98005, "s5", note), rule(100009, "now", note))
    lab.rules(f"domain/{DOMAIN}", rule(98006, "d6", note), rule(98005, "d5", note))
    lab.rules("bob", rule(98009, "a9", note), rule(98001, "a1", note))
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        +20
        bob > 486
        bob < ACK
        alice < 486
        alice > ACK
    """)
    evaluated = lab.log.of(domain.RulesEvaluated)
    assert [event.applied for event in evaluated] == [
        ("now",), ("s6", "d6", "a9", "a1", "d5", "s5"),
    ]  # fmt: skip
    assert [line.partition(" applied")[0] for line in evaluated[1].trace] == [
        'server "s6"',
        f'domain {DOMAIN} "d6"',
        f'account bob@{DOMAIN} "a9"',
        f'account bob@{DOMAIN} "a1"',
        f'domain {DOMAIN} "d5"',
        'server "s5"',
    ]
    lab.end()


def test_server_rules_come_once() -> None:
    """The server's later rules are looked at with those of the account, and not again above it."""
    lab = Lab("alice carol")
    lab.add("none", "bob", bind=False)
    lab.rules("server", rule(505, "fall back", ("Write To Log", "x")))
    lab.play("""
        alice > INVITE bob a1
        alice < 480
        alice > ACK
    """)
    (event,) = lab.log.of(domain.RulesEvaluated)
    assert (event.account, event.applied) == (f"bob@{DOMAIN}", ("fall back",))
    lab.end()


def test_reject_with_phrase() -> None:
    """A rule refuses with its own words; the trace says what it saw."""
    lab = Lab()
    lab.rules(
        "bob",
        rule(100009, "block", ("Reject with", "603 Not you"), when=[("From", "is", "alice@*")]),
    )
    lab.play("""
        alice > INVITE bob a1
        alice < 603 | Status: 603 Not you | Reason: Q.850;cause=21
        alice > ACK
    """)
    (event,) = lab.log.of(domain.RulesEvaluated)
    assert event.trace == (
        f'account bob@{DOMAIN} "block" applied: From is alice@* (alice@{DOMAIN})',
    )
    lab.end()


def test_stop_and_discard() -> None:
    """Stop ends the stage, discarding ends everything that would still come."""
    lab = Lab("alice bob carol")
    stopping = rule(100009, "stop", ("Write To Log", "x"), "Stop Processing")
    lab.rules("bob", stopping, rule(100008, "never", ("Reject with", "486")))
    ladder = """
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 486
        bob < ACK
        alice < 486
        alice > ACK
    """
    lab.play(ladder)
    lab.end()
    lab = Lab("alice bob carol")
    lab.rules(
        "server",
        rule(100010, "keep", "Discard Rules", when=[("Method", "is", "INVITE")]),
    )
    lab.rules("bob", rule(305, "busy", to("carol")))
    lab.play(ladder)
    lab.end()


def test_loops_end() -> None:
    """Two accounts that forward to each other end with 482, not for ever."""
    lab = Lab()
    lab.add("carol", "carol")
    lab.rules("bob", rule(100005, "to carol", to("carol")))
    lab.rules("carol", rule(100005, "to bob", to("bob")))
    lab.play("""
        alice > INVITE bob a1
        alice < 482
        alice > ACK
    """)
    assert any("on this way already" in reason for reason in reasons(lab, "redirect"))
    lab.end()


def test_own_name_means_own_devices() -> None:
    """An account may name itself beside others: its devices ring, its rules do not start again."""
    lab = Lab("alice bob carol")
    lab.rules("bob", rule(100005, "both", to("bob, carol")))
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        carol < INVITE a1
        bob > 180
        alice < 180
        carol > 200 c1
        carol < ACK
        bob < CANCEL | Call completed elsewhere
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
        alice < 200 c1
        alice > ACK
        alice > BYE
        alice < 200 BYE
        carol < BYE
        carol > 200
    """)
    lab.end()


def test_callee_of_a_redirect_has_rules_too() -> None:
    """The rules of who is called by a rule hold; what they cannot do goes back up."""
    lab = Lab("alice bob carol dave erin")
    lab.rules("bob", rule(100005, "on", to("carol")), rule(305, "busy", to("erin")))
    lab.rules("carol", rule(305, "busy", to("dave")))
    lab.play("""
        alice > INVITE bob a1
        carol < INVITE a1
        carol > 486
        carol < ACK
        dave < INVITE a1
        dave > 486
        dave < ACK
        erin < INVITE a1
        erin > 486
        erin < ACK
        alice < 486
        alice > ACK
    """)
    lab.end()


def test_services_no() -> None:
    """A target with services=no is called without its rules."""
    lab = Lab("alice bob carol dave")
    lab.rules("bob", rule(100005, "on", to(f"<sip:carol@{DOMAIN};services=no>")))
    lab.rules("carol", rule(100005, "away", to("dave")))
    lab.play("""
        alice > INVITE bob a1
        carol < INVITE a1
        carol > 486
        carol < ACK
        alice < 486
        alice > ACK
    """)
    lab.end()


def test_application_is_refused_with_the_reason() -> None:
    """Without a script engine an application answers 480, and the log says why."""
    lab = Lab()
    lab.rules("bob", rule(100005, "ivr", to("queue{sales,2}#pbx")))
    lab.play("""
        alice > INVITE bob a1
        alice < 480
        alice > ACK
    """)
    assert reasons(lab, "application") == [
        f"the application queue{{sales,2}}#pbx@{DOMAIN} cannot run: {NO_ENGINE}"
    ]
    lab.end()


class Engine:
    """An application port that keeps what it was asked; the test plays the application."""

    def __init__(self) -> None:
        self.started: list[Application] = []
        self.branches: list[ApplicationBranch] = []
        self.cancelled: list[ApplicationBranch] = []

    def start(
        self, application: Application, call: Call, branch: ApplicationBranch, now: float
    ) -> str:
        self.started.append(application)
        self.branches.append(branch)
        return ""

    def cancel(self, branch: ApplicationBranch, now: float) -> None:
        self.cancelled.append(branch)

    def media_timed_out(self, session: str, now: float) -> None:
        raise AssertionError("nothing is hosted")

    def media_restarted(self, now: float) -> None:
        """Nothing is hosted."""


def with_engine(lab: Lab) -> Engine:
    engine = Engine()
    lab.node.services.applications = engine
    return engine


@pytest.mark.parametrize(
    ("level", "row", "uri", "expected"),
    [
        ("server", CC_OUT, "", ("ccincoming", None, "pbx@your.domain.name", "")),
        ("domain", CC_IN, "", ("ccincoming", None, f"pbx@{DOMAIN}", f"bob@{DOMAIN}")),
        ("domain", CC_IN, f"sip:bob@{DOMAIN};fromCC=true", None),
        ("server", TRANSFER, "", ("b2bua-transfer", None, f"pbx@{DOMAIN}", "")),
        ("bob", PBX, "", ("pbx", None, f"bob@{DOMAIN}", f"bob@{DOMAIN}")),
        ("server", PBX, "", ("pbx", None, f"bob@{DOMAIN}", "")),
    ],
)
def test_rules_of_the_reference(level: str, row: Any, uri: str, expected: Any) -> None:
    """Telephony reference §3.6: which application each example starts, and on whose behalf."""
    lab = Lab()
    engine = with_engine(lab)
    lab.rules(f"domain/{DOMAIN}" if level == "domain" else level, row)
    if expected is None:
        lab.play(f"""
            alice > INVITE {uri} a1
            bob < INVITE a1
            bob > 486
            bob < ACK
        """)
        assert engine.started == []
    else:
        lab.play(f"alice > INVITE {uri or 'bob'} a1")
        (application,) = engine.started
        found = (application.name, application.parameters, application.account)
        assert (*found, application.called) == expected
        assert application.request_uri == f"sip:bob@{DOMAIN}"
        engine.branches[0].failed(486, "nobody is there", lab.now)
        lab.pump()
    lab.play("""
        alice < 486
        alice > ACK
    """)
    lab.end()


def test_application_answers() -> None:
    """An application that answers has the call for itself: phones stop, rules end."""
    lab = Lab()
    engine = with_engine(lab)
    lab.rules("bob", rule(100005, "both", also("queue{sales}#pbx")), rule(99005, "late", to("x")))
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 180
        alice < 180
    """)
    (branch,) = engine.branches
    assert engine.started[0].text == f"queue{{sales}}#pbx@{DOMAIN}"
    assert branch.taken(lab.now)
    lab.pump()
    lab.play("""
        bob < CANCEL | Call completed elsewhere
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
        +30
        alice > CANCEL
        alice < 200 CANCEL
        alice < 487 INVITE
        alice > ACK
    """)
    assert not branch.taken(lab.now)
    branch.failed(500, "too late", lab.now)
    assert engine.cancelled == []
    lab.end()


def test_application_is_cancelled_when_a_phone_answers() -> None:
    """Whoever is first has the call; the application is told."""
    lab = Lab()
    engine = with_engine(lab)
    lab.rules("bob", rule(99005, "mail", also("#voicemail")))
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 180
        alice < 180
        +10
        bob > 200 b1
        bob < ACK
        alice < 200 b1
        alice > ACK
    """)
    assert engine.cancelled == engine.branches
    assert not engine.branches[0].taken(lab.now)
    lab.play("""
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
    """)
    lab.end()


def test_voice_mail_after_ten_seconds() -> None:
    """The acceptance case of call control: ring, then voice mail instead of the phone; at once if
    there is no phone (Telephony reference §2.2, §3.7)."""
    lab = Lab()
    lab.add("none", "carol", bind=False)
    engine = with_engine(lab)
    for account in ("bob", "carol"):
        simple = Simple(voicemail_after_s=10, voicemail_busy=True)
        rows = rules_to_data(simple_rules(simple, f"{account}@{DOMAIN}"))
        lab.rules(account, *rows)
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 180
        alice < 180
        +9.9
    """)
    assert engine.started == []
    lab.play("""
        +0.1
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
    """)
    assert [application.name for application in engine.started] == ["voicemail"]
    lab.play("alice.2 > INVITE carol a1")
    assert [application.account for application in engine.started] == [
        f"bob@{DOMAIN}",
        f"carol@{DOMAIN}",
    ]
    for branch in engine.branches:
        branch.failed(480, "full", lab.now)
    lab.pump()
    lab.play("""
        alice < 480
        alice > ACK
        alice.2 < 480
        alice.2 > ACK
    """)
    lab.end()


def test_caller_gives_up_while_stages_wait() -> None:
    """CANCEL ends every branch and every timer."""
    lab = Lab("alice bob mobile mail")
    lab.rules("bob", *CHAIN)
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 180
        alice < 180
        +12
        mobile < INVITE a1
        mobile > 180
        alice > CANCEL
        alice < 200 CANCEL
        alice < 487 INVITE
        alice > ACK
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
        mobile < CANCEL
        mobile > 200 CANCEL
        mobile > 487 INVITE
        mobile < ACK
        +30
    """)
    lab.end()


def test_answer_ends_the_stages() -> None:
    """Once somebody talks no rule comes any more."""
    lab = Lab("alice bob mobile mail")
    lab.rules("bob", *CHAIN)
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 200 b1
        bob < ACK
        alice < 200 b1
        alice > ACK
        +60
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
    """)
    assert lab.log.of(domain.RulesEvaluated) == []
    lab.end()


def test_pickup_ends_the_stages() -> None:
    """A neighbour takes the call of one phone: the others stop, no stage comes any more."""
    lab = Lab("alice bob mobile dan mail")
    lab.rules("bob", rule(99805, "too", also("mobile")), rule(98005, "mail", to("mail")))
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 180
        alice < 180
        +2
        mobile < INVITE a1
        mobile > 180
        dan > INVITE bob d1 replaces=bob!
        dan < 200 :inactive
        dan > ACK
        dan < reINVITE a1
        dan > 200 d2
        dan < ACK
        alice < 200 d2
        alice > ACK
        bob < CANCEL | Call completed elsewhere
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
        mobile < CANCEL | Call completed elsewhere
        mobile > 200 CANCEL
        mobile > 487 INVITE
        mobile < ACK
        +30
        dan > BYE
        dan < 200 BYE
        alice < BYE
        alice > 200
    """)
    stages = [event.stage for event in lab.log.of(domain.RulesEvaluated)]
    assert stages == ["after 2 s"]
    lab.end()


def test_emergency_calls_pass() -> None:
    """Neither rules nor limits stop a call to an emergency number; no rule sends calls there."""
    lab = Lab("alice bob")
    lab.add("help", "112")
    lab.limit("alice", 0)
    lab.rules("server", rule(100010, "nothing", ("Reject with", "603")))
    lab.play("""
        alice > INVITE 112 a1
        help < INVITE a1
        help > 486
        help < ACK
        alice < 486
        alice > ACK
    """)
    assert lab.log.of(domain.RulesEvaluated) == []
    lab.limit("alice", -1)
    lab.rules("server")
    lab.rules("bob", rule(100005, "prank", to("112")))
    lab.play("""
        alice.2 > INVITE bob a1
        alice.2 < 403
        alice.2 > ACK
    """)
    lab.end()


def test_emergency_calls_have_a_reserve() -> None:
    """A full server still takes a call for help, whose log is out of order or not."""
    lab = Lab("alice bob carol", calls_total=1, setups_per_s=1.0)
    lab.add("help", "112")
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 180
        alice < 180
        carol > INVITE bob c1
        carol < 503
        carol > ACK
    """)
    lab.log.healthy = False
    lab.play("""
        carol.2 > INVITE 112 c2
        help < INVITE c2
        help > 486
        help < ACK
        carol.2 < 486
        carol.2 > ACK
        bob > 486
        bob < ACK
        alice < 486
        alice > ACK
    """)
    lab.log.healthy = True
    lab.end()


def test_domain_limit() -> None:
    """A domain may have so many calls at once, whoever of it is in them."""
    lab = Lab("alice bob carol dave")
    lab.node.configured(f"domain/{DOMAIN}", DomainLimitsSet(calls_limit=1))
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 180
        alice < 180
        carol > INVITE dave c1
        carol < 403
        carol > ACK
        bob > 486
        bob < ACK
        alice < 486
        alice > ACK
    """)
    lab.end()


def test_callee_at_its_limit_is_busy() -> None:
    """An account with no call left is busy: its rules for that hold."""
    lab = Lab("alice bob carol")
    lab.limit("bob", 0)
    lab.rules("bob", rule(305, "busy", to("carol")))
    lab.play("""
        alice > INVITE bob a1
        carol < INVITE a1
        carol > 486
        carol < ACK
        alice < 486
        alice > ACK
    """)
    lab.end()


def test_remembered_callers() -> None:
    """A caller is remembered in a dataset, which other rules may ask for."""
    lab = Lab("alice bob")
    lab.rules(
        "bob",
        rule(100009, "known", ("Reject with", "486"), when=[("From", "in", "#Seen")]),
        rule(100005, "learn", ("Remember 'From' in", "Seen")),
    )
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 480
        bob < ACK
        alice < 480
        alice > ACK
        alice.2 > INVITE bob a1
        alice.2 < 486
        alice.2 > ACK
    """)
    lab.end()


def test_shown_caller() -> None:
    """A domain rule says how callers are shown; who they are stays asserted."""
    lab = Lab("alice bob")
    lab.rules(f"domain/{DOMAIN}", rule(100006, "sales", ("Show Caller As", "Sales: ^F")))
    lab.play(f"""
        alice > INVITE bob a1
        bob < INVITE a1 | From: "Sales: alice@{DOMAIN}" <sip:alice@{DOMAIN}>
        bob > 486
        bob < ACK
        alice < 486
        alice > ACK
    """)
    lab.end()


def test_message_of_a_rule() -> None:
    """SendIM reaches the devices of its address, from the account."""
    lab = Lab("alice bob carol")
    lab.rules("bob", rule(305, "tell", ("SendIM", "carol\n^F called")))
    lab.play(f"""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 486
        bob < ACK
        carol < MESSAGE text:alice@{DOMAIN} called
        carol > 200
        alice < 486
        alice > ACK
    """)
    lab.end()


def test_server_rule_for_a_foreign_target() -> None:
    """Server rules hold for calls that leave the server, too."""
    lab = Lab("alice bob")
    lab.add("far", "")
    lab.outside["far.example"] = "far"
    lab.rules("server", rule(305, "busy", to(f"bob@{DOMAIN}")))
    lab.play("""
        alice > INVITE sip:x@far.example a1
        far < INVITE a1
        far > 486
        far < ACK
        bob < INVITE a1
        bob > 200 b1
        bob < ACK
        alice < 200 b1
        alice > ACK
        alice > BYE
        alice < 200 BYE
        bob < BYE
        bob > 200
    """)
    lab.end()


def test_messages_under_rules() -> None:
    """A message follows the rules of arrival of everybody on its way; nothing else is for it."""
    lab = Lab("alice bob carol dave")
    lab.rules(
        "server", rule(100005, "log", ("Write To Log", "x"), when=[("Method", "is", "INVITE")])
    )
    lab.rules(
        "bob",
        rule(100005, "im", to("carol, dave"), when=[("CallType", "is", "IM")]),
        rule(305, "busy", to("alice")),
    )
    lab.rules("carol", rule(100005, "on", also("#voicemail, bob")))
    lab.play("""
        alice > MESSAGE bob text:hello
        carol < MESSAGE text:hello
        dave < MESSAGE text:hello
        carol > 200
        dave > 486
        alice < 200
    """)
    (told,) = lab.log.of(MessageRelayed)
    assert told.rules == ("im", "on")
    lab.end()


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (rule(100009, "no", ("Reject with", "403 No texts")), 403),
        (rule(100009, "app", to("#mail")), 480),
        (rule(100009, "loop", to("carol")), 482),
        (rule(100009, "gone", to("nobody")), 404),
        (rule(100009, "plain", ("Remember 'From' in", "Seen")), 200),
    ],
)
def test_messages_refused_by_rules(row: Any, status: int) -> None:
    """Refusals, applications, loops and unknown names end with one final answer."""
    lab = Lab("alice bob carol")
    lab.rules("bob", row)
    lab.rules("carol", rule(100009, "back", to("bob")))
    lab.play("alice > MESSAGE bob text:hello")
    if status == 200:
        lab.play("""
            bob < MESSAGE text:hello
            bob > 200
        """)
        assert list(lab.node.rulebook.dataset(f"bob@{DOMAIN}", "Seen")) == [f"alice@{DOMAIN}"]
    lab.play(f"alice < {status}")
    lab.end()
