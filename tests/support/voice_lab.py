"""Programs and scripted phones on one signalling node in memory: calls, media service, clock.

A :class:`~tests.unit.pbx.calls.lab.Lab` whose applications are run by the real host. The media
service is a stand-in that keeps what it was asked, answers offers with a description of its own
(``m1`` … for hosted parties) and lets sounds take their time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from types import SimpleNamespace
from typing import Any, Literal

from media.ng.client import NgReply
from media.ng.messages import body_of, text_of
from pbx.domain.accounts import AccountCreated
from pbx.domain.server import SERVER_TABLE, RouterTableSet
from pbx.domain.server import STREAM as SERVER_STREAM
from pbx.domain.setting_events import AccountRightsSet, AccountSettingsChanged
from pbx.kernel.events import Event
from pbx.script.environment import Level
from pbx.script.machine import Failed
from pbx.script.offline.files import OfflineFiles, silence_wav, wav_milliseconds
from pbx.script.offline.run import stock_directory
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.task import Task
from pbx.script.values import Value
from pbx.voice.compose import compose
from tests.unit.pbx.calls.lab import Lab, ScriptedMedia
from tests.unit.pbx.calls.phone import DOMAIN, sdp, word_of

PBX = f"pbx@{DOMAIN}"


class HostingMedia(ScriptedMedia):
    """Hosts parties; see the module."""

    hosts = True

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[str] = []
        """Commands about sound as words, in order."""
        self.hosted: dict[str, str] = {}
        """Conference by session; empty for none."""
        self.sound: Callable[[Mapping[str, Any], float], None] = lambda event, now: None
        self.at: Callable[[float, Callable[[float], None]], object]
        self.lengths: dict[str, int] = {}
        self.refuse = ""
        """Error of the next offer or answer."""
        self.word = ""
        """The description of all parties, if they shall have the same."""
        self._serial = 0
        self._playing: dict[str, str] = {}

    def host(
        self,
        session: str,
        message: dict[str, Any],
        now: float,
        done: Callable[[NgReply, float], None],
    ) -> None:
        reply = self._carry_out(session, message, now)
        self._later(lambda: self.at(self.now(), lambda later: done(reply, later)))

    def _carry_out(self, session: str, message: dict[str, Any], now: float) -> NgReply:
        command = message["command"]
        known = session in self.hosted or message.get("conference") == session
        if command not in ("serve", "create", "delete") and not known:
            return NgReply({"result": "error"}, "Unknown call-id")
        if command in ("serve", "create", "create answer"):
            refuse, self.refuse = self.refuse, ""
            if refuse:
                return NgReply({"result": "error"}, refuse)
            self.hosted.setdefault(session, "")
            given = f" {word_of(body_of(message['sdp']))}" if "sdp" in message else ""
            self.commands.append(f"{command}{given}")
            if command == "create answer":
                return NgReply({"result": "ok"})
            self._serial += 1
            return NgReply(
                {
                    "result": "ok",
                    "sdp": text_of(sdp(self.word or f"m{self._serial}", "198.51.100.9")),
                }
            )
        if command == "delete":
            self.hosted.pop(session, None)
            self.commands.append("delete")
            return NgReply({"result": "ok"})
        getattr(self, f"_{command}")(session, message, now)
        return NgReply({"result": "ok"})

    def _play(self, session: str, message: dict[str, Any], now: float) -> None:
        where = message.get("conference") or session
        what = message.get("file") or message["tone"]
        self.commands.append(f"play {what}")
        name = message["name"]
        self._playing[where] = name
        duration = message.get("duration")
        if duration == 0:
            return
        length = self.lengths.get(str(message.get("file", "")), 0) - message.get("start", 0)
        if "tone" in message:
            length = int(str(what).rpartition("/")[2].rstrip("!"))
        length = duration if duration is not None else length

        def over(later: float) -> None:
            if self._playing.get(where) == name:
                del self._playing[where]
                event = {"event": "play-finished", "name": name, "reason": "end"}
                self.sound({**event, "call-id": session}, later)

        self.at(now + max(length, 1) / 1000, over)

    def _stop(self, session: str, message: dict[str, Any], now: float) -> None:
        if message.get("what") == "record":
            self.commands.append("stop record")
            self._recorded(session, "stop")
        else:
            self.commands.append("stop")
            self._playing.pop(message.get("conference") or session, None)

    def _record(self, session: str, message: dict[str, Any], now: float) -> None:
        self.commands.append("record")
        self.recording = str(message["name"])
        self.at(now + message["max-duration"] / 1000, lambda _: self._recorded(session, "max"))

    def _recorded(self, session: str, reason: str) -> None:
        name, self.recording = getattr(self, "recording", ""), ""
        if name:
            event = {"event": "recording-finished", "name": name, "reason": reason}
            self.at(self.now() + 0.01, lambda now: self.sound({**event, "call-id": session}, now))

    def _dtmf(self, session: str, message: dict[str, Any], now: float) -> None:
        self.commands.append(f"dtmf {message['digits']}")

    def _digit(self, session: str, message: dict[str, Any], now: float) -> None:
        event = {"event": "digit", "digit": message["digit"], "carrier": "info"}
        self.at(now, lambda later: self.sound({**event, "call-id": session}, later))

    def _conference(self, session: str, message: dict[str, Any], now: float) -> None:
        action = message["action"]
        if action == "join":
            self.hosted[session] = message["conference"]
        elif action == "leave":
            self.hosted[session] = ""
        extra = [f"{key}={message[key]}" for key in ("speaks", "hears") if key in message]
        self.commands.append(" ".join(["conference", action, *extra]))


class Sounds:
    """Names sounds by their number."""

    def __init__(self, lengths: dict[str, int]) -> None:
        self._lengths = lengths
        self._names: dict[bytes, str] = {}

    def name_of(self, data: bytes) -> str:
        name = self._names.setdefault(data, f"s{len(self._names) + 1}")
        self._lengths[name] = wav_milliseconds(data)
        return name


class Recordings:
    """Every recording is two seconds of silence."""

    def file_of(self, name: str) -> str:
        return f"{name}.wav"

    def take(self, name: str) -> bytes | None:
        return silence_wav(2000)


class Watch:
    """An observer that keeps everything."""

    def __init__(self) -> None:
        self.started_names: list[str] = []
        self.endings: list[tuple[str, str]] = []
        self.failures: list[Failed] = []
        self.log: list[str] = []

    def started(self, task: Task, parent: Task | None) -> None:
        self.started_names.append(task.program_name)

    def ended(self, task: Task, reason: str, failure: Failed | None) -> None:
        self.endings.append((task.program_name, reason))
        if failure is not None:
            self.failures.append(failure)

    def input_read(self, task: Task, kind: Literal["digit", "event"], value: Value) -> None:
        pass

    def requested(self, task: Task, request: HostRequest) -> None:
        pass

    def logged(self, task: Task, text: str) -> None:
        self.log.append(text)


class VoiceLab(Lab):
    """`programs` are texts by name; each is called at its name: ``hello`` runs ``hello#pbx``."""

    def __init__(
        self,
        phones: str = "alice bob",
        programs: Mapping[str, str | bytes] | None = None,
        **config: Any,
    ) -> None:
        self.hosting = HostingMedia()
        super().__init__(phones, media=self.hosting, **config)
        if "pbx" not in self.phones:
            self.add("pbx", "pbx", bind=False)
        programs = programs or {}
        extra = {
            (name if "." in name else f"{name}.sppr"): (
                text if isinstance(text, bytes) else text.encode()
            )
            for name, text in programs.items()
        }
        self.files = OfflineFiles({Level.STOCK: stock_directory()}, extra=extra)
        self.watch = Watch()
        self.hosting.at = self.node.timers.call_at
        self.streams: dict[str, list[Any]] = {}
        self.voice = compose(
            self.node,
            self.hosting,
            self._stream,
            entropy=Random(11),
            sounds=Sounds(self.hosting.lengths),
            recordings=Recordings(),
            files=self.files,
            observer=self.watch,
        )
        self.host = self.voice.host
        self.hosting.sound = self.host.on_sound
        names = [*programs, "echotest", "voicemail"]
        self.route(*[f"Signal:<{name}@*> = {name}#pbx@{DOMAIN}" for name in names])

    def _stream(self, stream: str) -> list[Any]:
        return self.streams.get(stream, [])

    def _step(self, line: str) -> None:
        self.advance(0.005)  # programs have their turns
        super()._step(line)
        self.advance(0.005)

    def route(self, *lines: str) -> None:
        """Replace the Router table."""
        table = RouterTableSet(table=SERVER_TABLE, text="\n".join(lines) + "\n")
        self.directory.apply(SERVER_STREAM, table)

    def configured(self, account: str, *events: Event) -> None:
        """Events of an account's configuration, which programs may read."""
        name, _, domain = account.partition("@")
        stream = f"account/{account}"
        held = self.streams.setdefault(
            stream, [SimpleNamespace(event=AccountCreated(name=name, domain=domain))]
        )
        held += [SimpleNamespace(event=event) for event in events]
        self.voice.configured(stream)

    def rights(self, account: str, *codes: str) -> None:
        """What an account may administrate."""
        self.configured(account, AccountRightsSet(rights=codes))

    def preferences(self, account: str, **values: Any) -> None:
        """Set preferences of an account."""
        self.configured(account, AccountSettingsChanged(section="prefs", values=values))

    def press(self, digits: str, carrier: str = "rtp", *, session: int = 0) -> None:
        """The telephone of a hosted session presses keys."""
        name = list(self.hosting.hosted)[session]
        for digit in digits:
            event = {"event": "digit", "digit": digit, "carrier": carrier, "call-id": name}
            self.host.on_sound(event, self.now)
            self.advance(0.005)

    def asked_media(self) -> list[str]:
        """Commands to the media service since the last time."""
        commands, self.hosting.commands = self.hosting.commands, []
        return commands

    def end(self, expected: str = "") -> None:
        """Nothing may be left: no task, no line, no session."""
        self.advance(0.01)
        assert self.host.statistics() == dict.fromkeys(self.host.statistics(), 0)
        assert self.hosting.hosted == {}
        super().end(expected)
