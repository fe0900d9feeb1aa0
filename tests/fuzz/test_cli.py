"""Garbage, mutated sessions and mutated commands against the command protocol.

Whatever comes: each line gets one reply of the protocol, the service raises nothing, nothing is
kept beyond its bound, and somebody else's session goes on.
"""

from __future__ import annotations

import logging
import random
import re
from typing import Final

import pytest

from pbx.admin.session import LOGIN_LINE_BYTES, WAITING_LINES
from pbx.admin.table import COMMANDS
from pbx.data import DataError, parse, write
from tests.support.admin_lab import AdminLab
from tests.support.cli_transcript import FILES, steps_of

LINES: Final = [step.said for path in FILES for step in steps_of(path)]
WORDS: Final = [
    "*", "postmaster", "corpX.un", "user1@corpX.un", "nobody@nowhere.example", '""', "()", "{}",
    "(a,(b))", "{a=b;}", "{CallsLimit=many;}", "[AQID]", "#5", "#-1", "#NULL#", "10", "-1", "KEY",
    "PASSWORD", "INTO", "FILE", "DATA", "DELETE", "INC", "SET", "TIMEOUT", "ALERT", "10.0.0.9",
    "::1", "~", '"a\\eb"', "x" * 300, "\u202e", "(5,R,(),())", "((5,R,(),((X))))", "Rules",
    "{p={password=x;};}", "#T01-01-2030", "SHARED", "FORCE", "COOKIE", "FILTER", "\x7f", "1" * 30,
]  # fmt: skip
REPLY: Final = re.compile(r"(200|201|300|5[0-9]{2})( .*)?")


def mutated(text: str, rng: random.Random) -> str:
    """A line with a few characters changed, doubled or missing."""
    letters = list(text)
    for _ in range(rng.randint(1, 4)):
        if not letters:
            break
        at = rng.randrange(len(letters))
        match rng.randrange(4):
            case 0:
                del letters[at]
            case 1:
                letters.insert(at, rng.choice("(){}[]<>;,=\"\\#'@ \t\0é"))
            case 2:
                letters[at] = chr(rng.randrange(1, 0x500))
            case _:
                letters[at:at] = letters[at : at + rng.randint(1, 20)]
    return "".join(letters).replace("\n", " ").replace("\r", " ")


@pytest.fixture
def no_defects(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """A handler that raised is in the log."""
    caplog.set_level(logging.ERROR, "pbx.admin")
    return caplog


@pytest.mark.parametrize("seed", range(4))
def test_random_commands_of_a_master(seed: int, no_defects: pytest.LogCaptureFixture) -> None:
    rng = random.Random(seed)
    lab = AdminLab()
    peer = lab.login()
    names = sorted(set(COMMANDS) - {"KILLACCOUNTSESSIONS", "KILLSESSION", "SETACCOUNTRIGHTS"})
    for _ in range(1500):
        words = [rng.choice(WORDS) for _ in range(rng.randint(0, 5))]
        line = " ".join([rng.choice(names), *words])
        (reply,) = peer.say(line) or [""]
        assert REPLY.fullmatch(reply), (line, reply)
        if "postmaster" in line and peer.closed:
            peer = lab.login()
    assert [record for record in no_defects.records if record.exc_info] == []


@pytest.mark.parametrize("seed", range(4))
def test_mutated_commands_of_a_master(seed: int, no_defects: pytest.LogCaptureFixture) -> None:
    rng = random.Random(seed)
    lab = AdminLab()
    peer = lab.login()
    for _ in range(1500):
        line = mutated(rng.choice(LINES), rng)
        word = line.strip().partition(" ")[0].upper()
        if word in ("QUIT", "USER", "PASS", "") or "postmaster" in line:
            continue
        peer.say(line)
        if peer.closed:
            peer = lab.login()
    assert peer.say("NOOP") == ["200 OK"]
    assert [record for record in no_defects.records if record.exc_info] == []


@pytest.mark.parametrize("seed", range(4))
def test_garbage_from_strangers_disturbs_nobody(
    seed: int, no_defects: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(seed)
    lab = AdminLab()
    administrator = lab.login()
    for _ in range(60):
        peer = lab.open(f"10.0.0.{rng.randrange(1, 255)}")
        for _ in range(30):
            data = rng.randbytes(rng.randint(1, 3000))
            if rng.random() < 0.3:
                data = (mutated(rng.choice(LINES), rng) + "\n").encode("utf-8", "replace")
            if peer.closed:
                break
            peer.send(data)
            session = peer.session
            assert len(session._buffer) <= LOGIN_LINE_BYTES
            assert len(session._lines) <= WAITING_LINES + 3000
            peer.wait()
    assert administrator.say("ECHO alive") == ["201 alive"]
    assert [record for record in no_defects.records if record.exc_info] == []


@pytest.mark.parametrize("seed", range(4))
def test_mutated_objects(seed: int) -> None:
    rng = random.Random(seed)
    texts = [line.partition(" ")[2] for line in LINES if " " in line]
    for _ in range(4000):
        text = mutated(rng.choice(texts), rng)
        try:
            value = parse(text)
        except DataError:
            continue
        assert parse(write(value)) == value
