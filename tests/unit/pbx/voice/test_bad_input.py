"""Programs that misbehave and callers that do: each has an answer, and nobody else notices."""

from __future__ import annotations

import pytest

from pbx.script.runtime.node import MAX_FAMILY
from pbx.script.runtime.task import MAX_DIGITS
from pbx.voice.host import TURNS
from tests.support.voice_lab import PBX, VoiceLab

_POLITE = """
entry main {
  if(AcceptCall() != null) { stop; }
  var input = ReadInput(30);
  SysLog("pressed " + input);
  stop;
}
"""
#: What each is: the last words of the text that the operator is told.
BOMBS = {
    "loop": "entry main { void(AcceptCall()); loop null; end loop; }",
    "recursion": "function f(x) forward; entry main { void(AcceptCall()); void(f(1)); } "
    "function f(x) { return f(x + 1); }",
    "memory": 'entry main { void(AcceptCall()); var s = "0123456789"; loop s = s + s; end loop; }',
    "lists": "entry main { void(AcceptCall()); var a = NewArray(); "
    "loop a.addElement(NewArray()); end loop; }",
    "spawns": "entry main { void(AcceptCall()); loop var t = spawn main; end loop; }",
    "log": 'entry main { void(AcceptCall()); loop SysLog("x"); end loop; }',
}


def hang_up(lab: VoiceLab) -> None:
    """By alice, unless the program was faster."""
    lab.advance(0.05)
    if lab.host.lines:
        lab.play("alice > BYE\nalice < 200 BYE")
    else:
        lab.play("alice < BYE\nalice > 200")


def end_of(lab: VoiceLab, program: str) -> str:
    return next(reason for name, reason in lab.watch.endings if name == program)


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_ends_its_own_call_and_nobody_elses(name: str) -> None:
    """Bob is in a program of his own, which hears him within the turns that one row may take."""
    lab = VoiceLab("alice bob", {"polite": _POLITE, "bomb": BOMBS[name]})
    lab.play("""
        bob > INVITE polite b1
        bob < 200 m1
        bob > ACK
        alice > INVITE bomb a1
    """)
    turns = 0
    pump = lab.host.tasks.pump

    def counted() -> bool:
        nonlocal turns
        turns += 1
        return pump()

    lab.host.tasks.pump = counted  # type: ignore[method-assign]
    rows = []
    for _ in range(200):
        before = turns
        lab.node.handle_timers(lab.now)
        rows.append(turns - before)
        lab.advance(0.002)
    assert max(rows) <= TURNS, "the network waits for no more turns than these"
    lab.press("7", session=0)
    lab.advance(0.05)
    assert "pressed 7" in lab.watch.log
    assert end_of(lab, "polite") == "stop"
    assert len(lab.host.tasks.tasks) <= MAX_FAMILY
    if name == "spawns":
        assert lab.watch.endings == [("polite", "stop")]
        assert len(lab.host.tasks.tasks) == MAX_FAMILY
        for task_id in list(lab.host.tasks.tasks):  # each would use up its million steps
            lab.host.kill(task_id)
    else:
        lab.advance(5.0)
        assert end_of(lab, "bomb") == "exception", lab.watch.endings
        assert lab.watch.failures
    assert lab.host.tasks.tasks == {}


@pytest.mark.parametrize("name", ["voicemail", "passivequeue{sales}", "pbx", "echotest"])
def test_callers_may_hang_up_at_any_moment_of_a_shipped_program(name: str) -> None:
    """Every 700 ms of it, with a key before; nothing is left each time, and nothing breaks."""
    for number in range(14):
        lab = VoiceLab("alice")
        lab.rights(PBX, "Domain")
        lab.route(f"Signal:<it@*> = {name}#{PBX}")
        lab.play(f"""
            alice > INVITE it a1
            alice < 200 m1
            alice > ACK
            +{0.05 + 0.35 * number:.2f}
        """)
        if lab.hosting.hosted:
            lab.press("12*#"[number % 4])
        lab.play(f"+{0.35 * number:.2f}")
        hang_up(lab)
        lab.advance(5.0)  # what it says to nobody takes its time
        lab.end()
        assert lab.watch.failures == []


@pytest.mark.parametrize(
    "data", [None, b"", b"RIFF", b"RIFF\xff\xff\xff\xffWAVEdata\xff\xff\xff\xff", bytes(5000)]
)
def test_a_prompt_that_is_missing_or_no_sound_is_passed_over(data: bytes | None) -> None:
    prompts = (
        'entry main { void(AcceptCall()); PlayFile("odd"); SysLog("went on"); void(ReadInput(5)); }'
    )
    lab = VoiceLab("alice", {"prompts": prompts} | ({} if data is None else {"odd.wav": data}))
    lab.play("""
        alice > INVITE prompts a1
        alice < 200 m1
        alice > ACK
        +2
    """)
    assert "went on" in lab.watch.log
    hang_up(lab)
    lab.end()
    assert lab.watch.failures == []


def test_a_flood_of_digits_is_bounded() -> None:
    """A program that does not listen keeps the first ones, and goes on."""
    lab = VoiceLab("alice", {"deaf": "entry main { void(AcceptCall()); "
        "PlayTone(1000, 60000); void(ReadInput(1)); }"})  # fmt: skip
    lab.play("""
        alice > INVITE deaf a1
        alice < 200 m1
        alice > ACK
    """)
    (task,) = lab.host.tasks.tasks.values()
    session = next(iter(lab.hosting.hosted))
    for number in range(5000):
        event = {"event": "digit", "digit": "0123456789"[number % 10], "call-id": session}
        lab.host.on_sound(event, lab.now)
    assert len(task.digits) <= MAX_DIGITS
    hang_up(lab)
    lab.end()
