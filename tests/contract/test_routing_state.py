"""What the router may expect of every :class:`~pbx.router.state.RoutingState`.

The directory folded in memory, the one of the signal role that looks things up, and the state of
the router's own tests.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pbx.calls.directory import Directory
from pbx.calls.stored_directory import StoredDirectory
from pbx.configdb import ConfigDb
from pbx.domain.accounts import (
    AccountAliasesSet,
    AccountCreated,
    AccountTelnumsSet,
    DomainCreated,
)
from pbx.domain.objects import ForwarderCreated, GroupCreated, GroupSet, ListCreated, TaskCreated
from pbx.domain.server import RouterTableSet
from pbx.domain.setting_events import DomainSettingsChanged
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta
from pbx.kernel.events import Event
from pbx.router import (
    Forwarder,
    Group,
    Kind,
    MailingList,
    NamedTask,
    ObjectKind,
    Outcome,
    RoutingState,
    Unknown,
    UnknownPolicy,
    route,
)
from tests.support.routing import DictState

TABLE = "<9@*> = ann"


def changes() -> list[tuple[str, Event]]:
    return [
        ("domain/a.dom", DomainCreated(name="a.dom", aliases=("alias.dom",))),
        ("domain/b.dom", DomainCreated(name="b.dom")),
        ("account/ann@a.dom", AccountCreated(name="ann", domain="a.dom")),
        ("account/ann@a.dom", AccountAliasesSet(aliases=("401",))),
        ("account/ann@a.dom", AccountTelnumsSet(telnums=("+491",))),
        ("group/g@a.dom", GroupCreated(name="g", domain="a.dom")),
        ("group/g@a.dom", GroupSet(members=("ann",))),
        ("forwarder/f@a.dom", ForwarderCreated(name="f", domain="a.dom", target="ann")),
        ("list/l@a.dom", ListCreated(name="l", domain="a.dom", owner="ann")),
        ("task/t@a.dom", TaskCreated(name="t", domain="a.dom", owner="ann", program="p")),
        ("server", RouterTableSet(text=TABLE)),
        ("domain/b.dom", DomainSettingsChanged(values={"MailToUnknown": "Discarded"})),
    ]


def folded() -> RoutingState:
    state = Directory()
    for stream, event in changes():
        state.apply(stream, event)
    return state


def looked_up() -> RoutingState:
    log = MemoryLog()
    for stream, event in changes():
        log.append(stream, ANY_VERSION, [event], Meta())
    database = ConfigDb(None, lambda: log.codec)
    database.advance(log)
    return StoredDirectory(database.reader(), log.codec.decode, cached=1)


def dictionaries() -> RoutingState:
    state = DictState("a.dom", "b.dom", table=TABLE)
    state.hosts["alias.dom"] = "a.dom"
    state.account("ann@a.dom", "401")
    state.telnums.update({"+491": "ann@a.dom", "491": "ann@a.dom"})
    state.add("a.dom", Group("g", ("ann",)), Forwarder("f", "ann"), MailingList("l"))
    state.add("a.dom", NamedTask("t", "ann", "p"))
    state.policies["b.dom", Kind.MAIL] = UnknownPolicy(Unknown.DISCARD, "spamtrap")
    return state


@pytest.fixture(params=[folded, looked_up, dictionaries])
def state(request: pytest.FixtureRequest) -> RoutingState:
    made: Callable[[], RoutingState] = request.param
    return made()


def test_domains(state: RoutingState) -> None:
    assert state.main_domain == "a.dom"
    assert [state.local_domain(name) for name in ("a.dom", "alias.dom", "b.dom", "c.dom", "")] == [
        "a.dom", "a.dom", "b.dom", "", "",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["ann", "401"])
def test_an_account_by_name_and_alias(state: RoutingState, name: str) -> None:
    found = state.find(name, "a.dom")
    assert found is not None
    assert (found.object_kind, found.name) == (ObjectKind.ACCOUNT, "ann")
    assert state.find(name, "b.dom") is None
    assert state.find(name, "alias.dom") is None, "domains are asked for by their own names"


def test_other_objects(state: RoutingState) -> None:
    assert state.find("g", "a.dom") == Group("g", ("ann",))
    assert state.find("f", "a.dom") == Forwarder("f", "ann")
    assert state.find("l", "a.dom") == MailingList("l")
    assert state.find("t", "a.dom") == NamedTask("t", "ann", "p")
    assert state.find("x", "a.dom") is None


def test_numbers_with_and_without_a_plus(state: RoutingState) -> None:
    assert [state.telnum(number) for number in ("+491", "491", "492", "")] == [
        "ann@a.dom", "ann@a.dom", "", "",
    ]  # fmt: skip


def test_unknown_names(state: RoutingState) -> None:
    assert state.unknown("b.dom", Kind.MAIL).action is Unknown.DISCARD
    assert state.unknown("b.dom", Kind.SIGNAL).action is Unknown.REJECT
    assert state.unknown("a.dom", Kind.MAIL).action is Unknown.REJECT


def test_the_router_over_it(state: RoutingState) -> None:
    for address in ("9@b.dom", "401@alias.dom", "491@telnum", "f", "ANN"):
        assert route(address, Kind.SIGNAL, state).account == "ann@a.dom", address
    assert route("x@b.dom", Kind.MAIL, state).outcome is Outcome.DISCARD
