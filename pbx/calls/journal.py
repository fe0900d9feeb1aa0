"""The story of one call as it goes to the log: one stream, one writer, versions in memory."""

from __future__ import annotations

from pbx.calls.ports import LogPort
from pbx.eventlog import Meta
from pbx.kernel.events import Event


class Journal:
    """Numbers the events of ``call/<id>`` and hands them to the log.

    The node that runs a call is the only writer of its stream, so the version is a counter and
    nothing waits.
    """

    __slots__ = ("_log", "_meta", "started", "stream", "version")

    def __init__(
        self, log: LogPort, call_id: str, *, actor: str, tenant: str, started: float
    ) -> None:
        self._log = log
        self._meta = Meta(actor=actor, correlation=call_id, tenant=tenant)
        self.stream = f"call/{call_id}"
        self.version = 0
        self.started = started

    def elapsed_ms(self, now: float) -> int:
        """Milliseconds since the call started, monotonic."""
        return int((now - self.started) * 1000 + 0.5)

    def write(self, event: Event) -> None:
        """Append `event` to the call's stream (class *observed*)."""
        self.version += 1
        self._log.observe(self.stream, self.version, event, self._meta)
