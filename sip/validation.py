"""Semantic checks of a request that parsed (RFC 3261 §8.2, §16.3, §18; RFC 4475).

Fed by the engine with each new request before a transaction is made; the verdict is data, so the
reply is built in one place. What depends on the transaction user's abilities (methods, option
tags, body types, schemes) is below as small pure helpers for it to call.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from sip.errors import MalformedHeader, RemoteProtocolError
from sip.grammar import DEFAULT, LWS, Limits
from sip.headers.generic import METHODS
from sip.message import REASONS, Request, Response
from sip.uri import SipUri

# RFC 3261 §7.3.1 and §20: these may stand once. Two readers must not take different ones.
_SINGLE: Final = (
    "Call-ID",
    "CSeq",
    "From",
    "To",
    "Max-Forwards",
    "Content-Type",
    "Expires",
    "Event",
    "Refer-To",
    "Replaces",
    "Session-Expires",
)


class Rejection(NamedTuple):
    """How to refuse a request."""

    status: int
    """0 means discard without an answer."""
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def discard(self) -> bool:
        return self.status == 0


def _reject(status: int, headers: tuple[tuple[str, str], ...] = ()) -> Rejection:
    return Rejection(status, REASONS[status], headers)


def _from_error(error: RemoteProtocolError) -> Rejection:
    return Rejection(error.status_hint, error.reason)


def validate_request(request: Request, limits: Limits = DEFAULT) -> Rejection | None:
    """``None`` to go on; else the answer to give, built statelessly, or to discard.

    Afterwards ``via``, ``cseq``, ``call_id``, ``from_``, ``to``, ``max_forwards``,
    ``request_uri`` and ``contacts`` of the request are known to parse.
    ACK is never answered (RFC 3261 §17.1.1.3): any fault makes it a discard.
    """
    rejection = _examine(request, limits)
    if rejection is not None and request.method == "ACK":
        return Rejection(0, rejection.reason)
    return rejection


def _examine(request: Request, limits: Limits) -> Rejection | None:
    try:
        via = request.via
        method = request.cseq.method
        request.call_id  # noqa: B018 - asked for so that it raises here
        sender = request.from_
        sender.uri  # noqa: B018
        request.to.uri  # noqa: B018
        request.max_forwards  # noqa: B018
        uri = request.request_uri
        if request.has("Contact"):
            for contact in request.contacts:
                contact.uri  # noqa: B018
    except MalformedHeader as error:
        return _from_error(error)
    if method != request.method:
        return Rejection(400, "CSeq method does not match")
    if not (sender.tag.isascii() and request.to.tag.isascii()):
        return Rejection(400, "Tag is not a token")
    if not sender.tag and via.is_rfc3261:
        # RFC 3261 §8.1.1.3; RFC 2543 peers send none (RFC 4475 §3.3.14).
        return Rejection(400, "From has no tag")
    if isinstance(uri, SipUri) and uri.headers:
        # RFC 3261 §19.1.1: the headers component has no place in a Request-URI.
        return Rejection(400, "Request-URI with header fields")
    if request.repeats:
        for name in _SINGLE:
            if len(request.all(name)) > 1:
                return Rejection(400, f"More than one {name}")
    hops = sum([value.count(",") + 1 for name, value in request.headers if name == "Via"])
    if hops > limits.via:
        return Rejection(400, "Too many Via")
    return None


def validate_response(response: Response) -> bool:
    """Whether a user agent may look at the response; else discard silently.

    RFC 3261 §8.1.3.3: more than one Via means it was meant for somebody else (the "bcast" case
    of RFC 4475). RFC 4475 §3.1.2.5: numbers out of range, discard.
    """
    try:
        response.via, response.cseq, response.call_id, response.from_, response.to  # noqa: B018
    except MalformedHeader:
        return False
    via = response.all("Via")
    return len(via) == 1 and (("," not in via[0]) or len(response.values("Via")) == 1)


# --- helpers for the transaction user ------------------------------------------------------------


def check_method(request: Request, allowed: Collection[str]) -> Rejection | None:
    """501 for a method nobody knows, 405 with Allow for one that is not served (§8.2.1)."""
    if request.method in allowed:
        return None
    allow = (("Allow", ", ".join(allowed)),)
    return _reject(405 if request.method in METHODS else 501, allow)


def check_scheme(request: Request, schemes: Collection[str] = ("sip", "sips")) -> Rejection | None:
    """416 for a Request-URI of another scheme (§8.2.2.1)."""
    try:
        scheme = request.request_uri.scheme
    except MalformedHeader as error:
        return _from_error(error)
    return None if scheme in schemes else _reject(416)


def check_max_forwards(request: Request) -> Rejection | None:
    """483 when the request may go no further (§16.3 step 3)."""
    return _reject(483) if request.max_forwards == 0 else None


def check_required(
    request: Request, supported: Collection[str], header: str = "Require"
) -> Rejection | None:
    """420 with Unsupported (§8.2.2.3). CANCEL and ACK are exempt."""
    if request.method in ("CANCEL", "ACK") or not request.has(header):
        return None
    try:
        unknown = [tag for tag in request.values(header) if tag.lower() not in supported]
    except MalformedHeader as error:
        return _from_error(error)
    return _reject(420, (("Unsupported", ", ".join(unknown)),)) if unknown else None


def check_content(
    request: Request, types: Collection[str], encodings: Collection[str] = ("identity",)
) -> Rejection | None:
    """415 with Accept or Accept-Encoding for a body that cannot be read (§8.2.3)."""
    if not request.body or _optional_body(request):
        return None
    encoding = (request.first("Content-Encoding") or "identity").strip(LWS).lower()
    if encoding not in encodings:
        return _reject(415, (("Accept-Encoding", ", ".join(encodings)),))
    if request.content_type not in types:
        return _reject(415, (("Accept", ", ".join(types)),))
    return None


def _optional_body(request: Request) -> bool:
    disposition = request.first("Content-Disposition") or ""
    return "handling=optional" in disposition.replace(" ", "").lower()


def check_accept(request: Request, types: Iterable[str]) -> Rejection | None:
    """406 when nothing that we could answer with is acceptable (§21.4.7).

    No Accept header means ``application/sdp`` for INVITE and OPTIONS: nothing to check. An empty
    one accepts nothing.
    """
    if not request.has("Accept"):
        return None
    try:
        ranges = [value.partition(";")[0].strip(LWS).lower() for value in request.values("Accept")]
    except MalformedHeader as error:
        return _from_error(error)
    for kind in types:
        if kind in ranges or "*/*" in ranges or f"{kind.partition('/')[0]}/*" in ranges:
            return None
    return _reject(406)
