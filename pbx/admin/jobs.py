"""What a connection asks the service to do, and what it gets back."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from pbx.admin.credentials import Proof
from pbx.data import Value

SEEN_SECTIONS: Final = 200
"""Sections whose version a session remembers; scripts that read more lose only the warning."""


@dataclass(slots=True)
class Client:
    """Who is at the other end; lives as long as the connection (or the HTTP request)."""

    address: str
    """Numeric, no port."""
    protocol: str = "PWD"
    secure: bool = False
    """TLS."""
    account: str = ""
    """``name@domain`` once logged in."""
    session: str = ""
    """Id in the table of sessions; empty before the login."""
    killed: bool = False
    """An administrator ended it."""
    gone: bool = False
    """The connection is closed."""
    seen: OrderedDict[tuple[str, str], int] = field(default_factory=OrderedDict)
    """Version of what was read, by stream and section."""

    def saw(self, stream: str, section: str, version: int) -> None:
        """Remember what was shown, for the conflict with another administrator."""
        self.seen[stream, section] = version
        self.seen.move_to_end((stream, section))
        if len(self.seen) > SEEN_SECTIONS:
            self.seen.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Login:
    """Prove an account."""

    name: str
    proof: Proof


@dataclass(frozen=True, slots=True)
class Command:
    """Carry out one command line."""

    line: str


@dataclass(frozen=True, slots=True)
class NewPassword:
    """The owner changes the own password."""

    password: str

    def __repr__(self) -> str:
        return "NewPassword(…)"


Job: TypeAlias = Login | Command | NewPassword


@dataclass(frozen=True, slots=True)
class Done:
    """Success without output."""

    text: str = "OK"


@dataclass(frozen=True, slots=True)
class Data:
    """Success with an object."""

    value: Value


@dataclass(frozen=True, slots=True)
class Refused:
    """An error reply; `delay_s` is how long it is kept back."""

    code: int
    text: str
    delay_s: float = 0.0


Outcome: TypeAlias = Done | Data | Refused
