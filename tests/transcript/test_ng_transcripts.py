"""Offers and expected answers side by side: every ``tests/transcript/ng/*.txt`` is played.

    === offer FROM-TAG [TO-TAG] [key=value …]      what a party says; commas make lists
    === answer FROM-TAG TO-TAG [key=value …]
    === expect                                     what the other party is shown, line by line
    === error REASON                               or why the request is refused

``$NAME`` stands for a number: it is learned where it appears first and is the same afterwards;
``$NAME+1`` is the next one. Lines starting with # are remarks.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import pytest

from media.ng.messages import Message
from media.server.addresses import Interface
from media.server.service import NgService, ServiceConfig
from tests.support.fake_relay import FakeRelay

FILES: Final = sorted((Path(__file__).parent / "ng").glob("*.txt"))
WAN: Final = Interface("wan", "172.16.1.101", "fd00::101", "203.0.113.10", "2001:db8::10")
LAN: Final = Interface("lan", "172.16.1.101")
_LISTS: Final = frozenset(("direction", "rtcp-mux", "flags", "replace"))


class Step(NamedTuple):
    words: list[str]
    lines: list[str]


def steps_of(path: Path) -> list[Step]:
    steps: list[Step] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("==="):
            steps.append(Step(line.split()[1:], []))
        elif line and not line.startswith("#"):
            steps[-1].lines.append(line)
    return steps


def request_of(step: Step) -> Message:
    command, *rest = step.words
    tags = [word for word in rest if "=" not in word]
    message: Message = {
        "command": command,
        "call-id": "transcript",
        "replace": ["origin"],
        "sdp": "".join(f"{line}\r\n" for line in step.lines),
        **dict(zip(("from-tag", "to-tag"), tags, strict=False)),
    }
    for word in rest:
        key, equals, value = word.partition("=")
        if equals:
            message[key] = value.split(",") if key in _LISTS else value
    return message


class Names:
    """What the numbers in expected lines stand for."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def match(self, expected: str, line: str) -> bool:
        names = re.findall(r"\$([A-Z0-9]+)(\+1)?", expected)
        pattern = re.sub(r"\\\$[A-Z0-9]+(\\\+1)?", r"(\\d+)", re.escape(expected))
        found = re.fullmatch(pattern, line)
        if found is None:
            return False
        numbers = [int(group) for group in found.groups()]
        return all(
            self.known.setdefault(name, number - bool(next_one)) == number - bool(next_one)
            for (name, next_one), number in zip(names, numbers, strict=True)
        )


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_transcript(path: Path) -> None:
    """Every line that a party is shown is the expected one (RFC 3264)."""
    service = NgService(ServiceConfig((WAN, LAN)), FakeRelay(), Random(1))
    names = Names()
    reply: Message = {}
    checks = 0
    for step in steps_of(path):
        if step.words[0] == "expect":
            checks += 1
            assert reply.get("result") == "ok", reply
            assert reply["sdp"].endswith("\r\n")
            lines = reply["sdp"].split("\r\n")[:-1]
            wrong = [
                (expected, line)
                for expected, line in zip(step.lines, lines, strict=False)
                if not names.match(expected, line)
            ]
            assert not wrong
            assert len(lines) == len(step.lines), lines
        elif step.words[0] == "error":
            checks += 1
            assert reply == {"result": "error", "error-reason": " ".join(step.words[1:])}
        else:
            reply = service.handle(request_of(step), 0.0)
    assert checks
    assert len(set(names.known.values())) == len(names.known), "two names for one number"


def test_there_are_transcripts() -> None:
    assert len(FILES) >= 10


def test_names_stand_for_one_number_each() -> None:
    names = Names()
    assert names.match("m=audio $BOB RTP/AVP 8", "m=audio 4000 RTP/AVP 8")
    assert names.match("a=rtcp:$BOB+1", "a=rtcp:4001")
    assert not names.match("a=rtcp:$BOB+1", "a=rtcp:4002")
    assert not names.match("m=audio $BOB RTP/AVP 8", "m=audio 4002 RTP/AVP 8")
    assert not names.match("m=audio $BOB RTP/AVP 8", "m=video 4000 RTP/AVP 8")
