"""Events of running applications: category ``pbx.applications``, all *observed*.

A program that runs is a *task*. Its story is the stream ``application/<task id>``; the call it
was started for names it with ``application.attached``, the task that spawned it with
``application.spawned``, so that the story of a call leads to those of its programs. Written by
:mod:`pbx.voice.observer`, read by the projection ``ivr``, ``pbx log --call`` and ``pbx explain``.

``elapsed_ms`` is the monotonic distance from the start of the task (of the call in
``application.attached``).

Digits: a menu choice of one digit is told; of anything longer only how many digits it had, since it
may be a PIN (:mod:`pbx.voice.choices`).
"""

from __future__ import annotations

from pbx.domain.calls import CALLS, Personal
from pbx.kernel.events import Durability, Event, event

APPLICATIONS = "pbx.applications"

CALL = "call"
SPAWN = "spawn"
COMMAND = "command"
"""Causes of a start."""

INTERRUPTED = "interrupted"
"""Reason of an end that the next start of the node wrote: the server was killed meanwhile."""


def application_stream(task_id: str) -> str:
    """Where the story of a task is."""
    return f"application/{task_id}"


@event("application.attached.v1", category=CALLS, durability=Durability.OBSERVED)
class ApplicationAttached(Event):
    """In the stream of a call (category ``pbx.calls``): a program was started for it."""

    task_id: str
    program: str
    account: Personal = ""
    """Whose name it runs under."""
    elapsed_ms: int = 0


@event("application.started.v1", category=APPLICATIONS, durability=Durability.OBSERVED)
class ApplicationStarted(Event):
    """A task began: the first event of its stream."""

    task_id: str
    program: str
    """Name without its end."""
    account: str = ""
    cause: str = CALL
    """``call``, ``spawn`` or ``command``."""
    call_id: str = ""
    """The call it belongs to; also that of the task which spawned it."""
    parent: str = ""
    """The task that spawned it."""
    language: str = ""


@event("application.spawned.v1", category=APPLICATIONS, durability=Durability.OBSERVED)
class ApplicationSpawned(Event):
    """The program started a task of its own."""

    task_id: str
    """The new one."""
    elapsed_ms: int = 0


@event("application.answered.v1", category=APPLICATIONS, durability=Durability.OBSERVED)
class ApplicationAnswered(Event):
    """The program has its peer on the line: it accepted its call, or its own call was answered."""

    elapsed_ms: int = 0


@event("application.input.v1", category=APPLICATIONS, durability=Durability.OBSERVED)
class ApplicationInput(Event):
    """The caller pressed keys at a prompt."""

    menu: str = ""
    """The first prompt since the input before, without its end."""
    choice: str = ""
    """The digit if it was one, and no secret was asked for; else empty."""
    digits: int = 1
    """How many there were."""
    source: str = ""
    """``file:line`` where the program read them."""
    elapsed_ms: int = 0


@event("application.acted.v1", category=APPLICATIONS, durability=Durability.OBSERVED)
class ApplicationActed(Event):
    """The program did something with its call."""

    action: str
    """``call`` ``transfer`` ``redirect`` ``fork`` ``reject`` ``bridge`` ``record``
    ``disconnect``."""
    target: Personal = ""
    """Where to, or what with."""
    source: str = ""
    """``file:line``."""
    elapsed_ms: int = 0


@event("application.failed.v1", category=APPLICATIONS, durability=Durability.OBSERVED)
class ApplicationFailed(Event):
    """The program did what the language forbids, or used more than it may: its task is over."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    section: str = ""
    """Such as ``entry Main``."""
    stack: tuple[str, ...] = ()
    """Innermost first: ``file:line in section``."""
    limit: bool = False
    """A limit was exceeded."""
    elapsed_ms: int = 0


@event("application.ended.v1", category=APPLICATIONS, durability=Durability.OBSERVED)
class ApplicationEnded(Event):
    """The task is over: the last event of its stream."""

    reason: str
    """``return`` ``stop`` ``exception`` ``killed`` ``interrupted``."""
    ended_by: str = ""
    """``caller``: the peer hung up before; ``program``; ``server``: it failed, was
    killed, or ended with the server."""
    menu: str = ""
    """The last prompt the caller heard: where somebody who hung up was lost."""
    choices: int = 0
    """Inputs of the caller."""
    elapsed_ms: int = 0
