"""What tasks need of the world: calls and media, services, somebody who watches.

Methods return at once. What takes time is reported to the node later, by the method that the
docstring names; a port may also report before it returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, Protocol

from pbx.script.errors import ScriptError
from pbx.script.requests.base import HostRequest
from pbx.script.values import Data, Dictionary, Value

if TYPE_CHECKING:
    from pbx.script.machine import Failed
    from pbx.script.runtime.task import Task


class Pending(Enum):
    """The type of :data:`PENDING`."""

    PENDING = "pending"


PENDING: Final = Pending.PENDING
"""The answer comes later."""

Answer = Value | Literal[Pending.PENDING]


class StartProblem(ScriptError):
    """A task could not be started. ``status`` is what a caller gets, as a SIP status code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Sound:
    """Something to be played."""

    name: str
    """For people: a file name, ``data`` or a description of a tone."""
    data: bytes | None = None
    """The file's content; None for a tone."""
    tone_hz: tuple[int, int] = (0, 0)
    """One or two frequencies; 0 is silence."""
    ratio_percent: int = 100
    """Strength of the second frequency."""
    milliseconds: int | None = None
    """How long, repeating a shorter sound; None for once; negative for ever."""
    skip_milliseconds: int = 0
    """What to leave out at the beginning."""


class CallPort(Protocol):
    """Signalling and media of the task's one peer. Called only in modes where it makes sense."""

    def accept(self, task: Task) -> None:
        """Answer the pending call with a media channel → ``node.accepted``."""
        ...

    def provision(self, task: Task, parameters: Dictionary) -> None:
        """A provisional response → ``node.provisioned``.

        Keys: ``media``, ``reliably``, ``responseCode``, ``responseText``, ``reasonCode``,
        ``reasonText``.
        """
        ...

    def reject(self, task: Task, code: int, text: str, reason: tuple[int, str] | None) -> None:
        """Refuse the pending call."""
        ...

    def redirect(self, task: Task, targets: list[str]) -> None:
        """Hand the pending call back with new targets."""
        ...

    def fork(self, task: Task, targets: list[str]) -> None:
        """Add targets to the pending call."""
        ...

    def start_call(self, task: Task, parameters: Dictionary, media_of: Task | None) -> str | None:
        """Send an INVITE → ``node.provisional``, one ``node.completed``.

        With `media_of` it offers that task's peer's media, and success means that both peers are
        joined. Returns an error when nothing was sent.
        """
        ...

    def relay_provisional(self, ingress: Task, egress: Task, code: int, text: str) -> None:
        """Pass a provisional response on to the peer that waits for the bridge."""
        ...

    def cancel(self, task: Task) -> None:
        """Give up the pending outgoing call; nothing is reported any more."""
        ...

    def hang_up(self, task: Task, reason: tuple[int, str] | None) -> None:
        """End the dialog; nothing is reported."""
        ...

    def join(self, task: Task, other: Task) -> None:
        """Exchange the media of both peers → ``node.joined``."""
        ...

    def part(self, task: Task) -> None:
        """Give a bridged peer our media channel → ``node.parted``."""
        ...

    def attach(self, task: Task, leg: Task) -> None:
        """Take `leg`'s peer into the mixer of `task` → ``node.attached``."""
        ...

    def detach(self, task: Task, leg: Task) -> None:
        """Give it back."""
        ...

    def mute(self, task: Task, leg: Task | None, flag: Value) -> None:
        """Change what is heard of a leg (None: the own peer) or what it hears."""
        ...

    def play(self, task: Task, sound: Sound) -> None:
        """Begin → ``node.played`` when it has ended by itself."""
        ...

    def stop_playing(self, task: Task) -> int:
        """Stop now. Returns the position in milliseconds."""
        ...

    def record(self, task: Task, seconds: int) -> None:
        """Begin → ``node.recorded`` when the time is up or the peer is silent."""
        ...

    def stop_recording(self, task: Task) -> Data | Literal[Pending.PENDING] | None:
        """Stop now. Returns what was recorded, also when the peer is already gone; ``PENDING``:
        it comes by ``node.recorded``, however often this is called until then."""
        ...

    def transfer(self, task: Task, destination: str) -> None:
        """REFER → ``node.transferred``."""
        ...

    def transfer_to(self, task: Task, other: Task) -> None:
        """REFER with Replaces: join both peers directly → ``node.transferred``."""
        ...

    def perform(self, task: Task, request: HostRequest) -> Answer:
        """Everything else about the peer, the media channel and their options.

        ``PENDING`` → ``node.answer``.
        """
        ...


class Services(Protocol):
    """Accounts, mailboxes, files, mail, commands: whatever is not the call itself."""

    def perform(self, task: Task, request: HostRequest) -> Answer:
        """Carry it out with the rights of ``task.account``. ``PENDING`` → ``node.answer``."""
        ...

    def language_of(self, account: str | None) -> str | None:
        """The language an account prefers; None for the default."""
        ...

    def zone_of(self, account: str | None) -> str | None:
        """The time zone an account prefers; None for the server's."""
        ...


class Observer(Protocol):
    """Told what happens, to log it. Values are what the program saw."""

    def started(self, task: Task, parent: Task | None) -> None:
        """A task began."""
        ...

    def ended(self, task: Task, reason: str, failure: Failed | None) -> None:
        """It ended: ``return``, ``stop``, ``exception`` or ``killed``."""
        ...

    def input_read(self, task: Task, kind: Literal["digit", "event"], value: Value) -> None:
        """The program took a digit or an event."""
        ...

    def requested(self, task: Task, request: HostRequest) -> None:
        """The program asked for something."""
        ...

    def logged(self, task: Task, text: str) -> None:
        """A line of ``SysLog`` or a message about the task."""
        ...
