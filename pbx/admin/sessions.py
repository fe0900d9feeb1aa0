"""Who is logged in to the command protocol: listed and ended by administrators."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Final

from pbx.admin.jobs import Client
from pbx.data import Value

_ID_BITS: Final = 80


@dataclass(slots=True)
class SessionTable:
    """Sessions by id; bounded by the connections that the shell takes."""

    _clients: dict[str, tuple[Client, int]] = field(default_factory=dict)

    def open(self, client: Client, now_ns: int, rng: Random) -> None:
        """A client logged in (again: as somebody else)."""
        if not client.session:
            client.session = f"{rng.getrandbits(_ID_BITS):020x}"
        self._clients[client.session] = client, now_ns

    def close(self, client: Client) -> None:
        """A client is gone."""
        self._clients.pop(client.session, None)

    def of_account(self, account: str) -> list[str]:
        """Ids of the sessions of an account."""
        return [key for key, (client, _) in self._clients.items() if client.account == account]

    def find(
        self, account: str, address: str = "", protocol: str = "", domain: str = ""
    ) -> list[str]:
        """Ids of sessions of an account that come from an address and speak a protocol."""
        return [
            key
            for key in self.of_account(account)
            if (not address or self._clients[key][0].address == address)
            and (not protocol or self._clients[key][0].protocol == protocol.upper())
            and (not domain or account.endswith(f"@{domain}"))
        ]

    def account_of(self, session: str) -> str:
        """Whose a session is; empty if there is none with this id."""
        client, _ = self._clients.get(session, (None, 0))
        return client.account if client is not None else ""

    def describe(self, session: str) -> dict[str, Value]:
        """The data of a session that is there."""
        client, since_ns = self._clients[session]
        return {
            "ID": session,
            "accountName": client.account,
            "address": client.address,
            "protocol": client.protocol,
            "secure": "YES" if client.secure else "NO",
            "created": datetime.fromtimestamp(since_ns // 1_000_000_000, UTC),
        }

    def kill(self, session: str) -> None:
        """End a session: it gets no further command carried out and is closed."""
        client, _ = self._clients.pop(session)
        client.killed = True

    def __len__(self) -> int:
        return len(self._clients)
