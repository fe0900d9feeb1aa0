"""What if the Router table were another one: recorded calls, routed through it before it is set.

Each call of the past is routed twice through the configuration of now, once with the tables as
they are and once with the changed one; what differs is the effect of the change and of nothing
else. Every account counts as registered: which phones were on that day is no configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, NamedTuple

from pbx.calls.dial import Contact
from pbx.calls.directory import Directory
from pbx.calls.emergency import Emergency
from pbx.calls.routing import Router
from pbx.calls.stored_directory import StoredDirectory
from pbx.configdb import ConfigDb
from pbx.domain.calls import CALLS, CallRouted, CallStarted
from pbx.domain.server import SERVER_TABLE
from pbx.domain.setting_events import CONFIG
from pbx.eventlog import EventLog
from pbx.router import Outcome, Rule, shown_steps
from sip.errors import RemoteProtocolError
from sip.uri import OpaqueUri, SipUri, parse_uri

MAX_UNROUTED: Final = 100_000
"""Calls whose routing is still awaited while the log is read; it follows within milliseconds."""
MAX_KNOWN: Final = 100_000
"""Decisions remembered by what was dialled: the same numbers are dialled again and again."""


class Dialled(NamedTuple):
    """What decides on the routing of a call."""

    uri: str
    caller: str
    """``name@domain``; empty: a stranger."""
    trusted: bool
    """The call came from a network that may call out without an account."""


class PastCall(NamedTuple):
    """A call of the log."""

    call_id: str
    time_ns: int
    source: str
    dialled: Dialled
    recorded: tuple[str, str]
    """Outcome and target as they were."""


class Answer(NamedTuple):
    """A routing decision, as far as it can be compared."""

    status: int
    """What the caller gets if nobody is called, else 0."""
    outcome: str
    target: str
    reached: tuple[str, ...]
    """URIs that would be called; a registered account is its own address."""


class Decision(NamedTuple):
    """An answer and how it came."""

    answer: Answer
    reason: str
    steps: tuple[str, ...]
    line: str
    """The line of the table that applied last, with its number; empty if none did."""


class Difference(NamedTuple):
    """A call that would take another way."""

    call: PastCall
    old: Decision
    new: Decision


class Outlook(NamedTuple):
    """What a changed table would have meant."""

    calls: int
    """Calls that were replayed."""
    differences: list[Difference]
    drifted: int
    """Calls that the configuration of now routes otherwise than they were, whatever the table."""
    unreadable: int
    """Calls whose address cannot be read, such as erased ones."""


class Everybody:
    """Stands for the location service: each account has one phone."""

    def contacts(self, address: str, gr: str | None = None) -> list[Contact]:
        return [Contact(f"sip:{address}", address)]


def past_calls(
    log: EventLog, since_ns: int, trusted: Iterable[IPv4Network | IPv6Network] = ()
) -> Iterator[PastCall]:
    """The calls that were routed since a time, in order of routing."""
    networks = tuple(trusted)
    started: dict[str, CallStarted] = {}
    types = ("call.started.v1", "call.routed.v1")
    for record in log.read(log.position_at(since_ns), category=CALLS, types=types):
        if record.time_ns < since_ns:
            continue
        event = record.event
        if isinstance(event, CallStarted):
            started[record.stream] = event
            if len(started) > MAX_UNROUTED:  # calls that were refused before they were routed
                started.pop(next(iter(started)))
        elif isinstance(event, CallRouted):
            # Later ones of the same call are redirects and transfers.
            first = started.pop(record.stream, None)
            if first is not None:
                dialled = Dialled(event.address, first.account, within(first.source, networks))
                yield PastCall(
                    record.stream.partition("/")[2],
                    record.time_ns,
                    first.account or first.from_uri,
                    dialled,
                    (event.outcome, event.target),
                )


def within(source: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    if not networks:
        return False
    host = source.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)


def configured(
    log: EventLog, own_hosts: frozenset[str] = frozenset(), database: ConfigDb | None = None
) -> Directory:
    """The configuration of now; without a `database` it is folded in memory."""
    if database is not None:
        database.advance(log)
        directory: Directory = StoredDirectory(database.reader(), log.codec.decode)
    else:
        directory = Directory()
        for record in log.read(category=CONFIG):
            directory.apply(record.stream, record.event)
    directory.set_own_hosts(own_hosts)
    return directory


def outlook(
    directory: Directory,
    calls: Iterable[PastCall],
    text: str,
    table: str = SERVER_TABLE,
    emergency: Emergency | None = None,
) -> Outlook:
    """Which of `calls` the table `text` would route otherwise; a class of service bars them, unless
    they are to `emergency` numbers."""
    differences: list[Difference] = []
    replayed = drifted = unreadable = 0
    now = Router(directory, Everybody(), emergency)
    then = Router(directory.with_table(text, table), Everybody(), emergency)
    known: dict[Dialled, tuple[Decision, Decision] | None] = {}
    for call in calls:
        if call.dialled not in known:
            if len(known) >= MAX_KNOWN:
                known.clear()
            known[call.dialled] = _both(now, then, call.dialled)
        decisions = known[call.dialled]
        if decisions is None:
            unreadable += 1
            continue
        replayed += 1
        old, new = decisions
        drifted += (old.answer.outcome, old.answer.target) != call.recorded
        if old.answer != new.answer:
            differences.append(Difference(call, old, new))
    return Outlook(replayed, differences, drifted, unreadable)


def _both(now: Router, then: Router, dialled: Dialled) -> tuple[Decision, Decision] | None:
    """None for what is no URI."""
    try:
        uri = parse_uri(dialled.uri)
    except RemoteProtocolError:
        return None
    return _decide(now, uri, dialled), _decide(then, uri, dialled)


def _decide(router: Router, uri: SipUri | OpaqueUri, dialled: Dialled) -> Decision:
    found = router.route(uri, dialled.caller, trusted=dialled.trusted)
    reached = tuple(
        sorted(f"{contact.uri} {''.join(contact.path)}".strip() for contact in found.contacts)
    )
    if found.decision is None:
        return Decision(Answer(found.status, "refused", "", ()), found.reason, (), "")
    # Whether programs can be started here is none of the table's business.
    program = found.decision.outcome in (Outcome.APPLICATION, Outcome.TASK) and not found.barred
    answered = found.contacts or program
    status = 0 if answered else found.status
    lines = [
        f"{step.record.table} table, line {step.record.line}: {' '.join(step.record.text.split())}"
        for step in found.decision.steps
        if step.record is not None and step.rule in (Rule.RECORD, Rule.MARK)
    ]
    answer = Answer(
        status, found.decision.outcome.value, str(found.decision.address), tuple(reached)
    )
    steps = tuple(shown_steps(found.decision))
    return Decision(answer, found.reason, steps, lines[-1] if lines else "")
