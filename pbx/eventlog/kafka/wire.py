"""How a process of the node asks the log role for a decision: frames over ``run/log.sock``.

A frame is four bytes of length (big endian) and JSON. A caller may send the same question again
(after the log role was restarted): the id of the append makes it the same append.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from pbx.eventlog.kafka.envelope import WireEvent
from pbx.kernel.errors import DecodeError

MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
"""More than a Kafka record may have (:data:`MAX_RECORD_BYTES`) and its envelope."""
MAX_RECORD_BYTES: Final = 3 * 1024 * 1024
"""Largest append: mail and recordings are blobs, never events."""


class Decide(msgspec.Struct, tag="decide", frozen=True, omit_defaults=True):
    """Append at a version; answered once the verdict is known."""

    id: str
    stream: str
    expected: int
    after: int
    """Position of the local log that the caller saw: its own facts before go first."""
    events: list[WireEvent]


class Ask(msgspec.Struct, tag="status", frozen=True):
    """How is the log role?"""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """To a question."""

    id: str = ""
    position: int = 0
    conflict: int = -1
    """Version of the stream where the append was a conflict."""
    error: str = ""
    unknown: bool = False
    """With `error`: the append may still take effect."""
    status: dict[str, Any] | None = None


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are complete now. Raises :class:`DecodeError` for one that is too big."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer)
            if length > MAX_FRAME_BYTES:
                raise DecodeError(f"a frame of {length} bytes")
            end = _LENGTH.size + length
            if len(buffer) < end:
                return
            frame = bytes(buffer[_LENGTH.size : end])
            del buffer[:end]
            yield frame


def frame(message: Decide | Ask | Answer) -> bytes:
    """A message as it is sent."""
    body = _ENCODE(message)
    return _LENGTH.pack(len(body)) + body


def question(data: bytes) -> Decide | Ask:
    """Raises :class:`DecodeError`."""
    try:
        asked: Decide | Ask = _QUESTION(data)
    except msgspec.DecodeError as error:
        raise DecodeError(str(error)) from error
    return asked


def answer(data: bytes) -> Answer:
    """Raises :class:`DecodeError`."""
    try:
        return _ANSWER(data)
    except msgspec.DecodeError as error:
        raise DecodeError(str(error)) from error


_LENGTH: Final = struct.Struct(">I")
_ENCODE: Final = msgspec.json.Encoder().encode
_QUESTION: Final = msgspec.json.Decoder(Decide | Ask).decode
_ANSWER: Final = msgspec.json.Decoder(Answer).decode
