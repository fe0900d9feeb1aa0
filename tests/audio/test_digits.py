"""DTMF through the audio path: three carriers, one event a press; and the detector's figures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from media.dsp.dtmf import DIGITS, HIGH_HZ, LOW_HZ, Detector, tone_of
from media.dsp.tones import Generator, Segment, Tone, amplitude
from media.sources import Clip, Item
from media.telephone_event import Event, EventReceiver
from tests.support.audio_lab import EVENT_TYPE, Lab, leg_of, sine

Pcm = NDArray[np.int16]


def digits_of(lab: Lab) -> str:
    return "".join(str(event.data["digit"]) for event in lab.events("digit"))


def dialled(
    digits: str,
    *,
    on_s: float = 0.05,
    off_s: float = 0.05,
    levels: tuple[float, float] = (-9.0, -7.0),
    scale: float = 1.0,
    lead: int = 800,
    noise_db: float | None = None,
    seed: int = 1,
) -> Pcm:
    """Digits as sound, made without the product's generator."""
    parts = [np.zeros(lead)]
    for digit in digits:
        at = DIGITS.index(digit)
        time_s = np.arange(round(on_s * 8000)) / 8000
        pair = (LOW_HZ[at // 4], HIGH_HZ[at % 4])
        low, high = (
            amplitude(level) * np.sin(2 * np.pi * scale * frequency * time_s)
            for frequency, level in zip(pair, levels, strict=True)
        )
        parts.append(low + high)
        parts.append(np.zeros(round(off_s * 8000)))
    pcm = np.concatenate([*parts, np.zeros(1600)])
    if noise_db is not None:
        sigma = amplitude(levels[0]) / np.sqrt(2) * 10 ** (-noise_db / 20)
        pcm = pcm + np.random.default_rng(seed).standard_normal(len(pcm)) * sigma
    clipped: Pcm = np.clip(pcm, -32_768, 32_767).astype(np.int16)
    return clipped


def found(pcm: Pcm) -> str:
    detector = Detector()
    detector.grow(1)
    row = np.zeros(1, dtype=np.int64)
    digits = ""
    for start in range(0, len(pcm) - 159, 160):
        heard = detector.process(row, pcm[None, start : start + 160])
        digits += "".join(digit for _, digit in heard)
    return digits


# -- carriers ----------------------------------------------------------------------------------


def test_events_of_rfc4733_are_one_digit_a_press() -> None:
    lab = Lab()
    phone = lab.phone()
    for number, code in enumerate((1, 1, 11)):
        stamp = 1000 + number * 2000
        for duration in (160, 320, 480):
            phone.send(phone.event(Event(code, False, 10, duration).to_bytes(), stamp=stamp))
            lab.tick()
        end = Event(code, True, 10, 480).to_bytes()
        phone.send(*[phone.event(end, stamp=stamp) for _ in range(3)])
        lab.tick()
    assert digits_of(lab) == "11#"


def test_a_press_is_told_when_only_one_of_its_packets_arrives() -> None:
    lab = Lab()
    phone = lab.phone()
    phone.send(phone.event(Event(5, True, 10, 800).to_bytes(), stamp=77))
    lab.tick()
    assert digits_of(lab) == "5"


def test_inband_digits_are_found_where_no_events_are_negotiated_and_kept_from_the_mix() -> None:
    lab = Lab()
    caller, other = lab.phone(events=False), lab.phone()
    for phone in (caller, other):
        lab.graph.join(leg_of(phone), "bridge")
    lab.talk({caller: dialled("159#", on_s=0.08, off_s=0.08)})
    assert digits_of(lab) == "159#"
    heard = other.heard().astype(np.float64)
    assert np.sqrt((heard**2).mean()) < 700  # the first 20 ms before it is sure, at most


def test_inband_sound_is_not_a_digit_where_events_are_negotiated() -> None:
    lab = Lab()
    phone = lab.phone()
    lab.talk({phone: dialled("159", on_s=0.08)})
    assert digits_of(lab) == ""


def test_info_and_sound_of_the_same_press_count_once() -> None:
    lab = Lab()
    phone = lab.phone(events=False)
    leg = leg_of(phone)
    assert lab.graph.digit(leg, "4", "info")
    lab.talk({phone: dialled("4", on_s=0.1)})
    assert not lab.graph.digit(leg, "4", "inband")
    assert digits_of(lab) == "4"


def test_a_flood_of_digits_is_cut() -> None:
    lab = Lab()
    leg = leg_of(lab.phone())
    assert sum(lab.graph.digit(leg, "1", "rtp") for _ in range(1000)) == 50
    lab.tick(50)
    assert lab.graph.digit(leg, "2", "rtp")


def test_a_digit_interrupts_what_is_played_unless_it_may_not() -> None:
    lab = Lab()
    phone = lab.phone()
    leg = leg_of(phone)
    leg.playlist.add(Item("warning", Clip(sine(500, 0.2)), interruptible=False))
    leg.playlist.add(Item("menu", Clip(sine(500, 5.0))))
    plays = []
    for _ in range(2):
        lab.graph.digit(leg, "1", "rtp")
        plays.append(leg.playlist.playing)
        lab.tick(15)
    assert plays == [True, False]
    finished = [event.data for event in lab.events("play-finished")]
    assert [(one["name"], one["reason"]) for one in finished] == [
        ("warning", "end"),
        ("menu", "digit"),
    ]


def test_digits_out_follow_rfc4733() -> None:
    """160 ms of a 5: growing durations on one timestamp, three ends, then audio goes on."""
    lab = Lab()
    phone = lab.phone()
    leg = leg_of(phone)
    assert leg.events_out is not None
    leg.events_out.send("5", 160)
    lab.tick(15)
    packets = phone.packets()
    events = [packet for packet in packets if packet.payload_type == EVENT_TYPE]
    assert [packet.payload.hex() for packet in events] == [
        *(f"050a{duration:04x}" for duration in range(160, 1280, 160)),
        *["058a0500"] * 3,
    ]
    assert len({packet.rtp_timestamp for packet in events}) == 1
    assert [packet.marker for packet in events] == [True] + [False] * 9
    numbers = [packet.sequence_number for packet in packets]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    after = packets[packets.index(events[-1]) + 1]
    assert (after.rtp_timestamp - events[0].rtp_timestamp) & 0xFFFFFFFF == 8 * 160
    assert after.marker


def test_twenty_digits_a_second_arrive_at_another_receiver() -> None:
    lab = Lab()
    phone = lab.phone()
    leg = leg_of(phone)
    assert leg.events_out is not None
    leg.events_out.send("0123456789*#ABCD" * 2, 40)
    lab.tick(300)
    receiver = EventReceiver()
    heard = "".join(
        receiver.receive(packet.ssrc, packet.rtp_timestamp, Event.parse(packet.payload))
        for packet in phone.packets()
        if packet.payload_type == EVENT_TYPE
    )
    assert heard == "0123456789*#ABCD" * 2


# -- the detector's figures --------------------------------------------------------------------


def test_every_digit_at_the_shortest_length_whatever_the_phase() -> None:
    """ITU-T Q.24: 40 ms on, 40 ms off."""
    for lead in range(800, 960, 13):
        assert found(dialled(DIGITS, on_s=0.04, off_s=0.04, lead=lead)) == DIGITS


@pytest.mark.parametrize("level_dbm0", [-25.0, -20.0, -10.0, -3.0, 0.0])
def test_levels(level_dbm0: float) -> None:
    assert found(dialled(DIGITS, levels=(level_dbm0, level_dbm0))) == DIGITS


@pytest.mark.parametrize("level_dbm0", [-40.0, -50.0])
def test_too_soft(level_dbm0: float) -> None:
    assert found(dialled(DIGITS, levels=(level_dbm0, level_dbm0))) == ""


@pytest.mark.parametrize("scale", [0.985, 1.015])
def test_frequencies_off_by_little_are_accepted(scale: float) -> None:
    assert found(dialled(DIGITS, scale=scale)) == DIGITS


@pytest.mark.parametrize("scale", [0.965, 1.035])
def test_frequencies_off_by_much_are_refused(scale: float) -> None:
    assert found(dialled(DIGITS, scale=scale)) == ""


@pytest.mark.parametrize("levels", [(-9.0, -5.0), (-13.0, -9.0), (-5.0, -13.0)])
def test_twist_is_accepted(levels: tuple[float, float]) -> None:
    assert found(dialled(DIGITS, levels=levels)) == DIGITS


@pytest.mark.parametrize("levels", [(-18.0, -6.0), (-6.0, -18.0)])
def test_too_much_twist_is_refused(levels: tuple[float, float]) -> None:
    assert found(dialled(DIGITS, levels=levels)) == ""


@pytest.mark.parametrize("noise_db", [30.0, 20.0, 12.0])
def test_noise(noise_db: float) -> None:
    """Of 160 presses in noise at least 159 are found."""
    right = sum(
        one == two
        for seed in range(10)
        for one, two in zip(
            DIGITS, found(dialled(DIGITS, noise_db=noise_db, seed=seed)), strict=False
        )
    )
    assert right >= 159


def test_a_drop_out_does_not_double_a_digit() -> None:
    pcm = dialled("7", on_s=0.2)
    pcm[1600:1680] = 0
    assert found(pcm) == "7"


def test_single_tones_and_dial_tones_are_no_digits() -> None:
    for frequencies in ((697.0,), (1209.0,), (350.0, 440.0), (440.0, 480.0), (425.0,)):
        tone = Tone((Segment(frequencies, 1.0),), repeats=False)
        pcm = np.zeros(8000, dtype=np.int16)
        Generator(tone, 8000).read(pcm)
        assert found(pcm) == ""


def test_talk_off() -> None:
    """Ten minutes of what sounds like speech: pulses through moving formants, with pauses."""
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(20):
        wrong += len(found(babble(rng, 30.0)))
    assert wrong <= 1


def babble(rng: np.random.Generator, seconds: float) -> Pcm:
    """Voiced sound of random pitch and formants, syllable by syllable."""
    parts: list[NDArray[np.float64]] = []
    left = int(seconds * 8000)
    while left > 0:
        length = int(rng.integers(800, 2400))
        time_s = np.arange(length) / 8000
        pitch = rng.uniform(80, 250) * (1 + rng.uniform(-0.1, 0.1) * time_s)
        phase = 2 * np.pi * np.cumsum(pitch) / 8000
        formants = (rng.uniform(300, 900), rng.uniform(900, 1800), rng.uniform(2000, 3200))
        wave = np.zeros(length)
        for harmonic in range(1, int(3600 / pitch[0])):
            frequency = harmonic * pitch[0]
            gain = sum(1 / (1 + ((frequency - f) / 120) ** 2) for f in formants)
            wave += gain * np.sin(harmonic * phase)
        wave *= np.hanning(length) * 6000 / max(1.0, float(np.abs(wave).max()))
        parts += [wave, np.zeros(int(rng.integers(0, 1200)))]
        left -= len(parts[-1]) + length
    pcm: Pcm = np.concatenate(parts).astype(np.int16)
    return pcm


def test_generator_and_detector_agree() -> None:
    for digit in DIGITS:
        pcm = np.zeros(1600, dtype=np.int16)
        Generator(tone_of(digit), 8000).read(pcm)
        assert found(pcm) == digit
