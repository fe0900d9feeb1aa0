"""``pbx replay``: rebuild projections from the log, compare, put right; show where they stand."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table, settings_of
from pbx.cli.reading import opened_log, show_time
from pbx.kernel.errors import LagTimeout, ProjectionStopped, ReadModelError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.eventlog import EventLog
    from pbx.readmodel import Database
    from pbx.readmodel.replay import Difference, Outcome


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("replay", help="rebuild projections from the log and compare")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "name", nargs="?", help="domains, accounts, bindings, calls, cdrs, mailboxes or ivr"
    )
    what.add_argument("--all", action="store_true", help="all of them")
    what.add_argument("--status", action="store_true", help="show how far they are, and errors")
    what.add_argument(
        "--skip", metavar="NAME", help="let a stopped projection step over the event it stopped at"
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Rebuild, or show, or skip."""
    from pbx.readmodel import PROJECTION_NAMES, open_read_model

    with (
        opened_log(arguments) as log,
        contextlib.closing(
            open_read_model(data_directory(arguments).path, settings_of(arguments).readmodel.url)
        ) as database,
    ):
        if arguments.status:
            return _status(arguments, log, database)
        chosen = arguments.skip or arguments.name or ""
        if f"{chosen}s" in PROJECTION_NAMES:
            chosen += "s"  # `pbx replay cdr`, as in `pbx cdr`
        if chosen and chosen not in PROJECTION_NAMES:
            raise ReadModelError(
                f"there is no projection {chosen}; there are {', '.join(PROJECTION_NAMES)}"
            )
        if arguments.skip:
            return _skip(chosen, log, database)
        names = PROJECTION_NAMES if arguments.all else (chosen,)
        return _replay(arguments, log, database, names)


def _replay(
    arguments: argparse.Namespace,
    log: EventLog,
    database: Database,
    names: tuple[str, ...],
) -> int:
    from pbx.readmodel import catch_up, is_partitioned, make_projector
    from pbx.readmodel.replay import replay

    try:
        catch_up(log, database)
    except (ProjectionStopped, LagTimeout) as error:
        print(f"pbx: {error}", file=sys.stderr)
    outcome = replay(log, database, names)
    if outcome.different and not is_partitioned(log, database) and database.lease.acquire():
        # No server runs, so nobody else writes the text files anew.
        make_projector(log, database)
    if arguments.json:
        print_json(_as_json(outcome))
    else:
        _print(outcome)
    return 0


def _print(outcome: Outcome) -> None:
    print(
        f"{', '.join(outcome.names)}: {outcome.events} events in {outcome.seconds:.2f} s"
        f" ({outcome.rate:,.0f} events/s), {outcome.rows} rows"
    )
    if not outcome.different:
        print("equal to the live tables")
        return
    print(f"{outcome.different} rows differed and were replaced:")
    for difference in outcome.differences:
        print(f"  {_words(difference)}")
    if outcome.different > len(outcome.differences):
        print(f"  and {outcome.different - len(outcome.differences)} more")


def _words(difference: Difference) -> str:
    row = f"{difference.table} {' '.join(str(part) for part in difference.key)}"
    if difference.before is None:
        return f"{row}: was missing"
    if difference.after is None:
        return f"{row}: should not have been"
    changes = _changes(difference.before, difference.after)
    return f"{row}: " + ", ".join(f"{name} {old!r} → {new!r}" for name, (old, new) in changes)


def _changes(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[tuple[str, tuple[Any, Any]]]:
    return [(name, (before[name], after[name])) for name in after if before[name] != after[name]]


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "projections": list(outcome.names),
        "events": outcome.events,
        "seconds": round(outcome.seconds, 3),
        "events_per_second": round(outcome.rate),
        "rows": outcome.rows,
        "different": outcome.different,
        "differences": [difference._asdict() for difference in outcome.differences],
    }


def _status(arguments: argparse.Namespace, log: EventLog, database: Database) -> int:
    from pbx.readmodel import projection_status
    from pbx.readmodel.partitions import heads_of

    heads = heads_of(log, database)
    with database.read() as connection:
        found = [
            {**row, "behind": heads.get(row["partition"], row["position"]) - row["position"]}
            for row in projection_status(connection)
        ]
    if arguments.json:
        print_json(found)
        return 0
    print_table(
        ("PROJECTION", "PARTITION", "POSITION", "BEHIND", "UPDATED (UTC)", "STATE"),
        [
            (
                row["name"],
                row["partition"] or "-",
                row["position"],
                row["behind"],
                show_time(row["updated_ns"]),
                f"stopped at {row['error_position']}: {row['error']}" if row["error"] else "runs",
            )
            for row in found
        ],
    )
    return 0


def _skip(name: str, log: EventLog, database: Database) -> int:
    from pbx.readmodel import load_checkpoints, skip_event

    with database.read() as connection:
        stopped = [c for c in load_checkpoints(connection) if c.name == name and c.error]
    if not stopped:
        raise ReadModelError(f"projection {name} has not stopped at any event")
    for checkpoint in stopped:
        position = skip_event(log, database, name, checkpoint.partition, actor=actor())
        where = f" of {checkpoint.partition}" if checkpoint.partition else ""
        print(f"{name} goes on behind position {position}{where}")
    return 0
