"""What if Signal Rules (and the Router table) were others: recorded calls, gone through again.

Each call is taken twice through the configuration of now, once as it is and once changed, and what
would be tried is told in steps: whose phones ring, who refuses, which application starts, and when.
Later stages come as far as the call of that time tells: a stage after ten seconds counts if it
rang that long, one for busy if a phone was busy.

The log does not have everything that conditions may ask for: devices, presence, preferences,
calendar, header fields, the kind of media. Such a condition is taken both ways. If the two ways
through the call differ whichever way it is, the call would change; if they do so only for one, that
is *unknown*, and the condition is named. Unknown as well is what comes after something that did
not happen that day: rules of an account that was not reached then.

Follows :mod:`pbx.calls.scope` step by step. Pure but for the log it is fed with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from enum import Enum
from functools import partial
from typing import Final, NamedTuple

from pbx.calls.directory import Directory
from pbx.calls.emergency import Emergency
from pbx.calls.routing import Route, Router
from pbx.calls.rulebook import Rulebook
from pbx.calls.scope import MAX_DEPTH, MAX_SCOPES
from pbx.calls.services import address_of, home_of
from pbx.domain.rules import RulesChanged, stored
from pbx.domain.setting_events import CONFIG
from pbx.eventlog import EventLog
from pbx.rules import (
    BUSY,
    EMPTY,
    FAILURE,
    IMMEDIATE,
    NO_ANSWER,
    Condition,
    Decision,
    Facts,
    Rules,
    RuleSet,
    Subject,
    Target,
    Value,
    Verb,
)
from pbx.rules.compiled import Entry
from pbx.rules.stages import name_of, seconds_of
from pbx.rules.vocabulary import OF_ACCOUNT, Level
from pbx.whatif.recorded import Outcome, Rang, RecordedCall
from pbx.whatif.tables import Everybody
from sip.errors import RemoteProtocolError
from sip.uri import OpaqueUri, SipUri, parse_uri

UNRECORDED: Final = OF_ACCOUNT | {Subject.CALL_TYPE, Subject.REQUEST_FIELD}
"""Subjects whose values no event has."""
MAX_WAYS: Final = 64
"""Ways through one call that are compared: six unknown conditions. Beyond, all is unknown."""
_BUSY: Final = frozenset({486, 600, 603})
_SILENT: Final = frozenset({408, 480, 487})

Fact = tuple[str, Condition]
"""An account (empty: none) and a condition whose value the log has not."""


class Step(NamedTuple):
    """Something that would be done."""

    text: str
    rule: str
    """The rule that says so, with its level; empty: none."""


class Plan(NamedTuple):
    """What would be done with a call."""

    steps: tuple[Step, ...]
    beyond: tuple[str, ...]
    """Rules that may come after it, of which the record says nothing."""


class Verdict(Enum):
    """What is to be said of one call."""

    SAME = "same"
    CHANGED = "changed"
    UNKNOWN = "unknown"


class Comparison(NamedTuple):
    """One call, both ways."""

    call: RecordedCall
    verdict: Verdict
    old: Plan
    new: Plan
    unknown: tuple[str, ...]
    """What it depends on that the log has not."""


class Configuration(NamedTuple):
    """One of the two configurations."""

    router: Router
    book: Rulebook


_OF_RULES: Final = (
    "rules.changed.v1", "dataset.*", "account.deleted.v1", "domain.deleted.v1",
)  # fmt: skip
"""What a rulebook is made of: most events are of accounts that have no rules."""


def both_configurations(
    log: EventLog,
    directory: Directory,
    emergency: Emergency,
    changed_rules: tuple[str, Rules],
    changed_table: tuple[str, str] | None = None,
) -> tuple[Configuration, Configuration]:
    """The configuration of now, and the same with the rules of one stream changed, and with
    another Router table (text and name) if one is given."""
    now, then = Rulebook(), Rulebook()
    for record in log.read(category=CONFIG, types=_OF_RULES):
        event = record.event
        now.apply(record.stream, event)
        then.apply(record.stream, event)
    stream, rules = changed_rules
    then.apply(stream, RulesChanged(rules=stored(rules)))
    other = directory if changed_table is None else directory.with_table(*changed_table)
    return (
        Configuration(Router(directory, Everybody(), emergency), now),
        Configuration(Router(other, Everybody(), emergency), then),
    )


class _Unknown(Exception):
    """A plan needs a fact that is not assumed yet."""

    def __init__(self, fact: Fact) -> None:
        super().__init__(fact)
        self.fact = fact


def compare_all(
    calls: Iterable[RecordedCall],
    now: Configuration,
    then: Configuration,
    emergency: Emergency,
    main_domain: str,
    zone: tzinfo = UTC,
) -> Iterator[Comparison | None]:
    """Each call in order; None for one whose addresses cannot be read, such as an erased one."""
    for call in calls:
        try:
            uri = parse_uri(call.started.request_uri)
            values = _values(call)
        except RemoteProtocolError:
            yield None
            continue
        if emergency.is_emergency(uri):
            empty = Plan((), ())
            yield Comparison(call, Verdict.SAME, empty, empty, ())
            continue
        make = partial(
            _Walk, call, uri, values, emergency=emergency, main_domain=main_domain, zone=zone
        )
        yield _compare(call, partial(_plan, make), now, then)


def _plan(
    walk: Callable[[Configuration, Mapping[Fact, bool]], _Walk],
    side: Configuration,
    known: Mapping[Fact, bool],
) -> Plan:
    return walk(side, known).plan()


def _compare(
    call: RecordedCall,
    plan: Callable[[Configuration, Mapping[Fact, bool]], Plan],
    now: Configuration,
    then: Configuration,
) -> Comparison:
    """Both ways through the call, for every way that unknown facts may be."""
    waiting: list[dict[Fact, bool]] = [{}]
    ends: list[tuple[dict[Fact, bool], Verdict]] = []
    reasons: dict[str, None] = {}
    shown: tuple[Plan, Plan] | None = None
    first = Plan((), ()), Plan((), ())
    while waiting:
        known = waiting.pop()
        try:
            old, new = plan(now, known), plan(then, known)
        except _Unknown as unknown:
            waiting += [{**known, unknown.fact: False}, {**known, unknown.fact: True}]
            if len(waiting) + len(ends) > MAX_WAYS:
                reasons["more conditions than can be tried"] = None
                break
            continue
        if [step.text for step in old.steps] != [step.text for step in new.steps]:
            verdict = Verdict.CHANGED
        elif old.beyond != new.beyond:
            verdict = Verdict.UNKNOWN
            changed = dict.fromkeys((*old.beyond, *new.beyond))
            for rule in changed:
                if rule not in old.beyond or rule not in new.beyond:
                    reasons[f"{rule}: what came after is not recorded"] = None
        else:
            verdict = Verdict.SAME
        if verdict is not Verdict.SAME:
            shown = shown or (old, new)
        elif not ends:
            first = old, new
        ends.append((known, verdict))
    old, new = shown or first
    verdicts = {verdict for _, verdict in ends}
    if not waiting and len(verdicts) == 1 and Verdict.UNKNOWN not in verdicts:
        return Comparison(call, verdicts.pop(), old, new, ())
    reasons.update(dict.fromkeys(_said(fact) for fact in _deciding(ends)))
    return Comparison(call, Verdict.UNKNOWN, old, new, tuple(reasons))


def _deciding(ends: list[tuple[dict[Fact, bool], Verdict]]) -> list[Fact]:
    """The facts that make a difference: what may come of one answer is not what of the other."""
    facts = dict.fromkeys(fact for known, _ in ends for fact in known)
    return [
        fact
        for fact in facts
        if {v for known, v in ends if known.get(fact) is not True}
        != {v for known, v in ends if known.get(fact) is not False}
    ]


def _said(fact: Fact) -> str:
    account, condition = fact
    return f"whether {condition.text}" + (f" of {account}" if account else "")


def _values(call: RecordedCall) -> dict[Subject, Value]:
    """What the log has of the request. Raises ``RemoteProtocolError`` for erased addresses."""
    started = call.started
    source = started.source.rpartition(":")[0].strip("[]")
    return {
        Subject.METHOD: "INVITE",
        Subject.FROM: address_of(parse_uri(started.from_uri)),
        Subject.TO: address_of(parse_uri(started.to_uri)),
        Subject.FROM_NAME: started.from_display,
        Subject.AUTHENTICATED: started.account,
        Subject.SUBMIT_ADDRESS: f"SIP [{source}]",
        Subject.AGENT_TYPE: started.user_agent or None,
    }


class _Walk:
    """One way through one call."""

    def __init__(
        self,
        call: RecordedCall,
        uri: SipUri | OpaqueUri,
        values: Mapping[Subject, Value],
        side: Configuration,
        known: Mapping[Fact, bool],
        *,
        emergency: Emergency,
        main_domain: str,
        zone: tzinfo,
    ) -> None:
        self._call = call
        self._uri = uri
        self._values = values
        self._router = side.router
        self._book = side.book
        self._known = known
        self._emergency = emergency
        self._main = main_domain
        self._zone = zone
        self._at = datetime.fromtimestamp(call.time_ns / 1e9, UTC)
        self._steps: list[Step] = []
        self._beyond: list[str] = []
        self._rung: list[str] = []
        """Accounts that ring, in order; empty for what is no account."""
        self._scopes = 0
        self._discarded = False
        """The server's rules want no further rules."""
        self._joined = False
        """The server's later rules go on with those of the one account that is called."""

    def plan(self) -> Plan:
        """Everything that would be done."""
        caller = self._call.started.account
        target = self._call.started.request_uri

        def dialled(alone: bool) -> None:
            route = self._router.route(self._uri, caller, trusted=self._call.trusted)
            self._routed(route, target, (), joined=alone)

        over = self._stage(self._book.server_now, IMMEDIATE, "", target, (), dialled)
        if not over and not self._joined:
            self._later(self._book.server_later, "", target, (), 0)
        return Plan(tuple(self._steps), tuple(self._beyond))

    # Rules.

    def _stage(
        self,
        rules: RuleSet,
        stage: int,
        account: str,
        target: str,
        chain: tuple[str, ...],
        default: Callable[[bool], None] | None,
    ) -> bool:
        """Carry out one stage; whether no other of these rules comes after it. `default` is told
        whether nothing else is tried beside it."""
        decisions, discarded = self._evaluate(rules, stage, account, target)
        if discarded and not chain:
            self._discarded = True
        away: list[tuple[Decision, Target]] | None = None
        added: list[tuple[Decision, Target]] = []
        for decision in decisions:
            verb = decision.action.verb
            if verb is Verb.REJECT:
                status, phrase = decision.action.rejection
                self._say(stage, f"refused with {status} {phrase}".rstrip(), decision.entry)
                return True
            if verb is Verb.REDIRECT:
                away, added = [(decision, t) for t in decision.action.targets], []
            elif verb is Verb.FORK:
                added += [(decision, t) for t in decision.action.targets]
            elif verb is not Verb.LOG:
                self._say(stage, decision.action.text, decision.entry)
        tried = len(added) + (1 if away is None else len(away))
        joined = tried == 1 and stage == IMMEDIATE and not chain
        if away is None and default is not None:
            default(joined)
        for decision, destination in (away or []) + added:
            self._send(decision, destination, stage, account, chain, joined=joined)
        return discarded

    def _evaluate(
        self, rules: RuleSet, stage: int, account: str, target: str
    ) -> tuple[list[Decision], bool]:
        """As :func:`pbx.rules.evaluate`, with unknown conditions as they are assumed."""
        entries = rules.at(stage)
        if not entries:
            return [], False
        facts = Facts(
            lambda subject: target if subject is Subject.REQUEST_URI else self._values.get(subject),
            self._at,
            zone=self._zone,
            has_account=bool(account),
            dataset=partial(self._book.dataset, account),
        )
        found: list[Decision] = []
        for entry in entries:
            if all(
                self._holds(condition, account, partial(test, facts))
                for condition, test in zip(entry.rule.conditions, entry.tests, strict=True)
            ):
                found += [
                    Decision(action, entry)
                    for action in entry.rule.actions
                    if action.verb is not Verb.STOP and action.verb is not Verb.DISCARD
                ]
                if entry.ends:
                    return found, entry.discards
        return found, False

    def _holds(self, condition: Condition, account: str, test: Callable[[], bool]) -> bool:
        subject = condition.subject
        if subject not in UNRECORDED or (subject in OF_ACCOUNT and not account):
            return test()
        fact = (account if subject in OF_ACCOUNT else "", condition)
        if fact not in self._known:
            raise _Unknown(fact)
        return self._known[fact]

    # Where a call goes.

    def _send(
        self,
        decision: Decision,
        target: Target,
        stage: int,
        account: str,
        chain: tuple[str, ...],
        *,
        joined: bool,
    ) -> None:
        entry = decision.entry
        home = home_of(decision, account, self._main)
        if target.application:
            if entry.level is Level.ACCOUNT:
                barred = self._router.classes.program_refusal(
                    account, target.application, target.parameters
                )
                if barred:
                    self._say(stage, f"refused with 403 ({barred})", entry)
                    return
            given = target.parameters
            words = "" if given is None else f"{{{','.join(given)}}}"
            whose = target.account_at(home) or account or "who is called"
            self._rung.append("")
            self._say(stage, f"starts {target.application}{words}#{whose}", entry)
            return
        uri_text = target.uri_at(home)
        try:
            uri = parse_uri(uri_text)
        except RemoteProtocolError:
            self._say(stage, f"refused with 400: {uri_text}", entry)
            return
        if self._emergency.is_emergency(uri):
            self._say(stage, f"refused with 403: {uri_text} is an emergency number", entry)
            return
        behalf = account or self._call.started.account or f"postmaster@{self._main}"
        route = self._router.route(uri, behalf)
        silent = isinstance(uri, SipUri) and uri.params.get("services") == "no"
        self._routed(route, uri_text, chain, stage=stage, entry=entry, silent=silent, joined=joined)

    def _routed(
        self,
        route: Route,
        target: str,
        chain: tuple[str, ...],
        *,
        stage: int = IMMEDIATE,
        entry: Entry | None = None,
        silent: bool = False,
        joined: bool = False,
    ) -> None:
        if route.members:
            for member in route.members:
                uri = f"sip:{member.decision.address}" if member.decision else target
                self._routed(
                    member, uri, chain, stage=stage, entry=entry, silent=silent,
                    joined=joined and len(route.members) == 1,
                )  # fmt: skip
            return
        account = route.account
        if route.application:
            assert route.decision is not None
            self._rung.append("")
            self._say(stage, f"starts {route.decision.address}", entry)
        elif not account:
            if route.contacts:
                reached = ", ".join(contact.uri for contact in route.contacts)
                self._rung.append("")
                self._say(stage, f"rings {reached}", entry)
            else:
                self._say(stage, f"refused with {route.status} ({route.reason})", entry)
        elif chain and account == chain[-1]:
            self._ring(account, stage, entry)
        elif account in chain or len(chain) >= MAX_DEPTH or self._scopes >= MAX_SCOPES:
            self._say(stage, f"refused with 482: {account} was called on this way already", entry)
        else:
            self._called(account, target, chain, stage, entry, silent=silent, joined=joined)

    def _called(
        self,
        account: str,
        target: str,
        chain: tuple[str, ...],
        stage: int,
        entry: Entry | None,
        *,
        silent: bool,
        joined: bool,
    ) -> None:
        """An account: its rules, or its phones."""
        self._scopes += 1
        since = len(self._rung)
        rules = EMPTY
        if not silent and not self._discarded:
            self._joined = self._joined or joined
            rules = self._book.of_account(account, with_server=joined)
        way = (*chain, account)
        over = self._stage(
            rules, IMMEDIATE, account, target, way,
            lambda alone: self._ring(account, stage, entry),
        )  # fmt: skip
        if not over:
            self._later(rules, account, target, way, since)

    def _ring(self, account: str, stage: int, entry: Entry | None) -> None:
        self._rung.append(account)
        self._say(stage, f"rings {account}", entry)

    # Later stages.

    def _rang(self, account: str, since: int) -> Rang | None:
        """How the ringing of an account, and of whom its rules called beside or after it (those
        that rang `since`), went; None if it was not reached that day."""
        own = self._call.rang.get(account)
        if own is None or not account:
            return own
        known = [own]
        for other in self._rung[since:]:
            if other == account:
                continue
            found = self._call.rang.get(other)
            if found is None or not found.phones:
                return own._replace(outcome=Outcome.CUT)  # what became of it is not recorded
            known.append(found)
        ends = [rang for rang in known if rang.phones]
        if len(ends) < 2:
            return own
        outcomes = {rang.outcome for rang in ends}
        outcome = next((o for o in (Outcome.OVER, Outcome.CUT) if o in outcomes), Outcome.FAILED)
        return Rang(
            outcome,
            sum(rang.phones for rang in ends),
            min(rang.first_ms for rang in ends),
            max(rang.last_ms for rang in ends),
            tuple(status for rang in ends for status in rang.statuses),
        )

    def _later(
        self, rules: RuleSet, account: str, target: str, chain: tuple[str, ...], since: int
    ) -> None:
        """What comes while it rings and when all has failed, as far as it did that day."""
        timed = list(rules.timed)
        failing = [code for code in (BUSY, FAILURE, NO_ANSWER) if rules.at(code)]
        if not timed and not failing:
            return
        rang = self._rang(account, since)
        if rang is None:
            self._unrecorded(rules, [*timed, *failing])
            return

        def run(stage: int) -> bool:
            return self._stage(rules, stage, account, target, chain, None)

        while timed and rang.phones:
            if seconds_of(timed[0]) * 1000 > rang.last_ms - rang.first_ms:
                break
            if run(timed.pop(0)):
                return
            rang = self._rang(account, since) or rang
        if rang.outcome is Outcome.CUT:
            self._unrecorded(rules, [*timed, *failing])
        elif rang.outcome is Outcome.FAILED:
            happened = _happened(rang)
            for stage in (
                *([happened] if happened != NO_ANSWER else []), *timed,
                *([NO_ANSWER] if happened == NO_ANSWER else []),
            ):  # fmt: skip
                if rules.at(stage) and run(stage):
                    return

    def _unrecorded(self, rules: RuleSet, codes: Iterable[int]) -> None:
        for code in codes:
            for entry in rules.at(code):
                actions = "; ".join(action.text for action in entry.rule.actions)
                conditions = " and ".join(entry.texts) or "always"
                label = f"{entry.level.value} {entry.owner}".rstrip()
                self._beyond.append(f"{name_of(code)}, {label}: {conditions}: {actions}")

    def _say(self, stage: int, text: str, entry: Entry | None) -> None:
        when = "" if stage == IMMEDIATE else f"{name_of(stage)}: "
        self._steps.append(Step(when + text, "" if entry is None else entry.label))


def _happened(rang: Rang) -> int:
    """Telephony reference §2.3: busy before no answer before error."""
    if not _BUSY.isdisjoint(rang.statuses):
        return BUSY
    return NO_ANSWER if _SILENT.issuperset(rang.statuses) else FAILURE
