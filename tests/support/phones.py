"""Real phones for the interop tests: pjsua2, in a process of its own.

:class:`PjsuaPhone` starts :mod:`tests.support.pjsua_worker` and speaks JSON lines with it. Every
wait names what it waits for and ends by an event of the phone, not by sleeping.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.tones import Tone, measure

WAIT_S = 10.0
Event = dict[str, Any]


class PhoneError(AssertionError):
    """The phone died, refused a command, or did not do in time what the test waits for."""


class PjsuaPhone:
    """A phone. Use it as a context manager; `calls` are known by small numbers.

    `registrar` and `proxy` are SIP URIs; without a registrar the phone only makes direct calls.
    """

    def __init__(
        self,
        directory: Path,
        uri: str,
        *,
        user: str = "",
        password: str = "",
        registrar: str = "",
        proxy: str = "",
        transport: str = "udp",
        host: str = "127.0.0.1",
        codecs: tuple[str, ...] = ("PCMU", "PCMA"),
        **options: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.uri = uri
        self.events: list[Event] = []
        """Everything the phone told so far."""
        self._inbox: queue.Queue[Event | None] = queue.Queue()
        self._replies: dict[int, Event] = {}
        self._serial = 0
        self._recordings = 0
        self._log = (directory / "phone.log").open("wb")
        settings = {
            "directory": str(directory),
            "uri": uri,
            "user": user,
            "password": password,
            "registrar": registrar,
            "proxy": proxy,
            "transport": transport,
            "host": host,
            "codecs": codecs,
            **options,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.pjsua_worker", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=Path(__file__).parents[2],
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.local: str = self.wait("ready")["local"]
        """``host:port`` the phone listens on."""

    def __enter__(self) -> PjsuaPhone:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the phone; it hangs up what it has."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b'{"id": 0, "op": "quit"}\n')
            self._process.stdin.close()
        except OSError:
            pass
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def kill(self) -> None:
        """Take the phone's power away: no BYE, no goodbye."""
        self._process.kill()
        self._process.wait()

    # ---- lines

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(b"{"):
                self._inbox.put(json.loads(line))
        self._inbox.put(None)

    def _next(self, deadline: float, waiting_for: str) -> None:
        try:
            message = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise PhoneError(
                f"{self.uri}: no {waiting_for} in time; it told {self.events[-8:]}"
            ) from None
        if message is None:
            self._inbox.put(None)
            log = (self.directory / "phone.log").read_text("utf-8", "replace")
            raise PhoneError(f"{self.uri}: the phone died while waiting for {waiting_for}: {log}")
        if "reply" in message:
            self._replies[message["reply"]] = message
        else:
            self.events.append(message)

    def do(self, op: str, **arguments: Any) -> Any:
        """Run one command of the worker and return its result; PhoneError when it refuses."""
        self._serial += 1
        number = self._serial
        line = json.dumps({"id": number, "op": op, **arguments}) + "\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError as error:
            raise PhoneError(f"{self.uri}: the phone is gone: {error}") from None
        deadline = time.monotonic() + WAIT_S
        while number not in self._replies:
            self._next(deadline, f"reply to {op}")
        reply = self._replies.pop(number)
        if "error" in reply:
            raise PhoneError(f"{self.uri}: {op} failed: {reply['error']}")
        return reply["result"]

    def wait(
        self,
        kind: str,
        condition: Callable[[Event], object] = lambda event: True,
        *,
        after: int = 0,
        timeout_s: float = WAIT_S,
        **fields: Any,
    ) -> Event:
        """The first event of `kind` with these fields, from position `after` of `events` on."""
        deadline = time.monotonic() + timeout_s
        position = after
        while True:
            while position < len(self.events):
                event = self.events[position]
                position += 1
                if (
                    event["event"] == kind
                    and all(event.get(name) == value for name, value in fields.items())
                    and condition(event)
                ):
                    return event
            self._next(deadline, f"{kind} {fields}")

    @property
    def mark(self) -> int:
        """The position for `wait(after=…)`: only what happens from now on."""
        return len(self.events)

    # ---- what a person does with a phone

    def register(self) -> Event:
        """Register and wait for the final answer, whatever it is."""
        mark = self.mark
        self.do("register")
        return self.wait("registration", after=mark)

    def unregister(self) -> Event:
        mark = self.mark
        self.do("unregister")
        return self.wait("registration", after=mark)

    def call(self, uri: str, headers: dict[str, str] | None = None) -> int:
        """Start a call, with such header fields in its INVITE; returns its number."""
        number: int = self.do("call", uri=uri, headers=headers or {})
        return number

    def ringing(self, timeout_s: float = WAIT_S, after: int = 0) -> int:
        """Wait for an incoming call and let it ring; returns its number."""
        number: int = self.wait("incoming", after=after, timeout_s=timeout_s)["call"]
        self.do("answer", call=number, code=180)
        return number

    def answer(self, call: int, code: int = 200) -> None:
        self.do("answer", call=call, code=code)

    def confirmed(self, call: int) -> None:
        """Wait until the call is answered."""
        event = self.wait("call", lambda e: e["state"] in ("confirmed", "disconnected"), call=call)
        if event["state"] != "confirmed":
            raise PhoneError(f"{self.uri}: call {call} failed: {event}")

    def ended(self, call: int, timeout_s: float = WAIT_S) -> Event:
        """Wait until the call is over; the event holds `status` and `reason`."""
        return self.wait("call", call=call, state="disconnected", timeout_s=timeout_s)

    def hangup(self, call: int, code: int = 0) -> None:
        self.do("hangup", call=call, code=code)

    def hold(self, call: int) -> None:
        """Put the call on hold, once it is confirmed, and wait until the peer agreed."""
        self.confirmed(call)
        mark = self.mark
        self.do("hold", call=call)
        self.wait("media", call=call, state="local-hold", after=mark)

    def resume(self, call: int) -> None:
        mark = self.mark
        self.do("resume", call=call)
        self.wait("media", call=call, state="active", after=mark)

    def transfer(self, call: int, uri: str) -> Event:
        """Blind transfer; waits for the final NOTIFY."""
        self.confirmed(call)
        mark = self.mark
        self.do("transfer", call=call, uri=uri)
        return self.wait("transfer", lambda event: event["final"], after=mark, call=call)

    def attended(self, call: int, other: int) -> Event:
        """Connect the peers of two calls of ours (REFER with Replaces)."""
        self.confirmed(call)
        mark = self.mark
        self.do("attended", call=call, other=other)
        return self.wait("transfer", lambda event: event["final"], after=mark, call=call)

    def tone(self, frequency_hz: float) -> None:
        """Play a sine into every call from now on."""
        self.do("tone", frequency_hz=frequency_hz)

    def start_recording(self) -> Path:
        """Record from now on what the calls send us."""
        self._recordings += 1
        path = self.directory / f"heard-{self._recordings}.wav"
        self.do("record", path=str(path))
        return path

    def stop_recording(self) -> None:
        self.do("stop_recording")


def listen(*phones: PjsuaPhone, seconds: float = 1.5) -> list[Tone]:
    """What each phone hears, measured at the same time."""
    paths = [phone.start_recording() for phone in phones]
    time.sleep(seconds)
    for phone in phones:
        phone.stop_recording()
    return [measure(path) for path in paths]


def assert_talking(
    first: PjsuaPhone,
    first_hz: float,
    second: PjsuaPhone,
    second_hz: float,
    *,
    seconds: float = 1.5,
) -> None:
    """Each of two phones hears the other's tone, clearly."""
    heard_first, heard_second = listen(first, second, seconds=seconds)
    assert heard_first.is_at(second_hz), f"{first.uri} hears {heard_first}, not {second_hz} Hz"
    assert heard_second.is_at(first_hz), f"{second.uri} hears {heard_second}, not {first_hz} Hz"
    assert min(heard_first.snr_db, heard_second.snr_db) > 10.0, (heard_first, heard_second)
