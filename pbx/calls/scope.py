"""Whose rules are in force while a call is tried: the server's, then each called account's.

A :class:`Scope` has the stages of its rules still to come, their timer, and what is tried at the
moment: rings and applications (:mod:`.branches`) and the scopes of other accounts. One whose last
branch has failed goes on at once, in this order: the rules of what happened (busy, error), the
timed stages still to come, the rules for no answer; then it has failed itself and the scope above
goes on (Telephony reference §2.2, §2.3). Scopes are made and ended by :mod:`.hunt`.

A little over 600 lines: stages, what rules decide and what the router finds call each other in
every direction over one state, and are easier followed in one class than in halves of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pbx.calls import cause
from pbx.calls.branches import Branch, Outcome, Program, Ring, refused
from pbx.calls.cause import End, EndCause, EndedBy
from pbx.calls.ports import Application
from pbx.calls.presentation import Diversion
from pbx.calls.services import home_of
from pbx.domain.calls import RulesEvaluated
from pbx.router import Address, NamedTask
from pbx.router import Outcome as Found
from pbx.rules import EMPTY, Decision, RuleSet, Target, Verb, Verdict, evaluate, stages
from pbx.rules.vocabulary import Level
from sip.errors import RemoteProtocolError
from sip.uri import OpaqueUri, SipUri, parse_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbx.calls.dial import Contact
    from pbx.calls.hunt import Hunt
    from pbx.calls.routing import Route
    from pbx.calls.timers import Timer

MAX_DEPTH: Final = 8
"""Accounts on one way; longer chains of forwarding are mistakes."""
MAX_SCOPES: Final = 64
"""Accounts whose rules one call goes through in its whole life."""
_BUSY: Final = frozenset({486, 600, 603})
_SILENT: Final = frozenset({408, 480, 487})
_AWAY: Final = End(487, EndCause.CANCEL, cause.Q850_NORMAL, EndedBy.SERVER, "redirected by a rule")
_REJECTED: Final = End(487, EndCause.CANCEL, cause.Q850_NORMAL, EndedBy.SERVER, "refused by a rule")
#: Word of RFC 5806 §4 and status for History-Info, by the stage that redirected.
_WHY: Final = {
    stages.IMMEDIATE: ("unconditional", 302),
    stages.BUSY: ("user-busy", 486),
    stages.FAILURE: ("unavailable", 480),
}
_NO_ANSWER: Final = ("no-answer", 408)


def _without_services(uri: SipUri | OpaqueUri) -> bool:
    """Whether the rules of who is called are not wanted (PBX applications reference §1.3)."""
    return isinstance(uri, SipUri) and uri.params.get("services") == "no"


class Scope:
    """The rules of the server (`account` empty) or of one called account; see the module."""

    __slots__ = (
        "_alone", "_branches", "_outcomes", "_ran", "_running", "_timed", "_timer",
        "_uri_text", "account", "began", "contacts", "diversions", "hunt", "live", "over", "parent",
        "rules", "until",
    )  # fmt: skip

    def __init__(
        self,
        hunt: Hunt,
        parent: Scope | None,
        account: str,
        uri_text: str,
        rules: RuleSet,
        now: float,
    ) -> None:
        self.hunt = hunt
        self.parent = parent
        self.account = account
        self.rules = rules
        self._uri_text = uri_text
        self.contacts: list[Contact] = []
        """The account's own devices."""
        self.diversions: tuple[Diversion, ...] = ()
        """Redirects that led here."""
        self.began = now
        self.until = now + hunt.ring_s
        self.live = False
        self.over = False
        self._timed: list[int] = []
        self._timer: Timer | None = None
        self._branches: list[Branch] = []
        self._outcomes: list[Outcome] = []
        self._ran: set[int] = set()
        self._running = False
        self._alone = False
        """One address is tried from the beginning: its rules and the server's go on in one order.
        Later the server has had stages that must not come again."""
        hunt.scopes += 1

    # Beginning.

    def arrive_anywhere(self, uri: SipUri | OpaqueUri, now: float) -> None:
        """The root: the server's rules, then what was dialled."""
        call = self.hunt.call
        node = call.node

        def dialled() -> None:
            hunt = self.hunt
            route = node.router.route(uri, hunt.account, trusted=hunt.trusted)
            call.routed(self._uri_text, route, now)
            # Programs may ask that nobody's voice mail answers; other callers may not choose.
            silent = hunt.party.program and _without_services(uri)
            self._routed(route, self._uri_text, now, silent=silent)

        self._running = True
        verdict = self._evaluate(stages.IMMEDIATE, now)
        if not self.over and not self.hunt.discarded:
            self.rules = node.rulebook.server_later
        self._carry_out(verdict, dialled, now)
        if self.over:
            return
        self._timed = list(self.rules.timed)
        self._running = False
        self._proceed(now)

    def arrive(self, now: float) -> None:
        """An account: its rules of arrival, or its devices."""
        call = self.hunt.call
        limits = call.node.limits
        refusal = None if self.hunt.urgent else limits.admit(self.account, call.counted, now)
        if refusal is not None:
            call.decided("limit", "refused", f"callee {refusal}", now)

        def own_devices() -> None:
            if refusal is not None:
                self._outcomes.append(refused(486, refusal, EndCause.LIMIT))
            else:
                self._ring_own(now)

        self._timed = list(self.rules.timed)
        self._running = True
        self._carry_out(self._evaluate(stages.IMMEDIATE, now), own_devices, now)
        self._running = False
        self._proceed(now)

    def start(self, now: float) -> None:
        """The branches may send; timed stages count from here."""
        if self.over:
            return
        self.live = True
        self.began = now
        self.until = now + self.hunt.ring_s
        self._running = True
        for branch in self._branches[:]:
            branch.start(now)
        self._running = False
        self._proceed(now)

    # Going on.

    def branch_failed(self, branch: Branch, outcome: Outcome, now: float) -> None:
        """A branch ended without an answer."""
        if self.over:
            return
        if branch in self._branches:
            self._branches.remove(branch)
        self._outcomes.append(outcome)
        if not self._running:
            self._proceed(now)

    def fork(
        self, uris: Sequence[str], account: str, now: float, leaving: Branch | None = None
    ) -> str:
        """An application adds addresses, in the name of `account`, or (`leaving`) gives the call
        to them."""
        if self.over or not self.live:
            return "the call is gone"
        call = self.hunt.call
        problem = ""
        before = len(self._branches)
        self._running = True
        for text in uris:
            try:
                uri = parse_uri(text)
            except RemoteProtocolError:
                problem = f"{text} is no address"
                self._outcomes.append(refused(400, problem))
                continue
            route = call.node.router.route(uri, account)
            call.decided("application", text, route.reason, now)
            call.routed(text, route, now, briefly=True)
            self._routed(route, text, now, silent=_without_services(uri))
        added = self._branches[before:]
        if leaving is not None and leaving in self._branches:
            self._branches.remove(leaving)
        for branch in added:
            branch.start(now)
        self._running = False
        self._proceed(now)
        return problem

    def cancel(self, end: End, now: float, reason: str) -> None:
        """Nothing of this scope shall go on."""
        if self.over:
            return
        self._finish()
        branches, self._branches = self._branches, []
        for branch in branches:
            branch.cancel(end, now, reason)

    def _finish(self) -> None:
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _proceed(self, now: float) -> None:
        """While nothing is tried the next stage comes at once; else it waits for its time."""
        while not self._branches and not self.over:
            stage = self._next_stage()
            if stage is None:
                self._fail(now)
                return
            self._run(stage, now)
        if self.live and not self.over and self._timed and self._timer is None:
            due = self.began + stages.seconds_of(self._timed[0])
            self._timer = self.hunt.call.node.timers.call_at(due, self._time_came)

    def _time_came(self, now: float) -> None:
        self._timer = None
        self._run(self._timed.pop(0), now)
        self._proceed(now)

    def _next_stage(self) -> int | None:
        """What comes when all has failed; each failure stage comes once."""
        happened = self._happened()
        if happened != stages.NO_ANSWER and happened not in self._ran and self.rules.at(happened):
            return happened
        if self._timed:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return self._timed.pop(0)
        if happened == stages.NO_ANSWER and happened not in self._ran and self.rules.at(happened):
            return happened
        return None

    def _happened(self) -> int:
        """Telephony reference §2.3: busy before no answer before error."""
        statuses = [status for outcome in self._outcomes for status in outcome.statuses]
        if not _BUSY.isdisjoint(statuses):
            return stages.BUSY
        return stages.NO_ANSWER if _SILENT.issuperset(statuses) else stages.FAILURE

    def _run(self, stage: int, now: float) -> None:
        self._ran.add(stage)
        self._running = True
        self._carry_out(self._evaluate(stage, now), None, now)
        self._running = False

    def _fail(self, now: float) -> None:
        outcomes = self._outcomes or [refused(480, "there is nobody to ring")]
        # What a party said goes before what this server made up (RFC 3261 §16.7 step 6).
        outcomes.sort(key=lambda outcome: outcome.failure.by is EndedBy.SERVER)
        status = cause.best_status(outcome.failure.status for outcome in outcomes)
        # Among equals the last one: it says why the last resort failed.
        best = next(o for o in reversed(outcomes) if o.failure.status == status)
        statuses = tuple(status for outcome in outcomes for status in outcome.statuses)
        self._report(Outcome(best.failure, statuses), now)

    def _report(self, outcome: Outcome, now: float) -> None:
        self._finish()
        if self.parent is not None:
            self.parent.branch_failed(self, outcome, now)
        else:
            self.hunt.failed(outcome, now)

    # Rules.

    def _evaluate(self, stage: int, now: float) -> Verdict | None:
        if not self.rules.at(stage):
            return None
        hunt = self.hunt
        verdict = evaluate(self.rules, hunt.facts.of(self.account, self._uri_text, now), stage)
        journal = hunt.call.journal
        journal.write(
            RulesEvaluated(
                stage=stages.name_of(stage),
                account=self.account,
                target=self._uri_text,
                applied=verdict.applied,
                actions=tuple([decision.action.text for decision in verdict.actions]),
                trace=verdict.told,
                elapsed_ms=journal.elapsed_ms(now),
            )
        )
        if verdict.discarded:
            self.rules = EMPTY
            self._timed = []
            if self.parent is None:
                hunt.discarded = True
        return verdict

    def _carry_out(
        self, verdict: Verdict | None, default: Callable[[], None] | None, now: float
    ) -> None:
        """Do what the rules decided; `default` adds what is tried if they send the call nowhere."""
        away: list[tuple[Decision, Target]] | None = None
        added: list[tuple[Decision, Target]] = []
        stage = stages.IMMEDIATE
        if verdict is not None:
            stage = verdict.stage
            for decision in verdict.actions:
                verb = decision.action.verb
                if verb is Verb.REDIRECT:
                    away = [(decision, target) for target in decision.action.targets]
                    added = []
                elif verb is Verb.FORK:
                    added += [(decision, target) for target in decision.action.targets]
                elif verb is Verb.REJECT:
                    self._reject(decision, now)
                    return
                else:
                    self._effect(decision, now)
        before = len(self._branches)
        tried = len(added) + (1 if away is None else len(away))
        self._alone = tried == 1 and stage == stages.IMMEDIATE
        if away is not None:
            self._cancel_branches(_AWAY, now)
            before = 0
            self.until = now + self.hunt.ring_s
        elif default is not None:
            default()
        for decision, target in (away or []) + added:
            self._send(decision, target, stage, now)
        if self.live:
            for branch in self._branches[before:]:
                branch.start(now)

    def _reject(self, decision: Decision, now: float) -> None:
        status, phrase = decision.action.rejection
        hunt = self.hunt
        self._cancel_branches(_REJECTED, now)
        if phrase and self._answers_caller():
            hunt.party.phrase = phrase
        reason = phrase or f'rule "{decision.entry.rule.name}"'
        self._report(refused(status, reason), now)

    def _answers_caller(self) -> bool:
        """Whether a refusal here is the answer to the call."""
        parent = self.parent
        return parent is None or (parent.parent is None and not parent.rules)

    def _effect(self, decision: Decision, now: float) -> None:
        call = self.hunt.call
        data = self.hunt.facts.macros(self.account)
        outcome = call.node.services.carry_out(decision, self.hunt.party, data, now)
        call.decided("rule", decision.action.verb.value, outcome, now)

    def _cancel_branches(self, end: End, now: float) -> None:
        branches, self._branches = self._branches, []
        for branch in branches:
            branch.cancel(end, now, "")

    # Where a call goes.

    def _send(self, decision: Decision, target: Target, stage: int, now: float) -> None:
        """One address of an action."""
        call = self.hunt.call
        node = call.node
        home = home_of(decision, self.account, node.directory.main_domain)
        rule = decision.entry.rule.name
        if target.application:
            self._application(decision, target, home, now)
            return
        uri_text = target.uri_at(home)
        try:
            uri = parse_uri(uri_text)
        except RemoteProtocolError:
            self._refuse(400, uri_text, f'rule "{rule}": {target.text} is no address', now)
            return
        if node.emergency.is_emergency(uri):
            self._refuse(403, uri_text, f'rule "{rule}": no call is sent to emergency numbers', now)
            return
        # Rules may send calls out of the server: in the name of who made them, who may be charged.
        behalf = self.account or self.hunt.account or f"postmaster@{node.directory.main_domain}"
        route = node.router.route(uri, behalf)
        call.decided("redirect", uri_text, f'rule "{rule}": {route.reason}', now)
        call.routed(uri_text, route, now, briefly=True)
        word, status = _WHY.get(stage, _NO_ANSWER)
        if decision.action.verb is Verb.FORK:
            word = "follow-me"
        from_uri = node.router.identity(self.account) if self.account else self._uri_text
        diversions = (*self.diversions, Diversion(from_uri, status, word, uri_text))
        self._routed(route, uri_text, now, diversions, silent=_without_services(uri))

    def _application(self, decision: Decision, target: Target, home: str, now: float) -> None:
        hunt = self.hunt
        node = hunt.call.node
        rule = decision.entry.rule.name
        if decision.entry.level is Level.ACCOUNT:
            classes = node.router.classes
            barred = classes.program_refusal(self.account, target.application, target.parameters)
            if barred:
                self._refuse(403, target.text, f'rule "{rule}": {barred}', now)
                return
        account = target.account_at(home) or self.account
        if not account:
            # A server rule at arrival that names no account means the one that is called.
            uri = parse_uri(hunt.facts.request_uri)
            account = node.router.route(uri, hunt.account).account
        if not account:
            problem = f'rule "{rule}": {target.text} needs an account, and none is called'
            self._refuse(480, target.text, problem, now)
            return
        user, _, domain = account.rpartition("@")
        known = node.directory.account(user, node.directory.local_domain(domain))
        behalf = account if known is None else known.address  # an alias is a name of it
        self._run_program(
            target.application, target.parameters, behalf, redirector=self.account, now=now
        )

    def _run_program(
        self,
        name: str,
        parameters: tuple[str, ...] | None,
        behalf: str,
        *,
        redirector: str,
        now: float,
    ) -> None:
        application = Application(
            name, parameters, behalf, self.account, redirector, self.hunt.facts.request_uri
        )
        self._start_program(application, now)

    def _named_task(self, address: Address, uri_text: str, now: float) -> None:
        """A call to a named task: its program runs for its owner."""
        hunt = self.hunt
        found = hunt.call.node.directory.find(address.local, address.domain)
        if not isinstance(found, NamedTask):
            self._refuse(480, uri_text, f"{address} is no task any more", now)
            return
        owner = f"{found.owner}@{address.domain}"
        named = str(address)
        uri = hunt.facts.request_uri
        application = Application(found.program, None, owner, self.account, "", uri, named)
        self._start_program(application, now)

    def _start_program(self, application: Application, now: float) -> None:
        hunt = self.hunt
        if not hunt.programs:
            problem = "nobody of ours transfers: the call cannot be given to an application"
            self._refuse(480, application.text, problem, now)
            return
        if hunt.scopes >= MAX_SCOPES:
            problem = "too many accounts and applications in one call"
            self._refuse(482, application.text, problem, now)
            return
        hunt.scopes += 1
        self._branches.append(Program(self, application))

    def _routed(
        self,
        route: Route,
        uri_text: str,
        now: float,
        diversions: tuple[Diversion, ...] = (),
        *,
        silent: bool = False,
    ) -> None:
        """Try what the router found; `silent`: the callee's rules are not wanted."""
        if not route.members:
            self._try(route, uri_text, now, diversions, silent=silent)
            return
        self._alone = self._alone and len(route.members) == 1
        for member in route.members:
            if self.over:
                return
            if member.account or member.contacts or member.application:
                member_uri = f"sip:{member.decision.address}" if member.decision else uri_text
                self._try(member, member_uri, now, diversions, silent=silent)
            else:
                # That one member of several is unknown is no answer to a call to the group.
                self._outcomes.append(refused(480, member.reason))

    def _try(
        self,
        route: Route,
        uri_text: str,
        now: float,
        diversions: tuple[Diversion, ...],
        *,
        silent: bool,
    ) -> None:
        """One destination."""
        hunt = self.hunt
        account = route.account
        decision = route.decision
        if decision is not None and route.application and decision.outcome is Found.TASK:
            self._named_task(decision.address, uri_text, now)
            return
        if decision is not None and route.application:
            self._run_program(
                decision.detail,
                decision.parameters,
                decision.account,
                redirector=self.account if diversions else "",
                now=now,
            )
            return
        if not account:
            if route.contacts:
                self._outside(route, uri_text, now, diversions)
            else:
                self._outcomes.append(refused(route.status, route.reason))
            return
        if account == self.account:
            self._ring_own(now)
            return
        if self._is_above(account) or self._depth() >= MAX_DEPTH or hunt.scopes >= MAX_SCOPES:
            self._refuse(482, uri_text, f"{account} was called on this way already", now)
            return
        rules = EMPTY
        if not silent and not hunt.discarded:
            joined = self.parent is None and self._alone
            rules = hunt.call.node.rulebook.of_account(account, with_server=joined)
            if joined:
                self.rules = EMPTY  # they are among those of the account
        scope = Scope(hunt, self, account, uri_text, rules, now)
        scope.contacts = self._marked(route.contacts, diversions)
        scope.diversions = diversions
        self._branches.append(scope)
        scope.arrive(now)

    def _outside(
        self, route: Route, uri_text: str, now: float, diversions: tuple[Diversion, ...]
    ) -> None:
        """Another server: who sends a call there makes one."""
        if diversions and self.account:
            flows = self.hunt.call.node.limits.flows
            refusal = flows.refusal(self.account, now, outgoing=True)
            if refusal:
                self._refuse(403, uri_text, refusal, now)
                return
        self._branches.append(Ring(self, self._marked(route.contacts, diversions)))

    def redirected(
        self, route: Route, uri_text: str, diversions: tuple[Diversion, ...], now: float
    ) -> bool:
        """A phone that rings answered 3xx. Whether this takes it on: if who is called then has
        rules, or is a program; contacts alone the dial follows by itself."""
        hunt = self.hunt
        if self.over or hunt.discarded:
            return False
        book = hunt.call.node.rulebook
        called = [found.account for found in (route.members or (route,)) if found.account]
        if not route.runs and not any(book.of_account(a, with_server=False) for a in called):
            return False
        running, self._running = self._running, True
        before = len(self._branches)
        self._alone = False
        self._routed(route, uri_text, now, diversions)
        for branch in self._branches[before:]:
            branch.start(now)
        self._running = running
        return True

    def branch_replaced(self, branch: Branch, now: float) -> None:
        """A branch ended because others, which it led to, are tried in its place."""
        if self.over:
            return
        if branch in self._branches:
            self._branches.remove(branch)
        if not self._running:
            self._proceed(now)

    def _ring_own(self, now: float) -> None:
        contacts = self.contacts
        if any(isinstance(b, Ring) and b.contacts is contacts for b in self._branches):
            return  # they ring already: a rule or a group named the account itself
        if contacts:
            self._branches.append(Ring(self, self.contacts))
        else:
            self._outcomes.append(refused(480, f"{self.account} has no registered device"))

    def _marked(self, contacts: list[Contact], diversions: tuple[Diversion, ...]) -> list[Contact]:
        if not diversions:
            return contacts
        return [
            contact._replace(redirector=self.account, diversions=diversions) for contact in contacts
        ]

    def _refuse(self, status: int, outcome: str, reason: str, now: float) -> None:
        self.hunt.call.decided("redirect", outcome, reason, now)
        self._outcomes.append(refused(status, reason))

    @property
    def parties(self) -> frozenset[str]:
        """This account and those above it."""
        found = []
        scope: Scope | None = self
        while scope is not None:
            found.append(scope.account)
            scope = scope.parent
        return frozenset(found)

    def _is_above(self, account: str) -> bool:
        scope: Scope | None = self
        while scope is not None:
            if scope.account == account:
                return True
            scope = scope.parent
        return False

    def _depth(self) -> int:
        depth, scope = 0, self.parent
        while scope is not None:
            depth, scope = depth + 1, scope.parent
        return depth
