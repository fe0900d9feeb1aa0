"""``make bench``: every benchmark in one run, peers beside; writes ``benchmarks/RESULTS.md``.

Each module prints its own table; this collects what they print, with the machine and the versions
of the peers. Name modules to run only those: ``python -m benchmarks calls relay``.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "RESULTS.md"

#: Module, what it measures, its budget.
PARTS: Final = (
    ("calls", "One B2BUA call, INVITE to BYE", "required ≤ 2.0 ms and ≤ 0.3 x sippy, aim 1.0 ms"),
    ("register", "One REGISTER with digest", "required ≤ 0.5 ms, aim 0.25 ms"),
    ("relay", "One relayed RTP packet", "required ≤ 1.4 x the bare loop, aim 1.15"),
    ("audio", "Hosted legs on one core", "≤ 20 µs a leg and frame, aim 10; ticks late p99 < 5 ms"),
    ("memory", "Memory of bindings and calls", "≤ 8 KB a binding, ≤ 40 KB a relayed call"),
    ("eventlog", "The event log", "≥ 50,000 events/s appended and replayed, ten events ≤ 60 µs"),
    ("readmodel", "The read model", "≥ 50,000 events/s replayed in SQLite; PostgreSQL beside it"),
    ("replay", "Calls beside a replay", "≥ 50,000 events/s in SQLite; no budget for the delay"),
    ("routing", "Routing decisions", "≥ 100,000 a second on a simple table"),
    ("scale", "120,000 domains, 1,000,000 accounts", "a warm look-up ≤ 2 µs; start in seconds"),
    ("cli", "Commands of administrators", "no budget"),
    ("rules", "Signal Rules", "ten rules ≤ 0.2 ms a call"),
    ("signalling", "The signalling core alone", "no budget: where the time of a call goes"),
    ("sip_engine", "The SIP engine alone", "no budget"),
    ("sip_parse", "Parsing and building messages", "no budget"),
    ("script", "CG/PL programs", "no budget: a ratio to plain Python"),
    ("ivr", "Calls into programs", "no budget: CPU of a call, memory of a task"),
)


def main(arguments: list[str]) -> int:
    """Run the parts named (all if none) and write the results of a whole run."""
    chosen = [part for part in PARTS if not arguments or part[0] in arguments]
    sections = []
    failed = []
    for name, title, budget in chosen:
        print(f"== {title} ({budget})", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"],
            capture_output=True,
            text=True,
            check=False,
            cwd=HERE.parent,
        )
        print(done.stdout, end="", flush=True)
        if done.returncode != 0:
            failed.append(name)
            print(done.stderr[-3000:], file=sys.stderr)
            continue
        sections.append(f"## {title}\n\nBudget: {budget}.\n\n```\n{done.stdout.rstrip()}\n```\n")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        return 1
    if not arguments:
        RESULTS.write_text(f"{_head()}\n" + "\n".join(sections), encoding="utf-8")
        print(f"written: {RESULTS.relative_to(HERE.parent)}")
    return 0


def _head() -> str:
    versions = [
        f"- Machine: {_processor()}, {os.cpu_count()} cores, Linux {platform.release()}",
        f"- Python {platform.python_version()}",
        *(f"- {line}" for line in map(_version, ("sipp", "kamailio", "rtpengine")) if line),
        f"- sippy {_sippy()}",
    ]
    today = datetime.datetime.now(datetime.UTC).date()
    return (
        f"# Results of `make bench`\n\nOne run on {today}, everything on one machine, peers "
        "measured in the same run.\nCPU is user plus system time of the server's processes.\n\n"
        + "\n".join(versions)
        + "\n"
    )


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1).strip() if found else platform.machine()


def _version(program: str) -> str:
    binary = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if binary is None:
        return ""
    done = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False)
    for line in (done.stdout + done.stderr).splitlines():
        if re.search(r"\d+\.\d+", line):
            return line.strip(" .")[:80]
    return program


def _sippy() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sippy")
    except PackageNotFoundError:
        return "is not installed"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
