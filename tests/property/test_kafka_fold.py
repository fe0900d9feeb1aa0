"""Whatever a producer, the network and rival nodes do: every fact counts once and in order, of
rival decisions one wins, and every reader says the same, wherever it was interrupted."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from pbx.eventlog import EmbeddedLog
from pbx.eventlog.kafka.envelope import Envelope, WireEvent, decode_envelope, encode_envelope
from pbx.eventlog.kafka.fold import Lane, Outcome, Verdict, fold
from pbx.eventlog.kafka.replica import Met, Replica, join

STREAMS = ("binding/a", "binding/b")
Draw = st.DataObject


class Folded(NamedTuple):
    """What a reader of a whole partition knows."""

    verdicts: list[Verdict]
    events: list[tuple[str, int, str]]
    """Stream, version, name."""
    lanes: dict[str, Lane]


def fold_all(records: list[Envelope]) -> Folded:
    lanes: dict[str, Lane] = {}
    versions: dict[str, int] = {}
    verdicts, events = [], []
    for record in records:
        verdict = fold(record, lanes.get(record.writer), versions.get)
        verdicts.append(verdict)
        if verdict.in_lane:
            lanes[record.writer] = Lane(record.session, record.seq)
        if verdict.versions:
            versions[record.stream] = verdict.current
            events += [
                (record.stream, version, event.type)
                for version, event in zip(verdict.versions, record.events, strict=True)
            ]
    return Folded(verdicts, events, lanes)


def event(name: str, version: int = 0) -> WireEvent:
    return WireEvent(type=name, time_ns=1, data=msgspec.Raw(b"{}"), version=version)


class Writer:
    """A node: a journal of facts, now and then a decision, sessions as the shipper has them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.journal: list[tuple[str, str]] = []
        """Stream and name of each fact, in order."""
        self.session = 0
        self.seq = 0
        self.sent = 0
        self.broken = True

    def begin(self, partition: list[Envelope]) -> Envelope:
        """A new session: its barrier. What counted so far is not sent again."""
        self.session += 1
        self.seq = 1
        self.broken = False
        return Envelope(stream="", writer=self.name, session=self.session, seq=1, events=[])

    def resume(self, partition: list[Envelope]) -> None:
        """The barrier was met: go on behind the facts that counted."""
        verdicts = fold_all(partition).verdicts
        self.sent = max(
            (
                record.at
                for record, verdict in zip(partition, verdicts, strict=True)
                if record.writer == self.name and verdict.outcome is Outcome.VALID
            ),
            default=0,
        )

    def fact(self) -> Envelope | None:
        if self.sent >= len(self.journal):
            return None
        self.sent += 1
        stream, name = self.journal[self.sent - 1]
        return self._record(stream, [event(name, self.sent)], at=self.sent)

    def decision(self, stream: str, expected: int, name: str) -> Envelope:
        return self._record(stream, [event(name), event(f"{name}+")], expected=expected, id=name)

    def _record(self, stream: str, events: list[WireEvent], **fields: object) -> Envelope:
        self.seq += 1
        return msgspec.convert(
            {
                "stream": stream, "writer": self.name, "session": self.session,
                "seq": self.seq, "events": events, **fields,
            },
            Envelope,
        )  # fmt: skip


