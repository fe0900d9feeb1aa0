"""Random but lawful histories of calls, as call control would write them.

Drawn with :class:`random.Random` from a seed (Hypothesis draws the seed): several calls interleaved
by time, with failing and answered legs, hold, transfers between calls, media figures after the
legs' ends, nodes that died and calls found open in the log.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pbx.domain import calls as c
from pbx.eventlog import EventLog, Meta
from pbx.eventlog.record import Row, make_rows
from pbx.kernel.events import Event
from pbx.kernel.ids import uuid7

EPOCH_NS = 1_893_455_990_000_000_000
"""Ten seconds before midnight UTC, so that calls and legs end on different days."""
CAUSES = ("normal", "cancel", "busy", "noanswer", "reject", "error", "mediatimeout", "admin")


class Step(NamedTuple):
    """One event of one call."""

    time_ns: int
    stream: str
    version: int
    event: Event


class _Call:
    """Writes the story of one call."""

    def __init__(self, rng: random.Random, start_ns: int) -> None:
        self.rng = rng
        self.start_ns = start_ns
        self.id = uuid7(start_ns, rng)
        self.elapsed_ms = 0
        self.steps: list[Step] = []
        self.legs = 0

    def write(self, event: Event, *, time_ns: int = 0) -> None:
        stamp = time_ns or self.start_ns + self.elapsed_ms * 1_000_000 + len(self.steps)
        self.steps.append(Step(stamp, f"call/{self.id}", len(self.steps) + 1, event))

    def wait(self, most_ms: int) -> int:
        self.elapsed_ms += self.rng.randrange(1, most_ms)
        return self.elapsed_ms

    def next_leg(self) -> str:
        self.legs += 1
        return f"{self.id[-12:]}.{self.legs}"


def call_steps(rng: random.Random, start_ns: int) -> list[Step]:
    """One call from INVITE to end (some are cut off: the node died, or they still live)."""
    call = _Call(rng, start_ns)
    caller = call.next_leg()
    user = f"user{rng.randrange(9)}"
    call.write(
        c.CallStarted(
            leg_id=caller,
            sip_call_id=f"{rng.getrandbits(40):x}@192.0.2.1",
            from_uri=f"sip:{user}@example.org",
            from_display=rng.choice(["", "Zoë\t\\n", "Иван"]),
            to_uri="sip:bob@example.org",
            request_uri="sip:bob@example.org",
            source="192.0.2.1:5060",
            transport=rng.choice(["udp", "tcp", "tls"]),
            account=rng.choice(["", f"{user}@example.org"]),
        )
    )
    call.write(c.CallDecided(step="routing", outcome="account", reason="local account"))
    if rng.random() < 0.8:
        call.write(c.MediaAllocated(bridge=f"{call.id}.1", engine="native", elapsed_ms=1))
    winner = _ring(call, caller)
    if winner:
        _talk(call, caller, winner)
    return _finish(call, caller, winner)


def _ring(call: _Call, caller: str) -> str:
    rng = call.rng
    winner = ""
    for _ in range(rng.randrange(0, 4)):
        leg = call.next_leg()
        call.write(
            c.LegCreated(
                leg_id=leg,
                parent_leg_id=caller,
                role="B",
                sip_call_id=f"b{rng.getrandbits(40):x}",
                target_uri=f"sip:bob@192.0.2.{rng.randrange(2, 9)}",
                account="bob@example.org",
                redirector=rng.choice(["", "hunt@example.org"]),
                elapsed_ms=call.wait(50),
            )
        )
        if rng.random() < 0.7:
            call.write(c.LegRinging(leg_id=leg, status=180, elapsed_ms=call.wait(900)))
        if not winner and rng.random() < 0.5:
            winner = leg
            call.write(c.LegAnswered(leg_id=leg, elapsed_ms=call.wait(9_000)))
        elif rng.random() < 0.8:
            call.write(_leg_ended(call, leg, rng.choice([486, 480, 487, 603]), 0))
    if winner:
        call.write(c.LegAnswered(leg_id=caller, elapsed_ms=call.elapsed_ms))
        call.write(c.CallAnswered(leg_id=caller, peer_leg_id=winner, elapsed_ms=call.elapsed_ms))
    return winner


def _talk(call: _Call, caller: str, winner: str) -> None:
    rng = call.rng
    for leg in (caller, winner):
        if rng.random() < 0.3:
            call.write(c.LegHeld(leg_id=leg, direction="sendonly", elapsed_ms=call.wait(5_000)))
            if rng.random() < 0.7:
                call.write(c.LegResumed(leg_id=leg, elapsed_ms=call.wait(5_000)))
    if rng.random() < 0.2:
        other = uuid7(call.start_ns, rng)
        moved = call.next_leg()
        if rng.random() < 0.5:
            call.write(
                c.LegCreated(
                    leg_id=moved,
                    parent_leg_id=winner,
                    role="X",
                    sip_call_id="moved",
                    target_uri="sip:carol@192.0.2.99",
                    elapsed_ms=call.wait(5_000),
                )
            )
            call.write(c.LegAnswered(leg_id=moved, elapsed_ms=call.elapsed_ms))
            call.write(c.LegMoved(leg_id=moved, from_call=other, to_call=call.id))
            call.write(
                c.CallBridged(
                    leg_id=caller, peer_leg_id=moved, bridge="b2", elapsed_ms=call.wait(9)
                )
            )
        else:
            call.write(c.LegMoved(leg_id=winner, from_call=call.id, to_call=other))
            call.write(_leg_ended(call, winner, 200, call.elapsed_ms))


def _leg_ended(call: _Call, leg: str, status: int, talk_ms: int) -> c.LegEnded:
    return c.LegEnded(
        leg_id=leg,
        status=status,
        cause=call.rng.choice(CAUSES),
        q850=call.rng.choice([16, 17, 18, 19, 31]),
        ended_by=call.rng.choice(["caller", "callee", "server"]),
        reason="",
        elapsed_ms=call.wait(20_000),
        talk_ms=talk_ms,
    )


def _finish(call: _Call, caller: str, winner: str) -> list[Step]:
    rng = call.rng
    fate = rng.random()
    if fate < 0.15:
        return call.steps  # still up
    if fate < 0.3:
        died_ns = call.start_ns + call.wait(60_000) * 1_000_000
        call.write(
            c.CallEnded(
                status=200 if winner else 500,
                cause="error",
                q850=41,
                ended_by="server",
                reason="node died",
                recovered=True,
                ended_ns=died_ns,
            ),
            time_ns=died_ns + 30_000_000_000,
        )
        return call.steps
    answered_ms = call.elapsed_ms
    for leg in (caller, winner):
        if leg:
            talk_ms = call.elapsed_ms - answered_ms if winner else 0
            call.write(_leg_ended(call, leg, 200 if winner else 480, talk_ms))
    for leg in (caller, winner):
        if leg and winner and rng.random() < 0.8:
            call.write(
                c.MediaStats(
                    leg_id=leg,
                    bridge=f"{call.id}.1",
                    codec="PCMU",
                    packets_in=rng.randrange(5_000),
                    packets_out=rng.randrange(5_000),
                    packets_lost=rng.randrange(50),
                    jitter_ms=rng.random() * 10,
                    mos=rng.choice([0.0, 3.9, 4.4]),
                )
            )
    call.write(
        c.CallEnded(
            status=200 if winner else 480,
            cause=rng.choice(CAUSES),
            q850=16,
            ended_by="caller",
            elapsed_ms=call.elapsed_ms,
            talk_ms=call.elapsed_ms - answered_ms if winner else 0,
        )
    )
    return call.steps


def history(seed: int, calls: int) -> list[Step]:
    """`calls` calls, their events in order of time."""
    rng = random.Random(seed)
    steps = [
        step
        for _ in range(calls)
        for step in call_steps(rng, EPOCH_NS + rng.randrange(20_000) * 1_000_000)
    ]
    steps.sort(key=lambda step: (step.time_ns, step.stream, step.version))
    return _versions_in_order(steps)


def _versions_in_order(steps: list[Step]) -> list[Step]:
    """Sorting by time must not turn round a stream: deal its events out in order of version."""
    queues: dict[str, Iterator[Step]] = {}
    for stream in {step.stream for step in steps}:
        mine = sorted((s for s in steps if s.stream == stream), key=lambda s: s.version)
        queues[stream] = iter(mine)
    return [next(queues[step.stream]) for step in steps]


def write_history(
    log: EventLog, steps: list[Step], batch: int = 100, tenants: Mapping[str, str] | None = None
) -> None:
    """Append the history as facts; `tenants` are the domains of calls, by stream."""
    rows: list[Row] = []
    for step in steps:
        (row,) = make_rows(
            log.codec,
            step.stream,
            [step.event],
            Meta(tenant=(tenants or {}).get(step.stream, "")),
            time_ns=step.time_ns,
            node="n1",
        )
        rows.append((row[0], step.version, *row[2:]))
    for start in range(0, len(rows), batch):
        log.commit(rows[start : start + batch])
