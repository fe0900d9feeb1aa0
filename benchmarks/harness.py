"""What the benchmarks of whole servers share: processes, their CPU, free ports, SIPp.

A server under test runs as its users run it, in processes of its own; load comes from SIPp. CPU
is user plus system time of the server's processes only, from the kernel's accounting, so that
neither the load generator nor another job on the machine counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from pbx.cli.administration import administration
from pbx.datadir import DataDirectory

HOST: Final = "127.0.0.1"
DOMAIN: Final = "bench.example"
PASSWORD: Final = "bench-password-1"
HERE: Final = Path(__file__).parent
PBX: Final = [str(Path(sys.executable).parent / "pbx")]


class BenchError(Exception):
    """A server or the load generator did not do its part; the text says what was seen."""


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    """A port nobody has just now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@dataclass
class Running:
    """A server under test."""

    name: str
    process: subprocess.Popen[str]
    port: int

    def cpu_s(self, role: str = "") -> float:
        """User plus system seconds of its processes; with `role` of that role of ours only."""
        total = 0.0
        main = psutil.Process(self.process.pid)
        for process in [main, *main.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                if role and role not in process.cmdline():
                    continue
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory_kb(self, role: str) -> float:
        """Resident kilobytes of one of our roles."""
        main = psutil.Process(self.process.pid)
        for process in main.children(recursive=True):
            if role in process.cmdline():
                return float(process.memory_info().rss) / 1024
        raise BenchError(f"no process of role {role}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()


@contextlib.contextmanager
def ringlog(
    *,
    media: str,
    limits: str = "",
    accounts: int = 0,
    data: Path | None = None,
    prepared: bool = False,
) -> Iterator[Running]:
    """Our server with alice, bob and `accounts` phones, trusting the loopback.

    `media` is the media.engine; `limits` is more of that section of the settings; `data` a
    directory that is there already, which has its accounts if it is `prepared`.
    """
    folder = Path(tempfile.mkdtemp(prefix="ringlog-bench-"))
    data = data or folder / "data"
    config = folder / "ringlog.toml"
    config.write_text(
        f'[sip]\nclient_ips = ["127.0.0.0/8"]\nregister_min_s = 60\n'
        f'[media]\nengine = "{media}"\nng = "off"\n'
        f"[limits]\nrequests_per_s = 1000000.0\nrequests_burst = 1000000\n{limits}"
        '[log]\nlevel = "warning"\n'
    )
    command = [*PBX, "serve", "--data", str(data), "--config", str(config)]
    process = subprocess.Popen(
        [*command, "--sip", f"{HOST}:0/udp"], stdout=subprocess.PIPE, text=True
    )
    port = 0
    assert process.stdout is not None
    patience = threading.Timer(30, process.kill)
    patience.start()
    for line in process.stdout:
        if line.startswith("listening "):
            port = int(line.rpartition("/")[0].rpartition(":")[2])
        if line == "ready\n":
            break
    else:
        raise BenchError("the server did not say ready")
    patience.cancel()
    running = Running("ringlog", process, port)
    try:
        names = ["alice", "bob", *(f"phone{number}" for number in range(accounts))]
        if prepared:
            yield running
            return
        with administration(DataDirectory(data), "bench") as administrator:
            administrator.create_domain(DOMAIN)
            for name in names:
                administrator.create_account(f"{name}@{DOMAIN}", PASSWORD)
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def sippy_b2bua(next_hop: int) -> Iterator[Running]:
    """The B2BUA example of Sippy, Python like ours."""
    port = free_port()
    command = [sys.executable, "-m", "sippy.b2bua_simple", "-f", "-l", HOST, "-p", str(port)]
    yield from _foreign("sippy", [*command, "-n", f"{HOST}:{next_hop}"], port)


@contextlib.contextmanager
def sippy_with_media_proxy(next_hop: int) -> Iterator[Running]:
    """Sippy's full B2BUA with its client of RTPproxy, whose answers we give
    (`peers/rtpproxy_answers.py`): no RADIUS, no accounting, a fixed next hop."""
    port, proxy = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="ringlog-sippy-") as folder:
        answers = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.rtpproxy_answers", str(proxy)]
        )
        command = [sys.executable, "-m", "sippy.b2bua", "-f", "-l", HOST, "-p", str(port)]
        command += ["-A", "0", "-u", "-s", f"{HOST}:{next_hop}", "-r", f"udp:{HOST}:{proxy}"]
        command += ["-c", f"{folder}/control", "-L", f"{folder}/log", "-P", f"{folder}/pid"]
        try:
            yield from _foreign("sippy", command, port)
        finally:
            answers.kill()
            answers.wait()


