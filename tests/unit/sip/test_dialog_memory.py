"""When an offer may be answered from memory (RFC 3264 §6.1, §8; RFC 4028 §7.4 refreshes)."""

from __future__ import annotations

import pytest

from sip.events import OfferReceived
from tests.support.engine_pair import ANSWER, OFFER, EnginePair


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (ANSWER, False),
        (ANSWER + b"a=sendrecv\r\n", False),
        (ANSWER + b"a=sendonly\r\n", True),
        (ANSWER + b"a=inactive\r\n", True),
    ],
)
def test_an_answer_offered_again_needs_the_user_only_if_our_offer_cannot_answer_it(
    answer: bytes, asked: bool
) -> None:
    """Bob answered a sendrecv offer; now he offers the same text."""
    pair = EnginePair()
    alice, bob = pair.established(OFFER, answer)
    bob.offer(answer, "INVITE", now=pair.now)
    pair.roundtrip()
    assert pair.alice.has(OfferReceived) is asked
    if asked:
        alice.answer(OFFER + b"a=inactive\r\n", now=pair.now)
        pair.roundtrip()
        assert bob.remote_body == OFFER + b"a=inactive\r\n"
        bob.offer(answer, "INVITE", now=pair.now)
        pair.alice.events.clear()
        pair.roundtrip()
        assert not pair.alice.has(OfferReceived)  # this one is known
    assert bob.remote_body.startswith(OFFER)
