"""The harness against itself: phones and SIPp call each other directly, no server between.

What fails here is not the server's fault.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.interop.peers.baresip import Baresip
from tests.interop.peers.linphone import Linphone
from tests.interop.peers.sipp import Sipp
from tests.support.phones import PhoneError, PjsuaPhone, assert_talking, listen
from tests.support.server_process import ROOT
from tests.support.tones import measure, measure_pcm


def test_what_a_machine_lacks_is_said_in_one_line_and_ci_accepts_no_less(tmp_path: Path) -> None:
    """As on a machine without Java, Maven and everything else."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    command += ["tests/interop/test_kafka_race.py", "tests/interop/test_kafka_hour.py"]
    environment = {**os.environ, "PATH": str(tmp_path), "CI": ""}

    def collected() -> str:
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    (line,) = [line for line in collected().splitlines() if line.startswith("left out")]
    assert re.fullmatch(
        r"left out \d tests that need kafka-broker: apt-get install default-jre-headless maven,"
        r" then make setup",
        line,
    )
    environment["CI"] = "true"
    assert "CI may leave nothing out, but these are missing: kafka-broker" in collected()


def test_a_tone_is_measured_as_what_it_is() -> None:
    time_s = np.arange(8000) / 8000
    noise = np.random.default_rng(1).normal(0.0, 0.001, 8000)
    tone = measure_pcm(0.25 * np.sin(2 * np.pi * 697.0 * time_s) + noise, 8000, 1.0)
    assert tone.is_at(697.0)
    assert not tone.is_at(770.0)
    assert tone.level_dbfs == pytest.approx(-15.05, abs=0.1)
    assert tone.snr_db > 40.0
    assert measure_pcm(noise, 8000, 1.0).silent


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_two_phones_talk(tmp_path: Path, transport: str) -> None:
    with (
        PjsuaPhone(tmp_path / "a", "sip:alice@127.0.0.1", transport=transport) as alice,
        PjsuaPhone(tmp_path / "b", "sip:bob@127.0.0.1", transport=transport) as bob,
    ):
        alice.tone(440)
        bob.tone(1000)
        call = alice.call(f"sip:bob@{bob.local};transport={transport}")
        incoming = bob.ringing()
        bob.answer(incoming)
        alice.confirmed(call)
        assert_talking(alice, 440, bob, 1000)
        alice.hold(call)
        heard = listen(bob, seconds=1.0)
        assert heard[0].silent
        alice.resume(call)
        assert_talking(alice, 440, bob, 1000)
        bob.hangup(incoming)
        assert alice.ended(call)["status"] == 200


def test_a_blind_transfer_moves_the_call(tmp_path: Path) -> None:
    with (
        PjsuaPhone(tmp_path / "a", "sip:alice@127.0.0.1") as alice,
        PjsuaPhone(tmp_path / "b", "sip:bob@127.0.0.1") as bob,
        PjsuaPhone(tmp_path / "c", "sip:carol@127.0.0.1") as carol,
    ):
        alice.tone(440)
        carol.tone(1300)
        call = alice.call(f"sip:bob@{bob.local}")
        bob.answer(bob.ringing())
        alice.confirmed(call)
        carol.do("auto_answer", code=200)
        bob_call = bob.wait("incoming")["call"]
        assert bob.transfer(bob_call, f"sip:carol@{carol.local}")["status"] == 200
        assert_talking(alice, 440, carol, 1300)


def test_an_attended_transfer_moves_the_call(tmp_path: Path) -> None:
    with (
        PjsuaPhone(tmp_path / "a", "sip:alice@127.0.0.1") as alice,
        PjsuaPhone(tmp_path / "b", "sip:bob@127.0.0.1") as bob,
        PjsuaPhone(tmp_path / "c", "sip:carol@127.0.0.1") as carol,
    ):
        alice.tone(440)
        carol.tone(1300)
        call = alice.call(f"sip:bob@{bob.local}")
        first = bob.ringing()
        bob.answer(first)
        alice.confirmed(call)
        bob.hold(first)
        second = bob.call(f"sip:carol@{carol.local}")
        carol.answer(carol.ringing())
        bob.confirmed(second)
        assert bob.attended(first, second)["status"] == 200
        assert_talking(alice, 440, carol, 1300)


