"""Memory of finished calls returns by itself: the cyclic collector finds nothing of ours.

It would have to walk all bindings and accounts to find a call, again and again; so a call leaves
no cycle behind, whatever happened in it.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.living import living
from tests.unit.pbx.calls import test_flow_basic as basic
from tests.unit.pbx.calls import test_flow_fork as fork
from tests.unit.pbx.calls import test_flow_media as media
from tests.unit.pbx.calls import test_flow_replaces as replaces
from tests.unit.pbx.calls import test_flow_requests as requests
from tests.unit.pbx.calls import test_flow_rules as rules
from tests.unit.pbx.calls import test_flow_transfer as transfer
from tests.unit.pbx.calls.lab import LINGER_S, Lab

CALLS = 200
_OURS = ("pbx.calls", "sip.dialog", "sip.transaction")


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The cyclic collector rests."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_many_calls() -> None:
    """What lives after many calls is what lived before."""
    lab = Lab()
    before: Counter[str] = Counter()
    for number in range(CALLS):
        a, b = f"alice.{number}", f"bob.{number}"
        lab.play(f"""
            {a} > INVITE bob a1
            {b} < INVITE a1
            {b} > 180
            {a} < 180
            {b} > 200 b1
            {b} < ACK
            {a} < 200 b1
            {a} > ACK
            {a} > BYE
            {a} < 200 BYE
            {b} < BYE
            {b} > 200
        """)
        if number == 0:
            lab.advance(LINGER_S)
            before = living(*_OURS)
    lab.advance(LINGER_S)
    assert living(*_OURS) - before == Counter()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize(
    "story",
    [
        basic.test_cancel_while_ringing,
        basic.test_answer_crosses_cancel,
        basic.test_silent_phone,
        fork.test_winner_takes_it,
        fork.test_redirect_is_followed_for_the_redirector,
        media.test_late_offer,
        media.test_hold_and_resume_by_the_caller,
        media.test_offerless_reinvite_with_news,
        media.test_caller_that_requires_100rel,
        media.test_session_timer_cures_a_lost_bye,
        replaces.test_takeover,
        replaces.test_new_caller_gives_up,
        requests.test_digits_cross,
        requests.test_call_ends_while_info_crosses,
        rules.test_timed_chain,
        rules.test_timed_chain_without_devices,
        rules.test_caller_gives_up_while_stages_wait,
        rules.test_loops_end,
        rules.test_reject_with_phrase,
        rules.test_application_is_refused_with_the_reason,
        transfer.test_blind,
        transfer.test_target_hangs_up_at_once,
        transfer.test_transferor_hangs_up_while_it_rings,
        transfer.test_attended,
        transfer.test_transferee_refuses_to_be_joined,
    ],
    ids=lambda story: story.__name__,
)
def test_every_kind_of_call(story: object) -> None:
    """Whatever the plot, no leg, dialog or transaction survives it."""
    assert callable(story)
    before = living(*_OURS)
    story()
    left = living(*_OURS) - before
    assert {name: left[name] for name in _SHORT_LIVED if left[name]} == {}


_SHORT_LIVED = (
    "Call",
    "CallFacts",
    "ClientTransaction",
    "Dial",
    "Dialog",
    "Exchange",
    "Hunt",
    "InviteUsage",
    "Join",
    "Leg",
    "Program",
    "ReferSubscription",
    "Rejoin",
    "Ring",
    "Scope",
    "ServerTransaction",
    "Setup",
    "Takeover",
    "Transfer",
)
