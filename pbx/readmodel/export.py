"""Call records to files for analysts: CSV (RFC 4180) and Apache Parquet.

Rows come in order of their end and are written as they are read, so that a year of calls takes no
more memory than a day. A file appears under its name only when it is complete.

Times: in CSV ISO 8601 in UTC with milliseconds, empty for "never"; in Parquet timestamps in
nanoseconds UTC, null for "never". Durations are whole milliseconds (``talk_ms``).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, select

from pbx.kernel.errors import ReadModelError
from pbx.readmodel.cdr_files import iso_time
from pbx.readmodel.tables import cdr_legs, cdrs

BATCH: Final = 10_000
"""Rows held at once; also the rows of a Parquet row group, some megabytes."""
FORMATS: Final = ("csv", "parquet")
_TABLES: Final[Mapping[str, Table]] = {"calls": cdrs, "legs": cdr_legs}
_INTERNAL: Final = frozenset({"position", "partition", "ordinal", "day"})
"""Columns that say where a record is kept and nothing about the call."""

Row = Mapping[str, Any]


def export(
    connection: Connection,
    path: Path,
    *,
    what: str = "calls",
    format: str = "",
    since_ns: int = 0,
    until_ns: int | None = None,
    tenant: str = "",
) -> int:
    """Write the records that ended in a time (`until_ns` excluded) to `path`; gives their number.

    `what`: ``calls`` (a row a call) or ``legs`` (a row each of their legs). `format`: ``csv`` or
    ``parquet``; empty takes the ending of `path`. Raises ``ReadModelError`` for what cannot be
    written, and leaves an older file of that name as it was.
    """
    form = format or path.suffix.lower().lstrip(".")
    if form not in FORMATS:
        raise ReadModelError(
            f"{path.name} does not end in .csv or .parquet: rename it, or say --format csv"
        )
    table = _TABLES[what]
    columns = [column.name for column in table.columns if column.name not in _INTERNAL]
    query = select(*(table.c[name] for name in columns)).where(table.c.end_ns >= since_ns)
    if until_ns is not None:
        query = query.where(table.c.end_ns < until_ns)
    if tenant:
        query = query.where(_tenant(table, tenant))
    query = query.order_by(table.c.end_ns, *table.primary_key.columns)
    streamed = connection.execution_options(yield_per=BATCH).execute(query)
    chosen = [table.c[name] for name in columns]
    write = _write_csv if form == "csv" else _write_parquet
    with closing(streamed), _whole(path) as unfinished:
        rows: Iterable[Any] = streamed.mappings()
        return write(unfinished, chosen, _batches(rows))


def _tenant(table: Table, tenant: str) -> Any:
    if table is cdrs:
        return cdrs.c.tenant == tenant
    return cdr_legs.c.call_id.in_(select(cdrs.c.call_id).where(cdrs.c.tenant == tenant))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rest = iter(rows)
    while batch := list(islice(rest, BATCH)):
        yield batch


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place at the end, or goes away."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Call records are personal data: readable by their owner only, from the first byte on.
        os.close(os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        raise ReadModelError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _shown_name(name: str) -> str:
    return name.removesuffix("_ns")


def _write_csv(path: Path, chosen: Sequence[Column[Any]], batches: Iterator[list[Row]]) -> int:
    columns = [column.name for column in chosen]
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([_shown_name(name) for name in columns])
        for batch in batches:
            count += len(batch)
            writer.writerows(
                [
                    iso_time(row[name]) if name.endswith("_ns") else _harmless(row[name])
                    for name in columns
                ]
                for row in batch
            )
    return count


def _harmless(value: Any) -> Any:
    """Text from the wire must not become a formula in a spreadsheet that opens the file."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _write_parquet(path: Path, chosen: Sequence[Column[Any]], batches: Iterator[list[Row]]) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ReadModelError(
            "writing Parquet needs pyarrow: pip install 'ringlog[analytics]', or export CSV"
        ) from error
    kinds = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    moment = pa.timestamp("ns", tz="UTC")
    names = [column.name for column in chosen]
    schema = pa.schema(
        [
            (
                _shown_name(column.name),
                moment if column.name.endswith("_ns") else kinds[column.type.python_type],
            )
            for column in chosen
        ]
    )
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            count += len(batch)
            arrays = [
                pa.array(
                    [row[name] or None for row in batch]
                    if name.endswith("_ns")
                    else [row[name] for row in batch],
                    type=field.type,
                )
                for name, field in zip(names, schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return count
