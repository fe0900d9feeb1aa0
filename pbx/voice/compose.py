"""Puts the host of programs together: which part of the server answers what.

One function, so that a part which learns to keep mailboxes, environments or statistics takes its
place in one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from pbx.script.environment import FilePort
from pbx.script.runtime.ports import Observer
from pbx.voice.accounts import AccountServices, Offload
from pbx.voice.ambient import AmbientServices
from pbx.voice.configuration import ConfigurationBook
from pbx.voice.files import DiskRecordings, DiskSounds, StockFiles
from pbx.voice.host import ApplicationHost, RecordingStore, SoundStore, Story, no_story
from pbx.voice.logged import LoggingObserver
from pbx.voice.meetings import TYPES, Meetings
from pbx.voice.services import Provider, ServiceTable
from pbx.voice.session import HostingPort
from pbx.voice.web import WebCaller

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode
    from pbx.eventlog import EventLog, Record


def at_once(work: Callable[[], Any], done: Callable[[Any], None]) -> None:
    """Carry out here and now: for tests and simulations."""
    try:
        outcome = work()
    except Exception as error:  # noqa: BLE001 - whoever asked gets it
        outcome = error
    done(outcome)


class Voice:
    """What was put together."""

    def __init__(self, host: ApplicationHost, book: ConfigurationBook, meetings: Meetings) -> None:
        self.host = host
        self.book = book
        self._meetings = meetings

    def load(self, event_log: EventLog, streams: Iterable[str]) -> None:
        """What programs kept before this start; before :meth:`apply`.

        `streams` are those that have meetings (:class:`~pbx.configdb.Noted`).
        """
        for stream in streams:
            for record in event_log.read_stream(stream):
                if record.type in TYPES:
                    self._meetings.load(record)

    def apply(self, record: Record) -> None:
        """The next record of the configuration."""
        self.configured(record.stream)
        if record.stream.startswith("account/"):
            self._meetings.apply(record)

    def configured(self, stream: str) -> None:
        """The configuration of an object has changed."""
        self.book.changed(stream)


def compose(
    node: SignalNode,
    media: HostingPort,
    read_stream: Callable[[str], Iterable[Record]],
    *,
    entropy: Random,
    sounds: Path | SoundStore,
    recordings: Path | RecordingStore,
    event_log: EventLog | None = None,
    offload: Offload = at_once,
    reach: str = "off",
    version: str = "0",
    files: FilePort | None = None,
    observer: Observer | None = None,
    providers: Sequence[Provider] = (),
    story: Story = no_story,
    new_id: Callable[[], str] | None = None,
) -> Voice:
    """Make the host and let `node` send calls to it.

    `event_log` takes what programs change, `offload` runs what may wait beside the loop, `reach`
    says where HTTP of programs may go (``off`` ``public`` ``any``). `files` is where programs are
    found (None: what is shipped), `observer` who writes down what they do (None: the log of the
    server), `providers` answer what this package does not know; `story` and `new_id` are those of
    :class:`~pbx.voice.host.ApplicationHost`.
    """
    book = ConfigurationBook(read_stream)
    made: list[ApplicationHost] = []
    own: list[Provider] = [
        AccountServices(
            node, book, lambda: made[0].tasks, event_log, offload, lambda now: made[0].wake(now)
        ),
        AmbientServices(node, book, lambda: made[0], offload, WebCaller(reach), version),
    ]
    host = ApplicationHost(
        node,
        media,
        files=files if files is not None else StockFiles(),
        services=ServiceTable(book, [*own, *providers]),
        observer=observer if observer is not None else LoggingObserver(),
        entropy=entropy,
        sounds=DiskSounds(sounds) if isinstance(sounds, Path) else sounds,
        recorded=DiskRecordings(recordings) if isinstance(recordings, Path) else recordings,
        real_name=book.real_name,
        story=story,
        new_id=new_id,
    )
    made.append(host)
    node.services.applications = host
    meetings = Meetings(host.tasks.rendezvous, node.log, lambda: node.config.node)
    return Voice(host, book, meetings)
