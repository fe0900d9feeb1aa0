"""Telephone-events (RFC 4733): digits as packets of their own, found and sent.

Fed by ``media.graph`` with the payloads of the negotiated type and with digits to send; feeds it
digits and payloads. Sans-I/O, one object a stream.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final, NamedTuple

from media.errors import RtpError

EVENTS: Final = "0123456789*#ABCD!"
"""By code; 16 is the hook flash (``!``)."""
PAYLOAD_BYTES: Final = 4
VOLUME: Final = 10
"""-dBm0 that we state."""
END_REPEATS: Final = 3
"""RFC 4733 §2.5.1.4."""
MIN_MS: Final = 40
MAX_MS: Final = 5000
DEFAULT_MS: Final = 100
PAUSE_MS: Final = 70
MAX_DURATION: Final = 0xFFFF
"""Of one segment in timestamp units (§2.5.1.3)."""
MAX_WAITING: Final = 128
"""Digits to be sent: longer than any number that is dialled."""

_FORMAT: Final = struct.Struct("!BBH")


class Event(NamedTuple):
    """One payload."""

    code: int
    end: bool
    volume: int
    duration: int
    """In timestamp units."""

    @classmethod
    def parse(cls, payload: bytes) -> Event:
        """The first event of a payload. Raises :class:`RtpError`."""
        if len(payload) < PAYLOAD_BYTES:
            raise RtpError("shorter than a telephone-event")
        code, flags, duration = _FORMAT.unpack_from(payload)
        return cls(code, bool(flags & 0x80), flags & 0x3F, duration)

    def to_bytes(self) -> bytes:
        return _FORMAT.pack(self.code, self.end << 7 | self.volume, self.duration)

    @property
    def digit(self) -> str:
        """Empty for a code that is no key."""
        return EVENTS[self.code] if self.code < len(EVENTS) else ""


class EventReceiver:
    """One digit a press, whatever of its packets arrives.

    A press is known by its source, timestamp and code. It is told with its first packet: who
    waits for the end would answer a long press late.
    """

    __slots__ = ("_code", "_segment_end", "_ssrc", "_stamp")

    def __init__(self) -> None:
        self._ssrc = -1
        self._stamp = -1
        self._code = -1
        self._segment_end = -1

    def receive(self, ssrc: int, rtp_timestamp: int, event: Event) -> str:
        """Take a payload; returns a digit when it is the first of a press, else nothing."""
        if (ssrc, rtp_timestamp, event.code) == (self._ssrc, self._stamp, self._code):
            self._note(rtp_timestamp, event)
            return ""
        if ssrc == self._ssrc and self._stamp >= 0:
            age = (rtp_timestamp - self._stamp) & 0xFFFFFFFF
            if age >= 1 << 31:  # a late packet of a press before
                return ""
            if event.code == self._code and rtp_timestamp == self._segment_end:
                # The next segment of a press that is longer than a duration can say.
                self._stamp = rtp_timestamp
                self._note(rtp_timestamp, event)
                return ""
        self._ssrc, self._stamp, self._code = ssrc, rtp_timestamp, event.code
        self._segment_end = -1
        self._note(rtp_timestamp, event)
        return event.digit

    def _note(self, rtp_timestamp: int, event: Event) -> None:
        if event.duration == MAX_DURATION and not event.end:
            self._segment_end = (rtp_timestamp + event.duration) & 0xFFFFFFFF


class OutgoingEvent(NamedTuple):
    """One packet in place of audio."""

    payload: bytes
    rtp_timestamp: int
    marker: bool


class EventSender:
    """Digits of one stream, one after the other; asked once a tick."""

    __slots__ = (
        "_code",
        "_elapsed",
        "_length",
        "_pause",
        "_start",
        "_waiting",
        "clock_rate_hz",
    )

    def __init__(self, clock_rate_hz: int) -> None:
        self.clock_rate_hz = clock_rate_hz
        self._waiting: deque[tuple[int, int]] = deque()
        self._code = -1
        self._start = 0
        self._elapsed = 0
        self._length = 0
        self._pause = 0

    def send(self, digits: str, duration_ms: int = DEFAULT_MS) -> None:
        """Queue digits. Raises ``ValueError``: not a digit, too long, too many."""
        if not MIN_MS <= duration_ms <= MAX_MS:
            raise ValueError(f"a digit lasts {MIN_MS} to {MAX_MS} ms")
        if len(self._waiting) + len(digits) > MAX_WAITING:
            raise ValueError(f"more than {MAX_WAITING} digits wait")
        codes = [EVENTS.index(digit) for digit in digits.upper()]
        self._waiting.extend((code, duration_ms) for code in codes)

    @property
    def busy(self) -> bool:
        """Whether a digit is sent or waits, or the pause after it runs."""
        return self._code >= 0 or self._pause > 0 or bool(self._waiting)

    def tick(self, rtp_timestamp: int) -> list[OutgoingEvent]:
        """The packets of this 20 ms, which replace the audio; ``rtp_timestamp``: of the audio.

        Empty when there is nothing or a pause between digits: then audio (silence) goes out.
        """
        step = self.clock_rate_hz // 50
        if self._code < 0:
            if self._pause > 0:
                self._pause -= step
                return []
            if not self._waiting:
                return []
            self._code, duration_ms = self._waiting.popleft()
            self._length = self.clock_rate_hz * duration_ms // 1000
            self._start, self._elapsed = rtp_timestamp, 0
        marker = self._elapsed == 0
        self._elapsed += step
        if self._elapsed < self._length:
            if self._elapsed > MAX_DURATION:  # §2.5.1.3: a new segment begins where it is full
                closing = self._packet(MAX_DURATION, end=False, marker=False)
                self._start = (self._start + MAX_DURATION) & 0xFFFFFFFF
                self._length -= MAX_DURATION
                self._elapsed -= MAX_DURATION
                return [closing, self._packet(self._elapsed, end=False, marker=False)]
            return [self._packet(self._elapsed, end=False, marker=marker)]
        first = self._packet(self._length, end=True, marker=marker)
        packets = [first, *[self._packet(self._length, end=True, marker=False)] * (END_REPEATS - 1)]
        self._code = -1
        self._pause = self.clock_rate_hz * PAUSE_MS // 1000
        return packets

    def _packet(self, duration: int, *, end: bool, marker: bool) -> OutgoingEvent:
        event = Event(self._code, end, VOLUME, min(duration, MAX_DURATION))
        return OutgoingEvent(event.to_bytes(), self._start, marker)
