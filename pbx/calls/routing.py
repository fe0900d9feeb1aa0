"""From an address to what shall ring: account, contacts, or the world outside.

The Router table and the Signal Rules of later work plug in here; today: a local account rings
at its contacts, another domain is reached by RFC 3263 if the caller is one of ours.
"""

from __future__ import annotations

from typing import NamedTuple

from pbx.calls.dial import Contact
from pbx.calls.directory import Directory
from pbx.calls.locations import Locations
from sip.errors import RemoteProtocolError
from sip.uri import OpaqueUri, SipUri, parse_uri, unescape


class Route(NamedTuple):
    """What the router found: contacts to try, or the refusal."""

    contacts: list[Contact]
    status: int
    reason: str
    account: str = ""
    """The local account that is called."""


class Router:
    """See the module."""

    def __init__(self, directory: Directory, locations: Locations) -> None:
        self._directory = directory
        self._locations = locations

    def identity(self, account: str) -> str:
        """The URI an authenticated account is known by to others."""
        return f"sip:{account}"

    def route(self, uri: SipUri | OpaqueUri, caller: str) -> Route:
        """Resolve a Request-URI for the authenticated account `caller` (empty: a stranger)."""
        if not isinstance(uri, SipUri):
            return Route([], 416, f"scheme {uri.scheme} is not routed")
        domain = self._directory.local_domain(uri.host)
        if not domain:
            if not caller:
                return Route([], 403, "strangers may not relay")
            return Route([Contact(str(uri))], 0, f"{uri.host} is outside: resolved by DNS")
        user = unescape(uri.user or "")
        account = self._directory.account(user, domain)
        if account is None:
            return Route([], 404, f"no account {user}@{domain}")
        gr = uri.params["gr"] or "" if "gr" in uri.params else None
        contacts = self._locations.contacts(account.address, gr)
        if not contacts:
            return Route([], 480, f"{account.address} has no registered device")
        return Route(contacts, 0, f"account {account.address}", account.address)

    def redirected(self, uri_text: str, account: str) -> Route:
        """Resolve a Contact of a 3xx in the name of `account`."""
        try:
            uri = parse_uri(uri_text)
        except RemoteProtocolError:
            return Route([], 400, "the redirect cannot be read")
        return self.route(uri, account)
