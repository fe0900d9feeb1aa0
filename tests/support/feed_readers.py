"""Consumers of the feeds as their users would write them: curl, a WebSocket client, pages."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.interop.peers.processes import tool

Event = dict[str, Any]
TRAFFIC = {"type": "leg.*,call.*"}
"""What calls do."""


def get(url: str, token: str) -> Any:
    """The JSON a GET answers with."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def pages(admin: str, token: str, after: str = "", **query: str) -> Iterator[Event]:
    """All events there are, page by page."""
    while True:
        text = urllib.parse.urlencode({"after": after, "limit": "37", **query})
        page = get(f"http://{admin}/events?{text}", token)
        yield from page["events"]
        after = page["next"]
        if not page["more"]:
            return


class CurlReader:
    """``curl`` that follows server-sent events into a file; what is complete in it counts."""

    def __init__(
        self,
        admin: str,
        token: str,
        file: Path,
        after: str = "",
        query: Mapping[str, str] = TRAFFIC,
    ) -> None:
        self._file = file
        headers = ["Accept: text/event-stream", f"Authorization: Bearer {token}"]
        if after:
            headers.append(f"Last-Event-ID: {after}")
        command = [tool("curl"), "-sN", "-o", str(file)]
        for header in headers:
            command += ["-H", header]
        text = urllib.parse.urlencode(query)
        self._process = subprocess.Popen([*command, f"http://{admin}/events?{text}"])

    def events(self) -> list[Event]:
        """Everything that came so far."""
        if not self._file.exists():
            return []
        found: list[Event] = []
        for message in self._file.read_text(encoding="utf-8").split("\n\n")[:-1]:
            lines = message.split("\n")
            found += [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        return found

    def kill(self) -> None:
        """Die in the middle of whatever it does."""
        self._process.kill()
        self._process.wait()


def read_websocket(
    admin: str, token: str, after: str, most: int, query: Mapping[str, str] = TRAFFIC
) -> list[Event]:
    """At most `most` events, each acknowledged, then gone without a word; fewer if a heartbeat says
    that there are no more for now."""
    found: list[Event] = []
    text = urllib.parse.urlencode({"after": after, "window": "10", **query})
    with connect(
        f"ws://{admin}/events/ws?{text}",
        additional_headers={"Authorization": f"Bearer {token}"},
        open_timeout=10,
    ) as connection:
        try:
            while len(found) < most:
                message = json.loads(connection.recv(timeout=30))
                if "heartbeat" in message:
                    break
                found.append(message["event"])
                connection.send(json.dumps({"ack": message["event"]["position"]}))
            connection.socket.shutdown(socket.SHUT_RDWR)
        except (ConnectionClosed, OSError):
            pass  # the server was faster
    return found
