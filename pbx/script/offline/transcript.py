"""What happened in an offline run, in order of virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MAX_ENTRIES: Final = 20_000
"""A run that tells more is endless in one way or another."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line."""

    time_s: float
    """Virtual seconds since the run began."""
    who: str
    """The task (``T1``), or ``caller``, or a destination's address."""
    what: str
    """A word to select by: ``answer``, ``play``, ``log`` …"""
    text: str
    """The sentence for people."""

    def __str__(self) -> str:
        return f"{self.time_s:9.3f}  {self.who:<8} {self.text}"


@dataclass(slots=True)
class Transcript:
    """All lines of a run."""

    entries: list[Entry] = field(default_factory=list)
    overflow: bool = False

    def add(self, time_s: float, who: str, what: str, text: str) -> None:
        """Append a line."""
        if len(self.entries) < MAX_ENTRIES:
            self.entries.append(Entry(time_s, who, what, text))
        else:
            self.overflow = True

    def of(self, what: str, who: str | None = None) -> list[str]:
        """Texts of the lines of one kind (of one party)."""
        return [one.text for one in self.entries if one.what == what and who in (None, one.who)]

    def __str__(self) -> str:
        lines = [str(one) for one in self.entries]
        if self.overflow:
            lines.append(f"… more than {MAX_ENTRIES} lines: the rest is left out")
        return "\n".join(lines)
