"""What must hold for any bytes that reach the SIP stack, and a hunt that runs until it does not.

``python -m tests.fuzz.sip --seed 1 --runs 1000000`` prints the mutant that broke a rule.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from sip import headers
from sip.digest import credentials_for, select_challenge, uri_matches, verify
from sip.errors import MalformedHeader, ParseError
from sip.flow import Flow
from sip.message import Message, Request, Response, response_for
from sip.parser import (
    KeepAlive,
    StreamFramer,
    parse_message,
    validate_request,
    validate_response,
)
from sip.registrar import evaluate
from sip.validation import check_accept, check_content, check_required, check_scheme
from tests.data.rfc4475 import MESSAGES
from tests.fuzz.hunt import hunt

DATA = Path(__file__).parent
CORPUS_FOLDER = DATA / "corpus" / "sip"

WORDS = tuple(
    word.encode()
    for word in (
        "Via: SIP/2.0/UDP h;branch=z9hG4bK",
        "Contact: *",
        "Content-Length: 5",
        "l: 0",
        "CSeq: 1 ACK",
        "Expires: 0",
        "SIP/2.0",
        "SIP/3.0",
        "INVITE",
        "REGISTER",
        "sip:",
        "sips:a@b",
        "tel:1",
        ";tag=",
        ";expires=0",
        ";reg-id=1",
        "Require: outbound",
        "Digest ",
        "handling=optional",
    )
)

TYPED = (
    "via",
    "vias",
    "cseq",
    "call_id",
    "from_",
    "to",
    "contacts",
    "contact_is_star",
    "routes",
    "record_routes",
    "paths",
    "max_forwards",
    "expires",
    "content_type",
)
PARSERS: dict[str, Callable[[str], object]] = {
    "Authorization": headers.parse_authorization,
    "WWW-Authenticate": headers.parse_challenge,
    "Event": headers.parse_event,
    "Min-SE": headers.parse_min_se,
    "RAck": headers.parse_rack,
    "RSeq": headers.parse_rseq,
    "Reason": headers.parse_reason,
    "Refer-To": headers.parse_name_addr,
    "Replaces": headers.parse_replaces,
    "Retry-After": headers.parse_retry_after,
    "Session-Expires": headers.parse_session_expires,
    "Subscription-State": headers.parse_subscription_state,
}
FLOW = Flow("udp", ("192.0.2.1", 5060), ("198.51.100.7", 5060))


def corpus() -> list[bytes]:
    """Ordinary messages from files, and the torture messages; always in the same order."""
    ordinary = [path.read_bytes() for path in sorted(CORPUS_FOLDER.glob("*.sip"))]
    return ordinary + [message.data for message in MESSAGES.values()]


def check(data: bytes) -> None:
    """Raises whatever breaks a rule; the rules are the assertions and that nothing else raises."""
    whole = StreamFramer()
    halves = StreamFramer()
    cut = len(data) // 3
    at_once = whole.feed(data)
    in_two = [*halves.feed(data[:cut]), *halves.feed(data[cut:])]
    assert _comparable(at_once) == _comparable(in_two)
    assert whole.broken == halves.broken
    try:
        message = parse_message(data)
    except ParseError as error:
        if error.partial is not None:
            _check_answerable(error.partial, error.status_hint)
        return
    _check_typed(message)
    wire = message.to_bytes()
    assert parse_message(wire).to_bytes() == wire
    if isinstance(message, Request):
        _check_request(message)
    else:
        _check_response(message)


def _comparable(results: list[Request | Response | KeepAlive | ParseError]) -> list[object]:
    """Keep-alives aside: half a ping is first taken for a pong."""
    return [
        item.reason if isinstance(item, ParseError) else item
        for item in results
        if not isinstance(item, KeepAlive)
    ]


def _check_answerable(request: Request, status: int) -> None:
    answer = response_for(request, status, to_tag="t")
    assert parse_message(answer.to_bytes()).via.branch == request.via.branch


def _check_typed(message: Message) -> None:
    for name in TYPED:
        try:
            value = getattr(message, name)
            for item in value if isinstance(value, list) else [value]:
                str(item)
                if isinstance(item, headers.NameAddr):
                    str(item.uri)
        except MalformedHeader:
            continue
    for name, parse in PARSERS.items():
        for text in message.all(name):
            try:
                value = parse(text)
            except MalformedHeader:
                continue
            # What we write ourselves is read back as the same.
            assert str(parse(str(value))) == str(value)


def _check_request(request: Request) -> None:
    rejection = validate_request(request)
    if rejection is None:
        _ = (request.via, request.cseq, request.call_id, request.from_.uri, request.to.uri)
    else:
        assert rejection.status in (0, 400, 414)
    parse_message(response_for(request, 400, to_tag="t").to_bytes())
    check_scheme(request)
    check_required(request, ("timer",))
    check_content(request, ("application/sdp",))
    check_accept(request, ("application/sdp",))
    credentials = credentials_for(request, "example.com")
    if credentials is not None:
        verify(credentials, request.method, "0" * 64)
        uri_matches(credentials, request)
    if rejection is None:
        _check_registrar(request)


def _check_registrar(request: Request) -> None:
    result = evaluate(request, FLOW, (), 1)
    assert result.status in (200, 400, 403, 414, 416, 423, 439)
    assert (result.status == 200) or not (result.added or result.removed)
    for binding in result.bindings:
        # All of it can be stored: no lone surrogates.
        texts = (binding.contact, binding.sip_call_id, binding.instance, binding.user_agent)
        "".join((*texts, binding.contact_params, *binding.path, *binding.methods)).encode("utf-8")
    parse_message(response_for(request, result.status, headers=result.headers).to_bytes())
    # Sent again by a client that counts up, nothing is added twice.
    number, method = request.cseq
    recounted = tuple(
        (name, f"{number + 1} {method}" if name == "CSeq" else value)
        for name, value in request.headers
    )
    again = evaluate(request.copy(headers=recounted), FLOW, result.bindings, 2)
    if result.status == again.status == 200:
        assert len(again.bindings) == len(result.bindings)


def _check_response(response: Response) -> None:
    if validate_response(response):
        assert len(response.vias) == 1
    select_challenge(response)


if __name__ == "__main__":
    sys.exit(hunt(corpus(), WORDS, check))
