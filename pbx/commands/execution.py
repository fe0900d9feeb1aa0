"""A command on one stream: load, decide, append; again if somebody else was faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from pbx.domain import accounts, objects, server
from pbx.eventlog import Conflict, EventLog, Meta, Position
from pbx.kernel.errors import LogUnavailable
from pbx.kernel.events import Event

S = TypeVar("S")

MAX_TRIES: Final = 20
"""Each lost race means that another writer succeeded; twenty in a row do not happen by chance."""


class Aggregate(NamedTuple, Generic[S]):
    """How the state of a kind of stream is made of its events."""

    initial: S
    evolve: Callable[[S, Event], S]


DOMAIN: Final = Aggregate(accounts.NO_DOMAIN, accounts.evolve_domain)
ACCOUNT: Final = Aggregate(accounts.NO_ACCOUNT, accounts.evolve_account)
OBJECT: Final = Aggregate(objects.NO_OBJECT, objects.evolve_object)
"""Groups, forwarders, mailing lists and named tasks."""
SERVER: Final = Aggregate(server.NO_SERVER, server.evolve_server)


def load(log: EventLog, aggregate: Aggregate[S], stream: str) -> S:
    """The state of a stream now."""
    state = aggregate.initial
    for record in log.read_stream(stream):
        state = aggregate.evolve(state, record.event)
    return state


def execute(
    log: EventLog,
    aggregate: Aggregate[S],
    stream: str,
    decide: Callable[[S], Sequence[Event]],
    meta: Meta,
) -> Position | None:
    """Append what `decide` makes of the stream's state; None if it decided on nothing.

    `decide` is called again with the newer state if another writer appended in between, so it
    must be a pure function. Raises what it raises, or ``LogUnavailable``.
    """
    state, version = aggregate.initial, 0
    for _ in range(MAX_TRIES):
        for record in log.read_stream(stream, after_version=version):
            state, version = aggregate.evolve(state, record.event), record.version
        events = decide(state)
        if not events:
            return None
        try:
            return log.append(stream, version, events, meta)
        except Conflict:
            continue
    raise LogUnavailable(f"{stream} changes faster than it can be decided on; try again later")
