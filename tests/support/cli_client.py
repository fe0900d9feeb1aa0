"""A client of the command protocol, written from its reference alone: it shares no code with the
server, so that the two cannot agree on a mistake.

``CliClient`` speaks over a socket; ``read_object`` and ``write_object`` are its own data format:
strings are ``str``, numbers ``int``, blocks ``bytes``, null ``None``, and time stamps and addresses
:class:`Special` with their text.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

TIMEOUT_S: Final = 20.0
_BARE: Final = re.compile(r"[A-Za-z0-9.\-_@]+")


class ProtocolError(AssertionError):
    """The server did not keep to the protocol."""


@dataclass(frozen=True)
class Special:
    """``#T…``, ``#I[…]`` or XML, as text."""

    text: str


@dataclass(frozen=True)
class Reply:
    """One answer."""

    code: int
    text: str
    value: Any = None
    has_value: bool = False


# The format.


class _Scanner:
    """Reads one object character by character; None from `more` is the end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self) -> str:
        if self.at >= len(self.text):
            raise EOFError
        self.at += 1
        return self.text[self.at - 1]

    def blanks(self) -> None:
        while self.peek() and self.peek() in " \t\r\n":
            self.at += 1

    def expect(self, mark: str) -> None:
        found = self.take()
        if found != mark:
            raise ProtocolError(f"{mark!r} expected at {self.at}, not {found!r}")

    def value(self) -> Any:
        self.blanks()
        first = self.peek()
        if not first:
            raise EOFError
        if first == '"':
            return self.string()
        if first == "(":
            return self.array()
        if first == "{":
            return self.dictionary()
        if first == "[":
            return self.block()
        if first == "#":
            return self.special()
        if first == "<":
            return self.xml()
        return self.atom()

    def xml(self) -> Special:
        """An element, as text: the tests have no comments nor sections in theirs."""
        start, depth = self.at, 0
        while True:
            end = self.text.find(">", self.at)
            if end < 0:
                raise EOFError
            begin = self.text.rindex("<", start, end)
            self.at = end + 1
            if self.text.startswith("</", begin):
                depth -= 1
            elif not self.text.startswith("/>", end - 1):
                depth += 1
            if depth == 0:
                return Special(self.text[start : self.at])

    def atom(self) -> str:
        start = self.at
        while self.peek() and (self.peek() in "!#%:.-_@" or self.peek().isalnum()):
            self.at += 1
        if start == self.at:
            if not self.peek():
                raise EOFError
            raise ProtocolError(f"no object at {self.at}: {self.text[self.at : self.at + 20]!r}")
        return self.text[start : self.at]

    def string(self) -> str:
        self.expect('"')
        found: list[str] = []
        while (letter := self.take()) != '"':
            if letter != "\\":
                found.append(letter)
                continue
            escape = self.take()
            if escape in '\\"':
                found.append(escape)
            elif escape in "rnte":
                found.append({"r": "\r", "n": "\n", "t": "\t", "e": "\n"}[escape])
            elif escape == "u":
                self.expect("'")
                digits = ""
                while (digit := self.take()) != "'":
                    digits += digit
                found.append(chr(int(digits, 16)))
            else:
                found.append(chr(int(escape + self.take() + self.take())))
        return "".join(found)

    def array(self) -> list[Any]:
        self.expect("(")
        items: list[Any] = []
        self.blanks()
        if self.peek() == ")":
            self.at += 1
            return items
        while True:
            items.append(self.value())
            self.blanks()
            mark = self.take()
            if mark == ")":
                return items
            if mark != ",":
                raise ProtocolError(f"',' expected, not {mark!r}")

    def dictionary(self) -> dict[str, Any]:
        self.expect("{")
        items: dict[str, Any] = {}
        while True:
            self.blanks()
            if self.peek() == "}":
                self.at += 1
                return items
            key = self.string() if self.peek() == '"' else self.atom()
            self.blanks()
            self.expect("=")
            items[key] = self.value()
            self.blanks()
            self.expect(";")

    def block(self) -> bytes:
        self.expect("[")
        end = self.text.find("]", self.at)
        if end < 0:
            raise EOFError
        text, self.at = self.text[self.at : end], end + 1
        return base64.b64decode("".join(text.split()), validate=True)

    def special(self) -> Any:
        self.expect("#")
        kind = self.peek()
        if kind.upper() == "N":
            if self.text[self.at : self.at + 5].upper() != "NULL#":
                raise ProtocolError("#NULL# expected")
            self.at += 5
            return None
        if kind == "I":
            self.at += 1
            self.expect("[")
            text = "#I["
            while (letter := self.take()) != "]":
                text += letter
            text += "]"
            if self.peek() == ":":
                text += self.take() + self.atom()
            return Special(text)
        text = self.atom()
        return Special(f"#{text}") if kind == "T" else int(text)


def read_object(text: str) -> Any:
    """One object, and nothing behind it."""
    scanner = _Scanner(text)
    value = scanner.value()
    scanner.blanks()
    if scanner.peek():
        raise ProtocolError(f"more behind the object: {text[scanner.at :][:40]!r}")
    return value


def write_object(value: Any) -> str:
    """An object on one line."""
    if value is None:
        return "#NULL#"
    if isinstance(value, Special):
        return value.text
    if isinstance(value, bytes):
        return f"[{base64.b64encode(value).decode()}]"
    if isinstance(value, int):
        return f"#{value}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(write_object, value))})"
    if isinstance(value, dict):
        return (
            "{"
            + "".join(f"{write_object(key)} = {write_object(item)};" for key, item in value.items())
            + "}"
        )
    text = str(value)
    if _BARE.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return '"' + escaped.replace("\r", "\\r").replace("\n", "\\e") + '"'


# The protocol.


class ReplyReader:
    """Replies out of bytes; `more` gives the next piece, ``b""`` at the end."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._source = more
        self._received = b""

    def line(self) -> str:
        """One line of the server; it ends with CRLF."""
        while b"\r\n" not in self._received:
            self._more()
        line, _, self._received = self._received.partition(b"\r\n")
        return line.decode()

    def _more(self) -> None:
        data = self._source()
        if not data:
            raise EOFError("the server closed")
        self._received += data

    def at_end(self) -> bool:
        """Whether the server closes without another word."""
        try:
            return not self._received and not self._source()
        except ConnectionResetError:
            return True

    def reply(self) -> Reply:
        """The next answer, whole."""
        first = self.line()
        match = re.fullmatch(r"([0-9]{3}) ?(.*)", first, re.DOTALL)
        if match is None:
            raise ProtocolError(f"no reply: {first!r}")
        code, text = int(match[1]), match[2]
        if code == 201:
            return Reply(code, text, read_object(text), has_value=True)
        if code == 200 and text == "data follow":
            return Reply(code, text, self._object(), has_value=True)
        return Reply(code, text)

    def _object(self) -> Any:
        """An object that ends where its brackets close; then the line ends, too."""
        while True:
            end = self._received.find(b"\r\n")
            while end >= 0:
                text = self._received[:end].decode()
                scanner = _Scanner(text)
                try:
                    value = scanner.value()
                except EOFError:
                    end = self._received.find(b"\r\n", end + 2)
                    continue
                if scanner.at != len(text):
                    raise ProtocolError("an object is followed by the end of its line")
                self._received = self._received[end + 2 :]
                return value
            self._more()


