"""What the log stores: the envelope around an event, and the shapes it travels in.

``Meta`` and events come in from call control and commands; ``Row`` is what a log implementation
binds to storage; :class:`Record` is what readers get. A *position* orders all records of a log and
is opaque: compare it, keep it, hand it back, never compute with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from pbx.eventlog.registry import Codec, category_of
from pbx.kernel.events import Event

Position: TypeAlias = int
"""Orders the records of one log; 0 is before the first."""

START: Final[Position] = 0

ANY_VERSION: Final = -1
"""As `expected_version`: append at whatever version the stream has (facts about a node)."""

Row: TypeAlias = tuple[str, int, str, int, str, str, str, str, str, bytes]
"""stream, version, type, time_ns, node, actor, correlation, causation, tenant, data"""

# Indexes into a Row. (A plain tuple: it is built ten times a call and binds without a copy.)
STREAM: Final = 0
VERSION: Final = 1
TYPE: Final = 2
TIME_NS: Final = 3
DATA: Final = 9


class Meta(msgspec.Struct, frozen=True, gc=False):
    """The part of the envelope that the caller knows. One value may serve many appends."""

    time_ns: int = 0
    """Wall time of the event; 0 takes the writer's clock at the moment of the call."""
    actor: str = ""
    """Who caused it: ``account@domain``, ``cli:root``, ``node:name``, a source address."""
    correlation: str = ""
    """The call or message this belongs to."""
    causation: str = ""
    """Position or id of what caused it."""
    tenant: str = ""
    """The domain it belongs to."""
    node: str = ""
    """Empty takes the name the log was opened with."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One stored event with its envelope."""

    codec: Codec
    position: Position
    stream: str
    version: int
    type: str
    time_ns: int
    node: str
    actor: str
    correlation: str
    causation: str
    tenant: str
    data: bytes

    @property
    def event(self) -> Event:
        """The event in its newest shape, decoded anew on each access.

        An unknown type comes as :class:`~pbx.eventlog.registry.UnknownEvent`. Raises
        :class:`~pbx.kernel.errors.DecodeError`.
        """
        return self.codec.decode(self.stream, self.type, self.data)

    @property
    def category(self) -> str:
        """The topic this record belongs to in a cluster, by its stream."""
        return category_of(self.stream)

    @property
    def row(self) -> Row:
        """The record as it was appended."""
        return (
            self.stream,
            self.version,
            self.type,
            self.time_ns,
            self.node,
            self.actor,
            self.correlation,
            self.causation,
            self.tenant,
            self.data,
        )


class Decision:
    """One atomic append that somebody waits for: all rows or none, at the expected version.

    Rows are numbered by the log: with :data:`ANY_VERSION` nobody knows the numbers before.

    `alone`: this node makes it whatever other nodes may say. To them its events are facts, which
    count whatever they decided meanwhile.
    """

    __slots__ = ("alone", "expected_version", "rows", "stream")

    def __init__(
        self, stream: str, expected_version: int, rows: Sequence[Row], *, alone: bool = False
    ) -> None:
        self.stream = stream
        self.expected_version = expected_version
        self.rows = rows
        self.alone = alone

    def numbered(self, current: int) -> list[Row]:
        """The rows with the versions that follow `current`."""
        return [(row[0], current + n, *row[2:]) for n, row in enumerate(self.rows, start=1)]


Entry: TypeAlias = Row | Decision
"""What a batch consists of: facts (rows that carry their version) and decisions."""


def make_rows(
    codec: Codec, stream: str, events: Sequence[Event], meta: Meta, *, time_ns: int, node: str
) -> list[Row]:
    """Encode `events` for a :class:`Decision`; `time_ns` and `node` fill the gaps of `meta`."""
    rows: list[Row] = []
    for event in events:
        name, data = codec.encode(stream, event)
        rows.append(
            (
                stream,
                0,
                name,
                meta.time_ns or time_ns,
                meta.node or node,
                meta.actor,
                meta.correlation,
                meta.causation,
                meta.tenant,
                data,
            )
        )
    return rows
