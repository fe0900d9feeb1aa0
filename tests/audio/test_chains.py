"""Tones through whole chains: from the phone's packets to the packets that it hears."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from media.codecs.g711 import PCM_TO_ALAW
from media.dsp.dtmf import tone_of as tone_of_digit
from media.dsp.tones import Generator, amplitude, named
from media.sources import Clip, Item, Sound
from tests.support.audio_lab import Lab, Phone, leg_of, sine
from tests.support.tones import Tone, measure_pcm

LEVEL = amplitude(-10.0)
"""The usual level of test tones."""


def tone_of(phone: Phone, skip_s: float = 0.5) -> Tone:
    rate_hz = phone.codec.rate_hz
    pcm = phone.heard()[int(skip_s * rate_hz) :].astype(np.float64) / 32_768
    return measure_pcm(pcm, rate_hz, len(pcm) / rate_hz)


@pytest.mark.parametrize(
    ("codec", "clock", "number", "least_db"),
    [
        ("PCMA", 8000, 8, 35.0),
        ("PCMU", 8000, 0, 35.0),
        ("L16", 8000, 96, 60.0),
        ("L16", 16_000, 97, 60.0),
        ("G722", 8000, 9, 40.0),
        ("GSM", 8000, 3, 15.0),
        pytest.param(
            "OPUS",
            48_000,
            111,
            15.0,
            marks=pytest.mark.needs("libopus.so.0"),
        ),
    ],
)
def test_echo_returns_the_tone(codec: str, clock: int, number: int, least_db: float) -> None:
    """Coded by the phone, decoded and coded by us, decoded by the phone."""
    lab = Lab()
    phone = lab.phone(codec, clock, number)
    leg_of(phone).echo = True
    lab.talk({phone: sine(1000, 2.0, phone.codec.rate_hz, LEVEL)})
    tone = tone_of(phone)
    assert tone.is_at(1000)
    assert tone.snr_db >= least_db


@pytest.mark.parametrize(
    ("one", "two", "least_db"),
    [
        (("PCMA", 8000, 8), ("PCMU", 8000, 0), 35.0),
        (("PCMA", 8000, 8), ("G722", 8000, 9), 35.0),
        (("L16", 8000, 96), ("G722", 8000, 9), 40.0),
        (("L16", 16_000, 97), ("L16", 8000, 96), 50.0),
    ],
)
def test_bridge_transcodes_both_ways(
    one: tuple[str, int, int], two: tuple[str, int, int], least_db: float
) -> None:
    lab = Lab()
    alice, bob = lab.phone(*one), lab.phone(*two)
    for phone in (alice, bob):
        lab.graph.join(leg_of(phone), "bridge")
    lab.talk(
        {
            alice: sine(600, 2.0, alice.codec.rate_hz, LEVEL),
            bob: sine(1100, 2.0, bob.codec.rate_hz, LEVEL),
        }
    )
    assert tone_of(alice).is_at(1100)
    assert tone_of(bob).is_at(600)
    assert min(tone_of(alice).snr_db, tone_of(bob).snr_db) >= least_db


def test_conference_of_thirty_hears_the_talker_and_nobody_himself() -> None:
    lab = Lab()
    phones = [lab.phone() for _ in range(30)]
    for phone in phones:
        lab.graph.join(leg_of(phone), "room")
    quiet = np.zeros(8000, np.int16)
    lab.talk({phone: sine(700, 1.0) if phone is phones[3] else quiet for phone in phones})
    assert all(tone_of(phone).is_at(700) for phone in phones if phone is not phones[3])
    assert tone_of(phones[3]).silent
    talkers = [event for event in lab.events("talker") if event.data["talking"]]
    assert [event.leg for event in talkers] == [phones[3].leg]


def test_prompts_follow_each_other_without_a_sample_between() -> None:
    """Three recordings of odd lengths make one unbroken sine."""
    lab = Lab()
    phone = lab.phone("L16", 8000, 96)
    whole = sine(500, 1.0)
    for number, part in enumerate(np.split(whole, [1237, 4999])):
        leg_of(phone).playlist.add(Item(f"part {number}", Clip(part)))
    lab.tick(50)
    assert np.array_equal(phone.heard(), whole)
    told = [(event.data["name"], event.data["reason"]) for event in lab.events("play-finished")]
    assert told == [(f"part {number}", "end") for number in range(3)]


def test_an_item_queued_at_the_lingered_end_follows_without_a_gap() -> None:
    lab = Lab()
    phone = lab.phone("L16", 8000, 96)
    whole = sine(500, 1.0)
    leg_of(phone).playlist.add(Item("first", Clip(whole[:4100])), linger_samples=480)
    queued = False
    for _ in range(50):
        lab.tick()
        if not queued and lab.events("play-finished"):
            queued = True
            leg_of(phone).playlist.add(Item("second", Clip(whole[4100:])))
    assert np.array_equal(phone.heard(), whole)


def test_preplay_sends_ahead_and_loses_nothing() -> None:
    lab = Lab()
    phone = lab.phone("L16", 8000, 96)
    leg = leg_of(phone)
    leg.playlist.add(Item("prompt", Clip(sine(500, 1.0))))
    leg.preplay_frames = 3
    lab.tick()
    assert len(phone.packets()) == 4
    lab.tick(46)
    assert np.array_equal(phone.heard(), sine(500, 1.0))
    stamps = [packet.rtp_timestamp for packet in phone.packets()]
    assert {(b - a) & 0xFFFFFFFF for a, b in pairwise(stamps)} == {160}


def test_wire_is_continuous_with_one_marker() -> None:
    """RFC 3550: sequence and timestamp go on, the marker begins the talkspurt only."""
    lab = Lab()
    phone = lab.phone()
    leg_of(phone).playlist.add(Item("busy", Sound(Generator(named("busy"), 8000))))
    lab.tick(100)
    packets = phone.packets()
    assert len(packets) == 100
    assert [packet.marker for packet in packets] == [True] + [False] * 99
    for one, two in pairwise(packets):
        assert (two.sequence_number - one.sequence_number) & 0xFFFF == 1
        assert (two.rtp_timestamp - one.rtp_timestamp) & 0xFFFFFFFF == 160
        assert two.ssrc == one.ssrc


@pytest.mark.parametrize("loss", [0.05, 0.20])
def test_tone_survives_loss_and_jitter(loss: float) -> None:
    """20 % loss and 100 ms of jitter: the tone is still what is heard, and the path goes on."""
    lab = Lab()
    phone = lab.phone()
    leg_of(phone).echo = True
    rng = np.random.default_rng(3)
    wire: list[tuple[float, bytes]] = []
    said = sine(400, 6.0)
    for number in range(300):
        packet = phone.packet(said[number * 160 : (number + 1) * 160])
        if rng.random() >= loss:
            wire.append((number * 0.02 + rng.random() * 0.1, packet))
    for number in range(320):
        for due, packet in wire:
            if number * 0.02 <= due < (number + 1) * 0.02:
                phone.send(packet)
        lab.tick()
    tone = tone_of(phone, 1.0)
    assert tone.is_at(400)
    assert tone.level_dbfs > -22.0
    assert len(phone.packets()) == 320


@pytest.mark.parametrize("milliseconds", [10, 30, 40, 60])
def test_any_packet_length_is_heard_whole(milliseconds: int) -> None:
    lab = Lab()
    phone = lab.phone()
    leg_of(phone).echo = True
    said = sine(900, 2.4)
    size = milliseconds * 8
    sent = 0
    for tick in range(120):
        while sent * milliseconds <= tick * 20 and (sent + 1) * size <= len(said):
            phone.send(phone.packet(said[sent * size : (sent + 1) * size]))
            sent += 1
        lab.tick()
    tone = tone_of(phone)
    assert tone.is_at(900)
    assert tone.snr_db >= 33.0


def test_loss_of_one_frame_is_hidden() -> None:
    """A steady tone keeps its level through a lost frame; without concealment it would gap."""
    lab = Lab()
    phone = lab.phone("L16", 8000, 96)
    leg_of(phone).echo = True
    said = sine(200, 1.0)
    for number in range(50):
        packet = phone.packet(said[number * 160 : (number + 1) * 160])
        if number != 25:
            phone.send(packet)
        lab.tick()
    heard = phone.heard().astype(np.float64)
    rms = np.sqrt((heard[1600:7800].reshape(-1, 40) ** 2).mean(axis=1))
    assert rms.min() > 0.5 * rms.max()


def test_silence_is_sent_where_nothing_is_played() -> None:
    """NAT bindings and the peers' own time-outs live on packets."""
    lab = Lab()
    phone = lab.phone()
    lab.tick(5)
    silence = int(PCM_TO_ALAW[0])
    assert [set(packet.payload) for packet in phone.packets()] == [{silence}] * 5


