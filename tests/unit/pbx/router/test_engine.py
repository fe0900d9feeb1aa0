"""Decisions beyond the examples of the reference: objects, refusals, relay marks, groups."""

from __future__ import annotations

import pytest

from pbx.router import (
    DEFAULT_TABLE,
    Forwarder,
    Group,
    Kind,
    MailingList,
    Module,
    NamedTask,
    Outcome,
    Route,
    Rule,
    Unknown,
    UnknownPolicy,
    fan_out,
    route,
    shown_steps,
)
from pbx.router.engine import MAX_MEMBERS
from tests.support.routing import DictState, corporation

MAIN = "corpx.un"


@pytest.fixture
def state() -> DictState:
    """The corporation with one object of each kind."""
    made = corporation(DEFAULT_TABLE)
    made.add(
        MAIN,
        Group("sales", ("401", "x@far.dom")),
        Group("silent", ("401",), mail=False, signal=False),
        MailingList("news"),
        Forwarder("desk", "401"),
        NamedTask("queue", "user1", "acdqueue"),
    )
    return made


@pytest.mark.parametrize(
    ("address", "mail", "signal", "access"),
    [
        ("user1", "account", "account", "account"),
        ("desk", "account", "account", "account"),
        ("sales", "group", "group", "refused 403"),
        ("silent", "refused 403", "refused 403", "refused 403"),
        ("news", "list", "refused 404", "refused 403"),
        ("news-on", "list", "unknown 404", "unknown 404"),
        ("queue", "task", "task", "refused 403"),
        ("all", "all", "unknown 404", "unknown 404"),
        ("box#user1", "account", "application", "account"),
        ("box#desk", "account", "refused 404", "account"),
        ("box#sales", "refused 404", "refused 404", "refused 404"),
        ("box#nobody", "unknown 404", "unknown 404", "unknown 404"),
        ("#user1", "refused 404", "refused 404", "refused 404"),
        ("a{b#user1", "refused 404", "refused 404", "refused 404"),
        ("service{12}#", "refused 403", "refused 403", "refused 403"),
        ("sales+x", "group", "group", "refused 403"),
        ("x@y.list", "refused 404", "refused 404", "refused 404"),
        ("x@far.dom.smtp", "foreign", "refused 404", "refused 404"),
        ("x@far.dom._xmpp", "refused 404", "foreign", "refused 404"),
        ("x@nobody.local", "refused 404", "refused 404", "refused 404"),
        ("x@y.dom%z", "refused 484", "refused 484", "refused 484"),
        ("x\x01y", "refused 484", "refused 484", "refused 484"),
    ],
)
def test_objects_by_routing_type(
    state: DictState, address: str, mail: str, signal: str, access: str
) -> None:
    expected = {Kind.MAIL: mail, Kind.SIGNAL: signal, Kind.ACCESS: access}
    for kind, words in expected.items():
        found = route(address, kind, state)
        outcome, _, status = words.partition(" ")
        assert (found.outcome.value, found.status) == (outcome, int(status or 0)), (kind, found)
        assert bool(found.reason) == bool(status)


def test_what_a_list_address_asks_for(state: DictState) -> None:
    assert route("news-admin", Kind.MAIL, state).detail == "admin"
    assert route("news+x", Kind.MAIL, state).detail == "x"
    assert route("NEWS", Kind.MAIL, state).module is Module.LIST


def test_a_task_runs_for_its_owner(state: DictState) -> None:
    found = route("queue", Kind.SIGNAL, state)
    assert (found.account, found.detail) == ("queue@corpx.un", "acdqueue")
    assert "task acdqueue of user1" in shown_steps(found)[-1]


def test_nothing_is_here_before_the_first_domain() -> None:
    found = route("user1", Kind.SIGNAL, DictState())
    assert (found.status, found.reason) == (404, "this server has no domain yet")
    assert route("x@far.dom", Kind.SIGNAL, DictState()).outcome is Outcome.FOREIGN


def test_a_name_with_separators_that_somebody_has_is_a_name(state: DictState) -> None:
    """Object names may have points and hyphens: only unknown ones are read as numbers."""
    state.account("40-1@corpx.un")
    assert route("40-1", Kind.SIGNAL, state).account == "40-1@corpx.un"
    assert route("4-01", Kind.SIGNAL, state).account == "user1@corpx.un"
    assert route("4-01", Kind.MAIL, state).outcome is Outcome.UNKNOWN


def test_numbers_may_be_forwarders(state: DictState) -> None:
    """Router reference §6 (c)."""
    state.add(MAIN, Forwarder("74951234567", "401"))
    assert route("+74951234567", Kind.SIGNAL, state).account == "user1@corpx.un"


