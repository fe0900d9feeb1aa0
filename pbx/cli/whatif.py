"""``pbx whatif --router FILE --rules FILE``: which calls of the past a change would change."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pbx.cli.common import add_options, data_directory, print_json, settings_of
from pbx.cli.reading import parse_time, show_time

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.eventlog import EventLog
    from pbx.settings import Settings
    from pbx.whatif import Decision, Difference
    from pbx.whatif.rules import Comparison, Plan


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "whatif",
        help="tell which past calls a changed Router table or changed rules would change",
        description="Takes the calls of the log through the configuration as it is and through "
        "the same with another Router table, other Signal Rules, or both, and lists each call that "
        "would go otherwise. Nothing changes. The exit status is 1 if there are such calls, or "
        "calls of which the log does not say enough.",
    )
    parser.add_argument("--router", metavar="FILE", help="the changed table; - for standard input")
    parser.add_argument("--rules", metavar="FILE", help="a changed set of Signal Rules, as a whole")
    parser.add_argument(
        "--level", metavar="LEVEL", nargs="+", default=["server"],
        help="whose rules they are: server (the default), domain NAME, account NAME@DOMAIN",
    )  # fmt: skip
    parser.add_argument(
        "--cluster", action="store_true", help="it is the table of the whole cluster"
    )
    parser.add_argument(
        "--calls", metavar="TIME", type=parse_time, default="7d",
        help="calls since then: 2026-01-31T08:00 (UTC), 2h, 7d (the default) ago",
    )  # fmt: skip
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the calls that would change."""
    from pbx.cli.router import read_table
    from pbx.domain.server import CLUSTER_TABLE, SERVER_TABLE
    from pbx.eventlog import open_log
    from pbx.kernel.errors import DomainError
    from pbx.router import parse_table

    if not arguments.router and not arguments.rules:
        raise DomainError("nothing is changed: give --router FILE, --rules FILE, or both")
    table = CLUSTER_TABLE if arguments.cluster else SERVER_TABLE
    text = ""
    if arguments.router:
        text = read_table(arguments.router)
        parse_table(text, table)
    settings = settings_of(arguments)
    # Who called is needed, where the log seals it; secrets are not.
    log = open_log(data_directory(arguments).path, unseal="personal")
    try:
        if arguments.rules:
            changed = (text, table) if arguments.router else None
            return _with_rules(arguments, log, settings, changed)
        return _table_alone(arguments, log, settings, text, table)
    finally:
        log.close()


def _table_alone(
    arguments: argparse.Namespace, log: EventLog, settings: Settings, text: str, table: str
) -> int:
    from pbx.addresses import own_hosts
    from pbx.calls.emergency import Emergency
    from pbx.configdb import open_config
    from pbx.whatif import configured, outlook, past_calls

    database = open_config(data_directory(arguments).path)
    directory = configured(log, own_hosts(settings), database)
    calls = past_calls(log, arguments.calls, settings.sip.client_ips)
    emergency = Emergency(directory, settings.limits.emergency_numbers)
    found = outlook(directory, calls, text, table, emergency)
    if arguments.json:
        print_json(
            {
                "calls": found.calls,
                "drifted": found.drifted,
                "unreadable": found.unreadable,
                "differences": [_as_json(difference) for difference in found.differences],
            }
        )
        return 1 if found.differences else 0
    for call, old, new in found.differences:
        print(f"{show_time(call.time_ns)}  call {call.call_id}")
        print(f"  {call.source} dials {call.dialled.uri}")
        print(f"    now:  {_words(old)}")
        print(f"    then: {_words(new)}")
    print(
        f"{found.calls} call{'' if found.calls == 1 else 's'} replayed, "
        f"{len(found.differences) or 'none'} would take another way"
    )
    if found.drifted:
        were = "was" if found.drifted == 1 else "were"
        print(f"{found.drifted} {were} routed otherwise in their time: other things changed since")
    if found.unreadable:
        print(f"{found.unreadable} left out: their addresses cannot be read")
    return 1 if found.differences else 0


def _words(decision: Decision) -> str:
    answer = decision.answer
    target = f" {answer.target}" if answer.target else ""
    reason = f" ({decision.reason})" if answer.status and decision.reason else ""
    refused = f": {answer.status}{reason}" if answer.status else ""
    line = decision.line or "no line of the table"
    return f"{answer.outcome}{target}{refused}; {line}"


