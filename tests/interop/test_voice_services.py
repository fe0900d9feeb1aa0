"""Services that programs give to real phones: a conference of thirty, parking, the web callback."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media import wav
from tests.interop.conftest import SETTINGS, PhoneOf, with_accounts
from tests.interop.peers.choir import HEARD_DBFS, Choir, spectrum_of
from tests.support.cli_client import CliClient
from tests.support.phones import PjsuaPhone, assert_talking, listen
from tests.support.server_process import DOMAIN, ServerProcess
from tests.support.tones import read_wav

pytestmark = [pytest.mark.interop, pytest.mark.needs("pjsua2")]

ALICE_HZ, BOB_HZ, CAROL_HZ = 440, 1000, 1300
PASSWORD = "Pa$$w0rd"
PRINTED = Path(__file__).parents[1] / "data" / "script"
PARK_RECORDS = """\
Signal:<801@*> = park{1}#pbx
Signal:<802@*> = pickup{1}#pbx
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """With the Router table of a new installation; 401 to 404 are the accounts."""
    directory = tmp_path_factory.mktemp("services")
    options = ("--admin", "127.0.0.1:0")
    with ServerProcess(
        directory / "server", settings=SETTINGS, options=options, commands=True
    ) as made:
        with_accounts(made)
        for number, name in enumerate(("alice", "bob", "carol", "dave"), 401):
            made.run("alias", "add", str(number), f"{name}@{DOMAIN}")
        made.run("account", "rights", f"pbx@{DOMAIN}", "Domain", "CanImpersonate")
        made.run("account", "passwd", f"postmaster@{DOMAIN}", "--password", PASSWORD)
        table = directory / "router"
        table.write_text(PARK_RECORDS + made.run("router", "show"))
        made.run("router", "set", str(table))
        yield made


def command(server: ServerProcess, *lines: str) -> Any:
    """Commands of an administrator; the value of the last one."""
    with CliClient(*server.addresses["cli"]) as client:
        assert client.login("postmaster", PASSWORD).code == 200
        for line in lines:
            reply = client.command(line)
            assert reply.code in (200, 201), (line, reply)
    return reply.value


# ------------------------------------------------------------------------------------ conference

HOST_HZ = 400
TONES_HZ = range(HOST_HZ + 80, HOST_HZ + 80 * 30, 80)
"""Of the other 29."""
LATE_HZ = TONES_HZ[-1] + 80
"""Of one who comes when all are muted."""
WORDS_HZ = {"n30": 3100, "n20": 3200, "n9": 3300}
"""Words of the announced number as tones, so that it can be measured."""


