"""The Signal Rules of the server, of domains and of accounts, ready for calls.

Fed record by record like the directory (:meth:`Rulebook.apply`); asked by :mod:`.hunt` when a call
arrives. Rules are compiled when they are first needed and kept until their level changes; a server
without rules answers with one look at :attr:`Rulebook.present`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pbx.domain.accounts import AccountDeleted, DomainDeleted
from pbx.domain.rules import (
    DatasetEntryAdded,
    DatasetEntryRemoved,
    RulesChanged,
    dataset_problem,
    evolve_datasets,
    restored,
)
from pbx.domain.server import STREAM as SERVER_STREAM
from pbx.eventlog import Record
from pbx.kernel.events import Event
from pbx.rules import EMPTY, Entries, Level, Rules, RuleSet, compile_rules, merge
from pbx.rules.stages import IMMEDIATE

#: Merged sets kept at once; some kilobytes each. An account that is called again later is merged
#: again, which takes some 100 µs.
_MAX_MERGED: Final = 10_000


class Rulebook:
    """See the module."""

    __slots__ = (
        "_accounts", "_datasets", "_domains", "_merged", "_server", "_server_now", "_server_rules",
        "unreadable",
    )  # fmt: skip

    def __init__(self) -> None:
        self._server_rules: Rules = ()
        self._server: Entries = ()
        """Of the stages after arrival."""
        self._server_now: RuleSet = EMPTY
        self._domains: dict[str, Entries] = {}
        self._accounts: dict[str, Rules] = {}
        self._datasets: dict[str, Mapping[str, Mapping[str, str]]] = {}
        self._merged: dict[tuple[str, bool], RuleSet] = {}
        self.unreadable = 0
        """Rules in the log that this version does not understand: they are left out."""

    @property
    def present(self) -> bool:
        """Whether there is any rule of any level."""
        return bool(self._server_rules or self._domains or self._accounts)

    @property
    def server_now(self) -> RuleSet:
        """Server rules of the stage at arrival: before any account is known."""
        return self._server_now

    @property
    def server_later(self) -> RuleSet:
        """Server rules of the other stages alone, for calls that lead to no account."""
        return merge(self._server) if self._server else EMPTY

    def of_account(self, address: str, *, with_server: bool) -> RuleSet:
        """What applies to calls to ``name@domain``; the server's rules at arrival not included."""
        key = (address, with_server)
        known = self._merged.get(key)
        if known is not None:
            return known
        domain = self._entries_of(address.partition("@")[2])
        own = self._rules_of(address)
        server = self._server if with_server else ()
        if not (server or domain or own):
            return EMPTY
        found = merge(server, domain, compile_rules(Level.ACCOUNT, address, own))
        if len(self._merged) >= _MAX_MERGED:
            self._merged.clear()
        self._merged[key] = found
        return found

    def dataset(self, address: str, name: str) -> Iterable[str]:
        """Addresses in a dataset of an account."""
        return self._datasets_of(address).get(name, {})

    def may_remember(self, address: str, dataset: str, caller: str) -> str:
        """Why a caller cannot be put into a dataset of the account; empty if it can."""
        return dataset_problem(self._datasets_of(address), dataset, caller)

    # Where they are kept.

    def _entries_of(self, domain: str) -> Entries:
        return self._domains.get(domain, ())

    def _rules_of(self, address: str) -> Rules:
        return self._accounts.get(address, ())

    def _datasets_of(self, address: str) -> Mapping[str, Mapping[str, str]]:
        return self._datasets.get(address, {})

    # Changes.

    def take(self, record: Record) -> None:
        """Take up a record of the configuration."""
        self.apply(record.stream, record.event)

    def apply(self, stream: str, event: Event) -> None:
        """Fold one event of the configuration; others are ignored."""
        match event:
            case RulesChanged():
                self._set(stream, event)
            case DatasetEntryAdded() | DatasetEntryRemoved():
                address = stream.partition("/")[2]
                self._datasets[address] = evolve_datasets(self._datasets.get(address, {}), event)
            case AccountDeleted():
                address = stream.partition("/")[2]
                self._datasets.pop(address, None)
                if self._accounts.pop(address, None) is not None:
                    self._forget(address)
            case DomainDeleted():
                if self._domains.pop(stream.partition("/")[2], None) is not None:
                    self._merged.clear()
            case _:
                pass

    def _set(self, stream: str, event: RulesChanged) -> None:
        rules, errors = restored(event.rules)
        self.unreadable += len(errors)
        kind, _, name = stream.partition("/")
        if kind == SERVER_STREAM:
            self._set_server(rules)
            self._merged.clear()
        elif kind == "domain":
            if rules:
                self._domains[name] = compile_rules(Level.DOMAIN, name, rules)
            else:
                self._domains.pop(name, None)
            self._merged.clear()
        elif kind == "account":
            if rules:
                self._accounts[name] = rules
            else:
                self._accounts.pop(name, None)
            self._forget(name)

    def _set_server(self, rules: Rules) -> None:
        self._server_rules = rules
        entries = compile_rules(Level.SERVER, "", rules)
        self._server_now = merge(tuple(e for e in entries if e.rule.stage == IMMEDIATE))
        self._server = tuple(e for e in entries if e.rule.stage != IMMEDIATE)

    def _forget(self, address: str) -> None:
        self._merged.pop((address, True), None)
        self._merged.pop((address, False), None)

    def statistics(self) -> dict[str, int]:
        """Table sizes."""
        return {
            "accounts_with_rules": len(self._accounts),
            "domains_with_rules": len(self._domains),
            "rules_unreadable": self.unreadable,
        }
