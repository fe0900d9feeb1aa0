"""The lamp of a real phone follows the flags of voice messages, across a restart of the server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from media import wav
from tests.interop.conftest import SETTINGS, PhoneOf, with_accounts
from tests.support.phones import PjsuaPhone
from tests.support.server_process import DOMAIN, ServerProcess

pytestmark = [pytest.mark.interop, pytest.mark.needs("pjsua2")]

ALICE = f"alice@{DOMAIN}"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """One that may be restarted."""
    with ServerProcess(tmp_path / "server", settings=SETTINGS) as made:
        yield with_accounts(made)


class Lamp:
    """What a phone was told, NOTIFY by NOTIFY."""

    def __init__(self, phone: PjsuaPhone) -> None:
        self._phone = phone
        self._after = 0

    def next(self) -> tuple[str | int, ...]:
        """Lit, new, old, urgent new, urgent old."""
        told = self._phone.wait("mwi", after=self._after)
        self._after = self._phone.events.index(told) + 1
        body = told["message"]
        counts = re.search(r"Voice-Message: (\d+)/(\d+) \((\d+)/(\d+)\)", body)
        waiting = re.search(r"Messages-Waiting: (\w+)", body)
        assert counts is not None, body
        assert waiting is not None, body
        assert f"Message-Account: sip:{ALICE}" in body
        return (waiting[1], *map(int, counts.groups()))


def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording.wav"
    path.write_bytes(wav.header(8000, 8000) + bytes(16_000))
    return path


def mailbox(server: ServerProcess, action: str, *arguments: str) -> Any:
    return json.loads(server.run("mailbox", action, ALICE, *arguments, "--json"))


def test_the_lamp_follows_the_mailbox(
    own_server: ServerProcess, phone_of: PhoneOf, tmp_path: Path
) -> None:
    lamp = Lamp(phone_of(own_server, "alice", mwi=True))
    assert lamp.next() == ("no", 0, 0, 0, 0)

    sound = str(recording(tmp_path))
    assert mailbox(own_server, "store", sound, "--from", f"bob@{DOMAIN}")["uid"] == 1
    assert lamp.next() == ("yes", 1, 0, 0, 0)
    mailbox(own_server, "mark", "INBOX", "1", "--seen")
    assert lamp.next() == ("no", 0, 1, 0, 0)
    mailbox(own_server, "mark", "INBOX", "1", "--unseen")
    assert lamp.next() == ("yes", 1, 0, 0, 0)

    own_server.stop()
    own_server.start()
    lamp = Lamp(phone_of(own_server, "alice", transport="tcp", mwi=True))
    assert lamp.next() == ("yes", 1, 0, 0, 0)
    exported = tmp_path / "exported.wav"
    mailbox(own_server, "export", "INBOX", "1", "--audio", str(exported))
    assert exported.read_bytes() == Path(sound).read_bytes()
    mailbox(own_server, "delete", "INBOX", "1")
    assert lamp.next() == ("no", 0, 0, 0, 0)
    assert "equal to the live tables" in own_server.run("replay", "mailboxes")
