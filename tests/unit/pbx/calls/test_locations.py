"""Bindings folded from the log at start-up."""

from __future__ import annotations

from pbx.domain.bindings import BindingAdded, BindingRefreshed, BindingRemoved
from pbx.domain.nodes import NodeStopped
from tests.unit.pbx.calls.lab import Lab

STREAM = "binding/alice@example.org"


def _added(lab: Lab, contact_id: str, transport: str = "udp") -> BindingAdded:
    return BindingAdded(
        contact_id=contact_id,
        contact=f"sip:{contact_id}@203.0.113.50;transport={transport}",
        expires_ns=lab.clock.wall_ns() + 60_000_000_000,
        sip_call_id="r",
        cseq=1,
        transport=transport,
        local="192.0.2.1:5060",
        remote="203.0.113.50:5070",
        nat=True,
    )


def test_fold() -> None:
    """Each version once, in order; a refresh moves one binding only."""
    lab = Lab("")
    locations = lab.node.locations
    locations.fold(STREAM, 1, _added(lab, "desk"))
    locations.fold(STREAM, 2, _added(lab, "soft"))
    locations.fold(STREAM, 2, _added(lab, "again"))
    refreshed = BindingRefreshed(
        contact_id="desk",
        expires_ns=lab.clock.wall_ns() + 600_000_000_000,
        sip_call_id="r",
        cseq=2,
        remote="203.0.113.51:5070",
        local="192.0.2.1:5060",
        transport="udp",
        nat=True,
    )
    locations.fold(STREAM, 3, refreshed)
    locations.fold(STREAM, 4, NodeStopped())
    location = locations.at("alice@example.org")
    assert location is not None
    assert location.version == 4
    assert [(b.contact_id, b.cseq) for b in location.bindings] == [("desk", 2), ("soft", 1)]
    assert [contact.target is not None for contact in locations.contacts("alice@example.org")] == [
        True,
        True,
    ]
    locations.fold(STREAM, 5, BindingRemoved(contact_id="soft", contact="x", reason="expired"))
    assert locations.statistics() == {"locations": 1, "bindings": 1}


def test_lapsed_while_the_server_was_down() -> None:
    """It is no contact any more, and is removed as soon as the clock runs."""
    lab = Lab("")
    locations = lab.node.locations
    locations.fold(STREAM, 1, _added(lab, "desk"))
    lab.clock.step_wall(61)
    assert locations.contacts("alice@example.org") == []
    lab.node.start("1", 1, (), lab.now)
    lab.advance(1.5)
    assert [event.reason for event in lab.log.of(BindingRemoved)] == ["expired"]
    assert locations.count == 0


def test_connection_of_an_earlier_run() -> None:
    """Without NAT the Contact is tried, behind NAT the dead flow says so at once."""
    lab = Lab("")
    locations = lab.node.locations
    locations.fold(STREAM, 1, _added(lab, "nat", "tcp"))
    (contact,) = locations.contacts("alice@example.org")
    assert contact.target is not None
    assert contact.target.flow is not None
