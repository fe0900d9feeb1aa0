"""Small header values: CSeq, RAck, RSeq, Replaces, Event, Subscription-State, Reason, Retry-After.

Fed by ``Message`` and by the dialog layer; each parser raises MalformedHeader.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sip.errors import MalformedHeader
from sip.grammar import LWS, TOKEN, Params, parse_number, parse_params, quote, unquote

METHODS: Final = frozenset(
    {
        "ACK",
        "BYE",
        "CANCEL",
        "INFO",
        "INVITE",
        "MESSAGE",
        "NOTIFY",
        "OPTIONS",
        "PRACK",
        "PUBLISH",
        "REFER",
        "REGISTER",
        "SUBSCRIBE",
        "UPDATE",
    }
)
"""The methods of RFC 3261 and its extensions; names are case-sensitive."""


class CSeq(NamedTuple):
    """RFC 3261 §20.16."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def parse_cseq(text: str) -> CSeq:
    number, _, method = text.partition(" ")
    if method not in METHODS:
        pieces = text.split()
        if len(pieces) != 2 or TOKEN.fullmatch(pieces[1]) is None:
            raise MalformedHeader("CSeq", "not a number and a method")
        number, method = pieces
    return CSeq(parse_number(number, "CSeq"), method)


class RAck(NamedTuple):
    """RFC 3262 §7.2: the RSeq and the CSeq of the provisional that a PRACK confirms."""

    rseq: int
    cseq: int
    method: str

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq} {self.method}"


def parse_rack(text: str) -> RAck:
    pieces = text.split()
    if len(pieces) != 3 or TOKEN.fullmatch(pieces[2]) is None:
        raise MalformedHeader("RAck", "not two numbers and a method")
    return RAck(parse_number(pieces[0], "RAck"), parse_number(pieces[1], "RAck"), pieces[2])


def parse_rseq(text: str) -> int:
    """RFC 3262 §7.1: 1 to 2**32 - 1."""
    number = parse_number(text, "RSeq")
    if number == 0:
        raise MalformedHeader("RSeq", "zero")
    return number


class Replaces(NamedTuple):
    """RFC 3891 §6.1. ``to_tag`` is the local tag of the party that receives the header."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


def parse_replaces(text: str) -> Replaces:
    """Already unescaped, when it comes out of a Refer-To URI (see ``SipUri.header_items``)."""
    call_id, semicolon, rest = text.partition(";")
    params = parse_params(semicolon + rest, "Replaces")
    to_tag, from_tag = params.get("to-tag"), params.get("from-tag")
    call_id = call_id.strip(LWS)
    if not call_id or not to_tag or not from_tag:
        raise MalformedHeader("Replaces", "call id, to-tag and from-tag are needed")
    return Replaces(call_id, to_tag, from_tag, "early-only" in params)


class EventHeader(NamedTuple):
    """RFC 6665 §8.2.1: the package (with templates) and the id; both case-sensitive."""

    package: str
    id: str = ""
    params: Params = {}  # noqa: RUF012 - a NamedTuple default, never mutated

    def __str__(self) -> str:
        return f"{self.package};id={self.id}" if self.id else self.package


def parse_event(text: str) -> EventHeader:
    package, semicolon, rest = text.partition(";")
    package = package.strip(LWS)
    if TOKEN.fullmatch(package) is None:
        raise MalformedHeader("Event", "no package", status_hint=489)
    params = parse_params(semicolon + rest, "Event") if semicolon else {}
    return EventHeader(package, params.get("id") or "", params)


class SubscriptionState(NamedTuple):
    """RFC 6665 §8.2.3."""

    state: str
    """``active``, ``pending``, ``terminated`` or an extension, in lower case."""
    expires_s: int | None = None
    reason: str = ""
    retry_after_s: int | None = None

    def __str__(self) -> str:
        text = self.state
        if self.expires_s is not None:
            text += f";expires={self.expires_s}"
        if self.reason:
            text += f";reason={self.reason}"
        if self.retry_after_s is not None:
            text += f";retry-after={self.retry_after_s}"
        return text


def parse_subscription_state(text: str) -> SubscriptionState:
    header = "Subscription-State"
    state, semicolon, rest = text.partition(";")
    state = state.strip(LWS).lower()
    if TOKEN.fullmatch(state) is None:
        raise MalformedHeader(header, "no state")
    params = parse_params(semicolon + rest, header) if semicolon else {}
    expires, retry = params.get("expires"), params.get("retry-after")
    return SubscriptionState(
        state,
        None if expires is None else parse_number(expires, header),
        (params.get("reason") or "").lower(),
        None if retry is None else parse_number(retry, header),
    )


class Reason(NamedTuple):
    """RFC 3326: why a request was sent, e.g. ``Q.850;cause=16``."""

    protocol: str
    cause: int | None = None
    text: str = ""

    def __str__(self) -> str:
        value = self.protocol
        if self.cause is not None:
            value += f";cause={self.cause}"
        if self.text:
            value += f";text={quote(self.text)}"
        return value


def parse_reason(text: str) -> Reason:
    """One value; a message may carry one per protocol (``message.values("Reason")``)."""
    protocol, semicolon, rest = text.partition(";")
    protocol = protocol.strip(LWS)
    if TOKEN.fullmatch(protocol) is None:
        raise MalformedHeader("Reason", "no protocol")
    params = parse_params(semicolon + rest, "Reason") if semicolon else {}
    cause = params.get("cause")
    return Reason(
        protocol,
        None if cause is None else parse_number(unquote(cause), "Reason"),
        unquote(params.get("text") or ""),
    )


class RetryAfter(NamedTuple):
    """RFC 3261 §20.33."""

    delay_s: int
    duration_s: int | None = None

    def __str__(self) -> str:
        return f"{self.delay_s}" + (f";duration={self.duration_s}" if self.duration_s else "")


def parse_retry_after(text: str) -> RetryAfter:
    """The comment, if any, is dropped."""
    value, semicolon, rest = text.partition(";")
    number, _, _comment = value.partition("(")
    params = parse_params(semicolon + rest, "Retry-After") if semicolon else {}
    duration = params.get("duration")
    return RetryAfter(
        parse_number(number.strip(LWS), "Retry-After"),
        None if duration is None else parse_number(duration, "Retry-After"),
    )
