"""Commands on Signal Rules, call control, datasets and limits of domains.

As :mod:`pbx.commands`, whose :func:`~pbx.commands.execute` appends what was decided: the decisions
are in :mod:`pbx.domain.rules`. An *owner* is ``server``, the name of a domain, or ``name@domain``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pbx.commands import Aggregate, execute, load
from pbx.domain import accounts, rules
from pbx.domain.rules import RulesState
from pbx.domain.server import STREAM as SERVER_STREAM
from pbx.eventlog import EventLog, Meta
from pbx.kernel.events import Event
from pbx.rules import (
    Allowed,
    Rules,
    Simple,
    compile_rules,
    merge,
    parse_rules,
    replaced,
    simple_of,
    updated,
    without,
)
from pbx.rules.compiled import Entries, RuleSet
from pbx.rules.stages import IMMEDIATE
from pbx.rules.vocabulary import Level

RULES: Final = Aggregate(rules.NO_RULES, rules.evolve_rules)


def owner_stream(owner: str) -> str:
    """The stream of an owner. Raises :class:`DomainError` if it is none."""
    text = owner.strip()
    if text == SERVER_STREAM:
        return SERVER_STREAM
    if "@" in text:
        return accounts.account_stream(*accounts.account_address(text))
    return accounts.domain_stream(accounts.domain_name(text))


class RuleAdministration:
    """The commands, for one actor; errors as those of :class:`pbx.commands.Administration`."""

    def __init__(self, log: EventLog, *, actor: str, allowed: Allowed | None = None) -> None:
        """`allowed` limits what a user may store in the rules of an account; None: no limit."""
        self._log = log
        self._actor = actor
        self._allowed = allowed

    def state(self, owner: str) -> RulesState:
        """Rules, datasets and limits of an owner. Raises if there is no such owner."""
        stream = owner_stream(owner)
        state = load(self._log, RULES, stream)
        rules.decide_set_rules(state, stream, state.rules)  # refuses what does not exist
        return state

    def set_rules(self, owner: str, data: object) -> Rules:
        """Replace the whole set, given in its stored form; half a set changes nothing."""
        wanted = parse_rules(data)
        return self._change(owner, lambda state: wanted)

    def update_rule(self, owner: str, data: object) -> Rules:
        """Store one rule, or change the priority of one (fewer than four elements)."""
        return self._change(owner, lambda state: updated(state.rules, data))

    def delete_rule(self, owner: str, name: str) -> Rules:
        """Remove one rule; that there is none is no error."""
        return self._change(owner, lambda state: without(state.rules, name))

    def control(self, account: str, change: Callable[[Simple], Simple]) -> Simple:
        """Change the call control of an account: its simplified rules."""
        name, domain = accounts.account_address(account)
        address = f"{name}@{domain}"
        found = self._change(
            address, lambda state: replaced(state.rules, change(simple_of(state.rules)), address)
        )
        return simple_of(found)

    def set_domain_limit(self, domain: str, calls_limit: int) -> int:
        """How many calls a domain may have at once; -1 for no limit."""
        stream = accounts.domain_stream(accounts.domain_name(domain))
        self._execute(stream, lambda state: rules.decide_domain_limits(state, stream, calls_limit))
        return load(self._log, RULES, stream).calls_limit

    def add_entry(self, account: str, dataset: str, address: str, name: str = "") -> None:
        """Put an address into a dataset of an account."""
        stream = owner_stream(account)
        self._execute(
            stream, lambda state: rules.decide_add_entry(state, stream, dataset, address, name)
        )

    def remove_entry(self, account: str, dataset: str, address: str) -> None:
        """Take an address out of a dataset of an account."""
        stream = owner_stream(account)
        self._execute(
            stream, lambda state: rules.decide_remove_entry(state, stream, dataset, address)
        )

    def merged(self, account: str, replacing: dict[str, Rules]) -> tuple[RuleSet, RuleSet]:
        """Server rules at arrival, and what holds for calls to the account; `replacing` has sets
        that stand for the stored ones of their stream, to try a change out."""
        name, domain = accounts.account_address(account)

        def entries(level: Level, owner: str, stream: str) -> Entries:
            own = replacing.get(stream)
            if own is None:
                own = load(self._log, RULES, stream).rules
            return compile_rules(level, owner, own)

        server = entries(Level.SERVER, "", SERVER_STREAM)
        now = tuple(entry for entry in server if entry.rule.stage == IMMEDIATE)
        later = tuple(entry for entry in server if entry.rule.stage != IMMEDIATE)
        address = f"{name}@{domain}"
        return merge(now), merge(
            later,
            entries(Level.DOMAIN, domain, accounts.domain_stream(domain)),
            entries(Level.ACCOUNT, address, accounts.account_stream(name, domain)),
        )

    def _change(self, owner: str, make: Callable[[RulesState], Rules]) -> Rules:
        stream = owner_stream(owner)
        self._execute(
            stream,
            lambda state: rules.decide_set_rules(state, stream, make(state), self._allowed),
        )
        return load(self._log, RULES, stream).rules

    def _execute(self, stream: str, decide: Callable[[RulesState], Sequence[Event]]) -> None:
        tenant = stream.partition("/")[2].rpartition("@")[2]
        execute(self._log, RULES, stream, decide, Meta(actor=self._actor, tenant=tenant))
