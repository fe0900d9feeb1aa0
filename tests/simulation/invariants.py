"""What must hold when everything is quiet, whatever the seed.

:func:`judge` reads the phones' views, the log, the read model and the tables of the server, and
returns every breach as text. The phones' views are the oracle: a time in the log must lie between
the moments at which the phones sent and received what made it so. Calls that a crash, a partition
or a corrupted datagram touched keep only the rules that hold regardless.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from pbx.domain.calls import (
    CallAnswered,
    CallBridged,
    CallEnded,
    CallStarted,
    CallTransferred,
    LegAnswered,
    LegCreated,
    LegEnded,
)
from pbx.kernel.events import Event
from tests.simulation.programmed import program_breaches
from tests.simulation.readmodel import compare_read_models
from tests.simulation.ruled import group_breaches, rule_breaches
from tests.simulation.world import DOMAIN, World
from tests.support.fake_phone import PhoneCall
from tests.support.scenario import Plan

#: Envelope times are exact; ``elapsed_ms`` is rounded.
EXACT_S = 1e-6
ROUNDED_S = 0.0015
#: A node that died was alive at most so long before its last sign of life.
HEARTBEAT_S = 1.1

#: A corrupted request may be answered, and its answer repeated, for so long.
ECHO_S = 70.0
CORRUPTED = "a datagram was corrupted"

TRANSFERS = frozenset({"blind", "attended", "semi-attended", "taken-over", "picked-up"})
#: In these the server has to end calls by itself.
HALF_DEAD = frozenset({"lost-ack", "power-cut", "restart"})
#: How long media may take to follow signalling.
STABLE_S = 0.5

#: Independent of the product's table: what a final status means in a call record.
CAUSES = {486: "busy", 600: "busy", 408: "noanswer", 480: "noanswer", 487: "noanswer"}


class Breach(NamedTuple):
    """One broken invariant."""

    text: str
    plan: Plan | None = None

    def __str__(self) -> str:
        if self.plan is None:
            return self.text
        return f"{self.plan.label} ({self.plan.scenario}): {self.text}"


class Story:
    """One call as its stream tells it."""

    __slots__ = (
        "answered_at",
        "ended",
        "ended_at",
        "events",
        "joined",
        "leg_answers",
        "leg_call_ids",
        "legs",
        "leg_ends",
        "start",
        "started_at",
        "stream",
        "transferred",
    )

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.events: list[tuple[float, Event]] = []
        self.start: CallStarted | None = None
        self.started_at = 0.0
        self.answered_at = 0.0
        self.ended: CallEnded | None = None
        self.ended_at = 0.0
        self.joined: list[tuple[float, tuple[str, str]]] = []
        """When which dialogs (by Call-ID) were joined."""
        self.legs: list[str] = []
        self.leg_answers: dict[str, int] = defaultdict(int)
        self.leg_ends: dict[str, int] = defaultdict(int)
        self.leg_call_ids: dict[str, str] = {}
        self.transferred = False

    def add(self, moment: float, event: Event) -> None:
        self.events.append((moment, event))
        kind = type(event)
        if kind is CallStarted:
            assert isinstance(event, CallStarted)
            self.start = self.start or event
            self.started_at = moment
            self.legs.append(event.leg_id)
            self.leg_call_ids[event.leg_id] = event.sip_call_id
        elif kind is LegCreated:
            assert isinstance(event, LegCreated)
            self.legs.append(event.leg_id)
            self.leg_call_ids[event.leg_id] = event.sip_call_id
        elif kind is LegAnswered:
            assert isinstance(event, LegAnswered)
            self.leg_answers[event.leg_id] += 1
        elif kind is LegEnded:
            assert isinstance(event, LegEnded)
            self.leg_ends[event.leg_id] += 1
        elif kind is CallAnswered or kind is CallBridged:
            assert isinstance(event, CallAnswered | CallBridged)
            if kind is CallAnswered:
                self.answered_at = self.answered_at or moment
            get = self.leg_call_ids.get
            self.joined.append((moment, (get(event.leg_id, ""), get(event.peer_leg_id, ""))))
        elif kind is CallTransferred:
            self.transferred = True
        elif kind is CallEnded:
            assert isinstance(event, CallEnded)
            self.ended = event
            self.ended_at = self.started_at + event.elapsed_ms / 1000


def stories(world: World) -> dict[str, Story]:
    """All calls of the log by stream."""
    found: dict[str, Story] = {}
    epoch = world.clock.wall_ns_at(0.0)
    for record in world.log.read(category="pbx.calls"):
        story = found.get(record.stream)
        if story is None:
            story = found[record.stream] = Story(record.stream)
        story.add((record.time_ns - epoch) / 1e9, record.event)
    return found


def judge(world: World) -> list[Breach]:
    """Every breach of every invariant."""
    breaches = [Breach(text) for text in world.problems]
    _excuse_corrupted(world)
    told = stories(world)
    for story in told.values():
        breaches += [Breach(f"{story.stream}: {text}") for text in structure(story)]
    breaches += _violations(world)
    by_call_id: dict[str, list[Story]] = defaultdict(list)
    for story in told.values():
        if story.start is not None:
            by_call_id[story.start.sip_call_id].append(story)
    for plan in world.plans:
        breaches += [Breach(text, plan) for text in _judge_plan(world, plan, by_call_id)]
    breaches += [Breach(text) for text in world.providers.left_behind()]
    breaches += [Breach(text) for text in program_breaches(world)]
    breaches += [Breach(text) for text in leftovers(world)]
    breaches += [Breach(text) for text in compare_read_models(world, told)]
    return breaches


def _excuse_corrupted(world: World) -> None:
    plans = world.plan_of_call_id()
    for _, _, data in world.network.corrupted:
        call_id = data.partition(b"Call-ID: ")[2].partition(b"\r")[0].decode("utf-8", "replace")
        plan = plans.get(call_id)
        if plan is not None:
            plan.excused = CORRUPTED


def _violations(world: World) -> list[Breach]:
    plans = world.plan_of_call_id()
    spoiled: dict[str, list[float]] = defaultdict(list)
    for moment, source, _ in world.network.corrupted:
        spoiled[source[0]].append(moment)
    breaches = []
    for violation in world.surroundings.violations:
        plan = plans.get(violation.call_id)
        if plan is not None and plan.excused:
            if plan.excused == CORRUPTED or violation.rule in _EXCUSABLE:
                continue
        host = world.phones[violation.phone].host
        if any(0 <= violation.time - moment < ECHO_S for moment in spoiled[host]):
            continue  # the server answered what it read, not what the phone had written
        if plan is not None and plan.scenario in HALF_DEAD and violation.rule == "no-response":
            # RFC 4320: what waits for a dead peer is not answered before its sender gives up.
            continue
        breaches.append(Breach(f"violation {violation}", plan))
    return breaches


#: Silence and lost dialogs may be due to a crash or a partition; wrong messages never are.
_EXCUSABLE = frozenset(
    {"no-ack", "no-prack", "no-response", "no-final-after-cancel", "unknown-caller", "not-sip",
     "credentials-refused", "second-final", "prack-refused", "cancel-ignored"}
)  # fmt: skip


def structure(story: Story) -> list[str]:
    """Rules of one call's stream that hold whatever happened."""
    wrong = []
    first, last = story.events[0][1], story.events[-1][1]
    counts: dict[type[Event], int] = defaultdict(int)
    for _, event in story.events:
        counts[type(event)] += 1
    if not isinstance(first, CallStarted) or counts[CallStarted] != 1:
        wrong.append(f"{counts[CallStarted]} call.started, first event {type(first).__name__}")
    if counts[CallEnded] != 1:
        wrong.append(f"{counts[CallEnded]} call.ended")
    elif story.ended is not None and story.ended.talk_ms and not counts[CallAnswered]:
        wrong.append("talk time without an answer")
    elif not isinstance(last, CallEnded):
        wrong.append(f"{type(last).__name__} after call.ended")
    if counts[CallAnswered] > 1:
        wrong.append(f"{counts[CallAnswered]} call.answered")
    if len(set(story.legs)) != len(story.legs):
        wrong.append("a leg was created twice")
    for leg in story.legs:
        if story.leg_ends[leg] != 1:
            wrong.append(f"leg {leg} has {story.leg_ends[leg]} leg.ended")
        if story.leg_answers[leg] > 1:
            wrong.append(f"leg {leg} was answered {story.leg_answers[leg]} times")
    wrong += [
        f"leg {leg} ended but never began"
        for leg in story.leg_ends
        if leg not in story.leg_call_ids
    ]
    events = [event for _, event in story.events]
    wrong += rule_breaches(events) + group_breaches(events)
    moments = [moment for moment, _ in story.events]
    if moments != sorted(moments):
        wrong.append("times go back")
    return wrong


