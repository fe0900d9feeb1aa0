"""The audio path as a whole: one call of :meth:`AudioGraph.tick` each 20 ms moves all streams.

Fed by ``media.server.audio`` with legs and what they are to do, and by the relay with packets;
feeds the relay packets and its owner events. Sans-I/O over the ``Relay`` protocol.

A tick, for all legs at once::

    relay.take ─► jitter buffers ─► decode, conceal ─► level, talking, digits ─► recorders
                                          │
    relay.send ◄─ packets ◄─ encode ◄─ players, tones, echo ◄─ mix (N-1)
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from media.bank import Bank, StreamSetup
from media.codecs import make
from media.codecs.base import Octets, Pcm
from media.conference import Conference, Mixer, Part
from media.dsp.dtmf import Detector
from media.dsp.mix import soft_clip
from media.dsp.resample import Resampler
from media.errors import RtpError
from media.native.relay import FRAME_FIELDS, TAP_BYTES, Relay
from media.recorder import Recorder
from media.sources import Playlist
from media.telephone_event import Event, EventReceiver, EventSender

MAX_LEGS: Final = 4000
"""Four cores' worth; a site that needs more runs more media processes."""
TAKE: Final = 4096
"""Packets taken from the relay at once."""
MAX_DIGITS_PER_S: Final = 50
"""Of one leg; who sends more has no fingers."""


class LegEvent(NamedTuple):
    """Something that happened to a leg or a conference."""

    kind: str
    """``digit`` ``play-finished`` ``recording-finished`` ``talker``."""
    leg: Leg | None
    data: dict[str, Any]


class Leg:
    """One party whose sound ends here."""

    __slots__ = (
        "bank",
        "carrier",
        "conference",
        "digit_budget",
        "echo",
        "event_type",
        "events_in",
        "events_out",
        "inband",
        "key",
        "part",
        "playlist",
        "preplay_frames",
        "recorder",
        "row",
        "tap",
    )

    def __init__(self, key: tuple[str, str], tap: int, bank: Bank, row: int) -> None:
        self.key = key
        """Call-id and tag."""
        self.tap = tap
        self.bank = bank
        self.row = row
        self.event_type = -1
        """Payload type for telephone-events that we send; -1: the peer takes none."""
        self.events_in = EventReceiver()
        self.events_out: EventSender | None = None
        self.inband = False
        """Whether digits are looked for in its sound."""
        self.carrier = ""
        """What its first digit came by: the others are not listened to any more."""
        self.playlist = Playlist()
        self.preplay_frames = 0
        self.recorder: Recorder | None = None
        self.conference = ""
        self.part: Part | None = None
        self.echo = False
        self.digit_budget = float(MAX_DIGITS_PER_S)


