"""The log role's hand: sends the journal's facts and the decisions that were asked for.

One thread. Facts go in the order of the journal, a bounded number ahead of what this node's own
reader has met, so that a decision never queues behind a backlog. A decision goes at once, unless
its own stream has facts that were not sent: they are part of what it was decided on.

Life of a decision::

    asked ──► sent in a session ──► met: position or conflict
      │            │ the session broke
      │            └──► limbo ──► met after all: its verdict
      │                     └──► next session's barrier met: certainly void ──► asked again
      └──► `decide_s` over, not sent (or void): refused, nothing was changed
    sent and `unknown_s` over: the caller is told that the outcome is unknown
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.partitioner.default import murmur2

from pbx.eventlog.kafka.envelope import wire_event
from pbx.eventlog.kafka.fold import Outcome
from pbx.eventlog.kafka.replica import Journal, Own, next_session
from pbx.eventlog.kafka.session import Session
from pbx.eventlog.kafka.wire import Answer, Decide
from pbx.eventlog.record import Position
from pbx.eventlog.registry import category_of
from pbx.kernel.errors import LogUnavailable

logger = logging.getLogger(__name__)

CHUNK: Final = 250
"""Facts read from the journal at once; decisions get their turn in between."""
WINDOW: Final = 2000
"""Facts sent and not met yet: some 100 ms of work, the longest a decision waits behind them."""
POLL_S: Final = 0.04
"""How often the journal is looked at; a look takes 10 µs."""
STALL_S: Final = 3.0
"""Kafka is taken for unreachable when nothing of what was sent so long ago was met."""
BARRIER_S: Final = 15.0
"""Patience for the barriers of a new session; longer than a delivery takes to fail."""
BACK_OFF_S: Final = 0.25
BACK_OFF_MAX_S: Final = 5.0
RIVALS: Final = 3
RIVALS_S: Final = 60.0
"""Sessions ended by later ones of the same writer, so many in so short a time, are no accident."""

SendAnswer = Callable[[Answer], None]


class _Asked:
    """A decision that somebody waits for."""

    __slots__ = ("answer", "certain_at", "partition", "question", "session", "unknown_at")

    def __init__(
        self,
        question: Decide,
        answer: SendAnswer,
        partition: int,
        certain_at: float,
        unknown_at: float,
    ) -> None:
        self.question = question
        self.answer = answer
        self.partition = partition
        self.certain_at = certain_at
        self.unknown_at = unknown_at
        self.session = 0
        """Number of the session it was sent in; 0: not sent, or certainly void."""


class Shipper:
    """Sends for the log at `path`. `connect` makes a producer.

    `verdict` looks a decision of a former life up: (position or 0, version), or None. `away` says
    whether the reader has lost Kafka.
    """

    def __init__(
        self,
        path: Path,
        writer: str,
        connect: Callable[[], KafkaProducer],
        *,
        verdict: Callable[[str], tuple[Position, int] | None],
        away: Callable[[], bool],
        decide_s: float,
        unknown_s: float,
        trouble: Callable[[str], None],
    ) -> None:
        self._path = path
        self._writer = writer
        self._connect = connect
        self._verdict = verdict
        self._away = away
        self._decide_s = decide_s
        self._unknown_s = unknown_s
        self._trouble = trouble
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="log-shipper", daemon=True)
        self._places: dict[int, tuple[str, int]] = {}
        self._by_category: dict[str, list[int]] = {}
        self._asked: dict[str, _Asked] = {}
        self._session: Session | None = None
        self._above = 0
        """A session of this writer that others have seen: ours must be later."""
        self._rivals: deque[float] = deque(maxlen=RIVALS)
        """When sessions were ended by later ones of this writer."""
        self._sent: Position = 0
        """The journal was sent up to here in this session."""
        self._in_flight = 0
        self._met_at = 0.0
        self.shipped = 0
        """Facts met by this node's own reader."""
        self.decided = 0
        self.sessions = 0
        self._partition_of = lru_cache(maxsize=10_000)(self._partition_of_stream)

    # From the other threads.

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, drain_s: float) -> None:
        """Send what the journal has, for `drain_s` at most, then end."""
        deadline = time.monotonic() + drain_s
        journal = Journal(self._path)
        try:
            with self._changed:
                self._changed.notify_all()
                while self.reachable and journal.backlog().events:
                    if not self._changed.wait(min(0.05, max(0.0, deadline - time.monotonic()))):
                        if time.monotonic() >= deadline:
                            break
                self._stopping = True
                self._changed.notify_all()
        finally:
            journal.close()
        if self._thread.is_alive():
            self._thread.join()

    def known(self, places: dict[int, tuple[str, int]], by_category: dict[str, list[int]]) -> None:
        """The partitions: topic and number of each, and those of each category in order."""
        with self._changed:
            self._places, self._by_category = places, by_category
            self._changed.notify_all()

    def decide(self, question: Decide, answer: SendAnswer) -> None:
        """Somebody asks; the same question may come again after a lost connection."""
        now = time.monotonic()
        with self._changed:
            asked = self._asked.get(question.id)
            if asked is not None:
                asked.answer = answer
                return
            known = self._verdict(question.id)
            if known is None:
                self._asked[question.id] = _Asked(
                    question, answer, -1, now + self._decide_s, now + self._unknown_s
                )
                self._changed.notify_all()
                return
        answer(_of_verdict(question.id, *known))

    def met(self, own: list[Own]) -> None:
        """This node's own reader met these records of ours."""
        answers: list[tuple[SendAnswer, Answer]] = []
        with self._changed:
            session = self._session
            for item in own:
                self._met_one(session, item, answers)
            if own:
                self._met_at = time.monotonic()
            self._changed.notify_all()
        for send, message in answers:
            send(message)

    def _met_one(
        self, session: Session | None, item: Own, answers: list[tuple[SendAnswer, Answer]]
    ) -> None:
        record, verdict = item.envelope, item.verdict
        current = session is not None and record.session == session.number
        if session is not None and current:
            if record.is_barrier and verdict.outcome is Outcome.VALID:
                session.barriers.discard(item.partition)
            elif record.at and verdict.outcome is not Outcome.DUPLICATE:
                self._in_flight -= 1
            if verdict.outcome is Outcome.GAP:
                session.error = session.error or "a record was lost on the way"
            elif verdict.outcome is Outcome.FENCED and item.lane is not None:
                self._above = max(self._above, item.lane.session)
                if not session.error:
                    session.error = "a later session of this log was met"
                    self._rivals.append(time.monotonic())
        elif session is None or record.session > session.number:
            self._above = max(self._above, record.session)
        if not verdict.in_lane:
            return
        if record.at and verdict.outcome is Outcome.VALID:
            self.shipped += 1
        if record.id and (asked := self._asked.pop(record.id, None)) is not None:
            position = item.position if verdict.outcome is Outcome.VALID else 0
            answers.append((asked.answer, _of_verdict(record.id, position, verdict.current)))
            self.decided += 1

    @property
    def reachable(self) -> bool:
        """Whether what is sent is met soon, as far as we know."""
        session = self._session
        return session is not None and session.live and not self._stalled() and not self._away()

    def _stalled(self) -> bool:
        waiting = self._in_flight > 0 or any(a.session for a in self._asked.values())
        return waiting and time.monotonic() - self._met_at > STALL_S

    @property
    def session_number(self) -> int:
        """Of the session at work; 0 if there is none."""
        session = self._session
        return session.number if session is not None and session.live else 0

    # The shipper's thread.

    def _run(self) -> None:
        journal = Journal(self._path)
        pause_s = BACK_OFF_S
        try:
            while not self._stopping:
                try:
                    self._open(journal)
                    pause_s = BACK_OFF_S
                    self._work(journal)
                except (KafkaError, LogUnavailable, OSError, ValueError) as error:
                    self._end(str(error) or type(error).__name__)
                except Exception as error:
                    logger.exception("shipping failed")
                    self._end(str(error))
                self._idle(pause_s)
                pause_s = min(BACK_OFF_MAX_S, pause_s * 2)
        finally:
            self._end("the log role stops")
            journal.close()

    def _idle(self, pause_s: float) -> None:
        """No session: nothing to do but to refuse what cannot wait longer."""
        until = time.monotonic() + pause_s
        with self._changed:
            while not self._stopping and (left := until - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.1))
                self._expire()

    def _end(self, reason: str) -> None:
        session, self._session = self._session, None
        if session is None:
            if not self._stopping:
                self._trouble(reason)
            return
        reason = session.error or reason
        session.end(reason)
        if len(self._rivals) == RIVALS and time.monotonic() - self._rivals[0] < RIVALS_S:
            reason = (
                "another server writes as this one: was its data directory copied? Give the copy"
                " a log of its own (docs/kafka.md)"
            )
        if not self._stopping:
            self._trouble(reason)

    def _open(self, journal: Journal) -> None:
        """Begin a session and wait until its barriers are met."""
        with self._changed:
            while not self._places and not self._stopping:
                self._changed.wait(0.1)
                self._expire()
            if self._stopping:
                return
            places = dict(self._places)
        number = next_session(self._path, self._above, now_us=time.time_ns() // 1000)
        session = Session(self._connect(), self._writer, number, places, self._broke)
        with self._changed:
            self._session = session
            self._in_flight = 0
            self._met_at = time.monotonic()
        self.sessions += 1
        session.begin()
        deadline = time.monotonic() + BARRIER_S
        with self._changed:
            while session.barriers and not session.error and not self._stopping:
                if time.monotonic() > deadline:
                    session.error = "Kafka does not answer"
                self._changed.wait(0.1)
                self._expire()
            if session.error:
                raise LogUnavailable(session.error)
            # Nothing of former sessions can count any more: what was not met is void.
            for asked in self._asked.values():
                asked.session = 0
            self._sent = journal.shipped_up_to()
        self._trouble("")

    def _broke(self, reason: str) -> None:
        with self._changed:
            self._changed.notify_all()

    def _work(self, journal: Journal) -> None:
        session = self._session
        if session is None:
            return  # told to stop before there was one
        while not self._stopping:
            if session.error:
                raise LogUnavailable(session.error)
            sent = self._send_decisions(session, journal)
            more = self._send_facts(session, journal)
            with self._changed:
                self._expire()
                waiting = any(not a.session for a in self._asked.values())
                if not (sent or more) and not session.error:
                    self._changed.wait(0.002 if waiting and self.reachable else POLL_S)

    def _send_decisions(self, session: Session, journal: Journal) -> bool:
        with self._changed:
            if self._stalled() or self._away():
                return False
            waiting = [a for a in self._asked.values() if not a.session]
        sent = False
        for asked in waiting:
            question = asked.question
            last = journal.last_of(question.stream)
            if self._sent < last <= question.after and not self._is_shipped(journal, last):
                continue  # its stream's own facts go first
            with self._changed:
                if question.id not in self._asked:
                    continue
                asked.session = session.number
                if not (self._in_flight or sent):
                    self._met_at = time.monotonic()
            asked.partition = self._partition_of(question.stream)
            session.send(
                asked.partition,
                question.stream,
                question.events,
                expected=question.expected,
                append_id=question.id,
            )
            sent = True
        return sent

    @staticmethod
    def _is_shipped(journal: Journal, position: Position) -> bool:
        facts, _ = journal.unshipped(position - 1, 1)
        return not facts or facts[0][0] != position

    def _send_facts(self, session: Session, journal: Journal) -> bool:
        """Send the next chunk; whether there was any."""
        with self._changed:
            room = min(CHUNK, WINDOW - self._in_flight)
            if room <= 0:
                return False
            if self._sent >= journal.head():
                return False
        facts, seen = journal.unshipped(self._sent, room)
        if facts:
            with self._changed:
                if not self._in_flight:
                    self._met_at = time.monotonic()
                self._in_flight += len(facts)
            for position, row in facts:
                stream = row[0]
                session.send(self._partition_of(stream), stream, [wire_event(row)], at=position)
        self._sent = seen
        return bool(facts)

    def _partition_of_stream(self, stream: str) -> int:
        partitions = self._by_category[category_of(stream)]
        # As Kafka's own clients choose it, so that a key's partition can be told by anybody.
        number: int = (murmur2(stream.encode()) & 0x7FFFFFFF) % len(partitions)
        return partitions[number]

    def _expire(self) -> None:
        """Answer those whose time is over; called with the lock held."""
        now = time.monotonic()
        for asked in list(self._asked.values()):
            stream = asked.question.stream
            if not asked.session and now >= asked.certain_at:
                text = f"Kafka does not take the change of {stream} now; nothing was changed"
                message = Answer(id=asked.question.id, error=text)
            elif asked.session and now >= asked.unknown_at:
                text = (
                    f"Kafka took the change of {stream} or did not: its answer is lost; look"
                    " before you try again"
                )
                message = Answer(id=asked.question.id, error=text, unknown=True)
            else:
                continue
            del self._asked[asked.question.id]
            asked.answer(message)


def _of_verdict(append_id: str, position: Position, current: int) -> Answer:
    if position:
        return Answer(id=append_id, position=position)
    return Answer(id=append_id, conflict=current)
