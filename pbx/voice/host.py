"""Runs programs for calls: tasks on one side, call control and the media service on the other.

Implements :class:`~pbx.calls.ports.ApplicationPort`. Sans-I/O: time and identities come from the
signalling node, media by NG messages, files through ports; the signal role and the simulator run
the same host. Programs get bounded turns on the node's timers, so that no program delays a call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from pbx.calls import cause
from pbx.calls.call import CallState
from pbx.calls.cause import EndedBy
from pbx.script.conversion import from_python
from pbx.script.environment import FilePort
from pbx.script.limits import Limits
from pbx.script.runtime.node import TaskNode
from pbx.script.runtime.ports import Observer, Services, StartProblem
from pbx.script.values import Data, Dictionary, Value
from pbx.voice.inquiries import caller_request
from pbx.voice.line import Finished, Line
from pbx.voice.outgoing import uri_of
from pbx.voice.port import VoicePort
from pbx.voice.session import TAG, HostingPort, Session
from pbx.voice.wiring import Wiring, ears
from sip.errors import RemoteProtocolError
from sip.uri import parse_uri

if TYPE_CHECKING:
    from media.ng.client import NgReply
    from pbx.calls.call import Call
    from pbx.calls.node import SignalNode
    from pbx.calls.ports import Application, ApplicationBranch
    from pbx.calls.timers import Timer
    from pbx.script.runtime.task import Task
    from pbx.voice.playing import Playing, Recording

log = logging.getLogger("pbx.voice")

Story: TypeAlias = "Callable[[Call], AbstractContextManager[None]]"
"""What is started meanwhile belongs to the call."""

DEFAULT_PROGRAM: Final = "pbx"
"""What ``#account`` without a name means (PBX applications reference §1.1)."""
TURNS: Final = 25
"""Turns of tasks in a row; then what waits on the network has its turn."""
TURNS_S: Final = 0.004
"""The same as time: a turn has at most some ten thousand steps of a program."""
MAX_MESSAGE_BYTES: Final = 1300
"""Of an instant message: larger ones do not fit into a datagram (RFC 3428 §8)."""
MAX_MESSAGE_CONTACTS: Final = 10
MAX_NOTE_CHARS: Final = 500
MAX_ANCESTORS: Final = 16
"""Tasks that spawned each other, as far as they are looked at."""
PAUSE_S: Final = 0.001
"""Between two rows of turns."""


def no_story(call: Call) -> AbstractContextManager[None]:
    """Nobody writes down which call a program was started for."""
    return nullcontext()


class SoundStore(Protocol):
    """Where sounds lie that the media service shall play."""

    def name_of(self, data: bytes) -> str:
        """The name under which the media service finds this file."""
        ...


class RecordingStore(Protocol):
    """Where the media service leaves recordings."""

    def file_of(self, name: str) -> str:
        """The file that a recording is to be written to, as the media service knows it."""
        ...

    def take(self, name: str) -> bytes | None:
        """Read a complete recording and forget it; None if it is not there or too long."""
        ...


