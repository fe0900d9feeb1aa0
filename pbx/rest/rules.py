"""Signal Rules of server, domains and accounts, and the simplified rules of an account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, Final

import msgspec

from pbx.admin.dispatch import Context, carry_out, require
from pbx.admin.handlers import signal_rules
from pbx.data import Value
from pbx.domain.server import STREAM as SERVER
from pbx.kernel.errors import DomainError
from pbx.rest.access import seen_account, seen_domain
from pbx.rest.changes import Resource, version_of
from pbx.rest.operations import Call, Handler, Reply
from pbx.rest.shapes import (
    CallControl,
    RuleAction,
    RuleCondition,
    SignalRule,
    SignalRules,
    Stage,
)
from pbx.rules import Rule, Rules, Simple, simple_of, stages
from pbx.rules.vocabulary import Level

_STAGES: Final = {
    Stage.NO_ANSWER: stages.NO_ANSWER,
    Stage.BUSY: stages.BUSY,
    Stage.FAILURE: stages.FAILURE,
}
_NAMES: Final = {code: stage for stage, code in _STAGES.items()}


def _stored(rule: SignalRule) -> list[Value]:
    """A rule in the form of the command protocol."""
    if rule.after_s and rule.stage is not Stage.RINGING:
        raise DomainError(f"{rule.name}: after_s is for the stage ringing")
    code = _STAGES.get(rule.stage)
    if code is None:
        code = stages.after_s(rule.after_s)
    conditions: list[Value] = [
        [test.subject.value, test.operator.value, test.value] for test in rule.conditions
    ]
    actions: list[Value] = [
        [action.action.value, *([action.value] if action.value else [])] for action in rule.actions
    ]
    row: list[Value] = [str(code * 100 + rule.priority), rule.name, conditions, actions]
    return [*row, rule.comment] if rule.comment else row


def _shown(rule: Rule) -> SignalRule:
    stage = _NAMES.get(rule.stage)
    after_s = 0
    if stage is None:
        after_s = stages.seconds_of(rule.stage)
        stage = Stage.RINGING if after_s else Stage.ARRIVAL
    return SignalRule(
        name=rule.name,
        stage=stage,
        after_s=after_s,
        priority=rule.priority,
        conditions=[
            RuleCondition(subject=test.subject, operator=test.operator, value=test.parameter)
            for test in rule.conditions
        ],
        actions=[RuleAction(action=action.verb, value=action.parameter) for action in rule.actions],
        comment=rule.comment,
    )


def _resource(stream: str) -> Resource:
    """Rules have ETags of their own, beside those of the settings in the same stream."""
    return Resource(stream, ("rules.changed", "domain.deleted", "account.deleted"))


def _owner(level: Level) -> tuple[Callable[[Context, Call], str], Callable[[str], str]]:
    """How the owner of a path is found, and where its events are."""
    match level:
        case Level.SERVER:
            return (lambda context, call: SERVER), (lambda owner: SERVER)
        case Level.DOMAIN:
            return (
                lambda context, call: seen_domain(context, call.path["domain"]).name,
                lambda owner: f"domain/{owner}",
            )
        case Level.ACCOUNT:
            return (
                lambda context, call: seen_account(context, call.path["address"]),
                lambda owner: f"account/{owner}",
            )


_PARAMETER: Final = {Level.DOMAIN: "domainName", Level.ACCOUNT: "accountName"}


def rule_handlers(level: Level) -> tuple[Handler, Handler]:
    """GET and PUT of the rules of a level."""
    find, stream_of = _owner(level)
    noun = f"{level.value.upper()}SIGNALRULES"

    def arguments(owner: str) -> dict[str, Value]:
        return {_PARAMETER[level]: owner} if level in _PARAMETER else {}

    def get(call: Call) -> Reply:
        def look(context: Context) -> Reply:
            owner = find(context, call)
            require(context, f"GET{noun}", arguments(owner))
            version = version_of(context.log, _resource(stream_of(owner)))
            return Reply(_body(signal_rules.state_of(context, owner).rules), version)

        return call.read(look)

    def put(call: Call) -> Reply:
        rules: list[Value] = [_stored(rule) for rule in call.body.rules]

        def change(context: Context) -> None:
            owner = find(context, call)
            carry_out(context, f"SET{noun}", {**arguments(owner), "newRules": rules})

        call.change(lambda context: _resource(stream_of(find(context, call))), change)
        return get(call)

    return get, put


def _body(rules: Rules) -> SignalRules:
    return SignalRules(rules=[_shown(rule) for rule in rules])


# ------------------------------------------------------------------------------- simplified rules


def get_control(call: Call) -> Reply:
    """What the simplified rules say."""

    def look(context: Context) -> Reply:
        address = seen_account(context, call.path["address"])
        require(context, "GETACCOUNTSIGNALRULES", {"accountName": address})
        version = version_of(context.log, _resource(f"account/{address}"))
        return Reply(_control(simple_of(signal_rules.state_of(context, address).rules)), version)

    return call.read(look)


def put_control(call: Call) -> Reply:
    """Replace them; other rules stay."""
    return _change_control(call, lambda held: _simple(call.body))


def patch_control(call: Call) -> Reply:
    """Change some of them."""
    changes = {
        name: value
        for name, value in msgspec.structs.asdict(call.body).items()
        if value is not msgspec.UNSET
    }

    def changed(held: Simple) -> Simple:
        values = msgspec.structs.asdict(_control(held))
        defaults = msgspec.structs.asdict(CallControl())
        for name, value in changes.items():
            values[name] = defaults[name] if value is None else value
        return _simple(CallControl(**values))

    return _change_control(call, changed)


def _change_control(call: Call, changed: Callable[[Simple], Simple]) -> Reply:
    def change(context: Context) -> None:
        address = seen_account(context, call.path["address"])
        require(context, "SETACCOUNTSIGNALRULES", {"accountName": address})
        signal_rules.control(context, address, changed)

    def resource(context: Context) -> Resource:
        return _resource(f"account/{seen_account(context, call.path['address'])}")

    call.change(resource, change)
    return get_control(call)


def _control(simple: Simple) -> CallControl:
    values: dict[str, Any] = asdict(simple)
    return CallControl(**{**values, "blocked": list(simple.blocked)})


def _simple(control: CallControl) -> Simple:
    values = {item.name: getattr(control, item.name) for item in fields(Simple)}
    return Simple(**{**values, "blocked": tuple(control.blocked)})
