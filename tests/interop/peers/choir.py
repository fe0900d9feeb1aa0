"""Many telephones of one process that sing: who hears whom, leg by leg, measured on RTP packets.

Each is a :class:`~tests.interop.peers.raw_phone.RawPhone` with a frequency of its own. One thread
sends 20 ms of G.711 for each of them in each 20 ms, and keeps what arrives while
:meth:`Choir.listen` runs.
"""

from __future__ import annotations

import contextlib
import select
import struct
import threading
import time
from collections.abc import Collection, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from tests.interop.peers.raw_phone import RawDialog, RawPhone
from tests.support.rtp_peer import rtp
from tests.support.server_process import DOMAIN, ServerProcess
from tests.support.tones import RATE_HZ

FRAME = 160
EVENT = 101
"""Payload type of telephone-events in what the raw phone offers."""
AMPLITUDE = 0.1
"""Six at once stay below full scale."""
HEARD_DBFS = -45.0
"""A singer's tone has -23 dBFS; what G.711 makes of five others stays 40 dB below them."""
SILENT = b"\xff" * FRAME


def ulaw(samples: NDArray[np.float64]) -> bytes:
    """G.711 µ-law of samples from -1 to 1 (ITU-T G.711, by its formula)."""
    scaled = np.clip(np.abs(samples) * 32635, 0, 32635).astype(np.int64) + 132
    exponent = np.maximum(np.floor(np.log2(scaled)).astype(np.int64) - 7, 0)
    mantissa = (scaled >> (exponent + 3)) & 0x0F
    sign = np.where(samples < 0, 0x80, 0)
    return bytes((~(sign | exponent << 4 | mantissa) & 0xFF).astype(np.uint8))


def linear(data: bytes) -> NDArray[np.float64]:
    """The reverse."""
    inverted = ~np.frombuffer(data, np.uint8)
    exponent, mantissa = (inverted >> 4) & 7, inverted & 0x0F
    magnitude = (((mantissa.astype(np.int64) << 3) + 132) << exponent) - 132
    return np.where(inverted & 0x80, -magnitude, magnitude) / 32635.0


class SingingPhone(RawPhone):
    """It has one codec, so that nobody chooses another."""

    def offer(self) -> bytes:
        host, port = self.rtp.address
        return (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0 {EVENT}\r\na=rtpmap:0 PCMU/8000\r\n"
            f"a=rtpmap:{EVENT} telephone-event/8000\r\na=fmtp:{EVENT} 0-16\r\n"
        ).encode()


class Singer:
    """One of them."""

    def __init__(self, server: ServerProcess, account: str, frequency_hz: int) -> None:
        self.phone = SingingPhone(server, account)
        self.phone.rtp.socket.setblocking(False)
        self.frequency_hz = frequency_hz
        time_s = np.arange(RATE_HZ) / RATE_HZ
        tone = ulaw(AMPLITUDE * np.sin(2 * np.pi * frequency_hz * time_s))
        self._tone = [tone[at : at + FRAME] for at in range(0, len(tone), FRAME)]
        self.sings = False
        self.heard: list[bytes] = []
        self._dialog: RawDialog | None = None
        self._sequence = 0
        self._timestamp = 0
        self._event: tuple[int, int] | None = None
        """Digit and frames sent of it."""
        self._digits: list[int] = []

    @property
    def dialog(self) -> RawDialog:
        assert self._dialog is not None
        return self._dialog

    def call(self, to: str) -> None:
        """Until it is answered."""
        call_id, tag = self.phone.invite(to)
        self._dialog = self.phone.answered(call_id, tag, f"sip:{to}@{DOMAIN}")

    def hang_up(self) -> None:
        """And wait for the 200."""
        phone = self.phone
        phone.send(phone.inside(self.dialog, "BYE"))
        phone.receive(lambda heard: heard.cseq_method == "BYE" and heard.status == 200)
        self._dialog = None

    @property
    def is_there(self) -> bool:
        """Whether it is in a call."""
        return self._dialog is not None

    def press(self, digits: str) -> None:
        """Keys, 80 ms each and 80 ms apart, by telephone-events (RFC 4733)."""
        self._digits += ["0123456789*#".index(digit) for digit in digits]

    def tick(self) -> None:
        """Send the next 20 ms."""
        if self._dialog is None:
            return
        self._sequence += 1
        if self._event is None and self._digits:
            self._event = (self._digits.pop(0), 0)
        if self._event is not None:
            digit, frames = self._event
            if frames < 4:
                self._send_event(digit, frames)
            else:
                self._timestamp += FRAME
                self._send(SILENT)
            self._event = None if frames == 7 else (digit, frames + 1)
            if frames == 3:
                self._timestamp += 4 * FRAME
            return
        at = self._timestamp // FRAME % len(self._tone)
        self._send(self._tone[at] if self.sings else SILENT)
        self._timestamp += FRAME

    def _send(self, payload: bytes) -> None:
        packet = rtp(self._sequence, timestamp=self._timestamp, payload=payload)
        if (dialog := self._dialog) is not None:
            self.phone.rtp.send(dialog.media, packet)

    def _send_event(self, digit: int, frames: int) -> None:
        last = 0x80 if frames == 3 else 0
        payload = struct.pack("!BBH", digit, last | 10, (frames + 1) * FRAME)
        for _ in range(3 if last else 1):
            packet = rtp(
                self._sequence,
                timestamp=self._timestamp,
                payload_type=EVENT,
                marker=not frames,
                payload=payload,
            )
            if (dialog := self._dialog) is not None:
                self.phone.rtp.send(dialog.media, packet)
            self._sequence += bool(last)


