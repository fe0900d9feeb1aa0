"""Who may store which actions: the level's own rule, and ``SignalRulesAllowed`` of an account.

Default-deny for what reaches beyond the call: a user's rule may not make the server fetch URLs
unless the account's setting says ``Any``, and only administrators change how callers are shown.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from pbx.rules.errors import RuleError
from pbx.rules.values import Rules
from pbx.rules.vocabulary import Level, Verb


class Allowed(Enum):
    """Values of the account setting ``SignalRulesAllowed``, by what users may store."""

    NO = "No"
    FILTER_ONLY = "Filter Only"
    """Refuse calls and remember callers; send no call anywhere."""
    ALL_BUT_EXEC = "All But Exec"
    """Everything within the server and its telephones."""
    ANY = "Any"


_FILTERS: Final = frozenset({Verb.REJECT, Verb.STOP, Verb.DISCARD, Verb.REMEMBER, Verb.LOG})
_EXECUTING: Final = frozenset({Verb.SEND_URL})
_ADMINISTRATIVE: Final = frozenset({Verb.SHOW_CALLER})
"""They tell a callee what the caller did not: nothing for the rules of one account."""

_OF_USERS: Final[dict[Allowed, frozenset[Verb]]] = {
    Allowed.NO: frozenset(),
    Allowed.FILTER_ONLY: _FILTERS,
    Allowed.ALL_BUT_EXEC: frozenset(Verb) - _ADMINISTRATIVE - _EXECUTING,
    Allowed.ANY: frozenset(Verb) - _ADMINISTRATIVE,
}


def parse_allowed(text: str) -> Allowed:
    """The value of the setting; names compare without case and spaces."""
    wanted = "".join(text.split()).casefold()
    for value in Allowed:
        if "".join(value.value.split()).casefold() == wanted:
            return value
    names = ", ".join(value.value for value in Allowed)
    raise RuleError(f'SignalRulesAllowed = "{text}": expected one of {names}')


def verbs_of(level: Level, allowed: Allowed | None = None) -> frozenset[Verb]:
    """What may be stored; `allowed` limits the user of an account, None means an administrator."""
    if level is not Level.ACCOUNT:
        return frozenset(Verb)
    return _OF_USERS[Allowed.ANY if allowed is None else allowed]


def check_rights(
    rules: Rules, level: Level, allowed: Allowed | None = None, before: Rules = ()
) -> None:
    """Refuse rules with actions that may not be stored; those of `before` may stay as they are.

    Raises :class:`RuleError`.
    """
    possible = verbs_of(level, allowed)
    kept = set(before)
    for number, rule in enumerate(rules, 1):
        if rule in kept:
            continue
        for index, action in enumerate(rule.actions, 1):
            if action.verb not in possible:
                limit = (
                    "this account's SignalRulesAllowed does not include it"
                    if allowed is not None and action.verb not in _ADMINISTRATIVE
                    else "only server and domain rules may have it"
                )
                raise RuleError(
                    f"{action.verb.value} is not allowed here: {limit}",
                    number=number,
                    name=rule.name,
                    place=f"action {index}",
                )