def test_a_dead_phone_is_told_and_harms_no_other(tmp_path: Path) -> None:
    with (
        PjsuaPhone(tmp_path / "a", "sip:alice@127.0.0.1") as alice,
        PjsuaPhone(tmp_path / "b", "sip:bob@127.0.0.1") as bob,
    ):
        alice.kill()
        with pytest.raises(PhoneError, match=r"sip:alice@127\.0\.0\.1"):
            alice.call("sip:bob@127.0.0.1")
        bob.tone(440)


PAIRS = [
    ("uac_plain", "uas_answer"),
    ("uac_reinvite", "uas_reinvite"),
    ("uac_cancel", "uas_cancelled"),
    ("uac_late_offer", "uas_late_offer"),
    ("uac_100rel", "uas_100rel"),
    ("uac_waits", "uas_hangs_up"),
    ("uac_plain", "uas_slow_answer"),
]


@pytest.mark.parametrize(("caller", "callee"), PAIRS)
def test_scenarios_fit_each_other(tmp_path: Path, caller: str, callee: str) -> None:
    with (
        Sipp(tmp_path, callee) as uas,
        Sipp(tmp_path, caller, uas.local) as uac,
    ):
        uac.wait()
        uas.wait()


def test_sipp_calls_a_phone(tmp_path: Path) -> None:
    with PjsuaPhone(tmp_path / "b", "sip:bob@127.0.0.1") as bob:
        bob.do("auto_answer", code=200)
        with Sipp(tmp_path, "uac_plain", bob.local) as uac:
            uac.wait()
        assert bob.ended(bob.wait("incoming")["call"])["status"] == 200


def test_a_phone_hears_its_own_echo_from_sipp(tmp_path: Path) -> None:
    with (
        Sipp(tmp_path, "uas_answer", echo=True) as uas,
        PjsuaPhone(tmp_path / "a", "sip:alice@127.0.0.1") as alice,
    ):
        alice.tone(600)
        call = alice.call(f"sip:bob@{uas.local}")
        alice.confirmed(call)
        [heard] = listen(alice)
        assert heard.is_at(600)
        alice.hangup(call)
        uas.wait()


def test_baresip_and_a_phone_hear_each_other(tmp_path: Path) -> None:
    with (
        PjsuaPhone(tmp_path / "b", "sip:bob@127.0.0.1") as bob,
        Baresip(tmp_path / "c", "carol", 700, domain="127.0.0.1") as carol,
    ):
        bob.tone(1000)
        bob.do("auto_answer", code=200)
        carol.command("dial", f"sip:bob@{bob.local}")
        carol.wait("CALL_ESTABLISHED")
        [heard] = listen(bob)
        assert heard.is_at(700)
        carol.command("hangup")
        assert bob.ended(bob.wait("incoming")["call"])["status"] == 200
        assert measure(carol.recording()).is_at(1000)


def test_linphone_and_a_phone_hear_each_other(tmp_path: Path) -> None:
    with (
        PjsuaPhone(tmp_path / "b", "sip:bob@127.0.0.1") as bob,
        Linphone(tmp_path / "d", "dave", 850) as dave,
    ):
        bob.tone(1000)
        bob.do("auto_answer", code=200)
        dave.command(f"call sip:bob@{bob.local}")
        call = bob.wait("incoming")["call"]
        bob.confirmed(call)
        [heard] = listen(bob)
        assert heard.is_at(850)
        dave.command("terminate")
        assert bob.ended(call)["status"] == 200
        assert measure(dave.recording()).is_at(1000)