def spectrum_of(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """dBFS by Hz, of sound at 8000 Hz: the strongest within 2 Hz, in any half second."""
    level = np.full(RATE_HZ // 2, -120.0)
    size = RATE_HZ // 2
    window = np.hanning(size)
    for start in range(0, max(1, len(sound) - size + 1), size // 2):
        piece = sound[start : start + size]
        power = np.abs(np.fft.rfft(piece * window[: len(piece)], RATE_HZ)) ** 2
        here = 10 * np.log10(np.maximum(power * 2 / window.sum() ** 2, 1e-12))
        for shift in (-2, -1, 0, 1, 2):
            level = np.maximum(level, np.roll(here, shift)[:-1])
    return level


class Choir:
    """A context manager: while it is open, all that have called send and receive."""

    def __init__(self, server: ServerProcess, singers: Mapping[int, str]) -> None:
        """`singers` gives the account of each frequency."""
        self.singers = {
            frequency_hz: Singer(server, account, frequency_hz)
            for frequency_hz, account in singers.items()
        }
        self._listening = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Choir:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()
        for singer in self.singers.values():
            singer.phone.close()

    def _run(self) -> None:
        poll = select.poll()
        by_file = {}
        for singer in self.singers.values():
            by_file[singer.phone.rtp.socket.fileno()] = singer
            poll.register(singer.phone.rtp.socket, select.POLLIN)
        due = time.monotonic()
        while not self._ended.is_set():
            due += 0.02
            for singer in by_file.values():
                singer.tick()
            while (left_s := due - time.monotonic()) > 0:
                for number, _ in poll.poll(left_s * 1000):
                    self._take(by_file[number])

    def _take(self, singer: Singer) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = singer.phone.rtp.socket.recv(2048)
                if self._listening and len(packet) == 12 + FRAME:
                    singer.heard.append(packet[12:])

    def listen(self, seconds: float) -> None:
        """What is heard in so much time becomes what each has :attr:`Singer.heard`."""
        for singer in self.singers.values():
            singer.heard = []
        self._listening = True
        time.sleep(seconds)
        self._listening = False

    @contextlib.contextmanager
    def singing(self, frequencies_hz: Collection[int]) -> Iterator[None]:
        """These sing, the others are silent."""
        for frequency_hz, singer in self.singers.items():
            singer.sings = frequency_hz in frequencies_hz
        try:
            yield
        finally:
            for singer in self.singers.values():
                singer.sings = False

    def hears(self, among_hz: Collection[int]) -> dict[int, set[int]]:
        """Which of some frequencies each one heard that is there, by his own."""
        found: dict[int, set[int]] = {}
        for frequency_hz, singer in self.singers.items():
            if not singer.is_there:
                continue
            spectrum = spectrum_of(linear(b"".join(singer.heard)))
            found[frequency_hz] = {hz for hz in among_hz if spectrum[hz] > HEARD_DBFS}
        return found
