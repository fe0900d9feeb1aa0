"""What happens in simulated calls: scenarios drawn by weight from a seed.

Each function fills one :class:`~tests.support.scenario.Plan`; :mod:`.world` carries it out and
:mod:`.invariants` judges the outcome from the phones' views alone, so no scenario states an
expected result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple

from tests.simulation import programs
from tests.support.scenario import CalleeScript, CallerScript, Plan, Step

BYE = "bye"

#: Final statuses a callee refuses with, by weight.
REFUSALS = (486, 486, 486, 603, 480, 404, 500, 600)


class Account(NamedTuple):
    """An account and the names of its phones."""

    user: str
    phones: tuple[str, ...]


class Cast(NamedTuple):
    """Who takes part: the caller, the callee and, for transfers, the target."""

    caller: Account
    callee: Account
    third: Account | None = None


Fill = Callable[[Random, Plan, Cast, str], None]


class Scenario(NamedTuple):
    """One row of the mix."""

    name: str
    weight: float
    fill: Fill
    callee_phones: int = 1
    third: bool = False


def talk_time(rng: Random) -> float:
    return 1.0 + rng.expovariate(0.2)


def hang_up(
    rng: Random, caller: tuple[Step, ...] = (), callee: tuple[Step, ...] = ()
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Let one side end the call after its other steps; both talk at the beginning."""
    bye = (Step(talk_time(rng), BYE),)
    talk = (Step(0.2, "talk"),)
    if rng.random() < 0.5:
        return talk + caller + bye, talk + callee
    return talk + caller, talk + callee + bye


def answering(rng: Random, steps: tuple[Step, ...] = ()) -> CalleeScript:
    """A callee that rings and answers."""
    return CalleeScript(
        ring_after_s=rng.choice((0.02, 0.1, 0.5)),
        answer_after_s=0.6 + rng.expovariate(0.4),
        updates=rng.random() < 0.8,
        session_timer=rng.random() < 0.8,
        steps=steps,
    )


def only_phone(account: Account) -> str:
    return account.phones[0]


