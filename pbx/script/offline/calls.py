"""Simulated telephones: the :class:`~pbx.script.runtime.ports.CallPort` of offline runs.

Each task has at most one :class:`Line`; behind it is a simulated person that acts when the program
listens, plays or records. Time is the run's virtual clock; nothing here is random.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pbx.script.conversion import from_python
from pbx.script.limits import Limits, Meter
from pbx.script.offline.files import silence_wav, wav_milliseconds
from pbx.script.offline.scenario import Action, ActionKind, Party, Scenario
from pbx.script.requests import realtime
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import Answer, Sound
from pbx.script.runtime.surroundings import address_of
from pbx.script.runtime.task import Task, WaitKind
from pbx.script.textform import object_to_text, parse_address
from pbx.script.values import Data, Dictionary, Value, string_of, text_of, yes

if TYPE_CHECKING:
    from pbx.script.runtime.node import TaskNode

DEFAULT_ALERTING_S: Final = 180.0
"""How long a call of a task rings when ``Expires`` does not say so."""
REACTION_S: Final = 0.5
"""How long a simulated person takes to press a key."""
_LISTENING: Final = (WaitKind.INPUT, WaitKind.DIGIT, WaitKind.DIGIT_THERE)


@dataclass(slots=True)
class Line:
    """The telephone at the other end of a task's call."""

    party: Party
    label: str
    todo: list[Action] = field(default_factory=list)
    up: bool = False
    gone: bool = False
    acting: int = 0
    """Bumped to withdraw a step that was planned."""
    playing_since_s: float | None = None
    playing: Sound | None = None
    recording_since_s: float | None = None
    uri: str = ""
    real_name: str | None = None


