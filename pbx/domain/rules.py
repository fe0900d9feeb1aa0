"""Signal Rules and what hangs on them, as events: state and decisions (pure; no I/O, no clock).

Streams ``server``, ``domain/<name>`` and ``account/<name@domain>``, all of them configuration. A
set of rules is always written whole, so that each event says what holds from then on.

Datasets are lists of addresses of an account (its address book): rules remember callers in them
and ask for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final

from pbx.domain.accounts import (
    CONFIG,
    UNLIMITED,
    AccountCreated,
    AccountDeleted,
    DomainCreated,
    DomainDeleted,
)
from pbx.domain.server import STREAM as SERVER_STREAM
from pbx.domain.setting_events import SETTINGS, DomainSettingsChanged
from pbx.kernel.errors import DomainError
from pbx.kernel.events import PERSONAL, Durability, Event, event
from pbx.rules import Allowed, Level, Rule, Rules, check_rights, parse_rule, rules_to_data
from pbx.rules.errors import RuleError

MAX_DATASET: Final = 1000
"""Addresses of one dataset; whoever is called by more people has a directory."""
MAX_DATASETS: Final = 20
"""Datasets of an account."""
MAX_DATASET_NAME: Final = 64
CALLS_LIMIT: Final = "CallsLimit"
"""Setting of a domain: calls at once in which its accounts take part."""

StoredRule = tuple[str, str, tuple[tuple[str, str, str], ...], tuple[tuple[str, ...], ...], str]
"""Priority number, name, conditions, actions, comment."""


@event("rules.changed.v1", category=CONFIG, durability=Durability.DECIDED)
class RulesChanged(Event):
    """The Signal Rules of the stream's server, domain or account, from now on."""

    rules: tuple[StoredRule, ...] = ()


@event("domain.limits-set.v1", category=CONFIG, durability=Durability.DECIDED)
class DomainLimitsSet(Event):
    """Limits of a domain; -1 is unlimited. Not written any more: the setting ``CallsLimit`` of the
    domain came in its place."""

    calls_limit: int = UNLIMITED
    """Calls at once in which an account of the domain takes part."""


@event("dataset.entry-added.v1", category=CONFIG, durability=Durability.OBSERVED)
class DatasetEntryAdded(Event):
    """An address is in a dataset of the stream's account."""

    dataset: str
    address: Annotated[str, PERSONAL]
    name: Annotated[str, PERSONAL] = ""
    """Display name."""


@event("dataset.entry-removed.v1", category=CONFIG, durability=Durability.DECIDED)
class DatasetEntryRemoved(Event):
    """It is not any more."""

    dataset: str
    address: Annotated[str, PERSONAL]


def stored(rules: Rules) -> tuple[StoredRule, ...]:
    """A set as events keep it."""
    rows = []
    for number, name, conditions, actions, *comment in rules_to_data(rules):
        tests = tuple((subject, operator, value) for subject, operator, value in conditions)
        effects = tuple(tuple(action) for action in actions)
        rows.append((number, name, tests, effects, comment[0] if comment else ""))
    return tuple(rows)


def restored(rows: tuple[StoredRule, ...]) -> tuple[Rules, list[RuleError]]:
    """The rules of an event, and what cannot be read (the log of a newer version)."""
    rules: list[Rule] = []
    errors: list[RuleError] = []
    for number, row in enumerate(rows, 1):
        try:
            rules.append(parse_rule(row, number))
        except RuleError as error:
            errors.append(error)
    return tuple(rules), errors


def level_of(stream: str) -> Level:
    """Whose rules a stream has."""
    kind = stream.partition("/")[0]
    return Level.SERVER if kind == SERVER_STREAM else Level(kind)


