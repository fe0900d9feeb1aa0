"""Commands on application environments: list, read, store and delete files, make languages.

Used by the command protocol and by ``pbx env``, beside a running server or without one. The content
is durable before the event that names it; whoever follows the log (:mod:`pbx.environments.files`)
uses the new file for the next task that asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from pbx.blobs import BlobStore
from pbx.commands import Aggregate, execute, load
from pbx.domain import environments as env
from pbx.domain.environments import Environment, StoredFile
from pbx.environments import archive
from pbx.environments.check import check_file
from pbx.eventlog import EventLog, Meta
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Event
from pbx.script.errors import Diagnostic
from pbx.settings_changes import Target

OF_DOMAIN: Final = Aggregate(env.NO_ENVIRONMENT, env.evolve_environment)
OF_SERVER: Final = Aggregate(env.SERVER_ENVIRONMENT, env.evolve_environment)


class Stored(NamedTuple):
    """What storing a file did."""

    names: tuple[str, ...]
    """Under which names; several for an archive."""
    findings: tuple[Diagnostic, ...]
    """About programs among them: errors do not keep a file from being stored."""


class EnvironmentCommands:
    """In the name of one actor. Every method raises :class:`DomainError`, ``BlobError`` or
    ``LogUnavailable``; when it returns, what it did is durable. `target` is a domain or the
    server."""

    def __init__(
        self,
        log: EventLog,
        blobs: BlobStore,
        wall_ns: Callable[[], int],
        meta: Callable[[str], Meta],
    ) -> None:
        """`meta` makes the envelope of a change from the domain it is about."""
        self._log = log
        self._blobs = blobs
        self._wall_ns = wall_ns
        self._meta = meta

    def state(self, target: Target) -> Environment:
        """The environment now."""
        return load(self._log, _aggregate(target), target.stream)

    def create(self, target: Target, language: str = "") -> None:
        """Make the environment of a domain, or a language of an environment."""
        wanted = env.language_name(language) if language else ""
        self._change(target, lambda state: env.decide_create(state, wanted))

    def delete(self, target: Target, language: str) -> None:
        """Remove a language with its files."""
        wanted = env.language_name(language)
        self._change(target, lambda state: env.decide_delete(state, wanted))

    def files(
        self, target: Target, language: str = ""
    ) -> tuple[Mapping[str, StoredFile], list[str]]:
        """Files of a language by name; with the base, the languages there are, too."""
        wanted = env.language_name(language) if language else ""
        state = self.state(target)
        if not state.exists or (wanted and wanted not in state.languages):
            raise DomainError("there is no such environment")
        found = state.of_language(wanted)
        return dict(sorted(found.items())), [] if wanted else sorted(state.languages)

    def read(self, target: Target, name: str) -> bytes:
        """Content of a file; its name may have a language in front."""
        file = self.state(target).files.get(env.file_name(name))
        if file is None:
            raise DomainError("unknown file")
        return self._blobs.get(file.sha256)

    def store(self, target: Target, name: str, content: bytes, *, create: bool = False) -> Stored:
        """Put a file into the environment, or replace it; an archive: all its members, or none.

        With `create` the environment and the language are made if they are missing.
        """
        stored = env.file_name(name)
        if stored.endswith(archive.SUFFIX):
            if len(content) > archive.MAX_ARCHIVE_BYTES:
                raise DomainError(f"an archive has at most {archive.MAX_ARCHIVE_BYTES >> 20} MB")
            contents = archive.members_of(stored, content)
            create = True  # a language pack brings its language
        else:
            contents = {stored: content}
        findings: tuple[Diagnostic, ...] = ()
        for one, data in contents.items():
            findings += check_file(one, data)
        now_ns = self._wall_ns()
        sizes = {one: ("", len(data)) for one, data in contents.items()}
        # Refused before anything is kept anywhere.
        _decide_all(self.state(target), sizes, now_ns, create=create)
        hashes = {one: (self._blobs.put(data), len(data)) for one, data in contents.items()}
        self._change(target, lambda state: _decide_all(state, hashes, now_ns, create=create))
        return Stored(tuple(contents), findings)

    def remove(self, target: Target, name: str) -> str:
        """Delete a file; returns its name as it was stored."""
        stored = env.file_name(name)
        self._change(target, lambda state: env.decide_remove(state, stored))
        return stored

    def _change(self, target: Target, decide: Callable[[Environment], list[Event]]) -> None:
        meta = self._meta(target.tenant)
        execute(self._log, _aggregate(target), target.stream, decide, meta)


def _aggregate(target: Target) -> Aggregate[Environment]:
    return OF_SERVER if target.kind == "server" else OF_DOMAIN


def _decide_all(
    state: Environment, files: Mapping[str, tuple[str, int]], now_ns: int, *, create: bool
) -> list[Event]:
    """The events that store all `files` (hash and size by name)."""
    events: list[Event] = []

    def happens(decided: list[Event]) -> None:
        nonlocal state
        for event in decided:
            state = env.evolve_environment(state, event)
        events.extend(decided)

    for name, (sha256, size_bytes) in files.items():
        language = name.rpartition("/")[0]
        if create and not state.exists:
            happens(env.decide_create(state, ""))
        if create and language and language not in state.languages:
            happens(env.decide_create(state, language))
        happens(env.decide_store(state, name, sha256, size_bytes, now_ns))
    return events
