"""A full receiver's queue loses nothing and reorders nothing."""

from __future__ import annotations

import asyncio
import errno
from typing import cast

import pytest

from media.server import patient
from media.server.patient import PatientSender


class Loop:
    """Runs what was scheduled when the test says so."""

    def __init__(self) -> None:
        self.scheduled: list[Handle] = []

    def call_later(self, delay: float, callback: object) -> Handle:
        handle = Handle(callback)
        self.scheduled.append(handle)
        return handle

    def run(self) -> None:
        scheduled, self.scheduled = self.scheduled, []
        for handle in scheduled:
            if callable(handle.callback):
                handle.callback()


class Handle:
    """A scheduled call."""

    def __init__(self, callback: object) -> None:
        self.callback: object = callback

    def cancel(self) -> None:
        self.callback = None


class Receiver:
    """Takes `room` datagrams, then is full; address "gone" is not there."""

    def __init__(self) -> None:
        self.room = 0
        self.got: list[bytes] = []
        self.failures: list[tuple[str, int]] = []
        self.loop = Loop()
        self.sender: PatientSender[str] = PatientSender(
            cast(asyncio.AbstractEventLoop, self.loop), self._take, self._failed
        )

    def _take(self, data: bytes, address: str) -> None:
        if address == "gone":
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody")
        if not self.room:
            raise BlockingIOError(errno.EAGAIN, "full")
        self.room -= 1
        self.got.append(data)

    def _failed(self, address: str, error: OSError) -> None:
        self.failures.append((address, error.errno or 0))


def test_what_does_not_fit_waits_in_order() -> None:
    """Nothing overtakes what waits, and one timer serves all of it."""
    receiver = Receiver()
    receiver.room = 1
    for number in range(4):
        receiver.sender.send(b"%d" % number, "a")
    assert receiver.got == [b"0"]
    assert len(receiver.loop.scheduled) == 1
    receiver.room = 2
    receiver.loop.run()
    assert receiver.got == [b"0", b"1", b"2"]
    receiver.room = 5
    receiver.loop.run()
    receiver.sender.send(b"4", "a")
    assert receiver.got == [b"0", b"1", b"2", b"3", b"4"]
    assert len(receiver.sender) == 0
    assert receiver.loop.scheduled == []


def test_other_errors_settle_their_datagram_only() -> None:
    """A receiver that is gone does not hold up the others."""
    receiver = Receiver()
    receiver.sender.send(b"1", "a")
    receiver.sender.send(b"2", "gone")
    receiver.sender.send(b"3", "a")
    receiver.room = 2
    receiver.loop.run()
    assert receiver.got == [b"1", b"3"]
    assert receiver.failures == [("gone", errno.ECONNREFUSED)]


def test_a_stuck_reader_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is over the bound is dropped, said once, and counted; close forgets the rest."""
    monkeypatch.setattr(patient, "MAX_WAITING", 2)
    receiver = Receiver()
    for number in range(4):
        receiver.sender.send(b"%d" % number, "a")
    assert len(receiver.sender) == 2
    assert receiver.sender.dropped == 2
    assert caplog.text.count("stuck") == 1
    receiver.sender.close()
    receiver.room = 9
    receiver.loop.run()
    assert receiver.got == []
    receiver.sender.close()
