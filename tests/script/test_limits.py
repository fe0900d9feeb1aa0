"""What a program may use, and how it ends when it uses more."""

from __future__ import annotations

import time

import pytest

from pbx.script.errors import ProgramException
from pbx.script.limits import Limits
from pbx.script.machine import Failed, Finished, Machine, Paused
from pbx.script.requests.ambient import GMTTime, SysLog
from pbx.script.testing import call, compile_text, logged


def run_out(text: str, limits: Limits | None = None) -> Failed:
    """Run a program that fails; nothing is asked of a host."""
    machine = Machine(compile_text(text), limits=limits or Limits())
    outcome = machine.run()
    while isinstance(outcome, Paused):
        outcome = machine.run()
    assert isinstance(outcome, Failed)
    assert outcome.internal is None
    return outcome


@pytest.mark.parametrize(
    "body",
    [
        "loop end loop;",
        "while(true) {}",
        "for(;;) { x += 1; }",
        "for(;;) { p(); }",
        "loop exitif null; end loop;",
    ],
)
def test_endless_loops_end(body: str) -> None:
    """A million operations, given out in slices; the message has the place."""
    failed = run_out(f"procedure p() {{}} entry main {{ {body} }}")
    assert failed.limit
    assert "endless loop" in failed.message
    assert failed.stack[-1].section == "entry main"


def test_slices_give_control_back() -> None:
    """A long computation is interrupted every few milliseconds."""
    machine = Machine(
        compile_text("entry main { for(var i = 0; i < 100000; i += 1) { x = i * 2 + 1; } }")
    )
    pauses = 0
    longest = 0.0
    outcome = machine.run()
    while isinstance(outcome, Paused):
        pauses += 1
        began = time.process_time()
        outcome = machine.run()
        longest = max(longest, time.process_time() - began)
    assert outcome == Finished("return")
    assert pauses > 20
    assert longest < 0.2


def test_waiting_restarts_the_count() -> None:
    """The limit is between two calls that wait; calls that do not wait add to it."""
    text = "entry main { for(var i = 0; i < 400; i += 1) { void(GMTTime()); } }"
    limits = Limits(steps=2000)
    for waited, expected in ((True, Finished), (False, Failed)):
        machine = Machine(compile_text(text), limits=limits)
        outcome = machine.run()
        while not isinstance(outcome, Finished | Failed):
            if isinstance(outcome, GMTTime):
                outcome = machine.resume(None, waited=waited)
            else:
                outcome = machine.run()
        assert isinstance(outcome, expected)


def test_recursion() -> None:
    """Two hundred calls in each other, and no more; the stack is shown in part."""
    text = "function f(n) { return n == 0 ? 0 : 1 + f(n-1); } entry main { SysLog(f(%d)); }"
    assert logged(text % 190) == [190]
    with pytest.raises(ProgramException, match="200 calls in each other") as caught:
        logged(text % 300)
    assert "more calls" in str(caught.value)
    assert len(str(caught.value).splitlines()) < 60


@pytest.mark.parametrize(
    "body",
    [
        's = "x"; for(;;) { s = s + s; }',
        "a = NewArray(); for(;;) { a.addElement(NewDictionary()); a.addElement(NewArray()); }",
        (
            "a = NewArray(); s = '012345678901234567890123456789012345678901234567890123456789';"
            " s = s + '0123456789'; for(;;) { a.addElement(s + Length(a)); }"
        ),
        "d = NewDictionary(); for(i = 0;; i += 1) { d.(String(i)) = i; }",
        "a = NewArray(); a[0] = a; x = Copy(a);",
        "a = NewArray(); a[0] = a; x = ObjectToString(a);",
        "a = NewArray(); a[0] = a; b = NewArray(); b[0] = b; x = a == b;",
        (
            "a = NewArray(); for(i = 0; i < 60; i += 1) { b = NewArray(); b[0] = a; b[1] = a;"
            " a = b; } x = ObjectToString(a);"
        ),
        (
            "a = NewArray(); for(i = 0; i < 60; i += 1) { b = NewArray(); b[0] = a; b[1] = a;"
            " a = b; } x = Copy(a) == Copy(a);"
        ),
        (
            "x = NewXML('a'); for(i = 0; i < 60; i += 1) { y = NewXML('a'); y.addElement(x);"
            " y.addElement(x); x = y; } s = ObjectToString(x);"
        ),
    ],
)
def test_memory_bombs(body: str) -> None:
    """Growing values, cycles and sharing end in a clear failure, soon."""
    began = time.process_time()
    text = body.replace("'", '"')
    failed = run_out(f"entry main {{ {text} }}", Limits(memory_bytes=8 << 20))
    assert failed.stack
    assert time.process_time() - began < 5


def test_garbage_is_not_counted() -> None:
    """A program may make more than its memory over time, if it keeps little."""
    text = """
entry main {
  var s = "";
  for(var i = 0; i < 2000; i += 1) {
    s = "0123456789012345678901234567890123456789012345678901234567890123456789";
    for(var k = 0; k < 8; k += 1) { s = s + s; }
    SysLog(Length(s));
  }
}
"""
    machine = Machine(compile_text(text), limits=Limits(memory_bytes=2 << 20, steps=100_000_000))
    outcome = machine.run()
    while not isinstance(outcome, Finished | Failed):
        outcome = machine.run() if isinstance(outcome, Paused) else machine.resume(None)
    assert outcome == Finished("return")


def test_log_output_is_bounded() -> None:
    """Long lines are cut; a flood of lines ends the task."""
    text = b"""
entry main {
  var s = "0123456789";
  for(var i = 0; i < 12; i += 1) { s = s + s; }
  for(;;) { SysLog(s); }
}
"""
    run = call("x", files={"x.sppr": text}, fails=True)
    assert run.log[0].endswith("(cut)")
    assert len(run.log[0]) < 17_000
    assert "log text" in run.log[-1]
    assert len(run.log) < 100


def test_a_hostile_expression_is_refused() -> None:
    """Nested repeats, which make matching explode, give null as a bad expression does."""
    began = time.process_time()
    text = 'entry main { SysLog(FindRegEx("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!","%s")); }'
    for picture in ("(a+)+$", "(a|a)*$", "((a*)*)*b", "(a|aa)+$", "(.*)*x"):
        assert logged(text % picture) == [None]
    assert time.process_time() - began < 1


def test_the_machine_is_used_in_order() -> None:
    """run, resume and kill at the wrong time are errors of the caller."""
    machine = Machine(compile_text("entry main { SysLog(1); SysLog(2); }"))
    with pytest.raises(RuntimeError, match="resume"):
        machine.resume(None)
    assert machine.run() == SysLog(1)
    with pytest.raises(RuntimeError, match="run"):
        machine.run()
    place = machine.position()
    assert place is not None
    assert (place.section, place.line) == ("entry main", 1)
    machine.kill()
    assert machine.over
    with pytest.raises(RuntimeError, match="over"):
        machine.resume(None)
