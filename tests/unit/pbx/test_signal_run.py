"""The shell of the signal role, where it decides something."""

from __future__ import annotations

import logging
from typing import cast

import pytest

from pbx.calls.node import SignalNode
from pbx.settings import LimitSettings, Settings
from pbx.signal.run import deliver, endpoint_limits
from sip.events import Event


class PlantedNode:
    """Handles everything but one event."""

    def __init__(self) -> None:
        self.handled: list[object] = []

    def on_events(self, events: list[object], now: float) -> None:
        for event in events:
            if event == "bad":
                raise RuntimeError("planted")
            self.handled.append(event)


def test_a_defect_costs_one_event_and_not_its_neighbours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Events of other calls come in the same batch; the operator gets the traceback."""
    node = PlantedNode()
    events = cast(list[Event], ["first", "bad", "last"])
    with caplog.at_level(logging.ERROR):
        deliver(cast(SignalNode, node), events, 1.0)
    assert node.handled == ["first", "last"]
    assert "planted" in caplog.text


def test_connection_limits_come_from_the_settings() -> None:
    """Each has its own key, so that an operator can tighten it while he is under attack."""
    limits = endpoint_limits(
        Settings(
            limits=LimitSettings(
                connections=1,
                connections_per_source=2,
                first_message_s=3,
                message_s=4,
                idle_s=5,
                tls_handshake_s=6,
            )
        )
    )
    assert (limits.connections, limits.connections_per_address) == (1, 2)
    assert (limits.first_message_s, limits.message_s, limits.idle_s) == (3, 4, 5)
    assert limits.tls_handshake_s == 6
