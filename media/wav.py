"""WAV files: bytes to samples and back; 8/16/24-bit PCM and both laws of G.711 in.

Fed by ``media.server.files`` with prompts and whatever administrators upload; feeds players.
Chunk sizes lie: a ``data`` chunk may say 0 or 0xFFFFFFFF (it was streamed), be longer than the
file, or be followed by a missing pad byte. What can be heard is kept, what cannot is refused.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.codecs.g711 import ALAW_TO_PCM, ULAW_TO_PCM
from media.errors import WavError

MAX_BYTES: Final = 64 << 20
"""An hour of 8 kHz PCM; longer recordings are no prompts."""
MAX_CHANNELS: Final = 8
HEADER_BYTES: Final = 44
MAX_DATA_BYTES: Final = 0xFFFFFFFF - HEADER_BYTES
"""Of a file that is written: RIFF counts in 32 bits."""
_PCM, _ALAW, _ULAW, _EXTENSIBLE = 1, 6, 7, 0xFFFE
_UNKNOWN_SIZES: Final = (0, 0xFFFFFFFF)


class Recording(NamedTuple):
    """What a file holds."""

    pcm: NDArray[np.int16]
    """(samples,); channels are averaged."""
    rate_hz: int


class _Format(NamedTuple):
    tag: int
    channels: int
    rate_hz: int
    bits: int


def parse(data: bytes) -> Recording:
    """Raises :class:`WavError`, which says what to do about it."""
    if len(data) > MAX_BYTES:
        raise WavError(f"the file is longer than {MAX_BYTES >> 20} MB; shorten it")
    if len(data) < 12 or data[:4] not in (b"RIFF", b"RIFX") or data[8:12] != b"WAVE":
        raise WavError("not a WAV file; convert it to WAV, 8 or 16 kHz, 16 bits, mono")
    if data[:4] == b"RIFX":
        raise WavError("a big-endian WAV file; convert it to an ordinary one")
    form: _Format | None = None
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"fmt ":
            form = _format(data[at : at + size])
        elif name == b"data":
            if form is None:
                raise WavError("the WAV file has sound before its format; save it anew")
            end = len(data) if size in _UNKNOWN_SIZES else min(len(data), at + size)
            return Recording(_samples(data[at:end], form), form.rate_hz)
        at += size + size % 2
    raise WavError("the WAV file has no sound in it")


def _format(chunk: bytes) -> _Format:
    if len(chunk) < 16:
        raise WavError("the WAV file's format is cut off; save it anew")
    tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack_from("<H", chunk, 24)
    if not 1 <= channels <= MAX_CHANNELS:
        raise WavError(f"the WAV file has {channels} channels; use mono")
    if not 8000 <= rate_hz <= 48_000 or rate_hz % 50:
        raise WavError(f"the WAV file has {rate_hz} samples/s; use 8000, 16000 or 48000")
    if (tag, bits) not in ((_PCM, 8), (_PCM, 16), (_PCM, 24), (_ALAW, 8), (_ULAW, 8)):
        raise WavError("the WAV file is neither PCM nor G.711; use 16-bit PCM")
    return _Format(tag, channels, rate_hz, bits)


def _samples(data: bytes, form: _Format) -> NDArray[np.int16]:
    block = form.channels * form.bits // 8
    raw = np.frombuffer(data[: len(data) // block * block], dtype=np.uint8)
    if form.tag == _ALAW:
        pcm = ALAW_TO_PCM[raw]
    elif form.tag == _ULAW:
        pcm = ULAW_TO_PCM[raw]
    elif form.bits == 8:
        pcm = (raw.astype(np.int16) - 128) * 256
    elif form.bits == 16:
        pcm = raw.view("<i2").astype(np.int16)
    else:  # the upper two octets of three
        pcm = np.ascontiguousarray(raw.reshape(-1, 3)[:, 1:]).view("<i2")[:, 0].astype(np.int16)
    if form.channels == 1:
        return np.ascontiguousarray(pcm, dtype=np.int16)
    wide = pcm.reshape(-1, form.channels).astype(np.int32)
    mean: NDArray[np.int16] = (wide.sum(axis=1) // form.channels).astype(np.int16)
    return mean


def header(data_bytes: int, rate_hz: int, channels: int = 1) -> bytes:
    """The first 44 bytes of a 16-bit PCM file."""
    block = 2 * channels
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        HEADER_BYTES - 8 + data_bytes,
        b"WAVE",
        b"fmt ",
        16,
        _PCM,
        channels,
        rate_hz,
        rate_hz * block,
        block,
        16,
        b"data",
        data_bytes,
    )


def build(pcm: NDArray[np.int16], rate_hz: int) -> bytes:
    """A whole mono file."""
    data = pcm.astype("<i2").tobytes()
    return header(len(data), rate_hz) + data