class AudioGraph:
    """All legs of one media process."""

    def __init__(self, relay: Relay, rng: np.random.Generator, opus_rate_hz: int = 16_000) -> None:
        self._relay = relay
        self._rng = rng
        self._opus_rate_hz = opus_rate_hz
        self.banks: dict[int, Bank] = {}
        self.legs: dict[tuple[str, str], Leg] = {}
        self.mixer = Mixer()
        self._events: list[LegEvent] = []
        self._by_tap: list[Leg | None] = [None]
        self._free_taps: list[int] = []
        self._tap_row = np.full(1, -1, dtype=np.int64)
        self._tap_rate = np.zeros(1, dtype=np.int64)
        self._tap_handle = np.zeros(1, dtype=np.uint64)
        self._heads = np.zeros(TAKE, dtype=np.dtype(FRAME_FIELDS))
        self._payloads: Octets = np.zeros((TAKE, TAP_BYTES), dtype=np.uint8)
        self._detector = Detector()
        self._narrow = {rate: Resampler(rate, 8000, rate // 50) for rate in (16_000, 48_000)}
        self.ticks = 0
        self.packets_in = 0
        self.packets_out = 0
        self._rows: dict[int, NDArray[np.int64]] = {}
        self._inband: list[Leg] = []
        self._stale = True

    # -- legs -------------------------------------------------------------------------------

    def open(self, key: tuple[str, str], setup: StreamSetup, event_type: int, inband: bool) -> Leg:
        """Raises ``ValueError``: too many legs; ``KeyError``: a codec that is not offered."""
        if len(self.legs) >= MAX_LEGS:
            raise ValueError(f"more than {MAX_LEGS} legs")
        bank = self._bank(setup)
        row = bank.open(setup)
        tap = self._free_taps.pop() if self._free_taps else self._new_tap()
        leg = Leg(key, tap, bank, row)
        self.legs[key] = leg
        self._by_tap[tap] = leg
        self._detector.grow(len(self._by_tap))
        self._detector.reset(np.array([tap]))
        for resampler in self._narrow.values():
            resampler.grow(len(self._by_tap))
            resampler.reset(np.array([tap]))
        self._enter(leg, setup, event_type, inband)
        return leg

    def configure(self, leg: Leg, setup: StreamSetup, event_type: int, inband: bool) -> None:
        """A new description of the party; what it hears and does goes on."""
        bank = self._bank(setup)
        if bank is leg.bank:
            bank.configure(leg.row, setup)
        else:  # another sampling rate: another row of another bank
            # What plays and what is recorded is of the old rate; both end, and are told.
            leg.playlist.stop("codec")
            self.finish_recording(leg, "codec")
            leg.bank.close(leg.row)
            leg.bank, leg.row = bank, bank.open(setup)
            self.mixer.changed()
        self._enter(leg, setup, event_type, inband)

    def close(self, leg: Leg) -> None:
        """The party is gone; a recording that runs is finished."""
        self.leave(leg)
        leg.playlist.stop()
        self._tell_played(leg, leg.playlist)
        if leg.recorder is not None:
            leg.recorder.stop("hangup")
            self._finish_recording(leg)
        leg.bank.close(leg.row)
        del self.legs[leg.key]
        self._by_tap[leg.tap] = None
        self._tap_row[leg.tap] = -1
        self._free_taps.append(leg.tap)
        self._stale = True

    def _enter(self, leg: Leg, setup: StreamSetup, event_type: int, inband: bool) -> None:
        leg.event_type = event_type
        clock = leg.bank.clock_rate_hz(leg.row)
        if event_type < 0:
            leg.events_out = None
        elif leg.events_out is None or leg.events_out.clock_rate_hz != clock:
            leg.events_out = EventSender(clock)
        leg.inband = inband
        self._tap_row[leg.tap] = leg.row
        self._tap_rate[leg.tap] = leg.bank.rate_hz
        self._tap_handle[leg.tap] = setup.handle
        self._stale = True

    def _new_tap(self) -> int:
        tap = len(self._by_tap)
        self._by_tap.append(None)
        if tap >= len(self._tap_row):
            more = max(64, len(self._tap_row))
            self._tap_row = np.concatenate([self._tap_row, np.full(more, -1, dtype=np.int64)])
            self._tap_rate = np.concatenate([self._tap_rate, np.zeros(more, dtype=np.int64)])
            self._tap_handle = np.concatenate([self._tap_handle, np.zeros(more, np.uint64)])
        return tap

    def _bank(self, setup: StreamSetup) -> Bank:
        rate_hz = make(*setup.send, self._opus_rate_hz).rate_hz
        bank = self.banks.get(rate_hz)
        if bank is None:
            bank = self.banks[rate_hz] = Bank(rate_hz, self._rng, self._opus_rate_hz)
        return bank

    # -- what legs do -----------------------------------------------------------------------

    def join(self, leg: Leg, name: str) -> Part:
        """Put a leg into a conference; it leaves the one it was in. Raises ``ValueError``."""
        self.leave(leg)
        leg.part = self.mixer.join(name, leg)
        leg.conference = name
        return leg.part

    def leave(self, leg: Leg) -> None:
        """Take a leg out of its conference, if it is in one."""
        if leg.conference:
            self.mixer.leave(leg.conference, leg)
            leg.bank.said[leg.row] = 0
        leg.conference, leg.part = "", None

    def digit(self, leg: Leg, digit: str, carrier: str) -> bool:
        """A press came by ``rtp``, ``inband`` or ``info``. False: it is not counted, because
        this leg's digits come another way, or too fast."""
        if not leg.carrier:
            leg.carrier = carrier
        if carrier != leg.carrier:
            if carrier == "inband" or leg.carrier != "inband":
                return False  # the same press as sound, or by both kinds of message
            leg.carrier = carrier
        if leg.digit_budget < 1.0:
            return False
        leg.digit_budget -= 1.0
        if leg.carrier != "inband":
            leg.inband = False
            self._stale = True
        leg.playlist.interrupt()
        if leg.recorder is not None:
            leg.recorder.digit()
        self._events.append(LegEvent("digit", leg, {"digit": digit, "carrier": carrier}))
        return True

    def finish_recording(self, leg: Leg, reason: str) -> None:
        """Stop what is recorded of a leg; told by an event with the last bytes."""
        if leg.recorder is not None:
            leg.recorder.stop(reason)
            self._finish_recording(leg)

    def events(self) -> list[LegEvent]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def put_back(self, events: list[LegEvent]) -> None:
        """Events that were taken and are still to be told, in front of later ones."""
        self._events[:0] = events

    def leg_at(self, tap: int) -> Leg | None:
        """The leg of a tap number."""
        return self._by_tap[tap]

    # -- the tick ---------------------------------------------------------------------------

    def tick(self) -> None:
        """20 ms of everything."""
        self.ticks += 1
        self._receive()
        if self._stale:
            self._plan()
        for rate_hz, rows in self._rows.items():
            if len(rows):
                bank = self.banks[rate_hz]
                bank.hear(rows)
                bank.said[rows] = 0
        self._find_digits()
        for conference, part in self.mixer.run():
            self._tell_talker(conference, part)
        for leg in self.legs.values():
            if leg.playlist.stirs or leg.echo or leg.recorder is not None:
                self._serve(leg)
        self._transmit()
        if self.ticks % 50 == 0:
            for leg in self.legs.values():
                leg.digit_budget = float(MAX_DIGITS_PER_S)
        for conference in self.mixer.conferences.values():
            self._tell_conference(conference)

    def _plan(self) -> None:
        """Arrays of who is there, made anew when somebody came or went."""
        for rate_hz in self.banks:
            rows = [leg.row for leg in self.legs.values() if leg.bank.rate_hz == rate_hz]
            self._rows[rate_hz] = np.array(sorted(rows), dtype=np.int64)
        self._inband = [leg for leg in self.legs.values() if leg.inband]
        self._stale = False

    def _receive(self) -> None:
        while True:
            count = self._relay.take(self._heads, self._payloads, TAP_BYTES)
            heads = self._heads[:count]
            taps = heads["tap"].astype(np.int64)
            taps[taps >= len(self._tap_row)] = 0
            good = (self._tap_row[taps] >= 0) & (self._tap_handle[taps] == heads["handle"])
            rates = np.where(good, self._tap_rate[taps], 0)
            for rate_hz, bank in self.banks.items():
                at = np.nonzero(rates == rate_hz)[0]
                if not len(at):
                    continue
                self.packets_in += len(at)
                width = min(TAP_BYTES, max(1, int(heads["size"][at].max())))
                events = bank.ingest(self._tap_row[taps[at]], heads[at], self._payloads[at, :width])
                if events:
                    by_row = {int(self._tap_row[tap]): self._by_tap[tap] for tap in taps[at]}
                    for event in events:
                        leg = by_row[event.row]
                        if leg is not None:
                            self._take_event(leg, event.ssrc, event.rtp_timestamp, event.payload)
            if count < TAKE:
                return

    def _take_event(self, leg: Leg, ssrc: int, stamp: int, payload: bytes) -> None:
        try:
            digit = leg.events_in.receive(ssrc, stamp, Event.parse(payload))
        except RtpError:
            return
        if digit:
            self.digit(leg, digit, "rtp")

    def _find_digits(self) -> None:
        """Listen to the legs whose digits may come as sound, and keep those from the mix."""
        for bank in self.banks.values():
            legs = [leg for leg in self._inband if leg.bank is bank]
            if not legs:
                continue
            taps = np.array([leg.tap for leg in legs])
            rows = np.array([leg.row for leg in legs])
            pcm = bank.heard[rows]
            if bank.rate_hz != 8000:
                pcm = self._narrow[bank.rate_hz].process(taps, pcm)
            for tap, digit in self._detector.process(taps, pcm):
                leg = self._by_tap[tap]
                if leg is not None:
                    self.digit(leg, digit, "inband")
            # Told as an event, a digit would be a second one to whoever hears it.
            bank.heard[rows[self._detector.sounding(taps)]] = 0

    def _serve(self, leg: Leg) -> None:
        """Players, echo and recorder of one leg."""
        bank, row = leg.bank, leg.row
        said = bank.said[row]
        heard = bank.heard[row]
        if leg.playlist.playing:
            if leg.conference:
                frame = np.empty_like(said)
                leg.playlist.read(frame)
                said[:] = soft_clip(said.astype(np.int32) + frame)
            else:
                leg.playlist.read(said)
        elif leg.echo:
            said[:] = heard
        self._tell_played(leg, leg.playlist)
        recorder = leg.recorder
        if recorder is not None:
            recorder.write(heard, said, bool(bank.talks[row]))
            if recorder.reason:
                self._finish_recording(leg)

    def _transmit(self) -> None:
        silent: set[tuple[int, int]] = set()
        for leg in self.legs.values():
            events = leg.events_out
            if events is None or not events.busy:
                continue
            packets = events.tick(leg.bank.stamp(leg.row))
            for payload, stamp, marker in packets:
                leg.bank.emit_event(leg.row, leg.event_type, payload, stamp, marker, self._send)
            if packets:
                silent.add((leg.bank.rate_hz, leg.row))
        for rate_hz, rows in self._rows.items():
            bank = self.banks[rate_hz]
            if silent:
                busy = np.array([(rate_hz, row) in silent for row in rows.tolist()], dtype=bool)
                bank.skip(rows[busy])
                bank.mark(rows[busy])
                rows = rows[~busy]
            if len(rows):
                bank.emit(rows, self._send)
        for leg in self.legs.values():
            while leg.preplay_frames and leg.playlist.playing:
                self._play_ahead(leg)
            leg.preplay_frames = 0

    def _play_ahead(self, leg: Leg) -> None:
        """One more frame at once: the peer's jitter buffer is full from the beginning."""
        leg.preplay_frames -= 1
        said: Pcm = leg.bank.said[leg.row]
        leg.playlist.read(said)
        leg.bank.emit(np.array([leg.row]), self._send)
        self._tell_played(leg, leg.playlist)

    def _send(self, handles: NDArray[np.uint64], sizes: NDArray[np.uint16], packets: Octets) -> int:
        sent = self._relay.send(handles, sizes, packets, packets.shape[1], False)
        self.packets_out += sent
        return sent

    # -- events -----------------------------------------------------------------------------

    def _tell_played(self, leg: Leg, playlist: Playlist) -> None:
        for played in playlist.finished():
            position_ms = played.position_samples * 1000 // leg.bank.rate_hz
            data = {"name": played.name, "reason": played.reason, "position": position_ms}
            self._events.append(LegEvent("play-finished", leg, data))

    def _tell_conference(self, conference: Conference) -> None:
        for played in conference.playlist.finished():
            position_ms = played.position_samples * 1000 // conference.rate_hz
            data = {
                "conference": conference.name,
                "name": played.name,
                "reason": played.reason,
                "position": position_ms,
            }
            self._events.append(LegEvent("play-finished", None, data))

    def _tell_talker(self, conference: Conference, part: Part) -> None:
        leg = self._by_tap[part.member.tap]
        data = {"conference": conference.name, "talking": int(part.talking)}
        self._events.append(LegEvent("talker", leg, data))

    def _finish_recording(self, leg: Leg) -> None:
        recorder, leg.recorder = leg.recorder, None
        if recorder is not None:
            data = {
                "name": recorder.options.name,
                "reason": recorder.reason,
                "duration": recorder.samples * 1000 // recorder.rate_hz,
                "lost": recorder.lost_samples * 1000 // recorder.rate_hz,
                "recorder": recorder,
            }
            self._events.append(LegEvent("recording-finished", leg, data))
