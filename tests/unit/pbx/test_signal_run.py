"""The shell of the signal role, where it decides something."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import pytest

from pbx.calls.node import SignalNode
from pbx.roles import Fatal
from pbx.settings import LimitSettings, Settings, SipSettings
from pbx.signal.from_settings import endpoint_limits, tls_contexts
from pbx.signal.run import deliver
from sip.endpoint import ensure_self_signed
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


def test_servers_that_we_call_are_verified_unless_told_otherwise(tmp_path: Path) -> None:
    made = tls_contexts(Settings(), tmp_path)
    assert made.must_verify("carrier.example")
    assert (tmp_path / "tls" / "self-signed.crt").exists()
    trusting = Settings(sip=SipSettings(tls_verify=False))
    assert not tls_contexts(trusting, tmp_path).must_verify("carrier.example")


def test_the_authorities_of_outgoing_tls_come_from_the_settings(tmp_path: Path) -> None:
    """Those named are trusted and no others."""
    authority, _ = ensure_self_signed(tmp_path / "carrier", ["carrier.example"])
    settings = Settings(sip=SipSettings(tls_ca_file=str(authority)))
    [trusted] = tls_contexts(settings, tmp_path).client_verified.get_ca_certs()
    assert ("commonName", "carrier.example") in [part[0] for part in trusted["subject"]]


@pytest.mark.parametrize(
    ("sip", "advice"),
    [
        (SipSettings(tls_ca_file="none.pem"), "none.pem.*sip.tls_ca_file, or leave it empty"),
        (SipSettings(tls_certificate="none.crt"), "none.crt.*sip.tls_certificate and sip.tls_key"),
    ],
)
def test_a_tls_file_that_will_not_do_is_named_with_what_to_do(
    tmp_path: Path, sip: SipSettings, advice: str
) -> None:
    with pytest.raises(Fatal, match=advice):
        tls_contexts(Settings(sip=sip), tmp_path)


def test_a_file_without_certificates_is_no_authority(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing\n")
    with pytest.raises(Fatal, match=r"ca\.pem.*sip\.tls_ca_file"):
        tls_contexts(Settings(sip=SipSettings(tls_ca_file=str(empty))), tmp_path)
