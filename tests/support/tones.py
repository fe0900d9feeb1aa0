"""Tones in recordings: who hears whom is measured, not assumed.

A phone plays a sine of its own frequency; what the other one recorded is looked at by FFT. Level
and purity are taken over the middle of the recording, away from the clicks of starting audio.
"""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE_HZ: Final = 8000
"""Of every tone we play: that of G.711."""
SILENCE_DBFS: Final = -50.0
"""Below this nothing is heard: G.711's idle noise is near -66 dBFS."""
WINDOW_S: Final = 0.2
"""Of the ratio to noise: ten frames."""
TOLERANCE_HZ: Final = 4.0
"""Two bins of a half-second FFT."""


class Tone(NamedTuple):
    """The strongest component of a recording."""

    frequency_hz: float
    level_dbfs: float
    """Of the component alone; a sine at full scale has -3 dBFS."""
    snr_db: float
    """Of the component against everything else."""
    duration_s: float
    """Of the whole recording."""

    def is_at(self, frequency_hz: float) -> bool:
        """Whether it is audible and at this frequency."""
        return (
            self.level_dbfs > SILENCE_DBFS and abs(self.frequency_hz - frequency_hz) < TOLERANCE_HZ
        )

    @property
    def silent(self) -> bool:
        return self.level_dbfs <= SILENCE_DBFS


def write_tone(path: Path, frequency_hz: float, *, seconds: int = 1, amplitude: int = 8192) -> None:
    """A WAV file, 8000 Hz, of a sine (-12 dBFS); it loops without a click.

    The frequency is rounded to whole periods a second. Amplitude 0 writes silence.
    """
    time_s = np.arange(RATE_HZ) / RATE_HZ
    sine = amplitude * np.sin(2 * np.pi * round(frequency_hz) * time_s)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.round(sine).astype("<i2").tobytes() * seconds)


def read_wav(path: Path) -> tuple[NDArray[np.float64], int]:
    """pcm: float64, (samples,), -1..1; and the rate in Hz. The first channel of a 16-bit file."""
    with wave.open(str(path), "rb") as file:
        rate_hz, channels = file.getframerate(), file.getnchannels()
        frames = file.readframes(file.getnframes())
    pcm = np.frombuffer(frames, dtype="<i2")[::channels]
    return pcm.astype(np.float64) / 32768.0, rate_hz


def is_complete(path: Path) -> bool:
    """Whether a recorder has finished: most write the header's length when they close the file."""
    try:
        with wave.open(str(path), "rb") as file:
            return file.getnframes() > 0
    except (OSError, EOFError, wave.Error):
        return False


def measure(path: Path, skip_s: float = 0.3) -> Tone:
    """The strongest component of a recording, without its first and last `skip_s`."""
    pcm, rate_hz = read_wav(path)
    skip = int(skip_s * rate_hz)
    return measure_pcm(pcm[skip : len(pcm) - skip], rate_hz, len(pcm) / rate_hz)


def measure_pcm(pcm: NDArray[np.float64], rate_hz: int, duration_s: float) -> Tone:
    """As :func:`measure`, of samples: float64, (samples,), -1..1.

    Frequency and level are those of the whole. The ratio to noise is the median over windows: a
    phone whose clock slips by one frame spoils one of them, a wrong or mixed sound all.
    """
    if len(pcm) < rate_hz // 4:
        return Tone(0.0, -120.0, 0.0, duration_s)
    power, scale = _spectrum(pcm)
    peak = int(power.argmax())
    frequency_hz = peak * rate_hz / len(pcm)
    size = int(WINDOW_S * rate_hz)
    ratios = [
        _snr_db(pcm[start : start + size], rate_hz, frequency_hz)
        for start in range(0, len(pcm) - size + 1, size)
    ]
    return Tone(
        frequency_hz=frequency_hz,
        level_dbfs=_decibels(_lobe(power, peak) * scale),
        snr_db=float(np.median(ratios)),
        duration_s=duration_s,
    )


def _spectrum(pcm: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Power by bin under a Hann window, and what makes a mean square of it (Parseval)."""
    window = np.hanning(len(pcm))
    power = np.abs(np.fft.rfft(pcm * window)) ** 2
    power[:3] = 0.0  # Offset is not sound.
    return power, 2.0 / (len(pcm) * float((window**2).sum()))


def _lobe(power: NDArray[np.float64], peak: int) -> float:
    """Power of a sine: a Hann window spreads it over its neighbours."""
    return float(power[max(0, peak - 3) : peak + 4].sum())


def _snr_db(pcm: NDArray[np.float64], rate_hz: int, frequency_hz: float) -> float:
    power, _ = _spectrum(pcm)
    tone = _lobe(power, round(frequency_hz * len(pcm) / rate_hz))
    rest = float(power.sum()) - tone
    return _decibels(tone / rest) if rest > 0.0 else 120.0


def _decibels(ratio: float) -> float:
    return 10.0 * float(np.log10(max(ratio, 1e-12)))
