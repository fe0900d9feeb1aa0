"""Groups, forwarders, lists, tasks and the server's tables: decisions and folds."""

from __future__ import annotations

import pytest

from pbx.domain import objects, server
from pbx.domain.nodes import NodeStopped
from pbx.domain.objects import NO_OBJECT, GroupSet, ObjectState, evolve_object
from pbx.domain.server import CLUSTER_TABLE, NO_SERVER, evolve_server
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Event
from pbx.router import AddressError, ObjectKind, TableError


def folded(events: list[Event], state: ObjectState = NO_OBJECT) -> ObjectState:
    for event in events:
        state = evolve_object(state, event)
    return state


def test_a_group() -> None:
    made = objects.decide_create_group(
        NO_OBJECT, "sales", "a.dom", ["bob", " ann ", "bob"], "Sales", ["signaldisabled", "Expand"]
    )
    state = folded(made)
    assert (state.kind, state.address) == (ObjectKind.GROUP, "sales@a.dom")
    assert state.members == ("bob", "ann")
    assert (state.real_name, state.options) == ("Sales", ("Expand", "SignalDisabled"))
    assert objects.decide_set_group(state, "sales@a.dom", members=["bob", "ann"]) == []
    changed = objects.decide_set_group(state, "sales@a.dom", options=())
    assert changed == [GroupSet(members=("bob", "ann"), real_name="Sales")]
    assert len(objects.decide_create_group(NO_OBJECT, "x", "a.dom")) == 1
    gone = objects.decide_delete_object(state, ObjectKind.GROUP, "sales@a.dom")
    assert not folded(gone, state).exists


def test_what_no_group_can_have() -> None:
    with pytest.raises(DomainError, match="a group has at most"):
        objects.decide_create_group(NO_OBJECT, "x", "a.dom", [f"m{n}" for n in range(1001)])
    with pytest.raises(DomainError, match="'Loud' is no option of a group: Expand"):
        objects.decide_create_group(NO_OBJECT, "x", "a.dom", options=["Loud"])
    with pytest.raises(AddressError):
        objects.decide_create_group(NO_OBJECT, "x", "a.dom", ["two words"])


def test_a_forwarder() -> None:
    state = folded(objects.decide_create_forwarder(NO_OBJECT, "301", "a.dom", " sayhello#pbx "))
    assert (state.kind, state.target) == (ObjectKind.FORWARDER, "sayhello#pbx")
    assert objects.decide_set_forwarder(state, "301@a.dom", "sayhello#pbx") == []
    state = folded(objects.decide_set_forwarder(state, "301@a.dom", "bob@far.dom"), state)
    assert state.target == "bob@far.dom"
    with pytest.raises(AddressError):
        objects.decide_set_forwarder(state, "301@a.dom", "@")
    with pytest.raises(DomainError, match=r"the forwarder 301@a\.dom exists already"):
        objects.decide_create_forwarder(state, "301", "a.dom", "x")
    gone = objects.decide_delete_object(state, ObjectKind.FORWARDER, "301@a.dom")
    assert not folded(gone, state).exists


def test_a_list_and_a_task() -> None:
    state = folded(objects.decide_create_list(NO_OBJECT, "news", "a.dom", "ann"))
    state = folded(
        objects.decide_set_list(state, "news@a.dom", settings={"Subscribe": "nobody"}), state
    )
    assert (state.owner, state.settings) == ("ann", {"Subscribe": "nobody"})
    assert objects.decide_set_list(state, "news@a.dom", owner="ann") == []
    task = folded(objects.decide_create_task(NO_OBJECT, "queue", "a.dom", "ann", "acd.sppr"))
    assert (task.owner, task.program) == ("ann", "acd")
    task = folded(objects.decide_set_task(task, "queue@a.dom", real_name="Queue"), task)
    assert (task.program, task.real_name) == ("acd", "Queue")
    assert objects.decide_set_task(task, "queue@a.dom", program="acd") == []
    for program in ("", "a b", "a{b}", "../x"):
        with pytest.raises(DomainError, match="no name of a real-time application"):
            objects.decide_set_task(task, "queue@a.dom", program=program)
    for kind, made in ((ObjectKind.LIST, state), (ObjectKind.TASK, task)):
        gone = objects.decide_delete_object(made, kind, made.address)
        assert not folded(gone, made).exists


def test_an_object_of_another_kind_is_not_there() -> None:
    state = folded(objects.decide_create_list(NO_OBJECT, "news", "a.dom", "ann"))
    with pytest.raises(DomainError, match=r"no group news@a\.dom; see: pbx group list"):
        objects.decide_delete_object(state, ObjectKind.GROUP, "news@a.dom")
    with pytest.raises(DomainError, match="no forwarder"):
        objects.decide_set_forwarder(NO_OBJECT, "x@a.dom", "y")


def test_folds_ignore_what_they_do_not_know() -> None:
    other = NodeStopped()
    assert evolve_object(NO_OBJECT, other) is NO_OBJECT
    assert evolve_server(NO_SERVER, other) is NO_SERVER


def test_the_tables_of_the_server() -> None:
    text = "<a> = b ; kept as it is\r\n"
    (event,) = server.decide_set_table(NO_SERVER, text)
    state = evolve_server(NO_SERVER, event)
    assert state.table() == text
    assert server.decide_set_table(state, text) == []
    assert server.decide_install_table(state, "<c> = d") == []
    assert len(server.decide_install_table(NO_SERVER, "<c> = d")) == 1
    (event,) = server.decide_set_table(state, "<c> = d", CLUSTER_TABLE)
    state = evolve_server(state, event)
    assert (state.table(), state.table(CLUSTER_TABLE)) == (text, "<c> = d")
    with pytest.raises(TableError):
        server.decide_set_table(state, "nonsense")
    with pytest.raises(DomainError, match="no Router table 'x': server and cluster exist"):
        server.decide_set_table(state, "", "x")


def test_the_main_domain_is_chosen_once() -> None:
    (event,) = server.decide_set_main_domain(NO_SERVER, "a.dom")
    state = evolve_server(NO_SERVER, event)
    assert state.main_domain == "a.dom"
    assert server.decide_set_main_domain(state, "a.dom") == []
