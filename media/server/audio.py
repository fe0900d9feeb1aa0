"""Requests of call control about sound: play, record, digits, conferences; and its events.

Fed by ``media.server.service`` with NG messages about calls that are hosted here; drives
``hosting``, ``media.graph`` and ``files``. Commands and events are in ``docs/ng-extensions.md``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from media.codecs import offered
from media.conference import DEFAULT_HEARS, KINDS, NORMAL, SPECIAL, Conference
from media.dsp import tones
from media.dsp.dtmf import DIGITS, tone_of
from media.errors import NgRequestError, ResourceError, WavError
from media.graph import AudioGraph, Leg, LegEvent
from media.native.relay import Relay
from media.ng.messages import Message
from media.recorder import MAX_SECONDS, Recorder, RecorderOptions
from media.server.calls import Call, Party
from media.server.exchange import Exchange
from media.server.files import RecordingWriter, SoundFiles, Written, decode
from media.server.hosting import Hosting
from media.server.options import ExchangeOptions, identifier, number, text, words
from media.server.pacer import Pacer
from media.server.ports import Rng
from media.sources import Clip, Item, Playlist, Sound
from media.telephone_event import DEFAULT_MS

#: Ticks between two visits to the recorders: 1 s.
COLLECT_TICKS: Final = 50
#: What may be asked to be played ahead or told early.
MAX_LEAD_MS: Final = 2000
#: -dBov that `silence` of a conference may be.
_MAX_SILENCE: Final = 127


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """Settings of the audio path."""

    sound_roots: tuple[Path, ...] = ()
    """Directories of prompts."""
    recording_root: Path | None = None
    """Where recordings are written; None: recording is refused."""
    codecs: tuple[tuple[str, int], ...] = ()
    """By preference; empty: all that are there."""
    opus_rate_hz: int = 16_000
    country: str = "eu"
    """Of tones, where a request names none."""
    preplay_ms: int = 0
    linger_ms: int = 0


@dataclass(slots=True)
class _Writing:
    """A recording on its way to the disk."""

    number: int
    recorder: Recorder
    call: Call | None
    tag: str
    data: Message | None = None
    """Of the event, once the recording has ended."""


class AudioService:
    """All hosted parties of one media process."""

    def __init__(
        self,
        config: AudioConfig,
        relay: Relay,
        exchange: Exchange,
        rng: Rng,
        make_writer: Callable[[], RecordingWriter] = RecordingWriter,
    ) -> None:
        """`make_writer` makes what writes recordings, when the first one begins."""
        self._config = config
        self._make_writer = make_writer
        self.graph = AudioGraph(
            relay, np.random.default_rng(rng.getrandbits(64)), config.opus_rate_hz
        )
        known = offered()
        codecs: Sequence[tuple[str, int]] = [key for key in config.codecs if key in known]
        self.hosting = Hosting(relay, exchange, self.graph, codecs or known)
        self.pacer = Pacer()
        self._files = SoundFiles(config.sound_roots)
        self._writer: RecordingWriter | None = None
        self._writing: dict[int, _Writing] = {}
        self._calls: dict[str, Call] = {}
        self._commands: Final[dict[str, Callable[[Message], Message]]] = {
            "play": self._play,
            "stop": self._stop,
            "record": self._record,
            "dtmf": self._dtmf,
            "digit": self._digit,
            "conference": self._conference,
            "echo": self._echo,
            "position": self._position,
        }

    @property
    def active(self) -> bool:
        """Whether ticks are needed."""
        return bool(self.graph.legs) or bool(self._writing)

    # -- calls ------------------------------------------------------------------------------

    def serve(self, call: Call, party: Party, message: Message, now: float) -> Message:
        """The party's offer is answered by us. Raises ``MediaError``."""
        if self.pacer.overloaded and (call.call_id, party.tag) not in self.graph.legs:
            raise NgRequestError("Too many calls")
        held = "hold" in words(message, "flags")
        options = ExchangeOptions(message)
        result = self.hosting.serve(call, party, message["sdp"], options, now, held=held)
        self._calls[call.call_id] = call
        return _reply(result.warning, sdp=result.sdp)

    def create(self, call: Call, party: Party, message: Message, now: float) -> Message:
        """An offer of ours to a new or a present party. Raises ``MediaError``."""
        if self.pacer.overloaded and (call.call_id, party.tag) not in self.graph.legs:
            raise NgRequestError("Too many calls")
        held = "hold" in words(message, "flags")
        result = self.hosting.create(call, party, ExchangeOptions(message), now, held=held)
        self._calls[call.call_id] = call
        return _reply(result.warning, sdp=result.sdp)

    def accept(self, call: Call, party: Party, message: Message, now: float) -> Message:
        """The party's answer to our offer. Raises ``MediaError``."""
        options = ExchangeOptions(message)
        return _reply(self.hosting.accept(call, party, message["sdp"], options, now))

    def removed(self, call: Call) -> None:
        """The call has ended: its leg goes, its recording is completed."""
        if self._calls.pop(call.call_id, None) is None:
            return
        self.hosting.forget(call)
        for tag in call.parties:
            leg = self.graph.legs.get((call.call_id, tag))
            if leg is not None:
                self.graph.close(leg)
        self._collect_finished()

    # -- requests ---------------------------------------------------------------------------

    def handle(self, command: str, message: Message) -> Message:
        """One request about a hosted party. Raises ``MediaError``."""
        return self._commands[command](message)

    def _play(self, message: Message) -> Message:
        """Sound for a leg or a whole conference: a file, a WAV file as base64, or a tone."""
        conference = self._conference_of(message)
        leg = None if conference is not None else self._leg(message)
        playlist, rate_hz = _target(leg, conference)
        flags = words(message, "flags")
        item = self._item(message, rate_hz, flags)
        if "replace" in flags:
            playlist.stop()
        lead_ms = _bounded(message, "linger", self._config.linger_ms, MAX_LEAD_MS)
        try:
            playlist.add(item, lead_ms * rate_hz // 1000)
        except ValueError as error:
            raise NgRequestError(str(error)) from None
        if leg is not None:
            preplay_ms = _bounded(message, "preplay", self._config.preplay_ms, MAX_LEAD_MS)
            leg.preplay_frames = preplay_ms // 20
        left = item.source.left_samples()
        return _reply(duration=-1 if left is None else left * 1000 // rate_hz)

    def _item(self, message: Message, rate_hz: int, flags: frozenset[str]) -> Item:
        name = identifier(message, "name")
        total_ms = number(message, "duration", -1)
        interruptible = "no-interrupt" not in flags
        tone = text(message, "tone")
        if tone:
            country = text(message, "country") or self._config.country
            source: Clip | Sound = _tone(tone, country, rate_hz, max(total_ms, 0))
            return Item(name or tone, source, interruptible)
        file, blob = text(message, "file"), text(message, "blob64")
        if bool(file) == bool(blob):
            raise NgRequestError("play needs one of file, blob64 and tone")
        pcm = self._files.load(file, rate_hz) if file else _blob(blob, rate_hz)
        start = number(message, "start", 0) * rate_hz // 1000
        total = None if total_ms < 0 else total_ms * rate_hz // 1000
        return Item(name or file, Clip(pcm, start, total), interruptible)

    def _stop(self, message: Message) -> Message:
        """End what is played; ``what`` = ``record`` ends the recording, ``all`` both."""
        what = text(message, "what") or "play"
        if what not in ("play", "record", "all"):
            raise NgRequestError("what is one of play, record, all")
        conference = self._conference_of(message)
        leg = None if conference is not None else self._leg(message)
        playlist, rate_hz = _target(leg, conference)
        position = playlist.position_samples() * 1000 // rate_hz
        if what != "record":
            playlist.stop()
        if what != "play" and leg is not None:
            self.graph.finish_recording(leg, "stop")
            self._collect_finished()
        return _reply(position=position)

    def _record(self, message: Message) -> Message:
        """Begin a recording, or change the one that runs (``action``)."""
        leg = self._leg(message)
        action = text(message, "action") or "start"
        recorder = leg.recorder
        if action == "start":
            return self._start_recording(leg, message)
        if recorder is None:
            raise NgRequestError("nothing is recorded")
        if action in ("pause", "resume"):
            recorder.paused = action == "pause"
        elif action in ("mask", "unmask"):
            recorder.masked = action == "mask"
        else:
            raise NgRequestError("action is one of start, pause, resume, mask, unmask")
        return _reply(duration=recorder.samples * 1000 // recorder.rate_hz)

    def _start_recording(self, leg: Leg, message: Message) -> Message:
        root = self._config.recording_root
        if root is None:
            raise NgRequestError("recording is not set up: no directory for recordings")
        if leg.recorder is not None:
            raise NgRequestError("a recording runs already")
        file = text(message, "file")
        path = (root / file).resolve()
        if not file or not path.is_relative_to(root.resolve()) or path.suffix != ".wav":
            raise NgRequestError("file is a name that ends in .wav, below the recordings")
        flags = words(message, "flags")
        options = RecorderOptions(
            name=identifier(message, "name") or file,
            max_s=_bounded(message, "max-duration", MAX_SECONDS * 1000, MAX_SECONDS * 1000) / 1000,
            stereo="stereo" in flags,
            stop_after_silence_s=number(message, "stop-after-silence", 0) / 1000,
            skip_silence_s=number(message, "skip-silence", 0) / 1000,
            stop_on_digit="no-interrupt" not in flags,
        )
        recorder = Recorder(options, leg.bank.rate_hz)
        if self._writer is None:
            self._writer = self._make_writer()
        writer = self._writer.open(path, recorder.rate_hz, recorder.channels)
        leg.recorder = recorder
        call = self._calls.get(leg.key[0])
        self._writing[writer] = _Writing(writer, recorder, call, leg.key[1])
        return _reply(rate=recorder.rate_hz)

    def _dtmf(self, message: Message) -> Message:
        """Send digits to the party: as telephone-events where it takes them, else as sound."""
        leg = self._leg(message)
        digits = text(message, "digits").upper()
        duration_ms = number(message, "duration", DEFAULT_MS)
        if not digits:
            raise NgRequestError("No digits in message")
        try:
            if leg.events_out is not None:
                leg.events_out.send(digits, duration_ms)
                return _reply(carrier="rtp")
            for digit in digits:
                if digit not in DIGITS:
                    raise ValueError(f"{digit} is not a digit")
                cadence = tone_of(digit, duration_ms / 1000)
                with_pause = tones.Tone((*cadence.segments, tones.Segment((), 0.07)), repeats=False)
                sound = Sound(tones.Generator(with_pause, leg.bank.rate_hz))
                leg.playlist.add(Item(f"dtmf {digit}", sound, interruptible=False))
        except ValueError as error:
            raise NgRequestError(str(error)) from None
        return _reply(carrier="inband")

    def _digit(self, message: Message) -> Message:
        """A press that came by SIP INFO: the same as one in RTP."""
        leg = self._leg(message)
        digit = text(message, "digit").upper()
        if len(digit) != 1 or digit not in f"{DIGITS}!":
            raise NgRequestError("digit is one of 0-9 * # A-D !")
        return _reply(counted=int(self.graph.digit(leg, digit, "info")))

    def _conference(self, message: Message) -> Message:
        """Join, leave, or change the part of a member; ``list`` tells who is there."""
        action = text(message, "action")
        name = identifier(message, "conference")
        if action == "list":
            found = self.graph.mixer.conferences.get(name)
            members = [] if found is None else [self._member(found, tap) for tap in found.parts]
            return _reply(members=members)
        leg = self._leg(message)
        if action == "join":
            if not name:
                raise NgRequestError("No conference in message")
            if leg.conference != name:
                try:
                    self.graph.join(leg, name)
                except ValueError as error:
                    raise NgRequestError(str(error)) from None
        elif not leg.conference or (name and name != leg.conference):
            raise NgRequestError("the party is not in this conference")
        elif action == "leave":
            self.graph.leave(leg)
            return _reply(members=0)
        elif action not in ("set", "mute", "unmute"):
            raise NgRequestError("action is one of join, leave, set, mute, unmute, list")
        self._set_part(leg, message, action)
        return _reply(members=len(self.graph.mixer.conferences[leg.conference].parts))

    def _set_part(self, leg: Leg, message: Message, action: str) -> None:
        part = leg.part
        assert part is not None
        speaks = text(message, "speaks")
        if action in ("mute", "unmute"):
            speaks = "muted" if action == "mute" else NORMAL
        if speaks:
            if speaks not in KINDS:
                raise NgRequestError(f"speaks is one of {', '.join(KINDS)}")
            part.speaks = speaks
        if "hears" in message:
            hears = words(message, "hears")
            if not hears <= frozenset(KINDS):
                raise NgRequestError(f"hears is a list of {', '.join(KINDS)}")
            part.hears = hears
        elif part.speaks == SPECIAL and part.hears == DEFAULT_HEARS:
            part.hears = frozenset((NORMAL, SPECIAL))
        if "silence" in message:
            silence = -_bounded(message, "silence", _MAX_SILENCE, _MAX_SILENCE)
            self.graph.mixer.conferences[leg.conference].silence_dbov = float(silence)
        self.graph.mixer.changed()

    def _member(self, conference: Conference, tap: int) -> Message:
        part = conference.parts[tap]
        leg = self.graph.leg_at(tap)
        call_id, tag = leg.key if leg is not None else ("", "")
        return {
            "call-id": call_id,
            "tag": tag,
            "speaks": part.speaks,
            "hears": sorted(part.hears),
            "talking": int(part.talking),
        }

    def _echo(self, message: Message) -> Message:
        """The party hears itself, while nothing is played to it."""
        leg = self._leg(message)
        leg.echo = bool(number(message, "on", 1))
        return _reply()

    def _position(self, message: Message) -> Message:
        """How far the playing is, in ms, and whether it goes on."""
        leg = self._leg(message)
        position = leg.playlist.position_samples() * 1000 // leg.bank.rate_hz
        return _reply(position=position, playing=int(leg.playlist.playing))

    # -- time and events --------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """20 ms of everything; call it when :attr:`Pacer.due` is reached."""
        self.pacer.begin(now)
        self.graph.tick()
        turn = self.graph.ticks % COLLECT_TICKS
        for serial, writing in self._writing.items():
            if serial % COLLECT_TICKS == turn:  # in turn: all at once would make one tick long
                self._drain(writing)

    def events(self) -> list[tuple[Call | None, str, Message]]:
        """What happened: call, tag, data."""
        told: list[tuple[Call | None, str, Message]] = []
        for event in self.graph.events():
            data = {"event": event.kind, **event.data}
            if event.kind == "recording-finished":
                self._recorded(event)
                continue
            if event.leg is None:
                members = self._members(str(event.data.get("conference", "")))
                told += [(call, "", data) for call in members]
                continue
            call_id, tag = event.leg.key
            told.append((self._calls.get(call_id), tag, {**data, "tag": tag}))
        if self._writer is not None:
            for written in self._writer.finished():
                told += self._written(written)
        return told

    def statistics(self) -> Message:
        """Figures of the audio path; integers."""
        graph = self.graph
        return {
            "legs": len(graph.legs),
            "conferences": len(graph.mixer.conferences),
            "packets in": graph.packets_in,
            "packets out": graph.packets_out,
            "recordings": len(self._writing),
            **self.pacer.statistics(),
        }

    def shutdown(self) -> None:
        """End all legs; recordings are completed."""
        for leg in list(self.graph.legs.values()):
            self.graph.close(leg)
        self._collect_finished()
        if self._writer is not None:
            self._writer.shutdown()

    def _collect_finished(self) -> None:
        """Close the files of recordings that have just ended, keep the other events."""
        rest = []
        for event in self.graph.events():
            if event.kind == "recording-finished":
                self._recorded(event)
            else:
                rest.append(event)
        self.graph.put_back(rest)

    def _recorded(self, event: LegEvent) -> None:
        recorder = event.data["recorder"]
        for writing in self._writing.values():
            if writing.recorder is recorder and writing.data is None:
                self._drain(writing)
                data = {key: value for key, value in event.data.items() if key != "recorder"}
                writing.data = {"event": event.kind, "tag": writing.tag, **data}
                if self._writer is not None:
                    self._writer.close(writing.number)

    def _written(self, written: Written) -> list[tuple[Call | None, str, Message]]:
        """A file is complete: only now its recording is told."""
        writing = self._writing.pop(written.number, None)
        if writing is None or writing.data is None:
            return []
        data = {**writing.data, "file": str(written.path), "size": written.size_bytes}
        if written.error:
            data["error"] = written.error
        return [(writing.call, writing.tag, data)]

    def _drain(self, writing: _Writing) -> None:
        if self._writer is None:
            return
        try:
            self._writer.append(writing.number, writing.recorder.take())
        except ResourceError:
            writing.recorder.stop("disk")

    def _members(self, conference: str) -> list[Call]:
        """One call a node: each signalling process is told once of its conference."""
        calls: dict[str, Call] = {}
        for leg in self.graph.legs.values():
            if leg.conference == conference and (call := self._calls.get(leg.key[0])) is not None:
                calls.setdefault(call.owner, call)
        return list(calls.values())

    def _leg(self, message: Message) -> Leg:
        call_id = identifier(message, "call-id")
        tag = identifier(message, "from-tag")
        call = self._calls.get(call_id)
        if call is None:
            raise NgRequestError("Unknown call-id")
        for one in (tag,) if tag else tuple(call.parties):
            leg = self.graph.legs.get((call_id, one))
            if leg is not None:
                return leg
        raise NgRequestError("the party has no media here yet")

    def _conference_of(self, message: Message) -> Conference | None:
        """The conference that a request is about, if it names one in place of a call."""
        if "call-id" in message:
            return None
        name = identifier(message, "conference")
        found = self.graph.mixer.conferences.get(name)
        if found is None:
            raise NgRequestError("Unknown conference")
        return found


def _target(leg: Leg | None, conference: Conference | None) -> tuple[Playlist, int]:
    if conference is not None:
        return conference.playlist, conference.rate_hz
    assert leg is not None
    return leg.playlist, leg.bank.rate_hz


def _tone(name: str, country: str, rate_hz: int, total_ms: int) -> Clip | Sound:
    try:
        tone = tones.named(name, country)
    except KeyError:
        try:
            tone = tones.parse(name)
        except ValueError as error:
            raise NgRequestError(f"tone {name}: neither a name nor a cadence: {error}") from None
    total = total_ms * rate_hz // 1000
    rendered = tones.render(tone, rate_hz)
    if rendered is None:
        return Sound(tones.Generator(tone, rate_hz), total)
    if rendered.loop_from < 0:
        return Clip(rendered.pcm, 0, min(total, len(rendered.pcm)) if total else None)
    return Clip(rendered.pcm, 0, total, rendered.loop_from)


def _blob(blob: str, rate_hz: int) -> Any:
    try:
        return decode(base64.b64decode(blob, validate=True), rate_hz)
    except (binascii.Error, WavError) as error:
        raise NgRequestError(f"blob64: {error}") from None


def _bounded(message: Message, key: str, default: int, most: int) -> int:
    value = number(message, key, default)
    if not 0 <= value <= most:
        raise NgRequestError(f"{key} is 0 to {most}")
    return value


def _reply(warning: str = "", **fields: Any) -> Message:
    reply: Message = {"result": "ok", **fields}
    if warning:
        reply["warning"] = warning
    return reply
