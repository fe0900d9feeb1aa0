"""What programs ask beyond their call, shared out over the parts of the server that know it.

Each part gives a :class:`Provider`: a table from request class to the method that carries it out
with the rights of ``task.account``. A request that nobody provides is answered with an error
string, so that a program takes its error branch instead of ending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import Answer
from pbx.script.runtime.task import Task
from pbx.script.values import string_of

Handler = Callable[[Task, Any], Answer]
"""Called with the task and an instance of the class it is registered for; never blocks.

``PENDING``: the answer comes later by ``TaskNode.answer``.
"""


class Provider(Protocol):
    """Some part of the server that answers requests of programs."""

    def handlers(self) -> Mapping[type[HostRequest], Handler]:
        """Request class to what carries it out."""
        ...


class Preferences(Protocol):
    """What accounts prefer, as far as tasks depend on it."""

    def language_of(self, account: str | None) -> str | None:
        """None for the default."""
        ...

    def zone_of(self, account: str | None) -> str | None:
        """None for the server's."""
        ...


class ServiceTable:
    """The ``Services`` port of tasks, put together from providers."""

    def __init__(self, preferences: Preferences, providers: Iterable[Provider]) -> None:
        self._preferences = preferences
        self._handlers: dict[type[HostRequest], Handler] = {}
        for provider in providers:
            for kind, handler in provider.handlers().items():
                if kind in self._handlers:
                    raise ValueError(f"{kind.__name__} is provided twice")
                self._handlers[kind] = handler

    def perform(self, task: Task, request: HostRequest) -> Answer:
        """See the port."""
        handler = self._handlers.get(type(request))
        if handler is None:
            return string_of(f"500-{request.function} is not available on this server")
        return handler(task, request)

    def language_of(self, account: str | None) -> str | None:
        """See the port."""
        return self._preferences.language_of(account)

    def zone_of(self, account: str | None) -> str | None:
        """See the port."""
        return self._preferences.zone_of(account)
