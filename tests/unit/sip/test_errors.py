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
