"""Who may give which command: codes of rights, and what a command asks for.

Rights are codes on the account (``SETACCOUNTRIGHTS``). Server rights count only for accounts of the
main domain; ``Master`` means all of them. ``Domain`` makes an administrator of the account's own
domain: it lets everything of the domain be read, and each change needs a code of its own. Domains
whose ``AdminDomainName`` names that domain are administered as well. Objects and settings
reference §7.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

MASTER: Final = "Master"
SETTINGS: Final = "Settings"
ALL_DOMAINS: Final = "UserAccounts"
MONITOR: Final = "Monitor"
DIRECTORY: Final = "Directory"
DOMAIN: Final = "Domain"
TUNE_LOGS: Final = "CanTuneLoggerSettings"

SERVER_RIGHTS: Final = frozenset(
    {MASTER, SETTINGS, ALL_DOMAINS, "DomainsRead", MONITOR, DIRECTORY, TUNE_LOGS}
)
"""They say something about the server, so only a Master may grant them."""


class Realm(enum.Enum):
    """What a command is about, and so who may give it."""

    EVERYBODY = "everybody"
    """Whoever is logged in."""
    ADMINISTRATOR = "administrators"
    """Whoever has any right."""
    SERVER = "server"
    """Holders of one of some server rights."""
    DOMAIN = "domain"
    """All Domains, or an administrator of the domain that the command names."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a command asks of who gives it."""

    realm: Realm
    rights: tuple[str, ...] = ()
    """For the server: one of these. For a domain: the code besides ``Domain``, if one is needed."""
    owner: bool = False
    """The account itself may do it, too."""

    def words(self) -> str:
        """For the documentation."""
        match self.realm:
            case Realm.EVERYBODY:
                return "any account"
            case Realm.ADMINISTRATOR:
                return "any administrator"
            case Realm.SERVER:
                return " or ".join(self.rights)
            case Realm.DOMAIN:
                code = f"Domain with {' or '.join(self.rights)}" if self.rights else "Domain"
                return f"{ALL_DOMAINS}, or {code}" + (", or the account itself" * self.owner)


EVERYBODY: Final = Needs(Realm.EVERYBODY)
ADMINISTRATOR: Final = Needs(Realm.ADMINISTRATOR)


def server(*rights: str) -> Needs:
    """One of some server rights."""
    return Needs(Realm.SERVER, rights)


def domain(*codes: str, owner: bool = False) -> Needs:
    """All Domains, or administration of the domain with one of `codes`."""
    return Needs(Realm.DOMAIN, codes, owner)


@dataclass(frozen=True, slots=True)
class Authority:
    """Who gives a command, with rights as of this moment."""

    name: str
    domain: str
    rights: frozenset[str]
    server_rights: frozenset[str]
    """Empty for an account of a secondary domain."""
    known_as: str = ""
    """What the log calls who asks, where that is no account; empty: the address."""

    @property
    def address(self) -> str:
        return f"{self.name}@{self.domain}"

    @property
    def actor(self) -> str:
        """As the log names who asks."""
        return self.known_as or self.address

    @property
    def is_master(self) -> bool:
        return MASTER in self.server_rights

    def has_server(self, *rights: str) -> bool:
        """Whether one of `rights` is held; Master has all."""
        return self.is_master or not self.server_rights.isdisjoint(rights)

    @property
    def all_domains(self) -> bool:
        return self.has_server(ALL_DOMAINS)

    @property
    def is_administrator(self) -> bool:
        return bool(self.server_rights) or DOMAIN in self.rights

    def administers(self, domain: str, admin_domain: str) -> bool:
        """Whether `domain`, which names `admin_domain` as its administrators', is in our care."""
        if self.all_domains:
            return True
        return DOMAIN in self.rights and self.domain in (domain, admin_domain)

    def has_code(self, *codes: str) -> bool:
        """Whether one of a domain administrator's codes is held."""
        return self.all_domains or not self.rights.isdisjoint(codes)


def authority(name: str, domain: str, rights: tuple[str, ...], main_domain: str) -> Authority:
    """The authority of an account with these rights."""
    held = frozenset(rights)
    server_held = held & SERVER_RIGHTS if domain == main_domain else frozenset[str]()
    return Authority(name, domain, held, server_held)