@dataclass(frozen=True, slots=True)
class RulesState:
    """Rules, datasets and limits of one stream as of its last event."""

    exists: bool = False
    """Of a domain or account; the server always does."""
    rules: Rules = ()
    calls_limit: int = UNLIMITED
    datasets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Name -> address -> display name."""


NO_RULES: Final = RulesState()


def evolve_rules(state: RulesState, happened: Event) -> RulesState:
    """Fold one event of a stream."""
    match happened:
        case DomainCreated() | AccountCreated():
            return RulesState(exists=True)
        case DomainDeleted() | AccountDeleted():
            return NO_RULES
        case RulesChanged():
            return replace(state, rules=restored(happened.rules)[0])
        case DomainLimitsSet():
            return replace(state, calls_limit=happened.calls_limit)
        case DomainSettingsChanged(section=section) if section == SETTINGS:
            return replace(state, calls_limit=_calls_limit(state.calls_limit, happened))
        case DatasetEntryAdded() | DatasetEntryRemoved():
            return replace(state, datasets=evolve_datasets(state.datasets, happened))
        case _:
            return state


def _calls_limit(before: int, happened: DomainSettingsChanged) -> int:
    if CALLS_LIMIT in happened.removed:
        return UNLIMITED
    value = str(happened.values.get(CALLS_LIMIT, before))
    return int(value) if value.removeprefix("-").isdecimal() else UNLIMITED


def evolve_datasets(
    datasets: Mapping[str, Mapping[str, str]], happened: DatasetEntryAdded | DatasetEntryRemoved
) -> Mapping[str, Mapping[str, str]]:
    """Fold one entry; a dataset without any is none."""
    entries = dict(datasets.get(happened.dataset, {}))
    if isinstance(happened, DatasetEntryAdded):
        entries[happened.address] = happened.name
    else:
        entries.pop(happened.address, None)
    others: dict[str, Any] = {
        name: rows for name, rows in datasets.items() if name != happened.dataset
    }
    return {**others, happened.dataset: entries} if entries else others


def decide_set_rules(
    state: RulesState, stream: str, rules: Rules, allowed: Allowed | None = None
) -> list[Event]:
    """Replace the set, unless it is the same. `allowed` limits a user, None: an administrator."""
    level = level_of(stream)
    _require(state, stream, level)
    check_rights(rules, level, allowed, state.rules)
    wanted = stored(rules)
    return [] if wanted == stored(state.rules) else [RulesChanged(rules=wanted)]


def decide_domain_limits(state: RulesState, stream: str, calls_limit: int) -> list[Event]:
    """Change how many calls a domain may have at once."""
    _require(state, stream, Level.DOMAIN)
    if calls_limit < UNLIMITED:
        raise DomainError(f"a limit of {calls_limit} calls: give 0 or more, or -1 for none")
    if calls_limit == state.calls_limit:
        return []
    if calls_limit == UNLIMITED:
        return [DomainSettingsChanged(section=SETTINGS, removed=(CALLS_LIMIT,))]
    return [DomainSettingsChanged(section=SETTINGS, values={CALLS_LIMIT: str(calls_limit)})]


def decide_add_entry(
    state: RulesState, stream: str, dataset: str, address: str, name: str = ""
) -> list[Event]:
    """Put an address into a dataset of an account."""
    _require(state, stream, Level.ACCOUNT)
    dataset, address = dataset_name(dataset), address.strip().lower()
    if not address or not address.isprintable() or len(address) > 256:
        raise DomainError(f"{address!r} is no address to remember")
    problem = dataset_problem(state.datasets, dataset, address)
    if problem:
        raise DomainError(problem)
    if address in state.datasets.get(dataset, {}):
        return []
    return [DatasetEntryAdded(dataset=dataset, address=address, name=name)]


def decide_remove_entry(state: RulesState, stream: str, dataset: str, address: str) -> list[Event]:
    """Take an address out of a dataset of an account."""
    _require(state, stream, Level.ACCOUNT)
    address = address.strip().lower()
    if address not in state.datasets.get(dataset, {}):
        raise DomainError(f"{address} is not in the dataset {dataset}")
    return [DatasetEntryRemoved(dataset=dataset, address=address)]


def dataset_name(text: str) -> str:
    """A name of a dataset. Raises :class:`DomainError`."""
    name = text.strip().removeprefix("#")
    if not 1 <= len(name) <= MAX_DATASET_NAME or not name.isprintable():
        raise DomainError(f"{text!r} is no dataset: 1 to {MAX_DATASET_NAME} printable characters")
    return name


def dataset_problem(datasets: Mapping[str, Mapping[str, str]], dataset: str, address: str) -> str:
    """Why an address cannot be added; empty if it can, or is there already."""
    entries = datasets.get(dataset)
    if entries is None:
        full = len(datasets) >= MAX_DATASETS
        return f"the account has {MAX_DATASETS} datasets already" if full else ""
    if address in entries or len(entries) < MAX_DATASET:
        return ""
    return f"the dataset {dataset} has {MAX_DATASET} addresses already"


def _require(state: RulesState, stream: str, level: Level) -> None:
    if not state.exists and level is not Level.SERVER:
        name = stream.partition("/")[2]
        raise DomainError(f"there is no {level.value} {name}; see: pbx {level.value} list")
