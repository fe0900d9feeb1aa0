"""Whole calls over a network that loses, repeats and reorders: both sides always end.

Hypothesis draws the fate of every datagram and what the users do. Whatever it draws: no input
raises, each usage is told its end exactly once, an answered call never ends twice, and when all
timers have run every table of both engines is empty.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip.core import EngineConfig
from sip.dialog.invite import InviteUsage
from sip.events import (
    DialogRequest,
    InviteAnswered,
    InviteCancelled,
    InviteConfirmed,
    InviteFailed,
    InviteProgress,
    InviteReceived,
    OfferReceived,
    OfferRequested,
    ReferReceived,
    UsageEnded,
)
from tests.support.engine_pair import ANSWER, OFFER, EnginePair, Side

FATES = ("deliver", "deliver", "deliver", "deliver", "lose", "twice", "late")
USER = (
    "nothing",
    "nothing",
    "ring",
    "progress",
    "accept",
    "reject",
    "cancel",
    "bye-a",
    "bye-b",
    "offer-a",
    "offer-b",
    "update-a",
    "ask-b",
    "info-a",
    "refer-b",
    "wait",
    "long-wait",
)
CONFIG = EngineConfig(session_expires_s=90)


class Play:
    """Two users without any sense, and a count of the ends they were told."""

    def __init__(self, offer: bytes, reliable: str) -> None:
        self.pair = EnginePair(CONFIG, CONFIG)
        self.pair.alice.on_event = lambda event: self.event(self.pair.alice, event)
        self.pair.bob.on_event = lambda event: self.event(self.pair.bob, event)
        self.ends: Counter[tuple[str, int]] = Counter()
        self.answered: set[tuple[str, int]] = set()
        self.callee: InviteUsage | None = None
        self.late: list[object] = []
        self.caller = self.pair.call(offer, reliable=reliable)

    def end(self, side: Side, usage: InviteUsage) -> None:
        self.ends[(side.name, id(usage))] += 1

    def event(self, side: Side, event: object) -> None:
        now = self.pair.now
        usage = getattr(event, "usage", None)
        key = (side.name, id(usage))
        assert usage is None or self.ends[key] == 0, f"{event} after the end"
        if isinstance(event, InviteReceived):
            self.callee = event.usage
        elif isinstance(event, InviteAnswered):
            self.answered.add(key)
            if event.answer_needed:
                event.usage.ack(ANSWER, now=now)
        elif isinstance(event, InviteProgress):
            if event.answer_needed:
                event.usage.ack(ANSWER, now=now)
        elif isinstance(event, InviteConfirmed):
            self.answered.add(key)
        elif isinstance(event, InviteFailed | InviteCancelled | UsageEnded):
            self.end(side, event.usage)
        elif isinstance(event, OfferReceived):
            event.usage.answer(ANSWER + event.body, now=now)
        elif isinstance(event, OfferRequested):
            event.usage.answer_with_offer(OFFER, now=now)
        elif isinstance(event, DialogRequest):
            event.usage.respond(event.transaction, 200, now=now)
        elif isinstance(event, ReferReceived):
            assert event.usage is not None
            event.usage.respond(event.transaction, 202, now=now)
            event.usage.notify_refer(200, final=True, now=now)

    def user(self, act: str) -> None:
        now = self.pair.now
        caller, callee = self.caller, self.callee
        if act == "cancel":
            caller.cancel(now=now)
        elif act == "bye-a":
            caller.bye(now=now)
        elif act == "wait":
            self.pair.advance(0.7, deliver=False)
        elif act == "long-wait":
            self.pair.advance(9.0, deliver=False)
        elif act == "offer-a":
            caller.offer(OFFER + b"2", now=now)
        elif act == "update-a":
            caller.offer(OFFER + b"3", "UPDATE", now=now)
        elif act == "info-a" and caller.dialog is not None and not caller.ended:
            caller.request("INFO", now=now)
        if callee is None:
            return
        if act == "ring":
            callee.provisional(180, now=now)
        elif act == "progress":
            callee.provisional(183, ANSWER, reliable=True, now=now)
        elif act == "accept":
            callee.accept(ANSWER, now=now)
        elif act == "reject":
            if callee.state in ("trying", "early"):
                callee.reject(486, now=now)
                self.end(self.pair.bob, callee)
        elif act == "bye-b":
            early = callee.state in ("trying", "early")
            callee.bye(now=now)
            if early and callee.ended:
                self.end(self.pair.bob, callee)
        elif act == "offer-b":
            callee.offer(OFFER + b"4", now=now)
        elif act == "ask-b":
            callee.offer(b"", now=now)
        elif act == "refer-b" and not callee.ended:
            callee.request("REFER", [("Refer-To", "<sip:carol@192.0.2.7>")], now=now)

    def move(self, fate: str) -> None:
        pair = self.pair
        pair.collect()
        if not pair.wire:
            return
        packet = pair.wire.pop(0)
        if fate == "deliver":
            pair.deliver(packet)
        elif fate == "twice":
            pair.deliver(packet)
            pair.deliver(packet)
        elif fate == "late":
            pair.wire.append(packet)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    steps=st.lists(st.tuples(st.sampled_from(USER), st.sampled_from(FATES)), max_size=60),
    offer=st.sampled_from([OFFER, b""]),
    reliable=st.sampled_from(["supported", "off", "required"]),
)
def test_every_call_ends_and_leaves_nothing(
    steps: list[tuple[str, str]], offer: bytes, reliable: str
) -> None:
    """Loss, repetition and reordering may end a call badly, but they end it."""
    play = Play(offer, reliable)
    for act, fate in steps:
        play.user(act)
        play.move(fate)
    # The network heals. A caller who hangs up ends whatever is left.
    play.pair.advance(5)
    play.caller.bye(now=play.pair.now)
    play.pair.advance(40)
    if play.callee is not None and play.callee.state in ("trying", "early"):
        play.callee.reject(480, now=play.pair.now)
        play.end(play.pair.bob, play.callee)
    play.pair.settle(400)
    play.pair.assert_empty()
    assert play.ends[("alice", id(play.caller))] == 1
    if play.callee is not None:
        assert play.ends[("bob", id(play.callee))] == 1
    assert all(count == 1 for count in play.ends.values())


@pytest.mark.slow
@settings(max_examples=200)
@given(
    data=st.binary(max_size=300),
    start=st.integers(0, 400),
    end=st.integers(0, 400),
    which=st.integers(0, 5),
)
def test_damaged_messages_never_raise(data: bytes, start: int, end: int, which: int) -> None:
    """Any bytes over any part of any message of a call: counted, refused or dropped."""
    pair = EnginePair()
    caller = pair.call()
    seen = 0

    def damage() -> None:
        nonlocal seen
        pair.collect()
        packet = pair.wire[0]
        if seen == which:
            packet.data = packet.data[:start] + data + packet.data[max(start, end) :]
        seen += 1
        pair.wire.pop(0)
        pair.deliver(packet)

    damage()
    received = [event for event in pair.bob.events if isinstance(event, InviteReceived)]
    if received:
        usage = received[0].usage
        usage.provisional(183, ANSWER, reliable=True, now=pair.now)
        while pair.wire:
            damage()
        usage.accept(ANSWER, now=pair.now)
        pair.advance(4)
        usage.bye(now=pair.now)
    caller.bye(now=pair.now)
    pair.advance(70)
    if received and received[0].usage.state in ("trying", "early"):
        received[0].usage.reject(480, now=pair.now)
    caller.bye(now=pair.now)
    for event in pair.bob.events:
        if isinstance(event, InviteReceived) and not event.usage.ended:
            event.usage.bye(now=pair.now)
    pair.settle(400)
    left = {name: size for name, size in pair.sizes().items() if size}
    assert not left, left
