"""Simplified rules: what users set in *Call Control*, kept as ordinary account rules.

Their names are reserved and start with ``#``; each holds for INVITE only (Telephony reference
§3.7). *After N* with a redirect stops the devices, simultaneous ringing lets them ring on. Setting
one replaces the rule of its name and leaves all others alone; :func:`simple_of` reads them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pbx.rules import stages
from pbx.rules.addresses import parse_targets
from pbx.rules.errors import RuleError
from pbx.rules.values import Action, Condition, Rule, Rules, ordered, without
from pbx.rules.vocabulary import Operator, Subject, Verb

_INVITE: Final = Condition(Subject.METHOD, Operator.IS, "INVITE")
_VOICEMAIL: Final = "#voicemail"
_SERVICE: Final = "#service"
_PRIORITY: Final = 5
_REDIRECTED: Final = 4
"""Below the voice mail's: a redirect of the same stage wins, since it is carried out later."""


@dataclass(frozen=True, slots=True)
class Simple:
    """The call control of one account; None: not set."""

    forward_always: str | None = None
    """Addresses, as actions take them."""
    forward_busy: str | None = None
    forward_error: str | None = None
    forward_no_answer: str | None = None
    forward_after_s: int | None = None
    """Seconds of ringing before `forward_no_answer`; None: when the ringing is given up."""
    ring_also: str | None = None
    ring_also_after_s: int = 0
    voicemail_after_s: int | None = None
    voicemail_busy: bool = False
    voicemail_error: bool = False
    do_not_disturb: bool = False
    self_calls: bool = False
    """A call of the account to itself starts the application ``service``."""
    blocked: tuple[str, ...] = ()
    """Pictures of callers; ``anonymous`` stands for those who withhold their number."""


NAMES: Final = (
    "#Blocked", "#SelfCall", "#DoNotDisturb", "#ForwardAlways", "#RingAlso", "#ForwardNoAnswer",
    "#VoicemailAfter", "#ForwardBusy", "#VoicemailBusy", "#ForwardError", "#VoicemailError",
)  # fmt: skip
"""Of all simplified rules."""


def simple_rules(simple: Simple, account: str) -> Rules:
    """The rules that carry `simple` out for ``name@domain``. Raises :class:`RuleError`."""
    now = stages.IMMEDIATE
    rules: list[Rule] = []
    away: tuple[Action, ...]
    if simple.blocked:
        callers = ",".join(_caller(text, account) for text in simple.blocked)
        rules.append(
            _rule(
                "#Blocked",
                now,
                9,
                (Condition(Subject.FROM, Operator.IN, callers),),
                (Action(Verb.REJECT, "603"), Action(Verb.STOP)),
            )
        )
    if simple.self_calls:
        own = Condition(Subject.AUTHENTICATED, Operator.IS, account)
        stop = Action(Verb.STOP)
        rules.append(_rule("#SelfCall", now, 8, (own,), (_redirect(_SERVICE), stop)))
    if simple.do_not_disturb:
        rules.append(_rule("#DoNotDisturb", now, 7, (), (Action(Verb.REJECT, "486"),)))
    if simple.forward_always is not None:
        away = (_redirect(simple.forward_always), Action(Verb.STOP))
        rules.append(_rule("#ForwardAlways", now, 6, (), away))
    if simple.ring_also is not None:
        parse_targets(simple.ring_also)
        also = (Action(Verb.FORK, simple.ring_also),)
        stage = stages.after_s(simple.ring_also_after_s)
        rules.append(_rule("#RingAlso", stage, _PRIORITY, (), also))
    if simple.forward_no_answer is not None:
        after = simple.forward_after_s
        stage = stages.NO_ANSWER if after is None else stages.after_s(_waiting(after))
        away = (_redirect(simple.forward_no_answer),)
        rules.append(_rule("#ForwardNoAnswer", stage, _REDIRECTED, (), away))
    if simple.voicemail_after_s is not None:
        stage = stages.after_s(_waiting(simple.voicemail_after_s))
        rules.append(_rule("#VoicemailAfter", stage, _PRIORITY, (), (_redirect(_VOICEMAIL),)))
    for name, address, stage, priority in (
        ("#ForwardBusy", simple.forward_busy, stages.BUSY, _REDIRECTED),
        ("#VoicemailBusy", _VOICEMAIL if simple.voicemail_busy else None, stages.BUSY, _PRIORITY),
        ("#ForwardError", simple.forward_error, stages.FAILURE, _REDIRECTED),
        (
            "#VoicemailError",
            _VOICEMAIL if simple.voicemail_error else None,
            stages.FAILURE,
            _PRIORITY,
        ),
    ):
        if address is not None:
            rules.append(_rule(name, stage, priority, (), (_redirect(address),)))
    return ordered(rules)


def replaced(rules: Rules, simple: Simple, account: str) -> Rules:
    """`rules` with the simplified ones made anew."""
    for name in NAMES:
        rules = without(rules, name)
    return ordered([*rules, *simple_rules(simple, account)])


def simple_of(rules: Rules) -> Simple:
    """What the simplified rules among `rules` say."""
    found = {rule.name: rule for rule in rules if rule.name in NAMES and rule.active}

    def address(name: str) -> str | None:
        rule = found.get(name)
        return None if rule is None else rule.actions[0].parameter

    def seconds(name: str) -> int | None:
        rule = found.get(name)
        if rule is None or not stages.is_timed(rule.stage):
            return None
        return stages.seconds_of(rule.stage)

    blocked = found.get("#Blocked")
    callers = blocked.conditions[-1].parameter.split(",") if blocked is not None else []
    return Simple(
        forward_always=address("#ForwardAlways"),
        forward_busy=address("#ForwardBusy"),
        forward_error=address("#ForwardError"),
        forward_no_answer=address("#ForwardNoAnswer"),
        forward_after_s=seconds("#ForwardNoAnswer"),
        ring_also=address("#RingAlso"),
        ring_also_after_s=seconds("#RingAlso") or 0,
        voicemail_after_s=seconds("#VoicemailAfter"),
        voicemail_busy="#VoicemailBusy" in found,
        voicemail_error="#VoicemailError" in found,
        do_not_disturb="#DoNotDisturb" in found,
        self_calls="#SelfCall" in found,
        blocked=tuple("anonymous" if text == _ANONYMOUS else text for text in callers),
    )


_ANONYMOUS: Final = "anonymous@*"


def _rule(
    name: str,
    stage: int,
    priority: int,
    conditions: tuple[Condition, ...],
    actions: tuple[Action, ...],
) -> Rule:
    return Rule(name, stage, priority, (_INVITE, *conditions), actions)


def _redirect(addresses: str) -> Action:
    parse_targets(addresses)
    return Action(Verb.REDIRECT, addresses)


def _waiting(seconds: int) -> int:
    if seconds < 1:
        raise RuleError(f"after {seconds} s of ringing: give 1 to {stages.LONGEST_S} seconds")
    return seconds


def _caller(text: str, account: str) -> str:
    text = text.strip()
    if not text or "," in text:
        raise RuleError(f'"{text}" is no caller: expected a number, an address or a picture')
    if text.lower() == "anonymous":
        return _ANONYMOUS
    return text if "@" in text or "*" in text else f"{text}@{account.partition('@')[2]}"
