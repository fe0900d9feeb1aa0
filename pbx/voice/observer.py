"""What tasks do, as events: the :class:`~pbx.script.runtime.ports.Observer` of a server.

Fed by the node of tasks; feeds the writer of the log, and the log of the server (lines of
``SysLog``, messages about tasks). Nothing here waits, and nothing that goes wrong here ends a task.

What a program plays is not written, as it would be most of the log; prompts are named where the
caller chose or left.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from pbx.calls.journal import Journal
from pbx.calls.ports import LogPort
from pbx.domain import applications as a
from pbx.eventlog import Meta
from pbx.kernel.clock import Clock
from pbx.kernel.events import Event
from pbx.script.events import SystemEvent, event_is
from pbx.script.machine import Failed
from pbx.script.requests import realtime as rt
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.task import Mode, Task
from pbx.script.values import Dictionary, TaskHandle, Value, text_of
from pbx.voice.choices import Choice, Choices

log = logging.getLogger("pbx.program")

MAX_STACK: Final = 25
"""All that the machine shows of a deep stack, and its remark about the rest."""
MAX_TEXT_CHARS: Final = 500
"""Of a target or a message."""
MAX_ACTIONS: Final = 200
"""Actions and inputs of one task that are written; a program that rings for ever must not fill the
log. The end is always written."""

_ACTIONS: Final[dict[type[HostRequest], str]] = {
    rt.StartCall: "call",
    rt.StartBridgedCall: "call",
    rt.StartMixedCall: "call",
    rt.StartTransferCall: "call",
    rt.TransferCall: "transfer",
    rt.StartTransfer: "transfer",
    rt.RedirectCall: "redirect",
    rt.ForkCall: "fork",
    rt.RejectCall: "reject",
    rt.StartBridge: "bridge",
    rt.Record: "record",
    rt.Disconnect: "disconnect",
}
_ENDS_CALL: Final = frozenset({"redirect", "reject", "disconnect", "transfer"})
"""After these the peer is gone because the program wanted it."""


@dataclass(slots=True)
class _Story:
    """One task."""

    meta: Meta
    began_s: float
    call_id: str
    choices: Choices
    version: int = 0
    answered: bool = False
    had_peer: bool = False
    peer_left: bool = False
    sent_away: bool = False
    inputs: int = 0
    written: int = 0
    lost: int = 0


class EventObserver:
    """See the module. One instance a server, used on the thread of the tasks."""

    def __init__(self, writer: LogPort, clock: Clock, *, choices: bool = True) -> None:
        """`choices`: menu choices are written (``privacy.menu_choices``)."""
        self._writer = writer
        self._clock = clock
        self._choices = choices
        self._stories: dict[str, _Story] = {}
        self._journal: Journal | None = None
        self._actor = ""

    @contextlib.contextmanager
    def of_call(self, journal: Journal) -> Iterator[None]:
        """Tasks that start meanwhile belong to the call of this journal."""
        before, self._journal = self._journal, journal
        try:
            yield
        finally:
            self._journal = before

    @contextlib.contextmanager
    def by(self, actor: str) -> Iterator[None]:
        """Tasks that start or end meanwhile do so because of this administrator."""
        before, self._actor = self._actor, actor
        try:
            yield
        finally:
            self._actor = before

    def statistics(self) -> dict[str, int]:
        """How many tasks are watched."""
        return {"tasks": len(self._stories)}

    # The port.

    def started(self, task: Task, parent: Task | None) -> None:
        """See the port."""
        above = None if parent is None else self._stories.get(parent.task_id)
        call_id = above.call_id if above is not None else ""
        cause = a.SPAWN if parent is not None else a.COMMAND
        journal = self._journal if parent is None else None
        if journal is not None:
            call_id, cause = journal.stream.partition("/")[2], a.CALL
        meta = Meta(
            actor=self._actor or (task.account or ""),
            correlation=call_id or task.task_id,
            causation=above.meta.correlation if above is not None and not call_id else "",
            tenant=task.domain or "",
        )
        if parent is not None and above is not None:
            spawned = a.ApplicationSpawned(task_id=task.task_id, elapsed_ms=self._elapsed_ms(above))
            self._write_some(parent, above, spawned)
        story = _Story(meta, self._clock.monotonic(), call_id, Choices(self._choices))
        story.had_peer = task.mode is not Mode.DISCONNECTED
        self._stories[task.task_id] = story
        self._write(
            task,
            a.ApplicationStarted(
                task_id=task.task_id,
                program=task.program_name,
                account=task.account or "",
                cause=cause,
                call_id=call_id,
                parent="" if parent is None else parent.task_id,
                language=task.language or "",
            ),
        )
        if journal is not None:
            journal.write(
                a.ApplicationAttached(
                    task_id=task.task_id,
                    program=task.program_name,
                    account=task.account or "",
                    elapsed_ms=journal.elapsed_ms(self._clock.monotonic()),
                )
            )

    def ended(self, task: Task, reason: str, failure: Failed | None) -> None:
        """See the port."""
        story = self._stories.get(task.task_id)
        if story is None:
            return
        self._input(task, story, story.choices.flush())
        at = self._elapsed_ms(story)
        if failure is not None:
            self._write(task, _failed(failure, at))
            where = failure.stack[0] if failure.stack else None
            place = f" at {where.source}:{where.line}" if where is not None else ""
            log.error("%s (%s) failed%s: %s", task.program_name, task.task_id, place, failure)
        ended_by = "program"
        if reason in ("exception", "killed"):
            ended_by = "server"
        elif story.peer_left:
            ended_by = "caller"
        if self._actor and self._actor != story.meta.actor:
            story.meta = msgspec.structs.replace(story.meta, actor=self._actor)
        self._write(
            task,
            a.ApplicationEnded(
                reason=reason,
                ended_by=ended_by,
                menu=story.choices.last,
                choices=story.inputs,
                elapsed_ms=at,
            ),
        )
        if story.lost:
            log.warning("%s: %d actions were not written", task.task_id, story.lost)
        del self._stories[task.task_id]

    def input_read(self, task: Task, kind: Literal["digit", "event"], value: Value) -> None:
        """See the port."""
        story = self._stories.get(task.task_id)
        if story is None:
            return
        self._look(task, story)
        if kind == "digit" and isinstance(value, bytes):
            story.choices.digit(text_of(value), _position(task))
        elif event_is(value, SystemEvent.DISCONNECT) and not story.sent_away:
            story.peer_left = True

    def requested(self, task: Task, request: HostRequest) -> None:
        """See the port."""
        story = self._stories.get(task.task_id)
        if story is None:
            return
        self._look(task, story)
        if isinstance(request, rt.PlayFile | rt.PlayFileInLoop) and task.can_play:
            self._input(task, story, story.choices.played(request.name))
            return
        if isinstance(request, rt.PlayFile | rt.PlayFileInLoop | rt.Play | rt.PlayInLoop):
            self._input(task, story, story.choices.flush())
            return
        action = _ACTIONS.get(type(request))
        if action is None:
            return
        self._input(task, story, story.choices.flush())
        if action in _ENDS_CALL and task.mode is not Mode.DISCONNECTED:
            story.sent_away = True
        self._write_some(
            task,
            story,
            a.ApplicationActed(
                action=action,
                target=_target(request),
                source=_position(task),
                elapsed_ms=self._elapsed_ms(story),
            ),
        )

    def logged(self, task: Task, text: str) -> None:
        """See the port: the text is the program's own and goes to the log of the server only."""
        log.info("%s (%s): %s", task.program_name, task.task_id, text)

    # Parts.

    def _look(self, task: Task, story: _Story) -> None:
        """The mode of a task changes without a word; the first look tells."""
        if task.mode is Mode.CONNECTED:
            if not story.answered:
                story.answered = True
                self._write(task, a.ApplicationAnswered(elapsed_ms=self._elapsed_ms(story)))
            story.sent_away = False
        if task.mode is not Mode.DISCONNECTED:
            story.had_peer = True
        elif story.had_peer and not story.sent_away:
            story.peer_left = True

    def _input(self, task: Task, story: _Story, done: Choice | None) -> None:
        if done is None:
            return
        story.inputs += 1
        self._write_some(
            task,
            story,
            a.ApplicationInput(
                menu=done.menu,
                choice=done.choice,
                digits=done.digits,
                source=done.source,
                elapsed_ms=self._elapsed_ms(story),
            ),
        )

    def _write_some(self, task: Task, story: _Story, event: Event) -> None:
        if story.written >= MAX_ACTIONS:
            story.lost += 1
            return
        story.written += 1
        self._write(task, event)

    def _write(self, task: Task, event: Event) -> None:
        story = self._stories[task.task_id]
        story.version += 1
        stream = a.application_stream(task.task_id)
        self._writer.observe(stream, story.version, event, story.meta)

    def _elapsed_ms(self, story: _Story) -> int:
        return int((self._clock.monotonic() - story.began_s) * 1000 + 0.5)


