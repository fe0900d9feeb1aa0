"""NG datagrams: ``<cookie> <dictionary>`` in bencode or JSON, and the requests that we send.

Fed by the client (``media.ng.client``) and the service's front (``media.server.front``). The
protocol is the one of rtpengine; what is ours is in ``docs/ng-extensions.md``. The builders at
the end make the dictionaries that call control needs, in the form both engines understand.

Names of several words are written with a space or a hyphen, at the sender's choice
(``received from``, ``received-from``); :func:`decode` leaves only hyphens.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec

from media.errors import NgSyntaxError
from media.ng import bencode

Message = dict[str, Any]
"""A decoded dictionary: values are str, int, list and dict."""

#: A Unix or UDP datagram; larger ones cannot arrive over UDP.
MAX_DATAGRAM_BYTES: Final = 65_507
#: rtpengine's clients use 10-40 characters; the cookie is a key of the reply cache.
MAX_COOKIE_CHARS: Final = 128


class Encoding(Enum):
    """Dictionary format; a reply uses the one of its request."""

    BENCODE = "bencode"
    JSON = "json"


class NgMessage(NamedTuple):
    """One datagram."""

    cookie: str
    data: Message
    encoding: Encoding


_json_decoder: Final = msgspec.json.Decoder()
_json_encoder: Final = msgspec.json.Encoder()


def decode(datagram: bytes) -> NgMessage:
    """Parse a datagram. Raises :class:`NgSyntaxError`, with the cookie if that much was legible."""
    if len(datagram) > MAX_DATAGRAM_BYTES:
        raise NgSyntaxError("datagram too long")
    head, space, rest = datagram.partition(b" ")
    if not space or not head or len(head) > MAX_COOKIE_CHARS:
        raise NgSyntaxError("no cookie")
    cookie = head.decode("latin-1")
    first = rest[:1]
    data: Any
    try:
        if first == b"d":
            data = bencode.decode(rest)
            encoding = Encoding.BENCODE
        elif first == b"{":
            data = _json_decoder.decode(rest)
            encoding = Encoding.JSON
        else:
            raise NgSyntaxError("no dictionary after the cookie", cookie)
    except (msgspec.DecodeError, NgSyntaxError, UnicodeDecodeError, RecursionError) as error:
        raise NgSyntaxError(str(error), cookie) from None
    return NgMessage(cookie, _hyphenated(data), encoding)


def _hyphenated(data: Message) -> Message:
    """Spell the keys of the top level with hyphens; most senders do, then nothing is copied."""
    for key in data:
        if " " in key:
            return {key.replace(" ", "-"): value for key, value in data.items()}
    return data


def encode(cookie: str, data: Message, encoding: Encoding = Encoding.JSON) -> bytes:
    """Return a datagram. Text that JSON cannot hold (not UTF-8) is sent as bencode."""
    head = cookie.encode("latin-1", "replace")
    if encoding is Encoding.JSON:
        try:
            return b"%b %b" % (head, _json_encoder.encode(data))
        except UnicodeEncodeError:
            pass
    return b"%b %b" % (head, bencode.encode(data))


def text_of(body: bytes | str) -> str:
    """A description as NG carries it; the inverse of :func:`body_of`."""
    return body if isinstance(body, str) else body.decode("utf-8", "surrogateescape")


def body_of(text: str) -> bytes:
    """The bytes of a description out of a reply."""
    return text.encode("utf-8", "surrogateescape")


# -- requests of call control ---------------------------------------------------------------


def offer(
    call_id: str,
    from_tag: str,
    sdp: bytes | str,
    *,
    to_tag: str = "",
    received_from: str = "",
    direction: Sequence[str] = (),
    address_family: str = "",
    source_address: bool = False,
    rtcp_mux: Sequence[str] = (),
    flags: Sequence[str] = (),
    learn: str = "",
    origin_key: str = "",
    ice: str = "remove",
) -> Message:
    """The party ``from_tag`` offers ``sdp``; the reply's ``sdp`` goes to the other party.

    ``received_from``: numeric host that the SIP message came from (drives latching).
    ``direction``: names of the interfaces of the offerer's and the other side.
    ``source_address``: use ``received_from`` in place of the addresses in the SDP.
    ``learn``: the party is behind NAT though its description does not show it; whose packets may
    be learned: ``exact`` ``signalling-ip`` ``any`` (extension).
    ``origin_key``: the tag that the leg which receives the result had in an earlier NG call, so
    that its ``o=`` line continues in this one (extension; rtpengine ignores it).
    """
    message: Message = {"command": "offer", "call-id": call_id, "from-tag": from_tag}
    if to_tag:
        message["to-tag"] = to_tag
    if direction:
        message["direction"] = list(direction)
    if address_family:
        message["address-family"] = address_family
    _fill(message, sdp, received_from, source_address, rtcp_mux, flags, learn, origin_key, ice)
    return message


def answer(
    call_id: str,
    from_tag: str,
    to_tag: str,
    sdp: bytes | str,
    *,
    received_from: str = "",
    source_address: bool = False,
    rtcp_mux: Sequence[str] = (),
    flags: Sequence[str] = (),
    provisional: bool = False,
    learn: str = "",
    origin_key: str = "",
    ice: str = "remove",
) -> Message:
    """The party ``to_tag`` answers the last offer of ``from_tag``; options as in :func:`offer`.

    ``provisional``: early media, the call is still ringing and may be silent (extension).
    """
    if provisional:
        flags = ("provisional", *flags)
    message: Message = {
        "command": "answer",
        "call-id": call_id,
        "from-tag": from_tag,
        "to-tag": to_tag,
    }
    _fill(message, sdp, received_from, source_address, rtcp_mux, flags, learn, origin_key, ice)
    return message


def _fill(
    message: Message,
    sdp: bytes | str,
    received_from: str,
    source_address: bool,
    rtcp_mux: Sequence[str],
    flags: Sequence[str],
    learn: str,
    origin_key: str,
    ice: str,
) -> None:
    message["sdp"] = text_of(sdp)
    if received_from:
        message["received-from"] = ["IP6" if ":" in received_from else "IP4", received_from]
    message["ICE"] = ice
    message["replace"] = ["origin"]
    message["flags"] = ["SIP-source-address" if source_address else "trust-address", *flags]
    if rtcp_mux:
        message["rtcp-mux"] = list(rtcp_mux)
    if learn:
        message["learn"] = learn
    if origin_key:
        message["origin-key"] = origin_key


def serve(
    call_id: str,
    from_tag: str,
    sdp: bytes | str,
    *,
    received_from: str = "",
    origin_key: str = "",
    held: bool = False,
) -> Message:
    """Extension: the service is the other party and answers the offer ``sdp`` itself."""
    message: Message = {"command": "serve", "call-id": call_id, "from-tag": from_tag}
    flags = ("hold",) if held else ()
    _fill(message, sdp, received_from, False, (), flags, "", origin_key, "remove")
    return message


def create(call_id: str, from_tag: str, *, origin_key: str = "", held: bool = False) -> Message:
    """Extension: the service makes an offer to the party ``from_tag``."""
    message: Message = {"command": "create", "call-id": call_id, "from-tag": from_tag}
    message["replace"] = ["origin"]
    if origin_key:
        message["origin-key"] = origin_key
    if held:
        message["flags"] = ["hold"]
    return message


def create_answer(
    call_id: str,
    from_tag: str,
    sdp: bytes | str,
    *,
    received_from: str = "",
    origin_key: str = "",
    provisional: bool = False,
) -> Message:
    """Extension: the party's answer; ``provisional``: another one may follow (it still rings)."""
    message: Message = {"command": "create answer", "call-id": call_id, "from-tag": from_tag}
    flags = ("provisional",) if provisional else ()
    _fill(message, sdp, received_from, False, (), flags, "", origin_key, "remove")
    return message


def delete(call_id: str, from_tag: str = "", to_tag: str = "") -> Message:
    """End the call, or with ``to_tag`` one branch of it; the reply carries the statistics.

    ``from_tag``: the first offerer's. Our service does without; rtpengine 10.5 then deletes the
    call too, but tells no statistics. ``delete-delay`` 0: it would keep the call for a while.
    """
    message: Message = {"command": "delete", "call-id": call_id, "delete-delay": 0}
    if from_tag:
        message["from-tag"] = from_tag
    if to_tag:
        message["to-tag"] = to_tag
    return message


def query(call_id: str) -> Message:
    """Ask for the statistics of a running call."""
    return {"command": "query", "call-id": call_id}


def ping() -> Message:
    """Ask whether the engine is alive."""
    return {"command": "ping"}


def hello(node: str, epoch: str) -> Message:
    """Extension: subscribe to events; calls of the same node with another epoch are deleted."""
    return {"command": "hello", "node": node, "epoch": epoch}


def is_unknown_command(reply: Message) -> bool:
    """Whether a reply says that the engine lacks the extension just tried (rtpengine)."""
    return str(reply.get("error-reason", "")).lower() == "unrecognized command"
