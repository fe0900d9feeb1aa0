"""File storage of an account: greetings, logs, what programs keep. Events, state, decisions (pure).

Stream ``storage/<name@domain>``, category ``pbx.files``, *decided*. Contents are blobs, stored
before the event that names them; a file is made of parts, so that appending to a log file does not
store all of it again. Names are paths with ``/``; letter case counts.

The storage belongs to an account, not to its name: each state says which creation of the account it
is of (``storage.opened``), and whoever makes an account anew under an old name begins empty.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from pbx.kernel.errors import DomainError
from pbx.kernel.events import Durability, Event, event

FILES: Final = "pbx.files"

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""Of one file, whatever the account's limit: contents are handled in memory."""
MAX_ENTRIES: Final = 10_000
"""Files and directories of an account, whatever its limit: they are folded at each use."""
MAX_PARTS: Final = 64
"""Of a file; then it is stored as a whole again."""
MAX_DEPTH: Final = 16
MAX_COMPONENT_CHARS: Final = 128
MAX_ATTRIBUTES: Final = 100
MAX_ATTRIBUTES_CHARS: Final = 32_768
MAX_SUBSCRIBED: Final = 1000
PRIVATE: Final = "private"
"""The directory whose files are the owner's only; it is always there."""
_FORBIDDEN: Final = frozenset('\\:*?"<>|')


@event("storage.opened.v1", category=FILES, durability=Durability.DECIDED)
class StorageOpened(Event):
    """An account uses its storage for the first time: it is empty from here on."""

    account_version: int
    """Version of ``account.created`` in the account's stream."""


@event("file.written.v1", category=FILES, durability=Durability.DECIDED)
class FileWritten(Event):
    """A file is what the blob says from now on."""

    name: str
    sha256: str
    size_bytes: int
    modified_ns: int


@event("file.appended.v1", category=FILES, durability=Durability.DECIDED)
class FileAppended(Event):
    """The blob follows what the file had."""

    name: str
    sha256: str
    size_bytes: int
    modified_ns: int


@event("file.renamed.v1", category=FILES, durability=Durability.DECIDED)
class FileRenamed(Event):
    """A file, or a directory with all that is in it, has another name."""

    name: str
    new_name: str


@event("file.deleted.v1", category=FILES, durability=Durability.DECIDED)
class FileDeleted(Event):
    """A file or an empty directory is gone."""

    name: str


@event("file.attributes-set.v1", category=FILES, durability=Durability.DECIDED)
class FileAttributesSet(Event):
    """The attributes of a file or directory from now on."""

    name: str
    attributes: tuple[str, ...]
    """XML elements, one for each name."""
    modified_ns: int


@event("directory.created.v1", category=FILES, durability=Durability.DECIDED)
class DirectoryCreated(Event):
    """A directory exists."""

    name: str
    modified_ns: int


@event("storage.subscription-set.v1", category=FILES, durability=Durability.DECIDED)
class StorageSubscriptionSet(Event):
    """Names of files, also of other accounts, that the owner's programs show."""

    names: tuple[str, ...]


# State.


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file's content."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A file, or a directory."""

    created_ns: int
    modified_ns: int
    parts: tuple[Part, ...] | None = None
    """None for a directory."""
    attributes: tuple[str, ...] = ()
    attributes_ns: int = 0

    @property
    def is_directory(self) -> bool:
        return self.parts is None

    @property
    def size_bytes(self) -> int:
        """0 for a directory."""
        return sum(part.size_bytes for part in self.parts or ())


@dataclass(frozen=True, slots=True)
class StorageState:
    """The storage of an account as of its last event."""

    account_version: int = 0
    """The creation of the account it is of; 0: nobody's."""
    entries: Mapping[str, StoredEntry] = field(default_factory=dict)
    subscribed: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        return sum(not entry.is_directory for entry in self.entries.values())

    @property
    def total_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.entries.values())

    def file(self, name: str) -> StoredEntry | None:
        """A file by its name; None for a directory, too."""
        entry = self.entries.get(name)
        return None if entry is None or entry.is_directory else entry

    def has_directory(self, name: str) -> bool:
        """``""`` is the top."""
        if name in ("", PRIVATE):
            return True
        entry = self.entries.get(name)
        return entry is not None and entry.is_directory

    def in_directory(self, name: str) -> dict[str, StoredEntry]:
        """What lies in a directory, by name in it."""
        prefix = f"{name}/" if name else ""
        return {
            path.removeprefix(prefix): entry
            for path, entry in self.entries.items()
            if path.startswith(prefix) and "/" not in path.removeprefix(prefix)
        }

    def below(self, name: str) -> list[str]:
        """Names of all that is in a directory and in those in it."""
        return [path for path in self.entries if path.startswith(f"{name}/")]


