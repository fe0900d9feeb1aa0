"""The error tree: who is at fault, and what to answer."""

from __future__ import annotations

import pytest

from sip.errors import (
    LocalProtocolError,
    MalformedHeader,
    ParseError,
    ProtocolError,
    RemoteProtocolError,
    ResourceLimit,
    SipError,
)
from sip.flow import Flow, Target
from sip.message import Request


def test_tree() -> None:
    assert issubclass(LocalProtocolError, ProtocolError)
    assert not issubclass(LocalProtocolError, RemoteProtocolError)
    assert issubclass(MalformedHeader, RemoteProtocolError)
    assert issubclass(ParseError, RemoteProtocolError)
    assert issubclass(ResourceLimit, SipError)
    assert not issubclass(ResourceLimit, ProtocolError)


def test_remote_errors_know_the_answer() -> None:
    error = MalformedHeader("To", "open quote")
    assert (error.status_hint, error.reason, error.header) == (400, "Bad To: open quote", "To")
    assert ParseError("x", status_hint=513).discard
    assert not ParseError("x", partial=Request("BYE", "sip:a@b", ())).discard


def test_resource_limit_says_which() -> None:
    with pytest.raises(ResourceLimit, match="limit of 5 dialogs"):
        raise ResourceLimit("dialogs", 5)


@pytest.mark.parametrize(
    ("transport", "reliable", "secure"),
    [
        ("udp", False, False),
        ("tcp", True, False),
        ("tls", True, True),
        ("ws", True, False),
        ("wss", True, True),
    ],
)
def test_flow(transport: str, reliable: bool, secure: bool) -> None:
    flow = Flow(transport, ("192.0.2.1", 5060), ("192.0.2.2", 5070))
    assert (flow.reliable, flow.secure, flow.id) == (reliable, secure, 0)
    assert Target(transport, "192.0.2.2", 5070).flow is None