def _judge_plan(world: World, plan: Plan, by_call_id: dict[str, list[Story]]) -> list[str]:
    wrong: list[str] = []
    for call in plan.calls:
        if call.state != "ended":
            wrong.append(f"{call.phone.name} is still in its call ({call.state})")
        if plan.excused:
            continue
        if call.end_reason == "overdue":
            wrong.append(f"{call.phone.name} was left in its call until it gave up")
        crossed = call.bye_received_at or not call.alive_at_refer
        if call.refer_status in (404, 481, 500, 501) and not crossed:
            wrong.append(f"{call.phone.name}: REFER was refused with {call.refer_status}")
        if call.suspect and plan.scenario not in HALF_DEAD:
            wrong.append(f"{call.phone.name}: {call.suspect}, and no BYE came")
    for call in plan.calls:
        if call.uas:
            continue
        found = by_call_id.get(call.call_id, [])
        if plan.excused:
            continue
        if len(found) > 1:
            wrong.append(f"{len(found)} calls in the log for one INVITE")
        elif found:
            wrong += _judge_call(world, plan, call, found[0])
        elif not _may_be_unknown(call):
            wrong.append(f"no call in the log, though the INVITE ended {_outcome(call)}")
    return wrong


def _outcome(call: PhoneCall) -> str:
    return f"{call.end_reason} {call.failure_status or ''}".strip()


