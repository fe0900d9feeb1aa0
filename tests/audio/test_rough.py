"""Telephones that do what they must not: changed streams, wrong payload types, rough networks."""

from __future__ import annotations

import numpy as np

from media.telephone_event import Event
from tests.audio.test_chains import tone_of
from tests.audio.test_digits import digits_of
from tests.support.audio_lab import EVENT_TYPE, Lab, leg_of, sine


def test_a_stream_that_changes_its_ssrc_is_heard_on() -> None:
    """A telephone that was restarted, or a transfer behind its back: a new SSRC, other numbers."""
    lab = Lab()
    phone = lab.phone()
    leg_of(phone).echo = True
    lab.talk({phone: sine(1000, 1.0)})
    phone.ssrc, phone.sequence_number, phone.rtp_timestamp = 4711, 3, 99
    lab.talk({phone: sine(1000, 2.0)})
    assert tone_of(phone, 1.5).is_at(1000)
    assert tone_of(phone, 1.5).level_dbfs > -16.0
    assert len(phone.packets()) == 150


def test_payload_types_that_were_not_agreed_are_not_heard_and_disturb_nothing() -> None:
    lab = Lab()
    phone = lab.phone()
    other = lab.phone()
    for one in (phone, other):
        leg_of(one).echo = True
    rng = np.random.default_rng(5)
    for _ in range(50):
        for payload_type in (0, 9, 77, 126):
            body = rng.integers(0, 256, 160, dtype=np.uint8).tobytes()
            phone.send(phone._rtp(payload_type, phone.rtp_timestamp, body, marker=False))
        lab.tick()
    assert not phone.heard()[: 45 * 160].any() or np.abs(phone.heard()).max() < 20
    said = sine(1000, 2.0)
    lab.talk({phone: said, other: said})
    assert tone_of(other, 1.5).is_at(1000)
    assert tone_of(phone, 1.5).is_at(1000)
    assert tone_of(phone, 1.5).snr_db > 30.0
    assert digits_of(lab) == ""


def test_digits_are_one_press_each_under_loss_and_jitter() -> None:
    """20 % loss and 100 ms of jitter, thirty presses of 100 ms, ends that are repeated."""
    lab = Lab()
    phone = lab.phone()
    rng = np.random.default_rng(7)
    wire: list[tuple[int, bytes]] = []
    digits = "".join(str(number % 10) for number in range(30))
    for number, digit in enumerate(digits):
        first, stamp = number * 15, 1000 + number * 2400
        payloads = [
            (first + step, Event(int(digit), False, 10, 160 * step + 160)) for step in range(5)
        ]
        payloads += [(first + 5 + step, Event(int(digit), True, 10, 960)) for step in range(3)]
        for tick, event in payloads:
            packet = phone.event(event.to_bytes(), stamp=stamp)
            if rng.random() >= 0.2:
                wire.append((tick + int(rng.integers(0, 6)), packet))
    for tick in range(15 * len(digits) + 10):
        phone.send(*[packet for due, packet in wire if due == tick])
        lab.tick()
    assert digits_of(lab) == digits


def test_events_of_nonsense_are_dropped() -> None:
    lab = Lab()
    phone = lab.phone()
    rng = np.random.default_rng(9)
    for number in range(200):
        body = rng.integers(0, 256, int(rng.integers(0, 4)), dtype=np.uint8).tobytes()
        phone.send(phone._rtp(EVENT_TYPE, number * 160, body, marker=True))
        lab.tick()
    phone.send(phone.event(Event(5, True, 10, 800).to_bytes(), stamp=900_000))
    lab.tick()
    assert digits_of(lab) == "5"
