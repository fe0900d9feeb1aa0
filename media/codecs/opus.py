"""Opus (RFC 6716, RTP: RFC 7587) by libopus, the codec's own library, through ctypes.

Python bindings of it on PyPI are either unmaintained or pull in all of FFmpeg and hide what a
telephone needs (concealment, in-band FEC); seven functions are bound here. Where the library is
not installed (Debian: ``libopus0``) :func:`available` is False and Opus is not offered.

The audio rate is ours to choose: the decoder resamples, and a peer's stereo comes out mono.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache
from typing import Any, Final

import numpy as np

from media.codecs.base import TICKS_PER_S, Octets, Pcm, Rows, Sizes
from media.errors import LocalMediaError

CLOCK_RATE_HZ: Final = 48_000
"""Of RTP timestamps, whatever the audio is (RFC 7587 §4.1)."""
MAX_PACKET_BYTES: Final = 400
"""160 kbit/s at 20 ms: far above what speech needs, so that a packet never needs fragments."""
BITRATE: Final = 32_000
"""Transparent for wideband speech (RFC 7587 §3.1.1 recommends 16-20 kbit/s)."""
COMPLEXITY: Final = 5
"""Of 10: half the CPU of the highest, a difference nobody hears in speech."""
EXPECTED_LOSS_PERCENT: Final = 5
"""What the encoder spends in-band FEC for."""

_APPLICATION_VOIP: Final = 2048
_SET_BITRATE: Final = 4002
_SET_COMPLEXITY: Final = 4010
_SET_INBAND_FEC: Final = 4012
_SET_PACKET_LOSS_PERC: Final = 4014


@cache
def _library() -> Any:
    name = ctypes.util.find_library("opus")
    if name is None:
        return None
    library = ctypes.CDLL(name)
    pointer = ctypes.c_void_p
    error = ctypes.POINTER(ctypes.c_int)
    integer = ctypes.c_int
    library.opus_encoder_create.restype = pointer
    library.opus_encoder_create.argtypes = [ctypes.c_int32, integer, integer, error]
    library.opus_decoder_create.restype = pointer
    library.opus_decoder_create.argtypes = [ctypes.c_int32, integer, error]
    library.opus_encoder_destroy.argtypes = [pointer]
    library.opus_decoder_destroy.argtypes = [pointer]
    library.opus_encode.restype = ctypes.c_int32
    library.opus_encode.argtypes = [pointer, pointer, integer, pointer, ctypes.c_int32]
    library.opus_decode.restype = integer
    library.opus_decode.argtypes = [pointer, pointer, ctypes.c_int32, pointer, integer, integer]
    return library


def available() -> bool:
    """Whether libopus is installed."""
    return _library() is not None


def packet_samples(size_bytes: int, first: int, second: int, rate_hz: int) -> int:
    """Samples of a packet by its first two octets (RFC 6716 §3.1); 0: not a packet."""
    if size_bytes < 1:
        return 0
    config, code = first >> 3, first & 3
    if config < 12:
        frame_us = (10_000, 20_000, 40_000, 60_000)[config & 3]
    elif config < 16:
        frame_us = (10_000, 20_000)[config & 1]
    else:
        frame_us = 2_500 << (config & 3)
    frames = (1, 2, 2, second & 0x3F)[code]
    if frames * frame_us > 120_000:
        return 0
    return frames * frame_us * rate_hz // 1_000_000


class Opus:
    """See :class:`media.codecs.base.Codec`."""

    name = "OPUS"
    clock_rate_hz = CLOCK_RATE_HZ

    def __init__(self, rate_hz: int = 16_000) -> None:
        """``rate_hz``: 8000, 16000 or 48000. Raises :class:`LocalMediaError` without libopus."""
        if not available():
            raise LocalMediaError("libopus is not installed (Debian: libopus0)")
        self.rate_hz = rate_hz
        self.frame_samples = rate_hz // TICKS_PER_S
        self._lib = _library()
        self._encoders: dict[int, int] = {}
        self._decoders: dict[int, int] = {}
        self.bad_packets = 0
        """Packets that libopus refused; they are heard as its concealment."""

    def grow(self, capacity: int) -> None:
        """States are made when a row is used first: they are 25 KB."""

    def reset(self, rows: Rows) -> None:
        for row in rows.tolist():
            if (encoder := self._encoders.pop(row, None)) is not None:
                self._lib.opus_encoder_destroy(encoder)
            if (decoder := self._decoders.pop(row, None)) is not None:
                self._lib.opus_decoder_destroy(decoder)

    def samples(self, size_bytes: int, first: int) -> int:
        # Code 3 tells its frames in the second octet; telephones that send it are rare, and the
        # decoder itself says what it is then.
        if first & 3 == 3:
            return 0
        return packet_samples(size_bytes, first, 0, self.rate_hz)

    def decode(self, rows: Rows, payloads: Octets) -> Pcm:
        payloads = np.ascontiguousarray(payloads)
        samples = self.samples(payloads.shape[1], int(payloads[0, 0]))
        pcm = np.zeros((len(rows), samples), dtype=np.int16)
        for line, row in enumerate(rows.tolist()):
            self._decode(row, payloads[line], pcm[line], fec=False)
        return pcm

    def conceal(self, rows: Rows, following: Octets | None) -> Pcm | None:
        pcm = np.zeros((len(rows), self.frame_samples), dtype=np.int16)
        for line, row in enumerate(rows.tolist()):
            packet = None if following is None else np.ascontiguousarray(following[line])
            self._decode(row, packet, pcm[line], fec=packet is not None)
        return pcm

    def encode(self, rows: Rows, pcm: Pcm) -> tuple[Octets, Sizes]:
        payloads = np.zeros((len(rows), MAX_PACKET_BYTES), dtype=np.uint8)
        sizes = np.zeros(len(rows), dtype=np.int64)
        pcm = np.ascontiguousarray(pcm)
        for line, row in enumerate(rows.tolist()):
            size = self._lib.opus_encode(
                self._encoder(row),
                pcm[line].ctypes.data,
                pcm.shape[1],
                payloads[line].ctypes.data,
                MAX_PACKET_BYTES,
            )
            sizes[line] = max(size, 0)
        return payloads, sizes

    def _decode(self, row: int, packet: Octets | None, pcm: Pcm, *, fec: bool) -> None:
        data, size = (None, 0) if packet is None else (packet.ctypes.data, len(packet))
        decoder = self._decoder(row)
        done = self._lib.opus_decode(decoder, data, size, pcm.ctypes.data, len(pcm), int(fec))
        if done < 0:
            self.bad_packets += 1
            self._lib.opus_decode(decoder, None, 0, pcm.ctypes.data, len(pcm), 0)

    def _encoder(self, row: int) -> int:
        encoder = self._encoders.get(row)
        if encoder is None:
            error = ctypes.c_int()
            encoder = self._lib.opus_encoder_create(
                self.rate_hz, 1, _APPLICATION_VOIP, ctypes.byref(error)
            )
            if not encoder:
                raise LocalMediaError(f"libopus makes no encoder: error {error.value}")
            for request, value in (
                (_SET_BITRATE, BITRATE),
                (_SET_COMPLEXITY, COMPLEXITY),
                (_SET_INBAND_FEC, 1),
                (_SET_PACKET_LOSS_PERC, EXPECTED_LOSS_PERCENT),
            ):
                self._lib.opus_encoder_ctl(ctypes.c_void_p(encoder), request, ctypes.c_int32(value))
            self._encoders[row] = encoder
        return encoder

    def _decoder(self, row: int) -> int:
        decoder = self._decoders.get(row)
        if decoder is None:
            error = ctypes.c_int()
            decoder = self._lib.opus_decoder_create(self.rate_hz, 1, ctypes.byref(error))
            if not decoder:
                raise LocalMediaError(f"libopus makes no decoder: error {error.value}")
            self._decoders[row] = decoder
        return decoder