def test_comfort_noise_fills_a_pause_at_its_level() -> None:
    """RFC 3389: -40 dBov between two talkspurts; the pause is no loss."""
    lab = Lab()
    phone = lab.phone("L16", 8000, 96)
    leg = leg_of(phone)
    leg.echo = True
    lab.talk({phone: sine(400, 0.5)})
    noise = phone._rtp(13, phone.rtp_timestamp, b"\x28", marker=False)
    phone.send(noise)
    lab.tick(25)
    phone.rtp_timestamp += 25 * 160
    lab.talk({phone: sine(400, 0.5)})
    pause = phone.heard()[30 * 160 : 46 * 160].astype(float)
    assert np.sqrt((pause**2).mean()) == pytest.approx(327.68, rel=0.1)
    assert leg.bank.jitter.lost[leg.row] == 0


@pytest.mark.needs("libopus.so.0")
def test_opus_hides_every_tenth_packet_lost() -> None:
    lab = Lab()
    phone = lab.phone("OPUS", 48_000, 111)
    leg = leg_of(phone)
    lab.graph.join(leg, "bridge")
    ear = lab.phone("L16", 16_000, 97)
    lab.graph.join(leg_of(ear), "bridge")
    said = sine(300, 3.0, 16_000)
    for number in range(150):
        packet = phone.packet(said[number * 320 : (number + 1) * 320])
        if number % 10 != 7:
            phone.send(packet)
        lab.tick()
    assert leg.bank.jitter.lost[leg.row] + leg.bank.concealed[leg.row] >= 14
    tone = tone_of(ear, 1.0)
    assert tone.is_at(300)
    assert tone.level_dbfs > -20


