"""What Signal Rules cost a call: ``python -m benchmarks.rules``.

Ten rules with the conditions that people use, of all three levels, none of which ends the stage;
the facts are made anew each time, as for a call. Budget: ten rules ≤ 0.2 ms a call, the event with
its trace included. The last lines are whole calls on the signalling core, without and with rules.
"""

from __future__ import annotations

import sys
import time
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from pbx.domain.calls import RulesEvaluated
from pbx.rules import (
    IMMEDIATE,
    Facts,
    Level,
    Subject,
    compile_rules,
    evaluate,
    given,
    merge,
    parse_rules,
    stages,
)

ROUNDS: Final = 7
LOOPS: Final = 3_000
BUDGET_US: Final = 200.0
CALLS: Final = 150

_INVITE: Final = ["Method", "is", "INVITE"]
CONDITIONS: Final[list[list[list[str]]]] = [
    [_INVITE, ["Submit Address", "is not", "LOCAL [0.0.0.0]*"], ["From", "is", "*@no.where"]],
    [_INVITE, ["RequestURI", "is", "*;fromCC=true"]],
    [_INVITE, ["CallType", "is", "AV"], ["RequestURI", "is", "sip:*@other.example"]],
    [_INVITE, ["From", "in", "spam@a.com,*@spam.org,anonymous@*"]],
    [_INVITE, ["Time Of Day", "in", "00:00-00:01"]],
    [_INVITE, ["Current Day", "in", "Mon-Sun"], ["RegClients", "greater than", "9"]],
    [_INVITE, ["ReqField", "is", "X-Line: gold*"]],
    [_INVITE, ["'From' Name", "is", "*Sales*"]],
    [_INVITE, ["Authenticated", "is not", ""], ["Presence", "in", "busy,away"]],
    [_INVITE],
]
LEVELS: Final = [Level.SERVER] * 2 + [Level.DOMAIN] * 3 + [Level.ACCOUNT] * 5


def rows(level: Level) -> list[list[Any]]:
    """The rules of one level in their stored form."""
    return [
        ["100007", f"rule {number}", conditions, [["Write To Log", "seen"]]]
        for number, (conditions, owner) in enumerate(zip(CONDITIONS, LEVELS, strict=True))
        if owner is level
    ]


VALUES: Final = given(
    {
        Subject.METHOD: "INVITE",
        Subject.REQUEST_URI: "sip:bob@bench.example",
        Subject.CALL_TYPE: "AV",
        Subject.REG_CLIENTS: 1,
        Subject.REQUEST_FIELD: tuple(f"Field-{number}: some value" for number in range(14)),
        Subject.FROM: "alice@bench.example",
        Subject.FROM_NAME: "Alice",
        Subject.AUTHENTICATED: "alice@bench.example",
        Subject.SUBMIT_ADDRESS: "SIP [192.0.2.7]",
        Subject.PRESENCE: "online",
    }
)


def _best_us(what: Callable[[], object]) -> float:
    return min(timeit.repeat(what, number=LOOPS, repeat=ROUNDS)) / LOOPS * 1e6


def main() -> int:
    """Print the figures; 1 if the budget is broken."""
    parsed = {level: parse_rules(rows(level)) for level in Level}
    server, domain, account = (compile_rules(level, "x", parsed[level]) for level in Level)
    merged = merge(server, domain, account)
    now = datetime.now(UTC)

    def decide() -> object:
        return evaluate(merged, Facts(VALUES, now), IMMEDIATE)

    def decide_and_tell() -> object:
        verdict = evaluate(merged, Facts(VALUES, now), IMMEDIATE)
        return RulesEvaluated(
            stage=stages.name_of(verdict.stage),
            applied=verdict.applied,
            actions=tuple([decision.action.text for decision in verdict.actions]),
            trace=verdict.told,
        )

    decided, told = _best_us(decide), _best_us(decide_and_tell)
    print(f"{'ten rules decided':<44}{decided:>8.1f} µs")
    print(f"{'ten rules decided, with trace and event':<44}{told:>8.1f} µs  budget {BUDGET_US:.0f}")
    compiled = _best_us(lambda: compile_rules(Level.ACCOUNT, "x", parsed[Level.ACCOUNT]))
    print(f"{'five rules compiled (once a change)':<44}{compiled:>8.1f} µs")
    bare, ruled = _calls_us(with_rules=False), _calls_us(with_rules=True)
    print(f"{'a refused call on the core, no rules':<44}{bare:>8.0f} µs")
    print(f"{'a refused call on the core, ten rules':<44}{ruled:>8.0f} µs")
    print(f"{'what ten rules add to a call':<44}{ruled - bare:>8.0f} µs  budget {BUDGET_US:.0f}")
    return 0 if told <= BUDGET_US and ruled - bare <= BUDGET_US else 1


def _calls_us(*, with_rules: bool) -> float:
    """CPU of an INVITE that is answered 480 for want of a device: rules, routing, refusal."""
    from tests.unit.pbx.calls.lab import Lab
    from tests.unit.pbx.calls.phone import DOMAIN

    best = float("inf")
    for _ in range(ROUNDS):
        lab = Lab("alice")
        lab.add("none", "bob", bind=False)
        if with_rules:
            for stream, level in (
                ("server", Level.SERVER), (f"domain/{DOMAIN}", Level.DOMAIN), ("bob", Level.ACCOUNT)
            ):  # fmt: skip
                lab.rules(stream, *rows(level))
        begin = time.process_time()
        for number in range(CALLS):
            lab.play(f"""
                alice.{number} > INVITE bob a1
                alice.{number} < 480
                alice.{number} > ACK
            """)
        best = min(best, (time.process_time() - begin) / CALLS * 1e6)
    return best


if __name__ == "__main__":
    sys.exit(main())
