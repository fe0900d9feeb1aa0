"""Calls to aliases, numbers, forwarders, groups and other servers, through the Router."""

from __future__ import annotations

import pytest

from pbx.domain.accounts import AccountAliasesSet, AccountTelnumsSet, DomainAliasesSet
from pbx.domain.calls import CallRouted
from pbx.domain.objects import ForwarderCreated, GroupCreated, GroupSet, TaskCreated
from pbx.domain.server import RouterTableSet
from pbx.domain.setting_events import DomainSettingsChanged, ServerSettingsChanged
from pbx.kernel.events import Event
from pbx.router import DEFAULT_TABLE
from tests.unit.pbx.calls.lab import Lab
from tests.unit.pbx.calls.phone import DOMAIN

BUSY = """
    bob > 486
    bob < ACK
    alice < 486
"""


def lab_with(table: str = DEFAULT_TABLE, phones: str = "alice bob carol") -> Lab:
    """Three phones; bob is 401 and +4930123456, the domain has an alias."""
    lab = Lab(phones)
    change(lab, "server", RouterTableSet(text=table))
    change(lab, "account/bob", AccountAliasesSet(aliases=("401",)))
    change(lab, "account/bob", AccountTelnumsSet(telnums=("+4930123456",)))
    change(lab, f"domain/{DOMAIN}", DomainAliasesSet(aliases=("mail.example.org",)))
    return lab


def change(lab: Lab, stream: str, event: Event) -> None:
    """Fold an event of a stream whose domain may be left out."""
    kind, slash, name = stream.partition("/")
    if slash and kind != "domain":
        stream = f"{kind}/{name}@{DOMAIN}"
    lab.directory.apply(stream, event)


def forward(lab: Lab, name: str, target: str) -> None:
    made = ForwarderCreated(name=name, domain=DOMAIN, target=target)
    change(lab, f"forwarder/{name}", made)


def group(lab: Lab, name: str, *members: str, options: tuple[str, ...] = ()) -> None:
    change(lab, f"group/{name}", GroupCreated(name=name, domain=DOMAIN))
    change(lab, f"group/{name}", GroupSet(members=members, options=options))


def outside(lab: Lab, host: str = "far.example") -> None:
    """A server elsewhere, which `out` plays."""
    lab.add("out", bind=False)
    lab.outside[host] = "out"


@pytest.mark.parametrize(
    "uri",
    [
        "sip:401@example.org",
        "sip:BOB@EXAMPLE.ORG",
        "sip:bob@mail.example.org",
        "sip:401@192.0.2.1:5060",
        "sip:+4930123456@example.org",
        "sip:+49(30)123-456@example.org;user=phone",
        "sip:+4930123456;phone-context=x@example.org",
        "tel:+49-30-123456",
    ],
)
def test_names_of_one_account(uri: str) -> None:
    """Alias, case, alias of the domain, our address, assigned number however it is written."""
    lab = lab_with()
    lab.play(f"""
        alice > INVITE {uri} a1
        bob < INVITE a1
        {BUSY}
    """)
    lab.end()


def test_every_step_is_in_the_log() -> None:
    """Which line of which table, and what it made of the address."""
    lab = lab_with()
    lab.play(f"""
        alice > INVITE sip:+4930123456@example.org a1
        bob < INVITE a1
        {BUSY}
    """)
    lab.end("""
        started alice to +4930123456
        decided routing: 1 contacts
            server table, line 3: <+(7-20d)@*> = +*@telnum -> +4930123456@telnum
            telnum: bob@example.org (+4930123456 is assigned)
            result: bob@example.org (account)
        media 1
        created B bob
        ended bob 486 busy/17 by callee
        ended alice 486 busy/17 by callee
        closed 486 busy/17 by callee
    """)


def test_a_group_rings_everybody_at_once_and_the_first_one_talks() -> None:
    lab = lab_with()
    group(lab, "sales", "401", "carol@mail.example.org", "carol")
    lab.play("""
        alice > INVITE sales a1
        bob < INVITE a1
        carol < INVITE a1
        bob > 180
        alice < 180
        carol > 200 c1
        carol < ACK
        bob < CANCEL | Reason: SIP;cause=200;text="Call completed elsewhere"
        bob > 200 CANCEL
        bob > 487
        bob < ACK
        alice < 200 c1
        alice > ACK
        alice > BYE
        alice < 200
        carol < BYE
        carol > 200
    """)
    lab.end()