@contextlib.contextmanager
def kamailio(next_hop: int) -> Iterator[Running]:
    """Kamailio as stateful proxy and registrar with digest (`peers/kamailio.cfg`)."""
    port = free_port()
    binary = shutil.which("kamailio") or "/usr/sbin/kamailio"
    defines = {"PORT": port, "NEXT": next_hop, "DOMAIN": DOMAIN, "PASSWORD": PASSWORD}
    text = (HERE / "peers" / "kamailio.cfg").read_text()
    for name, value in defines.items():
        text = text.replace(f"@{name}@", str(value))
    with tempfile.TemporaryDirectory(prefix="ringlog-kamailio-") as folder:
        config = Path(folder, "kamailio.cfg")
        config.write_text(text)
        command = [binary, "-f", str(config), "-DD", "-E", "-Y", folder]
        yield from _foreign("kamailio", [*command, "-m", "256"], port)


def _foreign(name: str, command: Sequence[str], port: int) -> Iterator[Running]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
    )
    running = Running(name, process, port)
    try:
        _await_sip(running)
        yield running
    finally:
        running.stop()


def _await_sip(running: Running) -> None:
    """Until it answers OPTIONS (with whatever)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        sock.settimeout(0.3)
        own = sock.getsockname()[1]
        for attempt in range(60):
            if running.process.poll() is not None:
                raise BenchError(f"{running.name} ended at once")
            request = _request("OPTIONS", f"sip:{HOST}:{running.port}", own, f"o{attempt}", 1)
            with contextlib.suppress(OSError):
                sock.sendto(request.encode(), (HOST, running.port))
                sock.recv(65_536)
                return
            time.sleep(0.05)
    raise BenchError(f"{running.name} does not answer")


def _request(method: str, uri: str, own: int, call_id: str, cseq: int, extra: str = "") -> str:
    return (
        f"{method} {uri} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {HOST}:{own};rport;branch=z9hG4bK{call_id}{cseq}\r\n"
        "Max-Forwards: 70\r\n"
        f"From: <sip:bob@{DOMAIN}>;tag={call_id}\r\nTo: <sip:bob@{DOMAIN}>\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{extra}Content-Length: 0\r\n\r\n"
    )


def register(port: int, contact: str, user: str = "bob") -> None:
    """Register a contact with digest, as a phone would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        sock.settimeout(5)
        own = sock.getsockname()[1]
        call_id = os.urandom(6).hex()
        extra = f"Contact: <{contact}>\r\nExpires: 3600\r\n"
        uri = f"sip:{DOMAIN}"
        sock.sendto(_request("REGISTER", uri, own, call_id, 1, extra).encode(), (HOST, port))
        answer = sock.recv(65_536).decode()
        nonce = answer.split('nonce="')[1].split('"')[0]
        ha1 = hashlib.md5(f"{user}:{DOMAIN}:{PASSWORD}".encode()).hexdigest()
        ha2 = hashlib.md5(f"REGISTER:{uri}".encode()).hexdigest()
        proof = hashlib.md5(f"{ha1}:{nonce}:00000001:c0ffee:auth:{ha2}".encode()).hexdigest()
        extra += (
            f'Authorization: Digest username="{user}", realm="{DOMAIN}", nonce="{nonce}", '
            f'uri="{uri}", response="{proof}", algorithm=MD5, cnonce="c0ffee", qop=auth, '
            "nc=00000001\r\n"
        )
        sock.sendto(_request("REGISTER", uri, own, call_id, 2, extra).encode(), (HOST, port))
        answer = sock.recv(65_536).decode()
        if not answer.startswith("SIP/2.0 200"):
            raise BenchError(f"REGISTER got {answer.splitlines()[0]}")


@contextlib.contextmanager
def sipp_uas() -> Iterator[int]:
    """SIPp answering every call; gives its port."""
    port = free_port()
    process = subprocess.Popen(
        ["sipp", "-sn", "uas", "-i", HOST, "-p", str(port), "-nostdin", "-rtp_echo"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tempfile.gettempdir(),
    )
    try:
        time.sleep(0.5)
        yield port
    finally:
        process.kill()
        process.wait()


def sipp(
    scenario: Sequence[str], target: int, *, rate: float, calls: int, failures: float = 0.0
) -> None:
    """Run a SIPp client to its end; at most the share `failures` of the calls may fail."""
    command = [
        "sipp", *scenario, f"{HOST}:{target}", "-i", HOST, "-p", str(free_port()), "-nostdin",
        "-r", f"{rate:g}", "-m", str(calls), "-l", "20000", "-timeout", "180", "-timeout_error",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tempfile.gettempdir(), check=False
    )
    failed = re.findall(r"Failed call +\|[^|]*\| +(\d+)", done.stdout)
    few = bool(failed) and int(failed[-1]) <= failures * calls
    if done.returncode != 0 and not (done.returncode == 1 and few):
        shown = "\n".join(done.stdout.splitlines()[-60:])
        raise BenchError(f"sipp ended with {done.returncode}\n{shown}\n{done.stderr[-2000:]}")
