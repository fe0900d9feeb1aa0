"""Calls that an administrator ends."""

from __future__ import annotations

import pytest

from pbx.call_commands import ask_end
from pbx.domain.calls import CallDecided, CallEnded
from pbx.eventlog import MemoryLog, Record
from pbx.kernel.errors import DomainError
from tests.unit.pbx.calls.lab import Lab
from tests.unit.pbx.calls.test_flow_basic import ANSWERED, RINGING


def asked(lab: Lab, call_id: str = "", *, node: str = "", reason: str = "") -> Record:
    """What the node reads of the log."""
    log = MemoryLog()
    known = call_id or next(iter(lab.node.calls))
    ask_end(log, node or lab.node.config.node, known, actor="token:7", reason=reason)
    [record] = log.read()
    return record


def test_a_call_that_is_up() -> None:
    lab = Lab()
    lab.play(ANSWERED + "bob < ACK\n+1\n")
    lab.node.apply(asked(lab, reason='"spam"'))
    lab.pump()
    lab.play(r"""
        alice < BYE | Reason: Q.850;cause=16;text="\"spam\""
        alice > 200
        bob < BYE | Reason: Q.850;cause=16;text="\"spam\""
        bob > 200
    """)
    decided = lab.log.of(CallDecided)[-1]
    assert (decided.step, decided.reason) == ("end", 'token:7: "spam"')
    [ended] = lab.log.of(CallEnded)
    assert (ended.cause, ended.q850, ended.ended_by, ended.reason) == (
        "admin", 16, "server", '"spam"',
    )  # fmt: skip
    lab.end()


def test_a_call_that_rings() -> None:
    lab = Lab()
    lab.play(RINGING)
    lab.node.apply(asked(lab))
    lab.pump()
    lab.play("""
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487
        bob < ACK
        alice < 480
        alice > ACK
    """)
    lab.end()


def test_what_is_not_this_nodes_call_is_left_alone() -> None:
    lab = Lab()
    lab.play(RINGING)
    lab.node.apply(asked(lab, node="other"))
    lab.node.apply(asked(lab, "01920000-0000-7000-8000-000000000000"))
    lab.pump()
    assert len(lab.node.calls) == 1
    lab.quiet()


@pytest.mark.parametrize("reason", ["x" * 201, "a\r\nb", "a\0"])
def test_a_reason_that_cannot_stand_in_a_header(reason: str) -> None:
    with pytest.raises(DomainError, match="printable"):
        ask_end(MemoryLog(), "n", "c", actor="x", reason=reason)
