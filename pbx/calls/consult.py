"""What has to be asked elsewhere before a call can be routed or a password checked.

Names that nobody has, where the domain wants an external program asked (``ExternalOnUnknown``);
telephone numbers that are assigned to nobody here, in ENUM (RFC 6116); passwords of accounts whose
password the program keeps (``UseExtPassword``). Router reference §5, §6; Objects and settings
reference §8.2.

Call control never waits: what must be known is asked for through :class:`ConsultPort`, the request
rests, and is taken up again when the answer is there or has not come in time. Answers are kept for
a while, refusals and silence for a shorter one, so that a program that hangs costs each name one
wait and not each call.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pbx.router import Outcome, Rule
from sip.digest import ha1

if TYPE_CHECKING:
    from pbx import router
    from pbx.calls.node import SignalNode
    from pbx.router import Address

MAX_WAITING: Final = 500
"""Requests that rest at once; more go on without an answer."""
MAX_KEPT: Final = 10_000
"""Answers kept, some 300 bytes each."""
KEPT_S: Final = 60.0
UNKNOWN_KEPT_S: Final = 10.0
SILENT_KEPT_S: Final = 5.0
_FOLLOW_S: Final = 0.05
_FOLLOWED: Final = 40
"""Looks for an account that the program says it has made: two seconds."""


class Kind(Enum):
    """What is asked about."""

    NAME = "name"
    NUMBER = "number"
    PASSWORD = "password"


class Reply(Enum):
    """What came back."""

    ROUTED = "routed"
    """The text is an address."""
    MADE = "made"
    """The account exists now."""
    PASSWORD = "password"
    """The text is one."""
    UNKNOWN = "unknown"
    SILENT = "silent"
    """No answer in time, or none to speak of: it may be another one later."""


class Question(NamedTuple):
    """``name@domain``, or digits with or without a ``+``."""

    kind: Kind
    text: str


class Answer(NamedTuple):
    """A reply and its text."""

    reply: Reply
    text: str = ""


Done = Callable[[Answer, float], None]


class ConsultPort(Protocol):
    """Who can be asked. `done` comes once, later, and within a time of the port's own."""

    def asks(self, kind: Kind) -> bool:
        """Whether there is somebody to ask about such things."""
        ...

    def ask(self, question: Question, done: Done) -> None: ...


class NobodyToAsk:
    """Neither a program nor ENUM is set up."""

    def asks(self, kind: Kind) -> bool:
        return False

    def ask(self, question: Question, done: Done) -> None:
        raise AssertionError(question)


class Deferred(Exception):
    """A request cannot be judged before a question is answered; raised before anything is done."""

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question


class _Kept(NamedTuple):
    answer: Answer
    until: float
    secrets: tuple[str, str] = ("", "")
    """MD5 and SHA-256 digests of a password, which itself is not kept."""


class Consultation:
    """See the module."""

    def __init__(self, node: SignalNode) -> None:
        self._node = node
        self.port: ConsultPort = NobodyToAsk()
        self._kept: dict[Question, _Kept] = {}
        self._waiting: dict[Question, list[Callable[[float], None]]] = {}
        self._resting = 0

    @property
    def routes(self) -> bool:
        """Whether there is anybody to ask about where calls go."""
        return self.port.asks(Kind.NAME) or self.port.asks(Kind.NUMBER)

    def question(self, dialled: Address, found: router.Route) -> Question | None:
        """What has to be known of a decision of the Router; None: it is final."""
        number = _unassigned(dialled, found) if self.port.asks(Kind.NUMBER) else ""
        if number:
            question = Question(Kind.NUMBER, number)
            answer = self.answer(question)
            if answer is None or answer.reply is Reply.ROUTED:
                return question
        if found.consult and self.port.asks(Kind.NAME):
            return Question(Kind.NAME, str(found.address))
        return None

    def answer(self, question: Question) -> Answer | None:
        """What is known; None: nothing, or not any more."""
        kept = self._kept.get(question)
        return None if kept is None or kept.until <= self._node.now() else kept.answer

    def secret(self, account: str, login: str, algorithm: str) -> str:
        """HA1 by the password that the external program has; empty if there is none.

        Raises :class:`Deferred` if it has to be asked.
        """
        question = Question(Kind.PASSWORD, account)
        if not self.port.asks(Kind.PASSWORD):
            return ""
        if self.answer(question) is None:
            raise Deferred(question)
        if login.replace("%", "@", 1).partition("@")[0].lower() != account.partition("@")[0]:
            return ""  # digests are of the account's own name
        md5, sha256 = self._kept[question].secrets
        return md5 if algorithm == "MD5" else sha256

    def silent(self, account: str) -> bool:
        """Whether the program owes the password of an account."""
        answer = self.answer(Question(Kind.PASSWORD, account))
        return answer is not None and answer.reply is Reply.SILENT

    def resolve(self, question: Question, then: Callable[[float], None]) -> None:
        """Call `then(now)` when the answer is known, or will not be."""
        if self._resting >= MAX_WAITING:
            then(self._node.now())
            return
        self._resting += 1
        waiting = self._waiting.get(question)
        if waiting is not None:
            waiting.append(then)
            return
        self._waiting[question] = [then]
        self.port.ask(question, lambda answer, now: self._answered(question, answer, now))

    def _answered(self, question: Question, answer: Answer, now: float) -> None:
        if answer.reply is Reply.MADE:
            self._follow(question, now, _FOLLOWED)
            return
        self._keep(question, answer, now)
        self._go_on(question, now)

    def _follow(self, question: Question, now: float, looks: int) -> None:
        """The account was made by a command: it is known here when the log has told us."""
        name, _, domain = question.text.lower().partition("@")
        if self._node.directory.find(name, domain) is not None or looks == 0:
            self._go_on(question, now)
            return
        self._node.timers.call_at(
            now + _FOLLOW_S, lambda later: self._follow(question, later, looks - 1)
        )

    def _go_on(self, question: Question, now: float) -> None:
        waiting = self._waiting.pop(question, [])
        self._resting -= len(waiting)
        for then in waiting:
            then(now)

    def _keep(self, question: Question, answer: Answer, now: float) -> None:
        kept_s = {Reply.UNKNOWN: UNKNOWN_KEPT_S, Reply.SILENT: SILENT_KEPT_S}
        until = now + kept_s.get(answer.reply, KEPT_S)
        secrets = "", ""
        if answer.reply is Reply.PASSWORD:
            name, _, domain = question.text.partition("@")
            secrets = (
                ha1("MD5", name, domain, answer.text),
                ha1("SHA-256", name, domain, answer.text),
            )
            answer = Answer(Reply.PASSWORD)
        if len(self._kept) >= MAX_KEPT:
            self._kept = {q: kept for q, kept in self._kept.items() if kept.until > now}
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
        self._kept[question] = _Kept(answer, until, secrets)

    def forget(self, account: str) -> None:
        """The account was changed: its password may be another one."""
        self._kept.pop(Question(Kind.PASSWORD, account), None)

    def statistics(self) -> dict[str, int]:
        """Table sizes."""
        return {"consulted": len(self._kept), "consulting": self._resting}


def _unassigned(dialled: Address, found: router.Route) -> str:
    """The number that was looked for among those assigned, in vain; empty if there was none."""
    if found.outcome is Outcome.ACCOUNT or any(s.rule is Rule.TELNUM for s in found.steps):
        return ""
    for at in (dialled, *(step.address for step in found.steps)):
        if at.domain == "telnum":
            return at.local
    return ""
