"""The state of one task (CG/PL reference §8, §10)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from pbx.script.environment import ApplicationFiles, TaskModules
from pbx.script.machine import Machine
from pbx.script.values import Dictionary, TaskHandle, Value

if TYPE_CHECKING:
    from pbx.script.program import CompiledProgram

MAX_DIGITS: Final = 128
"""Digits that wait; more are dropped: somebody leans on a key."""
MAX_EVENTS: Final = 1000
"""Events of other tasks that wait; more are refused to their sender."""
DIGITS: Final = frozenset("0123456789*#ABCD")


class Mode(Enum):
    """What the task's peer is doing.

    ========  ==========================================================
    entered   by
    ========  ==========================================================
    incoming     start with a call
    provisioned  ``ProvisionCall`` with media
    connected    ``AcceptCall``, a completed outgoing call, a bridge of a pending call
    disconnected start without a call, and whatever ends a call
    ========  ==========================================================
    """

    DISCONNECTED = "disconnected"
    INCOMING = "incoming"
    PROVISIONED = "provisioned"
    CONNECTED = "connected"

    @property
    def pending(self) -> bool:
        """Whether an INVITE waits for its final response."""
        return self in (Mode.INCOMING, Mode.PROVISIONED)


class WaitKind(Enum):
    """What a suspended task waits for."""

    INPUT = "input"
    DIGIT = "digit"
    """``ReadDTMF``: a digit is taken, an event only ends it."""
    DIGIT_THERE = "digit there"
    """``WaitDTMF``: the digit stays."""
    PLAY = "play"
    RECORD = "record"
    BRIDGE = "bridge"
    """``StartBridge``: the answer of another task."""
    TRANSFER = "transfer"
    """``StartTransfer``: likewise."""
    DELAY = "delay"
    ANSWER = "answer"
    """``AcceptCall``, ``ProvisionCall``: the outcome of answering the pending call."""
    PORT = "port"
    """An answer of calls or services."""


@dataclass(slots=True)
class Wait:
    """Why a task is suspended."""

    kind: WaitKind
    deadline_s: float | None = None
    """Monotonic time after which it goes on with null."""
    other: str | None = None
    """The task whose answer it waits for."""


@dataclass(slots=True)
class Task:
    """One running program. Only the node and its parts change it; ports read it."""

    task_id: str
    program: CompiledProgram
    program_name: str
    machine: Machine
    files: ApplicationFiles
    modules: TaskModules
    account: str | None
    """``user@domain`` of the current account."""
    language: str | None = None
    zone: str | None = None
    parent: str | None = None
    family: str = ""
    """Id of the task that this one stems from, over any number of spawns; its own if from none."""
    mode: Mode = Mode.DISCONNECTED
    calling: bool = False
    """An outgoing call is pending."""
    media_channel: bool = False
    digits: deque[str] = field(default_factory=deque)
    events: deque[Dictionary] = field(default_factory=deque)
    wait: Wait | None = None
    interruptible: bool = True
    """Digits interrupt sounds."""
    bridged_with: str | None = None
    ingress: str | None = None
    """The task whose peer gets the media of my pending bridged call."""
    mixer_of: str | None = None
    """The task whose mixer my peer is in."""
    legs: list[str] = field(default_factory=list)
    """Tasks whose peers are in my mixer."""
    call_parameters: Dictionary = field(default_factory=Dictionary)
    signal_options: Dictionary = field(default_factory=Dictionary)
    media_options: Dictionary = field(default_factory=Dictionary)
    play_position_ms: int = 0
    play_completed: bool = False
    skip_ms: int = 0
    status: Value = None
    failed: bool = False
    """The program broke down; its call is just being ended."""
    name: str | None = None
    """Its name, for named tasks."""

    @property
    def handle(self) -> TaskHandle:
        """What other tasks know it by."""
        return TaskHandle(self.task_id)

    @property
    def domain(self) -> str | None:
        """The current account's domain."""
        return self.account.partition("@")[2] or None if self.account else None

    @property
    def can_play(self) -> bool:
        """Whether anybody would hear a sound."""
        return self.mode in (Mode.CONNECTED, Mode.PROVISIONED) or bool(self.legs)

    def waits_for(self, kind: WaitKind, other: str | None = None) -> bool:
        """Whether it is suspended for this reason (and that task)."""
        return (
            self.wait is not None
            and self.wait.kind is kind
            and (other is None or self.wait.other == other)
        )
