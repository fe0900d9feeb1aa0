"""CPU and delay of one relayed RTP packet: ours beside rtpengine and beside bare C loops.

All relays carry the same load in turn, from a load generator in a process of its own
(relay_load.c): pairs of phones, 50 packets a second each, both directions. CPU is what the
kernel's scheduler accounted to the threads of the relay's process only. Every figure is the
median of some rounds, with the relays taking turns so that other work on the machine meets all.

    bare epoll   recvfrom and sendto for each packet, epoll over the same sockets (relay_bare.c)
    bare block   the same on one socket in a blocking recvfrom: the least a relay can do
    native       our C core;  twin: our Python relay (only at the lower load)
    rtpengine    Debian's rtpengine-daemon in user space, set up over its NG protocol

Usage: python -m benchmarks.relay [--json] [--rounds N] [--seconds S] [--relays a,b]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import HOST, BenchError, free_port
from media.native import RelayOptions, StreamConfig, open_relay
from media.ng import bencode

HERE: Final = Path(__file__).parent
LOADS: Final = ((400, 20_000), (2000, 100_000))  # phones, packets a second
RELAYS: Final = ("bare epoll", "bare block", "native", "rtpengine", "twin")
MAX_LOST: Final = 0.01  # of the packets; said beside the figures

Figures = dict[str, float]
Ports = list[int]


def compile_c(folder: Path, name: str) -> Path:
    """Build one of our C programs as a distribution would."""
    program = folder / name
    command = ["cc", "-O2", "-std=gnu11", "-o", str(program), str(HERE / f"{name}.c"), "-pthread"]
    subprocess.run(command, check=True)
    return program


def cpu_s(pid: int) -> float:
    """Seconds that the scheduler gave to the threads of a process (in nanoseconds, not ticks)."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


# -- the relays: each yields its process and its ports, one for each phone ---------------------


