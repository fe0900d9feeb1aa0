"""Providers in the simulated world: registrars that the server registers with through any weather.

Each is a :class:`~tests.support.fake_provider.FakeProvider` on the simulated network. What must
hold is judged from their side: no request breaks a rule of SIP, once the weather is good again each
knows the server by the contact that the server believes to have, and none does after it has left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pbx.domain.configuration import RECORDS
from pbx.domain.setting_events import AccountSettingsChanged
from tests.support.clock import Scheduler, VirtualClock
from tests.support.fake_provider import FakeProvider
from tests.support.network import Address, FakeNetwork

if TYPE_CHECKING:
    from pbx.trunks.trunks import Trunks

PERIOD_S = 60
PASSWORD = "trunk-secret"


class NetworkWire:
    """The network, as a provider sees it."""

    def __init__(self, network: FakeNetwork, server: Address) -> None:
        self.scheduler: Scheduler = network.scheduler
        self.clock: VirtualClock = network.clock
        self._network = network
        self._server = server

    def serve(self, address: Address, receive: Callable[[bytes], None]) -> None:
        self._network.attach(address, lambda data, source, destination: receive(data))

    def datagram(self, data: bytes, source: Address) -> object:
        self._network.send(data, source, self._server)
        return None


class Providers:
    """`count` of them, each with one record of an account of its own."""

    def __init__(self, network: FakeNetwork, server: Address, accounts: list[str]) -> None:
        wire = NetworkWire(network, server)
        self.accounts = accounts
        self._all = [
            FakeProvider(
                wire,
                (f"10.9.0.{number}", 5060),
                user=f"customer{number}",
                password=PASSWORD,
                realm=f"10.9.0.{number}",
            )
            for number in range(1, len(accounts) + 1)
        ]

    def records(self) -> list[tuple[str, AccountSettingsChanged]]:
        """Streams and events that configure the server."""
        return [
            (
                f"account/{account}",
                AccountSettingsChanged(
                    section=RECORDS,
                    values={
                        "RSIP": {
                            "line": {
                                "domain": provider.address[0],
                                "fromName": provider.user,
                                "period": f"{PERIOD_S}s",
                            }
                        }
                    },
                    secrets=f'{{"RSIP":{{"line":{{"password":"{PASSWORD}"}}}}}}',
                ),
            )
            for account, provider in zip(self.accounts, self._all, strict=True)
        ]

    def breaches(self, trunks: Trunks | None) -> list[str]:
        """What is wrong when the weather is good."""
        wrong = [f"{p.address[0]}: {problem}" for p in self._all for problem in p.problems]
        if trunks is None:
            return [*wrong, "no server runs"]
        believed = {line.record.host: line.contact for line in trunks.lines()}
        return wrong + [
            f"{provider.address[0]} knows {provider.registered} and the server believes"
            f" {believed.get(provider.address[0])}"
            for provider in self._all
            if believed.get(provider.address[0], "") not in provider.registered
        ]

    def left_behind(self) -> list[str]:
        """Providers that still know a server that has left."""
        return [
            f"{provider.address[0]} still knows {provider.registered}"
            for provider in self._all
            if provider.registered
        ]