class ApplicationHost:
    """See the module. One a signalling node; made by the composition root."""

    def __init__(
        self,
        node: SignalNode,
        media: HostingPort,
        *,
        files: FilePort,
        services: Services,
        observer: Observer,
        entropy: Random,
        sounds: SoundStore,
        recorded: RecordingStore,
        limits: Limits | None = None,
        real_name: Callable[[str], str] = lambda account: "",
        story: Story = no_story,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        """`real_name` gives an account's own name, empty if it has none; a program starts for a
        call within `story` of that call; `new_id` makes ids of tasks."""
        self.node = node
        self.media = media
        self.sounds = sounds
        self.recorded = recorded
        self.lines: dict[str, Line] = {}
        """By task id."""
        self.playing: dict[str, Playing] = {}
        """By task id."""
        self.sounds_by_name: dict[str, Playing] = {}
        """The same by the names that events of the media service tell."""
        self.recordings: dict[str, Recording] = {}
        """By task id."""
        self.recordings_by_name: dict[str, Recording] = {}
        self.wiring = Wiring(self)
        self.port = VoicePort(self)
        self._real_name = real_name
        self._entropy = entropy
        self._story = story
        self._sessions: dict[str, Line] = {}
        self._branches: dict[int, Line] = {}
        self._pump_timer: Timer | None = None
        self._deadline_timer: Timer | None = None
        self._deadline_s = 0.0
        self._serial = 0
        self.tasks = TaskNode(
            files=files,
            calls=self.port,
            services=services,
            observer=observer,
            clock=node.clock,
            entropy=entropy,
            new_id=new_id or (lambda: node.new_id(node.clock.wall_ns())),
            limits=limits,
        )

    # -- for administrators and for other parts of the server

    def start_task(
        self,
        account: str,
        program: str,
        *,
        entry: str = "main",
        parameter: Value = None,
        name: str | None = None,
    ) -> str:
        """Start a program without a call; gives the task's id. Raises ``StartProblem``."""
        task = self.tasks.start(
            (program or DEFAULT_PROGRAM).lower(),
            account=account,
            entry=entry.lower(),
            parameter=parameter,
            name=name,
        )
        self.wake(self.node.now())
        return task.task_id

    def send_event(self, task_id: str, name: str, parameter: Value = None) -> str | None:
        """An event for a task; an error, or None."""
        error = self.tasks.send_event(task_id, name, parameter)
        self.wake(self.node.now())
        return error

    def kill(self, task_id: str) -> bool:
        """End a task. Returns whether there was one."""
        killed = self.tasks.kill(task_id)
        self.wake(self.node.now())
        return killed

    def status(self, task_id: str) -> Value:
        """What a task has said of itself; None also when there is no such task."""
        task = self.tasks.tasks.get(task_id)
        return None if task is None else self.tasks.copied(task.status)

    def task(self, task_id: str) -> Task | None:
        """A running task."""
        return self.tasks.tasks.get(task_id)

    def named(self, name: str) -> Task | None:
        """The running task of a name."""
        return next((one for one in self.tasks.tasks.values() if one.name == name), None)

    def call_of(self, task_id: str) -> str:
        """Id of the call that a task is a party of; empty if there is none."""
        line = self.lines.get(task_id)
        leg = line.leg if line is not None else None
        return leg.call.id if leg is not None else ""

    def statistics(self) -> dict[str, int]:
        """Table sizes; all are 0 when no task runs."""
        return {
            "tasks": len(self.tasks.tasks),
            "lines": len(self.lines),
            "sessions": len(self._sessions),
            "queued": self.tasks.rendezvous.queued(),
            "playing": len(self.playing),
            "recordings": len(self.recordings),
            "names": len(self.sounds_by_name) + len(self.recordings_by_name),
        }

    # -- ApplicationPort

    def start(
        self, application: Application, call: Call, branch: ApplicationBranch, now: float
    ) -> str:
        """Run a program for a call."""
        if not self.media.hosts:
            return "programs need this server's own media service (media.engine = local)"
        source, _ = branch.source()
        if application.task and self.named(application.task) is not None:
            why = f"the task {application.task} has a call"
            self.later(lambda later: branch.failed(486, why, later), now)
            return ""
        given = application.parameters
        parameter = None if given is None else from_python(list(given))
        try:
            with self._story(call):
                task = self.tasks.start(
                    (application.name or DEFAULT_PROGRAM).lower(),
                    account=application.account,
                    parameter=parameter,
                    incoming=True,
                    name=application.task or None,
                )
        except StartProblem as problem:
            status, text = problem.status, str(problem)
            log.warning("%s for call %s: %s", application.text, call.id, text)
            first = text.partition("\n")[0]
            self.later(lambda later: branch.failed(status, first, later), now)
            return ""
        request = caller_request(source)
        call_id = request.call_id if request is not None else self.new_call_id()
        line = Line(
            self, task, "uac", f"{call_id}.{self.new_tag()}", (self.new_tag(), self.new_tag())
        )
        line.invite = request
        line.redirector = application.redirector
        line.dialled = application.request_uri
        line.caller_account = branch.account
        if request is not None:
            line.local_uri, line.remote_uri = request.from_.uri_text, request.to.uri_text
        line.branch = branch
        line.leg = branch.enter(line, now)
        self.lines[task.task_id] = line
        self.wake(now)
        return ""

    def cancel(self, branch: ApplicationBranch, now: float) -> None:
        """The branch's leg has told its line already."""

    def media_timed_out(self, session: str, now: float) -> None:
        line = self._sessions.get(session)
        if line is None:
            return
        if line.session is not None:
            line.session.forgotten()
        leg = line.leg
        if leg is None or not leg.alive:
            return
        call = leg.call
        if call.state is CallState.ANSWERED and call.bridge is not None:
            call.on_media_timeout(call.bridge, now)
        else:
            call.finish(cause.failure(480, EndedBy.SERVER, "media timeout"), now)
        self.wake(now)

    def media_restarted(self, now: float) -> None:
        """Sounds and recordings are lost; call control then joins each leg anew."""
        for line in list(self._sessions.values()):
            if line.session is not None:
                line.session.forgotten()
        for playing in list(self.playing.values()):
            playing.finished(now)
        for recording in list(self.recordings.values()):
            self.recorded_as(recording, None, now)
        self.wake(now)

    # -- the media service

    def on_sound(self, event: Mapping[str, Any], now: float) -> None:
        """An event about a hosted party or a conference."""
        kind = event.get("event")
        if kind == "digit":
            line = self._sessions.get(str(event.get("call-id", "")))
            if line is not None:
                self._digit(line, str(event.get("digit", "")), str(event.get("carrier", "")), now)
        elif kind == "play-finished":
            name = str(event.get("name", ""))
            playing = self.sounds_by_name.get(name)
            if playing is not None and event.get("reason") in ("end", "codec"):
                playing.finished(now)
        elif kind == "recording-finished":
            name = str(event.get("name", ""))
            data = self.recorded.take(name)
            recording = self.recordings_by_name.get(name)
            if recording is not None:
                self.recorded_as(recording, data, now)
        self.wake(now)

    def _digit(self, line: Line, digit: str, carrier: str, now: float) -> None:
        """A press. Programs do not look at the sound of two telephones that they have joined: only
        INFO is theirs (CG/PL reference §10.2), everything else goes through."""
        mate = line.joined
        if mate is None or carrier == "info":
            self.tasks.digit(line.task, digit)
            return
        for _ in range(8):
            if mate.session is not None:
                if carrier == "rtp":
                    mate.session.command("dtmf", now, digits=digit)
                return
            inner = mate.inner
            if inner is None:
                return
            if inner.joined is None:
                self.tasks.digit(inner.task, digit)
                return
            mate = inner.joined

    def recorded_as(self, recording: Recording, data: bytes | None, now: float) -> None:
        """A recording is complete, or lost."""
        self.drop_recording(recording)
        self.tasks.recorded(recording.task, None if data is None else Data(data))
        self.wake(now)

    def drop_recording(self, recording: Recording) -> None:
        """Nobody waits for it."""
        if recording.timer is not None:
            recording.timer.cancel()
        self.recordings_by_name.pop(recording.name, None)
        if self.recordings.get(recording.task.task_id) is recording:
            del self.recordings[recording.task.task_id]

    def new_session(self, line: Line) -> Session:
        """A session for a line."""
        session = Session(self.media, f"v{self.node.new_id(self.node.clock.wall_ns())}")
        self._sessions[session.id] = line
        return session

    def forget_session(self, session: Session) -> None:
        """Its events are nobody's any more."""
        self._sessions.pop(session.id, None)

    def command_room(
        self,
        room: str,
        command: str,
        keys: Mapping[str, Any],
        now: float,
        done: Callable[[NgReply, float], None],
    ) -> None:
        """A command about a whole conference."""
        self.media.host(room, {"command": command, "conference": room, **keys}, now, done)

    def send_message(self, sender: str, to: str, content: Value) -> str | None:
        """MESSAGE (RFC 3428) from an account; nobody waits for the answers."""
        body = content.get(b"") if isinstance(content, Dictionary) else content
        if not isinstance(body, bytes) or not body or len(body) > MAX_MESSAGE_BYTES:
            return f"a message is a string of {MAX_MESSAGE_BYTES} bytes at most"
        node = self.node
        uri = uri_of(to.partition("/")[0], sender.partition("@")[2])
        try:
            route = node.router.route(parse_uri(uri), sender)
        except RemoteProtocolError:
            return f"{to} is no address"
        now = node.now()
        for contact in route.contacts[:MAX_MESSAGE_CONTACTS]:
            node.engine.request(
                "MESSAGE",
                contact.uri,
                to=f"<{uri}>",
                from_=f"<sip:{sender}>",
                now=now,
                body=body,
                content_type="text/plain",
                target=contact.target,
                route=contact.path,
            )
        return None if route.contacts else route.reason

    def note_in_call(self, task: Task, outcome: str, text: str) -> None:
        """Something that a program says of its call, kept in the call's story."""
        line = self.lines.get(task.task_id)
        leg = line.leg if line is not None else None
        if leg is not None and leg.call.state is not CallState.ENDED:
            clean = "".join(char if char.isprintable() else " " for char in text[:MAX_NOTE_CHARS])
            leg.call.decided("application", outcome, clean, self.node.now())
        else:
            self.tasks.observer.logged(task, f"{outcome} {text[:MAX_NOTE_CHARS]}")

    # -- what lines and the port use

    def ears(self, task: Task) -> Line | str | None:
        """Who hears what a task plays."""
        if task.legs:
            return f"mixer-{task.task_id}"
        line = self.lines.get(task.task_id)
        return None if line is None else ears(line)

    def join(self, one: Line, other: Line, now: float, done: Finished) -> None:
        """Bring the peers of two tasks together; a pending call is answered by that."""

        def first(error: str | None, later: float) -> None:
            if error is not None:
                done(error, later)
            else:
                other.pick_up(later, second)

        def second(error: str | None, later: float) -> None:
            if error is None and (one.closed or other.closed):
                error = "487-Request Terminated"
            if error is None:
                self.wiring.join(one, other, later)
            done(error, later)

        one.pick_up(now, first)

    def line_closed(self, line: Line, now: float) -> None:
        """A line lets go."""
        self.wiring.closed(line, now)
        if self.lines.get(line.task.task_id) is line:
            del self.lines[line.task.task_id]
        playing = self.playing.get(line.task.task_id)
        if playing is not None and not line.task.legs:
            playing.dropped()

    def counts_already(self, task: Task, account: str) -> bool:
        """Whether a call that led to this task is counted for the account."""
        current: Task | None = task
        for _ in range(MAX_ANCESTORS):
            if current is None:
                return False
            line = self.lines.get(current.task_id)
            leg = line.leg if line is not None else None
            if leg is not None and account in leg.call.counted:
                return True
            current = self.tasks.tasks.get(current.parent or "")
        return False

    def real_name(self, account: str | None) -> str:
        """An account's own name."""
        return self._real_name(account) if account else ""

    def new_name(self) -> str:
        """Of a sound or recording; unique on this node and unlike those of other runs."""
        self._serial += 1
        return f"{self._entropy.getrandbits(48):012x}-{self._serial}"

    def new_call_id(self) -> str:
        """A Call-ID."""
        return f"{self._entropy.getrandbits(96):024x}@voice"

    def new_tag(self) -> str:
        """A tag."""
        return f"{self._entropy.getrandbits(64):016x}"

    # -- turns

    def later(self, act: Callable[[float], None], now: float) -> None:
        """Do something once whoever runs now is done."""
        self.node.timers.call_at(now, act)

    def wake(self, now: float) -> None:
        """Something happened to tasks: they get their turns."""
        if self.tasks.ready:
            if self._pump_timer is None:
                self._pump_timer = self.node.timers.call_at(now, self._turns)
        else:
            self._watch_deadline()

    def _turns(self, now: float) -> None:
        self._pump_timer = None
        clock = self.node.clock
        began = clock.monotonic()
        more = True
        for _ in range(TURNS):
            try:
                more = self.tasks.pump()
            except Exception:
                log.exception("a program met a defect of this server and was ended")
                more = self.tasks.ready
            if not more or clock.monotonic() - began > TURNS_S:
                break
        if more:
            self._pump_timer = self.node.timers.call_at(now + PAUSE_S, self._turns)
        self._watch_deadline()

    def _watch_deadline(self) -> None:
        due = self.tasks.deadline()
        timer = self._deadline_timer
        if timer is not None and due is not None and self._deadline_s <= due:
            return  # firing early does no harm
        if timer is not None:
            timer.cancel()
            self._deadline_timer = None
        if due is None:
            return
        self._deadline_s = due
        self._deadline_timer = self.node.timers.call_at(due, self._advance)

    def _advance(self, now: float) -> None:
        self._deadline_timer = None
        self.tasks.advance()
        self.wake(now)


__all__ = ["DEFAULT_PROGRAM", "TAG", "ApplicationHost", "RecordingStore", "SoundStore"]
