"""SIPp through the server: every call flow of the scenario files, both legs checked by SIPp."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import PhoneOf
from tests.interop.peers.sipp import Sipp, register
from tests.support.phones import listen
from tests.support.server_process import DOMAIN, ServerProcess


@contextmanager
def callee(
    directory: Path, server: ServerProcess, scenario: str, transport: str = "udp", **options: Any
) -> Iterator[Sipp]:
    """A SIPp that answers for bob: its contact is registered before and removed afterwards."""
    remote = server.address(transport)
    with Sipp(directory, scenario, transport=transport, **options) as uas:
        register(directory, remote, "bob", uas.port, transport=transport)
        try:
            yield uas
        finally:
            register(directory, remote, "bob", uas.port, transport=transport, expires_s=0)


FLOWS = [
    ("uac_plain", "uas_answer"),
    ("uac_plain", "uas_slow_answer"),
    ("uac_reinvite", "uas_reinvite"),
    ("uac_cancel", "uas_cancelled"),
    ("uac_late_offer", "uas_late_offer"),
    ("uac_100rel", "uas_100rel"),
    ("uac_waits", "uas_hangs_up"),
]


@pytest.mark.parametrize(("caller", "answering"), FLOWS)
def test_a_trusted_caller_needs_no_credentials(
    trusting_server: ServerProcess, tmp_path: Path, caller: str, answering: str
) -> None:
    with (
        callee(tmp_path, trusting_server, answering) as uas,
        Sipp(tmp_path, caller, trusting_server.address()) as uac,
    ):
        uac.wait()
        uas.wait()
    trusting_server.await_no_calls()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_caller_with_credentials(server: ServerProcess, tmp_path: Path, transport: str) -> None:
    with (
        callee(tmp_path, server, "uas_answer", transport) as uas,
        Sipp(
            tmp_path,
            "uac_auth",
            server.address(transport),
            credentials=("alice", "secret-alice"),
            transport=transport,
        ) as uac,
    ):
        uac.wait()
        uas.wait()
    server.await_no_calls()


def test_a_busy_callee(server: ServerProcess, tmp_path: Path) -> None:
    with (
        callee(tmp_path, server, "uas_busy") as uas,
        Sipp(
            tmp_path,
            "uac_refused",
            server.address(),
            credentials=("alice", "secret-alice"),
        ) as uac,
    ):
        uac.wait()
        uas.wait()


def test_wrong_credentials_are_challenged_again(server: ServerProcess, tmp_path: Path) -> None:
    with Sipp(
        tmp_path, "uac_wrong_password", server.address(), credentials=("alice", "wrong")
    ) as uac:
        uac.wait()


def test_a_hundred_calls_at_once(trusting_server: ServerProcess, tmp_path: Path) -> None:
    with (
        callee(tmp_path, trusting_server, "uas_answer", calls=100) as uas,
        Sipp(
            tmp_path, "uac_plain", trusting_server.address(), calls=100, rate=50, hold_ms=3_000
        ) as uac,
    ):
        uac.wait()
        uas.wait()
    trusting_server.await_no_calls()


def test_a_phone_hears_its_echo_through_the_media_proxy(
    server: ServerProcess, phone_of: PhoneOf, tmp_path: Path
) -> None:
    alice = phone_of(server, "alice", 600)
    with callee(tmp_path, server, "uas_answer", echo=True) as uas:
        call = alice.call(f"sip:bob@{DOMAIN}")
        alice.confirmed(call)
        [heard] = listen(alice)
        assert heard.is_at(600), heard
        alice.hangup(call)
        uas.wait()
