"""The error tree of ``pbx``.

::

    PbxError
    ├── DomainError           a command is refused by a rule; the text is for the administrator
    ├── LogError
    │   ├── Conflict          the stream is not at the expected version: load and decide again
    │   ├── LogUnavailable    nothing can be appended now (disk full, locked …): refuse new work
    │   │   ├── OutcomeUnknown  an append was sent and may still take effect: look before repeating
    │   │   └── ClusterAway     the nodes cannot be asked now; this node's own journal takes facts
    │   ├── LogFormatError    the log was written by a newer or another program
    │   ├── DecodeError       a stored event does not fit its declared shape
    │   └── FeedError         a reader of a feed asks for what cannot be
    │       ├── BadFilter     a category that is none, a pattern that cannot fit
    │       ├── BadPosition   a token that no log gave out
    │       └── PositionUnknown   a token of another log, or of one before its restore
    └── ReadModelError
        ├── ProjectionStopped a projection met an event it cannot apply and waits for an operator
        ├── LagTimeout        the read model did not reach the wanted position in time
        └── ReadModelAway     the database cannot be used now: the log keeps everything meanwhile
"""

from __future__ import annotations


class PbxError(Exception):
    """Base of everything ``pbx`` raises on purpose."""


class DomainError(PbxError):
    """A rule of the domain refuses the command."""


class LogError(PbxError):
    """Base of the event log's errors."""


class Conflict(LogError):
    """Somebody else appended to the stream first. Load the stream, decide again, append again."""

    def __init__(self, stream: str, expected: int, current: int) -> None:
        super().__init__(f"{stream} is at version {current}, not {expected}")
        self.stream = stream
        self.expected_version = expected
        self.current_version = current

    def __reduce__(self) -> tuple[type[Conflict], tuple[str, int, int]]:
        return type(self), (self.stream, self.expected_version, self.current_version)


class LogUnavailable(LogError):
    """The log takes nothing now. The text says why in words an operator can act on."""


class OutcomeUnknown(LogUnavailable):
    """The append was sent, and its outcome did not come back in time: it may still take effect."""


class ClusterAway(LogUnavailable):
    """The nodes' common log takes no decision now and nothing was changed. This node's part of it
    takes what it may decide by itself, and facts."""


class LogFormatError(LogError):
    """The file is not a log this version can use."""


class DecodeError(LogError):
    """The data of an event does not fit its type."""


class FeedError(LogError):
    """Base of what a reader of a feed may do wrong; the text is for its programmer."""


class BadFilter(FeedError):
    """The filter names what does not exist."""


class BadPosition(FeedError):
    """The token is none."""


class PositionUnknown(FeedError):
    """This log does not reach so far: what the reader has seen is not its history."""


class ReadModelError(PbxError):
    """Base of the read model's errors."""


class ProjectionStopped(ReadModelError):
    """A projection stopped at an event; ``pbx replay`` shows how to go on."""

    def __init__(self, name: str, position: int, reason: str) -> None:
        super().__init__(f"projection {name} stopped at position {position}: {reason}")
        self.name = name
        self.position = position
        self.reason = reason


class LagTimeout(ReadModelError):
    """The read model is behind."""


class ReadModelAway(ReadModelError):
    """The database of the read model cannot be used now; trying again may help."""
