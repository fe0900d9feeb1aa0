"""G.722 and GSM: codecs with memory, computed in C over matrices (``media/codecs/*.c``).

Each direction of each row has a line of int32 as its state. A step of these codecs depends on the
step before, 160 times a frame, so that numpy would need longer than a tick however few the
streams are; where the C part was not built, :func:`available` is False and neither is offered.

ITU-T G.722, RFC 3551 §4.5.2; ETSI EN 300 961 (GSM 06.10), RFC 3551 §4.5.8.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from media.codecs.base import Octets, Pcm, Rows, Sizes, full

GSM_FRAME_BYTES: Final = 33
GSM_FRAME_SAMPLES: Final = 160


def available() -> bool:
    """Whether the C part was built."""
    return find_spec("media.codecs._codecs") is not None


class _Recursive:
    """State lines and their growth."""

    def __init__(self, words: int, reset: Any) -> None:
        self._reset = reset
        self._encoders = np.zeros((0, words), dtype=np.int32)
        self._decoders = np.zeros((0, words), dtype=np.int32)

    def grow(self, capacity: int) -> None:
        fresh = np.arange(len(self._encoders), capacity, dtype=np.int64)
        if not len(fresh):
            return
        room = np.zeros((len(fresh), self._encoders.shape[1]), dtype=np.int32)
        self._encoders = np.concatenate([self._encoders, room])
        self._decoders = np.concatenate([self._decoders, room])
        self.reset(fresh)

    def reset(self, rows: Rows) -> None:
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        self._reset(rows, self._encoders)
        self._reset(rows, self._decoders)

    def conceal(self, rows: Rows, following: Octets | None) -> Pcm | None:
        return None


class G722(_Recursive):
    """64 kbit/s; see :class:`media.codecs.base.Codec`."""

    name = "G722"
    clock_rate_hz = 8000
    rate_hz = 16_000

    def __init__(self) -> None:
        from media.codecs import _codecs

        self._core = _codecs
        super().__init__(_codecs.G722_STATE, _codecs.g722_reset)

    def samples(self, size_bytes: int, first: int) -> int:
        return 2 * size_bytes

    def decode(self, rows: Rows, payloads: Octets) -> Pcm:
        pcm = np.empty((len(rows), 2 * payloads.shape[1]), dtype=np.int16)
        self._core.g722_decode(
            np.ascontiguousarray(rows), self._decoders, np.ascontiguousarray(payloads), pcm
        )
        return pcm

    def encode(self, rows: Rows, pcm: Pcm) -> tuple[Octets, Sizes]:
        payloads = np.empty((len(rows), pcm.shape[1] // 2), dtype=np.uint8)
        self._core.g722_encode(
            np.ascontiguousarray(rows), self._encoders, np.ascontiguousarray(pcm), payloads
        )
        return payloads, full(payloads)


class Gsm(_Recursive):
    """Full rate, 13 kbit/s; see :class:`media.codecs.base.Codec`."""

    name = "GSM"
    clock_rate_hz = 8000
    rate_hz = 8000

    def __init__(self) -> None:
        from media.codecs import _codecs

        self._core = _codecs
        super().__init__(_codecs.GSM_STATE, _codecs.gsm_reset)
        self.bad_frames = 0
        """Frames without the magic number; they are heard as silence."""

    def samples(self, size_bytes: int, first: int) -> int:
        frames, rest = divmod(size_bytes, GSM_FRAME_BYTES)
        return 0 if rest else frames * GSM_FRAME_SAMPLES

    def decode(self, rows: Rows, payloads: Octets) -> Pcm:
        frames = payloads.shape[1] // GSM_FRAME_BYTES
        pcm = np.empty((len(rows), frames * GSM_FRAME_SAMPLES), dtype=np.int16)
        self.bad_frames += self._core.gsm_decode(
            np.ascontiguousarray(rows), self._decoders, np.ascontiguousarray(payloads), pcm
        )
        return pcm

    def encode(self, rows: Rows, pcm: Pcm) -> tuple[Octets, Sizes]:
        frames = pcm.shape[1] // GSM_FRAME_SAMPLES
        payloads = np.empty((len(rows), frames * GSM_FRAME_BYTES), dtype=np.uint8)
        self._core.gsm_encode(
            np.ascontiguousarray(rows), self._encoders, np.ascontiguousarray(pcm), payloads
        )
        return payloads, full(payloads)