def test_groups_in_groups_ring_each_phone_once() -> None:
    lab = lab_with()
    group(lab, "all-of-us", "sales", "bob", "all-of-us")
    group(lab, "sales", "401", "all-of-us")
    lab.play(f"""
        alice > INVITE all-of-us a1
        bob < INVITE a1
        {BUSY}
    """)
    lab.end()


def test_members_that_only_rang_may_take_another_call() -> None:
    """A limit counts who talks, and while it rings who is rung."""
    lab = lab_with()
    lab.limit("bob", 1)
    group(lab, "sales", "bob", "carol")
    lab.play("""
        alice > INVITE sales a1
        bob < INVITE a1
        carol < INVITE a1
        bob > 180
        alice < 180
        carol > 200 c1
        carol < ACK
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487
        bob < ACK
        alice < 200 c1
        alice > ACK
    """)
    assert lab.node.limits.active(f"bob@{DOMAIN}") == 0
    assert lab.node.limits.active(f"carol@{DOMAIN}") == 1
    lab.play("""
        alice > BYE
        alice < 200
        carol < BYE
        carol > 200
    """)
    lab.end()


def test_a_member_at_its_limit_is_left_out() -> None:
    lab = lab_with()
    lab.limit("bob", 0)
    group(lab, "sales", "bob", "carol")
    lab.play("""
        alice > INVITE sales a1
        carol < INVITE a1
        carol > 486
        carol < ACK
        alice < 486
        alice.2 > INVITE bob a1
        alice.2 < 486
    """)
    lab.end()


@pytest.mark.parametrize(
    ("members", "options", "status"),
    [
        ((), (), 480),
        (("nobody", "far"), (), 480),
        (("bob",), ("SignalDisabled",), 403),
    ],
)
def test_groups_that_cannot_ring(
    members: tuple[str, ...], options: tuple[str, ...], status: int
) -> None:
    lab = lab_with()
    group(lab, "sales", *members, options=options)
    lab.play(f"""
        alice > INVITE sales a1
        alice < {status}
    """)
    lab.end()


def test_a_forwarder_leads_anywhere() -> None:
    """To a name here, to another server, and there with the port it says."""
    lab = lab_with()
    forward(lab, "desk", "401")
    forward(lab, "boss", "sip:chief@far.example:5060")
    outside(lab, "far.example:5060")
    lab.play(f"""
        alice > INVITE desk a1
        bob < INVITE a1
        {BUSY}
        alice.2 > INVITE boss a1
        out < INVITE a1 | Request-URI: sip:chief@far.example:5060
        out > 486
        out < ACK
        alice.2 < 486
    """)
    lab.end()


def test_forwarders_in_a_circle_end() -> None:
    lab = lab_with()
    forward(lab, "a", "b")
    forward(lab, "b", "a")
    lab.play("""
        alice > INVITE a a1
        alice < 482
    """)
    lab.end()
    (routed,) = lab.log.of(CallRouted)
    assert len(routed.steps) == 32
    assert routed.steps[-2:] == ("and 20 more", f"result: a@{DOMAIN} ({routed.reason})")


def test_strangers_reach_outside_only_what_an_object_or_record_allows() -> None:
    """The forwarder's owner and the ``Relay:`` line decided that; a plain line did not."""
    table = """
Relay:<friend@*> = friend@far.example
<plain@*> = plain@far.example
"""
    lab = Lab("bob", outside_calls=True)
    change(lab, "server", RouterTableSet(text=table))
    forward(lab, "boss", "chief@far.example")
    outside(lab)
    lab.add("eve", host="203.0.113.66")
    lab.phones["eve"].address = "<sip:eve@outside.example>"
    lab.play("""
        eve > INVITE boss a1
        out < INVITE a1 | Request-URI: sip:chief@far.example
        out > 486
        out < ACK
        eve < 486
        eve.2 > INVITE friend a1
        out.2 < INVITE a1 | Request-URI: sip:friend@far.example
        out.2 > 486
        out.2 < ACK
        eve.2 < 486
        eve.3 > INVITE plain a1
        eve.3 < 403
        eve.4 > INVITE sip:x%40far.example@example.org a1
        eve.4 < 403
    """)
    lab.end()


