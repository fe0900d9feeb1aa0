"""What may be told of a caller's digits: menu choices, never numbers.

Programs read PINs, account numbers and telephone numbers as they read menu choices: digit by
digit. So digits are kept back until it is clear what they were. They are told, as one *choice*,
only if all of this holds:

- it was one digit: before the program read another one it went on (played a prompt or a recording,
  recorded, transferred, hung up, ended);
- a prompt was played before it, since the input before;
- none of these prompts asks for a secret by its name (``enterpin``, ``password`` …).

Otherwise only their number is told. Prompts that speak digits (``n4``) and tones do not count as
prompts: programs play them between the digits of a number, and their names would tell it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pbx.script.environment import MEDIA_SUFFIXES

_SECRET: Final = re.compile(
    r"pin|passw|passcode|secret|cvv|card|code|kennwort|parol", re.IGNORECASE
)
_SPOKEN_DIGIT: Final = re.compile(r"(n|digit|num|number)?_?[0-9]+[a-z]*\Z", re.IGNORECASE)
_NO_PROMPT: Final = frozenset({"", "press", "blank", "silence", "beep", "tone", "data"})
MAX_NAME_CHARS: Final = 64
"""Of a prompt's name that is kept."""


class Choice(NamedTuple):
    """What is told of an input."""

    menu: str
    choice: str
    digits: int
    source: str


def prompt_name(name: str) -> str:
    """A prompt as it is told: lower case, without its end; empty for what is none."""
    plain = name.strip().lower()
    for suffix in MEDIA_SUFFIXES:
        plain = plain.removesuffix(suffix)
    if plain in _NO_PROMPT or _SPOKEN_DIGIT.fullmatch(plain) or not plain.isprintable():
        return ""
    return plain[:MAX_NAME_CHARS]


@dataclass(slots=True)
class Choices:
    """The inputs of one task."""

    tell: bool = True
    """False: never tell a digit."""
    last: str = ""
    """The last prompt."""
    _menu: str = ""
    _secret: bool = False
    _digits: list[str] = field(default_factory=list)
    _source: str = ""

    def played(self, name: str) -> Choice | None:
        """A prompt begins. Returns the input that is complete by that."""
        plain = prompt_name(name)
        if not plain:
            return None
        done = self.flush()
        if not self._menu:
            self._menu = plain
        self._secret = self._secret or _SECRET.search(plain) is not None
        self.last = plain
        return done

    def digit(self, symbol: str, source: str) -> None:
        """The program read a digit."""
        if not self._digits:
            self._source = source
        # What is dropped beyond is counted all the same by its first digits: nobody reads more.
        if len(self._digits) < MAX_NAME_CHARS:
            self._digits.append(symbol)

    def flush(self) -> Choice | None:
        """The program went on: what was read is complete."""
        if not self._digits:
            return None
        told = self.tell and len(self._digits) == 1 and bool(self._menu) and not self._secret
        done = Choice(self._menu, self._digits[0] if told else "", len(self._digits), self._source)
        self._digits.clear()
        self._menu, self._secret, self._source = "", False, ""
        return done