def _position(task: Task) -> str:
    frame = task.machine.position()
    return "" if frame is None else f"{frame.source}:{frame.line}"


def _failed(failure: Failed, elapsed_ms: int) -> a.ApplicationFailed:
    innermost = failure.stack[0] if failure.stack else None
    return a.ApplicationFailed(
        message=failure.message[:MAX_TEXT_CHARS],
        file="" if innermost is None else innermost.source,
        line=0 if innermost is None else innermost.line,
        column=0 if innermost is None else innermost.column,
        section="" if innermost is None else innermost.section,
        stack=tuple(
            f"{one.source}:{one.line} in {one.section}" if one.source else one.section
            for one in failure.stack[:MAX_STACK]
        ),
        limit=failure.limit,
        elapsed_ms=elapsed_ms,
    )


def _target(request: HostRequest) -> str:
    """Where an action leads, as far as it says so; passwords and headers of a call do not."""
    for name in ("destination", "targets", "task", "code"):
        value: Any = getattr(request, name, None)
        if value is not None:
            return _text(value)[:MAX_TEXT_CHARS]
    return ""


def _text(value: Value | str) -> str:
    match value:
        case str():
            return value
        case bytes():
            return text_of(value)
        case int():
            return str(value)
        case list():
            return ", ".join(_text(one) for one in value[:10])
        case Dictionary():
            found = value.get(b"") or value.get(b"responseCode")
            return "" if found is None else _text(found)
        case TaskHandle(task_id):
            return task_id
        case _:
            return ""