def history(draw: Draw) -> tuple[list[Envelope], list[Writer]]:
    """A partition as it may come to be; at the end every node shipped its journal in peace."""
    partition: list[Envelope] = []
    late: list[Envelope] = []
    """On their way still: they may arrive at any time, also after their writer began anew."""
    writers = [Writer("a"), Writer("b")]
    for number in range(draw.draw(st.integers(1, 40))):
        writer = draw.draw(st.sampled_from(writers))
        if late and bool(draw.draw(st.sampled_from((False, True)))):
            partition.append(late.pop(draw.draw(st.integers(0, len(late) - 1))))
        if writer.broken:
            partition.append(writer.begin(partition))
            writer.resume(partition)
        if bool(draw.draw(st.sampled_from((False, True)))):
            writer.journal.append((draw.draw(st.sampled_from(STREAMS)), f"{writer.name}{number}"))
        record = writer.fact()
        if record is None:
            stream = draw.draw(st.sampled_from(STREAMS))
            record = writer.decision(stream, draw.draw(st.integers(-1, 6)), f"d{number}")
        fate = draw.draw(st.sampled_from(("arrives", "arrives", "twice", "late", "lost", "again")))
        if fate in ("arrives", "twice", "again"):
            partition.append(record)
        if fate == "twice":
            partition.append(record)
        if fate in ("late", "again"):
            late.append(record)
        # A lost answer is noticed at once or some records later: those behind it are sent first.
        if fate in ("late", "lost") and bool(draw.draw(st.sampled_from((False, True)))):
            writer.broken = True
    for writer in writers:
        partition.append(writer.begin(partition))
        writer.resume(partition)
        partition += late
        while (record := writer.fact()) is not None:
            partition.append(record)
    return partition, writers


@given(st.data())
def test_every_fact_counts_once_and_streams_keep_the_order_of_their_writer(draw: Draw) -> None:
    partition, writers = history(draw)
    events = fold_all(partition).events
    for writer in writers:
        for stream in STREAMS:
            wanted = [name for at, name in writer.journal if at == stream]
            assert [n for s, _, n in events if s == stream and n in wanted] == wanted


@given(st.data())
def test_versions_grow_and_of_rival_decisions_one_wins(draw: Draw) -> None:
    partition, _ = history(draw)
    folded = fold_all(partition)
    for stream in STREAMS:
        versions = [version for s, version, _ in folded.events if s == stream]
        assert versions == sorted(set(versions))
    won = Counter(
        (record.stream, record.expected)
        for record, verdict in zip(partition, folded.verdicts, strict=True)
        if verdict.outcome is Outcome.VALID and (record.expected or -1) >= 0
    )
    assert all(count == 1 for count in won.values())
    names = [name for _, _, name in folded.events]
    assert len(names) == len(set(names))


@settings(max_examples=25)  # three files each, and their disk
@given(st.data())
def test_every_replica_says_the_same_however_it_was_interrupted(draw: Draw) -> None:
    """Two nodes read the partition into their files: a stranger, and one of those that wrote,
    which has its facts in the journal already. Batches are cut and roles die anywhere."""
    partition, writers = history(draw)
    wanted = fold_all(partition)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("stranger", "a"):
            path = Path(folder) / f"{name}.sqlite3"
            with closing(EmbeddedLog(path)) as log:
                if name == "a":
                    facts = writers[0].journal
                    log.commit(
                        [
                            (stream, number, fact, 1, "", "", "", "", "", b"{}")
                            for number, (stream, fact) in enumerate(facts, 1)
                        ]
                    )
            join(path, name)
            _read_in_pieces(draw, path, partition)
            assert _stored(path) == wanted.events, name


def _read_in_pieces(draw: Draw, path: Path, partition: list[Envelope]) -> None:
    values = [encode_envelope(record) for record in partition]
    replica = Replica(path)
    replica.add_partitions({"pbx.bindings/0": 0})
    at = 0
    while at < len(values):
        end = at + draw.draw(st.integers(1, 9))
        (place,) = replica.partitions.values()
        assert place.next_offset == at
        replica.apply(
            [
                Met(place.id, at + number, decode_envelope(value))
                for number, value in enumerate(values[at:end])
            ]
        )
        at = min(end, len(values))
        if bool(draw.draw(st.sampled_from((False, True)))):
            replica.close()
            replica = Replica(path)
    replica.close()


def _stored(path: Path) -> list[tuple[str, int, str]]:
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute(
            "SELECT stream, version, type FROM events JOIN shipped USING (position)"
            " ORDER BY kafka_offset, idx"
        ).fetchall()
        (all_rows,) = database.execute("SELECT count(*) FROM events").fetchone()
        assert all_rows == len(rows)
    return rows
