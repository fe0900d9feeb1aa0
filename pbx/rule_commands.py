"""Commands on Signal Rules, call control, datasets and limits of domains.

As :mod:`pbx.commands`, whose :func:`~pbx.commands.execute` appends what was decided: the decisions
are in :mod:`pbx.domain.rules`. An *owner* is ``server``, the name of a domain, or ``name@domain``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pbx.commands import Aggregate, execute, load
from pbx.domain import accounts, rules
from pbx.domain.rules import RulesChanged, RulesState
from pbx.domain.server import STREAM as SERVER_STREAM
from pbx.eventlog import EventLog, Meta, Record
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
from pbx.settings_changes import ChangedMeanwhile

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

    def __init__(
        self, log: EventLog, *, actor: str, allowed: Allowed | None = None, origin: str = ""
    ) -> None:
        """`allowed` limits what a user may store in the rules of an account, None: no limit;
        `origin` is where the command came from, such as ``cli:127.0.0.1``."""
        self._log = log
        self._actor = actor
        self._allowed = allowed
        self._origin = origin

    def state(self, owner: str) -> RulesState:
        """Rules, datasets and limits of an owner. Raises if there is no such owner."""
        return self.read(owner)[0]

    def read(self, owner: str) -> tuple[RulesState, int]:
        """The same, and the version of the owner's stream that it is of."""
        stream = owner_stream(owner)
        state, version = RULES.initial, 0
        for record in self._log.read_stream(stream):
            state, version = RULES.evolve(state, record.event), record.version
        rules.decide_set_rules(state, stream, state.rules)  # refuses what does not exist
        return state, version

    def set_rules(self, owner: str, data: object, *, read_version: int | None = None) -> Rules:
        """Replace the whole set, given in its stored form; half a set changes nothing.

        Raises :class:`~pbx.settings_changes.ChangedMeanwhile` if somebody else changed it after
        `read_version`.
        """
        wanted = parse_rules(data)

        def make(state: RulesState) -> Rules:
            if read_version is not None:
                self._unchanged_since(owner_stream(owner), state.rules, read_version)
            return wanted

        return self._change(owner, make)

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
        meta = Meta(actor=self._actor, tenant=tenant, causation=self._origin)
        execute(self._log, RULES, stream, decide, meta)

    def _unchanged_since(self, stream: str, now: Rules, version: int) -> None:
        last: Record | None = None
        before: Rules = ()
        for record in self._log.read_stream(stream):
            event = record.event
            if not isinstance(event, RulesChanged):
                continue
            if record.version <= version:
                before = rules.restored(event.rules)[0]
            elif (record.actor, record.causation) != (self._actor, self._origin):
                last = record
        if last is not None:
            changed = {rule.name for rule in set(before) ^ set(now)}
            raise ChangedMeanwhile(last.actor, last.time_ns, sorted(changed) or ["the rules"])
