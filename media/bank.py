"""All streams of one sampling rate: packets to sound and sound to packets, 20 ms at a time.

Fed by ``media.graph`` with the packets of a tick; gives it what every stream said as one matrix,
and turns what every stream is to hear into packets. A stream is a row; what is kept of it lies in
arrays over rows. RFC 3550, RFC 3551 §4.1 (markers), RFC 3389, RFC 4733.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.codecs import make, noise
from media.codecs.base import TICKS_PER_S, Codec, Octets, Pcm, Rows, Sizes
from media.codecs.conceal import MAX_CONCEALED, blend, conceal
from media.dsp.level import VoiceActivity, levels_dbov
from media.jitter import Due, JitterBank

HEADER_BYTES: Final = 12
#: Kinds of packets beside the codecs' numbers (``JitterBank.kinds``).
EVENT, NOISE, UNKNOWN = -2, -3, -1
#: Packets of one stream in a tick: 10 ms ones are two, and one more after a late tick.
_ROUNDS: Final = 8
#: Bytes of a payload that are kept: 60 ms of G.711; 40 ms of L16 at 16 kHz, any Opus of speech.
WIDTHS: Final[Mapping[int, int]] = {8000: 480, 16_000: 1280, 48_000: 1500}
_CARRY_FRAMES: Final = 7
"""Decoded and not yet played: a packet of 120 ms leaves 100."""


class StreamSetup(NamedTuple):
    """What a stream was agreed on."""

    handle: int
    """Of the relay."""
    send: tuple[str, int]
    """Encoding name and clock rate that we send."""
    send_type: int
    receive: Mapping[int, tuple[str, int]]
    """Payload types that the peer may send, of codecs of this bank's rate."""
    event_types: frozenset[int] = frozenset()
    """Payload types of telephone-event, of any clock rate."""
    noise_types: frozenset[int] = frozenset()


class EventPayload(NamedTuple):
    """A telephone-event packet that came in."""

    row: int
    ssrc: int
    rtp_timestamp: int
    payload: bytes


Send = Callable[[NDArray[np.uint64], NDArray[np.uint16], Octets], int]


