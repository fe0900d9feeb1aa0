"""DTMF as sound: made, and found in all streams of a tick at once (ITU-T Q.23, Q.24).

Fed by ``media.graph`` with frames at 8 kHz of streams whose peer sends no telephone-events; feeds
it digits. Each window of 205 samples (25.6 ms), every 10 ms, is one matrix product: eight tones
and the second harmonics of each, as complex numbers. The phase step between two windows tells a
frequency far more exactly than a window can separate.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.codecs.base import Pcm, Rows
from media.dsp.tones import Segment, Tone

DIGITS: Final = "123A456B789C*0#D"
LOW_HZ: Final = (697.0, 770.0, 852.0, 941.0)
HIGH_HZ: Final = (1209.0, 1336.0, 1477.0, 1633.0)
#: dBm0 of each group; the high one is stronger because lines weaken it more.
LEVELS_DBM0: Final = (-9.0, -7.0)

RATE_HZ: Final = 8000
WINDOW: Final = 205
HOP: Final = 80
HOPS: Final = 2
"""Windows a frame of 20 ms."""

#: Of the weaker tone; -25 dBm0 has to be heard (ITU-T Q.24), with the loss of a partial window.
_MIN_DBM0: Final = -31.0
#: dB by which the high, the low group may be stronger.
_TWIST_HIGH_DB: Final = 6.0
_TWIST_LOW_DB: Final = 9.0
#: Of the whole power of a window in the two tones: speech has more elsewhere. A window that a
#: digit fills in part has that part; one of those that make a digit must be a full one.
_MIN_SHARE: Final = 0.55
_FULL_SHARE: Final = 0.82
#: The next tone of a group is at least so much weaker.
_MIN_SEPARATION_DB: Final = 6.0
#: Power at the second harmonic of the high tone; vowels have strong ones. (Those of the low group
#: lie beside tones of the high one, which a window of this length does not keep apart.)
_MAX_HARMONIC_DB: Final = -12.0
#: Accepted to 1.5 %, refused from 3.5 % (ITU-T Q.24); noise moves the estimate by some 0.3 %.
_MAX_DEVIATION: Final = 0.025
_HITS: Final = 2
_MISSES: Final = 3
"""Windows without it that end a digit: 30 ms, so that a drop-out does not double it."""


def tone_of(
    digit: str, duration_s: float = 0.1, levels_dbm0: tuple[float, float] = LEVELS_DBM0
) -> Tone:
    """The sound of a digit. Raises ``ValueError`` for what is none."""
    at = DIGITS.index(digit.upper())
    pair = (LOW_HZ[at // 4], HIGH_HZ[at % 4])
    return Tone((Segment(pair, duration_s, levels_dbm0),), repeats=False)


def _bank() -> NDArray[np.float32]:
    """float32, (205, 24): cosines of the tones and harmonics, then their sines; no taper, as a
    block of 205 has zeros of each tone near the others."""
    frequencies = np.array([*LOW_HZ, *HIGH_HZ, *(2 * f for f in HIGH_HZ)])
    phase = 2 * np.pi * np.arange(WINDOW)[:, None] * frequencies[None, :] / RATE_HZ
    return np.concatenate([np.cos(phase), -np.sin(phase)], axis=1).astype(np.float32)


_BANK: Final = _bank()
_TONES_HZ: Final = np.array([*LOW_HZ, *HIGH_HZ])
_STEP: Final = 2 * np.pi * _TONES_HZ * HOP / RATE_HZ
#: Mean square of a sine of 0 dBm0.
_ZERO_DBM0: Final = 32_767.0**2 / 2 * 10 ** (-3.14 / 10)
_MIN_POWER: Final = _ZERO_DBM0 * 10 ** (_MIN_DBM0 / 10)


def _ratio(decibels: float) -> float:
    return float(10 ** (decibels / 10))


class Detector:
    """Finds digits in many streams; one event a press, told when the tone is sure."""

    def __init__(self) -> None:
        self._past = np.zeros((0, WINDOW - HOP), dtype=np.float32)
        self._phase = np.zeros((0, 8), dtype=np.complex64)
        self._candidate = np.zeros(0, dtype=np.int64)
        self._hits = np.zeros(0, dtype=np.int64)
        self._current = np.zeros(0, dtype=np.int64)
        self._misses = np.zeros(0, dtype=np.int64)
        self._sure = np.zeros(0, dtype=np.bool_)

    def grow(self, capacity: int) -> None:
        """Have room for rows below ``capacity``."""
        before = len(self._past)
        if capacity <= before:
            return
        self._past = np.concatenate(
            [self._past, np.zeros((capacity - before, WINDOW - HOP), np.float32)]
        )
        self._phase = np.concatenate([self._phase, np.zeros((capacity - before, 8), np.complex64)])
        for name in ("_candidate", "_hits", "_current", "_misses", "_sure"):
            setattr(self, name, np.resize(getattr(self, name), capacity))
        self.reset(np.arange(before, capacity, dtype=np.int64))

    def reset(self, rows: Rows) -> None:
        """These rows are other streams now."""
        self._past[rows] = 0.0
        self._phase[rows] = 0.0
        self._candidate[rows] = self._current[rows] = -1
        self._hits[rows] = self._misses[rows] = 0
        self._sure[rows] = False

    def process(self, rows: Rows, pcm: Pcm) -> list[tuple[int, str]]:
        """Take 20 ms of each of these rows, (rows, 160); returns (row, digit) that began."""
        joined = np.concatenate([self._past[rows], pcm], axis=1, dtype=np.float32)
        self._past[rows] = joined[:, -(WINDOW - HOP) :]
        found: list[tuple[int, str]] = []
        for hop in range(HOPS):
            windows = joined[:, hop * HOP : hop * HOP + WINDOW]
            for at in self._judge(rows, windows):
                digit = DIGITS[int(self._current[rows[at]])]
                found.append((int(rows[at]), digit))
        return found

    def sounding(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows are in a digit or may be: their sound is kept out of the mix, (rows,)."""
        result: NDArray[np.bool_] = (self._current[rows] >= 0) | (self._hits[rows] > 0)
        return result

    def _judge(self, rows: Rows, windows: NDArray[np.float32]) -> NDArray[np.int64]:
        """One window of each row; returns which of them began a digit."""
        digit, full = self._classify(rows, windows)
        heard = digit >= 0
        same = heard & (digit == self._candidate[rows])
        hits = np.where(same, self._hits[rows] + 1, heard.astype(np.int64))
        sure = heard & (full | (same & self._sure[rows]))
        self._hits[rows] = hits
        self._sure[rows] = sure
        self._candidate[rows] = digit
        current = self._current[rows]
        misses = np.where(digit == current, 0, self._misses[rows] + 1)
        ended = (current >= 0) & (
            (misses >= _MISSES) | ((hits >= _HITS) & sure & (digit != current))
        )
        current = np.where(ended, -1, current)
        begun = (current < 0) & (hits >= _HITS) & sure
        self._current[rows] = np.where(begun, digit, current)
        self._misses[rows] = np.where(begun | (current < 0), 0, misses)
        return np.nonzero(begun)[0]

    def _classify(
        self, rows: Rows, windows: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The digit of each window by its spectrum alone, or -1; and whether it fills it."""
        spectrum = windows @ _BANK
        power = spectrum[:, :12] ** 2 + spectrum[:, 12:] ** 2
        power *= 2.0 / WINDOW**2  # mean square of a sine that fills the window
        total = np.einsum("nw,nw->n", windows, windows) / WINDOW
        tones = spectrum[:, :8] + 1j * spectrum[:, 12:20]
        turned = np.angle(tones * np.conj(self._phase[rows])) - _STEP
        self._phase[rows] = tones
        off_hz = (np.mod(turned + np.pi, 2 * np.pi) - np.pi) * RATE_HZ / (2 * np.pi * HOP)

        line = np.arange(len(windows))
        low = np.argmax(power[:, :4], axis=1)
        high = 4 + np.argmax(power[:, 4:8], axis=1)
        # A tone beside its frequency is weaker in the window than it is.
        weakened = np.sinc(off_hz * (WINDOW / RATE_HZ)) ** 2
        tone_power = power[:, :8] / np.maximum(weakened, 0.2)
        p_low, p_high = tone_power[line, low], tone_power[line, high]
        rest = power[:, :8].copy()
        rest[line, low] = rest[line, high] = 0.0
        good = np.minimum(p_low, p_high) > _MIN_POWER
        good &= (p_high < p_low * _ratio(_TWIST_HIGH_DB)) & (p_low < p_high * _ratio(_TWIST_LOW_DB))
        share = (p_low + p_high) / np.maximum(total, 1e-9)
        good &= share > _MIN_SHARE
        good &= rest[:, :4].max(axis=1) < p_low * _ratio(-_MIN_SEPARATION_DB)
        good &= rest[:, 4:].max(axis=1) < p_high * _ratio(-_MIN_SEPARATION_DB)
        good &= power[line, 4 + high] < p_high * _ratio(_MAX_HARMONIC_DB)
        for chosen in (low, high):
            good &= np.abs(off_hz[line, chosen]) < _MAX_DEVIATION * _TONES_HZ[chosen]
        return np.where(good, low * 4 + high - 4, -1), share > _FULL_SHARE
