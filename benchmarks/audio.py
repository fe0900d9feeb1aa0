"""The audio path: 1,000 hosted legs on one core, and what a leg costs a frame.

Phones (``relay_load.c``) send a packet each 20 ms into a media process as users run it: sockets,
latching, jitter buffers, decoding, mixing, encoding, sending. CPU is that of the whole process,
both its threads, pinned to one core; lateness is how long after its time a tick began.

``bare`` is the same work without sockets and packets: decode, level, mix and encode as numpy
calls on matrices that lie ready. It is the floor that this design could reach.

Usage: ``python -m benchmarks.audio [--json] [--seconds S] [--legs N] [SCENARIO …]``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any, Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as media.server.run does

import numpy as np

from benchmarks.relay import compile_c, cpu_s
from media.codecs import make
from media.dsp.level import levels_dbov
from media.dsp.mix import loudest, mix
from media.native import RelayOptions, open_relay
from media.server.addresses import Interface
from media.server.audio import AudioConfig, AudioService
from media.server.service import NgService, ServiceConfig
from media.server.shell import MediaShell

HOST: Final = "127.0.0.1"
SIZE: Final = 25
"""Members of a conference."""
WARM_UP_S: Final = 1.0
Figures = dict[str, float]
#: Scenario: legs, codecs in turn, what each leg does.
SCENARIOS: Final[dict[str, tuple[int, tuple[str, ...], str]]] = {
    "ivr": (1000, ("PCMU",), "play"),
    "ivr inband digits": (1000, ("PCMU",), "play inband"),
    "conference": (1000, ("PCMU",), "conference"),
    "recorded": (1000, ("PCMU",), "record"),
    "PCMU to PCMA": (1000, ("PCMU", "PCMA"), "bridge"),
    "PCMU to G722": (300, ("PCMU", "G722"), "bridge"),
    "PCMU to GSM": (500, ("PCMU", "GSM"), "bridge"),
}


def _sdp(port: int, codec: str, *, events: bool) -> str:
    """``relay_load`` sends payload type 0 whatever it is; an rtpmap may say what it means."""
    event = " 101\r\na=rtpmap:101 telephone-event/8000" if events else ""
    return (
        f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0{event}\r\na=rtpmap:0 {codec}/8000\r\n"
    )


async def _serve(scenario: str, phones: list[int], seconds: float, folder: Path) -> None:
    _, codecs, deed = SCENARIOS[scenario]
    relay = open_relay(RelayOptions())

    def audio(relay: Any, exchange: Any, rng: Any) -> AudioService:
        return AudioService(AudioConfig(recording_root=folder), relay, exchange, rng)

    config = ServiceConfig((Interface("lo", HOST),), port_min=20_000, port_max=30_000)
    service = NgService(config, relay, Random(1), make_audio=audio)
    loop = asyncio.get_running_loop()

    def ask(**message: Any) -> dict[str, Any]:
        request = {key.replace("_", "-"): value for key, value in message.items()}
        reply = service.handle(request, loop.time())
        assert reply["result"] == "ok", reply
        return reply

    ports = []
    for at, port in enumerate(phones):
        codec = codecs[at % len(codecs)]
        text = _sdp(port, codec, events="inband" not in deed)
        reply = ask(command="serve", call_id=f"c{at}", from_tag="a", sdp=text)
        ports.append(int(reply["sdp"].partition("m=audio ")[2].split()[0]))
        if "play" in deed:
            ask(command="play", call_id=f"c{at}", tone="440/0")
        elif deed == "conference":
            name = f"room{at // SIZE}"
            ask(command="conference", action="join", conference=name, call_id=f"c{at}")
        elif deed == "bridge":
            name = f"pair{at // 2}"
            ask(command="conference", action="join", conference=name, call_id=f"c{at}")
        elif deed == "record":
            ask(command="record", call_id=f"c{at}", file=f"{at}.wav")
            ask(command="echo", call_id=f"c{at}")
    shell = MediaShell(service, relay)
    shell._after_work()  # requests came without a socket
    print(*ports, flush=True)
    await asyncio.sleep(WARM_UP_S)
    assert service.audio is not None
    graph, pacer = service.audio.graph, service.audio.pacer
    before = (graph.ticks, cpu_s(os.getpid()), list(pacer.counts), graph.packets_in)
    pacer.worst_s = 0.0
    await asyncio.sleep(seconds)
    ticks = graph.ticks - before[0]
    used = cpu_s(os.getpid()) - before[1]
    pacer.counts = [now - then for now, then in zip(pacer.counts, before[2], strict=True)]
    print(
        json.dumps(
            {
                "legs": len(phones),
                "cpu_us": used / (ticks * len(phones)) * 1e6,
                "late_p50_ms": pacer.percentile_s(50) * 1e3,
                "late_p99_ms": pacer.percentile_s(99) * 1e3,
                "late_max_ms": pacer.worst_s * 1e3,
                "received": (graph.packets_in - before[3]) / (ticks * len(phones)),
                "core": used / seconds,
            }
        ),
        flush=True,
    )
    shell.close()
    service.audio.shutdown()
    relay.shutdown()


def measure(
    load: Path, scenario: str, legs: int, seconds: float, *, realtime: bool = False
) -> Figures:
    """One scenario in a process of its own, on one core; the phones have the others."""
    command = [str(load), str(legs), str(legs * 50), str(seconds + WARM_UP_S + 2.0)]
    with tempfile.TemporaryDirectory(prefix="ringlog-audio-") as folder:
        arguments = ["--serve", scenario, "--seconds", str(seconds), "--folder", folder]
        arguments += ["--realtime"] if realtime else []
        with (
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as generator,
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.audio", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as server,
        ):
            assert generator.stdin is not None
            assert generator.stdout is not None
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(generator.stdout.readline())
            server.stdin.close()
            generator.stdin.write(server.stdout.readline())
            generator.stdin.flush()
            result: Figures = json.loads(server.stdout.readline())
            generator.kill()
    return result


def bare(scenario: str, legs: int, rounds: int = 50) -> float:
    """Microseconds a leg and frame of the arithmetic alone."""
    _, codecs, deed = SCENARIOS[scenario]
    rng = np.random.default_rng(1)
    work = []
    for at, name in enumerate(codecs):
        codec = make(name, 8000)
        codec.grow(legs)
        rows = np.arange(at, legs, len(codecs), dtype=np.int64)
        size = 33 if name == "GSM" else 160
        payload = rng.integers(0, 256, (len(rows), size), dtype=np.uint8)
        if name == "GSM":
            payload[:, 0] |= 0xD0
        work.append((codec, rows, payload))
    group = SIZE if deed == "conference" else 2
    starts = np.arange(0, len(work[0][1]), group)
    started = time.process_time()
    for _ in range(rounds):
        for codec, rows, payload in work:
            pcm = codec.decode(rows, payload)
            level = levels_dbov(pcm)
            if deed in ("conference", "bridge"):
                talks = loudest(starts, level, np.ones(len(rows), dtype=np.bool_))
                pcm = mix(starts, pcm, talks)
            codec.encode(rows, pcm)
    return (time.process_time() - started) / (rounds * legs) * 1e6


def run(
    scenarios: list[str], seconds: float, legs: int = 0, *, realtime: bool = False
) -> dict[str, Figures]:
    """Figures by scenario."""
    results: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="ringlog-bench-") as name:
        load = compile_c(Path(name), "relay_load")
        for scenario in scenarios:
            count = legs or SCENARIOS[scenario][0]
            figures = measure(load, scenario, count, seconds, realtime=realtime)
            figures["bare_us"] = bare(scenario, count)
            results[scenario] = figures
    return results


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], default=[])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--legs", type=int, default=0)
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="give the server real-time priority: for machines that others use meanwhile",
    )
    parser.add_argument("--serve", choices=list(SCENARIOS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        if arguments.realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        phones = [int(word) for word in sys.stdin.readline().split()]
        asyncio.run(_serve(arguments.serve, phones, arguments.seconds, arguments.folder))
        return
    results = run(
        arguments.scenarios or list(SCENARIOS),
        arguments.seconds,
        arguments.legs,
        realtime=arguments.realtime,
    )
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    print(
        "scenario            legs  us a leg and frame  bare numpy  legs a core"
        "  tick late p50/p99/max"
    )
    for scenario, figures in results.items():
        print(
            f"{scenario:<18} {figures['legs']:>5.0f} {figures['cpu_us']:>19.1f}"
            f" {figures['bare_us']:>11.1f} {20_000 / figures['cpu_us']:>12.0f}"
            f"  {figures['late_p50_ms']:.1f} / {figures['late_p99_ms']:.1f}"
            f" / {figures['late_max_ms']:.1f} ms"
        )


if __name__ == "__main__":
    main()
