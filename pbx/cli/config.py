"""``pbx config log|show|diff|blame|revert``: the history of everything that can be configured."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table
from pbx.cli.reading import add_times, opened_log, parse_moment, show_time
from pbx.history.errors import HistoryError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.eventlog import Record
    from pbx.history.changes import Changed
    from pbx.history.view import Change, Key

_OBJECT = (
    "router, server, blacklist, a domain, name@domain of an account, group, forwarder, list or "
    "task, or a stream such as group/sales@example.com"
)
_TIME = "2026-01-31, 2026-01-31T08:00 (UTC unless it names a zone), 15m, 2h, 3d ago"


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "config", help="history of the configuration: log, show, diff, blame, revert"
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    log = actions.add_parser("log", help="each change: when, who, what it was and what it became")
    log.add_argument("object", nargs="?", metavar="OBJECT", help=_OBJECT)
    add_times(log)
    log.add_argument("--actor", default="", help="changes by this actor (or part of the name)")
    add_options(log)
    log.set_defaults(run=_log)

    show = actions.add_parser("show", help="an object now, or as it was")
    show.add_argument("object", metavar="OBJECT", help=_OBJECT)
    show.add_argument("--at", metavar="TIME", type=parse_moment, help=f"as of then: {_TIME}")
    add_options(show)
    show.set_defaults(run=_show)

    diff = actions.add_parser("diff", help="what differs between two moments; status 1 if anything")
    diff.add_argument("object", metavar="OBJECT", help=_OBJECT)
    diff.add_argument("--from", dest="start", metavar="TIME", type=parse_moment, required=True,
                      help=_TIME)  # fmt: skip
    diff.add_argument("--to", dest="end", metavar="TIME", type=parse_moment, help="default: now")
    add_options(diff)
    diff.set_defaults(run=_diff)

    blame = actions.add_parser("blame", help="who set each key, or each line of the Router table")
    blame.add_argument("object", metavar="OBJECT", help=_OBJECT)
    add_options(blame)
    blame.set_defaults(run=_blame)

    revert = actions.add_parser(
        "revert",
        help="take a change back, or make an object what it was",
        description="Shows what would change; --yes does it. The revert is a change of its own, "
        "which can be reverted in its turn.",
    )
    revert.add_argument(
        "what", metavar="POSITION|OBJECT",
        help="the change, by the number that pbx config log shows; with --to an object",
    )  # fmt: skip
    revert.add_argument("--to", metavar="TIME", type=parse_moment, help=f"as of then: {_TIME}")
    revert.add_argument("--yes", action="store_true", help="do it")
    revert.add_argument(
        "--force", action="store_true", help="overwrite later changes of the same keys"
    )
    add_options(revert)
    revert.set_defaults(run=_revert)


def _log(arguments: argparse.Namespace) -> int:
    from pbx.history.changes import changes, target_of

    with opened_log(arguments) as log:
        target = target_of(log, arguments.object) if arguments.object else None
        found = changes(
            log, target,
            since_ns=arguments.since, until_ns=arguments.until, actor=arguments.actor,
        )  # fmt: skip
        if arguments.json:
            print_json([_changed_json(changed) for changed in found])
            return 0
        for changed in found:
            _print_changed(changed)
    return 0


def _print_changed(changed: Changed) -> None:
    from pbx.history.changes import name_of
    from pbx.history.show import change_lines

    record = changed.record
    print(
        f"{record.position:>8}  {show_time(record.time_ns)}  {record.actor or '-'}"
        f"{_origin(record)}  {name_of(record.stream)}"
    )
    lines = [line for change in changed.changes for line in change_lines(change)]
    if not lines:
        # A value set again, or an event of a newer version.
        lines = [changed.problem or f"{record.type}: no key changed"]
    for line in lines:
        print(f"{'':10}{line}")


def _origin(record: Record) -> str:
    """Where it came from, or what it takes back."""
    if record.causation.isdigit():
        return f" (revert by {record.causation})"
    return f" from {record.causation}" if record.causation else ""


def _changed_json(changed: Changed) -> dict[str, Any]:
    from pbx.readmodel.cdr_files import iso_time

    record = changed.record
    return {
        "position": record.position,
        "time": iso_time(record.time_ns),
        "actor": record.actor,
        "origin": record.causation,
        "stream": record.stream,
        "version": record.version,
        "type": record.type,
        "changes": [_change_json(change) for change in changed.changes],
        **({"problem": changed.problem} if changed.problem else {}),
    }


def _change_json(change: Change) -> dict[str, Any]:
    from pbx.history.show import json_of, key_text

    key, old, new = change
    return {"key": key_text(key), "old": json_of(key, old), "new": json_of(key, new)}


def _show(arguments: argparse.Namespace) -> int:
    from pbx.history.changes import target_of, view_at
    from pbx.history.show import json_of, key_text, value_text

    with opened_log(arguments) as log:
        target = target_of(log, arguments.object)
        view = view_at(log, target, arguments.at)
    if not view and target.stream != "server":
        raise HistoryError(f"{target.name} did not exist then; see: pbx config log {target.name}")
    if arguments.json:
        print_json({key_text(key): json_of(key, value) for key, value in view.items()})
        return 0
    tables: dict[Key, str] = {key: value for key, value in view.items() if key[0] == "router"}
    for key, text in tables.items():
        if len(tables) > 1:
            print(f"; {key_text(key)}")
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    for key, value in view.items():
        if key not in tables:
            print(f"{key_text(key)}: {value_text(key, value)}")
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    from pbx.history.changes import target_of, view_at
    from pbx.history.show import change_lines
    from pbx.history.view import diff

    with opened_log(arguments) as log:
        target = target_of(log, arguments.object)
        found = diff(view_at(log, target, arguments.start), view_at(log, target, arguments.end))
    if arguments.json:
        print_json([_change_json(change) for change in found])
    for change in () if arguments.json else found:
        print(*change_lines(change), sep="\n")
    return 1 if found else 0


def _blame(arguments: argparse.Namespace) -> int:
    from pbx.history.changes import blame, target_of
    from pbx.history.show import json_of, key_text, value_text
    from pbx.readmodel.cdr_files import iso_time

    with opened_log(arguments) as log:
        keys, lines = blame(log, target_of(log, arguments.object))
    if arguments.json:
        print_json(
            [
                {
                    **what,
                    "position": record.position,
                    "time": iso_time(record.time_ns),
                    "actor": record.actor,
                }
                for what, record in [
                    *(
                        ({"key": key_text(key), "value": json_of(key, value)}, record)
                        for key, value, record in keys
                    ),
                    *(
                        ({"table": table, "line": number, "text": text}, record)
                        for table, number, text, record in lines
                    ),
                ]
            ]
        )
        return 0
    rows = [(f"{key_text(key)}: {value_text(key, value)}", record) for key, value, record in keys]
    many = len({line.table for line in lines}) > 1
    rows += [
        (f"{f'{line.table} ' if many else ''}{line.number:>3}  {line.text}", line.record)
        for line in lines
    ]
    print_table(
        ("Position", "Time", "Actor", "Line" if lines else "Key"),
        [(record.position, show_time(record.time_ns), record.actor, text) for text, record in rows],
    )
    return 0


def _revert(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import changing_log, stored_inventory
    from pbx.history.changes import target_of
    from pbx.history.revert import Reverts
    from pbx.history.show import change_lines

    data = data_directory(arguments)
    with changing_log(data) as log, stored_inventory(data) as known:
        reverts = Reverts(log, actor=actor(), inventory=known)
        if arguments.to is not None:
            plan = reverts.to_time(target_of(log, arguments.what), arguments.to)
        elif arguments.what.isdigit():
            plan = reverts.of_change(int(arguments.what), force=arguments.force)
        else:
            raise HistoryError(
                f"{arguments.what} is no position: give the number of a change, from pbx config "
                f"log, or a time: pbx config revert {arguments.what} --to TIME"
            )
        position = reverts.carry_out(plan) if arguments.yes and plan.changes else None
    if arguments.json:
        print_json(
            {
                "object": plan.target.name,
                "changes": [_change_json(change) for change in plan.changes],
                "notes": plan.notes,
                "position": position,
            }
        )
        return 0
    if not plan.changes and not plan.notes:
        print(f"{plan.target.name} is as it was: nothing to do")
    elif plan.changes and position is None:
        print(f"{plan.target.name} would change (do it with --yes):")
    elif plan.changes:
        print(f"{plan.target.name} changed, position {position}:")
    for change in plan.changes:
        for line in change_lines(change):
            print(f"  {line}")
    for note in plan.notes:
        print(f"note: {note}")
    return 0