class Bank:
    """Streams of one rate. :meth:`open` gives rows out, :meth:`close` takes them back."""

    def __init__(self, rate_hz: int, rng: np.random.Generator, opus_rate_hz: int = 16_000) -> None:
        self.rate_hz = rate_hz
        self.frame = rate_hz // TICKS_PER_S
        self.capacity = 0
        self._rng = rng
        self._opus_rate_hz = opus_rate_hz
        self._codecs: list[Codec] = []
        self._numbers: dict[tuple[str, int], int] = {}
        self._free: list[int] = []
        self.jitter = JitterBank(WIDTHS[rate_hz])
        self.activity = VoiceActivity()
        ints = np.zeros(0, dtype=np.int64)
        self.handle = np.zeros(0, dtype=np.uint64)
        self._kind = np.zeros((0, 128), dtype=np.int8)
        self._codec, self._type = ints, ints
        self._sequence, self._stamp, self._ssrc, self._step = ints, ints, ints, ints
        self._marker = np.zeros(0, dtype=np.bool_)
        self._lost_run = ints
        self._carried = ints
        self._carry: Pcm = np.zeros((0, self.frame * _CARRY_FRAMES), dtype=np.int16)
        self._noise_dbov = np.zeros(0, dtype=np.float32)
        self._comfort = np.zeros(0, dtype=np.bool_)
        """Whether the last packet was comfort noise: it sounds until the next one."""
        self._spectra: dict[int, NDArray[np.float32]] = {}
        """Of comfort noise, by row; only rows whose peer has sent some."""
        self.heard: Pcm = np.zeros((0, self.frame), dtype=np.int16)
        """What each stream said in this tick, (rows, samples)."""
        self._before: Pcm = self.heard
        self._long_before: Pcm = self.heard
        self.said: Pcm = self.heard
        """What each stream is to hear in this tick; the graph fills it."""
        self.level_dbov = np.zeros(0, dtype=np.float32)
        self.talks = np.zeros(0, dtype=np.bool_)
        self.concealed = ints

    # -- rows -------------------------------------------------------------------------------

    def open(self, setup: StreamSetup) -> int:
        """A row for a new stream. Raises ``KeyError`` for a codec that is not offered."""
        if not self._free:
            self._grow(max(16, 2 * self.capacity))
        row = self._free.pop()
        rows = np.array([row])
        self._ssrc[row] = self._rng.integers(0, 1 << 32)
        self._sequence[row] = self._rng.integers(0, 1 << 15)  # RFC 3550 §5.1, with room to wrap
        self._stamp[row] = self._rng.integers(0, 1 << 32)
        self._marker[row] = True
        self._lost_run[row] = self._carried[row] = self.concealed[row] = 0
        self._noise_dbov[row] = noise.SILENT_DBOV
        self._comfort[row] = False
        for matrix in (self.heard, self._before, self._long_before, self.said):
            matrix[row] = 0
        self.level_dbov[row] = noise.SILENT_DBOV
        self.talks[row] = False
        self.activity.reset(rows)
        for codec in self._codecs:
            codec.reset(rows)
        self.jitter.reset(rows, setup.send[1])
        self.configure(row, setup)
        return row

    def configure(self, row: int, setup: StreamSetup) -> None:
        """Change what was agreed; sequence, timestamp and SSRC of what we send go on."""
        self.handle[row] = setup.handle
        self._kind[row] = UNKNOWN
        for payload_type, key in setup.receive.items():
            self._kind[row, payload_type] = self._number(key)
        for payload_type in setup.noise_types:
            self._kind[row, payload_type] = NOISE
        for payload_type in setup.event_types:
            self._kind[row, payload_type] = EVENT
        self._codec[row] = self._number(setup.send)
        self._type[row] = setup.send_type
        clock = self._codecs[self._codec[row]].clock_rate_hz
        if self._step[row] != clock // TICKS_PER_S:  # timestamps count something else now
            self._step[row] = clock // TICKS_PER_S
            self.jitter.reset(np.array([row]), clock)

    def close(self, row: int) -> None:
        """The stream has ended."""
        for codec in self._codecs:
            codec.reset(np.array([row]))
        self.handle[row] = 0
        self._spectra.pop(row, None)
        self._free.append(row)

    def stamp(self, row: int) -> int:
        """The timestamp of the next packet."""
        return int(self._stamp[row])

    def clock_rate_hz(self, row: int) -> int:
        clock: int = self._codecs[self._codec[row]].clock_rate_hz
        return clock

    def _number(self, key: tuple[str, int]) -> int:
        key = (key[0].upper(), key[1])
        number = self._numbers.get(key)
        if number is None:
            codec = make(*key, self._opus_rate_hz)
            codec.grow(self.capacity)
            number = self._numbers[key] = len(self._codecs)
            self._codecs.append(codec)
        return number

    def _grow(self, capacity: int) -> None:
        for name, value in list(vars(self).items()):
            if isinstance(value, np.ndarray):
                room = np.zeros((capacity - self.capacity, *value.shape[1:]), dtype=value.dtype)
                setattr(self, name, np.concatenate([value, room]))
        self.jitter.grow(capacity)
        self.activity.grow(capacity)
        for codec in self._codecs:
            codec.grow(capacity)
        self._free += range(capacity - 1, self.capacity - 1, -1)
        self.capacity = capacity

    # -- in ---------------------------------------------------------------------------------

    def ingest(self, rows: Rows, heads: NDArray[np.void], payloads: Octets) -> list[EventPayload]:
        """Take packets, in order of arrival; ``heads``: records of the relay. Returns events."""
        kinds = self._kind[rows, heads["payload_type"]]
        sizes = heads["size"].astype(np.int64)
        stamps = heads["timestamp"].astype(np.int64)
        ssrc = heads["ssrc"].astype(np.int64)
        events = [
            EventPayload(
                int(rows[at]), int(ssrc[at]), int(stamps[at]), payloads[at, : sizes[at]].tobytes()
            )
            for at in np.nonzero(kinds == EVENT)[0]
        ]
        known = np.nonzero(kinds != UNKNOWN)[0]
        self.jitter.dropped[rows[kinds == UNKNOWN]] += 1
        self.jitter.put(
            rows[known],
            heads["sequence_number"][known].astype(np.int64),
            stamps[known],
            ssrc[known],
            kinds[known],
            sizes[known],
            payloads[known],
            heads["arrival_s"][known],
        )
        return events

    def hear(self, rows: Rows) -> None:
        """Fill ``heard``, ``level_dbov`` and ``talks`` of these rows with the next 20 ms."""
        self.heard, self._before, self._long_before = (
            self._long_before,
            self.heard,
            self._before,
        )
        self.heard[rows] = 0
        filled = np.zeros(len(rows), dtype=np.int64)
        for at in np.nonzero(self._carried[rows])[0]:
            filled[at] = self._from_carry(int(rows[at]), 0)
        for _ in range(_ROUNDS):
            need = np.nonzero(filled < self.frame)[0]
            if not len(need):
                break
            self._round(rows, need, filled)
        self.level_dbov[rows] = levels = levels_dbov(self.heard[rows])
        self.talks[rows] = self.activity.update(rows, levels)

    def _round(self, rows: Rows, need: NDArray[np.int64], filled: NDArray[np.int64]) -> None:
        """One packet, or what stands for it, of each row that has not 20 ms yet."""
        asked = rows[need]
        due, slots = self.jitter.pop(asked, ~self.talks[asked])
        packet = due == Due.PACKET
        if packet.all():
            self._decode(rows, need, slots, filled)
            return
        self._decode(rows, need[packet], slots[packet], filled)
        # After a comfort-noise packet nothing comes on purpose.
        comfort = self._comfort[asked]
        missing = np.nonzero((due == Due.LOST) | ((due == Due.DRY) & ~comfort))[0]
        if len(missing):
            self._conceal(rows, need[missing], due[missing] == Due.LOST, filled)
        other = np.nonzero(due == Due.OTHER)[0]
        for at in other:
            row, slot = int(asked[at]), int(slots[at])
            if self.jitter.kinds[row, slot] == NOISE:
                payload = self.jitter.payloads[row, slot, : self.jitter.sizes[row, slot]]
                self._noise_dbov[row], self._spectra[row] = noise.shape_of(payload.tobytes())
                self._comfort[row] = True
        idle = (due >= Due.PAUSE) | (due == Due.SILENCE) | ((due == Due.DRY) & comfort)
        audible = np.nonzero(idle & self._comfort[asked])[0]
        if len(audible):
            for at in need[audible].tolist():
                row, start = int(rows[at]), int(filled[at])
                level, spectrum = float(self._noise_dbov[row]), self._spectra[row]
                pcm = noise.generate(level, spectrum, self.frame, self._rng)
                self.heard[row, start:] = pcm[start:]
        silent = need[idle]
        filled[silent] = self.frame
        self._lost_run[rows[silent]] = 0

    def _decode(
        self, rows: Rows, at: NDArray[np.int64], slots: NDArray[np.int64], filled: NDArray[np.int64]
    ) -> None:
        """Packets of these places in ``rows``, grouped by codec and size."""
        if not len(at):
            return
        asked = rows[at]
        self._comfort[asked] = False
        sizes = self.jitter.sizes[asked, slots]
        key = self.jitter.kinds[asked, slots].astype(np.int64) << 16 | sizes
        for group in np.unique(key):
            chosen = np.nonzero(key == group)[0]
            row, slot, size = asked[chosen], slots[chosen], int(group & 0xFFFF)
            codec = self._codecs[int(group >> 16)]
            payloads = self.jitter.payloads[row, slot, :size]
            first = int(payloads[0, 0]) if size else 0
            samples = codec.samples(size, first)
            if codec.name == "OPUS":  # its size says nothing about its duration
                self._decode_each(codec, rows, at[chosen], payloads, filled)
                continue
            if not samples or samples > self._carry.shape[1]:
                self.jitter.dropped[row] += 1
                filled[at[chosen]] = self.frame
                continue
            self._place(rows, at[chosen], codec.decode(row, payloads), filled)

    def _decode_each(
        self,
        codec: Codec,
        rows: Rows,
        at: NDArray[np.int64],
        payloads: Octets,
        filled: NDArray[np.int64],
    ) -> None:
        for place, payload in zip(at, payloads, strict=True):
            samples = codec.samples(len(payload), int(payload[0])) if len(payload) else 0
            where = np.array([place])
            if not samples or samples > self._carry.shape[1]:
                self.jitter.dropped[rows[place]] += 1
                filled[place] = self.frame
                continue
            self._place(rows, where, codec.decode(rows[where], payload[None]), filled)

    def _place(
        self, rows: Rows, at: NDArray[np.int64], pcm: Pcm, filled: NDArray[np.int64]
    ) -> None:
        """Put decoded packets where they belong: into this frame, what is over into the carry."""
        row = rows[at]
        after_loss = np.nonzero(self._lost_run[row])[0]
        if len(after_loss):
            past = self._past(row[after_loss])
            pcm[after_loss] = blend(past, pcm[after_loss], self.rate_hz)
            self._lost_run[row] = 0
        if pcm.shape[1] == self.frame and not filled[at].any():
            self.heard[row] = pcm
            filled[at] = self.frame
            return
        for place, samples in zip(at, pcm, strict=True):
            one = int(rows[place])
            have = int(self._carried[one])
            room = min(len(samples), self._carry.shape[1] - have)
            self._carry[one, have : have + room] = samples[:room]
            self._carried[one] = have + room
            filled[place] = self._from_carry(one, int(filled[place]))

    def _from_carry(self, row: int, filled: int) -> int:
        """Play what was decoded before; returns the samples of the frame that are filled."""
        have = int(self._carried[row])
        count = min(self.frame - filled, have)
        self.heard[row, filled : filled + count] = self._carry[row, :count]
        self._carry[row, : have - count] = self._carry[row, count:have].copy()
        self._carried[row] = have - count
        return filled + count

    def _past(self, rows: Rows) -> Pcm:
        return np.concatenate([self._long_before[rows], self._before[rows]], axis=1)

    def _conceal(
        self,
        rows: Rows,
        at: NDArray[np.int64],
        lost: NDArray[np.bool_],
        filled: NDArray[np.int64],
    ) -> None:
        row = rows[at]
        pcm = conceal(self._past(row), self._lost_run[row], self.frame, self.rate_hz)
        for line, (one, is_lost) in enumerate(zip(row.tolist(), lost.tolist(), strict=True)):
            codec = self._codecs[self._codec[one]]
            if codec.name != "OPUS":
                continue
            here = np.array([one])
            following = None
            if is_lost and self.jitter.following(here)[0]:
                slot = self.jitter.next_slot(here)[0]
                size = int(self.jitter.sizes[one, slot])
                if size and self.jitter.kinds[one, slot] >= 0:
                    following = self.jitter.payloads[one, slot, :size][None]
            made = codec.conceal(here, following)
            if made is not None:
                pcm[line] = made[0]
        for place, samples in zip(at, pcm, strict=True):
            self.heard[rows[place], filled[place] :] = samples[: self.frame - filled[place]]
        filled[at] = self.frame
        self._lost_run[row] = np.minimum(self._lost_run[row] + 1, MAX_CONCEALED)
        self.concealed[row] += 1

    # -- out --------------------------------------------------------------------------------

    def emit(self, rows: Rows, send: Send) -> int:
        """Send ``said`` of these rows, and let their time pass; returns how many left."""
        sent = 0
        codecs = self._codec[rows]
        for number, codec in enumerate(self._codecs):
            chosen = rows[codecs == number]
            if len(chosen):
                payloads, sizes = codec.encode(chosen, self.said[chosen])
                sent += self._packets(chosen, payloads, sizes, send)
        self.skip(rows)
        return sent

    def skip(self, rows: Rows) -> None:
        """Let 20 ms pass for rows that send no audio, or just did."""
        self._stamp[rows] = self._stamp[rows] + self._step[rows] & 0xFFFFFFFF

    def mark(self, rows: Rows) -> None:
        """The next packets begin a talkspurt (RFC 3551 §4.1)."""
        self._marker[rows] = True

    def _packets(self, rows: Rows, payloads: Octets, sizes: Sizes, send: Send) -> int:
        packets = np.empty((len(rows), HEADER_BYTES + payloads.shape[1]), dtype=np.uint8)
        marker = self._marker[rows].astype(np.int64) << 7
        self._headers(packets, rows, self._type[rows] | marker, self._stamp[rows])
        packets[:, HEADER_BYTES:] = payloads
        self._marker[rows] = False
        return send(self.handle[rows], (sizes + HEADER_BYTES).astype(np.uint16), packets)

    def emit_event(
        self, row: int, payload_type: int, payload: bytes, stamp: int, marker: bool, send: Send
    ) -> None:
        """Send one telephone-event in the sequence of this row."""
        packet = np.empty((1, HEADER_BYTES + len(payload)), dtype=np.uint8)
        second = payload_type | marker << 7
        self._headers(packet, np.array([row]), np.array([second]), np.array([stamp]))
        packet[0, HEADER_BYTES:] = np.frombuffer(payload, dtype=np.uint8)
        size = np.array([packet.shape[1]], dtype=np.uint16)
        send(self.handle[row : row + 1], size, packet)

    def _headers(
        self,
        packets: Octets,
        rows: Rows,
        second: NDArray[np.int64],
        stamps: NDArray[np.int64],
    ) -> None:
        """RFC 3550 §5.1; takes the next sequence numbers."""
        count = len(rows)
        sequence = self._sequence[rows]
        self._sequence[rows] = sequence + 1 & 0xFFFF
        packets[:, 0] = 0x80
        packets[:, 1] = second
        for first, size, values in (
            (2, 2, sequence),
            (4, 4, stamps),
            (8, 4, self._ssrc[rows]),
        ):
            wire = values.astype(f">u{size}").view(np.uint8).reshape(count, size)
            packets[:, first : first + size] = wire