def _as_json(difference: Difference) -> dict[str, Any]:
    from pbx.readmodel.cdr_files import iso_time

    call, old, new = difference
    return {
        "call": call.call_id,
        "time": iso_time(call.time_ns),
        "caller": call.dialled.caller,
        "address": call.dialled.uri,
        "old": _decision_json(old),
        "new": _decision_json(new),
    }


def _decision_json(decision: Decision) -> dict[str, Any]:
    return {
        **decision.answer._asdict(),
        "reason": decision.reason if decision.answer.status else "",
        "line": decision.line,
        "steps": list(decision.steps),
    }


# Rules.


def _with_rules(
    arguments: argparse.Namespace,
    log: EventLog,
    settings: Settings,
    changed_table: tuple[str, str] | None,
) -> int:
    """Print the calls that other rules, and another table if one is given, would change."""
    from zoneinfo import ZoneInfo

    from pbx.addresses import own_hosts
    from pbx.calls.emergency import Emergency
    from pbx.cli.rules import read_rules
    from pbx.configdb import open_config
    from pbx.rule_commands import RuleAdministration, owner_stream
    from pbx.rules import parse_rules
    from pbx.whatif import configured
    from pbx.whatif.recorded import recorded_calls
    from pbx.whatif.rules import Verdict, both_configurations, compare_all

    owner = _owner(arguments.level)
    rules = parse_rules(read_rules(arguments.rules))
    RuleAdministration(log, actor="").state(owner)  # refuses an owner that does not exist
    database = open_config(data_directory(arguments).path)
    directory = configured(log, own_hosts(settings), database)
    emergency = Emergency(directory, settings.limits.emergency_numbers)
    now, then = both_configurations(
        log, directory, emergency, (owner_stream(owner), rules), changed_table
    )
    calls = recorded_calls(log, arguments.calls, settings.sip.client_ips)
    zone = ZoneInfo(settings.server.time_zone)
    replayed = unreadable = 0
    found: list[Comparison] = []
    for comparison in compare_all(calls, now, then, emergency, directory.main_domain, zone):
        if comparison is None:
            unreadable += 1
            continue
        replayed += 1
        if comparison.verdict is not Verdict.SAME:
            found.append(comparison)
    changed = [c for c in found if c.verdict is Verdict.CHANGED]
    if arguments.json:
        print_json(
            {
                "calls": replayed,
                "unreadable": unreadable,
                "differences": [_comparison_json(c) for c in found],
            }
        )
        return 1 if found else 0
    for comparison in found:
        _print_comparison(comparison)
    print(
        f"{replayed} call{'' if replayed == 1 else 's'} replayed, "
        f"{len(changed) or 'none'} would go otherwise"
    )
    unknown = len(found) - len(changed)
    if unknown:
        print(f"{unknown} may go otherwise: the log does not say enough")
    if unreadable:
        print(f"{unreadable} left out: their addresses cannot be read")
    return 1 if found else 0


def _owner(level: list[str]) -> str:
    """The owner that ``--level`` names. Raises :class:`DomainError`."""
    from pbx.kernel.errors import DomainError

    match level:
        case ["server"]:
            return "server"
        case ["domain", name] if "@" not in name and name != "server":
            return name
        case ["account", name] if "@" in name:
            return name
    raise DomainError(
        f"--level {' '.join(level)}: expected server, domain NAME or account NAME@DOMAIN"
    )


def _print_comparison(comparison: Comparison) -> None:
    call = comparison.call
    started = call.started
    print(f"{show_time(call.time_ns)}  call {call.call_id}")
    print(f"  {started.account or started.from_uri} dials {started.request_uri}")
    print(f"    now:  {_plan_words(comparison.old)}")
    print(f"    then: {_plan_words(comparison.new)}")
    for reason in comparison.unknown:
        print(f"    unknown: {reason}")


def _plan_words(plan: Plan) -> str:
    steps = [f"{step.text} [{step.rule}]" if step.rule else step.text for step in plan.steps]
    return "; ".join(steps) or "nothing is called"


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    from pbx.readmodel.cdr_files import iso_time

    call = comparison.call
    return {
        "call": call.call_id,
        "time": iso_time(call.time_ns),
        "caller": call.started.account,
        "address": call.started.request_uri,
        "verdict": comparison.verdict.value,
        "old": [step._asdict() for step in comparison.old.steps],
        "new": [step._asdict() for step in comparison.new.steps],
        "unknown": list(comparison.unknown),
    }
