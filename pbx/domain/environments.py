"""Files of application environments: programs, prompts, texts, by domain and for the whole server.

Streams ``domain/<name>`` and ``server``, category ``pbx.config``, *decided*. The contents are
blobs, stored before the event that names them. Names are kept in lower case, since applications ask
for them in any; a name may begin with a language and a slash.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pbx.domain.accounts import DomainCreated, DomainDeleted
from pbx.domain.setting_events import CONFIG
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Durability, Event, event

MAX_FILES: Final = 5000
"""Of one environment; the stock one has some 600 prompts in each of a few languages."""
MAX_FILE_BYTES: Final = 10 * 1024 * 1024
"""Ten minutes of speech."""
MAX_TOTAL_BYTES: Final = 1024 * 1024 * 1024
"""All files of one environment: the stock prompts in thirty languages, or a day of speech."""
_NAME: Final = re.compile(r"[\w][\w .+@()-]{0,127}")


@event("environment.created.v1", category=CONFIG, durability=Durability.DECIDED)
class EnvironmentCreated(Event):
    """A domain, or a language of it, has an environment of its own."""

    language: str = ""


@event("environment.deleted.v1", category=CONFIG, durability=Durability.DECIDED)
class EnvironmentDeleted(Event):
    """The language is gone from the environment, with its files."""

    language: str


@event("environment.file-stored.v1", category=CONFIG, durability=Durability.DECIDED)
class EnvironmentFileStored(Event):
    """A file is what the blob says from now on."""

    name: str
    sha256: str
    size_bytes: int
    modified_ns: int


@event("environment.file-deleted.v1", category=CONFIG, durability=Durability.DECIDED)
class EnvironmentFileDeleted(Event):
    """A file is gone."""

    name: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of an environment."""

    sha256: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Environment:
    """The environment of a domain or of the server, as of its last event."""

    exists: bool = False
    languages: frozenset[str] = frozenset()
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    """By name, with the language in front."""

    def of_language(self, language: str) -> dict[str, StoredFile]:
        """Files of a language (``""``: the base) by their names in it."""
        prefix = f"{language}/" if language else ""
        return {
            name.removeprefix(prefix): file
            for name, file in self.files.items()
            if name.startswith(prefix) and "/" not in name.removeprefix(prefix)
        }

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(file.size_bytes for file in self.files.values())


NO_ENVIRONMENT: Final = Environment()
SERVER_ENVIRONMENT: Final = Environment(exists=True)
"""The server's is always there."""


def evolve_environment(state: Environment, happened: Event) -> Environment:
    """Fold one event of a domain's or of the server's stream."""
    match happened:
        case EnvironmentCreated(language=""):
            return replace(state, exists=True)
        case EnvironmentCreated(language=language):
            return replace(state, exists=True, languages=state.languages | {language})
        case EnvironmentDeleted(language=language):
            kept = {n: f for n, f in state.files.items() if not n.startswith(f"{language}/")}
            return replace(state, languages=state.languages - {language}, files=kept)
        case EnvironmentFileStored(name=name):
            stored = StoredFile(happened.sha256, happened.size_bytes, happened.modified_ns)
            return replace(state, files={**state.files, name: stored})
        case EnvironmentFileDeleted(name=name):
            return replace(state, files={n: f for n, f in state.files.items() if n != name})
        case DomainCreated() | DomainDeleted():
            return NO_ENVIRONMENT
        case _:
            return state


def folded(text: str) -> str:
    """A name as it is compared: lower case, composed (Unicode NFC), so that a file that comes from
    a system which writes ``é`` as two characters is the same as that of one which does not."""
    return unicodedata.normalize("NFC", text.strip().lower())


def language_name(text: str) -> str:
    """A language in its stored form. Raises :class:`DomainError`."""
    name = folded(text)
    if not _NAME.fullmatch(name):
        raise DomainError(f"{text!r} is no language: letters, digits, blanks and hyphens")
    return name


def file_name(text: str) -> str:
    """A file's name in its stored form. Raises :class:`DomainError`."""
    language, slash, name = folded(text).rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not _NAME.fullmatch(language)):
        raise DomainError(f"unknown file: {text!r} is no file name, nor language/name")
    return f"{language}{slash}{name}"


def decide_create(state: Environment, language: str) -> list[Event]:
    """Make an environment, or a language of it."""
    if (language in state.languages) if language else state.exists:
        raise DomainError("the environment exists already")
    return [EnvironmentCreated(language=language)]


def decide_delete(state: Environment, language: str) -> list[Event]:
    """Remove a language with its files."""
    if language not in state.languages:
        raise DomainError(f"there is no language {language} in the environment")
    return [EnvironmentDeleted(language=language)]


def decide_store(
    state: Environment, name: str, sha256: str, size_bytes: int, now_ns: int
) -> list[Event]:
    """Put a file into the environment, or replace it; its language must be there."""
    language, slash, _ = name.rpartition("/")
    if not state.exists or (slash and language not in state.languages):
        raise DomainError("there is no such environment: create it first")
    if size_bytes > MAX_FILE_BYTES:
        raise DomainError(f"a file of {size_bytes} bytes: {MAX_FILE_BYTES} are the most")
    if name not in state.files and len(state.files) >= MAX_FILES:
        raise DomainError(f"the environment has {MAX_FILES} files: delete some first")
    held = state.files.get(name)
    if held is not None and held.sha256 == sha256:
        return []
    others = state.total_bytes - (0 if held is None else held.size_bytes)
    if others + size_bytes > MAX_TOTAL_BYTES:
        raise DomainError(
            f"the environment would have more than {MAX_TOTAL_BYTES >> 20} MB: delete files first"
        )
    return [
        EnvironmentFileStored(name=name, sha256=sha256, size_bytes=size_bytes, modified_ns=now_ns)
    ]


def decide_remove(state: Environment, name: str) -> list[Event]:
    """Delete a file."""
    if name not in state.files:
        raise DomainError("unknown file")
    return [EnvironmentFileDeleted(name=name)]
