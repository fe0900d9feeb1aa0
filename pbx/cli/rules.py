"""``pbx rules show|set|update|delete|check|test``: Signal Rules of every level.

Files hold a set in its stored form, arrays of strings: as JSON, or in the data format of the
re-implemented product (``(("100005", name, …))``).
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbx.cli.common import Commands
    from pbx.rules import Rules, RuleSet, Value, Verdict
    from pbx.rules.vocabulary import Subject

_OWNER_HELP: Final = "server, a domain, or NAME@DOMAIN"
#: A file larger than this is none: 200 rules with everything in them have a tenth of it.
_MAX_FILE_BYTES: Final = 16 * 1024 * 1024


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("rules", help="Signal Rules: show, set, update, delete, test")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    show = actions.add_parser("show", help="show the rules of an owner")
    show.add_argument("owner", metavar="OWNER", nargs="?", default="server", help=_OWNER_HELP)
    add_options(show)
    show.set_defaults(run=_show)

    replace = actions.add_parser("set", help="replace all rules of an owner by those of a file")
    replace.add_argument("owner", metavar="OWNER", help=_OWNER_HELP)
    replace.add_argument("file", metavar="FILE", help="a set of rules; - reads standard input")
    add_options(replace)
    replace.set_defaults(run=_set)

    update = actions.add_parser("update", help="store one rule, or change its priority")
    update.add_argument("owner", metavar="OWNER", help=_OWNER_HELP)
    update.add_argument("file", metavar="FILE", help="one rule; - reads standard input")
    add_options(update)
    update.set_defaults(run=_update)

    delete = actions.add_parser("delete", help="remove one rule")
    delete.add_argument("owner", metavar="OWNER", help=_OWNER_HELP)
    delete.add_argument("name", metavar="RULE")
    add_options(delete)
    delete.set_defaults(run=_delete)

    check = actions.add_parser("check", help="check a file without storing it")
    check.add_argument("file", metavar="FILE", help="a set of rules; - reads standard input")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)

    test = actions.add_parser("test", help="what the rules would do with a call, and why")
    test.add_argument("account", metavar="NAME@DOMAIN", help="who is called")
    test.add_argument("--from", dest="caller", default="", metavar="ADDRESS", help="who calls")
    test.add_argument("--name", default="", metavar="TEXT", help="display name of the caller")
    test.add_argument("--stranger", action="store_true", help="the caller is not authenticated")
    test.add_argument("--uri", default="", metavar="URI", help="what is dialled")
    test.add_argument("--source", default="127.0.0.1", metavar="IP", help="where the call is from")
    test.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'")
    test.add_argument("--devices", type=int, default=1, metavar="N", help="registered devices")
    test.add_argument("--at", default="", metavar="TIME", help="such as 2026-06-01T09:30 (UTC)")
    test.add_argument(
        "--rules",
        action="append",
        default=[],
        nargs=2,
        metavar=("OWNER", "FILE"),
        help="take these rules instead of the stored ones of an owner",
    )
    add_options(test)
    test.set_defaults(run=_test)


def read_rules(name: str) -> object:
    """The arrays of a file. Raises :class:`DomainError` with the place of an error."""
    try:
        if name == "-":
            text = sys.stdin.read(_MAX_FILE_BYTES + 1)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise DomainError(f"{name} cannot be read: {error}") from None
    if len(text) > _MAX_FILE_BYTES:
        raise DomainError(
            f"{name} has more than {_MAX_FILE_BYTES} characters: it is no set of rules"
        )
    if text.lstrip().startswith("("):
        from pbx.data import DataError, parse

        try:
            return parse(text)
        except DataError as error:
            raise DomainError(f"{name}: {error}") from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DomainError(
            f"{name}, line {error.lineno}, column {error.colno}: {error.msg}; expected a set of "
            'rules such as [["100005", "name", [["From", "is", "*@a.com"]], [["Reject with"]]]]'
        ) from None
    except RecursionError:
        raise DomainError(f"{name}: arrays within arrays without end") from None


def _show(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import reading_rules

    with reading_rules(data_directory(arguments)) as administrate:
        state = administrate.state(arguments.owner)
    _print_rules(arguments, state.rules)
    return 0


def _set(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import rule_administration

    data = read_rules(arguments.file)
    with rule_administration(data_directory(arguments), actor()) as administrate:
        rules = administrate.set_rules(arguments.owner, data)
    return _stored(arguments, rules)


def _update(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import rule_administration

    data = read_rules(arguments.file)
    with rule_administration(data_directory(arguments), actor()) as administrate:
        rules = administrate.update_rule(arguments.owner, data)
    return _stored(arguments, rules)


def _delete(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import rule_administration

    with rule_administration(data_directory(arguments), actor()) as administrate:
        rules = administrate.delete_rule(arguments.owner, arguments.name)
    return _stored(arguments, rules)


def _stored(arguments: argparse.Namespace, rules: Rules) -> int:
    if arguments.json:
        _print_rules(arguments, rules)
    else:
        print(f"{arguments.owner} has {len(rules)} rule{'' if len(rules) == 1 else 's'}")
    return 0


def _print_rules(arguments: argparse.Namespace, rules: Rules) -> None:
    from pbx.rules import rules_to_data
    from pbx.rules.stages import name_of

    if arguments.json:
        print_json(rules_to_data(rules))
        return
    print_table(
        ("WHEN", "PRIORITY", "NAME", "IF", "THEN"),
        [
            (
                name_of(rule.stage),
                {0: "inactive", 10: "highest"}.get(rule.priority, rule.priority),
                rule.name,
                " and ".join(
                    f"{test.subject.value} {test.operator.value} {test.parameter}"
                    for test in rule.conditions
                )
                or "always",
                "; ".join(action.text for action in rule.actions),
            )
            for rule in rules
        ],
    )


def _check(arguments: argparse.Namespace) -> int:
    from pbx.rules import check_rules, parse_rules

    data = read_rules(arguments.file)
    errors = check_rules(data)
    if arguments.json:
        print_json({"errors": [str(error) for error in errors]})
    else:
        for error in errors:
            print(error)
        if not errors:
            print(f"{arguments.file}: {len(parse_rules(data))} rules, nothing wrong")
    return 1 if errors else 0


def _test(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import reading_rules
    from pbx.domain.accounts import account_address
    from pbx.rule_commands import owner_stream
    from pbx.rules import parse_rules

    name, domain = account_address(arguments.account)
    replacing = {
        owner_stream(owner): parse_rules(read_rules(file)) for owner, file in arguments.rules
    }
    with reading_rules(data_directory(arguments)) as administrate:
        administrate.state(arguments.account)
        server, merged = administrate.merged(arguments.account, replacing)
        datasets = administrate.state(arguments.account).datasets
    verdicts = _verdicts(arguments, f"{name}@{domain}", server, merged, datasets)
    if arguments.json:
        print_json([_verdict_json(verdict) for verdict in verdicts])
        return 0
    from pbx.rules.stages import name_of

    if not verdicts:
        print("no rules: the devices ring")
    for verdict in verdicts:
        print(f"{name_of(verdict.stage)}:")
        for looked in verdict.trace:
            print(f"  {looked.text}")
        for decision in verdict.actions:
            print(f"  → {decision.action.text}")
    return 0


def _verdicts(
    arguments: argparse.Namespace,
    account: str,
    server: RuleSet,
    merged: RuleSet,
    datasets: Any,
) -> list[Verdict]:
    """Every stage that has rules, the server's at arrival first, as for a call nobody answers."""
    from pbx.rules import BUSY, FAILURE, IMMEDIATE, NO_ANSWER, Facts, evaluate
    from pbx.rules.vocabulary import Subject

    at = datetime.now(UTC)
    if arguments.at:
        try:
            at = datetime.fromisoformat(arguments.at)
        except ValueError:
            raise DomainError(f"{arguments.at} is no time: expected 2026-06-01T09:30") from None
        at = at.replace(tzinfo=at.tzinfo or UTC)
    values: dict[Subject, Value] = {
        Subject.METHOD: "INVITE",
        Subject.REQUEST_URI: arguments.uri or f"sip:{account}",
        Subject.CALL_TYPE: "AV",
        Subject.REG_CLIENTS: arguments.devices,
        Subject.REQUEST_FIELD: tuple(arguments.header),
        Subject.FROM: arguments.caller,
        Subject.TO: account,
        Subject.FROM_NAME: arguments.name,
        Subject.AUTHENTICATED: "" if arguments.stranger else arguments.caller,
        Subject.SUBMIT_ADDRESS: f"SIP [{arguments.source}]",
        Subject.PRESENCE: "online" if arguments.devices else "offline",
    }

    def facts(known: bool) -> Facts:
        return Facts(
            values.get,
            at,
            has_account=known,
            dataset=lambda name: datasets.get(name, {}),
        )

    verdicts: list[Verdict] = []
    if server.at(IMMEDIATE):
        verdicts.append(evaluate(server, facts(False), IMMEDIATE))
    stages: Sequence[int] = (IMMEDIATE, *merged.timed, BUSY, FAILURE, NO_ANSWER)
    for stage in stages:
        if any(verdict.discarded for verdict in verdicts):
            break
        if merged.at(stage):
            verdicts.append(evaluate(merged, facts(True), stage))
    return verdicts


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    from pbx.rules.stages import name_of

    return {
        "stage": name_of(verdict.stage),
        "rules": [
            {
                "level": looked.level.value,
                "owner": looked.owner,
                "name": looked.name,
                "applied": looked.applied,
                "conditions": [
                    {
                        "condition": tested.condition.subject.value,
                        "operator": tested.condition.operator.value,
                        "parameter": tested.condition.parameter,
                        "seen": tested.seen,
                        "holds": tested.holds,
                    }
                    for tested in looked.tested
                ],
            }
            for looked in verdict.trace
        ],
        "actions": [
            {"rule": decision.entry.rule.name, "action": decision.action.text}
            for decision in verdict.actions
        ],
    }