class CliClient(ReplyReader):
    """A connection. ``command`` sends a line and reads its whole answer."""

    def __init__(self, host: str, port: int, *, eol: str = "\r\n") -> None:
        self._socket = socket.create_connection((host, port), TIMEOUT_S)
        super().__init__(lambda: self._socket.recv(65_536))
        self._eol = eol
        self.greeting = self.line()
        match = re.search(r"<[^>]*@[^>]*>", self.greeting)
        if not self.greeting.startswith("200 ") or match is None:
            raise ProtocolError(f"no greeting: {self.greeting!r}")
        self.stamp = match[0]

    def __enter__(self) -> CliClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Raw bytes."""
        self._socket.sendall(data)

    def command(self, line: str) -> Reply:
        """Send one command and read its answer."""
        self.send((line + self._eol).encode())
        return self.reply()

    def login(self, name: str, password: str) -> Reply:
        """USER and PASS."""
        reply = self.command(f"USER {name}")
        return self.command(f"PASS {password}") if reply.code == 300 else reply

    def apop(self, name: str, password: str) -> Reply:
        """APOP: the password does not travel."""
        digest = hashlib.md5((self.stamp + password).encode()).hexdigest()
        return self.command(f"APOP {name} {digest}")

    def value(self, line: str) -> Any:
        """What a command that must succeed has to say."""
        reply = self.command(line)
        if reply.code not in (200, 201) or not reply.has_value:
            raise ProtocolError(f"{line}: {reply.code} {reply.text}")
        return reply.value

    def do(self, line: str) -> None:
        """A command that must succeed and has nothing to say."""
        reply = self.command(line)
        if reply.code not in (200, 201) or reply.has_value:
            raise ProtocolError(f"{line}: {reply.code} {reply.text}")
