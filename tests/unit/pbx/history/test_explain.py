"""``pbx explain``: the ladder of a call and the decisions in it."""

from __future__ import annotations

import pytest

from pbx.cli.ladder import WIDTH, Decided, Ladder, Message, ladder_of
from pbx.domain import calls as c
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta, Record, UnknownEvent, open_log
from pbx.kernel.events import Event
from tests.contract.test_projections import ANSWERED, CALL, ENDED, START_NS, created, over, started
from tests.support.commands import Pbx

ROUTED = c.CallRouted(
    address="sip:200@example.org",
    outcome="group",
    target="hunt@example.org",
    steps=("server table, line 4: <200> = hunt -> hunt@example.org", "result: hunt@example.org"),
    contacts=2,
    elapsed_ms=1,
)


def records(*events: Event) -> list[Record]:
    log = MemoryLog(node="n1")
    log.append(f"call/{CALL}", ANY_VERSION, events, Meta(time_ns=START_NS))
    return list(log.read_stream(f"call/{CALL}"))


def ladder(*events: Event) -> Ladder:
    return ladder_of(records(*events), lambda time_ns: f"set at {time_ns}")


def test_the_columns_line_up() -> None:
    lines = list(ladder(started(), ROUTED, *ANSWERED[1:], *ENDED, over(64_002)).lines())
    heads = next(line for line in lines if "server" in line and "A" in line and "B2" in line)
    assert [heads.index(name) for name in ("A ", "server", "B1", "B2")] == [
        10 + WIDTH * number for number in range(4)
    ]
    arrows = [line for line in lines if line.endswith(("|", ">")) and "|" in line]
    for line in arrows:
        assert [line[10 + WIDTH * number] for number in (0, 1)] == ["|", "|"]
    assert "  +0.000  |-------- INVITE ------>|" in "\n".join(lines)
    answer = next(line for line in lines if " 200 OK " in line)
    assert answer[10 + WIDTH :].startswith("|<-----------------")
    assert answer.endswith(" 200 OK -------------------|")


def test_who_sent_what() -> None:
    made = ladder(started(), ROUTED, *ANSWERED[1:], *ENDED, over(64_002))
    sent = [
        (entry.source, entry.target, entry.label)
        for entry in made.entries
        if isinstance(entry, Message)
    ]
    assert sent == [
        ("A", "server", "INVITE"),
        ("server", "B1", "INVITE"),
        ("server", "B2", "INVITE"),
        ("B2", "server", "180 Ringing"),
        ("server", "A", "180 Ringing"),
        ("B2", "server", "183 Progress"),
        ("B1", "server", "486 Busy"),
        ("B2", "server", "200 OK"),
        ("server", "A", "200 OK"),
        ("B2", "server", "BYE"),
        ("server", "A", "BYE"),
    ]


def test_each_decision_has_its_reason() -> None:
    made = ladder(started(), ROUTED, over(5))
    decided = [entry for entry in made.entries if isinstance(entry, Decided)]
    assert [entry.step for entry in decided] == [
        "authentication",
        "limit",
        "routing",
        "contacts",
        "end",
    ]
    assert decided[0].outcome == "the caller is alice@example.org"
    assert decided[2].details == (*ROUTED.steps, f"set at {START_NS}")
    stranger = ladder(started(account=""), ROUTED)
    assert isinstance(stranger.entries[1], Decided)
    assert "no account" in stranger.entries[1].outcome
    assert "limit" not in [getattr(entry, "step", "") for entry in stranger.entries]


def test_refused_and_given_up() -> None:
    refused = c.CallRouted(
        address="sip:9@example.org", outcome="unknown", status=404, reason="no such name"
    )
    limit = c.CallDecided(step="limit", outcome="refused", reason="alice has 2 calls")
    cancelled = c.LegEnded(
        leg_id="a1", status=487, cause="cancel", q850=16, ended_by="caller", elapsed_ms=9
    )
    made = ladder(started(), limit, refused, cancelled)
    text = "\n".join(made.lines())
    assert "* limit: refused: alice has 2 calls" in text
    assert "* contacts: none: the caller gets 404: no such name" in text
    assert "no line of the Router table applied" in text
    assert "CANCEL" in text and "487 Terminated" in text
    by_server = c.LegEnded(leg_id="b1", status=487, cause="cancel", q850=16, ended_by="caller")
    ringing = c.LegRinging(leg_id="b1", status=180)
    assert "CANCEL" in "\n".join(ladder(started(), created("b1", 3), ringing, by_server).lines())
    silent = "\n".join(ladder(started(), created("b1", 3), by_server).lines())
    assert "* contacts: B1 is given up" in silent and "CANCEL" not in silent


def test_transfer_hold_and_digits() -> None:
    text = "\n".join(
        ladder(
            *ANSWERED,
            c.LegHeld(leg_id="b2", direction="sendonly", elapsed_ms=5_000),
            c.LegResumed(leg_id="b2", elapsed_ms=5_001),
            c.LegRenegotiated(leg_id="a1", method="UPDATE", elapsed_ms=5_002),
            c.LegDigit(leg_id="a1", elapsed_ms=5_003),
            c.CallTransferred(
                leg_id="b2", transferee_leg_id="a1", target_uri="sip:c@x", kind="blind", status=200
            ),
            c.LegMoved(leg_id="a1", from_call="1", to_call="2"),
            c.MediaTimedOut(bridge="m1"),
        ).lines()
    )
    for part in ("INVITE (hold)", "INVITE (resume)", "UPDATE (200)", "digit (info)", "REFER",
                 "transfer: blind, A to sip:c@x: done", "A moves from 1 to 2",
                 "no packet on any stream"):  # fmt: skip
        assert part in text


def test_rules_are_told_with_the_values_they_saw() -> None:
    rules = UnknownEvent(
        type="rules.evaluated.v1",
        data=b'{"stage":"at once","account":"bob@x","applied":["night"],"actions":["reject 480"],'
        b'"trace":["night: Time Of Day in 22:00-06:00 (23:10): yes"],"elapsed_ms":2}',
    )
    lines = list(ladder(started(), rules).lines())
    assert "  +0.002  * rules: at once of bob@x: night: reject 480" in lines
    assert "            night: Time Of Day in 22:00-06:00 (23:10): yes" in lines


def test_the_command(run: Pbx, capsys: pytest.CaptureFixture[str]) -> None:
    run("domain", "create", "example.org")
    log = open_log(run.data)
    log.append(
        f"call/{CALL}", ANY_VERSION, (started(), ROUTED, *ANSWERED[1:], *ENDED, over(64_002)),
        Meta(time_ns=START_NS),
    )  # fmt: skip
    log.close()
    text = run("explain", CALL[:8])
    assert text.startswith(
        f"call {CALL}, 2030-01-01 00:00:00.000 UTC\n  A    sip:alice@example.org"
    )
    assert "server table, line 4" in text and "the table was last set by " in text
    found = run.json("explain", CALL)
    assert isinstance(found, dict)
    assert [party["name"] for party in found["parties"]] == ["A", "B1", "B2"]
    assert found["entries"][0] == {
        "elapsed_ms": 0,
        "from": "A",
        "to": "server",
        "message": "INVITE",
    }
    assert "no call has the id" in run.refused("explain", "nothing")