def test_a_supervisor_whispers_to_the_agent_only() -> None:
    lab = Lab()
    caller, agent, supervisor = (lab.phone() for _ in range(3))
    for phone in (caller, agent, supervisor):
        lab.graph.join(leg_of(phone), "call")
    coach, coached = leg_of(supervisor).part, leg_of(agent).part
    assert coach is not None
    assert coached is not None
    coach.speaks = "special"
    coached.hears = frozenset(("normal", "special"))
    lab.graph.mixer.changed()
    lab.talk(
        {caller: sine(500, 1.5), agent: np.zeros(12_000, np.int16), supervisor: sine(900, 1.5)}
    )
    assert tone_of(supervisor).is_at(500)
    assert tone_of(caller).silent
    spectrum = np.abs(np.fft.rfft(agent.heard()[4000:8000].astype(float)))
    assert sorted(np.argsort(spectrum)[-2:].tolist()) == [250, 450]


def test_digits_as_sound_are_found_on_a_wideband_leg() -> None:
    lab = Lab()
    phone = lab.phone("G722", 8000, 9, events=False)
    said = np.zeros(16_000, np.int16)
    Generator(tone_of_digit("8", 0.2), 16_000).read(said[1600:])
    lab.talk({phone: said})
    assert [event.data["digit"] for event in lab.events("digit")] == ["8"]
