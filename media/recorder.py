"""Recording of one leg: frames in, bytes of a WAV file out. Sans-I/O.

Fed by ``media.graph`` each tick; ``media.server.files`` takes the bytes and writes them. Pausing
stops the time of the recording; masking goes on with silence, so that the length stays true while
a caller enters a PIN.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from media.codecs.base import Pcm

MAX_SECONDS: Final = 4 * 3600
"""A day of work in one file is nobody's wish; 16 kHz stereo is then 0.9 GB."""
MAX_PENDING_BYTES: Final = 4 << 20
"""Not yet taken: 30 s of 16 kHz stereo. A disk that is slower loses sound, and it is counted."""


class RecorderOptions(NamedTuple):
    """How to record."""

    name: str
    """The client's, told in events."""
    max_s: float = MAX_SECONDS
    stereo: bool = False
    """The party left, what it hears right; else the party alone."""
    stop_after_silence_s: float = 0.0
    """0: silence does not end it."""
    skip_silence_s: float = 0.0
    """Silence longer than this is left out; 0 = none is."""
    stop_on_digit: bool = True


class Recorder:
    """One file being made."""

    def __init__(self, options: RecorderOptions, rate_hz: int) -> None:
        self.options = options
        self.rate_hz = rate_hz
        self.channels = 2 if options.stereo else 1
        self.paused = False
        self.masked = False
        self.reason = ""
        """Why it has ended; empty while it runs."""
        self.samples = 0
        """Of each channel, taken so far."""
        self.lost_samples = 0
        self._silent = 0
        self._limit = int(min(options.max_s, MAX_SECONDS) * rate_hz)
        self._pending = bytearray()

    def write(self, heard: Pcm, said: Pcm, talks: bool) -> None:
        """Take 20 ms, (samples,) each; ``talks``: whether the party was not silent."""
        if self.paused or self.reason:
            return
        count = min(len(heard), self._limit - self.samples)
        self._silent = 0 if talks else self._silent + count
        options = self.options
        if options.skip_silence_s and self._silent > options.skip_silence_s * self.rate_hz:
            pass
        elif len(self._pending) > MAX_PENDING_BYTES:
            self.lost_samples += count
        else:
            self._append(heard[:count], said[:count])
            self.samples += count
        if self.samples >= self._limit:
            self.stop("max-duration")
        elif options.stop_after_silence_s:
            if self._silent >= options.stop_after_silence_s * self.rate_hz:
                self.stop("silence")

    def digit(self) -> None:
        """The party pressed a digit."""
        if self.options.stop_on_digit and not self.masked:
            self.stop("digit")

    def stop(self, reason: str = "stop") -> None:
        self.reason = self.reason or reason

    def take(self) -> bytes:
        """16-bit little-endian samples since the last call; the file's header is the taker's."""
        data = bytes(self._pending)
        self._pending.clear()
        return data

    def _append(self, heard: Pcm, said: Pcm) -> None:
        if self.masked:
            heard = np.zeros_like(heard)
        if self.channels == 2:
            both = np.empty((len(heard), 2), dtype="<i2")
            both[:, 0], both[:, 1] = heard, np.zeros_like(said) if self.masked else said
            self._pending += both.tobytes()
        else:
            self._pending += heard.astype("<i2", copy=False).tobytes()
