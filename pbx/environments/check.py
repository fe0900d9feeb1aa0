"""What is wrong with a file before callers meet it.

A program that does not compile is stored all the same, as administrators of the re-implemented
product expect; whoever stores it is told each error with its place. A sound that nobody could hear
is refused.
"""

from __future__ import annotations

from typing import Final

from pbx.kernel.errors import DomainError
from pbx.script.builtins.registry import Environment
from pbx.script.environment import MEDIA_SUFFIXES
from pbx.script.errors import CompileError, Diagnostic, Severity

ACCEPTED_SOUND: Final = (
    "WAV files are accepted: PCM of 8, 16 or 24 bits or G.711, 8000 to 48000 samples/s"
)
PROGRAM_SUFFIXES: Final = tuple(
    suffix for one in Environment for suffix in (one.program_suffix, one.module_suffix)
)


def check_file(name: str, data: bytes) -> tuple[Diagnostic, ...]:
    """Findings about a program, in order of their places; nothing for other files.

    Raises :class:`DomainError` for a sound file that cannot be played; it says what is accepted.
    """
    if name.endswith(PROGRAM_SUFFIXES):
        return _program(name, data)
    if name.endswith(MEDIA_SUFFIXES):
        return _sound(name, data)
    return ()


def _program(name: str, data: bytes) -> tuple[Diagnostic, ...]:
    # The compiler is some 5 MB that readers of environments do not need.
    from pbx.script.program import check_program
    from pbx.script.source import Source

    try:
        return tuple(check_program(Source.from_bytes(name, data), Environment.of_file(name)))
    except CompileError as error:
        return error.diagnostics


def _sound(name: str, data: bytes) -> tuple[Diagnostic, ...]:
    if not name.endswith(MEDIA_SUFFIXES[0]):
        message = f"a sound of this kind is kept and not played; {ACCEPTED_SOUND}"
        return (Diagnostic(Severity.WARNING, message, name, 1, 1),)
    from media.errors import WavError
    from media.wav import parse

    try:
        parse(data)
    except WavError as error:
        raise DomainError(f"{name}: {error}; {ACCEPTED_SOUND}") from None
    return ()


def errors_of(findings: tuple[Diagnostic, ...]) -> list[Diagnostic]:
    """Those that make a program unusable."""
    return [one for one in findings if one.severity is Severity.ERROR]


def in_one_line(findings: tuple[Diagnostic, ...], most: int = 3) -> str:
    """The first errors for a reply of one line; empty if there are none."""
    errors = errors_of(findings)
    shown = [f"{one.source}:{one.line}:{one.column}: {one.message}" for one in errors[:most]]
    if len(errors) > most:
        shown.append(f"and {len(errors) - most} more")
    return " ".join("; ".join(shown).split())
