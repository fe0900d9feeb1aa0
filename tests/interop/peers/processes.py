"""Running foreign programs: found or named as missing, never left behind."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

STOP_S = 5.0
_MEDIA_RANGE = range(31_000, 39_000, 4)
# Test runs side by side start at different places.
_FIRST = os.getpid() * 64 % len(_MEDIA_RANGE)
_MEDIA_PORTS: Iterator[int] = itertools.cycle([*_MEDIA_RANGE[_FIRST:], *_MEDIA_RANGE[:_FIRST]])


def tool(name: str) -> str:
    """Path of a program; an interop run without it is no interop run, so it fails."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed; run scripts/test-tools"
    return found


def free_port(kind: int = socket.SOCK_DGRAM, host: str = "127.0.0.1") -> int:
    """A port that is free now, for programs that cannot say which one they took."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def free_media_port(host: str = "127.0.0.1") -> int:
    """An even port whose next three are free too: RTP and RTCP of audio and video.

    Never the same twice in a row: the program that was given the last one may not have bound it.
    """
    for base in itertools.islice(_MEDIA_PORTS, len(_MEDIA_RANGE)):
        probes = []
        try:
            for port in range(base, base + 4):
                probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                probes.append(probe)
                probe.bind((host, port))
        except OSError:
            continue
        else:
            return base
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no free media ports")


def await_condition(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Poll for what a foreign program only shows in files or tables."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {timeout_s} s"
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program that a test started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def tail(path: Path, size: int = 4000) -> str:
    """The end of a log file, if there is one."""
    return path.read_text("utf-8", "replace")[-size:] if path.exists() else ""