@dataclass(frozen=True, slots=True)
class StorageLimits:
    """What an account may keep; None: no limit of its own."""

    total_bytes: int | None = None
    files: int | None = None
    file_bytes: int | None = None


NO_STORAGE: Final = StorageState()
NO_LIMITS: Final = StorageLimits()


def storage_stream(account: str) -> str:
    """Where the events of the account's storage are."""
    return f"storage/{account}"


def evolve_storage(state: StorageState, happened: Event) -> StorageState:
    """Fold one event."""
    match happened:
        case StorageOpened():
            return StorageState(happened.account_version)
        case FileWritten(name=name):
            part = Part(happened.sha256, happened.size_bytes)
            held = state.entries.get(name)
            entry = StoredEntry(happened.modified_ns, happened.modified_ns, (part,))
            if held is not None:
                entry = replace(held, modified_ns=happened.modified_ns, parts=(part,))
            return _with(state, name, entry)
        case FileAppended(name=name):
            part = Part(happened.sha256, happened.size_bytes)
            held = state.entries.get(name)
            if held is None or held.parts is None:
                entry = StoredEntry(happened.modified_ns, happened.modified_ns, (part,))
            else:
                parts = (*held.parts, part)
                entry = replace(held, modified_ns=happened.modified_ns, parts=parts)
            return _with(state, name, entry)
        case FileRenamed(name=old, new_name=new):
            moved = {}
            for path, entry in state.entries.items():
                if path == old or path.startswith(f"{old}/"):
                    path = new + path.removeprefix(old)
                moved[path] = entry
            return replace(state, entries=moved)
        case FileDeleted(name=name):
            kept = {path: entry for path, entry in state.entries.items() if path != name}
            return replace(state, entries=kept)
        case FileAttributesSet(name=name):
            held = state.entries.get(name)
            if held is None:
                return state
            changed = replace(
                held, attributes=happened.attributes, attributes_ns=happened.modified_ns
            )
            return _with(state, name, changed)
        case DirectoryCreated(name=name):
            return _with(state, name, StoredEntry(happened.modified_ns, happened.modified_ns))
        case StorageSubscriptionSet(names=names):
            return replace(state, subscribed=names)
        case _:
            return state


def _with(state: StorageState, name: str, entry: StoredEntry) -> StorageState:
    return replace(state, entries={**state.entries, name: entry})


# Names.


def path_name(text: str) -> str:
    """A path in its stored form, without slashes at its ends. Raises :class:`DomainError`.

    ``""`` and ``/`` are the top.
    """
    path = unicodedata.normalize("NFC", text).strip("/")
    if not path:
        return ""
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        raise DomainError(f"{text!r} is nested deeper than {MAX_DEPTH}")
    for part in parts:
        if not _is_component(part):
            raise DomainError(
                f"incorrect file name {text!r}: names have 1 to {MAX_COMPONENT_CHARS} printable "
                'characters without \\ : * ? " < > | and do not begin with a point or ~'
            )
    return path


def _is_component(part: str) -> bool:
    return (
        0 < len(part) <= MAX_COMPONENT_CHARS
        and part.isprintable()
        and part == part.strip()
        and not part.startswith((".", "~"))
        and _FORBIDDEN.isdisjoint(part)
    )


def is_private(path: str) -> bool:
    """Whether a file is its owner's only."""
    return path == PRIVATE or path.startswith(f"{PRIVATE}/")


# Decisions.


def decide_write(
    state: StorageState, name: str, part: Part, now_ns: int, limits: StorageLimits
) -> list[Event]:
    """Make a file, or replace all of it."""
    made = _parents(state, name, now_ns)
    _require_file_place(state, name)
    held = state.file(name)
    if held is not None and held.parts == (part,):
        return []
    growth = part.size_bytes - (0 if held is None else held.size_bytes)
    _require_room(state, limits, growth, part.size_bytes, len(made) + (held is None), held is None)
    return [
        *made,
        FileWritten(name=name, sha256=part.sha256, size_bytes=part.size_bytes, modified_ns=now_ns),
    ]


def decide_append(
    state: StorageState, name: str, part: Part, now_ns: int, limits: StorageLimits
) -> list[Event]:
    """Add to the end of a file, or make it."""
    held = state.file(name)
    if held is None:
        return decide_write(state, name, part, now_ns, limits)
    if not part.size_bytes:
        return []
    _require_room(state, limits, part.size_bytes, held.size_bytes + part.size_bytes, 0, False)
    return [
        FileAppended(name=name, sha256=part.sha256, size_bytes=part.size_bytes, modified_ns=now_ns)
    ]


