"""Sounds and recordings of a task (CG/PL reference §11.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pbx.script.requests import realtime
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import PENDING, Answer, Sound
from pbx.script.runtime.task import Task, WaitKind
from pbx.script.values import YES, Data, Dictionary, Value, string_of, yes

if TYPE_CHECKING:
    from pbx.script.runtime.node import TaskNode

MAX_RECORD_S: Final = 3600
MAX_TONE_HZ: Final = 20000
OPTIONS: Final[dict[str, Value]] = {
    "preplay": 200,
    "mixerDelay": 60,
    "inputSilenceLevel": 0,
    "skipSilence": 0,
    "mixMOH": 0,
}
"""Media options and their defaults: milliseconds, levels and flags."""


class Media:
    """Part of the node; see the module."""

    def __init__(self, node: TaskNode) -> None:
        self._node = node

    def handlers(self) -> dict[type[HostRequest], Callable[[Task, Any], Answer]]:
        """What this part answers."""
        return {
            realtime.PlayFile: self._play_file,
            realtime.PlayFileInLoop: self._play_file,
            realtime.Play: self._play_data,
            realtime.PlayInLoop: self._play_data,
            realtime.PlayTone: self._play_tone,
            realtime.IsPlayCompleted: lambda task, _: yes(task.play_completed),
            realtime.GetPlayPosition: lambda task, _: task.play_position_ms,
            realtime.SetPlayPosition: self._skip,
            realtime.Record: self._record,
            realtime.MediaOption: self._option,
            realtime.MediaChannelOption: self._option,
            realtime.MixerDelay: lambda task, asked: self._set(task, "mixerDelay", asked.value),
            realtime.MixerThreshold: lambda task, asked: self._set(
                task, "inputSilenceLevel", asked.value
            ),
            realtime.ReleaseMediaChannel: self._release,
        }

    def _silenced(self, task: Task) -> bool:
        return (bool(task.digits) and task.interruptible) or bool(task.events) or not task.can_play

    def _play(self, task: Task, sound: Sound) -> Answer:
        task.play_position_ms = 0
        task.play_completed = False
        if self._silenced(task) or sound.milliseconds == 0:
            return None
        self._node.suspend(task, WaitKind.PLAY)
        self._node.calls.play(task, sound)
        return PENDING

    def _play_file(
        self, task: Task, request: realtime.PlayFile | realtime.PlayFileInLoop
    ) -> Answer:
        skip, task.skip_ms = task.skip_ms, 0
        found = task.files.find_media(request.name, task.language)
        if found is None:
            self._node.observer.logged(task, f"there is no media file {request.name}")
            task.play_position_ms = 0
            task.play_completed = False
            return None
        sound = Sound(
            found.name,
            found.data,
            milliseconds=request.milliseconds,
            skip_milliseconds=skip,
        )
        return self._play(task, sound)

    def _play_data(self, task: Task, request: realtime.Play | realtime.PlayInLoop) -> Answer:
        skip, task.skip_ms = task.skip_ms, 0
        sound = Sound(
            "data",
            request.data.octets,
            milliseconds=request.milliseconds,
            skip_milliseconds=skip,
        )
        return self._play(task, sound)

    def _play_tone(self, task: Task, request: realtime.PlayTone) -> Answer:
        first = min(max(request.frequency_hz, 0), MAX_TONE_HZ)
        second = min(max(request.frequency2_hz or 0, 0), MAX_TONE_HZ)
        ratio = min(max(request.ratio or 100, 1), 10000)
        name = f"tone {first}" + (f"+{second} Hz" if second else " Hz")
        return self._play(
            task,
            Sound(
                name if first else "silence",
                None,
                (first, second),
                ratio,
                request.milliseconds,
            ),
        )

    def _skip(self, task: Task, request: realtime.SetPlayPosition) -> Answer:
        task.skip_ms = max(request.milliseconds, 0)
        return None

    def _record(self, task: Task, request: realtime.Record) -> Answer:
        if self._silenced(task) or request.seconds <= 0:
            return None
        self._node.suspend(task, WaitKind.RECORD)
        self._node.calls.record(task, min(request.seconds, MAX_RECORD_S))
        return PENDING

    def interrupt(self, task: Task) -> None:
        """A digit or event came: a sound or recording ends here."""
        if task.waits_for(WaitKind.PLAY):
            task.play_position_ms = self._node.calls.stop_playing(task)
            self._node.answer(task, None)
        elif task.waits_for(WaitKind.RECORD):
            recording = self._node.calls.stop_recording(task)
            if recording is not PENDING:
                self._node.answer(task, recording)

    def played(self, task: Task, position_ms: int) -> None:
        """A sound reached its end."""
        if task.waits_for(WaitKind.PLAY):
            task.play_position_ms = position_ms
            task.play_completed = True
            self._node.answer(task, None)

    def recorded(self, task: Task, recording: Data | None) -> None:
        """A recording reached its end."""
        if task.waits_for(WaitKind.RECORD):
            self._node.answer(task, recording)

    def _option(
        self, task: Task, request: realtime.MediaOption | realtime.MediaChannelOption
    ) -> Answer:
        return self._set(task, request.name, request.value)

    def _set(self, task: Task, name: str, value: Value) -> Answer:
        if name not in OPTIONS:
            return None
        key = string_of(name)
        before = task.media_options.get(key)
        if before is None:
            before = OPTIONS[name]
        if value is not None:
            task.media_options.set(key, 1 if value == YES else value)
            parameters = Dictionary()
            parameters.set(key, value)
            self._node.calls.perform(task, realtime.MediaOption(name, value))
        return before

    def _release(self, task: Task, request: realtime.ReleaseMediaChannel) -> Answer:
        if task.bridged_with is None and task.can_play:
            return None
        task.media_channel = False
        return self._node.calls.perform(task, request)