def tone_file(path: Path, frequency_hz: int) -> Path:
    time_s = np.arange(8000) / 8000
    pcm = (3000 * np.sin(2 * np.pi * frequency_hz * time_s)).astype("<i2").tobytes()
    path.write_bytes(wav.header(8000, len(pcm) // 2) + pcm)
    return path


def everybody_but(own_hz: int, among_hz: Collection[int]) -> set[int]:
    return {hz for hz in among_hz if hz != own_hz}


def heard_by(phone: PjsuaPhone, recording: Path, among_hz: Collection[int]) -> set[int]:
    """The same of a pjsua2 phone, by what it recorded."""
    phone.stop_recording()
    pcm, _ = read_wav(recording)
    spectrum = spectrum_of(pcm)
    return {hz for hz in among_hz if spectrum[hz] > HEARD_DBFS}


class Thirty:
    """A conference of a pjsua2 host and 29 legs of RTP."""

    def __init__(self, host: PjsuaPhone, call: int, choir: Choir) -> None:
        self.host = host
        self.call = call
        self.choir = choir

    def heard(self, among_hz: Collection[int], seconds: float = 0.5) -> dict[int, set[int]]:
        """Who hears which of some frequencies, by his own; the host's is among them."""
        recording = self.host.start_recording()
        self.choir.listen(seconds)
        found = self.choir.hears(among_hz)
        return {HOST_HZ: heard_by(self.host, recording, among_hz), **found}

    def keys(self, digits: str) -> None:
        self.host.do("dtmf", call=self.call, digits=digits)

    def settled(self, among_hz: Collection[int], expected: dict[int, set[int]]) -> None:
        """Wait until everybody hears what he should: keys and joins take a moment."""
        deadline = time.monotonic() + 10
        while (found := self.heard(among_hz)) != expected:
            assert time.monotonic() < deadline, {
                hz: (found[hz], expected[hz]) for hz in found if found[hz] != expected[hz]
            }


def created(server: ServerProcess, host: PjsuaPhone) -> tuple[int, str]:
    """A conference made by its menu: the host's call and the PIN, which comes by mail."""
    call = host.call(f"sip:760@{DOMAIN}")
    host.confirmed(call)
    time.sleep(0.3)
    host.do("dtmf", call=call, digits="11")  # create, an open one
    deadline = time.monotonic() + 10
    while True:
        mail = server.run("mailbox", "show", f"alice@{DOMAIN}", "INBOX", "--json")
        if found := re.search(r"Conference (\d{6})", mail):
            return call, found[1]
        assert time.monotonic() < deadline, mail


def test_a_conference_of_thirty_with_mute(
    server: ServerProcess, phone_of: PhoneOf, tmp_path: Path
) -> None:
    """Who hears whom is found by FFT, leg by leg: everybody, and after ``*6`` only the host."""
    words = [tone_file(tmp_path / f"{name}.wav", hz) for name, hz in WORDS_HZ.items()]
    server.run("env", "put", *map(str, words))
    alice = phone_of(server, "alice", HOST_HZ)
    call, pin = created(server, alice)
    accounts = ("bob", "carol", "dave")
    singers = {hz: accounts[n % len(accounts)] for n, hz in enumerate([*TONES_HZ, LATE_HZ])}
    with Choir(server, singers) as choir:
        thirty = Thirty(alice, call, choir)
        thirty.keys("2" + pin)
        deadline = time.monotonic() + 10
        while "hostconference" not in server.run("task", "list", "--running"):
            assert time.monotonic() < deadline, "who comes first starts an open conference"
        for hz in TONES_HZ:
            choir.singers[hz].call("760")
            choir.singers[hz].press("2" + pin)
        all_hz = [HOST_HZ, *TONES_HZ]
        server.await_calls(30)

        # Everybody hears the host, and the host only: the others are there and silent.
        with choir.singing(()):
            thirty.settled(all_hz, {hz: everybody_but(hz, [HOST_HZ]) for hz in all_hz})
        # Six at a time, which is what is mixed: all 870 pairs in all.
        alice.tone(0)
        for first in range(0, len(TONES_HZ), 6):
            group = list(TONES_HZ[first : first + 6])
            with choir.singing(group):
                thirty.settled(all_hz, {hz: everybody_but(hz, group) for hz in all_hz})

        # The number that is told, in words that are tones here: thirty.
        thirty.keys("*5")
        told = thirty.heard(WORDS_HZ.values(), 2.5)
        assert told == {hz: {WORDS_HZ["n30"]} for hz in all_hz}

        # Muted: the host is heard by all and hears nobody, and nobody hears another.
        alice.tone(HOST_HZ)
        thirty.keys("*6")
        late = choir.singers[LATE_HZ]
        late.call("760")
        late.press("2" + pin)
        all_hz.append(LATE_HZ)
        for group in (list(TONES_HZ[:6]), [*TONES_HZ[-5:], LATE_HZ]):
            with choir.singing(group):
                wanted = {hz: everybody_but(hz, [HOST_HZ]) for hz in all_hz}
                thirty.settled(all_hz, wanted)
        thirty.keys("*6")
        alice.tone(0)
        with choir.singing(TONES_HZ[:6]):
            thirty.settled(all_hz, {hz: everybody_but(hz, TONES_HZ[:6]) for hz in all_hz})

        # Two leave: twenty-nine.
        for hz in (LATE_HZ, TONES_HZ[-1]):
            choir.singers[hz].hang_up()
        server.await_calls(29)
        time.sleep(0.3)
        thirty.keys("*5")
        told = thirty.heard(WORDS_HZ.values(), 3.5)
        del all_hz[-2:]
        assert told == {hz: {WORDS_HZ["n20"], WORDS_HZ["n9"]} for hz in all_hz}

        alice.hangup(call)
        alice.ended(call)
        for singer in choir.singers.values():
            if singer.is_there:
                singer.phone.hung_up()
    server.await_no_calls()
    meetings = command(server, f"GETACCOUNTINFO pbx@{DOMAIN} KEY Meetings")
    assert pin in meetings["conference"], "it can be started again"


# ---------------------------------------------------------------------------------------- parking


def test_a_call_is_parked_in_a_slot_and_picked_up_by_somebody_else(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    """``park{1}`` and ``pickup{1}`` behind Router records; the parked one hears music meanwhile."""
    alice, bob, carol = talking_pair(server, phone_of)
    call, incoming = answered(alice, "402", bob)
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    assert alice.transfer(call, f"sip:801@{DOMAIN}")["status"] == 200
    hears_music(bob)
    pickup = carol.call(f"sip:802@{DOMAIN}")
    carol.confirmed(pickup)
    assert_talking(carol, CAROL_HZ, bob, BOB_HZ)
    carol.hangup(pickup)
    bob.ended(incoming)
    server.await_no_calls()


def test_a_call_is_parked_and_picked_up_by_star_codes(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    """Who parks with ``*70`` finds the call with ``*72``."""
    alice, bob, _ = talking_pair(server, phone_of)
    call, incoming = answered(alice, "402", bob)
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    assert alice.transfer(call, f"sip:*70@{DOMAIN}")["status"] == 200
    hears_music(bob)
    pickup = alice.call(f"sip:*72@{DOMAIN}")
    alice.confirmed(pickup)
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    bob.hangup(incoming)
    alice.ended(pickup)
    server.await_no_calls()


def talking_pair(server: ServerProcess, phone_of: PhoneOf) -> tuple[PjsuaPhone, ...]:
    tones = (("alice", ALICE_HZ), ("bob", BOB_HZ), ("carol", CAROL_HZ))
    return tuple(phone_of(server, name, hz) for name, hz in tones)


def answered(caller: PjsuaPhone, number: str, callee: PjsuaPhone) -> tuple[int, int]:
    mark = callee.mark
    call = caller.call(f"sip:{number}@{DOMAIN}")
    incoming = callee.ringing(after=mark)
    callee.answer(incoming)
    caller.confirmed(call)
    return call, incoming


def hears_music(phone: PjsuaPhone) -> None:
    """Something that is neither silence nor one of the other phones."""
    deadline = time.monotonic() + 10
    while True:
        (heard,) = listen(phone, seconds=1.0)
        if not heard.silent and not (heard.is_at(ALICE_HZ) or heard.is_at(CAROL_HZ)):
            return
        assert time.monotonic() < deadline, heard


# ---------------------------------------------------------------------------------- web callback


def test_the_web_callback_connects_two_phones(
    server: ServerProcess, phone_of: PhoneOf, tmp_path: Path
) -> None:
    """A visitor types a number: that phone rings, then 401, and both talk (reference §17)."""
    printed = (PRINTED / "webcallback.wcgp").read_bytes()
    program = tmp_path / "webcallback.wcgp"
    program.write_bytes(
        printed.replace(
            b'PARAM("" + phone + "","" + operatorphone + "")"',
            b'PARAM(\\"" + phone + "\\",\\"" + operatorphone + "\\")"',
        )
    )
    server.run("env", "put", str(program))
    bob = phone_of(server, "bob", BOB_HZ)
    alice = phone_of(server, "alice", ALICE_HZ)
    form = fetched(server, "/sys/webcallback.wcgp")
    assert "<form action=webcallback.wcgp><input name=phone>" in form
    # The form's own action, relative to its page, with what a visitor typed.
    page = fetched(server, "/sys/webcallback.wcgp?" + urllib.parse.urlencode({"phone": "402"}))
    assert page == "<h1>Waiting call on phone 402</h1>"
    first = bob.ringing()
    rung = [event["event"] for event in alice.events]
    assert "incoming" not in rung, "401 rings when the visitor has answered"
    bob.answer(first)
    bob.confirmed(first)
    second = alice.ringing()
    alice.answer(second)
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    bob.hangup(first)
    alice.ended(second)
    server.await_no_calls()
    # A quote would make a second number of one; it starts nothing.
    before = len(server.events("--type", "task.started.*"))
    fetched(server, "/sys/webcallback.wcgp?" + urllib.parse.urlencode({"phone": '402","403'}))
    assert len(server.events("--type", "task.started.*")) == before
    assert "holds a quote, a backslash or a control character" in server.log()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetched(server, "/sys/nosuch.wcgp")


def fetched(server: ServerProcess, path: str) -> str:
    with urllib.request.urlopen(f"http://{server.admin()}{path}", timeout=10) as answer:
        return str(answer.read().decode())