def test_through_another_server() -> None:
    """``._via`` says where to connect; who is called stays in the URI (a preloaded Route)."""
    lab = lab_with("<9(3d)@*> = *%deep.example@far.example._via")
    outside(lab)
    lab.play("""
        alice > INVITE 9123 a1
        out < INVITE a1 | Request-URI: sip:123@deep.example | Route: <sip:far.example;lr>
        out > 486
        out < ACK
        alice < 486
    """)
    lab.end()


@pytest.mark.parametrize(
    ("dialled", "sent", "route"),
    [
        ("sip:x@far.example;a=b", "sip:x@far.example;a=b", "!Route"),
        ("sip:x%40deep.example@far.example._via", "sip:x@deep.example",
         "Route: <sip:far.example;lr>"),
        ("sip:x%20y@far.example._via", "sip:x%20y@far.example", "!Route"),
    ],
)  # fmt: skip
def test_addresses_that_say_their_way(dialled: str, sent: str, route: str) -> None:
    """What was dialled goes on as it is, unless a part of it only said where to connect."""
    lab = lab_with("Relay:far.example = far.example")
    outside(lab)
    lab.play(f"""
        alice > INVITE {dialled} a1
        out < INVITE a1 | Request-URI: {sent} | {route}
        out > 486
        out < ACK
        alice < 486
    """)
    lab.end()


def test_applications_wait_for_their_engine() -> None:
    """Until it is there the caller hears that nobody can be reached, and the log says why."""
    lab = lab_with()
    task = TaskCreated(name="queue", domain=DOMAIN, owner="bob", program="queue")
    change(lab, "task/queue", task)
    lab.play("""
        alice > INVITE *401 a1
        alice < 480
        alice.2 > INVITE queue a1
        alice.2 < 480
    """)
    lab.end()


def test_unknown_names_go_where_the_domain_says() -> None:
    lab = lab_with()
    lab.play("""
        alice > INVITE nobody a1
        alice < 404
    """)
    values = {"SignalToUnknown": "Rerouted to", "SignalRerouteAddress": "bob"}
    change(lab, "server", ServerSettingsChanged(section="domain-defaults", values=values))
    lab.play(f"""
        alice.2 > INVITE nobody a1
        bob < INVITE a1
        {BUSY.replace("alice", "alice.2")}
    """)
    rejected = DomainSettingsChanged(values={"SignalToUnknown": "Rejected"})
    change(lab, f"domain/{DOMAIN}", rejected)
    lab.play("""
        alice.3 > INVITE nobody a1
        alice.3 < 404
    """)
    discarded = DomainSettingsChanged(values={"SignalToUnknown": "Discarded"})
    change(lab, f"domain/{DOMAIN}", discarded)
    lab.play("""
        alice.4 > INVITE nobody a1
        alice.4 < 480
    """)
    change(lab, f"domain/{DOMAIN}", DomainSettingsChanged(removed=("SignalToUnknown",)))
    lab.play(f"""
        alice.5 > INVITE nobody a1
        bob.2 < INVITE a1
        {BUSY.replace("alice", "alice.5").replace("bob", "bob.2")}
    """)
    lab.end()


def test_a_phone_may_call_as_its_extension() -> None:
    """An alias in From is a name of the account."""
    lab = lab_with()
    change(lab, "account/alice", AccountAliasesSet(aliases=("400",)))
    lab.play(f"""
        alice > INVITE bob a1 | From: <sip:400@example.org>
        bob < INVITE a1
        {BUSY}
        alice.2 > INVITE bob a1 | From: <sip:401@example.org>
        alice.2 < 403
    """)
    lab.end()


def test_a_blind_transfer_to_an_alias_says_how_it_was_found() -> None:
    lab = lab_with("<77@*> = carol")
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 200 b1
        bob < ACK
        alice < 200 b1
        alice > ACK
        bob > REFER 77
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a1
    """)
    stories = [line for line in lab.story() if "table, line 1" in line]
    assert stories == ["server table, line 1: <77@*> = carol -> carol"]
