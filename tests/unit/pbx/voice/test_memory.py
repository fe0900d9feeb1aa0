"""What lives after many calls into programs is what lived before: no work for the collector."""

from __future__ import annotations

import gc
from collections import Counter

from tests.support.living import living
from tests.support.voice_lab import VoiceLab
from tests.unit.pbx.calls.lab import LINGER_S
from tests.unit.pbx.voice.test_calls import HELLO, TO_BOB

CALLS = 30
_OURS = ("pbx.calls", "pbx.voice", "pbx.script.runtime", "pbx.script.machine", "sip.dialog")


def _play(lab: VoiceLab, number: int) -> None:
    a, b = f"alice.{number}", f"bob.{number}"
    lab.play(f"""
        {a} > INVITE hello a1
        {a} < 200 m
        {a} > ACK
        +0.2
        {a} > BYE
        {a} < 200 BYE
        {a}x > INVITE through a1
        {b} < INVITE m
        {b} > 180
        {a}x < 180
        {b} > 200 b1
        {b} < ACK
        {a}x < 200 m
        {a}x > ACK
        {a}x > BYE
        {a}x < 200 BYE
        {b} < BYE
        {b} > 200
    """)


def test_calls_leave_nothing_for_the_collector() -> None:
    lab = VoiceLab("alice bob", {"hello": HELLO, "through": TO_BOB})
    lab.hosting.word = "m"
    gc.collect()
    gc.disable()
    try:
        before: Counter[str] = Counter()
        for number in range(CALLS):
            _play(lab, number)
            if number == 0:
                lab.advance(LINGER_S)
                before = living(*_OURS)
        lab.advance(LINGER_S)
        grown = living(*_OURS) - before
        # Scripted telephones keep their dialogs, nothing of ours may.
        assert not grown, grown
    finally:
        gc.enable()
