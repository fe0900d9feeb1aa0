"""Memory of the signalling process per binding and per call that is up, with media proxy.

Resident size before and after, divided by how many were added: SIPp registers many contacts and
holds many calls. Each follows a warm-up of the same load.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import harness
from benchmarks.harness import HERE, Running

BINDINGS: Final = 4500
EACH: Final = 9
"""Contacts of one account, which may have ten; the warm-up leaves one."""
RATE: Final = 200
LINGER_S: Final = 35
CALLS: Final = 500


def bindings() -> float:
    """KB a binding: phones with some contacts each, registered as any other."""
    scenario = (HERE / "peers" / "register.xml").read_text()
    scenario = scenario.replace("[service]", "[field0]")
    scenario = scenario.replace("[local_port]>", "[local_port];line=[call_number]>")
    scenario = scenario.replace("[authentication]", "[field1]")
    phones = BINDINGS // EACH
    with (
        harness.ringlog(media="off", accounts=phones) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        many, names = Path(folder, "many.xml"), Path(folder, "names.csv")
        many.write_text(scenario)
        lines = [
            f"phone{n};[authentication username=phone{n} password={harness.PASSWORD}]\n"
            for n in range(phones)
        ]
        names.write_text("SEQUENTIAL\n" + "".join(lines))
        command = ["-sf", str(many), "-inf", str(names), "-key", "domain", harness.DOMAIN]
        # Transactions stay for 32 s (RFC 3261 Timer J), and memory once taken from the system is
        # kept: the same load without new bindings takes what registering needs, then it is free.
        once = scenario.replace("[call_number]", "1")
        many.write_text(once)
        harness.sipp(command, server.port, rate=RATE, calls=BINDINGS)
        time.sleep(LINGER_S)
        many.write_text(scenario)
        warm = server.memory_kb("signal")
        harness.sipp(command, server.port, rate=RATE, calls=BINDINGS)
        return (server.memory_kb("signal") - warm) / BINDINGS


def calls() -> dict[str, float]:
    """KB a call that is up, in the signalling and in the media process."""
    with harness.sipp_uas() as uas, harness.ringlog(media="local") as server:
        harness.register(server.port, f"sip:bob@{harness.HOST}:{uas}")
        harness.sipp(["-sn", "uac", "-s", "bob", "-d", "0"], server.port, rate=50, calls=100)
        before = {role: server.memory_kb(role) for role in ("signal", "media")}
        command = [
            "sipp", "-sn", "uac", "-s", "bob", "-d", "30000", f"{harness.HOST}:{server.port}",
            "-i", harness.HOST, "-p", str(harness.free_port()), "-nostdin", "-r", "50",
            "-m", str(CALLS), "-l", str(CALLS),
        ]  # fmt: skip
        load = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=tempfile.gettempdir(),
        )
        try:
            _await_calls(server, load)
            return {
                role: (server.memory_kb(role) - start) / CALLS for role, start in before.items()
            }
        finally:
            load.kill()
            load.wait()


def _await_calls(server: Running, load: subprocess.Popen[bytes]) -> None:
    """SIPp has set all of them up after its calls divided by its rate, and a little."""
    deadline = time.monotonic() + CALLS / 50 + 3
    while time.monotonic() < deadline:
        if load.poll() is not None:
            raise harness.BenchError("SIPp ended before all calls were up")
        time.sleep(0.5)


def run() -> dict[str, Any]:
    """All figures in KB."""
    return {"binding": bindings(), "call": calls()}


def main() -> None:
    """Print them."""
    result = run()
    if "--json" in sys.argv:
        print(json.dumps(result))
        return
    call = result["call"]
    total = call["signal"] + call["media"]
    print("Resident memory, KB")
    print(f"  a binding            {result['binding']:6.1f}   {1024 / result['binding']:6.0f} a MB")
    print(
        f"  a relayed call       {total:6.1f}   {1024 / total:6.0f} a MB   "
        f"(signalling {call['signal']:.1f}, media {call['media']:.1f})"
    )


if __name__ == "__main__":
    main()