def test_a_record_wins_over_an_object_and_a_mark_over_nothing(state: DictState) -> None:
    state.set_table("<user1> = pbx\nRelay:far.dom = far.dom\nfar.dom = near.dom")
    assert route("user1", Kind.SIGNAL, state).account == "pbx@corpx.un"
    found = route("x@far.dom", Kind.SIGNAL, state)
    assert (found.host, found.relay) == ("near.dom", True)
    assert [step.rule for step in found.steps] == [Rule.MARK, Rule.RECORD, Rule.FINAL]
    assert shown_steps(found)[0].endswith("Relay:far.dom = far.dom (address unchanged)")
    assert not route("x%deep.dom@far.dom", Kind.SIGNAL, state).relay


def test_a_line_that_lets_addresses_grow_ends(state: DictState) -> None:
    """Twelve stars make twelve copies: without a bound the third round fills the memory."""
    state.set_table("<a*> = a************")
    found = route("a" * 500, Kind.SIGNAL, state)
    assert (found.outcome, found.status) == (Outcome.REFUSED, 482)
    assert found.reason == "line 1 of the Router table makes the address too long"


def test_the_mark_stays_through_later_rewrites(state: DictState) -> None:
    state.set_table("Relay:<a@far.dom> = b@far.dom\nNoRelay:<b@far.dom> = c@far.dom")
    assert route("a@far.dom", Kind.MAIL, state).relay
    assert not route("b@far.dom", Kind.MAIL, state).relay


def test_relaying_through_our_domains_is_seen(state: DictState) -> None:
    """A nested local part at any domain of ours is the address inside, without a mark."""
    for address in ("x%far.dom@corpx.un", "x%far.dom@compx.un", "x%far.dom@mail.corpx.un"):
        found = route(address, Kind.MAIL, state)
        assert (found.outcome, found.host, found.relay) == (Outcome.FOREIGN, "far.dom", False)
        assert found.steps[-2].rule is Rule.NESTED


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        (Unknown.REJECT, Outcome.UNKNOWN),
        (Unknown.DISCARD, Outcome.DISCARD),
        (Unknown.BOUNCE, Outcome.BOUNCE),
    ],
)
def test_unknown_names(state: DictState, action: Unknown, outcome: Outcome) -> None:
    state.policies[MAIN, Kind.MAIL] = UnknownPolicy(action, consult=True)
    found = route("nobody", Kind.MAIL, state)
    assert found.outcome is outcome
    assert found.consult == (outcome is Outcome.UNKNOWN)


def test_unknown_names_go_elsewhere_in_the_name_of_the_domain(state: DictState) -> None:
    state.policies[MAIN, Kind.SIGNAL] = UnknownPolicy(Unknown.REROUTE, "sip-*@far.dom")
    found = route("nobody", Kind.SIGNAL, state)
    assert (str(found.address), found.relay) == ("sip-nobody@far.dom", True)
    state.policies[MAIN, Kind.SIGNAL] = UnknownPolicy(Unknown.REROUTE, "nobody")
    assert route("nobody", Kind.SIGNAL, state).status == 482


def test_a_group_is_reached_in_its_members(state: DictState) -> None:
    state.add(MAIN, Group("both", ("sales", "user1", "both", "desk", "echotest", "nobody")))
    found = route("both", Kind.SIGNAL, state)
    members = list(fan_out(found, Kind.SIGNAL, state))
    assert [str(member.address) for member in members] == [
        "user1@corpx.un",
        "x@far.dom",
        "echotest#pbx@corpx.un",
        "nobody@corpx.un",
    ]
    assert members[1].relay


def test_a_group_has_a_bound(state: DictState) -> None:
    state.add(MAIN, Group("crowd", tuple(f"n{number}@far.dom" for number in range(1000))))
    found = route("crowd", Kind.SIGNAL, state)
    assert len(list(fan_out(found, Kind.SIGNAL, state))) == MAX_MEMBERS


def test_ports_are_kept(state: DictState) -> None:
    for address, host, port in (
        ("x@far.dom:5070", "far.dom", 5070),
        ("x@far.dom.5070._via", "far.dom", 5070),
        ("x@1.2.3.4._via", "1.2.3.4", 0),
        ("x@1.2.3.4.5070._via", "1.2.3.4", 5070),
        ("x@far.dom.99999._via", "far.dom.99999", 0),
    ):
        found = route(address, Kind.SIGNAL, state)
        assert (found.host, found.port) == (host, port), found


def reached(found: Route) -> tuple[str, str, str]:
    return found.triple()


def test_triples(state: DictState) -> None:
    assert reached(route("null", Kind.MAIL, state)) == ("SYSTEM", "NULL", "")
    assert reached(route("nobody", Kind.MAIL, state)) == ("", "", "nobody@corpx.un")
    assert not route("nobody", Kind.MAIL, state).reached
    assert route("user1", Kind.MAIL, state).reached