@contextlib.contextmanager
def bare(program: Path, mode: str, phones: Ports) -> Iterator[tuple[int, Ports]]:
    with subprocess.Popen(
        [str(program), mode, *map(str, phones)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.pid, _read_ports(process)
        finally:
            process.kill()


@contextlib.contextmanager
def ours(implementation: str, phones: Ports) -> Iterator[tuple[int, Ports]]:
    command = [sys.executable, "-m", "benchmarks.relay", "--serve", implementation]
    with subprocess.Popen(
        [*command, *map(str, phones)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process.pid, _read_ports(process)
        finally:
            process.kill()


@contextlib.contextmanager
def rtpengine(phones: Ports) -> Iterator[tuple[int, Ports]]:
    control = free_port()
    command = [shutil.which("rtpengine") or "/usr/bin/rtpengine", "--table=-1", "--foreground"]
    command += [f"--interface={HOST}", f"--listen-ng={HOST}:{control}"]
    command += ["--log-stderr", "--log-level=2", "--port-min=20000", "--port-max=60000"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect((HOST, control))
                sock.settimeout(1.0)
                _ng(sock, "hello", {"command": "ping"}, attempts=50)
                ports: Ports = []
                for number, (a, b) in enumerate(zip(phones[::2], phones[1::2], strict=True)):
                    common = {"call-id": f"call{number}", "from-tag": "a", "ICE": "remove"}
                    offer = {"command": "offer", "sdp": _sdp(a), **common}
                    answer = {"command": "answer", "sdp": _sdp(b), "to-tag": "b", **common}
                    toward_b = _port_of(_ng(sock, f"o{number}", offer))
                    toward_a = _port_of(_ng(sock, f"a{number}", answer))
                    ports += [toward_a, toward_b]
            yield process.pid, ports
        finally:
            process.kill()


def serve(implementation: str, phones: Ports) -> None:
    """Our relay between pairs of phones, until it is killed."""
    relay = open_relay(RelayOptions(), implementation)
    handles = [relay.open(HOST, 0) for _ in phones]
    for index, handle in enumerate(handles):
        config = StreamConfig(
            sink=handles[index ^ 1],
            remote=(HOST, phones[index]),
            payload_types=frozenset({0, 8, 101}),
            max_packets_per_s=400,
        )
        relay.configure(handle, config)
    print(*(relay.address(handle)[1] for handle in handles), flush=True)
    sys.stdin.read()


def _read_ports(process: subprocess.Popen[str]) -> Ports:
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]


def _sdp(port: int) -> str:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
    )


def _port_of(answer: dict[str, Any]) -> int:
    sdp = str(answer["sdp"])
    return int(sdp.partition("m=audio ")[2].split()[0])


def _ng(
    sock: socket.socket, cookie: str, message: dict[str, Any], attempts: int = 3
) -> dict[str, Any]:
    datagram = cookie.encode() + b" " + bencode.encode(message)
    for _ in range(attempts):
        with contextlib.suppress(OSError):
            sock.send(datagram)
            answer = sock.recv(65_536)
            decoded = bencode.decode(answer.partition(b" ")[2])
            if not isinstance(decoded, dict) or decoded.get("result") == "error":
                raise BenchError(f"rtpengine: {decoded}")
            return decoded
        time.sleep(0.1)
    raise BenchError("rtpengine does not answer")


# -- measuring ---------------------------------------------------------------------------------


def measure(
    load: Path,
    relay: Callable[[Ports], contextlib.AbstractContextManager[tuple[int, Ports]]],
    phones: int,
    packets_per_s: int,
    seconds: float,
) -> Figures:
    """One round: CPU microseconds per packet that came through, delay of every packet."""
    command = [str(load), str(phones), str(packets_per_s), str(seconds)]
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as generator,
        relay(_read_ports(generator)) as (pid, ports),
    ):
        assert generator.stdin is not None
        assert generator.stdout is not None
        generator.stdin.write(" ".join(map(str, ports)) + "\n")
        generator.stdin.flush()
        before = cpu_s(pid)
        result = json.loads(generator.stdout.readline())
        used = cpu_s(pid) - before
    return {
        "cpu_us": used / result["received"] * 1e6,
        "packets_per_s": result["sent"] / result["took_s"],
        "p50_us": result["p50_us"],
        "p99_us": result["p99_us"],
        "lost": 1.0 - result["received"] / result["sent"],
    }


def run(
    rounds: int = 3, seconds: float = 3.0, relays: tuple[str, ...] = RELAYS
) -> dict[str, dict[str, Figures]]:
    """Figures by load and relay; `ratio` is CPU against the bare epoll loop."""
    results: dict[str, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="ringlog-bench-") as name:
        load, program = compile_c(Path(name), "relay_load"), compile_c(Path(name), "relay_bare")
        makers: dict[
            str, Callable[[Ports], contextlib.AbstractContextManager[tuple[int, Ports]]]
        ] = {
            "bare epoll": lambda ports: bare(program, "epoll", ports),
            "bare block": lambda ports: bare(program, "block", ports),
            "native": lambda ports: ours("native", ports),
            "rtpengine": rtpengine,
            "twin": lambda ports: ours("twin", ports),
        }
        for phones, packets_per_s in LOADS:
            taken = [name for name in relays if name != "twin" or packets_per_s == LOADS[0][1]]
            measured: dict[str, list[Figures]] = {name: [] for name in taken}
            for _ in range(rounds):
                for relay in taken:
                    figures = measure(load, makers[relay], phones, packets_per_s, seconds)
                    measured[relay].append(figures)
            medians = {
                relay: {key: statistics.median(one[key] for one in all_) for key in all_[0]}
                for relay, all_ in measured.items()
            }
            for figures in medians.values():
                if "bare epoll" in medians:
                    figures["ratio"] = figures["cpu_us"] / medians["bare epoll"]["cpu_us"]
            results[f"{packets_per_s} packets/s, {phones} streams"] = medians
    return results


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--relays", default=",".join(RELAYS))
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    parser.add_argument("ports", nargs="*", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.ports)
        return
    results = run(arguments.rounds, arguments.seconds, tuple(arguments.relays.split(",")))
    if arguments.json:
        print(json.dumps(results))
        return
    for load, relays in results.items():
        print(f"{load}")
        for name, figures in relays.items():
            warning = ""
            if figures["lost"] > MAX_LOST:
                warning = f"  ({figures['lost']:.0%} lost: the machine was too busy)"
            print(
                f"  {name:<12} {figures['cpu_us']:6.2f} us/packet  "
                f"{figures.get('ratio', 0.0):5.2f} x bare epoll  delay p50 "
                f"{figures['p50_us']:5.0f} us, p99 {figures['p99_us']:5.0f} us{warning}"
            )


if __name__ == "__main__":
    main()
