"""Addresses that are refused for a while: stream ``server/blacklist``, category ``pbx.config``.

What administrators put on the list and take off it. Sources that a node locked by itself, for wrong
logins, are ``source.blocked.v1`` of that node.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pbx.domain.setting_events import CONFIG
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Durability, Event, event

STREAM: Final = "server/blacklist"

MAX_ENTRIES: Final = 10_000
"""Entries at once; a list that long is a firewall's work."""
FOREVER: Final = 0


@event("address.blacklisted.v1", category=CONFIG, durability=Durability.DECIDED)
class AddressBlacklisted(Event):
    """The address gets no service until a time."""

    address: str
    until_ns: int = FOREVER
    """0: until it is taken off the list."""
    reason: str = ""


@event("address.released.v1", category=CONFIG, durability=Durability.DECIDED)
class AddressReleased(Event):
    """The address is not refused any more; every node forgets its wrong logins."""

    address: str


@dataclass(frozen=True, slots=True)
class Blacklist:
    """Addresses and when their time is over."""

    until_ns: Mapping[str, int] = field(default_factory=dict)

    def live(self, now_ns: int) -> dict[str, int]:
        """Entries whose time is not over: address -> `until_ns`, 0 for ever."""
        return {
            address: until
            for address, until in self.until_ns.items()
            if until == FOREVER or until > now_ns
        }

    def holds(self, address: str, now_ns: int) -> bool:
        """Whether an address is refused now."""
        until = self.until_ns.get(address)
        return until is not None and (until == FOREVER or until > now_ns)


EMPTY: Final = Blacklist()


def evolve_blacklist(state: Blacklist, happened: Event) -> Blacklist:
    """Fold one event of the list."""
    match happened:
        case AddressBlacklisted():
            return Blacklist({**state.until_ns, happened.address: happened.until_ns})
        case AddressReleased():
            rest = {a: until for a, until in state.until_ns.items() if a != happened.address}
            return Blacklist(rest)
        case _:
            return state


def address_text(text: str) -> str:
    """An address in its stored form. Raises :class:`DomainError` if it is none."""
    try:
        return str(ipaddress.ip_address(text.strip().strip("[]")))
    except ValueError:
        raise DomainError(f"{text!r} is no IP address: write 192.0.2.1 or 2001:db8::1") from None


def decide_blacklist(state: Blacklist, address: str, until_ns: int, now_ns: int) -> list[Event]:
    """Refuse an address until a time (0: for ever)."""
    if len(state.live(now_ns)) >= MAX_ENTRIES and address not in state.until_ns:
        raise DomainError(f"the blacklist has {MAX_ENTRIES} addresses: release some first")
    return [AddressBlacklisted(address=address, until_ns=until_ns, reason="administrator")]


def decide_release(address: str) -> list[Event]:
    """Take an address off the list, and have nodes forget what they hold against it."""
    return [AddressReleased(address=address)]
