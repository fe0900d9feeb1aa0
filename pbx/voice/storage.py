"""The file storage of accounts for programs: ``ReadStorageFile`` and its relatives.

A :class:`~pbx.voice.services.Provider`. Everything touches the disk, so requests are carried out on
a thread of their own, in order, and answered when they are done. A program has the rights of the
account it runs under: its own files; those of others (``~name/file``) as an administrator of files
of their domain, or as their attributes grant (:mod:`pbx.environments.rights`).

Not provided: ``LockStorageFile``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from pbx.domain.storage import StoredEntry, path_name
from pbx.environments import FileStorage, Position, Right, granted
from pbx.eventlog import Meta
from pbx.kernel.errors import DomainError, PbxError
from pbx.script.errors import ProgramException
from pbx.script.limits import Limits, Meter
from pbx.script.requests import storage as rq
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import PENDING, Answer
from pbx.script.runtime.task import Task
from pbx.script.textform import object_to_text, text_to_object
from pbx.script.values import Data, Dictionary, Timestamp, Value, Xml, string_of, text_of
from pbx.voice.services import Handler

log = logging.getLogger("pbx.voice")

MAX_READ_BYTES: Final = 1 << 20
"""What a program may read at once."""
_NS_PER_S: Final = 1_000_000_000
_POSITIONS: Final = {"end": Position.END, "append": Position.END, "new": Position.NEW}

Work = Callable[[], Value]
Done = Callable[[Value | Exception], None]


class Run(Protocol):
    """Carries work out off the thread of the tasks: it touches the disk."""

    def __call__(self, work: Work, done: Done, /) -> object:
        """`done` is called on the thread of the tasks with what `work` returned or raised. False:
        too much is waiting already, and `done` is never called."""
        ...


class _Place(NamedTuple):
    owner: str
    path: str
    asking: str
    """The account of the task."""


class StorageProvider:
    """See the module."""

    def __init__(
        self,
        storage: FileStorage,
        run: Run,
        answer: Callable[[Task, Value], None],
        *,
        account_of: Callable[[str, str], str],
        administers: Callable[[str, str], bool],
    ) -> None:
        """`answer` is ``TaskNode.answer``. `account_of` gives the account that a name in a domain
        means, or nothing; `administers` says whether an account may handle all files of another,
        as an administrator of its domain with ``CanAccessWebSites``."""
        self._storage = storage
        self._run = run
        self._answer = answer
        self._account_of = account_of
        self._administers = administers

    def handlers(self) -> Mapping[type[HostRequest], Handler]:
        """Request class to what carries it out."""
        return {
            rq.ReadStorageFile: self._read,
            rq.WriteStorageFile: self._write,
            rq.AppendStorageFile: self._append,
            rq.DeleteStorageFile: self._delete,
            rq.RenameStorageFile: self._rename,
            rq.CreateStorageDirectory: self._make_directory,
            rq.RenameStorageDirectory: self._rename,
            rq.DeleteStorageDirectory: self._delete,
            rq.ListStorageFiles: self._list,
            rq.ReadStorageFileAttr: self._read_attributes,
            rq.WriteStorageFileAttr: self._write_attributes,
        }

    # Reading: null for anything that is not there or not allowed.

    def _read(self, task: Task, request: rq.ReadStorageFile) -> Answer:
        name, position, limit = request.file, 0, MAX_READ_BYTES
        if isinstance(name, Dictionary):
            at, most = name.get(b"position"), name.get(b"limit")
            position = at if isinstance(at, int) else 0
            limit = min(most, MAX_READ_BYTES) if isinstance(most, int) else MAX_READ_BYTES
            name = name.get(b"fileName")
        if not isinstance(name, bytes) or position < 0 or limit < 0:
            return None
        whole = not isinstance(request.file, Dictionary)
        asked = self._place(task, text_of(name))

        def work() -> Value:
            place = self._allowed(asked, Right.READ)
            found = self._storage.read(place.owner, place.path, position, limit)
            if whole and found.size_bytes > MAX_READ_BYTES:
                return None  # a piece of a file is only given to who asks for one
            return Data(found.data)

        return self._later(task, work, refusal=lambda problem: None)

    def _list(self, task: Task, request: rq.ListStorageFiles) -> Answer:
        asked = self._place(task, request.directory)

        def work() -> Value:
            place = self._allowed(asked, Right.LIST)
            found = Dictionary()
            for name, entry in self._storage.listing(place.owner, place.path).items():
                found.set(string_of(name), _described(entry))
            return found

        return self._later(task, work, refusal=lambda problem: None)

    def _read_attributes(self, task: Task, request: rq.ReadStorageFileAttr) -> Answer:
        wanted = request.attributes
        names = wanted if isinstance(wanted, list) else [] if wanted is None else [wanted]
        keep = {text_of(one) for one in names if isinstance(one, bytes)}
        asked = self._place(task, request.name)

        def work() -> Value:
            place = self._allowed(asked, Right.READ)
            found: list[Value] = []
            for text in self._storage.attributes(place.owner, place.path):
                element = text_to_object(Meter(Limits()), string_of(text))
                if isinstance(element, Xml) and (not keep or _xml_name(element) in keep):
                    found.append(element)
            return found

        return self._later(task, work)

    # Changing: null, or an error string.

    def _write(self, task: Task, request: rq.WriteStorageFile) -> Answer:
        name, position = request.file, Position.REPLACE
        where: Position | int = position
        if isinstance(name, Dictionary):
            given = name.get(b"position")
            if isinstance(given, bytes):
                known = _POSITIONS.get(text_of(given).lower())
                if known is None:
                    return b"the position is a number, end, append or new"
                where = known
            elif isinstance(given, int):
                where = given
            name = name.get(b"fileName")
        octets = _octets(request.data)
        if not isinstance(name, bytes) or octets is None:
            return b"expected the name of a file, and a datablock or a string"
        return self._write_at(task, text_of(name), octets, where)

    def _append(self, task: Task, request: rq.AppendStorageFile) -> Answer:
        octets = _octets(request.data)
        if octets is None:
            raise ProgramException("AppendStorageFile takes a datablock or a string")
        return self._write_at(task, request.name, octets, Position.END)

    def _write_at(self, task: Task, name: str, octets: bytes, position: Position | int) -> Answer:
        asked = self._place(task, name)

        def work() -> Value:
            place = self._allowed(asked, Right.WRITE)
            self._storage.write(place.owner, place.path, octets, _meta(place), position)
            return None

        return self._later(task, work)

    def _delete(
        self, task: Task, request: rq.DeleteStorageFile | rq.DeleteStorageDirectory
    ) -> Answer:
        asked = self._place(task, request.name)
        directory = isinstance(request, rq.DeleteStorageDirectory)

        def work() -> Value:
            place = self._allowed(asked, Right.DELETE)
            self._storage.delete(place.owner, place.path, _meta(place), directory=directory)
            return None

        return self._later(task, work)

    def _rename(
        self, task: Task, request: rq.RenameStorageFile | rq.RenameStorageDirectory
    ) -> Answer:
        asked = self._place(task, request.name)
        asked_new = self._place(task, request.new_name)
        directory = isinstance(request, rq.RenameStorageDirectory)

        def work() -> Value:
            place = self._allowed(asked, Right.DELETE)
            new = self._allowed(asked_new, Right.WRITE)
            if new.owner != place.owner:
                raise DomainError("a file stays in the storage it is in")
            self._storage.rename(
                place.owner, place.path, new.path, _meta(place), directory=directory
            )
            return None

        return self._later(task, work)

    def _make_directory(self, task: Task, request: rq.CreateStorageDirectory) -> Answer:
        asked = self._place(task, request.name)

        def work() -> Value:
            place = self._allowed(asked, Right.WRITE)
            self._storage.make_directory(place.owner, place.path, _meta(place))
            return None

        return self._later(task, work)

    def _write_attributes(self, task: Task, request: rq.WriteStorageFileAttr) -> Answer:
        meter = Meter(Limits())
        given = [one for one in request.attributes if isinstance(one, Xml)]
        if len(given) != len(request.attributes):
            return b"attributes are an array of XML objects"
        elements = {_xml_name(one): text_of(object_to_text(meter, one)) for one in given}
        asked = self._place(task, request.name)

        def work() -> Value:
            place = self._allowed(asked, None)
            kept: dict[str, str] = {}
            for text in self._storage.attributes(place.owner, place.path):
                element = text_to_object(Meter(Limits()), string_of(text))
                if isinstance(element, Xml):
                    kept[_xml_name(element)] = text
            kept.update(elements)
            self._storage.set_attributes(place.owner, place.path, list(kept.values()), _meta(place))
            return None

        return self._later(task, work)

    # Whose file, and may the program have it.

    def _place(self, task: Task, name: str) -> _Place | str:
        """Where a file is, or why it is nowhere. On the thread of the tasks."""
        asking = task.account
        if asking is None:
            return "the task has no account"
        owner = asking
        if name.startswith("~"):
            user, _, name = name[1:].partition("/")
            local, at, domain = user.partition("@")
            owner = self._account_of(local, domain if at else task.domain or "")
            if not owner:
                return "unknown user account"
        return _Place(owner, name, asking)

    def _allowed(self, place: _Place | str, right: Right | None) -> _Place:
        """On the worker's thread. None for a right: the owner's only."""
        if isinstance(place, str):
            raise DomainError(place)
        owner, name, asking = place
        path = path_name(name)
        if owner != asking and not self._administers(asking, owner):
            if right is None or not granted(self._storage.state(owner), path, owner, asking, right):
                raise DomainError("insufficient access rights")
        return _Place(owner, path, asking)

    def _later(
        self,
        task: Task,
        work: Work,
        refusal: Callable[[str], Value] = string_of,
    ) -> Answer:
        def done(result: Value | Exception) -> None:
            if isinstance(result, PbxError):
                result = refusal(str(result))
            elif isinstance(result, Exception):
                log.error("the file storage failed", exc_info=result)
                result = refusal("500-internal error")
            if isinstance(result, Data):
                try:
                    result = task.machine.sized_data(result.octets)
                except ProgramException:
                    result = None
            self._answer(task, result)

        if self._run(work, done) is False:
            return refusal("503-the file storage has too much to do")
        return PENDING


def _meta(place: _Place) -> Meta:
    return Meta(actor=place.asking, tenant=place.owner.rpartition("@")[2], causation="application")


def _octets(value: Value) -> bytes | None:
    if isinstance(value, Data):
        return value.octets
    return value if isinstance(value, bytes) else None


def _xml_name(element: Xml) -> str:
    return f"{element.prefix}:{element.type}" if element.prefix else element.type


def _described(entry: StoredEntry) -> Dictionary:
    found = Dictionary()
    if not entry.is_directory:
        found.set(b"STFileSize", entry.size_bytes)
    found.set(b"STCreated", Timestamp(entry.created_ns // _NS_PER_S))
    found.set(b"STModified", Timestamp(entry.modified_ns // _NS_PER_S))
    changed = entry.attributes_ns or entry.modified_ns
    found.set(b"MetaModified", Timestamp(changed // _NS_PER_S))
    return found
