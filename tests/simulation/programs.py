"""Calls that programs answer: attendant, voice mail, queue, transfer, and one that breaks down.

Voice mail and the owner's menu are the shipped programs; the others have their own, short ones.

The called account's rules send its calls to a program. The phones hang up whenever it pleases them,
so that a program loses its caller at any of its instructions. What the caller hears is no oracle
here, but everything else is judged: one record a call, nothing left of tasks, dialogs, ports.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from tests.support.scenario import CalleeScript, CallerScript, Plan, Step

if TYPE_CHECKING:
    from tests.simulation.scenarios import Cast

#: The one who shall be reached is in the program's parameter.
_ATTEND: Final = """
function callerLeg(parameters, callPending) external;
procedure bridgedLoop(peerOrEvent) external;
entry main {
  if(AcceptCall() != null) { stop; }
  PlayFile("welcome");
  var input = ReadInput(3), tries = 0;
  loop
  exitif !IsConnected() || IsDisconnectEvent(input) || tries >= 3;
    var leg = NewDictionary();
    leg.("") = EmailToSIPURI(Vars().startParameter[0]);
    leg.From = RemoteURI();
    leg.fromName = RemoteRealName();
    leg.Expires = 20;
    var peer = callerLeg(leg, input == "2" ? true : null);
    if(IsTask(peer)) { bridgedLoop(peer); stop; }
    PlayFile("failure");
    tries += 1;
    input = ReadInput(2);
  end loop;
}
"""
_QUEUE: Final = """
function callerLeg(parameters, callPending) external;
procedure bridgedLoop(peerOrEvent) external;
entry Agent forward;
entry main {
  if(AcceptCall() != null) { stop; }
  void(Enqueue("q", RemoteURI(), null));
  var agent = spawn Agent(Vars().startParameter[0]), input;
  loop
    PlayFile("holdmusic", 3000);
    input = ReadInput(0);
  exitif IsDictionary(input) || !IsConnected() || input == "#" || CheckQueue("q").length == null;
  end loop;
  Dequeue("q");
  if(IsStartBridgeEvent(input)) { bridgedLoop(input); }
  else { void(SendEvent(agent, "stop", null)); }
}
entry Agent {
  if(StartCall(EmailToSIPURI(Vars().startParameter)) != null) { stop; }
  loop
    var input = ReadInput(40);
  exitif !IsCallProvisionEvent(input);
  end loop;
  if(!IsCallCompletedEvent(input) || input.parameter != null) { stop; }
  var next = ReadQueue("q");
  if(next == null) { stop; }
  if(StartBridge(next.id) == null) { bridgedLoop(next.id); }
}
"""
_GIVE: Final = """
entry main {
  if(AcceptCall() != null) { stop; }
  PlayFile("welcome");
  var input = ReadInput(1);
  void(TransferCall(Vars().startParameter[0]));
  input = ReadInput(5);
}
"""
_BROKEN: Final = """
entry main { void(AcceptCall()); void(ReadInput(2)); loop null; end loop; }
"""
FILES: Final = {
    "simattend.sppr": _ATTEND.encode(),
    "simqueue.sppr": _QUEUE.encode(),
    "simgive.sppr": _GIVE.encode(),
    "simbroken.sppr": _BROKEN.encode(),
}


def _answered_by(plan: Plan, cast: Cast, program: str, domain: str) -> None:
    """The called account's rules start a program."""
    target = cast.third.user if cast.third is not None else ""
    given = f"{program}{{{target}}}" if target else program
    address = f"{given}#{cast.callee.user}@{domain}"
    _led(plan, cast.callee.user, address)


def _led(plan: Plan, user: str, address: str) -> None:
    plan.rules[user] = [[100005, "program", [], [["Redirect To", address]]]]
    plan.excused = "a program answers"


