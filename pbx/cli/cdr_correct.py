"""``pbx cdr correct``: past call records by today's rules, beside those that are stored."""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pbx.cli.common import actor, add_options, data_directory, print_json, settings_of
from pbx.cli.reading import add_times, opened_log, show_time
from pbx.kernel.errors import LagTimeout, PbxError, ProjectionStopped

if TYPE_CHECKING:
    from pbx.readmodel.correct import Correction, Corrector
    from pbx.readmodel.replay import Rebuild

_HEADS: Final = ("call_id", "ended", "kind", "leg_id", "field", "old", "new")


class ExportError(PbxError):
    """The file for the differences cannot be written."""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser."""
    correct = actions.add_parser(
        "correct",
        help="compare past records with what today's rules make of the same calls",
        description="Replays all calls into a second copy of the records and lists the values that "
        "differ, old and new side by side. Nothing is changed without --apply.",
    )
    add_times(correct)
    correct.add_argument(
        "--export", metavar="FILE", type=Path, help="write the differences to a CSV file"
    )
    correct.add_argument(
        "--apply", action="store_true", help="replace the records that differ; the log says so"
    )
    add_options(correct)
    correct.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List, export, apply."""
    from pbx.readmodel import catch_up, is_partitioned, make_projector, open_read_model
    from pbx.readmodel.correct import PROJECTION, Corrector
    from pbx.readmodel.replay import rebuilt

    url = settings_of(arguments).readmodel.url
    with (
        opened_log(arguments) as log,
        contextlib.closing(open_read_model(data_directory(arguments).path, url)) as live,
    ):
        try:
            catch_up(log, live)
        except (ProjectionStopped, LagTimeout) as error:
            print(f"pbx: {error}", file=sys.stderr)
        with rebuilt(log, live, [PROJECTION]) as rebuild, _export(arguments.export) as export:
            corrector = Corrector(live, rebuild, since_ns=arguments.since, until_ns=arguments.until)
            found: list[dict[str, Any]] = []
            for correction in corrector.corrections():
                export(correction)
                if arguments.json:
                    found.append(_as_json(correction))
                else:
                    _print(correction)
            if arguments.apply and corrector.total:
                corrector.apply(log, actor())
        if (
            arguments.apply
            and corrector.total
            and not is_partitioned(log, live)
            and live.lease.acquire()
        ):
            # No server runs, so nobody else writes the text files anew.
            make_projector(log, live)
    if arguments.json:
        print_json({**_totals(corrector, rebuild, applied=arguments.apply), "calls": found})
    else:
        _print_totals(corrector, rebuild, applied=arguments.apply)
    return 0


def _print(correction: Correction) -> None:
    words = {"added": ": had no record", "removed": ": should have no record"}
    ended = show_time(correction.end_ns)
    print(f"{correction.call_id} ended {ended}{words.get(correction.kind, '')}")
    if correction.kind != "changed":
        return
    for leg_id, field, old, new in correction.changes:
        where = f"leg {leg_id}" if leg_id else "call"
        print(f"    {where}  {field}  {_word(old)} → {_word(new)}")


def _word(value: object) -> str:
    return "(no record)" if value is None else repr(value)


def _print_totals(corrector: Corrector, rebuild: Rebuild, *, applied: bool) -> None:
    counts = corrector.counts
    rate = rebuild.events / rebuild.seconds if rebuild.seconds else 0.0
    print(f"{rebuild.events} events in {rebuild.seconds:.2f} s ({rate:,.0f} events/s)")
    if not corrector.total:
        print("all records are those of today's rules")
        return
    print(
        f"{corrector.total} calls differ: {counts['changed']} changed, {counts['added']} without"
        f" a record, {counts['removed']} with one too many"
    )
    print("they were replaced" if applied else "nothing was replaced; do that with --apply")


def _totals(corrector: Corrector, rebuild: Rebuild, *, applied: bool) -> dict[str, Any]:
    return {
        "events": rebuild.events,
        "seconds": round(rebuild.seconds, 3),
        **corrector.counts,
        "applied": applied and corrector.total > 0,
    }


def _as_json(correction: Correction) -> dict[str, Any]:
    from pbx.readmodel.cdr_files import iso_time

    return {
        "call_id": correction.call_id,
        "end": iso_time(correction.end_ns) or None,
        "end_ns": correction.end_ns,
        "kind": correction.kind,
        "changes": [change._asdict() for change in correction.changes],
    }


@contextlib.contextmanager
def _export(path: Path | None) -> Iterator[Callable[[Correction], None]]:
    """What takes the corrections; the file appears complete, or not at all."""
    if path is None:
        yield lambda correction: None
        return
    from pbx.readmodel.cdr_files import iso_time

    fresh = path.with_name(f"{path.name}.new")
    try:
        with fresh.open("w", newline="", encoding="utf-8") as file:
            fresh.chmod(0o600)
            writer = csv.writer(file)
            writer.writerow(_HEADS)

            def write(correction: Correction) -> None:
                head = (correction.call_id, iso_time(correction.end_ns), correction.kind)
                writer.writerows((*head, *change) for change in correction.changes)

            yield write
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ExportError(f"cannot write {path}: {error.strerror}") from error
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
