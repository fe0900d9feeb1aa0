"""Voice mail with real phones: lamps, a message that is left, heard in the INBOX, and deleted."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media import wav
from tests.interop.conftest import SETTINGS, PhoneOf, with_accounts
from tests.support.phones import PjsuaPhone, listen
from tests.support.server_process import DOMAIN, ServerProcess

pytestmark = [pytest.mark.interop, pytest.mark.needs("pjsua2")]

ALICE = f"alice@{DOMAIN}"
BOB_HZ = 1300


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


def dominant_hz(path: Path) -> float:
    """The strongest frequency of the loudest second of a recording."""
    sound = wav.parse(path.read_bytes())
    count = sound.rate_hz
    pcm = sound.pcm.astype(np.float64)
    starts = range(0, max(1, len(pcm) - count), count // 4)
    loudest = max((pcm[at : at + count] for at in starts), key=lambda part: float(np.std(part)))
    assert float(np.std(loudest)) > 500, "nothing to be heard"
    spectrum = np.abs(np.fft.rfft(loudest * np.hanning(len(loudest))))
    return float(np.argmax(spectrum)) * sound.rate_hz / len(loudest)


def hears(phone: PjsuaPhone, frequency_hz: float, within_s: float) -> None:
    """Wait until the phone hears a tone."""
    deadline = time.monotonic() + within_s
    while True:
        (heard,) = listen(phone, seconds=1.2)
        if heard.is_at(frequency_hz):
            return
        assert time.monotonic() < deadline, f"hears {heard}, not {frequency_hz} Hz"


def test_a_message_is_left_heard_and_deleted(
    own_server: ServerProcess, phone_of: PhoneOf, tmp_path: Path
) -> None:
    """No answer in two seconds: voice mail; then the own number plays the message."""
    own_server.run("account", "control", ALICE, "--voicemail-after", "2", "--self-calls")
    alice = phone_of(own_server, "alice", 440, mwi=True)
    lamp = Lamp(alice)
    assert lamp.next() == ("no", 0, 0, 0, 0)

    bob = phone_of(own_server, "bob", BOB_HZ)
    called_s = time.monotonic()
    call = bob.call(f"sip:{ALICE}")
    ringing = alice.ringing()
    bob.confirmed(call)
    assert time.monotonic() - called_s > 1.9
    alice.ended(ringing)
    bob.do("dtmf", call=call, digits="1")  # the greeting is left out
    time.sleep(8)  # the prompt, the tone, and some seconds to speak in
    bob.hangup(call)
    bob.ended(call)
    assert lamp.next() == ("yes", 1, 0, 0, 0)
    (message,) = mailbox(own_server, "show", "INBOX")
    assert message["flags"] == "Media"
    assert "bob" in message["sender"]
    recorded = tmp_path / "left.wav"
    mailbox(own_server, "export", "INBOX", "1", "--audio", str(recorded))
    assert dominant_hz(recorded) == pytest.approx(BOB_HZ, abs=5)

    # Her other phone, which has made no call before.
    desk = phone_of(own_server, "alice", 440, transport="tcp")
    menu = desk.call(f"sip:{ALICE}")
    desk.confirmed(menu)
    time.sleep(0.3)
    desk.do("dtmf", call=menu, digits="51")
    time.sleep(0.5)
    desk.do("dtmf", call=menu, digits="1")  # the new ones
    hears(desk, BOB_HZ, 8)
    desk.do("dtmf", call=menu, digits="7")  # delete
    time.sleep(1)
    desk.do("dtmf", call=menu, digits="*")
    seen = [lamp.next()]
    while seen[-1] != ("no", 0, 0, 0, 0):
        seen.append(lamp.next())
    desk.hangup(menu)
    own_server.await_no_calls()
    deadline = time.monotonic() + 5
    while mailbox(own_server, "show", "INBOX"):
        assert time.monotonic() < deadline, "not expunged on leaving"
        time.sleep(0.2)