class OfflineCalls:
    """See the module."""

    def __init__(
        self,
        scenario: Scenario,
        now: Callable[[], float],
        tell: Callable[[str, str, str], None],
        label: Callable[[Task], str],
    ) -> None:
        self.node: TaskNode
        self._scenario = scenario
        self._now = now
        self._tell = tell
        self._label = label
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self.lines: dict[str, Line] = {}
        """By task id."""
        self.requests: list[tuple[str, HostRequest]] = []
        """Requests about the peer that need no simulation, as (task label, request)."""

    # The agenda.

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something so many virtual seconds from now."""
        self._sequence += 1
        heapq.heappush(self._agenda, (self._now() + seconds, self._sequence, action))

    def next_time(self) -> float | None:
        """When something is planned next."""
        return self._agenda[0][0] if self._agenda else None

    def run_due(self) -> None:
        """Do what is due."""
        while self._agenda and self._agenda[0][0] <= self._now():
            heapq.heappop(self._agenda)[2]()

    def connect_caller(self, task: Task, party: Party) -> None:
        """A call comes in for a task."""
        line = Line(party, "caller", list(party.actions))
        self.lines[task.task_id] = line
        name = f" ({party.name})" if party.name else ""
        dialled = party.dialled or f"sip:{task.program_name}@{task.domain}"
        self._tell("caller", "call", f"{party.uri}{name} calls {dialled}")
        self._plan(task, line)

    # What people do.

    def listening(self, task: Task) -> None:
        """The task waits for something now: maybe its peer has something to do."""
        line = self.lines.get(task.task_id)
        if line is not None and line.up and line.acting == 0:
            self._plan(task, line)

    def _plan(self, task: Task, line: Line) -> None:
        if not line.todo or line.gone or line.acting:
            return
        action = line.todo[0]
        delay = 0.0
        match action.kind:
            case ActionKind.PRESS:
                # Listens to the end of the prompt; presses when the program waits for a key.
                if task.wait is None or task.wait.kind not in (*_LISTENING, WaitKind.RECORD):
                    return
                delay = REACTION_S
            case ActionKind.WAIT | ActionKind.SPEAK:
                delay = action.seconds
            case ActionKind.TIME_OUT:
                if task.wait is None or task.wait.kind not in _LISTENING:
                    return
                deadline = task.wait.deadline_s
                delay = 0.0 if deadline is None else max(0.0, deadline - self._now()) + 0.001
            case ActionKind.PRESS_NOW | ActionKind.HANG_UP:
                pass
        line.acting += 1
        self.at(delay, lambda: self._act(task, line, action))

    def _act(self, task: Task, line: Line, action: Action) -> None:
        line.acting = 0
        if line.gone or not line.todo or line.todo[0] is not action:
            return
        line.todo.pop(0)
        match action.kind:
            case ActionKind.PRESS | ActionKind.PRESS_NOW:
                self._tell(line.label, "press", f"presses {action.digit}")
                self.node.digit(task, action.digit)
            case ActionKind.SPEAK:
                self._tell(line.label, "speak", f"has spoken for {action.seconds:g} s")
            case ActionKind.HANG_UP:
                self._hang_up(task, line)
                return
            case ActionKind.WAIT | ActionKind.TIME_OUT:
                pass
        self._plan(task, line)

    def _hang_up(self, task: Task, line: Line) -> None:
        if not line.gone:
            line.gone = True
            self._tell(line.label, "hang up", "hangs up" if line.up else "gives up")
            self.node.peer_gone(task)
            self._silence(line)

    def hang_up_all(self) -> None:
        """The time of the run is over: everybody hangs up."""
        for task_id, line in list(self.lines.items()):
            task = self.node.tasks.get(task_id)
            if task is not None and not line.gone and (line.up or line.label == "caller"):
                self._hang_up(task, line)

    def _silence(self, line: Line) -> None:
        line.playing = None
        line.playing_since_s = None
        line.recording_since_s = None

    # The port: incoming calls.

    def _line(self, task: Task) -> Line:
        return self.lines[task.task_id]

    def accept(self, task: Task) -> None:
        line = self._line(task)
        who = self._label(task)
        if not line.party.codecs:
            self._tell(who, "reject", "rejects the call: 488 Not Acceptable Here")
            line.gone = True
            self.node.accepted(task, "488-Not Acceptable Here")
            return
        line.up = True
        self._tell(who, "answer", "answers: 200 OK")
        self.node.accepted(task, None)
        self._plan(task, line)

    def provision(self, task: Task, parameters: Dictionary) -> None:
        media = parameters.get(b"media") is not None
        code = parameters.get(b"responseCode")
        code = code if isinstance(code, int) else 180
        early = " with early media" if media else ""
        self._tell(self._label(task), "provision", f"sends {code}{early}")
        self.node.provisioned(task, None, media=media)

    def reject(self, task: Task, code: int, text: str, reason: tuple[int, str] | None) -> None:
        self._line(task).gone = True
        words = f" {text}" if text else ""
        self._tell(self._label(task), "reject", f"rejects the call: {code}{words}")

    def redirect(self, task: Task, targets: list[str]) -> None:
        self._line(task).gone = True
        self._tell(self._label(task), "redirect", f"redirects the call to {', '.join(targets)}")

    def fork(self, task: Task, targets: list[str]) -> None:
        self._tell(self._label(task), "fork", f"forks the call to {', '.join(targets)}")

    # Outgoing calls.

    def _destination(self, uri: str) -> tuple[str, Party | None]:
        address = address_of(uri) or uri.removeprefix("sip:")
        user = address.partition("@")[0]
        wanted = self._scenario.destinations
        return address, wanted.get(uri) or wanted.get(address) or wanted.get(user)

    def start_call(self, task: Task, parameters: Dictionary, media_of: Task | None) -> str | None:
        target = parameters.get(b"")
        assert isinstance(target, bytes)
        uri = text_of(target)
        address, party = self._destination(uri)
        who = self._label(task)
        kind = "calls" if media_of is None else f"calls (media of {self._label(media_of)})"
        sender = parameters.get(b"From")
        as_whom = f" as {text_of(sender)}" if isinstance(sender, bytes) else ""
        self._tell(who, "start call", f"{kind} {uri}{as_whom}")
        if party is None:
            self.at(0.1, lambda: self._final(task, 404, "Not Found", None))
            return None
        line = Line(party, address, list(party.actions))
        line.uri = uri
        self.lines[task.task_id] = line
        token = line
        if party.status == 200 or party.answers_after_s > 0:
            self.at(0.2, lambda: self._ringing(task, token))
        expires = parameters.get(b"Expires")
        patience = float(expires) if isinstance(expires, int) else DEFAULT_ALERTING_S
        if party.answers_after_s > patience:
            self.at(patience, lambda: self._final(task, 408, "Request Timeout", token))
        else:
            text = {200: "OK", 486: "Busy Here", 404: "Not Found", 603: "Declined"}
            words = text.get(party.status, "Failed")
            self.at(party.answers_after_s, lambda: self._final(task, party.status, words, token))
        return None

    def _ringing(self, task: Task, line: Line) -> None:
        if self.lines.get(task.task_id) is line and task.calling and not line.gone:
            self._tell(line.label, "ring", "rings: 180 Ringing")
            self.node.provisional(task, 180, "Ringing")

    def _final(self, task: Task, code: int, text: str, line: Line | None) -> None:
        if not task.calling or task.task_id not in self.node.tasks:
            return
        if line is not None and (self.lines.get(task.task_id) is not line or line.gone):
            return
        label = line.label if line is not None else "network"
        self._tell(label, "response", f"answers: {code} {text}")
        if code != 200 or line is None:
            if line is not None:
                line.gone = True
            self.node.completed(task, f"{code}-{text}")
            return
        line.up = True
        ingress = self.node.tasks.get(task.ingress or "")
        if ingress is not None:
            self._bridge(task, ingress)
        self.node.completed(task, None)
        self._plan(task, line)

    def relay_provisional(self, ingress: Task, egress: Task, code: int, text: str) -> None:
        self._tell(self._label(ingress), "provision", f"passes {code} {text} on")

    def cancel(self, task: Task) -> None:
        line = self.lines.get(task.task_id)
        if line is not None:
            line.gone = True
        self._tell(self._label(task), "cancel", "cancels its call")

    def hang_up(self, task: Task, reason: tuple[int, str] | None) -> None:
        line = self._line(task)
        if not line.gone:
            line.gone = True
            self._silence(line)
            why = f" ({reason[0]} {reason[1]})" if reason else ""
            self._tell(self._label(task), "bye", f"hangs up: BYE to {line.label}{why}")

    # Bridges.

    def _bridge(self, task: Task, other: Task) -> None:
        for one in (task, other):
            line = self._line(one)
            if not line.up:
                line.up = True
                self._tell(self._label(one), "answer", "answers: 200 OK with the other's media")
        pair = f"{self._line(other).label} and {self._line(task).label}"
        self._tell(self._label(task), "bridge", f"joins {pair}")

    def join(self, task: Task, other: Task) -> None:
        self._bridge(task, other)
        self.node.joined(task, other, None)
        self._plan(other, self._line(other))

    def part(self, task: Task) -> None:
        self._tell(self._label(task), "part", f"takes {self._line(task).label} back")
        self.node.parted(task, None)

    def attach(self, task: Task, leg: Task) -> None:
        line = self._line(leg)
        if not line.up:
            line.up = True
            self._tell(self._label(leg), "answer", "answers: 200 OK into a mixer")
        self._tell(self._label(task), "attach", f"takes {line.label} into its mixer")
        self.node.attached(task, leg, None)
        self._plan(leg, line)

    def detach(self, task: Task, leg: Task) -> None:
        label = self.lines[leg.task_id].label
        self._tell(self._label(task), "detach", f"lets {label} out of its mixer")

    def mute(self, task: Task, leg: Task | None, flag: Value) -> None:
        whom = "its own peer" if leg is None else self._line(leg).label
        how = "hears again" if flag is None else text_of(object_to_text(Meter(Limits()), flag))
        self._tell(self._label(task), "mute", f"mixer: {whom}: {how}")

    def transfer(self, task: Task, destination: str) -> None:
        self._refer(task, destination)

    def transfer_to(self, task: Task, other: Task) -> None:
        self._refer(task, self._line(other).label)

    def _refer(self, task: Task, destination: str) -> None:
        line = self._line(task)
        self._tell(self._label(task), "refer", f"REFER {line.label} to {destination}")
        code = line.party.refer
        error = None if code == 200 else f"{code}-Declined"
        outcome = "transfer succeeds" if error is None else f"refuses the transfer: {code}"

        def finish() -> None:
            self._tell(line.label, "transfer", outcome)
            self.node.transferred(task, error)

        self.at(0.5, finish)

    # Media.

    def play(self, task: Task, sound: Sound) -> None:
        line = self.lines.get(task.task_id)
        length = wav_milliseconds(sound.data) if sound.data is not None else 0
        wanted = sound.milliseconds
        if sound.data is None:
            duration: float | None = (wanted or 0) / 1000
        elif wanted is None:
            duration = max(0, length - sound.skip_milliseconds) / 1000
        else:
            duration = wanted / 1000 if length else 0.0
        if wanted is not None and wanted < 0 and (length or sound.data is None):
            duration = None
        how_long = "endlessly" if duration is None else f"for {duration:g} s"
        self._tell(self._label(task), "play", f"plays {sound.name} {how_long}")
        if line is None:
            line = self.lines[task.task_id] = Line(Party("mixer"), "mixer")
        line.playing = sound
        line.playing_since_s = self._now()
        if duration is not None:
            end = int(duration * 1000)
            position = end % length if length and wanted is not None else end
            self.at(duration, lambda: self._played(task, sound, position))
        self._plan(task, line)

    def _played(self, task: Task, sound: Sound, position_ms: int) -> None:
        line = self.lines.get(task.task_id)
        if line is not None and line.playing is sound:
            self._silence(line)
            self.node.played(task, position_ms)

    def stop_playing(self, task: Task) -> int:
        line = self._line(task)
        began, sound = line.playing_since_s, line.playing
        self._silence(line)
        if began is None or sound is None:
            return 0
        position = int((self._now() - began) * 1000)
        length = wav_milliseconds(sound.data) if sound.data is not None else 0
        self._tell(self._label(task), "interrupt", f"{sound.name} is interrupted")
        return position % length if length else position

    def record(self, task: Task, seconds: int) -> None:
        line = self._line(task)
        began = self._now()
        line.recording_since_s = began
        self._tell(self._label(task), "record", f"records, at most {seconds} s")

        def finish() -> None:
            if line.recording_since_s == began:
                self.node.recorded(task, self.stop_recording(task))

        self.at(seconds, finish)
        self._plan(task, line)

    def stop_recording(self, task: Task) -> Data | None:
        line = self._line(task)
        began = line.recording_since_s
        line.recording_since_s = None
        if began is None:
            return None
        milliseconds = int((self._now() - began) * 1000)
        self._tell(self._label(task), "recorded", f"has recorded {milliseconds / 1000:g} s")
        return Data(silence_wav(min(milliseconds, 600_000)))

    # Everything else.

    def perform(self, task: Task, request: HostRequest) -> Answer:
        line = self.lines.get(task.task_id)
        who = self._label(task)
        party = line.party if line is not None and not line.gone else None
        incoming = line is not None and line.label == "caller"
        match request:
            case realtime.RemoteURI():
                return None if party is None or line is None else string_of(line.uri or party.uri)
            case realtime.LocalURI() | realtime.IncomingRequestURI():
                if party is None or not incoming:
                    return None
                return string_of(party.dialled or f"sip:{task.program_name}@{task.domain}")
            case realtime.RemoteRealName():
                return None if party is None or party.name is None else string_of(party.name)
            case realtime.RemoteAuthentication():
                if party is None or not incoming or party.authenticated is None:
                    return None
                return string_of(party.authenticated)
            case realtime.RemoteRedirector():
                if party is None or party.redirector is None:
                    return None
                return string_of(party.redirector)
            case realtime.RemoteIPAddress():
                return None if party is None else parse_address(b"[192.0.2.10]:5060")
            case realtime.PendingRequestData(field):
                return self._request_data(party, field) if incoming else None
            case realtime.PendingRequestExData(field):
                return None if party is None else from_python(party.request.get(field))
            case realtime.TransferSupported():
                return yes(party is not None)
            case realtime.GetPlayDuration(data):
                return wav_milliseconds(data.octets)
            case realtime.WAVLastSilence():
                return 0
            case realtime.SendDTMF(symbol):
                return self._sent(line, who, "dtmf", f"sends the digit {symbol}")
            case realtime.SendCallInfo(parameters):
                text = text_of(object_to_text(Meter(Limits()), parameters))
                return self._sent(line, who, "info", f"sends INFO {text}")
            case realtime.SetLocalHold(flag):
                state = "puts its peer on hold" if flag is not None else "takes its peer back"
                self._tell(who, "hold", state)
                return None
            case _:
                self.requests.append((who, request))
                return None

    def _sent(self, line: Line | None, who: str, what: str, text: str) -> Answer:
        if line is None or not line.up or line.gone:
            return b"500-there is no call"
        self._tell(who, what, f"{text} to {line.label}")
        return None

    def _request_data(self, party: Party | None, field_name: str) -> Value:
        if party is None:
            return None
        if field_name in party.request:
            return from_python(party.request[field_name])
        if field_name in ("From", "To"):
            uri = party.uri if field_name == "From" else party.dialled or ""
            found = Dictionary()
            address = address_of(uri)
            found.set(b"", None if address is None else string_of(address))
            if field_name == "From" and party.name:
                found.set(b"@realName", string_of(party.name))
            return found
        defaults: dict[str, Value] = {
            "Call-ID": b"offline-1@example.org",
            "Max-Forwards": 70,
            "CSeq": 1,
        }
        return defaults.get(field_name)