def _caller(rng: Random, *digits: str) -> CallerScript:
    steps = [Step(0.2, "talk")]
    steps += [Step(0.2 + rng.expovariate(1.0), "info", digit) for digit in digits]
    steps.append(Step(rng.expovariate(0.25), "bye"))
    return CallerScript(steps=tuple(steps))


def _third(rng: Random, plan: Plan, cast: Cast) -> None:
    assert cast.third is not None  # the scenario asked for one
    script = CalleeScript(
        ring_after_s=0.1,
        answer_after_s=0.3 + rng.expovariate(0.5),
        steps=(Step(0.3, "talk"), Step(rng.expovariate(0.2), "bye")),
    )
    plan.callee_scripts[cast.third.phones[0]] = script


def attendant(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Digits, a second leg, a conversation."""
    _answered_by(plan, cast, "simattend", domain)
    plan.caller_script = _caller(rng, rng.choice("12"))
    _third(rng, plan, cast)


def voicemail(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Greeting, beep, a message that ends whenever, its menu; keys at any moment."""
    _led(plan, cast.callee.user, f"voicemail#{cast.callee.user}@{domain}")
    keys = rng.choice(("", "", "", "1", "#1", "121", "#4", "#3#1", "#*", "##", "7", "**", "6123#"))
    steps = [Step(0.2, "talk"), Step(rng.uniform(0.5, 8.0), "talk")]
    steps += [Step(rng.expovariate(0.4), "info", key) for key in keys]
    steps.append(Step(rng.expovariate(0.2), "bye"))
    plan.caller_script = CallerScript(steps=tuple(steps))


def mailbox(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """The caller's own INBOX: listened to, deleted, forwarded to the callee by its number."""
    owner = cast.caller.user
    _led(plan, owner, f"service{{51}}#{owner}@{domain}")
    plan.callee = owner
    plan.mail[owner] = rng.randrange(4)
    number = f"7{plan.number:05d}"
    plan.aliases[cast.callee.user] = number
    step = ("1", "1", "2", "7", "7", "0", "3", f"6{number}#", "*")
    keys = "1" + "".join(rng.choice(step) for _ in range(rng.randrange(8)))
    pace = rng.choice((0.3, 1.0, 3.0))
    steps = [Step(0.2, "talk"), *(Step(rng.expovariate(1 / pace), "info", key) for key in keys)]
    steps.append(Step(rng.expovariate(0.2), "bye"))
    plan.caller_script = CallerScript(steps=tuple(steps))


def queue(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """Music until an agent has answered."""
    _answered_by(plan, cast, "simqueue", domain)
    plan.caller_script = _caller(rng)
    _third(rng, plan, cast)


QUEUE: Final = "waiting-room"
"""The account of the queue that all calls of :func:`waiting` share."""
AGENTS: Final = "agents"


def is_agent(user: str) -> bool:
    """Every fourth account takes calls of the queue."""
    return int(user[1:]) % 4 == 0


def waiting(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """The shipped queue: callers wait in it for others, who are agents and take them by a key."""
    plan.callee = QUEUE
    plan.excused = "a program answers"
    steps = [Step(0.2, "talk")]
    if is_agent(cast.caller.user):
        steps += [
            Step(rng.expovariate(0.3), "info", key) for key in rng.choice(("*", "**#*", "4*"))
        ]
    elif rng.random() < 0.3:
        steps.append(Step(rng.expovariate(0.1), "info", "#"))
    steps.append(Step(rng.expovariate(0.1), "bye"))
    plan.caller_script = CallerScript(steps=tuple(steps))


def transfer(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """The program gives its caller away."""
    _answered_by(plan, cast, "simgive", domain)
    plan.caller_script = _caller(rng)
    _third(rng, plan, cast)


def broken(rng: Random, plan: Plan, cast: Cast, domain: str) -> None:
    """An endless loop."""
    _answered_by(plan, cast, "simbroken", domain)
    plan.caller_script = _caller(rng)
