"""Where programs, modules and prompts are found (PBX applications reference §2).

An application environment has three levels: files of the domain hide those of the server, which
hide the stock ones. Language directories come first on every level, so that a stock prompt in the
task's language beats a domain prompt in another one. Names are compared without regard to case.
"""

from __future__ import annotations

import unicodedata
from enum import Enum
from typing import Final, NamedTuple, Protocol

from pbx.script.builtins.registry import Environment
from pbx.script.errors import CompileError, ModuleMissing
from pbx.script.program import CompiledProgram, compile_program
from pbx.script.source import Source

MAX_NAME_CHARS: Final = 128
MEDIA_SUFFIXES: Final = (".wav", ".au", ".mp3", ".gsm")
"""What is tried when a media file is named without its end."""
MAX_COMPILED: Final = 512
"""Compiled files kept in memory: more than a server has."""


class Level(Enum):
    """Who owns a file; searched in this order."""

    DOMAIN = "domain"
    SERVER = "server"
    STOCK = "stock"


class FilePort(Protocol):
    """Stored files. Implemented by a projection of the log, by directories, by tests."""

    def read(self, level: Level, domain: str, language: str | None, name: str) -> bytes | None:
        """A file's content, or None. `domain` matters on the domain level only.

        `name` and `language` are lower case and contain no path separators.
        """
        ...


class Found(NamedTuple):
    """A file and where it was found."""

    level: Level
    language: str | None
    name: str
    data: bytes

    @property
    def path(self) -> str:
        """For messages: ``domain/russian/welcome.wav``."""
        middle = f"{self.language}/" if self.language else ""
        return f"{self.level.value}/{middle}{self.name}"


def safe_name(name: str) -> str | None:
    """A file name in stored form, or None for one that could reach outside of a directory."""
    lowered = unicodedata.normalize("NFC", name.lower())
    if not lowered.strip() or len(lowered) > MAX_NAME_CHARS or lowered.startswith("."):
        return None
    if any(char in '/\\:*?"<>|' or not char.isprintable() for char in lowered):
        return None
    return lowered


class ApplicationFiles:
    """The environment of one domain, with a language selected at each call."""

    def __init__(self, port: FilePort, domain: str) -> None:
        self._port = port
        self.domain = domain

    def find(self, name: str, language: str | None) -> Found | None:
        """The file that a task with this language sees, or None."""
        safe = safe_name(name)
        if safe is None:
            return None
        spoken = safe_name(language) if language else None
        for directory in (spoken, None) if spoken else (None,):
            for level in Level:
                data = self._port.read(level, self.domain, directory, safe)
                if data is not None:
                    return Found(level, directory, safe, data)
        return None

    def find_media(self, name: str, language: str | None) -> Found | None:
        """A prompt; the end of its name may be left out."""
        found = self.find(name, language)
        if found is not None:
            return found
        for suffix in MEDIA_SUFFIXES:
            found = self.find(name + suffix, language)
            if found is not None:
                return found
        return None


class ProgramStore:
    """Compiled programs and modules by content: stored files take effect for tasks to come."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, Environment, bytes], CompiledProgram | CompileError] = {}

    def program(
        self,
        files: ApplicationFiles,
        name: str,
        language: str | None,
        environment: Environment = Environment.REAL_TIME,
        *,
        module: bool = False,
    ) -> CompiledProgram:
        """Find and compile. Raises ``ModuleMissing`` or ``CompileError``."""
        suffix = environment.module_suffix if module else environment.program_suffix
        found = files.find(name + suffix, language)
        if found is None:
            what = "module" if module else "program"
            raise ModuleMissing(f"there is no {what} {name}{suffix} in the environment")
        return self.compile(found.path, found.data, environment)

    def compile(self, path: str, data: bytes, environment: Environment) -> CompiledProgram:
        """Compile, or give what was made of the same text before. Raises ``CompileError``."""
        key = (path, environment, data)
        known = self._compiled.get(key)
        if known is None:
            if len(self._compiled) >= MAX_COMPILED:
                self._compiled.pop(next(iter(self._compiled)))
            try:
                known = compile_program(Source.from_bytes(path, data), environment)
            except CompileError as error:
                known = error
            self._compiled[key] = known
        if isinstance(known, CompileError):
            raise known
        return known


class TaskModules:
    """External sections as one task sees them: in its environment and its language."""

    def __init__(
        self,
        store: ProgramStore,
        files: ApplicationFiles,
        environment: Environment,
        language: str | None,
    ) -> None:
        self._store = store
        self._files = files
        self._environment = environment
        self.language = language
        self._loaded: dict[str, CompiledProgram] = {}

    def module(self, name: str) -> CompiledProgram:
        """The module; a running task keeps the code it loaded first."""
        program = self._loaded.get(name)
        if program is None:
            program = self._store.program(
                self._files, name, self.language, self._environment, module=True
            )
            self._loaded[name] = program
        return program
