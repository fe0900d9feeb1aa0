"""Comfort noise (RFC 3389): a level and, maybe, a spectrum in place of silence.

Fed by ``media.graph`` with payloads of type 13 and, when silence is to be told, with levels.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

#: RFC 3389 §3.1: -dBov, seven bits.
SILENT_DBOV: Final = -127
#: Of the shaping filter; telephones send ten or none. More says nothing about noise.
MAX_ORDER: Final = 12
#: Samples of the filter's impulse response that are heard.
_RESPONSE: Final = 64
_FULL_SCALE: Final = 32_768.0


def payload_of(level_dbov: float) -> bytes:
    """The payload that tells a level without a spectrum (RFC 3389 §3.1)."""
    return bytes([min(127, max(0, round(-level_dbov)))])


def shape_of(payload: bytes) -> tuple[float, NDArray[np.float32]]:
    """Level in dBov and the impulse response of unit energy, float32, (64,) or (1,).

    An empty payload is silence; an unstable filter cannot be said in this format, because each
    reflection coefficient is below 1 in size.
    """
    if not payload:
        return SILENT_DBOV, np.ones(1, dtype=np.float32)
    level = -float(payload[0] & 0x7F)
    reflections = [(octet - 127) / 128.0 for octet in payload[1 : 1 + MAX_ORDER]]
    if not any(reflections):
        return level, np.ones(1, dtype=np.float32)
    polynomial = [1.0]
    for k in reflections:  # Levinson's step-up; RFC 3389 §3.2
        k = max(-0.99, min(0.99, k))
        padded = [*polynomial, 0.0]
        polynomial = [a + k * b for a, b in zip(padded, reversed(padded), strict=True)]
    response = np.zeros(_RESPONSE)
    for n in range(_RESPONSE):
        past = sum(
            polynomial[m] * response[n - m] for m in range(1, min(n, len(polynomial) - 1) + 1)
        )
        response[n] = (n == 0) - past
    return level, (response / np.sqrt((response**2).sum())).astype(np.float32)


def generate(
    level_dbov: float,
    response: NDArray[np.float32],
    samples: int,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Noise of a level and a spectrum (:func:`shape_of`); int16, (samples,).

    0 dBov is the RMS of a square wave at full scale (RFC 6464 §3).
    """
    white = rng.standard_normal(samples + len(response) - 1, dtype=np.float32)
    rms = 0.0 if level_dbov <= SILENT_DBOV else _FULL_SCALE * 10 ** (level_dbov / 20)
    noise = np.convolve(white, response, "valid") * rms
    pcm: NDArray[np.int16] = np.clip(noise, -32_768, 32_767).astype(np.int16)
    return pcm
