"""CPU of one call INVITE to BYE over UDP, log on: ours beside Sippy's B2BUA and Kamailio.

SIPp (`uac`, `uas`) calls through each server in turn, each at a rate that keeps it busy for about
two fifths of a core: an idle server pays more for each message (cold caches, a wake-up for every
datagram), whoever wrote it. Ours runs without media (SDP untouched) and with the media proxy.
Kamailio is a stateful proxy, which does less than a B2BUA: no dialogs, no records. With media each
B2BUA is measured as one that has a media proxy to command; Sippy's simple example has none, so
that is its full one there. Of each only the signalling process is counted.
"""

from __future__ import annotations

import json
import statistics
import sys
from typing import Any

from benchmarks import harness
from benchmarks.harness import Running

CALLS = 2400
WARM = 300
ROUNDS = 3


#: Sippy sometimes sends 180 after 200, which SIPp's client takes for a failure.
PEER_FAILURES = 0.2


def measure(running: Running, rate: float, role: str = "") -> float:
    """Milliseconds of CPU per call, the median of some rounds."""
    calls = ["-sn", "uac", "-s", "bob", "-d", "0"]
    failures = 0.0 if role else PEER_FAILURES
    harness.sipp(calls, running.port, rate=rate, calls=WARM, failures=failures)
    figures = []
    for _ in range(ROUNDS):
        before = running.cpu_s(role)
        harness.sipp(calls, running.port, rate=rate, calls=CALLS, failures=failures)
        figures.append((running.cpu_s(role) - before) * 1000 / CALLS)
    return statistics.median(figures)


def ours(media: str, rate: float) -> dict[str, float]:
    """Signalling, media and projection CPU of our server."""
    with harness.sipp_uas() as uas, harness.ringlog(media=media) as server:
        harness.register(server.port, f"sip:bob@{harness.HOST}:{uas}")
        signalling = measure(server, rate, "signal")
        before = {role: server.cpu_s(role) for role in ("media", "project")}
        harness.sipp(["-sn", "uac", "-s", "bob", "-d", "0"], server.port, rate=rate, calls=CALLS)
        rest = {role: (server.cpu_s(role) - start) * 1000 / CALLS for role, start in before.items()}
        return {"signal": signalling, **rest}


def run() -> dict[str, Any]:
    """All figures in ms of CPU per call."""
    result: dict[str, Any] = {
        "ringlog without media": ours("off", 400),
        "ringlog with media": ours("local", 300),
    }
    with harness.sipp_uas() as uas:
        with harness.sippy_b2bua(uas) as sippy:
            result["sippy b2bua"] = measure(sippy, 100)
        with harness.sippy_with_media_proxy(uas) as sippy:
            result["sippy with media proxy"] = measure(sippy, 70)
        with harness.kamailio(uas) as proxy:
            result["kamailio proxy"] = measure(proxy, 800)
    return result


def main() -> None:
    """Print the table and the ratios the budget names."""
    result = run()
    if "--json" in sys.argv:
        print(json.dumps(result))
        return
    peers = {
        "ringlog without media": "sippy b2bua",
        "ringlog with media": "sippy with media proxy",
    }
    print("CPU per call (INVITE, 180, 200, ACK, BYE over UDP, log on), ms")
    for name, peer in peers.items():
        figures = result[name]
        signalling = figures["signal"]
        print(
            f"  {name:<24} signalling {signalling:6.2f}  media {figures['media']:5.2f}  "
            f"projections {figures['project']:5.2f}   {signalling / result[peer]:4.2f} x {peer}  "
            f"{signalling / result['kamailio proxy']:4.2f} x kamailio"
        )
    with_media = result["ringlog with media"]["signal"]
    print(
        f"  with media beside the sippy that has none: {with_media / result['sippy b2bua']:4.2f} x"
    )
    for name in ("sippy b2bua", "sippy with media proxy", "kamailio proxy"):
        print(f"  {name:<24} {result[name]:17.2f}")


if __name__ == "__main__":
    main()
