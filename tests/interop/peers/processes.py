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


def _from_anywhere(ports: range) -> Iterator[int]:
    """`ports` round and round; test runs side by side start at different places."""
    first = os.getpid() * 64 % len(ports)
    return itertools.cycle([*ports[first:], *ports[:first]])


# All below the ports that the system gives out by itself (32768 on), so that a port that was free
# when we looked is not given to somebody else before its program binds it.
_MEDIA_RANGE = range(21_000, 30_000, 4)
_MEDIA_PORTS = _from_anywhere(_MEDIA_RANGE)
_SIP_RANGE = range(30_000, 32_700, 2)
_SIP_PORTS = _from_anywhere(_SIP_RANGE)


def tool(name: str) -> str:
    """Path of a program; an interop run without it is no interop run, so it fails."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed; run scripts/test-tools"
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """An even port for SIP, free over UDP and TCP, and so is the next one (TLS)."""
    for port in itertools.islice(_SIP_PORTS, len(_SIP_RANGE)):
        if all(_is_free(host, number, kind) for number in (port, port + 1) for kind in _KINDS):
            return port
    raise AssertionError("no free SIP ports")


def free_media_port(host: str = "127.0.0.1") -> int:
    """An even port whose next three are free too: RTP and RTCP of audio and video."""
    for base in itertools.islice(_MEDIA_PORTS, len(_MEDIA_RANGE)):
        if all(_is_free(host, port, socket.SOCK_DGRAM) for port in range(base, base + 4)):
            return base
    raise AssertionError("no free media ports")


_KINDS = (socket.SOCK_DGRAM, socket.SOCK_STREAM)


def _is_free(host: str, port: int, kind: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


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
