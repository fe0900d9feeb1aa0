"""The link between two nodes of a cluster, without I/O: handshake, sealed frames, messages.

One TCP connection from the node that has something to say (*initiator*) to the other
(*acceptor*). Both prove that they hold the cluster's secret, then every frame is sealed with
AES-256-GCM under keys of this connection, one for each direction, with a counter as nonce (NIST
SP 800-38D §8.2.1): frames can be neither read, altered, replayed nor reordered. What it carries is
SIP that came or goes over a flow of one node and belongs to a call of the other; see
``docs/cluster.md``.

    initiator                                   acceptor
        Hello(node, to, nonce)          ──►
                                        ◄──     Welcome(nonce, proof of "acceptor")
        proof of "initiator"            ──►
        sealed frames                   ◄─►     sealed frames

Fed by :mod:`pbx.signal.peers` with the bytes of a connection; a frame is its length in four bytes
and its content.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sip.flow import Address

NONCE_BYTES: Final = 32
MAX_FRAME_BYTES: Final = 131_072
"""A SIP message of 64 KB and what is around it, twice."""
MAX_GREETING_BYTES: Final = 1024
"""Until the peer has proved itself it may not make us remember more."""
_LENGTH_BYTES: Final = 4


class LinkError(Exception):
    """The other side does not speak as a node of our cluster does: close the connection."""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Who calls, and whom it means to reach."""

    node: str
    to: str
    nonce: bytes
    version: int = 1


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """The acceptor proves that it holds the secret."""

    nonce: bytes
    proof: bytes


class Proof(msgspec.Struct, frozen=True, tag="proof"):
    """So does the initiator."""

    proof: bytes


class Send(msgspec.Struct, frozen=True, tag="send"):
    """Send `data` over a flow of yours; answer with :class:`Failed` if it is gone."""

    serial: int
    transport: str
    local: Address
    remote: Address
    data: bytes


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """What :class:`Send` `serial` asked for could not be done."""

    serial: int


class Received(msgspec.Struct, frozen=True, tag="received"):
    """A message that came over a flow of mine and is yours."""

    transport: str
    local: Address
    remote: Address
    data: bytes


Greeting = Hello | Welcome | Proof
Frame = Send | Failed | Received

_encode: Final = msgspec.msgpack.Encoder().encode
_greeting: Final[msgspec.msgpack.Decoder[Greeting]] = msgspec.msgpack.Decoder(Greeting)
_frame: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)


class _State(Enum):
    HELLO = "HELLO"  # the acceptor waits for Hello
    WELCOME = "WELCOME"  # the initiator waits for Welcome
    PROOF = "PROOF"  # the acceptor waits for Proof
    OPEN = "OPEN"
    BROKEN = "BROKEN"


