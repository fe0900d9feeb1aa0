"""``pbx log``: the events, filtered, followed, or told as the story of one call.

Sealed values are never shown: the log is opened without keys.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pbx.cli.common import add_options
from pbx.cli.reading import add_times, opened_log, opened_read_model, show_time
from pbx.kernel.errors import LogError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.cli.programs import CallStreams
    from pbx.eventlog import EmbeddedLog, EventLog, Position, Record

FOLLOW_TAIL: Final = 10
"""Events shown before the new ones if nobody says where to begin."""
FOLLOW_WAIT_S: Final = 60.0
"""Each wait for new events; Ctrl-C interrupts it."""

Keep = Callable[["Record"], bool]


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("log", help="the event log: show, filter, follow, explain a call")
    parser.add_argument(
        "action",
        nargs="?",
        choices=("show", "init", "status", "schema"),
        default="show",
        help="show events (default); init: make and check the topics of a log on Kafka; "
        "status: what waits for Kafka, and how far this node has read; schema: write JSON Schema "
        "of each event type, an AsyncAPI and an OpenAPI document into the folder --out",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="where `schema` writes to")
    parser.add_argument("--follow", action="store_true", help="go on with events as they come")
    parser.add_argument(
        "--call",
        metavar="ID",
        help="tell the story of a call (its id, its start, or a SIP Call-ID)",
    )
    parser.add_argument("--stream", metavar="S", help="one stream, e.g. account/alice@example.org")
    parser.add_argument(
        "--type", metavar="T", help="events of a type: leg.answered, leg.answered.v1 or 'leg.*'"
    )
    add_times(parser)
    parser.add_argument("--after", type=int, metavar="POS", help="begin behind this position")
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="the first N behind --after or --since, else the last N",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print events; with ``--json`` one object a line."""
    if arguments.action == "schema":
        return _schema(arguments.out)
    if arguments.action != "show":
        from pbx.cli import log_cluster

        return (
            log_cluster.init(arguments)
            if arguments.action == "init"
            else log_cluster.status(arguments)
        )
    from pbx.cli.programs import CallStreams

    with opened_log(arguments) as log:
        streams: CallStreams | None = None
        if arguments.call:
            streams = CallStreams(find_call(arguments, log, arguments.call))
        elif arguments.stream is not None:
            streams = CallStreams(arguments.stream, alone=True)
        show = _shower(arguments)
        head = log.head()
        shown = last = 0
        for record in _selected(arguments, log, streams):
            show(record)
            last = record.position
            shown += 1
        if arguments.follow:
            # What lies before the head of then was looked at, unless the limit cut it short.
            cut = _from_start(arguments) and shown == arguments.limit
            _follow(arguments, log, streams, last if cut else max(last, head), show)
    return 0


def _schema(folder: Path | None) -> int:
    from pbx.eventlog.schemas import write_schemas
    from pbx.rest import openapi

    if folder is None:
        raise LogError("say where to write the schemas: pbx log schema --out DIR")
    try:
        count = write_schemas(folder)
        openapi.write(folder)
    except OSError as error:
        raise LogError(f"cannot write to {folder}: {error.strerror}") from error
    print(f"{count + 1} documents in {folder}")
    return 0


def _from_start(arguments: argparse.Namespace) -> bool:
    return arguments.after is not None or arguments.since is not None


def _shower(arguments: argparse.Namespace) -> Callable[[Record], None]:
    if arguments.json:
        return _show_json
    if arguments.call:
        from pbx.cli.story import Story

        story = Story()
        return lambda record: _show_lines(story.tell(record))
    return _show_line


def _selected(
    arguments: argparse.Namespace, log: EmbeddedLog, streams: CallStreams | None
) -> Iterable[Record]:
    keep = _filter(arguments, streams)
    limit: int | None = arguments.limit
    from_start = _from_start(arguments)
    if arguments.follow and not from_start and streams is None and limit is None:
        limit = FOLLOW_TAIL
    types = _patterns(arguments.type)
    if streams is not None and arguments.call:
        source: Iterator[Record] = streams.records(log)
    elif streams is not None:
        source = log.read_stream(arguments.stream)
    elif limit is not None and not from_start:
        # From the end, so that a log of years is not read for its last lines.
        newest = filter(keep, log.read_back(_last_before(arguments.until, log), types=types))
        return reversed(list(islice(newest, limit)))
    else:
        source = log.read(_first(arguments, log), types=types)
    chosen = filter(keep, _until(arguments, source))
    if limit is None:
        return chosen
    if from_start:
        return islice(chosen, limit)
    return deque(chosen, maxlen=limit)


def _first(arguments: argparse.Namespace, log: EmbeddedLog) -> Position:
    """Where to begin to read."""
    if arguments.since is not None:
        return max(arguments.after or 0, log.position_at(arguments.since))
    return arguments.after or 0


