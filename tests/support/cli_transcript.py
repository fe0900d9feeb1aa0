"""Transcripts of the command protocol: ``C:`` what is said, ``S:`` the reply, ``D:`` its data.

A reply is compared as text, in which ``*`` stands for anything; data as an object, since white
space and the order of keys mean nothing. Lines starting with # are remarks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Protocol

from tests.support.cli_client import Reply, read_object

FOLDER: Final = Path(__file__).parents[1] / "transcript" / "cli"
FILES: Final = sorted(FOLDER.glob("*.txt"))


class Speaker(Protocol):
    """Whoever can say a line and hear the answer."""

    def command(self, line: str) -> Reply: ...


@dataclass
class Step:
    """A line and what comes back."""

    said: str
    reply: str = ""
    data: list[str] = field(default_factory=list)


def steps_of(path: Path) -> list[Step]:
    """The steps of a transcript."""
    return steps_of_text(path.read_text(encoding="utf-8"))


def steps_of_text(text: str) -> list[Step]:
    """The same from its text."""
    steps: list[Step] = []
    for line in text.splitlines():
        mark, rest = line[:3], line[3:]
        if mark == "C: ":
            steps.append(Step(rest))
        elif mark == "S: ":
            steps[-1].reply = rest
        elif mark == "D: ":
            steps[-1].data.append(rest)
        else:
            assert not line or line.startswith("#"), line
    assert steps and all(step.reply for step in steps), text
    return steps


def play(path: Path, speaker: Speaker) -> None:
    """Say every line; raises at the first reply that is another one."""
    for step in steps_of(path):
        check(step, speaker.command(step.said))


def check(step: Step, reply: Reply) -> None:
    """Compare one reply."""
    told = f"{reply.code} {reply.text}"
    assert _fits(told, step.reply), f"{step.said}\n  {told}\nexpected\n  {step.reply}"
    if step.data:
        assert reply.has_value, step.said
        wanted = read_object("\n".join(step.data))
        assert reply.value == wanted, f"{step.said}: {reply.value!r} is not {wanted!r}"


def _fits(told: str, wanted: str) -> bool:
    pattern = wanted.replace("[", "[[]").replace("?", "[?]")
    return told == wanted or fnmatchcase(told, pattern)
