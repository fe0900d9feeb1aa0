"""``python -m tests.simulation``: run seeds, print what broke and how to repeat it.

Exit status 0 when every invariant held, 1 otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from contextlib import ExitStack
from dataclasses import replace

from tests.simulation.invariants import Breach, judge
from tests.simulation.ladder import ladder
from tests.simulation.planted import PLANTS, planted
from tests.simulation.scenarios import BY_NAME
from tests.simulation.world import Options, World, simulate

#: Breaches printed for one seed.
SHOWN = 20


def run_seed(options: Options) -> tuple[World, list[Breach], float]:
    """Simulate one seed; the world, what broke, and calls per second of CPU time."""
    begun = time.process_time()
    world = World(options)
    try:
        world.run()
        breaches = judge(world)
    except Exception:  # noqa: BLE001  the seed that brought it about must be told, whatever it is
        text = traceback.format_exc(limit=-6)
        breaches = [Breach(f"exception at {world.clock.now:.3f} s\n{text}")]
    spent = time.process_time() - begun
    world.close()
    return world, breaches, len(world.plans) / spent


def report(options: Options, breaches: list[Breach], *, trace: bool) -> str:
    """What broke, how to repeat it, and on demand the ladder of the first call that failed."""
    lines = [f"seed {options.seed}: {len(breaches)} broken invariants"]
    lines += [f"  {breach}" for breach in breaches[:SHOWN]]
    if len(breaches) > SHOWN:
        lines.append(f"  … and {len(breaches) - SHOWN} more")
    plan = next((breach.plan for breach in breaches if breach.plan is not None), None)
    number = options.trace or (plan.number if plan is not None else 0)
    lines.append(f"repeat with: {options.command}" + (f" --trace {number}" if number else ""))
    if trace and number:
        world = simulate(replace(options, trace=number))
        lines += ["", ladder(world, world.plans[number - 1])]
        world.close()
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, one after another")
    parser.add_argument("--calls", type=int, default=500, help="calls for each seed")
    parser.add_argument("--rate", type=float, default=Options(0).rate, help="new calls a second")
    parser.add_argument(
        "--scenario", action="append", default=[], choices=sorted(BY_NAME), metavar="NAME",
        help=f"draw from these only: {', '.join(BY_NAME)}",
    )  # fmt: skip
    parser.add_argument("--no-faults", action="store_true", help="perfect network, no crashes")
    parser.add_argument("--no-media", action="store_true", help="without the media service")
    parser.add_argument("--providers", type=int, default=0, help="providers to register with")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="run with this bug in the product")
    parser.add_argument(
        "--trace", type=int, nargs="?", const=0, default=None, metavar="CALL",
        help="print the ladder of this call (of the first that failed)",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    failed = False
    with ExitStack() as stack:
        if chosen.plant:
            stack.enter_context(planted(chosen.plant))
        for seed in range(chosen.seed, chosen.seed + chosen.seeds):
            options = Options(
                seed=seed,
                calls=chosen.calls,
                rate=chosen.rate,
                names=tuple(chosen.scenario),
                faults=not chosen.no_faults,
                media=not chosen.no_media,
                providers=chosen.providers,
                plant=chosen.plant or "",
            )
            world, breaches, rate = run_seed(options)
            counters = world.network.counters
            summary = (
                f"seed {seed}: {len(world.plans)} calls, {world.clock.now:.0f} s, "
                f"{counters['datagrams']} datagrams ({counters['lost']} lost), "
                f"{len(world.server.crashes)} crashes, {rate:.0f} calls/s, "
                f"history {world.network.digest:08x}"
            )
            sys.stdout.write(summary + "\n")
            if breaches or chosen.trace:
                failed = failed or bool(breaches)
                shown = replace(options, trace=chosen.trace or 0)
                text = report(shown, breaches, trace=chosen.trace is not None)
                sys.stdout.write(text + "\n")
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
