"""Slots of the cluster's port: strangers displace each other, never a node."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbx.signal.link_slots import LinkSlots, source_of

PER_SOURCE, STRANGERS, NODES, PER_NODE = 2, 5, 6, 2


def slots() -> LinkSlots[int]:
    return LinkSlots(per_source=PER_SOURCE, strangers=STRANGERS, nodes=NODES, per_node=PER_NODE)


def test_one_source_displaces_its_own() -> None:
    held = slots()
    assert held.admit(1, "192.0.2.1", known=False) is None
    assert held.admit(2, "192.0.2.2", known=False) is None
    assert held.admit(3, "192.0.2.1", known=False) is None
    assert held.admit(4, "192.0.2.1", known=False) == 1
    assert held.admit(5, "192.0.2.1", known=False) == 3
    assert len(held) == 3


def test_many_sources_displace_the_oldest_stranger_and_no_node() -> None:
    held = slots()
    assert held.admit(100, "10.0.0.1", known=True) is None
    assert held.admit(101, "10.0.0.2", known=True) is None
    assert held.prove(101, "b") is None
    displaced = [held.admit(n, f"192.0.2.{n}", known=False) for n in range(20)]
    assert displaced == [None] * STRANGERS + list(range(20 - STRANGERS))
    assert held.proved == 1
    assert held.prove(100, "a") is None, "it was not displaced meanwhile"


def test_the_newest_connections_of_a_node_count() -> None:
    held = slots()
    for n in range(3):
        held.admit(n, "10.0.0.1", known=True)
        displaced = held.prove(n, "a")
        assert displaced == (0 if n == 2 else None)
    held.gone(1)
    held.gone(1)
    assert held.proved == len(held) == 1


def test_an_address_of_ipv6_stands_for_its_network() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") == "2001:db8::"
    assert source_of("2001:db8:0:1::1") != source_of("2001:db8::1")
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1") == "192.0.2.1"
    assert source_of("fe80::1%eth0") == "fe80::"
    assert source_of("") == ""


Step = tuple[str, int, int]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["stranger", "node", "prove", "gone"]),
            st.integers(0, 7),
            st.integers(0, 40),
        ),
        max_size=80,
    )
)
def test_bounds_hold_and_what_is_displaced_has_proved_nothing(steps: list[Step]) -> None:
    held = slots()
    alive: dict[int, str] = {}
    proved: dict[int, str] = {}
    for number, (what, where, which) in enumerate(steps):
        if what in ("stranger", "node"):
            displaced = held.admit(number, f"192.0.2.{where}", known=what == "node")
            alive[number] = f"{what} {where}"
            if displaced is not None:
                assert displaced not in proved
                kind = alive.pop(displaced)
                assert kind.split()[0] == what, "each displaces its like"
        elif what == "prove" and which in alive and which not in proved:
            displaced = held.prove(which, f"n{where}")
            if displaced is not None:
                assert proved.pop(displaced) == f"n{where}"
                del alive[displaced]
            proved[which] = f"n{where}"
        elif what == "gone":
            held.gone(which)
            alive.pop(which, None)
            proved.pop(which, None)
        waiting = [kind for one, kind in alive.items() if one not in proved]
        assert len(held) == len(alive)
        assert held.proved == len(proved)
        assert sum(kind.startswith("stranger") for kind in waiting) <= STRANGERS
        assert sum(kind.startswith("node") for kind in waiting) <= NODES
        assert all(waiting.count(kind) <= PER_SOURCE for kind in waiting)
        assert all(list(proved.values()).count(name) <= PER_NODE for name in proved.values())
