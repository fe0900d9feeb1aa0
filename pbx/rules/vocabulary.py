"""What rules are made of: conditions, operators and actions, by their stored names.

Names compare without case and spaces (Telephony reference §3.1: both ``Redirect to`` and
``Redirect To`` occur in stored data). The tables here are all that a new condition or action needs
beside its evaluation (:mod:`.tests`) or its effect (``pbx.calls``).
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Kind(Enum):
    """How the value of a subject is compared."""

    TEXT = "text"
    LINES = "lines"
    """Several texts: any may match."""
    NUMBER = "number"
    TIME = "time"
    DATE = "date"
    DAY = "day"
    SETTING = "setting"
    """``name:picture``."""


class Subject(Enum):
    """What a condition looks at; the value is the stored name (Telephony reference §3.3)."""

    METHOD = "Method"
    REQUEST_URI = "RequestURI"
    CALL_TYPE = "CallType"
    REG_CLIENTS = "RegClients"
    REQUEST_FIELD = "ReqField"
    AGENT_TYPE = "AgentType"
    FROM = "From"
    TO = "To"
    FROM_NAME = "'From' Name"
    AUTHENTICATED = "Authenticated"
    SUBMIT_ADDRESS = "Submit Address"
    PRESENCE = "Presence"
    TIME_OF_DAY = "Time Of Day"
    CURRENT_DATE = "Current Date"
    CURRENT_DAY = "Current Day"
    PREFERENCE = "Preference"
    FREE_BUSY = "FreeBusy"


KINDS: Final[dict[Subject, Kind]] = {
    Subject.REG_CLIENTS: Kind.NUMBER,
    Subject.REQUEST_FIELD: Kind.LINES,
    Subject.TIME_OF_DAY: Kind.TIME,
    Subject.CURRENT_DATE: Kind.DATE,
    Subject.CURRENT_DAY: Kind.DAY,
    Subject.PREFERENCE: Kind.SETTING,
}
"""All others are :attr:`Kind.TEXT`."""

OF_ACCOUNT: Final = frozenset(
    {Subject.REG_CLIENTS, Subject.PRESENCE, Subject.PREFERENCE, Subject.FREE_BUSY}
)
"""They tell about the called account; without one they do not hold, whatever the operator."""


class Operator(Enum):
    """How; the value is the stored name (Telephony reference §3.2)."""

    IS = "is"
    IS_NOT = "is not"
    IN = "in"
    NOT_IN = "not in"
    GREATER = "greater than"
    LESS = "less than"


NEGATIVE: Final = frozenset({Operator.IS_NOT, Operator.NOT_IN})
ORDERING: Final = frozenset({Operator.GREATER, Operator.LESS})
ORDERED: Final = frozenset({Kind.NUMBER, Kind.TIME, Kind.DATE})
"""Kinds that know greater and less."""


class Verb(Enum):
    """What an action does; the value is the stored name (Telephony reference §3.5)."""

    REDIRECT = "Redirect To"
    FORK = "Fork to"
    REJECT = "Reject with"
    STOP = "Stop Processing"
    DISCARD = "Discard Rules"
    REMEMBER = "Remember 'From' in"
    SEND_IM = "SendIM"
    SEND_PUSH = "SendPush"
    SEND_URL = "SendURL"
    LOG = "Write To Log"
    SHOW_CALLER = "Show Caller As"
    """Ours: how the caller is shown to the callee."""


class Parameter(Enum):
    """Whether an action has one."""

    NONE = "none"
    OPTIONAL = "optional"
    NEEDED = "needed"


PARAMETERS: Final[dict[Verb, Parameter]] = {
    Verb.REDIRECT: Parameter.NEEDED,
    Verb.FORK: Parameter.NEEDED,
    Verb.REJECT: Parameter.OPTIONAL,
    Verb.STOP: Parameter.NONE,
    Verb.DISCARD: Parameter.NONE,
    Verb.REMEMBER: Parameter.NEEDED,
    Verb.SEND_IM: Parameter.NEEDED,
    Verb.SEND_PUSH: Parameter.OPTIONAL,
    Verb.SEND_URL: Parameter.NEEDED,
    Verb.LOG: Parameter.NEEDED,
    Verb.SHOW_CALLER: Parameter.NEEDED,
}


class Level(Enum):
    """Whose rule it is."""

    SERVER = "server"
    DOMAIN = "domain"
    ACCOUNT = "account"


def folded(name: str) -> str:
    """A name as it is looked up: without case and white space."""
    return "".join(name.split()).casefold()


SUBJECTS: Final = {folded(subject.value): subject for subject in Subject}
OPERATORS: Final = {folded(operator.value): operator for operator in Operator}
VERBS: Final = {folded(verb.value): verb for verb in Verb} | {
    "executeurl": Verb.SEND_URL,  # its name among the mail rules
}


def operators_of(subject: Subject) -> tuple[Operator, ...]:
    """The operators that make sense with `subject`."""
    if KINDS.get(subject, Kind.TEXT) in ORDERED:
        return tuple(Operator)
    return tuple(operator for operator in Operator if operator not in ORDERING)
