"""Flows and targets."""

from __future__ import annotations

import pytest

from sip.flow import Flow, Target


@pytest.mark.parametrize(
    ("transport", "reliable", "secure"),
    [
        ("udp", False, False),
        ("tcp", True, False),
        ("tls", True, True),
        ("ws", True, False),
        ("wss", True, True),
    ],
)
def test_flow(transport: str, reliable: bool, secure: bool) -> None:
    flow = Flow(transport, ("192.0.2.1", 5060), ("192.0.2.2", 5070))
    assert (flow.reliable, flow.secure, flow.id) == (reliable, secure, 0)
    assert Target(transport, "192.0.2.2", 5070).flow is None
