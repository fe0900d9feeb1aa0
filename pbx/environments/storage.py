"""The file storage of accounts: read, write, list; whoever asks has been let in already.

Over the log and the blobs, and for several threads: commands of administrators, and programs
(:mod:`pbx.voice.storage`). What rights somebody has in the storage of another account is in
:mod:`pbx.environments.rights`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final, Generic, NamedTuple, TypeVar

from pbx.blobs import BlobStore
from pbx.commands import MAX_TRIES, Aggregate, execute
from pbx.domain import storage as st
from pbx.domain.accounts import AccountCreated, AccountDeleted
from pbx.domain.storage import Part, StorageLimits, StorageState, StoredEntry
from pbx.eventlog import EventLog, Meta
from pbx.kernel.errors import DomainError, LogUnavailable
from pbx.kernel.events import Event

S = TypeVar("S")

STORAGE: Final = Aggregate(st.NO_STORAGE, st.evolve_storage)
CACHED: Final = 500
"""Accounts whose storage is remembered; one of a hundred files is some 30 KB."""

LimitsOf = Callable[[str], StorageLimits]


class Position(Enum):
    """Where something is written that has no number."""

    REPLACE = "replace"
    """The content is all there is."""
    BEGINNING = "beg"
    """Over the beginning of a file that exists; the tail stays."""
    END = "end"
    """Behind what there is; the file is made if it is missing."""
    NEW = "new"
    """Into a file that does not exist."""


class FileContent(NamedTuple):
    """A piece of a file."""

    data: bytes
    modified_ns: int
    size_bytes: int
    """Of the whole file."""


class FileStorage:
    """See the module. Raises :class:`DomainError`, ``BlobError`` or ``LogUnavailable``; what was
    changed is durable."""

    def __init__(
        self, log: EventLog, blobs: BlobStore, wall_ns: Callable[[], int], limits_of: LimitsOf
    ) -> None:
        """`limits_of` gives the limits of an account (:func:`limits_in_log`)."""
        self._log = log
        self._blobs = blobs
        self._wall_ns = wall_ns
        self._limits_of = limits_of
        self._states: _Recent[StorageState] = _Recent(log, STORAGE)
        self._accounts: _Recent[int] = _Recent(log, Aggregate(0, lambda state, event: state))

    # Reading. `account` is ``name@domain``, in lower case.

    def state(self, account: str) -> StorageState:
        """All of it. Raises :class:`DomainError` if the account does not exist."""
        version = self._account_version(account)
        state = self._states.get(st.storage_stream(account))
        return state if state.account_version == version else st.NO_STORAGE

    def read(
        self, account: str, name: str, offset: int = 0, size: int | None = None
    ) -> FileContent:
        """A file from `offset` on, at most `size` bytes of it."""
        entry = self.state(account).file(st.path_name(name))
        if entry is None:
            raise DomainError("unknown file")
        if offset < 0 or (size is not None and size < 0):
            raise DomainError("a position and a size are not below zero")
        end = entry.size_bytes if size is None else min(entry.size_bytes, offset + size)
        return FileContent(self._content(entry, offset, end), entry.modified_ns, entry.size_bytes)

    def listing(self, account: str, directory: str = "") -> Mapping[str, StoredEntry]:
        """What lies in a directory, by name."""
        path, state = st.path_name(directory), self.state(account)
        if not state.has_directory(path):
            raise DomainError("unknown directory")
        return dict(sorted(state.in_directory(path).items()))

    def usage(self, account: str, directory: str = "") -> tuple[int, int]:
        """Bytes and number of the files in a directory and in those in it."""
        path, state = st.path_name(directory), self.state(account)
        if not state.has_directory(path):
            raise DomainError("unknown directory")
        prefix = f"{path}/" if path else ""
        found = [
            entry
            for name, entry in state.entries.items()
            if name.startswith(prefix) and not entry.is_directory
        ]
        return sum(entry.size_bytes for entry in found), len(found)

    def attributes(self, account: str, name: str) -> tuple[str, ...]:
        """The attributes of a file or directory, XML as text."""
        entry = self.state(account).entries.get(st.path_name(name))
        if entry is None:
            raise DomainError("unknown file")
        return entry.attributes

    # Changing.

    def write(
        self,
        account: str,
        name: str,
        data: bytes,
        meta: Meta,
        position: Position | int = Position.REPLACE,
    ) -> None:
        """Write a file, all of it or from a position on; directories that are missing are made."""
        path = st.path_name(name)
        if len(data) > st.MAX_FILE_BYTES:
            raise DomainError(f"a file has at most {st.MAX_FILE_BYTES} bytes")
        if position == 0:
            position = Position.REPLACE
        if position is Position.END:
            self._append(account, path, data, meta)
        elif position is Position.REPLACE or position is Position.NEW:
            self._write_whole(account, path, data, meta, new=position is Position.NEW)
        else:
            offset = 0 if position is Position.BEGINNING else position
            assert isinstance(offset, int)
            self._splice(account, path, data, meta, offset)

    def make_directory(self, account: str, name: str, meta: Meta) -> None:
        """Make a directory."""
        path = st.path_name(name)
        now = self._wall_ns()
        self._change(account, meta, lambda s: st.decide_make_directory(s, path, now))

    def delete(self, account: str, name: str, meta: Meta, *, directory: bool | None = None) -> None:
        """Delete a file or an empty directory; `directory` says which of them it must be."""
        path = st.path_name(name)
        self._change(account, meta, lambda s: st.decide_delete_entry(s, path, directory=directory))

    def rename(
        self, account: str, name: str, new_name: str, meta: Meta, *, directory: bool | None = None
    ) -> None:
        """Give a file or directory another name."""
        old, new, now = st.path_name(name), st.path_name(new_name), self._wall_ns()
        self._change(
            account, meta, lambda s: st.decide_rename_entry(s, old, new, now, directory=directory)
        )

    def set_attributes(
        self, account: str, name: str, attributes: Sequence[str], meta: Meta
    ) -> None:
        """Replace the attributes of a file or directory."""
        path, now = st.path_name(name), self._wall_ns()
        self._change(account, meta, lambda s: st.decide_set_attributes(s, path, attributes, now))

    def subscribe(self, account: str, names: Sequence[str], meta: Meta) -> None:
        """Replace the list of subscribed names."""
        self._change(account, meta, lambda s: st.decide_subscribe(s, names))

    def move(self, account: str, new_account: str, meta: Meta) -> None:
        """Give all of it to an account that has just been made, as a renamed one is."""
        state = self.state(account)

        def decide(target: StorageState) -> list[Event]:
            if target.entries:
                raise DomainError("the account has files already")
            events: list[Event] = []
            for name, entry in sorted(state.entries.items()):
                if entry.parts is None:
                    events.append(st.DirectoryCreated(name=name, modified_ns=entry.modified_ns))
                for number, part in enumerate(entry.parts or ()):
                    kind = st.FileWritten if number == 0 else st.FileAppended
                    events.append(
                        kind(
                            name=name,
                            sha256=part.sha256,
                            size_bytes=part.size_bytes,
                            modified_ns=entry.modified_ns,
                        )
                    )
                if entry.attributes:
                    events += [
                        st.FileAttributesSet(
                            name=name,
                            attributes=entry.attributes,
                            modified_ns=entry.attributes_ns,
                        )
                    ]
            if state.subscribed:
                events.append(st.StorageSubscriptionSet(names=state.subscribed))
            return events

        if state.entries or state.subscribed:
            self._change(new_account, meta, decide)

    # Parts.

    def _write_whole(self, account: str, path: str, data: bytes, meta: Meta, *, new: bool) -> None:
        limits, now = self._limits_of(account), self._wall_ns()

        def decide(state: StorageState, part: Part) -> list[Event]:
            if new and path in state.entries:
                raise DomainError("the file exists already")
            return st.decide_write(state, path, part, now, limits)

        # Refused before the content is kept anywhere.
        decide(self.state(account), Part("", len(data)))
        part = Part(self._blobs.put(data), len(data))
        self._change(account, meta, lambda state: decide(state, part))

    def _append(self, account: str, path: str, data: bytes, meta: Meta) -> None:
        limits, now = self._limits_of(account), self._wall_ns()
        state = self.state(account)
        held = state.file(path)
        if held is not None and len(held.parts or ()) >= st.MAX_PARTS:
            self._splice(account, path, data, meta, held.size_bytes)
            return
        st.decide_append(state, path, Part("", len(data)), now, limits)
        part = Part(self._blobs.put(data), len(data))
        self._change(account, meta, lambda state: st.decide_append(state, path, part, now, limits))

    def _splice(self, account: str, path: str, data: bytes, meta: Meta, offset: int) -> None:
        """Write into the middle: the whole is stored anew, unless somebody else was faster."""
        limits, now = self._limits_of(account), self._wall_ns()
        for _ in range(MAX_TRIES):
            held = self.state(account).file(path)
            if held is None:
                raise DomainError("unknown file")
            if not 0 <= offset <= held.size_bytes:
                raise DomainError(
                    f"the file has {held.size_bytes} bytes, so it cannot go on at {offset}"
                )
            if offset + len(data) > st.MAX_FILE_BYTES:
                raise DomainError(f"a file has at most {st.MAX_FILE_BYTES} bytes")
            before = self._content(held, 0, offset)
            after = self._content(held, offset + len(data), held.size_bytes)
            whole = before + data + after
            part = Part(self._blobs.put(whole), len(whole))
            basis = held.parts
            raced = False

            def decide(
                state: StorageState,
                part: Part = part,
                basis: tuple[Part, ...] | None = basis,
            ) -> list[Event]:
                nonlocal raced
                found = state.file(path)
                raced = found is None or found.parts != basis
                return [] if raced else st.decide_write(state, path, part, now, limits)

            self._change(account, meta, decide)
            if not raced:
                return
        raise LogUnavailable("the file changes faster than it can be written; try again later")

    def _content(self, entry: StoredEntry, start: int, end: int) -> bytes:
        found: list[bytes] = []
        at = 0
        for part in entry.parts or ():
            low, high = max(start - at, 0), min(end - at, part.size_bytes)
            if low < high:
                found.append(self._blobs.get(part.sha256)[low:high])
            at += part.size_bytes
        return b"".join(found)

    def _change(
        self, account: str, meta: Meta, decide: Callable[[StorageState], list[Event]]
    ) -> None:
        version = self._account_version(account)

        def decided(state: StorageState) -> list[Event]:
            opened = st.decide_open(state, version)
            for event in opened:
                state = st.evolve_storage(state, event)
            events = decide(state)
            return [*opened, *events] if events else []

        execute(self._log, STORAGE, st.storage_stream(account), decided, meta)

    def _account_version(self, account: str) -> int:
        version = self._accounts.version_of(f"account/{account}", AccountCreated, AccountDeleted)
        if not version:
            raise DomainError("unknown user account")
        return version


class _Recent(Generic[S]):
    """States of streams that were asked for lately, brought level at each use."""

    def __init__(self, log: EventLog, aggregate: Aggregate[S], most: int = CACHED) -> None:
        self._log = log
        self._aggregate = aggregate
        self._most = most
        self._known: OrderedDict[str, tuple[S, int, int]] = OrderedDict()
        """State, version, and the version of the last event that made what the stream is of."""
        self._lock = threading.Lock()

    def get(self, stream: str) -> S:
        """The state now."""
        return self._refresh(stream, (), ())[0]

    def version_of(self, stream: str, made: type[Event], ended: type[Event]) -> int:
        """The version of the last event `made`; 0 if there is none, or `ended` came after it."""
        return self._refresh(stream, (made,), (ended,))[1]

    def _refresh(
        self, stream: str, made: tuple[type[Event], ...], ended: tuple[type[Event], ...]
    ) -> tuple[S, int]:
        with self._lock:
            state, version, since = self._known.pop(stream, (self._aggregate.initial, 0, 0))
            for record in self._log.read_stream(stream, after_version=version):
                event = record.event
                state = self._aggregate.evolve(state, event)
                version = record.version
                if isinstance(event, made):
                    since = version
                elif isinstance(event, ended):
                    since = 0
            if version:
                self._known[stream] = state, version, since
                if len(self._known) > self._most:
                    self._known.popitem(last=False)
            return state, since
