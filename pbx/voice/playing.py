"""One sound that a task plays, and one recording: where they run and how they end.

A sound plays to whoever hears the task (:func:`pbx.voice.wiring.ears`): a telephone, a conference,
or for the moment nobody: then its time passes all the same, and who comes later hears the rest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from pbx.script.offline.files import silence_wav, wav_milliseconds
from pbx.script.runtime.ports import Sound

if TYPE_CHECKING:
    from media.ng.client import NgReply
    from pbx.calls.timers import Timer
    from pbx.script.runtime.task import Task
    from pbx.voice.host import ApplicationHost
    from pbx.voice.line import Line
    from pbx.voice.session import Session

LINGER_MS: Final = 40
"""The end of a sound is told so much earlier, so that the next one begins without a gap."""
_GRACE_S: Final = 5.0
"""How much longer than its length a sound may take before its end is taken for lost."""
_RATE_HZ: Final = 8000
_AMPLITUDE: Final = 8000


class Playing:
    """See the module."""

    __slots__ = (
        "_began_s", "_file", "_host", "_length_ms", "_offset_ms", "_over", "_target", "_timer",
        "_total_ms", "name", "sound", "task",
    )  # fmt: skip

    def __init__(self, host: ApplicationHost, task: Task, sound: Sound, name: str) -> None:
        self._host = host
        self.task = task
        self.sound = sound
        self.name = name
        self._file = ""
        self._over = False
        self._target: Line | str | None = None
        self._timer: Timer | None = None
        self._began_s = 0.0
        self._offset_ms = sound.skip_milliseconds
        data = sound.data
        if data is None and sound.ratio_percent != 100 and sound.tone_hz[1]:
            data = two_tones(sound)
        if data is not None:
            self._file = host.sounds.name_of(data)
        self._length_ms = wav_milliseconds(data) if data is not None else 0
        self._total_ms = self._total(sound)

    def _total(self, sound: Sound) -> int | None:
        """How long it plays; None: for ever."""
        wanted = sound.milliseconds
        if wanted is not None and wanted < 0:
            return None
        if sound.data is None:
            return wanted or 0
        if wanted is None:
            return max(self._length_ms - sound.skip_milliseconds, 0)
        return wanted if self._length_ms else 0

    def start(self, now: float) -> None:
        """Begin."""
        self._began_s = now
        if self._total_ms == 0 or (self.sound.data is not None and not self._length_ms):
            # No sound, or a file that is no WAV: its end is told at once.
            self._host.later(self.finished, now)
            return
        self._begin(now)

    def _begin(self, now: float) -> None:
        target = self._target = self._host.ears(self.task)
        total = self._total_ms
        if total is not None:
            left_s = max(total / 1000 - (now - self._began_s), 0.0)
            grace_s = 0.0 if target is None else _GRACE_S
            self._timer = self._host.node.timers.call_at(now + left_s + grace_s, self.finished)
        if target is None:
            return
        keys: dict[str, Any] = {
            "name": self.name,
            "linger": LINGER_MS,
            "flags": ["no-interrupt"],
        }
        passed_ms = int((now - self._began_s) * 1000)
        if self._file:
            start = self._offset_ms + passed_ms
            keys["file"] = self._file
            keys["start"] = start % self._length_ms if self._length_ms else 0
            if total is None:
                keys["duration"] = 0
            elif self.sound.milliseconds is not None:
                keys["duration"] = max(total - passed_ms, 1)
        else:
            frequencies = "+".join([str(hz) for hz in self.sound.tone_hz if hz]) or "0"
            if total is None:
                keys["tone"], keys["duration"] = f"{frequencies}/1000", 0
            else:
                keys["tone"] = f"{frequencies}/{max(total - passed_ms, 1)}!"
        self._send("play", keys, now)

    def _send(self, command: str, keys: dict[str, Any], now: float) -> None:
        target = self._target
        if isinstance(target, str):
            self._host.command_room(target, command, keys, now, self._replied)
        elif target is not None and target.session is not None:
            target.session.command(command, now, self._replied, **keys)

    def _replied(self, reply: NgReply, now: float) -> None:
        if reply.error and not self._over and reply.data.get("result") is not None:
            self._host.tasks.observer.logged(
                self.task, f"{self.sound.name} cannot be played: {reply.error}"
            )
            self.finished(now)

    def listeners_changed(self, now: float) -> None:
        """Who hears the task may be somebody else now."""
        if self._over or self._host.ears(self.task) == self._target or self._began_s == 0.0:
            return
        self._cancel_timer()
        self._send("stop", {}, now)
        self._begin(now)

    def finished(self, now: float) -> None:
        """It has ended by itself."""
        if self._over:
            return
        position = self.position_ms(now)
        if self._total_ms is not None:
            end = self._total_ms + (self._offset_ms if self.sound.milliseconds is None else 0)
            loops = self.sound.milliseconds is not None and self._length_ms
            position = end % self._length_ms if loops else end
        self._end()
        self._host.tasks.played(self.task, position)
        self._host.wake(now)

    def stop(self, now: float) -> int:
        """End it now; gives the position in milliseconds."""
        if self._over:
            return 0
        position = self.position_ms(now)
        self._send("stop", {}, now)
        self._end()
        return position

    def dropped(self) -> None:
        """Its line is closed: nothing more is sent or told."""
        self._end()

    def position_ms(self, now: float) -> int:
        """Within the last pass."""
        position = self._offset_ms + int((now - self._began_s) * 1000)
        return position % self._length_ms if self._length_ms else position

    def _end(self) -> None:
        self._over = True
        self._cancel_timer()
        self._host.sounds_by_name.pop(self.name, None)
        if self._host.playing.get(self.task.task_id) is self:
            del self._host.playing[self.task.task_id]

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def two_tones(sound: Sound) -> bytes:
    """Two frequencies of different strength as a WAV file, which the cadences of NG cannot say."""
    wanted = sound.milliseconds or 0
    milliseconds = 1000 if wanted < 0 else min(wanted, 10_000)
    first, second = sound.tone_hz
    strength = sound.ratio_percent / 100
    scale = _AMPLITUDE * 2 / (1 + strength)
    header = silence_wav(milliseconds)
    count = (len(header) - 44) // 2
    samples = bytearray(header[:44])
    for number in range(count):
        angle = 2 * math.pi * number / _RATE_HZ
        value = math.sin(angle * first) + strength * math.sin(angle * second)
        samples += int(value * scale / 2).to_bytes(2, "little", signed=True)
    return bytes(samples)


class Recording:
    """One recording of whoever talks to a task."""

    __slots__ = ("name", "session", "stopping", "task", "timer")

    def __init__(self, task: Task, name: str, session: Session | None) -> None:
        """`session` is recorded; None: nobody is there, and silence is what is got."""
        self.task = task
        self.name = name
        self.session = session
        self.stopping = False
        self.timer: Timer | None = None