def _may_be_unknown(call: PhoneCall) -> bool:
    """Refused before there was a call, or never let in."""
    if call.answered_at or call.rang_at:
        return False
    return call.failure_status in (401, 407, 408, 503) or call.end_reason == "vanished"


def _judge_call(world: World, plan: Plan, call: PhoneCall, story: Story) -> list[str]:
    ended = story.ended
    if ended is None:
        return []  # said already by structure()
    wrong: list[str] = []
    callee = _answering_call(plan, story)
    vanished = "vanished" in (call.end_reason, callee.end_reason if callee else "")
    if not call.invited_at - EXACT_S <= story.started_at:
        wrong.append("call.started before the INVITE")
    if story.answered_at and not call.answered_at and not vanished:
        wrong.append("call.answered, but the caller never got a 200")
    if call.answered_at:
        if not story.answered_at:
            wrong.append("the caller got a 200, but there is no call.answered")
        elif story.answered_at > call.answered_at + EXACT_S:
            wrong.append(
                f"call.answered at {story.answered_at:.3f}, after the caller's 200 "
                f"({call.answered_at:.3f})"
            )
        elif callee is not None and callee.answered_at > story.answered_at + EXACT_S:
            wrong.append(
                f"call.answered at {story.answered_at:.3f}, before the callee's 200 "
                f"({callee.answered_at:.3f})"
            )
    expected_talk = story.ended_at - story.answered_at if story.answered_at else 0.0
    if abs(ended.talk_ms / 1000 - expected_talk) > 2 * ROUNDED_S:
        wrong.append(f"talk time {ended.talk_ms} ms, not {expected_talk * 1000:.0f}")
    wrong += _judge_audio(plan, story)
    if plan.scenario in TRANSFERS:
        return wrong
    if not story.answered_at:
        wrong += _judge_failure(call, ended, vanished)
    elif not vanished:
        wrong += _judge_release(plan, call, callee, story, ended)
    return wrong


def _answering_call(plan: Plan, story: Story) -> PhoneCall | None:
    """The callee's view of the leg that the caller was joined with."""
    peer = next(
        (event.peer_leg_id for _, event in story.events if isinstance(event, CallAnswered)), ""
    )
    call_id = story.leg_call_ids.get(peer, "")
    return next((call for call in plan.calls if call.uas and call.call_id == call_id), None)


def _judge_failure(call: PhoneCall, ended: CallEnded, vanished: bool) -> list[str]:
    """A call nobody took: status, cause and party as the caller was told."""
    status = call.failure_status
    if vanished:
        return []
    if call.cancel_sent_at > 0 and status == 487:
        expected = (487, "cancel", "caller")
        if (ended.status, ended.cause, ended.ended_by) != expected:
            return [f"cancelled, but the log says {ended.status} {ended.cause} {ended.ended_by}"]
        return []
    wrong = []
    if ended.status != status:
        wrong.append(f"the caller got {status}, the log says {ended.status}")
    cause = CAUSES.get(status, "error" if 500 <= status < 600 else "reject")
    if ended.cause != cause:
        wrong.append(f"{status} is cause {cause!r}, the log says {ended.cause!r}")
    if ended.ended_by == "caller":
        wrong.append("refused, but the log says that the caller ended it")
    return wrong


