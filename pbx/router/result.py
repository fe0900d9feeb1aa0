"""What the router answers: the outcome of a decision and the steps that led to it.

Made by :mod:`pbx.router.engine`; read by call set-up, later by mail and log-ins, printed by
``pbx route`` and stored with each call. Values, nothing else.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

from pbx.router.address import Address
from pbx.router.table import Record


class Module(Enum):
    """Which part of the server takes it on, as ``ROUTE`` names it."""

    LOCAL = "LOCAL"
    SMTP = "SMTP"
    SIP = "SIP"
    XMPP = "XMPP"
    LIST = "LIST"
    SYSTEM = "SYSTEM"
    NONE = ""
    """Nobody: the address is refused."""


class Outcome(Enum):
    """What an address turned out to be."""

    ACCOUNT = "account"
    """Its devices ring, its mailbox is stored into, it logs in."""
    APPLICATION = "application"
    """A program is started on behalf of an account."""
    GROUP = "group"
    """Signals: every member is routed in its turn."""
    LIST = "list"
    TASK = "task"
    """The running task of that name."""
    ALL = "all"
    """Every account of a domain."""
    FOREIGN = "foreign"
    """Another server; whether this sender may go there is the caller's to check, see `relay`."""
    DISCARD = "discard"
    """Accepted and dropped: ``null``, ``blackhole``, unknown names of some domains."""
    SPAMTRAP = "spamtrap"
    BOUNCE = "bounce"
    """Accepted, then returned to its sender."""
    UNKNOWN = "unknown"
    """No such name here."""
    REFUSED = "refused"
    """Not routed; the reason says why."""


#: Outcomes that go on to somebody.
REACHED: Final = frozenset(
    {
        Outcome.ACCOUNT, Outcome.APPLICATION, Outcome.GROUP, Outcome.LIST, Outcome.TASK,
        Outcome.ALL, Outcome.FOREIGN,
    }
)  # fmt: skip


class Rule(Enum):
    """Why an address changed, or what ended the decision."""

    PARSED = "address"
    NESTED = "nested address"
    NUMBER = "dialled number"
    TELNUM = "telnum"
    RECORD = "table"
    MARK = "relay mark"
    DOMAIN = "domain name"
    ALIAS = "alias"
    FORWARDER = "forwarder"
    CALLER = "caller"
    UNKNOWN = "unknown name"
    MEMBER = "group member"
    GATEWAY = "gateway"
    FINAL = "result"


class Step(NamedTuple):
    """One step; kept small, it is made on every decision."""

    rule: Rule
    address: Address
    """What the address is after the step."""
    record: Record | None = None
    """The line that applied."""
    note: str = ""


class Route(NamedTuple):
    """A decision."""

    outcome: Outcome
    address: Address
    """What was reached in the end; of a foreign one the local part is in standard form."""
    steps: tuple[Step, ...]
    account: str = ""
    """``name@domain`` of the account, group, list or task."""
    detail: str = ""
    """Mailbox, name of an application, part of a list's service address; text after ``+``."""
    parameters: tuple[str, ...] | None = None
    """Of an application; None if it was written without braces."""
    members: tuple[str, ...] = ()
    """Of a group, absolute."""
    module: Module = Module.NONE
    host: str = ""
    """Foreign: where to connect, without brackets."""
    port: int = 0
    """Foreign: 0 for what DNS says."""
    relay: bool = False
    """May leave this server whoever asks for it: a ``Relay:`` record or a local object says so."""
    status: int = 0
    """SIP status of an address that is refused."""
    reason: str = ""
    consult: bool = False
    """Unknown, and the domain wants an external program asked before that is final."""

    @property
    def reached(self) -> bool:
        """Whether there is somebody to go on to."""
        return self.outcome in REACHED

    def triple(self) -> tuple[str, str, str]:
        """Module, host and address as ``ROUTE`` answers (Router reference §3); no host: `NULL`."""
        if self.outcome in (Outcome.DISCARD, Outcome.SPAMTRAP, Outcome.BOUNCE):
            return Module.SYSTEM.value, "NULL", ""
        if self.outcome is Outcome.FOREIGN:
            return self.module.value, self.host, str(self.address)
        return self.module.value, self.account, str(self.address)


def shown_steps(route: Route) -> list[str]:
    """The steps as lines for people: what happened, to what it led, by which line."""
    lines = []
    for step in route.steps:
        text = f"{step.rule.value}: {step.address}"
        if step.record is not None:
            table = f"{step.record.table} table" if step.record.table else "table"
            line = " ".join(step.record.text.split())
            end = "(address unchanged)" if step.rule is Rule.MARK else f"-> {step.address}"
            text = f"{table}, line {step.record.line}: {line} {end}"
        if step.note:
            text += f" ({step.note})"
        lines.append(text)
    return lines
