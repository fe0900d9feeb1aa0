"""Passwords and names that an external program knows (Objects and settings reference §8.2).

What a log-in asks, and what the answers mean. Asking blocks; :mod:`pbx.admin.service` does it
without its lock, since a program that is asked about a new name makes the account by a command.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol

from pbx.admin.credentials import Apop, CramMd5, DigestMd5, Plain, Proof, Stored, proves
from sip.digest import ha1

log = logging.getLogger("pbx.admin")

ASKING: Final = 8
"""Log-ins that ask at once; more count as not answered. Commands have other threads."""
ROUNDS: Final = 3
"""Questions about names of one log-in: it may be another account's that has to be made."""
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{32}")


class AskProgram(Protocol):
    """The program (:class:`pbx.helper.blocking.BlockingHelper`)."""

    def ask(self, command: str, words: tuple[str, ...]) -> tuple[str, str]:
        """Word and text of the answer; ``FAILURE`` if there is none. Blocks."""
        ...


class Verdict(Enum):
    """What came of a question about a password."""

    PROVED = "proved"
    WRONG = "wrong"
    SILENT = "silent"
    """No answer, or none to speak of: nobody is to blame for that."""


class Unknown(NamedTuple):
    """A name that nobody has, ``name@domain``; the program may make it or say whose it is."""

    address: str


class Kept(NamedTuple):
    """An account, ``name@domain``, whose password the program may have."""

    address: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the program said about a log-in."""

    name: str
    """Who logs in: the name that was given, or what it is routed to."""
    address: str = ""
    """The account whose password was asked about; empty if none was."""
    verdict: Verdict = Verdict.WRONG

    def proves(self, address: str) -> bool:
        """Whether the log-in of this account is right by what the program said."""
        return self.verdict is Verdict.PROVED and self.address == address


def ask_name(program: AskProgram, address: str) -> tuple[Verdict, str]:
    """About a name that nobody has: PROVED if there is an account now, and the address that the
    name stands for, if it is another."""
    word, text = program.ask("NEW", (address,))
    match word:
        case "OK":
            return Verdict.PROVED, ""
        case "ROUTED" if text:
            return Verdict.PROVED, text
        case "ERROR":
            return Verdict.WRONG, ""
    log.warning("no answer about a name: %s", text if word == "FAILURE" else word[:40])
    return Verdict.SILENT, ""


def ask_password(
    program: AskProgram, address: str, proof: Proof, protocol: str, peer: str
) -> Verdict:
    """Whether `proof` is right by the password that the program has for an account."""
    mode, source = f"({protocol})", f"[{peer}]"
    match proof:
        case Plain(password) if _is_word(password):
            told = _verdict(program.ask("VRFY", (mode, address, password, source)))
            if told is not Verdict.SILENT:
                return told
            # What it answers with FAILURE it may not know: then it may tell the password itself.
            _, text = _read_plain(program, address)
            return _compared(address, text, proof) if text else told
        case Apop(key, digest):
            method = "APOP"
        case CramMd5(key, digest):
            method = "CRAM-MD5"
        case Plain() | DigestMd5():
            word, text = _read_plain(program, address)
            return _compared(address, text, proof) if text else _verdict((word, "READPLAIN"))
    if not _DIGEST.fullmatch(digest):
        return Verdict.WRONG
    _, text = _read_plain(program, address)
    if text:
        return _compared(address, text, proof)
    return _verdict(program.ask(f"SASL({method})", (mode, address, digest, key, source)))


def _read_plain(program: AskProgram, address: str) -> tuple[str, str]:
    """The word of the answer, and the password in clear if the program tells it."""
    word, text = program.ask("READPLAIN", (address,))
    return word, text if word == "PLAIN" else ""


def _compared(address: str, text: str, proof: Proof) -> Verdict:
    name, _, realm = address.partition("@")
    stored = Stored(
        name, realm, ha1("MD5", name, realm, text), ha1("SHA-256", name, realm, text), text
    )
    return Verdict.PROVED if proves(stored, proof) else Verdict.WRONG


def _verdict(answer: tuple[str, str]) -> Verdict:
    word, text = answer
    match word:
        case "OK":
            return Verdict.PROVED
        case "ERROR":
            return Verdict.WRONG
    log.warning("no answer about a password: %s", text if word == "FAILURE" else word[:40])
    return Verdict.SILENT


def _is_word(password: str) -> bool:
    """Whether it can be a word of a request's line."""
    return bool(password) and password.isprintable() and " " not in password
