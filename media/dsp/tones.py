"""Call-progress tones by country, and sounds made of sines.

Fed by call control with a name (``busy``) and a country; feeds ``media.sources`` with cadences.
Sources: ITU-T E.180 and its supplement 2; levels as ITU-T E.180 §5 (-10 dBm0), per frequency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.codecs.base import Pcm

LEVEL_DBM0: Final = -10.0
#: A sine of 0 dBm0 has a peak of 3.14 dB below full scale (ITU-T G.711, A-law; µ-law: 3.17).
FULL_SCALE_DBM0: Final = 3.14
#: An edge of a tone is a slope of this length, so that it does not click.
EDGE_S: Final = 0.002
MAX_SEGMENTS: Final = 32
MAX_FREQUENCIES: Final = 4


class Segment(NamedTuple):
    """A part of a cadence: sines together, or silence."""

    frequencies_hz: tuple[float, ...]
    """Empty: silence."""
    duration_s: float
    """0: for ever."""
    levels_dbm0: tuple[float, ...] = ()
    """Of each frequency; empty: ``LEVEL_DBM0`` each."""


class Tone(NamedTuple):
    """A cadence."""

    segments: tuple[Segment, ...]
    repeats: bool = True


def _cadence(frequencies_hz: Sequence[float], *durations_s: float, repeats: bool = True) -> Tone:
    """On, off, on, off …"""
    on = tuple(frequencies_hz)
    segments = [Segment(() if at % 2 else on, s) for at, s in enumerate(durations_s)]
    return Tone(tuple(segments), repeats)


def _sit(*frequencies_hz: float) -> Tone:
    """Special information tone: three tones, then a pause (ITU-T E.180 §7)."""
    tones = [Segment((frequency,), 0.33) for frequency in frequencies_hz]
    return Tone((*tones, Segment((), 1.0)))


_EUROPE: Final[Mapping[str, Tone]] = {
    "dial": _cadence([425], 0.0),
    "ringback": _cadence([425], 1.0, 4.0),
    "busy": _cadence([425], 0.5, 0.5),
    "congestion": _cadence([425], 0.2, 0.2),
    "waiting": _cadence([425], 0.2, 0.6, 0.2, 9.0),
    "sit": _sit(950, 1400, 1800),
}
_AMERICA: Final[Mapping[str, Tone]] = {
    "dial": _cadence([350, 440], 0.0),
    "ringback": _cadence([440, 480], 2.0, 4.0),
    "busy": _cadence([480, 620], 0.5, 0.5),
    "congestion": _cadence([480, 620], 0.25, 0.25),
    "waiting": _cadence([440], 0.3, 9.7),
    "sit": _sit(913.8, 1370.6, 1776.7),
}
COMMON: Final[Mapping[str, Tone]] = {
    "beep": _cadence([1000], 0.3, repeats=False),
    "recording": _cadence([1400], 0.2, 14.8),
    "joined": Tone((Segment((660,), 0.1), Segment((880,), 0.15)), repeats=False),
    "left": Tone((Segment((880,), 0.1), Segment((660,), 0.15)), repeats=False),
    "silence": Tone((Segment((), 0.0),)),
}
"""The same everywhere: record beep, recording warning, conference signals."""
COUNTRIES: Final[Mapping[str, Mapping[str, Tone]]] = {
    "eu": _EUROPE,
    "us": _AMERICA,
    "ca": _AMERICA,
    "ru": {
        **_EUROPE,
        "ringback": _cadence([425], 0.8, 3.2),
        "busy": _cadence([425], 0.35, 0.35),
        "congestion": _cadence([425], 0.175, 0.175),
    },
    "gb": {
        "dial": _cadence([350, 440], 0.0),
        "ringback": _cadence([400, 450], 0.4, 0.2, 0.4, 2.0),
        "busy": _cadence([400], 0.375, 0.375),
        "congestion": _cadence([400], 0.4, 0.35, 0.225, 0.525),
        "waiting": _cadence([400], 0.1, 2.0),
        "sit": _sit(950, 1400, 1800),
    },
    "fr": {
        **_EUROPE,
        "dial": _cadence([440], 0.0),
        "ringback": _cadence([440], 1.5, 3.5),
        "busy": _cadence([440], 0.5, 0.5),
        "congestion": _cadence([440], 0.25, 0.25),
    },
    "it": {
        **_EUROPE,
        "dial": _cadence([425], 0.2, 0.2, 0.6, 1.0),
    },
    "jp": {
        "dial": _cadence([400], 0.0),
        "ringback": _cadence([400], 1.0, 2.0),
        "busy": _cadence([400], 0.5, 0.5),
        "congestion": _cadence([400], 0.5, 0.5),
        "waiting": _cadence([400], 0.1, 0.1, 0.1, 3.0),
        "sit": _sit(950, 1400, 1800),
    },
}
"""By ISO 3166 code, lower case; ``eu`` is what CEPT recommends and most of the world uses."""


def named(name: str, country: str = "eu") -> Tone:
    """A tone by name; a country that is not listed has the European ones. Raises ``KeyError``."""
    tones = COUNTRIES.get(country.lower(), _EUROPE)
    return tones[name] if name in tones else COMMON[name]


def parse(text: str) -> Tone:
    """A cadence as text: ``440+480/2000,0/4000`` is frequencies in Hz over milliseconds.

    Frequency 0 is silence, duration 0 is for ever, a trailing ``!`` means once. Raises
    ``ValueError``.
    """
    once = text.endswith("!")
    segments = []
    for part in text.removesuffix("!").split(","):
        sines, _, milliseconds = part.partition("/")
        frequencies = tuple(float(sine) for sine in sines.split("+"))
        duration_s = int(milliseconds or "0") / 1000.0
        sounding = tuple(frequency for frequency in frequencies if frequency != 0.0)
        if len(sounding) > MAX_FREQUENCIES or not all(20.0 <= f <= 20_000.0 for f in sounding):
            raise ValueError(f"{sines} is not up to {MAX_FREQUENCIES} frequencies of 20-20000 Hz")
        if not 0.0 <= duration_s <= 86_400.0:
            raise ValueError(f"{milliseconds} is not a duration in ms, up to a day")
        segments.append(Segment(sounding, duration_s))
    if len(segments) > MAX_SEGMENTS:
        raise ValueError(f"a tone has up to {MAX_SEGMENTS} parts")
    if any(segment.duration_s == 0.0 for segment in segments[:-1]):
        raise ValueError("only the last part may last for ever")
    return Tone(tuple(segments), repeats=not once)


def amplitude(level_dbm0: float) -> float:
    """Peak of a sine of this level, in samples of 16 bits."""
    return float(32_767.0 * 10 ** ((level_dbm0 - FULL_SCALE_DBM0) / 20.0))


class Rendered(NamedTuple):
    """A tone as samples, so that a thousand callers who hear it cost copies only."""

    pcm: Pcm
    """(samples,), read-only."""
    loop_from: int
    """Sample from which it goes round; -1: it ends."""


#: Rendered cadences that are kept: more than all countries have.
_MAX_RENDERED: Final = 128
MAX_RENDERED_S: Final = 30.0


@lru_cache(maxsize=_MAX_RENDERED)
def render(tone: Tone, rate_hz: int) -> Rendered | None:
    """None: too long a cycle to be kept; use a :class:`Generator`.

    A steady tone goes round each second, which is seamless for whole frequencies; others have
    a :class:`Generator`, too.
    """
    steady = tone.segments[-1].duration_s == 0.0
    length_s = sum(segment.duration_s for segment in tone.segments)
    if steady and any(f != round(f) for f in tone.segments[-1].frequencies_hz):
        return None
    if length_s > MAX_RENDERED_S:
        return None
    samples = sum(round(segment.duration_s * rate_hz) for segment in tone.segments)
    # A steady end is taken from its second second on, behind the slope of its beginning.
    pcm = np.zeros(samples + (2 * rate_hz if steady else 0), dtype=np.int16)
    Generator(tone, rate_hz).read(pcm)
    pcm.flags.writeable = False
    if steady:
        return Rendered(pcm, samples + rate_hz)
    return Rendered(pcm, 0 if tone.repeats else -1)


class Generator:
    """One tone that plays; phases go on from frame to frame, edges are sloped."""

    def __init__(self, tone: Tone, rate_hz: int) -> None:
        self._tone = tone
        self._rate_hz = rate_hz
        self._segment = 0
        self._position = 0
        self.finished = False

    def read(self, out: Pcm) -> int:
        """Fill ``out``, (samples,), and return how many belong to the tone; the rest is zero."""
        done = 0
        while done < len(out) and not self.finished:
            segment = self._tone.segments[self._segment]
            length = round(segment.duration_s * self._rate_hz)
            count = len(out) - done
            if length:
                count = min(count, length - self._position)
            out[done : done + count] = self._sines(segment, count, length)
            done += count
            self._position += count
            if length and self._position >= length:
                self._next()
        out[done:] = 0
        return done

    def _next(self) -> None:
        self._position = 0
        self._segment += 1
        if self._segment == len(self._tone.segments):
            self._segment = 0
            self.finished = not self._tone.repeats

    def _sines(self, segment: Segment, count: int, length: int) -> Pcm:
        if not segment.frequencies_hz:
            return np.zeros(count, dtype=np.int16)
        at = np.arange(self._position, self._position + count)
        wave: NDArray[np.float64] = np.zeros(count)
        levels = segment.levels_dbm0 or (LEVEL_DBM0,) * len(segment.frequencies_hz)
        for frequency, level in zip(segment.frequencies_hz, levels, strict=True):
            if frequency < self._rate_hz / 2:
                wave += amplitude(level) * np.sin(2 * np.pi * frequency / self._rate_hz * at)
        edge = EDGE_S * self._rate_hz
        wave *= np.minimum(1.0, (at + 1) / edge)
        if length:
            wave *= np.minimum(1.0, (length - at) / edge)
        return np.clip(np.rint(wave), -32_768, 32_767).astype(np.int16)
