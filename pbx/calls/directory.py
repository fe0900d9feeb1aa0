"""Who exists: domains and accounts in memory, folded from the configuration events.

Fed record by record (start-up from the read model's accounts, then the log's tail, in order);
asked by authentication, routing and the registrar on the call path. Holds no secret in clear:
digest HA1 values only.
"""

from __future__ import annotations

from pbx.domain import accounts as config
from pbx.kernel.events import Event


class Account:
    """What the call path needs of one account."""

    __slots__ = (
        "calls_limit", "display_name", "domain", "ha1_md5", "ha1_sha256", "max_contacts", "name",
    )  # fmt: skip

    def __init__(self, name: str, domain: str, display_name: str = "") -> None:
        self.name = name
        self.domain = domain
        self.display_name = display_name
        self.ha1_md5 = ""
        self.ha1_sha256 = ""
        self.calls_limit = -1
        """-1: the server's default applies; so for `max_contacts`."""
        self.max_contacts = -1

    @property
    def address(self) -> str:
        """``name@domain``, the address of record without its scheme."""
        return f"{self.name}@{self.domain}"


class Directory:
    """Domains and accounts by name; names are case-insensitive (kept lower case)."""

    def __init__(self) -> None:
        self._domains: dict[str, str] = {}
        """Domain name or alias -> domain name, in order of creation."""
        self._accounts: dict[str, Account] = {}
        self._own_hosts: frozenset[str] = frozenset()

    def set_own_hosts(self, hosts: frozenset[str]) -> None:
        """Addresses of this server: as a domain part they mean the main domain."""
        self._own_hosts = hosts

    @property
    def main_domain(self) -> str:
        """The domain that was created first, empty if there is none."""
        return next(iter(self._domains.values()), "")

    def local_domain(self, host: str) -> str:
        """Name of our domain that `host` means, empty if it is not ours."""
        host = host.lower()
        known = self._domains.get(host)
        if known is not None:
            return known
        return self.main_domain if host in self._own_hosts else ""

    def account(self, user: str, domain: str) -> Account | None:
        """The account `user` of the domain name `domain` (as :meth:`local_domain` gave it)."""
        return self._accounts.get(f"{user.lower()}@{domain}")

    def by_address(self, address: str) -> Account | None:
        """The account ``name@domain``."""
        return self._accounts.get(address)

    def by_login(self, username: str, realm: str) -> Account | None:
        """The account a digest user name means: ``user``, ``user@domain``, ``user%domain``."""
        user, separator, domain = username.replace("%", "@", 1).partition("@")
        if separator:
            local = self.local_domain(domain)
            return self.account(user, local) if local and local == realm else None
        return self.account(user, realm)

    def statistics(self) -> dict[str, int]:
        """Table sizes."""
        return {"domains": len(set(self._domains.values())), "accounts": len(self._accounts)}

    def apply(self, stream: str, event: Event) -> None:
        """Fold one event of ``domain/…`` or ``account/…``; others are ignored."""
        match event:
            case config.DomainCreated():
                name = event.name.lower()
                for alias in (name, *event.aliases):
                    self._domains[alias.lower()] = name
            case config.DomainDeleted():
                name = event.name.lower()
                self._domains = {
                    alias: domain for alias, domain in self._domains.items() if domain != name
                }
            case config.AccountCreated():
                account = Account(event.name.lower(), event.domain.lower(), event.display_name)
                self._accounts[account.address] = account
            case config.AccountPasswordSet():
                account = self._accounts.get(stream.removeprefix("account/"))  # type: ignore[assignment]
                if account is not None:
                    account.ha1_md5 = event.ha1_md5
                    account.ha1_sha256 = event.ha1_sha256
            case config.AccountLimitsSet():
                account = self._accounts.get(stream.removeprefix("account/"))  # type: ignore[assignment]
                if account is not None:
                    account.calls_limit = event.calls_limit
                    account.max_contacts = event.max_contacts
            case config.AccountDeleted():
                self._accounts.pop(stream.removeprefix("account/"), None)
            case _:
                pass
