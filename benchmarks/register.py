"""CPU of one REGISTER with digest (two round trips) over UDP: ours beside Kamailio.

A hundred accounts register and refresh in turn, so that both servers store something each time (of
one account we decide one request after the other, as each is on disk before its answer). Ours is
run at a rate that keeps it busy for about two fifths of a core, as in :mod:`benchmarks.calls`;
Kamailio at the rate that SIPp can still keep.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks import harness
from benchmarks.harness import HERE, Running

ACCOUNTS: Final = 100
REGISTERS: Final = 4000
WARM: Final = 1000
ROUNDS: Final = 3
RATE: Final = 1000.0
PEER_RATE: Final = 2000.0


def measure(running: Running, rate: float, role: str = "") -> float:
    """Milliseconds of CPU per registration."""
    with phones() as scenario:
        harness.sipp(scenario, running.port, rate=rate, calls=WARM)
        figures = []
        for _ in range(ROUNDS):
            before = running.cpu_s(role)
            harness.sipp(scenario, running.port, rate=rate, calls=REGISTERS)
            figures.append((running.cpu_s(role) - before) * 1000 / REGISTERS)
    return statistics.median(figures)


@contextmanager
def phones() -> Iterator[list[str]]:
    """SIPp's arguments: the accounts in turn, each with its password."""
    text = (HERE / "peers" / "register.xml").read_text()
    text = text.replace("[service]", "[field0]").replace("[authentication]", "[field1]")
    with tempfile.TemporaryDirectory(prefix="ringlog-register-") as folder:
        scenario, names = Path(folder, "register.xml"), Path(folder, "names.csv")
        scenario.write_text(text)
        lines = (
            f"phone{n};[authentication username=phone{n} password={harness.PASSWORD}]\n"
            for n in range(ACCOUNTS)
        )
        names.write_text("SEQUENTIAL\n" + "".join(lines))
        yield ["-sf", str(scenario), "-inf", str(names), "-key", "domain", harness.DOMAIN]


def run() -> dict[str, Any]:
    """All figures in ms of CPU per registration."""
    with harness.ringlog(media="off", accounts=ACCOUNTS) as server:
        signalling = measure(server, RATE, "signal")
    with harness.kamailio(9) as proxy:
        peer = measure(proxy, PEER_RATE)
    return {"ringlog": signalling, "kamailio": peer}


def main() -> None:
    """Print both and the ratio."""
    result = run()
    if "--json" in sys.argv:
        print(json.dumps(result))
        return
    ours, peer = result["ringlog"], result["kamailio"]
    print("CPU per REGISTER with digest (two round trips over UDP), ms")
    print(f"  {'ringlog signalling':<24} {ours:6.3f}   {ours / peer:4.2f} x kamailio")
    print(f"  {'kamailio':<24} {peer:6.3f}")


if __name__ == "__main__":
    main()