class Link:
    """One end of a connection. `send` gets the bytes that go out.

    Create it with :meth:`initiate` or :meth:`accept`; feed it with :meth:`receive`; when that
    raises :class:`LinkError` close the connection. :meth:`write` works once :attr:`is_open`.
    """

    def __init__(
        self, own: str, secret: bytes, nonce: bytes, send: Callable[[bytes], None]
    ) -> None:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
        self._own = own
        self._secret = secret
        self._nonce = nonce
        self._send = send
        self._state = _State.HELLO
        self._buffer = bytearray()
        self._context = b""
        self._sealing = self._opening = AESGCM(bytes(32))
        self._sent = self._received = 0
        self.peer = ""
        """The other node's name; proved once the link is open."""

    @classmethod
    def initiate(
        cls, own: str, peer: str, secret: bytes, nonce: bytes, send: Callable[[bytes], None]
    ) -> Link:
        """The end that connected, to reach the node `peer`; says hello."""
        link = cls(own, secret, nonce, send)
        link.peer = peer
        link._state = _State.WELCOME
        link._greet(Hello(own, peer, nonce))
        return link

    @classmethod
    def accept(cls, own: str, secret: bytes, nonce: bytes, send: Callable[[bytes], None]) -> Link:
        """The end that was connected to."""
        return cls(own, secret, nonce, send)

    @property
    def is_open(self) -> bool:
        return self._state is _State.OPEN

    def write(self, frame: Frame) -> None:
        """Seal and send. The link must be open."""
        assert self.is_open
        nonce = self._sent.to_bytes(12, "big")
        self._sent += 1
        self._out(self._sealing.encrypt(nonce, _encode(frame), None))

    def receive(self, data: bytes) -> list[Frame]:
        """Bytes of the connection; gives the frames they complete. Raises :class:`LinkError`."""
        if self._state is _State.BROKEN:
            return []
        self._buffer += data
        frames: list[Frame] = []
        try:
            while (content := self._next()) is not None:
                if self._state is _State.OPEN:
                    frames.append(self._open(content))
                else:
                    self._greeted(content)
        except (msgspec.MsgspecError, InvalidTag) as error:
            self._state = _State.BROKEN
            raise LinkError(f"not a frame of this link: {type(error).__name__}") from error
        except LinkError:
            self._state = _State.BROKEN
            raise
        return frames

    def _next(self) -> bytes | None:
        if len(self._buffer) < _LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
        if length > (MAX_FRAME_BYTES if self.is_open else MAX_GREETING_BYTES):
            raise LinkError(f"a frame of {length} bytes")
        if len(self._buffer) < _LENGTH_BYTES + length:
            return None
        content = bytes(self._buffer[_LENGTH_BYTES : _LENGTH_BYTES + length])
        del self._buffer[: _LENGTH_BYTES + length]
        return content

    def _open(self, content: bytes) -> Frame:
        nonce = self._received.to_bytes(12, "big")
        self._received += 1
        return _frame.decode(self._opening.decrypt(nonce, content, None))

    def _greeted(self, content: bytes) -> None:
        greeting = _greeting.decode(content)
        if self._state is _State.HELLO and isinstance(greeting, Hello):
            if greeting.version != 1 or greeting.to != self._own:
                raise LinkError(f"node {greeting.node!r} looks for {greeting.to!r}, not for us")
            self.peer = greeting.node
            self._agree(greeting.node, self._own, greeting.nonce, self._nonce)
            self._greet(Welcome(self._nonce, self._proof("acceptor")))
            self._state = _State.PROOF
        elif self._state is _State.WELCOME and isinstance(greeting, Welcome):
            self._agree(self._own, self.peer, self._nonce, greeting.nonce)
            self._check(greeting.proof, "acceptor")
            self._greet(Proof(self._proof("initiator")))
            self._begin("initiator", "acceptor")
        elif self._state is _State.PROOF and isinstance(greeting, Proof):
            self._check(greeting.proof, "initiator")
            self._begin("acceptor", "initiator")
        else:
            raise LinkError("an unexpected greeting")

    def _agree(self, initiator: str, acceptor: str, first: bytes, second: bytes) -> None:
        if len(first) != NONCE_BYTES or len(second) != NONCE_BYTES:
            raise LinkError("a nonce of the wrong length")
        names = f"{initiator}\0{acceptor}\0".encode()
        self._context = hashlib.sha256(names + first + second).digest()

    def _derive(self, label: str) -> bytes:
        return hmac.digest(self._secret, label.encode() + b"\0" + self._context, "sha256")

    def _proof(self, side: str) -> bytes:
        return self._derive(f"proof of {side}")

    def _check(self, proof: bytes, side: str) -> None:
        if not hmac.compare_digest(proof, self._proof(side)):
            raise LinkError("the other side does not hold the secret of this cluster")

    def _begin(self, own_side: str, other_side: str) -> None:
        self._sealing = AESGCM(self._derive(f"key of {own_side}"))
        self._opening = AESGCM(self._derive(f"key of {other_side}"))
        self._state = _State.OPEN

    def _greet(self, greeting: Greeting) -> None:
        self._out(_encode(greeting))

    def _out(self, content: bytes) -> None:
        self._send(len(content).to_bytes(_LENGTH_BYTES, "big") + content)
