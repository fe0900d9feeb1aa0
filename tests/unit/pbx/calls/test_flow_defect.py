"""What becomes of a call or request whose handling failed by a defect of ours."""

from __future__ import annotations

import pytest

from sip.dialog.invite import InviteUsage
from sip.events import InviteReceived, OfferReceived, RequestReceived
from tests.unit.pbx.calls.lab import Lab
from tests.unit.pbx.calls.test_flow_basic import ANSWERED


def test_the_call_of_a_failed_event_ends_for_everybody() -> None:
    """Nobody is left in a half-handled call; the record says it was our error."""
    lab = Lab()
    lab.play(ANSWERED)
    (call,) = lab.node.calls.values()
    usage = call.caller.usage
    assert isinstance(usage, InviteUsage)
    lab.node.abandon(OfferReceived(usage, b"", "INVITE"), lab.now)
    lab.pump()
    lab.play("""
        bob < ACK
        alice < BYE
        alice > 200
        bob < BYE
        bob > 200
    """)
    lab.end()


@pytest.mark.parametrize("request_line", ["INVITE bob a1", "OPTIONS bob"])
def test_a_failed_request_is_answered_once(
    request_line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 for an INVITE without a call and for any other request; an answered one is left."""
    lab = Lab()
    events: list[InviteReceived | RequestReceived] = []
    monkeypatch.setattr(lab.node, "on_events", lambda batch, now: events.extend(batch))
    lab.play(f"alice > {request_line}")
    (event,) = events
    lab.node.abandon(event, lab.now)
    if isinstance(event, RequestReceived):
        lab.node.abandon(event, lab.now)
    lab.pump()
    lab.play("alice < 500")
    lab.quiet()
