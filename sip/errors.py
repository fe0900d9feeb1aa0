"""Errors of the SIP stack.

::

    SipError
    ├── ProtocolError
    │   ├── LocalProtocolError     we asked for what the protocol forbids: a bug, raise
    │   └── RemoteProtocolError    the peer is wrong: answer ``status_hint``, count
    │       ├── MalformedHeader    one header field (or URI) cannot be read
    │       └── ParseError         a message cannot be taken; ``partial``: whom to answer
    └── ResourceLimit              a bound of ours is reached: answer 503 or drop, count

A remote error never ends a worker: the shell that fed the bytes catches ``RemoteProtocolError``,
answers when it can, and goes on with the next message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sip.message import Request


class SipError(Exception):
    """Base of everything this package raises on purpose."""


class ProtocolError(SipError):
    """Something on the wire, or about to go there, breaks the protocol."""


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol. Never caught: it is a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol.

    ``status_hint`` is the status to answer with when an answer is possible; ``reason`` is a safe
    reason phrase: it never repeats bytes of the peer.
    """

    def __init__(self, reason: str, *, status_hint: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status_hint = status_hint


class MalformedHeader(RemoteProtocolError):
    """A header field or a URI cannot be read; the rest of the message still can."""

    def __init__(self, header: str, problem: str, *, status_hint: int = 400) -> None:
        super().__init__(f"Bad {header}: {problem}", status_hint=status_hint)
        self.header = header


class ParseError(RemoteProtocolError):
    """A message cannot be taken.

    ``partial`` is the request as far as it was read, when Via, Call-ID, CSeq, From and To are
    there to build an answer from (RFC 3261 §8.2.6); ``None`` means discard silently, which is
    the only choice for responses (RFC 3261 §18.1.2) and for noise.
    """

    def __init__(
        self, reason: str, *, status_hint: int = 400, partial: Request | None = None
    ) -> None:
        super().__init__(reason, status_hint=status_hint)
        self.partial = partial

    @property
    def discard(self) -> bool:
        return self.partial is None


class ResourceLimit(SipError):
    """A bound of ours is reached (transactions, dialogs, queue)."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"limit of {limit} {what} is reached")
        self.what = what
        self.limit = limit
