"""Real phones talk to programs: echo, attendant, transfers, recording, conference."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.interop.conftest import SETTINGS, PhoneOf, with_accounts
from tests.interop.peers.choir import ulaw
from tests.interop.peers.processes import await_condition
from tests.interop.peers.raw_phone import RawPhone
from tests.support.cli_client import CliClient
from tests.support.phones import PjsuaPhone, assert_talking, listen
from tests.support.rtp_peer import rtp
from tests.support.server_process import DOMAIN, ServerProcess

ALICE_HZ, BOB_HZ, CAROL_HZ = 440, 1000, 1300
PASSWORD = "Pa$$w0rd"
ROUTER = f"""\
Signal:<311@*> = echotest#pbx@{DOMAIN}
Signal:<200@*> = pbx#pbx@{DOMAIN}
Signal:<201@*> = alice@{DOMAIN}
Signal:<202@*> = bob@{DOMAIN}
Signal:<203@*> = carol@{DOMAIN}
Signal:<4010@*> = carol@{DOMAIN}
Signal:<room@*> = room#pbx@{DOMAIN}
Signal:<recorder@*> = recorder#pbx@{DOMAIN}
Signal:<callbob@*> = callbob#pbx@{DOMAIN}
Signal:<b2b@*> = bob@{DOMAIN}
"""
B2BUA_RULE = [
    100005,
    "b2b",
    [
        ["CallType", "is", "AV"],
        ["Submit Address", "is not", "LOCAL [0.0.0.0]*"],
        ["RequestURI", "is", f"sip:b2b@{DOMAIN}"],
    ],
    [["Redirect To", f"b2bua-transfer#pbx@{DOMAIN}"], ["Discard Rules"]],
]
PRINTED = Path(__file__).parents[1] / "data" / "script"
CALL_BOB = """
entry main {
  var error = ExecuteCLI("STARTPBXTASK pbx PROGRAM sayhello_cb PARAM(\\"bob\\")");
  RejectCall(error == null ? 486 : "500-" + error);
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    directory = tmp_path_factory.mktemp("voice")
    with ServerProcess(directory / "server", settings=SETTINGS, commands=True) as made:
        with_accounts(made)
        made.run("group", "create", f"techsupport@{DOMAIN}", "bob")
        made.run("account", "passwd", f"postmaster@{DOMAIN}", "--password", PASSWORD)
        with CliClient(*made.addresses["cli"]) as client:
            assert client.login("postmaster", PASSWORD).code == 200
            menu = "UPDATEACCOUNTPREFS pbx {ReceptMenu=(techsupport);}"
            assert client.command(menu).code == 200
        made.run("account", "rights", f"pbx@{DOMAIN}", "Domain", "CanImpersonate")
        programs = directory / "programs"
        programs.mkdir()
        for name in ("sayhello", "sayhello_cb", "b2bua-transfer"):
            (programs / f"{name}.sppr").write_bytes((PRINTED / f"{name}.sppr").read_bytes())
        for name, text in (("room", ROOM), ("recorder", RECORDER), ("callbob", CALL_BOB)):
            (programs / f"{name}.sppr").write_text(text)
        made.run("env", "put", *map(str, sorted(programs.iterdir())))
        table = directory / "router"
        table.write_text(ROUTER)
        made.run("router", "set", str(table))
        rules = directory / "rules.json"
        rules.write_text(json.dumps([B2BUA_RULE]))
        made.run("rules", "set", "server", str(rules))
        yield made


def hear(phone: PjsuaPhone, frequency_hz: float, within_s: float = 15.0) -> None:
    """Wait until the phone hears a tone."""
    deadline = time.monotonic() + within_s
    while True:
        (heard,) = listen(phone, seconds=1.0)
        if heard.is_at(frequency_hz) and heard.snr_db > 10:
            return
        assert time.monotonic() < deadline, f"hears {heard}, not {frequency_hz} Hz"


def test_the_echo_test_gives_back_what_was_said(server: ServerProcess, phone_of: PhoneOf) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    call = alice.call(f"sip:311@{DOMAIN}")
    alice.confirmed(call)
    alice.do("dtmf", call=call, digits="1")  # the prompts are left out
    hear(alice, ALICE_HZ)
    [live] = server.calls()
    assert live["state"] == "answered"
    alice.hangup(call)
    alice.ended(call)
    server.await_no_calls()
    record = server.await_cdrs(1)[-1]
    assert record["cause"] == "normal"
    assert record["ended_by"] == "caller"


def test_the_attendant_connects_an_extension(server: ServerProcess, phone_of: PhoneOf) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    call = alice.call(f"sip:200@{DOMAIN}")
    alice.confirmed(call)
    alice.do("dtmf", call=call, digits="202")
    incoming = bob.ringing()
    bob.answer(incoming)
    bob.confirmed(incoming)
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    assert len(server.calls()) == 2
    bob.hangup(incoming)
    alice.ended(call)
    server.await_no_calls()


@pytest.mark.parametrize("digits", ["202", "1"], ids=["extension", "department"])
@pytest.mark.parametrize("carrier", ["rtp", "info"])
def test_the_attendant_hears_digits_of_each_carrier(
    server: ServerProcess, phone_of: PhoneOf, carrier: str, digits: str
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    call = alice.call(f"sip:200@{DOMAIN}")
    alice.confirmed(call)
    time.sleep(0.5)
    for digit in digits:
        alice.do("dtmf", call=call, digits=digit, method=carrier)
        time.sleep(0.3)
    incoming = bob.ringing()
    bob.answer(incoming)
    bob.confirmed(incoming)
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    alice.hangup(call)
    bob.ended(incoming)
    server.await_no_calls()


def test_an_extension_that_is_busy_leaves_the_caller_with_the_attendant(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    call = alice.call(f"sip:200@{DOMAIN}")
    alice.confirmed(call)
    mark = bob.mark
    alice.do("dtmf", call=call, digits="202")
    bob.answer(bob.ringing(after=mark), 486)
    mark = bob.mark
    time.sleep(1.0)
    alice.do("dtmf", call=call, digits="202")
    incoming = bob.ringing(after=mark)
    bob.answer(incoming)
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    alice.hangup(call)
    bob.ended(incoming)
    server.await_no_calls()


ROOM = """
entry main {
  void(AcceptCall());
  var found = FindMeeting("room", "1");
  if(found != null && IsTask(found.id)) {
    void(StartBridge(found.id));
    loop
      var input = ReadInput(3600);
    exitif IsBreakBridgeEvent(input) || IsDisconnectEvent(input);
    end loop;
    stop;
  }
  void(CreateMeeting("room", "1"));
  void(ActivateMeeting("room", "1"));
  var muted = null;
  loop
    var input = ReadInput(3600);
    if(IsStartBridgeEvent(input)) { void(AttachMixer(input)); }
    if(input == "6") {
      muted = muted ? null : true;
      for(var i = 0; i < Length(MixerAttached()); i += 1) { MuteMixer(MixerAttached()[i], muted); }
    }
  exitif IsDisconnectEvent(input);
  end loop;
}
"""


def test_a_conference_of_three_in_which_two_are_muted(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    carol = phone_of(server, "carol")
    calls = {}
    for phone in (alice, bob, carol):
        calls[phone] = phone.call(f"sip:room@{DOMAIN}")
        phone.confirmed(calls[phone])
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    (heard,) = listen(carol, seconds=1.0)
    assert heard.is_at(ALICE_HZ) or heard.is_at(BOB_HZ), heard
    alice.do("dtmf", call=calls[alice], digits="6")
    time.sleep(0.8)
    heard_alice, heard_bob = listen(alice, bob, seconds=1.0)
    assert heard_alice.silent, heard_alice
    assert heard_bob.is_at(ALICE_HZ), heard_bob
    for phone in (carol, bob, alice):
        phone.hangup(calls[phone])
        phone.ended(calls[phone])
    server.await_no_calls()


RECORDER = """
entry main {
  void(AcceptCall());
  PlayTone(1000, 300);
  var recording = Record(20);
  ClearDTMF();
  Play(recording, -1);
  void(ReadInput(30));
}
"""


def test_what_was_recorded_is_played(server: ServerProcess, phone_of: PhoneOf) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    call = alice.call(f"sip:recorder@{DOMAIN}")
    alice.confirmed(call)
    time.sleep(3.0)
    alice.do("dtmf", call=call, digits="#")
    alice.tone(BOB_HZ)  # what is heard from now on was said before
    hear(alice, ALICE_HZ)
    alice.hangup(call)
    alice.ended(call)
    server.await_no_calls()


def test_the_b2bua_of_the_document_passes_digits_and_transfers(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    carol = phone_of(server, "carol", CAROL_HZ)
    call = alice.call(f"sip:b2b@{DOMAIN}")
    incoming = bob.ringing()
    bob.answer(incoming)
    alice.confirmed(call)
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    mark = bob.mark
    alice.do("dtmf", call=call, digits="5", method="info")
    bob.wait("dtmf", after=mark, digit="5")
    carol.do("auto_answer", code=200)
    for digit in "#4010":
        alice.do("dtmf", call=call, digits=digit, method="info")
        time.sleep(0.1)
    assert f"sip:4010@{DOMAIN}" in bob.wait("refer")["to"]
    alice.ended(call)
    assert_talking(bob, BOB_HZ, carol, CAROL_HZ)
    carol.hangup(carol.wait("incoming")["call"])
    server.await_no_calls()


def test_the_callback_of_the_document(server: ServerProcess, phone_of: PhoneOf) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    mark = bob.mark
    call = alice.call(f"sip:callbob@{DOMAIN}")
    assert alice.ended(call)["status"] == 486
    incoming = bob.ringing(after=mark)
    bob.answer(incoming)
    bob.confirmed(incoming)
    assert bob.ended(incoming)["status"] == 200
    server.await_no_calls()
    assert any(row["cause"] == "normal" for row in server.cdrs())


def test_killed_signalling_leaves_complete_records(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    before = {row["call_id"] for row in server.cdrs()}
    call = alice.call(f"sip:200@{DOMAIN}")
    alice.confirmed(call)
    alice.do("dtmf", call=call, digits="202")
    incoming = bob.ringing()
    bob.answer(incoming)
    bob.confirmed(incoming)
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    server.roles()["signal"].kill()
    server.await_no_calls(30.0)
    made = [row for row in server.cdrs() if row["call_id"] not in before]
    assert len(made) == 2
    assert {row["cause"] for row in made} == {"error"}
    assert [len(row["legs"]) for row in made] == [2, 2]
    alice.hangup(call)
    bob.hangup(incoming)

    def closed() -> bool:
        rows = json.loads(server.run("ivr", "report", "applications", "--json"))["applications"]
        return not any(row["running"] for row in rows) and any(row["interrupted"] for row in rows)

    await_condition(closed, "the end of the programs")


def test_the_media_process_comes_back_under_a_program(
    server: ServerProcess, phone_of: PhoneOf
) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    bob = phone_of(server, "bob", BOB_HZ)
    call = alice.call(f"sip:200@{DOMAIN}")
    alice.confirmed(call)
    alice.do("dtmf", call=call, digits="202")
    incoming = bob.ringing()
    bob.answer(incoming)
    bob.confirmed(incoming)
    assert_talking(alice, ALICE_HZ, bob, BOB_HZ)
    server.roles()["media"].kill()
    hear(alice, BOB_HZ, 20.0)
    hear(bob, ALICE_HZ, 20.0)
    alice.hangup(call)
    bob.ended(incoming)
    server.await_no_calls()


class SoundPhone(RawPhone):
    """A telephone without telephone-events: its keys are sound."""

    def offer(self) -> bytes:
        host, port = self.rtp.address
        return (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
        ).encode()


ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477)
KEYS = {key: (ROWS[n // 3], COLUMNS[n % 3]) for n, key in enumerate("123456789*0#")}


def press_as_sound(phone: RawPhone, media: tuple[str, int], digits: str) -> None:
    """120 ms of each key and as much silence, in real time."""
    time_s = np.arange(960) / 8000
    pieces = [np.zeros(1600)]
    for digit in digits:
        low, high = KEYS[digit]
        tone = np.sin(2 * np.pi * low * time_s) + np.sin(2 * np.pi * high * time_s)
        pieces += [0.25 * tone, np.zeros(960)]
    audio = ulaw(np.concatenate(pieces))
    for number in range(len(audio) // 160):
        payload = audio[number * 160 : number * 160 + 160]
        phone.rtp.send(media, rtp(number + 1, payload=payload))
        time.sleep(0.02)


@pytest.mark.parametrize("digits", ["202", "1"], ids=["extension", "department"])
def test_the_attendant_hears_digits_as_sound_and_refuses_fax(
    server: ServerProcess, phone_of: PhoneOf, digits: str
) -> None:
    bob = phone_of(server, "bob", BOB_HZ)
    with SoundPhone(server, "alice") as alice:
        assert alice.register().status == 200
        call_id, tag = alice.invite("200")
        dialog = alice.answered(call_id, tag, f"sip:200@{DOMAIN}")
        fax = (
            b"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            b"m=image 40000 udptl t38\r\na=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"
        )
        alice.send(alice.inside(dialog, "INVITE", body=fax))
        refusal = alice.receive(lambda heard: heard.status >= 200 and heard.cseq == dialog.cseq)
        assert refusal.status == 488
        alice.acknowledge(refusal, "200")
        press_as_sound(alice, dialog.media, digits)
        incoming = bob.ringing()
        bob.answer(incoming)
        bob.confirmed(incoming)
        alice.send(alice.inside(dialog, "BYE"))
        assert bob.ended(incoming)["status"] == 200
        assert alice.register(0).status == 200
    server.await_no_calls()


class SecurePhone(RawPhone):
    """A telephone that offers encryption by SDES and nothing else (RFC 4568)."""

    def offer(self) -> bytes:
        host, port = self.rtp.address
        return (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/SAVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
            f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}\r\n"
        ).encode()


def test_a_phone_that_only_encrypts_is_refused_clearly(server: ServerProcess) -> None:
    with SecurePhone(server, "alice") as alice:
        call_id, _ = alice.invite("311")
        refusal = alice.final(call_id)
        assert refusal.status == 488, refusal.raw
        alice.acknowledge(refusal, "311")
    server.await_no_calls()


def test_a_program_is_watched_ended_and_told_of(server: ServerProcess, phone_of: PhoneOf) -> None:
    alice = phone_of(server, "alice", ALICE_HZ)
    call = alice.call(f"sip:311@{DOMAIN}")
    alice.confirmed(call)
    alice.do("dtmf", call=call, digits="1")
    hear(alice, ALICE_HZ)
    [live] = server.calls()
    [task] = json.loads(server.run("task", "list", "--running", "--json"))
    assert (task["program"], task["state"]) == ("echotest", "connected")
    assert task["position"].startswith("stock/echotest.sppr:")
    server.run("task", "kill", task["task_id"])
    alice.ended(call)
    server.await_no_calls()
    told = server.run("log", "--call", live["call_id"])
    assert f"echotest: starts for pbx@{DOMAIN} ({task['task_id']})" in told
    assert "echotest: has its caller on the line" in told
    assert "echotest: ends (killed, by the server" in told
    assert "* echotest: has its caller on the line" in server.run("explain", live["call_id"])
    report = json.loads(server.run("ivr", "report", "--application", "echotest", "--json"))
    assert report["applications"][0]["killed"] == 1
    assert report["applications"][0]["answered"] >= 1
