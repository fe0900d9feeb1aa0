"""Commands a second: one connection, one command after the other and many at once.

A real server; changes are durable on disk before each reply. Beside it, how fast the data format is
read and written.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from pbx.data import Value, parse, write
from tests.support.cli_client import CliClient
from tests.support.server_process import ServerProcess

DOMAIN: Final = "bench.example"
PASSWORD: Final = "password of the bench"
COUNT: Final = 500
BATCH: Final = 50
"""Commands sent at once in the pipelined runs."""
COMMANDS: Final[tuple[tuple[str, Callable[[int], str]], ...]] = (
    ("NOOP", lambda n: "NOOP"),
    ("GETACCOUNTSETTINGS", lambda n: "GETACCOUNTSETTINGS postmaster"),
    ("GETACCOUNTEFFECTIVESETTINGS", lambda n: "GETACCOUNTEFFECTIVESETTINGS postmaster"),
    ("UPDATEACCOUNTSETTINGS", lambda n: f"UPDATEACCOUNTSETTINGS a{n} {{CallsLimit={n};}}"),
    ("VERIFYACCOUNTPASSWORD", lambda n: f"VERIFYACCOUNTPASSWORD a{n} PASSWORD x"),
)


def main() -> None:
    """Print the table."""
    print(f"{'command':<30}{'one by one /s':>14}{'pipelined /s':>14}{'CPU µs':>10}")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        settings = '[media]\nengine = "off"\n'
        with ServerProcess(data, settings=settings, commands=True) as server:
            server.run("domain", "create", DOMAIN)
            master = f"postmaster@{DOMAIN}"
            server.run("account", "passwd", master, "--password", PASSWORD)
            role = server.roles()["admin"]
            with CliClient(*server.addresses["cli"]) as client:
                assert client.login("postmaster", PASSWORD).code == 200
                client.command("INLINE")
                create = "CREATEACCOUNT a{} {{RealName=Bench; Password=abcdefgh;}}"
                _measure(client, role, "CREATEACCOUNT", create.format, start=COUNT)
                for name, line_of in COMMANDS:
                    _measure(client, role, name, line_of)
    _format()


def _measure(
    client: CliClient,
    role: psutil.Process,
    name: str,
    line_of: Callable[[int], str],
    start: int = 0,
) -> None:
    lines = [line_of(n) for n in range(COUNT)]
    cpu = _cpu_s(role)
    began = time.perf_counter()
    for number in range(0, COUNT, BATCH):
        client.send("".join(f"{line}\n" for line in lines[number : number + BATCH]).encode())
        for _ in range(BATCH):
            client.line()
    pipelined = COUNT / (time.perf_counter() - began)
    cpu_us = (_cpu_s(role) - cpu) / COUNT * 1e6
    single = [line_of(n + start) for n in range(COUNT // 4)]
    began = time.perf_counter()
    for line in single:
        client.send(f"{line}\n".encode())
        client.line()
    alone = len(single) / (time.perf_counter() - began)
    print(f"{name:<30}{alone:>14,.0f}{pipelined:>14,.0f}{cpu_us:>10,.0f}")


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _format() -> None:
    value: dict[str, Value] = {
        f"Key{number}": ["10", "1m", {"Name": f"text with blanks {number}", "Limit": "unlimited"}]
        for number in range(1000)
    }
    text = write(value)
    began = time.perf_counter()
    for _ in range(5):
        parse(text)
    _rate("read", 5 * len(text), began)
    began = time.perf_counter()
    for _ in range(5):
        write(value)
    _rate("written", 5 * len(text), began)


def _rate(name: str, chars: int, began: float) -> None:
    rate = chars / (time.perf_counter() - began) / 1e6
    print(f"data format, {name:<17}{rate:>14.1f} million characters/s")


if __name__ == "__main__":
    main()
