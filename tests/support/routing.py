"""A routing state of a few dictionaries, for tests of the router alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pbx.router import (
    DEFAULT_TABLE,
    NO_TABLES,
    REJECTED,
    CompiledTables,
    Kind,
    NamedObject,
    ObjectKind,
    UnknownPolicy,
    parse_table,
)


class Account(NamedTuple):
    """An account has a name."""

    name: str

    @property
    def object_kind(self) -> ObjectKind:
        return ObjectKind.ACCOUNT


class DictState:
    """See the module. The first domain is the main one."""

    def __init__(self, *domains: str, table: str = "") -> None:
        self.main_domain = domains[0] if domains else ""
        self.hosts = {domain: domain for domain in domains}
        self.objects: dict[str, NamedObject] = {}
        self.telnums: dict[str, str] = {}
        self.policies: dict[tuple[str, Kind], UnknownPolicy] = {}
        self.tables = NO_TABLES
        self.set_table(table)

    def set_table(self, text: str) -> None:
        """Replace the table."""
        self.tables = CompiledTables([parse_table(text)])

    def add(self, domain: str, *objects: NamedObject) -> None:
        """Objects of a domain."""
        for made in objects:
            self.objects[f"{made.name}@{domain}"] = made

    def account(self, address: str, *aliases: str) -> None:
        """An account with its aliases."""
        name, _, domain = address.partition("@")
        for known in (name, *aliases):
            self.objects[f"{known}@{domain}"] = Account(name)

    def local_domain(self, host: str) -> str:
        return self.hosts.get(host, "")

    def find(self, name: str, domain: str) -> NamedObject | None:
        return self.objects.get(f"{name}@{domain}")

    def telnum(self, number: str) -> str:
        return self.telnums.get(number, "")

    def unknown(self, domain: str, kind: Kind) -> UnknownPolicy:
        return self.policies.get((domain, kind), REJECTED)


def corporation(table: str = DEFAULT_TABLE, telnums: Mapping[str, str] | None = None) -> DictState:
    """The setting of the Router reference §10: two domains, the usual accounts."""
    state = DictState("corpx.un", "compx.un", table=table)
    state.hosts["mail.corpx.un"] = "corpx.un"
    state.hosts["192.0.2.1"] = "corpx.un"
    state.account("postmaster@corpx.un")
    state.account("pbx@corpx.un", "200", "conference")
    state.account("user1@corpx.un", "401")
    state.account("user2@compx.un", "402")
    state.telnums.update(telnums or {})
    return state
