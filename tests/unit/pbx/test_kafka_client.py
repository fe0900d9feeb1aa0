"""Asking the log role over its socket: many at once, restarts, deadlines, broken talk."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from pbx.eventlog import Conflict, LogUnavailable, LogWriter, Meta, OutcomeUnknown, Position
from pbx.eventlog.kafka import client as client_module
from pbx.eventlog.kafka.client import DecisionClient, ask_status
from pbx.eventlog.kafka.control import ControlServer, Send
from pbx.eventlog.kafka.envelope import WireEvent
from pbx.eventlog.kafka.wire import MAX_FRAME_BYTES, Answer, Decide, Frames, answer, frame, question
from pbx.kernel.errors import ClusterAway, DecodeError

PATIENCE_S = 30.0
EVENT = WireEvent(type="x.y.v1", time_ns=1, data=msgspec.Raw(b"{}"))


def asked(name: str) -> Decide:
    return Decide(id=name, stream=f"domain/{name}", expected=0, after=0, events=[EVENT])


class Results:
    """What callers were told, by name."""

    def __init__(self) -> None:
        self._found: dict[str, Position | Exception] = {}
        self._changed = threading.Condition()

    def of(self, name: str) -> Callable[[Position | Exception], None]:
        def done(result: Position | Exception) -> None:
            with self._changed:
                self._found[name] = result
                self._changed.notify_all()

        return done

    def get(self, name: str) -> Position | Exception:
        with self._changed:
            assert self._changed.wait_for(lambda: name in self._found, PATIENCE_S)
            return self._found[name]


class Role:
    """A log role that keeps questions until the test answers them."""

    def __init__(self, path: Path) -> None:
        self._changed = threading.Condition()
        self._open: dict[str, Send] = {}
        self.server = ControlServer(path, self._decide, lambda: {"reachable": True})
        self.server.start()

    def _decide(self, question: Decide, send: Send) -> None:
        with self._changed:
            self._open[question.id] = send
            self._changed.notify_all()

    def answer(self, message: Answer) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: message.id in self._open, PATIENCE_S)
            send = self._open[message.id]
        send(message)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sock"


@pytest.fixture
def asker(path: Path) -> Iterator[DecisionClient]:
    client = DecisionClient(path, decide_s=PATIENCE_S, unknown_s=PATIENCE_S)
    yield client
    client.close()


def test_answers_come_in_any_order(path: Path, asker: DecisionClient) -> None:
    role, results = Role(path), Results()
    for name in ("a", "b", "c", "d"):
        asker.submit(asked(name), results.of(name))
    role.answer(Answer(id="d", error="gone", unknown=True))
    role.answer(Answer(id="c", error="not now"))
    role.answer(Answer(id="b", conflict=4))
    role.answer(Answer(id="a", position=7))
    assert results.get("a") == 7
    conflict = results.get("b")
    assert isinstance(conflict, Conflict)
    assert (conflict.stream, conflict.expected_version, conflict.current_version) == (
        "domain/b",
        0,
        4,
    )
    assert type(results.get("c")) is ClusterAway
    assert type(results.get("d")) is OutcomeUnknown
    role.server.stop()


def test_without_a_server_the_answer_is_no_at_once(asker: DecisionClient) -> None:
    results = Results()
    asker.submit(asked("a"), results.of("a"))
    refusal = results.get("a")
    assert type(refusal) is ClusterAway
    assert "pbx serve" in str(refusal)


def test_a_role_that_was_restarted_gets_the_open_questions_again(
    path: Path, asker: DecisionClient
) -> None:
    role, results = Role(path), Results()
    asker.submit(asked("a"), results.of("a"))
    with role._changed:
        assert role._changed.wait_for(lambda: "a" in role._open, PATIENCE_S)
    role.server.stop()
    # As after kill -9: the socket is there and nobody listens.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(path))
    role = Role(path)
    role.answer(Answer(id="a", position=3))
    assert results.get("a") == 3
    role.server.stop()


def test_who_waits_too_long_is_told_what_is_certain(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "GRACE_S", 0.0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(path))
    results = Results()
    hasty = DecisionClient(path, decide_s=0.01, unknown_s=0.02)
    hasty.submit(asked("a"), results.of("a"))
    assert type(results.get("a")) is ClusterAway, "nobody heard the question"
    role = Role(path)
    hasty.submit(asked("b"), results.of("b"))
    with role._changed:
        role._changed.wait_for(lambda: "b" in role._open, PATIENCE_S)
    assert isinstance(results.get("b"), LogUnavailable)
    hasty.close()
    role.server.stop()


def test_closing_ends_open_questions_as_unknown(path: Path) -> None:
    role, results = Role(path), Results()
    client = DecisionClient(path, decide_s=PATIENCE_S, unknown_s=PATIENCE_S)
    client.submit(asked("a"), results.of("a"))
    with role._changed:
        assert role._changed.wait_for(lambda: "a" in role._open, PATIENCE_S)
    client.close()
    assert type(results.get("a")) is OutcomeUnknown
    client.submit(asked("b"), results.of("b"))
    assert type(results.get("b")) is ClusterAway
    role.server.stop()


def test_questions_in_flight_are_bounded(
    path: Path, asker: DecisionClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "IN_FLIGHT", 2)
    role, results = Role(path), Results()
    for name in ("a", "b", "c"):
        asker.submit(asked(name), results.of(name))
    assert "2 decisions wait" in str(results.get("c"))
    role.server.stop()


def test_status_is_asked_and_answered(path: Path) -> None:
    assert ask_status(path) is None
    role = Role(path)
    assert ask_status(path) == {"reachable": True}
    role.server.stop()
    assert ask_status(path) is None


@pytest.mark.parametrize(
    "garbage",
    [b"\xff\xff\xff\xff", frame(Answer(id="x")), struct.pack(">I", 2) + b"{}", b""],
)
def test_a_caller_that_talks_nonsense_is_cut_off_and_no_other(path: Path, garbage: bytes) -> None:
    role = Role(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(PATIENCE_S)
        caller.connect(str(path))
        caller.sendall(garbage)
        caller.shutdown(socket.SHUT_WR)
        assert caller.recv(10) == b""
    assert ask_status(path) == {"reachable": True}
    role.server.stop()


def test_frames_are_cut_wherever_they_are_broken() -> None:
    sent = [asked("a"), asked("b")]
    whole = b"".join(map(frame, sent))
    for size in (1, 3, 7, len(whole)):
        frames = Frames()
        met = [
            question(one)
            for start in range(0, len(whole), size)
            for one in frames.feed(whole[start : start + size])
        ]
        assert met == sent
    with pytest.raises(DecodeError):
        list(Frames().feed(struct.pack(">I", MAX_FRAME_BYTES + 1)))
    for bad in (b"", b"[]", b'{"type":"other"}'):
        with pytest.raises(DecodeError):
            question(bad)
    with pytest.raises(DecodeError):
        answer(b"[]")


def test_a_writer_hands_decisions_over_and_goes_on_with_facts(tmp_path: Path) -> None:
    """The signal role's queue: a decision is on its way, facts behind it are committed."""
    from pbx.domain.accounts import DomainCreated
    from pbx.domain.calls import LegDigit
    from tests.support.fake_kafka import FakeKafka, FakeLogRole

    kafka = FakeKafka()
    node = FakeLogRole(kafka, tmp_path, "a")
    results = Results()
    writer = LogWriter(node.log, notify=lambda function: function())
    writer.start()
    with kafka.lock:  # the role cannot answer
        writer.observe("call/1", 1, LegDigit(leg_id="before"), Meta())
        writer.decide("domain/d", 0, [DomainCreated(name="d")], Meta(), results.of("d"))
        writer.decide("call/1", 1, [LegDigit(leg_id="own")], Meta(), results.of("own"))
        writer.observe("call/1", 3, LegDigit(leg_id="behind"), Meta())
        assert results.get("own") == 2
        assert node.log.wait(2, PATIENCE_S)
    decided = results.get("d")
    assert isinstance(decided, int)
    record = node.log.at(decided)
    assert record is not None
    assert record.event == DomainCreated(name="d")
    writer.decide("domain/d", 0, [DomainCreated(name="d")], Meta(), results.of("again"))
    assert isinstance(results.get("again"), Conflict)
    kafka.reachable = False
    created = [DomainCreated(name="e")]
    writer.decide("domain/e", 0, created, Meta(), results.of("e"))
    assert isinstance(results.get("e"), ClusterAway)
    assert writer.healthy, "calls go on"
    writer.decide("domain/e", 0, created, Meta(), results.of("alone"), alone=True)
    assert isinstance(results.get("alone"), int), "this node may decide by itself"
    writer.decide("domain/e", 0, created, Meta(), results.of("twice"), alone=True)
    assert isinstance(results.get("twice"), Conflict)
    writer.stop()
    assert [r.event for r in node.log.read_stream("call/1")] == [
        LegDigit(leg_id=name) for name in ("before", "own", "behind")
    ]
    node.close()