def _last_before(until_ns: int | None, log: EmbeddedLog) -> Position | None:
    """A position behind which every record is of `until_ns` or later; None is the end."""
    from pbx.eventlog import TIME_DISORDER_NS

    # The record behind position_at(t) is at least of t less the disorder, and those behind it at
    # most once more the disorder older.
    return None if until_ns is None else log.position_at(until_ns + 2 * TIME_DISORDER_NS)


def _patterns(wanted: str | None) -> tuple[str, ...]:
    """For the log, which drops what cannot fit; :func:`_is_type` has the last word."""
    if wanted is None or "[" in wanted:  # sets of characters are not the log's business
        return ()
    return (wanted, f"{wanted}.v*")


def _until(arguments: argparse.Namespace, records: Iterator[Record]) -> Iterator[Record]:
    """Stop reading where nothing older can come any more."""
    from pbx.eventlog import TIME_DISORDER_NS

    if arguments.until is None:
        return records
    return _before(records, arguments.until + TIME_DISORDER_NS)


def _before(records: Iterator[Record], end_ns: int) -> Iterator[Record]:
    for record in records:
        if record.time_ns >= end_ns:
            return
        yield record


def _filter(arguments: argparse.Namespace, streams: CallStreams | None) -> Keep:
    wanted: str | None = arguments.type
    since, until, after = arguments.since, arguments.until, arguments.after

    def keep(record: Record) -> bool:
        return (
            (streams is None or streams.takes(record))
            and (wanted is None or _is_type(record.type, wanted))
            and (since is None or record.time_ns >= since)
            and (until is None or record.time_ns < until)
            and (after is None or record.position > after)
        )

    return keep


def _is_type(name: str, wanted: str) -> bool:
    return fnmatchcase(name, wanted) or fnmatchcase(name.rpartition(".v")[0], wanted)


def _follow(
    arguments: argparse.Namespace,
    log: EmbeddedLog,
    streams: CallStreams | None,
    after: Position,
    show: Callable[[Record], None],
) -> None:
    """New events until somebody interrupts."""
    from pbx.eventlog import Subscription

    keep = _filter(arguments, streams)
    subscription = Subscription(log, after)
    sys.stdout.flush()
    while True:
        for record in subscription.wait_records(FOLLOW_WAIT_S):
            if keep(record):
                show(record)
        sys.stdout.flush()


def _show_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _show_json(record: Record) -> None:
    print(json.dumps(record_json(record), ensure_ascii=False))


def record_json(record: Record) -> dict[str, Any]:
    """The envelope and the data in its newest shape, for programs."""
    from pbx.readmodel.cdr_files import iso_time

    return {
        "position": record.position,
        "stream": record.stream,
        "version": record.version,
        "type": record.type,
        "time": iso_time(record.time_ns),
        "time_ns": record.time_ns,
        "node": record.node,
        "actor": record.actor,
        "correlation": record.correlation,
        "causation": record.causation,
        "tenant": record.tenant,
        "data": event_fields(record),
    }


def event_fields(record: Record) -> dict[str, Any]:
    """The event's fields; what cannot be decoded comes as it is stored, with the reason."""
    import msgspec

    from pbx.eventlog import DecodeError, UnknownEvent

    try:
        event = record.event
    except DecodeError as error:
        return {"undecodable": record.data.decode("utf-8", "replace"), "reason": str(error)}
    if isinstance(event, UnknownEvent):
        fields: dict[str, Any] = msgspec.json.decode(event.data, type=dict[str, Any])
        return fields
    return {name: msgspec.to_builtins(getattr(event, name)) for name in event.__struct_fields__}


def _show_line(record: Record) -> None:
    words = " ".join(
        f"{name}={_word(value)}" for name, value in event_fields(record).items() if value
    )
    actor = f" by {record.actor}" if record.actor else ""
    print(
        f"{record.position:>8}  {show_time(record.time_ns)}  {record.stream:<41}"
        f"  {record.type:<22}  {words}{actor}".rstrip()
    )


def _word(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if text.isprintable() and " " not in text else json.dumps(text, ensure_ascii=False)


def find_call(arguments: argparse.Namespace, log: EventLog, wanted: str) -> str:
    """The stream of a call by its id, the start of its id, or a SIP Call-ID of one of its legs."""
    stream = wanted if wanted.startswith("call/") else f"call/{wanted}"
    if next(log.read_stream(stream), None) is not None:
        return stream
    from pbx.readmodel import queries

    with opened_read_model(arguments) as database, database.read() as connection:
        found = queries.calls_named(connection, wanted)
    if not found:
        raise LogError(f"no call has the id or SIP Call-ID {wanted}; see: pbx cdr list, pbx calls")
    if len(found) > 1:
        raise LogError(f"several calls fit {wanted}: {', '.join(found)}")
    return f"call/{found[0]}"
