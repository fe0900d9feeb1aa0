"""What CG/PL programs cost: ``python -m benchmarks.script``.

The language is measured against plain Python that does the same, as a ratio: it says what the
interpreter adds (checked types, 64-bit numbers, limits). Then requests a second, offline IVR calls
a second through the shipped attendant, and the memory of a waiting task. Best of several rounds.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable

from pbx.script.environment import Level
from pbx.script.limits import Limits
from pbx.script.machine import Failed, Finished, Machine, Paused
from pbx.script.offline.files import OfflineFiles
from pbx.script.offline.run import OfflineRun, stock_directory
from pbx.script.offline.scenario import Scenario, scenario_of
from pbx.script.program import CompiledProgram, compile_program
from pbx.script.source import Source

ROUNDS = 5
LIMITS = Limits(steps=10**9)

LOOP = """
entry main {
  var total = 0;
  for(var i = 0; i < 200000; i += 1) {
    total += i % 7;
    if(i % 3 == 0 && total > 10) { total -= 1; }
  }
}
"""
RECURSION = """
function fib(n) { if(n < 2) { return n; } return fib(n-1) + fib(n-2); }
entry main { void(fib(20)); }
"""
CONTAINERS = """
entry main {
  var d = NewDictionary(), a = NewArray(), s = "";
  for(var i = 0; i < 60000; i += 1) {
    s = "k" + i % 100;
    d.(s) = (d.(s) || 0) + 1;
    a[i % 50] = s;
  }
}
"""
STRINGS = """
entry main {
  var digits = "0123456789*#", found = 0;
  for(var i = 0; i < 60000; i += 1) {
    var c = Substring(digits, i % 12, 1);
    if(IsDigit(c)) { found += Number(c); } elif(c == "*") { found -= Length(digits); }
  }
}
"""
REQUESTS = "entry main { for(var i = 0; i < 50000; i += 1) { void(GMTTime()); } }"


def python_loop() -> None:
    total = 0
    i = 0
    while i < 200000:
        total += i % 7
        if i % 3 == 0 and total > 10:
            total -= 1
        i += 1


def _fib(n: int) -> int:
    return n if n < 2 else _fib(n - 1) + _fib(n - 2)


def python_recursion() -> None:
    _fib(20)


def python_containers() -> None:
    d: dict[str, int] = {}
    a: list[str] = []
    i = 0
    while i < 60000:
        s = "k" + str(i % 100)
        d[s] = (d.get(s) or 0) + 1
        if i % 50 == len(a):
            a.append(s)
        else:
            a[i % 50] = s
        i += 1


def python_strings() -> None:
    digits = "0123456789*#"
    found = 0
    i = 0
    while i < 60000:
        c = digits[i % 12 : i % 12 + 1]
        if c.isdigit():
            found += int(c)
        elif c == "*":
            found -= len(digits)
        i += 1


def _best(action: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        action()
        best = min(best, time.process_time() - began)
    return best


def _compiled(text: str) -> CompiledProgram:
    return compile_program(Source("bench.sppr", text))


def _run(program: CompiledProgram) -> Machine:
    machine = Machine(program, limits=LIMITS)
    outcome = machine.run()
    while not isinstance(outcome, Finished | Failed):
        if isinstance(outcome, Paused):
            outcome = machine.run()
        else:
            outcome = machine.resume(None, waited=False)
    if isinstance(outcome, Failed):
        sys.exit(str(outcome))
    return machine


def _ivr(number: int) -> Scenario:
    return scenario_of(
        {
            "seed": number,
            "caller": {"uri": "sip:+7900@provider.test", "does": "402 w30 h"},
            "destinations": {"402": {"does": "w5 h"}},
            "accounts": {
                "pbx@example.org": {
                    "preferences": {"ReceptMenu": ["sales", "operator"], "ReceptDirPrefix": "4"}
                }
            },
        }
    )


def main() -> int:
    """Print one line for each measurement."""
    pairs = (
        ("numbers in a loop", LOOP, python_loop),
        ("recursion", RECURSION, python_recursion),
        ("dictionaries and arrays", CONTAINERS, python_containers),
        ("strings", STRINGS, python_strings),
    )
    print(f"{'program':<28}{'operations/s':>14}{'x Python':>10}")
    for name, text, python in pairs:
        program = _compiled(text)
        machine = _run(program)
        steps = LIMITS.steps - machine.left + LIMITS.slice_steps - machine.budget
        ours = _best(lambda program=program: _run(program))  # type: ignore[misc]
        theirs = _best(python)
        print(f"{name:<28}{steps / ours:>14,.0f}{ours / theirs:>10.1f}")
    program = _compiled(REQUESTS)
    print(f"{'requests to the host/s':<28}{50_000 / _best(lambda: _run(program)):>14,.0f}")
    text = (stock_directory() / "pbx.sppr").read_text("utf-8")
    print(f"{'compiling pbx.sppr, ms':<28}{_best(lambda: _compiled(text)) * 1000:>14.1f}")
    files = OfflineFiles({Level.STOCK: stock_directory()})
    calls = 30
    spent = _best(lambda: [OfflineRun("pbx", _ivr(one), files).run() for one in range(calls)])
    print(f"{'offline attendant calls/s':<28}{calls / spent:>14,.0f}   (compiling included)")
    waiting = _compiled("entry main { var menu = NewDictionary(); void(ReadInput(9)); }")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    machines = [Machine(waiting) for _ in range(2000)]
    for machine in machines:
        machine.run()
    each = (tracemalloc.get_traced_memory()[0] - before) / len(machines)
    tracemalloc.stop()
    print(f"{'memory of a waiting program':<28}{each:>14,.0f} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
