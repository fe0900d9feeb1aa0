"""``pbx whatif --router FILE``: which calls of the past a changed Router table would change."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pbx.cli.common import add_options, data_directory, print_json, settings_of
from pbx.cli.reading import parse_time, show_time

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.whatif import Decision, Difference


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "whatif",
        help="tell which past calls a changed Router table would route otherwise",
        description="Routes the calls of the log through the configuration as it is and through "
        "the same with another Router table, and lists each call that would take another way. "
        "Nothing changes. The exit status is 1 if there are such calls.",
    )
    parser.add_argument(
        "--router", metavar="FILE", required=True, help="the changed table; - for standard input"
    )
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
    from pbx.addresses import own_hosts
    from pbx.cli.router import read_table
    from pbx.domain.server import CLUSTER_TABLE, SERVER_TABLE
    from pbx.eventlog import open_log
    from pbx.router import parse_table
    from pbx.whatif import configured, outlook, past_calls

    table = CLUSTER_TABLE if arguments.cluster else SERVER_TABLE
    text = read_table(arguments.router)
    parse_table(text, table)
    settings = settings_of(arguments)
    # Who called is needed, where the log seals it; secrets are not.
    log = open_log(data_directory(arguments).path, unseal="personal")
    try:
        directory = configured(log, own_hosts(settings))
        calls = past_calls(log, arguments.calls, settings.sip.client_ips)
        found = outlook(directory, calls, text, table)
    finally:
        log.close()
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