def _judge_release(
    plan: Plan, call: PhoneCall, callee: PhoneCall | None, story: Story, ended: CallEnded
) -> list[str]:
    """An answered call: who hung up, when, and why."""
    if ended.status != 200:
        return [f"answered, but the log says {ended.status}"]
    senders = {}
    if call.bye_sent_at:
        senders["caller"] = call
    if callee is not None and callee.bye_sent_at:
        senders["callee"] = callee
    if ended.ended_by in senders:
        by = senders[ended.ended_by]
        done = by.bye_done_at or story.ended_at
        if not by.bye_sent_at - ROUNDED_S <= story.ended_at <= done + ROUNDED_S:
            text = (
                f"ended at {story.ended_at:.3f}, but the BYE was sent at {by.bye_sent_at:.3f} "
                f"and answered at {done:.3f}"
            )
            return [text]
        return [] if ended.cause == "normal" else [f"a BYE is cause normal, not {ended.cause!r}"]
    if plan.scenario == "silence" and ended.cause == "mediatimeout":
        return []
    if plan.scenario in HALF_DEAD and ended.cause == "error" and ended.ended_by == "server":
        return []
    text = (
        f"ended by {ended.ended_by} with {ended.cause} ({ended.reason}), "
        f"but BYE came from {', '.join(senders) or 'nobody'}"
    )
    return [text]


def _judge_audio(plan: Plan, story: Story) -> list[str]:
    """Whoever talked was heard by whom it was joined with at that moment."""
    by_call_id = {call.call_id: call for call in plan.calls}
    joined = [
        (moment, by_call_id.get(call_ids[0]), by_call_id.get(call_ids[1]))
        for moment, call_ids in story.joined
    ]
    # While a transfer is carried out one party may have moved on before the other one.
    leaving = [call.refer_sent_at for call in plan.calls if call.refer_sent_at]
    if plan.scenario == "taken-over":
        leaving += [call.invited_at for call in plan.calls[1:] if not call.uas]
    wrong = []
    for index, (since, one, other) in enumerate(joined):
        until = joined[index + 1][0] if index + 1 < len(joined) else float("inf")
        until = min([until, story.ended_at, *(moment for moment in leaving if moment > since)])
        if one is None or other is None:
            continue
        for talker, listener in ((one, other), (other, one)):
            begin = max(since, listener.confirmed_at, listener.changed_at) + STABLE_S
            end = min(until, listener.ended_at, talker.ended_at) - 0.5
            if listener.unsettled_at:
                end = min(end, listener.unsettled_at)
            moments = [moment for moment in talker.talked_at if begin < moment < end]
            heard = listener.phone.rtp_heard.get((talker.phone.name, plan.number), 0.0)
            if moments and heard < moments[-1]:
                wrong.append(
                    f"{listener.phone.name} did not hear {talker.phone.name} at "
                    f"{moments[-1]:.3f}: one-way audio"
                )
    return wrong


ENGINE_TABLES = (
    "client_transactions",
    "server_transactions",
    "merged",
    "dialogs",
    "subscribers",
    "usages",
    "timers",
    "queries",
)
NODE_TABLES = ("calls", "bridges", "counted_accounts")


def leftovers(world: World) -> list[str]:
    """Nothing outlives its call: dialogs, transactions, timers, ports, bindings."""
    process = world.server.process
    if process is None:
        return ["the server is down"]
    engine = process.engine.statistics()
    wrong = [f"engine: {engine[name]} {name} are left" for name in ENGINE_TABLES if engine[name]]
    node = process.node.statistics()
    wrong += [f"call control: {node[name]} {name} are left" for name in NODE_TABLES if node[name]]
    if process.voice is not None:
        left = process.voice.host.statistics()
        wrong += [f"programs: {count} {name} are left" for name, count in left.items() if count]
    contacts = process.node.locations.contacts
    wrong += [
        f"the binding of {phone.name} is left"
        for phone in world.phones.values()
        if any(c.uri == phone.contact.strip("<>") for c in contacts(f"{phone.user}@{DOMAIN}"))
    ]
    # A corrupted REGISTER may have bound a contact that nobody has; it stays until it expires.
    ghosts = sum(data.startswith(b"REGISTER") for _, _, data in world.network.corrupted)
    if node["bindings"] > ghosts:
        wrong.append(f"call control: {node['bindings']} bindings are left, {ghosts} may be")
    if node["call_timers"] > 1:  # the next expiry of a binding
        wrong.append(f"call control: {node['call_timers']} timers are left")
    if world.media is not None:
        if world.media.ports_in_use():
            wrong.append(f"media: {world.media.ports_in_use()} ports are left open")
        sessions = world.media.service.statistics(world.clock.now)
        if sessions["currentstatistics"]["sessionstotal"]:
            wrong.append(f"media: {sessions['currentstatistics']['sessionstotal']} calls are left")
    wrong += [
        f"phone {phone.name}: {phone.live} calls, {len(phone.clients)} client and "
        f"{len(phone.servers)} server transactions are left"
        for phone in world.phones.values()
        if phone.live or phone.clients or phone.servers
    ]
    if not process.stop():
        wrong.append("call control did not stop in order")
    return wrong
