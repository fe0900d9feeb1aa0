"""What the router asks of the configuration, and the objects that it gets.

:class:`RoutingState` is the port: the signal role's directory implements it in memory, tests with a
few dictionaries. Everything is a look-up; nothing here waits or is read from a disk.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple, Protocol

from pbx.router.index import CompiledTables
from pbx.router.table import Kind


class ObjectKind(Enum):
    """Objects share one name space in a domain (Router reference §5)."""

    ACCOUNT = "account"
    GROUP = "group"
    LIST = "mailing list"
    FORWARDER = "forwarder"
    TASK = "named task"


class NamedObject(Protocol):
    """What :meth:`RoutingState.find` gives: an account, or one of the values below."""

    @property
    def object_kind(self) -> ObjectKind: ...

    @property
    def name(self) -> str:
        """Its own name, also if it was found by an alias."""
        ...


class Group(NamedTuple):
    """Members that ring, or get the mail, together."""

    name: str
    members: tuple[str, ...] = ()
    """Addresses; without a domain they are of the group's."""
    mail: bool = True
    signal: bool = True

    @property
    def object_kind(self) -> ObjectKind:
        return ObjectKind.GROUP


class Forwarder(NamedTuple):
    """A name for another address."""

    name: str
    target: str
    """An address; without a domain it is of the forwarder's."""

    @property
    def object_kind(self) -> ObjectKind:
        return ObjectKind.FORWARDER


class MailingList(NamedTuple):
    """A list; what it does belongs to the mail part."""

    name: str

    @property
    def object_kind(self) -> ObjectKind:
        return ObjectKind.LIST


class NamedTask(NamedTuple):
    """A name whose signals go to one running program."""

    name: str
    owner: str
    """Account of the same domain it runs for."""
    program: str

    @property
    def object_kind(self) -> ObjectKind:
        return ObjectKind.TASK


class Unknown(Enum):
    """What a domain does with names that it does not know."""

    REJECT = "Rejected"
    DISCARD = "Discarded"
    REROUTE = "Rerouted to"
    BOUNCE = "Accepted and Bounced"


class UnknownPolicy(NamedTuple):
    """The rule of one domain for one routing type."""

    action: Unknown = Unknown.REJECT
    address: str = ""
    """Where to; ``*`` in it is the unknown name. Without a domain it is of the Main Domain."""
    consult: bool = False
    """An external program may know the name (domain setting ExternalOnUnknown)."""


REJECTED: Final = UnknownPolicy()


class RoutingState(Protocol):
    """The configuration as of one moment. Names are given in lower case."""

    @property
    def main_domain(self) -> str:
        """Name of the Main Domain; empty if there is no domain yet."""
        ...

    @property
    def tables(self) -> CompiledTables:
        """The Router tables."""
        ...

    def local_domain(self, host: str) -> str:
        """Name of our domain that a name, an alias or an address of this server means, or ''."""
        ...

    def find(self, name: str, domain: str) -> NamedObject | None:
        """The object of that name or alias in a domain of ours."""
        ...

    def telnum(self, number: str) -> str:
        """``name@domain`` of the account that a telephone number is assigned to, or ''."""
        ...

    def unknown(self, domain: str, kind: Kind) -> UnknownPolicy:
        """What the domain does with unknown names."""
        ...
