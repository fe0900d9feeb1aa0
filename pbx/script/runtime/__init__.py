"""Tasks: running programs with their digits, events, calls and bridges. Sans-I/O."""

from pbx.script.runtime.node import TaskNode
from pbx.script.runtime.ports import PENDING, CallPort, Observer, Services, Sound, StartProblem
from pbx.script.runtime.task import Mode, Task

__all__ = [
    "PENDING",
    "CallPort",
    "Mode",
    "Observer",
    "Services",
    "Sound",
    "StartProblem",
    "Task",
    "TaskNode",
]