def decide_make_directory(state: StorageState, name: str, now_ns: int) -> list[Event]:
    """Make a directory, and those it is in."""
    if state.has_directory(name):
        raise DomainError("the directory exists already")
    if name in state.entries:
        raise DomainError("there is a file of this name")
    made = [*_parents(state, name, now_ns), DirectoryCreated(name=name, modified_ns=now_ns)]
    if len(state.entries) + len(made) > MAX_ENTRIES:
        raise DomainError(f"the storage has {MAX_ENTRIES} files and directories: delete some")
    return made


def decide_delete_entry(
    state: StorageState, name: str, *, directory: bool | None = None
) -> list[Event]:
    """Delete a file or an empty directory; `directory` says which of them it must be."""
    entry = state.entries.get(name)
    if entry is None or (directory is not None and entry.is_directory is not directory):
        raise DomainError("unknown directory" if directory else "unknown file")
    if entry.is_directory and state.below(name):
        raise DomainError("the directory is not empty")
    return [FileDeleted(name=name)]


def decide_rename_entry(
    state: StorageState, name: str, new_name: str, now_ns: int, *, directory: bool | None = None
) -> list[Event]:
    """Give a file or a directory another name; nothing may have it."""
    entry = state.entries.get(name)
    if entry is None or (directory is not None and entry.is_directory is not directory):
        raise DomainError("unknown directory" if directory else "unknown file")
    if new_name == name:
        return []
    if not new_name or new_name in state.entries or new_name == PRIVATE:
        raise DomainError("there is a file or directory of the new name")
    if new_name.startswith(f"{name}/"):
        raise DomainError("a directory cannot go into itself")
    deepest = max((path.count("/") for path in state.below(name)), default=name.count("/"))
    if deepest - name.count("/") + new_name.count("/") >= MAX_DEPTH:
        raise DomainError(f"it would be nested deeper than {MAX_DEPTH}")
    made = _parents(state, new_name, now_ns)
    if len(state.entries) + len(made) > MAX_ENTRIES:
        raise DomainError(f"the storage has {MAX_ENTRIES} files and directories: delete some")
    return [*made, FileRenamed(name=name, new_name=new_name)]


def decide_set_attributes(
    state: StorageState, name: str, attributes: Sequence[str], now_ns: int
) -> list[Event]:
    """Replace the attributes of a file or directory; they are elements of XML as text."""
    entry = state.entries.get(name)
    if entry is None:
        raise DomainError("unknown file")
    wanted = tuple(attributes)
    if len(wanted) > MAX_ATTRIBUTES or sum(map(len, wanted)) > MAX_ATTRIBUTES_CHARS:
        raise DomainError(
            f"a file has at most {MAX_ATTRIBUTES} attributes of {MAX_ATTRIBUTES_CHARS} characters"
        )
    if wanted == entry.attributes:
        return []
    return [FileAttributesSet(name=name, attributes=wanted, modified_ns=now_ns)]


def decide_subscribe(state: StorageState, names: Sequence[str]) -> list[Event]:
    """Replace the list of subscribed names."""
    wanted = tuple(dict.fromkeys(names))
    if len(wanted) > MAX_SUBSCRIBED or any(len(name) > 1000 for name in wanted):
        raise DomainError(f"at most {MAX_SUBSCRIBED} names can be subscribed to")
    return [] if wanted == state.subscribed else [StorageSubscriptionSet(names=wanted)]


def decide_open(state: StorageState, account_version: int) -> list[Event]:
    """What must come before anything else is decided on."""
    if state.account_version == account_version:
        return []
    return [StorageOpened(account_version=account_version)]


def _parents(state: StorageState, name: str, now_ns: int) -> list[Event]:
    """The directories that are missing above a name."""
    made: list[Event] = []
    parts = name.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        path = "/".join(parts[:count])
        entry = state.entries.get(path)
        if entry is None:
            made.append(DirectoryCreated(name=path, modified_ns=now_ns))
        elif not entry.is_directory:
            raise DomainError(f"{path} is a file, not a directory")
    return made


def _require_file_place(state: StorageState, name: str) -> None:
    if not name or state.has_directory(name):
        raise DomainError("there is a directory of this name")


def _require_room(
    state: StorageState, limits: StorageLimits, growth: int, size: int, entries: int, new: bool
) -> None:
    most = MAX_FILE_BYTES
    if limits.file_bytes is not None:
        most = min(most, limits.file_bytes)
    if size > most:
        raise DomainError(f"the file would have {size} bytes: {most} are the most")
    if growth > 0 and limits.total_bytes is not None:
        if state.total_bytes + growth > limits.total_bytes:
            raise DomainError(f"the storage is full: it may hold {limits.total_bytes} bytes")
    if new and limits.files is not None and state.files >= limits.files:
        raise DomainError(f"the storage is full: it may hold {limits.files} files")
    if len(state.entries) + entries > MAX_ENTRIES:
        raise DomainError(f"the storage has {MAX_ENTRIES} files and directories: delete some")
