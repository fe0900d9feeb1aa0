"""Fixtures of the interop tests: a running server with accounts, and phones that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.phones import PjsuaPhone
from tests.support.server_process import DOMAIN, ServerProcess

NAMES = ("alice", "bob", "carol", "dave")
#: Several servers run side by side, so none of them takes the well-known NG port.
SETTINGS = '[media]\nng = "off"\n'
#: SIPp without credentials is one of the trusted sources.
TRUSTING = SETTINGS + '[sip]\nclient_ips = ["127.0.0.0/8"]\n'

PhoneOf = Callable[..., PjsuaPhone]


def with_accounts(server: ServerProcess) -> ServerProcess:
    """Create the test domain and its accounts; their passwords are ``secret-NAME``."""
    server.create_domain()
    for name in NAMES:
        server.create_account(name)
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server as it comes: who calls must prove who he is."""
    with ServerProcess(tmp_path_factory.mktemp("server"), settings=SETTINGS) as made:
        yield with_accounts(made)


@pytest.fixture(scope="module")
def trusting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that takes calls from this machine without credentials."""
    with ServerProcess(tmp_path_factory.mktemp("trusting"), settings=TRUSTING) as made:
        yield with_accounts(made)


@pytest.fixture
def phone_of(tmp_path: Path) -> Iterator[PhoneOf]:
    """Makes registered phones: ``phone_of(server, "alice", 440)``; closed after the test."""
    with ExitStack() as stack:

        def make(
            at: ServerProcess,
            name: str,
            frequency_hz: float = 0.0,
            *,
            transport: str = "udp",
            password: str = "",
            **options: Any,
        ) -> PjsuaPhone:
            made = stack.enter_context(
                PjsuaPhone(
                    tmp_path / f"{name}-{transport}",
                    f"sip:{name}@{DOMAIN}",
                    user=name,
                    password=password or f"secret-{name}",
                    registrar=f"sip:{DOMAIN}",
                    proxy=at.uri(transport),
                    transport=transport,
                    **options,
                )
            )
            if frequency_hz:
                made.tone(frequency_hz)
            answer = made.register()
            assert answer["status"] == 200, answer
            return made

        yield make
