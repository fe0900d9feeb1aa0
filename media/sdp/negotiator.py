"""Rewriting offers and answers so that media crosses a relay: RFC 3264 seen from the middle.

Fed by ``media.server.exchange`` with parsed descriptions and the ports that were reserved; feeds
it the text for the other party. Pure: no ports are opened and no state is kept here, except the
``o=`` line that each party sees (:class:`OriginLine`).

What is ours in a rewritten description: ``o=``, ``c=``, the port of each living ``m=`` line,
``a=rtcp`` and ``a=rtcp-mux``; what is gone: ICE and BUNDLE, whose addresses would lead around the
relay. All else passes in its order: codecs, ``fmtp``, ``crypto``, ``fingerprint``, what nobody
knows. Count and order of m-lines never change, port 0 stays 0 (RFC 3264 §6, §8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from media.errors import SdpError
from media.sdp.description import (
    ICE_ATTRIBUTES,
    INACTIVE,
    RECVONLY,
    SENDONLY,
    SENDRECV,
    Codec,
    Connection,
    Description,
    MediaDescription,
    strict_session_lines,
)

#: ``a=`` name that marks descriptions which passed this service (flag ``loop-protect``).
LOOP_ATTRIBUTE: Final = "a=x-ringlog-relay:"

# At session level; an address in any of them would lead around the relay.
_GOES_AROUND: Final = (*ICE_ATTRIBUTES, "a=group:BUNDLE")
_RTCP: Final = ("a=rtcp:", "a=rtcp-mux")
_DIRECTION_LINES: Final = frozenset(f"a={d}" for d in (SENDRECV, SENDONLY, RECVONLY, INACTIVE))
# RFC 3264 §6.1: by what was offered, what is printed in place of an answer that is not allowed.
_LEGAL_ANSWERS: Final[dict[str, dict[str, str]]] = {
    SENDRECV: {},
    SENDONLY: {SENDRECV: RECVONLY, SENDONLY: INACTIVE},
    RECVONLY: {SENDRECV: SENDONLY, RECVONLY: INACTIVE},
    INACTIVE: {SENDRECV: INACTIVE, SENDONLY: INACTIVE, RECVONLY: INACTIVE},
}


class OriginLine:
    """The ``o=`` line that one party sees over the life of its dialog (RFC 8866 §5.2).

    The session id never changes; the version grows by one exactly when the rest of the text
    does (RFC 3264 §8), whichever party behind the relay caused it.
    """

    __slots__ = ("_last", "session_id", "version")

    def __init__(self, session_id: int) -> None:
        self.session_id = session_id
        self.version = 0
        self._last = ""

    def render(self, rest: str, family: str, host: str) -> str:
        """The line to print in front of ``rest``."""
        if rest != self._last:
            self.version += 1
            self._last = rest
        return f"o=- {self.session_id} {self.version} IN {family} {host}"


class MediaPorts(NamedTuple):
    """Where the receiver of a description shall send one media; port 0 = rejected."""

    rtp: int
    rtcp: int = 0
    """0: the media has none, or it shares the RTP port."""
    mux: bool = False
    """Print ``a=rtcp-mux``."""


REJECTED: Final = MediaPorts(0)


class Rewrite(NamedTuple):
    """How to print a description for the other party."""

    family: str
    host: str
    medias: Sequence[MediaPorts]
    origin: OriginLine | None
    """None: the ``o=`` line passes unchanged (no ``replace=origin``)."""
    session_name: bool = False
    """``replace=session-name``: ``s=-``."""
    zero_address: bool = False
    """``replace=zero-address``: also 0.0.0.0 (an old hold) becomes our address."""
    strip_crypto: bool = False
    """Drop ``a=crypto`` of plain RTP lines: no opportunistic SRTP (RFC 8643)."""
    rtcp_attribute: str = "auto"
    """``auto`` (where it says something or was there), ``full`` (with address), ``none``."""
    proto: str = ""
    """``transport-protocol``: AVP and AVPF may be exchanged, encryption not."""
    loop_mark: str = ""
    offered: Sequence[MediaDescription] = ()
    """For an answer: what was offered; protocol and direction have to suit it."""


def check_answer(offered: Description, answer: Description) -> None:
    """RFC 3264 §6 on an answer. Raises :class:`SdpError`.

    An answer that leaves out trailing m-lines (old telephones reject so) is completed with
    rejected ones: tolerant in, strict out.
    """
    if len(answer.medias) > len(offered.medias):
        raise SdpError("the answer has more media lines than the offer")
    for theirs, ours in zip(offered.medias, answer.medias, strict=False):
        if theirs.kind != ours.kind and not ours.is_rejected:
            raise SdpError("the answer has its media lines in another order than the offer")
        if ours.port and theirs.port and theirs.wrapping != ours.wrapping:
            raise SdpError("the answer has another transport protocol than the offer")
    for theirs in offered.medias[len(answer.medias) :]:
        answer.medias.append(rejected(theirs))


def check_reoffer(before: Description, offer: Description) -> None:
    """RFC 3264 §8: a new offer keeps all m-lines; those left out are added as rejected."""
    for gone in before.medias[len(offer.medias) :]:
        offer.medias.append(rejected(gone))


def rejected(media: MediaDescription) -> MediaDescription:
    """The section that rejects ``media``."""
    gone = MediaDescription(media.kind, 0, 1, media.proto, media.formats)
    gone.direction = SENDRECV
    gone.connection = media.connection
    return gone


def negotiated(offer: MediaDescription, answer: MediaDescription) -> dict[int, Codec]:
    """Payload types that may cross after this exchange, in the answer's order.

    Those of the answer, and numbers of the offer that stand for a codec of the answer: each side
    sends with the numbers the other one listed (RFC 3264 §5.1), and some mix them up.
    """
    codecs = answer.codecs()
    chosen = {codec.key for codec in codecs.values()}
    for number, codec in offer.codecs().items():
        if codec.key in chosen:
            codecs.setdefault(number, codec)
    return codecs


def may_send(direction: str, peer_direction: str) -> bool:
    """Whether the party that said ``direction`` may send to the one that said the other."""
    return direction in (SENDRECV, SENDONLY) and peer_direction in (SENDRECV, RECVONLY)


def loops(description: Description, loop_mark: str) -> bool:
    """Whether the description passed this service before (its mark is in it)."""
    return f"{LOOP_ATTRIBUTE}{loop_mark}" in description.lines


def rewrite(description: Description, how: Rewrite) -> str:
    """Return the text for the other party. Raises :class:`SdpError`."""
    ours = f"c=IN {how.family} {how.host}"
    zero = "c=IN IP6 ::" if how.family == "IP6" else "c=IN IP4 0.0.0.0"
    lines: list[str] = []
    at_origin = 0
    for line in strict_session_lines(description.lines):
        if line.startswith(("o=", "c=", "a=", "s=")):
            if line.startswith("c="):
                line = zero if _keeps_zero(description.connection, how) else ours
            elif line.startswith("o="):
                at_origin = len(lines)
            elif line.startswith("s="):
                if how.session_name:
                    line = "s=-"
            elif line.startswith(_GOES_AROUND):
                continue
        lines.append(line)
    if how.loop_mark:
        lines.append(f"{LOOP_ATTRIBUTE}{how.loop_mark}")
    for index, media in enumerate(description.medias):
        _section(lines, media, how, index, zero if _keeps_zero(media.connection, how) else ours)
    lines.append("")
    if how.origin is not None:
        lines[at_origin] = ""
        rest = "\r\n".join(lines)
        lines[at_origin] = how.origin.render(rest, how.family, how.host)
    return "\r\n".join(lines)


def _keeps_zero(connection: Connection | None, how: Rewrite) -> bool:
    return connection is not None and connection.is_zero and not how.zero_address


def _section(
    lines: list[str], media: MediaDescription, how: Rewrite, index: int, connection: str
) -> None:
    ports = how.medias[index] if media.port else REJECTED
    offered = how.offered[index] if how.offered else None
    if offered is None:
        proto = _proto(media, how.proto)
    elif media.is_rejected:
        proto = offered.proto
    else:
        proto = _proto(media, offered.proto)
    lines.append(media.head(ports.rtp, proto))
    strip_crypto = how.strip_crypto and not media.is_secure
    direction = ""
    if offered is not None:
        direction = _LEGAL_ANSWERS[offered.direction].get(media.direction, "")
    had_connection = had_rtcp = False
    for line in media.lines:
        if line.startswith("a="):
            if line.startswith(_RTCP):
                had_rtcp = had_rtcp or line.startswith("a=rtcp:")
                continue
            if line.startswith(ICE_ATTRIBUTES) or line == "a=bundle-only":
                continue
            if strip_crypto and line.startswith("a=crypto:"):
                continue
            if direction and line in _DIRECTION_LINES:
                continue
        elif line.startswith("c="):
            if had_connection:  # several addresses are for layered multicast
                continue
            had_connection = True
            line = connection
        lines.append(line)
    if direction:
        lines.append(f"a={direction}")
    if ports.rtp:
        _rtcp_lines(lines, ports, how, had_rtcp)


def _rtcp_lines(lines: list[str], ports: MediaPorts, how: Rewrite, had_rtcp: bool) -> None:
    rtcp = ports.rtcp or (ports.rtp if ports.mux else 0)
    if rtcp and how.rtcp_attribute != "none":
        if how.rtcp_attribute == "full":
            lines.append(f"a=rtcp:{rtcp} IN {how.family} {how.host}")
        elif had_rtcp or rtcp != ports.rtp + 1:
            lines.append(f"a=rtcp:{rtcp}")
    if ports.mux:
        lines.append("a=rtcp-mux")


def _proto(media: MediaDescription, wanted: str) -> str:
    if not wanted or wanted == media.proto or not media.is_rtp or media.is_rejected:
        return media.proto
    if ("SAVP" in wanted) != media.is_secure or "TLS" in wanted:
        raise SdpError("the relay passes encryption through and cannot add or remove it")
    return wanted