def plain(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Ring, answer, talk, hang up by either side."""
    caller, callee = hang_up(rng)
    plan.caller_script = CallerScript(
        steps=caller, reliable=rng.choice(("", "supported")), updates=rng.random() < 0.8
    )
    plan.callee_scripts[only_phone(cast.callee)] = answering(rng, callee)


def refused(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Busy, declined, away, broken."""
    plan.callee_scripts[only_phone(cast.callee)] = CalleeScript(
        ring_after_s=rng.choice((None, 0.1)),
        answer_after_s=rng.uniform(0.05, 3.0),
        reject=rng.choice(REFUSALS),
    )


def cancelled(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """The caller gives up at any moment, even before the first provisional response."""
    plan.caller_script = CallerScript(cancel_after_s=rng.expovariate(0.5))
    plan.callee_scripts[only_phone(cast.callee)] = CalleeScript(
        ring_after_s=rng.choice((None, 0.1, 1.0)), answer_after_s=200.0
    )


def cancel_race(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """CANCEL and 200 cross, within the delays of the network (RFC 3261 §9.1)."""
    answer = rng.uniform(0.3, 1.5)
    plan.caller_script = CallerScript(
        cancel_after_s=max(0.01, answer + rng.uniform(-0.05, 0.15)), steps=(Step(2.0, BYE),)
    )
    plan.callee_scripts[only_phone(cast.callee)] = CalleeScript(
        ring_after_s=0.05, answer_after_s=answer
    )


def refuse_race(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """CANCEL and a refusal cross."""
    moment = rng.uniform(0.3, 1.5)
    plan.caller_script = CallerScript(cancel_after_s=max(0.01, moment + rng.uniform(-0.05, 0.1)))
    plan.callee_scripts[only_phone(cast.callee)] = CalleeScript(
        ring_after_s=0.05, answer_after_s=moment, reject=rng.choice(REFUSALS)
    )


def unanswered(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """The phone rings until the server gives up."""
    plan.callee_scripts[only_phone(cast.callee)] = CalleeScript(answer_after_s=None)


def hold(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Hold and resume by either side or both, by re-INVITE or UPDATE."""
    prefix = rng.choice(("", "update-"))

    def one() -> tuple[Step, ...]:
        return (
            Step(rng.uniform(0.1, 3.0), prefix + "hold"),
            Step(rng.uniform(0.5, 5.0), prefix + "resume"),
            Step(2.0, "talk"),
        )

    which = rng.randrange(3)
    caller, callee = hang_up(rng, one() if which != 1 else (), one() if which != 0 else ())
    plan.caller_script = CallerScript(steps=caller, updates=rng.random() < 0.7)
    plan.callee_scripts[only_phone(cast.callee)] = answering(rng, callee)


def glare(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Both sides offer at the same moment (RFC 3261 §14.1)."""
    moment = rng.uniform(0.3, 2.0)
    caller, callee = hang_up(
        rng,
        (Step(moment, "hold"), Step(8.0, "resume")),
        (Step(max(0.01, moment + rng.uniform(-0.03, 0.03)), rng.choice(("hold", "refresh"))),),
    )
    plan.caller_script = CallerScript(steps=caller)
    plan.callee_scripts[only_phone(cast.callee)] = answering(rng, callee)


def hang_up_glare(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """One side hangs up while the other offers, or both hang up at once."""
    moment = rng.uniform(0.3, 2.0)
    other = max(0.01, moment + rng.uniform(-0.04, 0.04))
    action = rng.choice((BYE, "hold", "update-hold", "info", "offerless"))
    one, two = (Step(moment, BYE),), (Step(other, action),)
    if rng.random() < 0.5:
        one, two = two, one
    plan.caller_script = CallerScript(steps=one)
    plan.callee_scripts[only_phone(cast.callee)] = answering(rng, two)


def late_offer(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """INVITE without a description; the answer comes with the ACK."""
    caller, callee = hang_up(rng)
    plan.caller_script = CallerScript(
        steps=caller,
        late_offer=True,
        reliable=rng.choice(("", "supported", "required")),
        cancel_after_s=rng.choice((150.0, 150.0, 1.0)),
    )
    plan.callee_scripts[only_phone(cast.callee)] = answering(rng, callee)


def offerless(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Re-INVITE without a description (RFC 3261 §14.2)."""
    steps = (Step(rng.uniform(0.2, 2.0), "offerless"), Step(2.0, "talk"))
    caller, callee = hang_up(rng, *((steps, ()) if rng.random() < 0.5 else ((), steps)))
    plan.caller_script = CallerScript(steps=caller)
    plan.callee_scripts[only_phone(cast.callee)] = answering(rng, callee)


def reliable(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """100rel and PRACK on either leg, with and without early media (RFC 3262)."""
    caller, callee = hang_up(rng)
    plan.caller_script = CallerScript(
        steps=caller, reliable=rng.choice(("", "supported", "required"))
    )
    script = answering(rng, callee)
    script.progress = rng.choice((180, 183))
    script.reliable = rng.random() < 0.7
    script.ring_after_s = rng.uniform(0.01, 0.5)
    if rng.random() < 0.3:
        plan.caller_script.cancel_after_s = rng.uniform(0.1, 3.0)
    if rng.random() < 0.2:
        script.reject = rng.choice(REFUSALS)
    plan.callee_scripts[only_phone(cast.callee)] = script


def session_timer(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """A call that outlives several session intervals (RFC 4028)."""
    plan.caller_script = CallerScript(
        steps=(Step(1.0, "talk"), Step(rng.uniform(100.0, 250.0), BYE)),
        session_expires_s=rng.choice((0, 90, 120)),
        updates=rng.random() < 0.5,
    )
    plan.callee_scripts[only_phone(cast.callee)] = answering(rng, (Step(1.0, "talk"),))


def lost_ack(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """The ACK comes late or never: then the server ends the call (RFC 3261 §13.3.1.4)."""
    never = rng.random() < 0.3
    plan.caller_script = CallerScript(
        steps=() if never else (Step(rng.uniform(5.0, 20.0), BYE),),
        lost_acks=99 if never else rng.randint(1, 4),
    )
    plan.callee_scripts[only_phone(cast.callee)] = answering(rng)


def power_cut(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """A party vanishes in any state; session timers must free the other one."""
    script = answering(rng)
    moment = rng.uniform(0.1, 15.0)
    if rng.random() < 0.5:
        plan.caller_script = CallerScript(vanish_after_s=moment)
    else:
        script.vanish_after_s = moment
    if rng.random() < 0.5:
        plan.caller_script.steps = (Step(rng.uniform(1.0, 40.0), BYE),)
    plan.callee_scripts[only_phone(cast.callee)] = script


def restart(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """A phone reboots in the middle and answers 481 to whatever belongs to before."""
    steps = (Step(rng.uniform(0.5, 5.0), "restart"),)
    other = (Step(rng.uniform(5.0, 20.0), rng.choice(("info", "hold", BYE))),)
    caller, callee = (steps, other) if rng.random() < 0.5 else (other, steps)
    plan.caller_script = CallerScript(steps=caller)
    plan.callee_scripts[only_phone(cast.callee)] = answering(rng, callee)


def info(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Digits cross by INFO."""
    steps = tuple(Step(rng.uniform(0.05, 1.0), "info") for _ in range(rng.randint(1, 4)))
    caller, callee = hang_up(rng, steps)
    plan.caller_script = CallerScript(steps=caller)
    plan.callee_scripts[only_phone(cast.callee)] = answering(rng, callee)


def silence(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Nobody says a word: the media time-out ends the call."""
    plan.caller_script = CallerScript(silent=True)
    script = answering(rng)
    script.silent = True
    plan.callee_scripts[only_phone(cast.callee)] = script


def fork(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Several phones ring; one answers, some refuse, some answer at the same moment."""
    caller, _ = hang_up(rng)
    plan.caller_script = CallerScript(steps=(*caller, Step(talk_time(rng), BYE)))
    moment = rng.uniform(0.5, 2.0)
    for phone in cast.callee.phones:
        kind = rng.randrange(4)
        if kind == 0:
            script = CalleeScript(answer_after_s=moment + rng.uniform(0.0, 0.06))
        elif kind == 1:
            script = answering(rng)
        elif kind == 2:
            script = CalleeScript(
                answer_after_s=rng.uniform(0.1, 3.0), reject=rng.choice((486, 480, 404, 500))
            )
        else:
            script = CalleeScript(answer_after_s=None)
        plan.callee_scripts[phone] = script
    if rng.random() < 0.2:
        plan.caller_script.cancel_after_s = rng.uniform(0.2, 4.0)


def unknown(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Nobody has this number."""
    plan.callee = "nobody"


def blind(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Blind transfer by either side to somebody who answers, refuses, or takes for ever."""
    assert cast.third is not None
    target = f"sip:{cast.third.user}@{domain}"
    transferor: tuple[Step, ...] = (
        Step(0.3, "talk"),
        Step(rng.uniform(0.5, 4.0), rng.choice(("hold", "talk"))),
        Step(rng.uniform(0.3, 2.0), "blind", target),
    )
    kind = rng.randrange(3)
    if kind == 0:  # hangs up at once, before it can know the outcome
        transferor += (Step(rng.uniform(0.0, 0.3), BYE),)
    elif kind == 1:  # hangs up at some moment of it
        transferor += (Step(rng.uniform(0.1, 6.0), BYE),)
    else:  # waits for the outcome; hangs up itself should it fail
        transferor += (Step(80.0, BYE),)
    other: tuple[Step, ...] = (Step(rng.uniform(5.0, 40.0), BYE),)
    by_caller = rng.random() < 0.5
    plan.caller_script = CallerScript(steps=transferor if by_caller else other)
    plan.callee_scripts[only_phone(cast.callee)] = answering(
        rng, other if by_caller else transferor
    )
    outcome = rng.random()
    if outcome < 0.65:
        script = answering(rng, (Step(rng.uniform(1.0, 20.0), BYE),))
    elif outcome < 0.9:
        script = CalleeScript(answer_after_s=rng.uniform(0.1, 3.0), reject=rng.choice(REFUSALS))
    else:
        script = CalleeScript(answer_after_s=None)
    plan.callee_scripts[only_phone(cast.third)] = script


def attended(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Attended transfer by the caller: hold, consult, REFER with Replaces, hang up any time."""
    assert cast.third is not None
    target = f"sip:{cast.third.user}@{domain}"
    steps: tuple[Step, ...] = (
        Step(0.3, "talk"),
        Step(rng.uniform(0.5, 3.0), "hold"),
        Step(rng.uniform(0.5, 2.0), "consult", target),
        Step(rng.uniform(2.0, 12.0), "transfer"),
    )
    kind = rng.randrange(4)
    if kind == 0:
        steps += (Step(rng.uniform(0.0, 0.2), BYE),)
    elif kind == 1:
        steps += (Step(rng.uniform(0.0, 0.2), "bye-consult"), Step(rng.uniform(0.0, 2.0), BYE))
    elif kind == 2:
        steps += (Step(rng.uniform(0.0, 3.0), BYE),)
    else:
        steps += (Step(60.0, BYE),)
    plan.caller_script = CallerScript(
        steps=steps, consult=CallerScript(steps=(Step(0.3, "talk"), Step(90.0, BYE)))
    )
    plan.callee_scripts[only_phone(cast.callee)] = answering(
        rng, (Step(rng.uniform(8.0, 50.0), BYE),)
    )
    third = answering(rng, (Step(rng.uniform(4.0, 50.0), BYE),))
    if rng.random() < 0.15:
        third.reject = rng.choice(REFUSALS)
    plan.callee_scripts[only_phone(cast.third)] = third


def semi_attended(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """REFER with Replaces while the consultation still rings, or just when it is answered."""
    assert cast.third is not None
    plan.caller_script = CallerScript(
        steps=(
            Step(0.3, "talk"),
            Step(rng.uniform(0.5, 2.0), "hold"),
            Step(0.5, "consult", f"sip:{cast.third.user}@{domain}"),
            Step(rng.uniform(0.3, 2.5), "transfer-early"),
            Step(rng.choice((rng.uniform(0.0, 2.0), 60.0)), BYE),
        ),
        consult=CallerScript(steps=(Step(60.0, BYE),)),
    )
    plan.callee_scripts[only_phone(cast.callee)] = answering(
        rng, (Step(rng.uniform(8.0, 40.0), BYE),)
    )
    third = answering(rng, (Step(rng.uniform(4.0, 40.0), BYE),))
    third.answer_after_s = rng.uniform(0.8, 4.0)
    plan.callee_scripts[only_phone(cast.third)] = third


def taken_over(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """A third phone takes the caller's place by INVITE with Replaces (RFC 3891)."""
    assert cast.third is not None
    plan.caller_script = CallerScript(
        steps=(
            Step(0.3, "talk"),
            Step(rng.uniform(0.5, 4.0), "taken-over", only_phone(cast.third)),
            Step(rng.choice((rng.uniform(0.0, 0.3), 60.0)), BYE),
        ),
        consult=CallerScript(steps=(Step(rng.uniform(1.0, 20.0), BYE),)),
    )
    plan.callee_scripts[only_phone(cast.callee)] = answering(
        rng, (Step(rng.uniform(2.0, 40.0), BYE),)
    )


def picked_up(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """A neighbour takes the call while the callee's phone rings; or that one is as fast."""
    assert cast.third is not None
    caller, picker = hang_up(rng)
    plan.caller_script = CallerScript(
        steps=caller,
        cancel_after_s=rng.choice((150.0, rng.uniform(0.5, 3.0))),
        reliable=rng.choice(("", "supported")),
    )
    callee = answering(rng, (Step(rng.uniform(2.0, 40.0), BYE),))
    callee.progress = rng.choice((180, 183))
    callee.picked_up_by = only_phone(cast.third)
    callee.picked_up_after_s = rng.choice((0.05, rng.uniform(0.1, 3.0)))
    callee.picker = CallerScript(steps=(*picker, Step(60.0, BYE)))
    if rng.random() < 0.6:
        callee.answer_after_s = None
    plan.callee_scripts[only_phone(cast.callee)] = callee


def _rule(number: int, *actions: tuple[str, ...], when: tuple[str, ...] = ()) -> list[Any]:
    """A rule of its own name; `when` is a condition beside that of every simplified rule."""
    conditions = [["Method", "is", "INVITE"], *([list(when)] if when else [])]
    return [str(number), f"rule {number}", conditions, [list(action) for action in actions]]


def ruled(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """The callee has Signal Rules that send the call to a third account, at once, in time, or when
    something failed; the caller may give up at any moment of it."""
    assert cast.third is not None
    callee, third = cast.callee.user, cast.third.user
    away, also = ("Redirect To", third), ("Fork to", f"{third}@{domain}")
    seconds = rng.choice((1, 2, 3, 5))
    timed = (1000 - seconds) * 100 + 5
    rules = rng.choice(
        (
            [_rule(100005, away, ("Stop Processing",))],
            [_rule(100005, also)],
            [_rule(timed, away)],
            [_rule(timed, also), _rule(timed - 300, ("Redirect To", "#voicemail"))],
            [_rule(305, away), _rule(105, away), _rule(505, away)],
            [_rule(305, ("Redirect To", "#voicemail")), _rule(timed, also)],
            [_rule(100009, ("Reject with", "603 Not now"), when=("From", "is", f"*@{domain}"))],
            [_rule(100005, ("Redirect To", f"{callee},{third}"))],
            [_rule(100005, ("Remember 'From' in", "Callers"), ("Write To Log", "^F called"))],
            [_rule(100005, ("Write To Log", "x"), when=("RegClients", "greater than", "5"))],
            [_rule(timed, ("Reject with", "486"))],
        )
    )
    plan.rules[callee] = rules
    back = rng.random()
    if back < 0.15:  # back to the callee: a loop, or its devices
        plan.rules[third] = [_rule(100005, ("Redirect To", callee))]
    elif back < 0.3:
        plan.rules[third] = [_rule(305, ("Redirect To", f"nobody@{domain}")), _rule(505, away)]
    for account in (cast.callee, cast.third):
        kind = rng.randrange(4)
        if kind == 0:
            script = CalleeScript(answer_after_s=None)
        elif kind == 1:
            script = CalleeScript(
                ring_after_s=rng.choice((None, 0.1)),
                answer_after_s=rng.uniform(0.05, 2.0 * seconds),
                reject=rng.choice(REFUSALS),
            )
        else:
            script = answering(rng, (Step(talk_time(rng), BYE),))
            script.reliable = rng.random() < 0.3
            if rng.random() < 0.3:  # at the very moment of the timed stage
                script.answer_after_s = seconds + rng.uniform(-0.05, 0.05)
        plan.callee_scripts[only_phone(account)] = script
    cancel_after_s = rng.choice((150.0, 150.0, seconds + rng.uniform(-0.1, 0.1), 2.0 * seconds))
    plan.caller_script = CallerScript(
        steps=(Step(talk_time(rng), BYE),),
        cancel_after_s=max(0.01, cancel_after_s),
        late_offer=rng.random() < 0.15,
    )


def grouped(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """A group is called: the callee under its alias and a third account, which ring together, each
    with rules of its own or without."""
    assert cast.third is not None
    callee, third = cast.callee.user, cast.third.user
    ruled(rng, plan, cast, domain)
    seconds = rng.choice((1, 2, 3))
    timed = (1000 - seconds) * 100 + 5
    own: tuple[list[Any], ...] = (
        [],
        [],
        [_rule(100009, ("Reject with", "603 Not now"))],
        [_rule(timed, ("Redirect To", "#voicemail"))],
        [_rule(305, ("Redirect To", "#voicemail")), _rule(505, ("Redirect To", "#voicemail"))],
        [_rule(timed, ("Reject with", "486"))],
        [_rule(100005, ("Redirect To", f"nobody@{domain}"))],
    )
    plan.rules = {user: rules for user in (callee, third) if (rules := rng.choice(own))}
    name, alias = f"g{plan.number}", f"a{plan.number}"
    plan.aliases = {callee: alias}
    members = [alias, f"{third}@{domain}"]
    if rng.random() < 0.3:  # a group with itself and somebody unknown in it
        members += [name, "nobody"]
    rng.shuffle(members)
    plan.groups = {name: tuple(members)}
    plan.callee = name if rng.random() < 0.8 else alias


MIX: tuple[Scenario, ...] = (
    Scenario("plain", 26, plain),
    Scenario("refused", 8, refused),
    Scenario("cancelled", 7, cancelled),
    Scenario("cancel-race", 6, cancel_race),
    Scenario("refuse-race", 3, refuse_race),
    Scenario("unanswered", 2, unanswered),
    Scenario("hold", 8, hold),
    Scenario("glare", 4, glare),
    Scenario("hang-up-glare", 5, hang_up_glare),
    Scenario("late-offer", 5, late_offer),
    Scenario("offerless", 3, offerless),
    Scenario("reliable", 6, reliable),
    Scenario("session-timer", 2, session_timer),
    Scenario("lost-ack", 3, lost_ack),
    Scenario("power-cut", 3, power_cut),
    Scenario("restart", 2, restart),
    Scenario("info", 2, info),
    Scenario("silence", 1, silence),
    Scenario("fork", 5, fork, callee_phones=3),
    Scenario("unknown", 1, unknown),
    Scenario("blind", 5, blind, third=True),
    Scenario("attended", 5, attended, third=True),
    Scenario("semi-attended", 2, semi_attended, third=True),
    Scenario("taken-over", 2, taken_over, third=True),
    Scenario("picked-up", 2, picked_up, third=True),
    Scenario("ruled", 10, ruled, third=True),
    Scenario("grouped", 6, grouped, third=True),
)

PROGRAMS: tuple[Scenario, ...] = (
    Scenario("program-attendant", 4, programs.attendant, third=True),
    Scenario("program-voicemail", 4, programs.voicemail),
    Scenario("program-mailbox", 3, programs.mailbox),
    Scenario("program-queue", 4, programs.queue, third=True),
    Scenario("program-waiting", 3, programs.waiting),
    Scenario("program-transfer", 3, programs.transfer, third=True),
    Scenario("program-broken", 1, programs.broken),
)
"""Calls that programs answer; not in the mix, since the media service then ticks."""

BY_NAME: Mapping[str, Scenario] = {scenario.name: scenario for scenario in (*MIX, *PROGRAMS)}


def draw(rng: Random, names: tuple[str, ...] = ()) -> Scenario:
    """One scenario by weight, out of all or of those named."""
    rows = [BY_NAME[name] for name in names] if names else list(MIX)
    return rng.choices(rows, weights=[row.weight for row in rows])[0]


def write(scenario: Scenario, rng: Random, number: int, cast: Cast, domain: str) -> Plan:
    """The plan of one call."""
    accounts = tuple(account.user for account in cast if account is not None)
    plan = Plan(
        number=number,
        scenario=scenario.name,
        caller=only_phone(cast.caller),
        callee=cast.callee.user,
        caller_script=CallerScript(),
        callee_scripts={},
        accounts=accounts,
    )
    scenario.fill(rng, plan, cast, domain)
    return plan
