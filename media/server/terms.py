"""Offer and answer where the service itself is the other party (RFC 3264).

Fed by ``media.server.audio`` with the party's description; feeds it what was agreed and the text
to answer with. Pure. An answer names one audio codec, so that the party sends no other; all other
media is rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from media.errors import SdpError
from media.sdp.description import (
    INACTIVE,
    RECVONLY,
    SENDONLY,
    SENDRECV,
    Codec,
    Description,
    MediaDescription,
)
from media.sdp.negotiator import OriginLine

EVENT: Final = "TELEPHONE-EVENT"
NOISE: Final = "CN"
#: What the opposite of a direction is (RFC 3264 §6.1).
MIRRORED: Final[Mapping[str, str]] = {
    SENDRECV: SENDRECV,
    SENDONLY: RECVONLY,
    RECVONLY: SENDONLY,
    INACTIVE: INACTIVE,
}
#: Payload types of our own offers (RFC 3551 §6 where they are static).
OFFER_TYPES: Final[Mapping[tuple[str, int], int]] = {
    ("PCMU", 8000): 0,
    ("GSM", 8000): 3,
    ("PCMA", 8000): 8,
    ("G722", 8000): 9,
    ("L16", 8000): 96,
    ("L16", 16_000): 97,
    ("OPUS", 48_000): 111,
}
EVENT_TYPES: Final[Mapping[int, int]] = {8000: 101, 48_000: 110, 16_000: 102}


class Terms(NamedTuple):
    """What was agreed on for the one audio stream."""

    line: int
    """Of the m-lines, from 0."""
    codec: tuple[str, int]
    send_type: int
    receive_types: frozenset[int]
    event_type: int
    """For events that we send; -1: the party takes none."""
    event_types: frozenset[int]
    noise_types: frozenset[int]
    direction: str
    """Ours."""


def choose(description: Description, codecs: Sequence[tuple[str, int]]) -> Terms:
    """Take the first usable audio of an offer or answer; ``codecs``: ours, by preference.

    Raises :class:`SdpError` when there is none, naming what the party has.
    """
    seen: list[str] = []
    for index, media in enumerate(description.medias):
        if media.kind != "audio" or not media.port:
            continue
        if not media.is_rtp or media.is_secure:
            seen.append(media.proto)
            continue
        theirs = media.codecs()
        seen += [codec.name for codec in theirs.values()]
        for key in codecs:
            types = [number for number, codec in theirs.items() if codec.key == key]
            if types:
                return _terms(index, media, theirs, key, types)
    raise SdpError(f"no audio in common; the party has {', '.join(seen) or 'none'}")


def _terms(
    index: int,
    media: MediaDescription,
    theirs: Mapping[int, Codec],
    key: tuple[str, int],
    types: list[int],
) -> Terms:
    events = {number: codec for number, codec in theirs.items() if codec.key[0] == EVENT}
    # RFC 4733 §2.3: an event has the clock of the audio it stands in; some telephones list
    # 8000 only, whatever the audio is, and mean it.
    fitting = [number for number, codec in events.items() if codec.clock_rate == key[1]]
    noises = {number for number, codec in theirs.items() if codec.key == (NOISE, key[1])}
    return Terms(
        index,
        key,
        types[0],
        frozenset(types),
        (fitting or [*events, -1])[0],
        frozenset(events),
        frozenset(noises),
        MIRRORED[media.direction],
    )


class Place(NamedTuple):
    """Where the party shall send."""

    family: str
    host: str
    port: int
    rtcp_port: int
    mux: bool


def answer(
    description: Description, terms: Terms, place: Place, origin: OriginLine, direction: str
) -> str:
    """The text of our answer to an offer."""
    lines = []
    for index, media in enumerate(description.medias):
        if index != terms.line:
            lines.append(media.head("0", media.proto))
            continue
        theirs = media.codecs()
        chosen = {terms.send_type: theirs[terms.send_type]}
        if terms.event_type >= 0:
            chosen[terms.event_type] = theirs[terms.event_type]
        for number in sorted(terms.noise_types):
            chosen[number] = theirs[number]
        lines += _audio(media.proto, chosen, place, direction)
    return _session(lines, place, origin)


def offer(
    codecs: Sequence[tuple[str, int]], place: Place, origin: OriginLine, direction: str
) -> str:
    """The text of an offer of ours."""
    chosen = {OFFER_TYPES[key]: Codec(*key) for key in codecs}
    for rate in sorted({clock for _, clock in codecs}):
        chosen[EVENT_TYPES[rate]] = Codec("telephone-event", rate)
    return _session(_audio("RTP/AVP", chosen, place, direction), place, origin)


def _audio(proto: str, codecs: Mapping[int, Codec], place: Place, direction: str) -> list[str]:
    lines = [f"m=audio {place.port} {proto} {' '.join(map(str, codecs))}"]
    lines.append(f"c=IN {place.family} {place.host}")
    for number, codec in codecs.items():
        name = codec.name.lower() if codec.key[0] == "OPUS" else codec.name
        channels = "/2" if codec.key[0] == "OPUS" else ""
        lines.append(f"a=rtpmap:{number} {name}/{codec.clock_rate}{channels}")
        if codec.key[0] == EVENT:
            lines.append(f"a=fmtp:{number} 0-16")
        elif codec.key[0] == "OPUS":
            lines.append(f"a=fmtp:{number} useinbandfec=1")
    lines += ["a=ptime:20", f"a={direction}"]
    if place.mux:
        lines.append("a=rtcp-mux")
    elif place.rtcp_port != place.port + 1:
        lines.append(f"a=rtcp:{place.rtcp_port}")
    return lines


def _session(lines: Sequence[str], place: Place, origin: OriginLine) -> str:
    head = ["s=-", f"c=IN {place.family} {place.host}", "t=0 0"]
    rest = "\r\n".join([*head, *lines, ""])
    return f"v=0\r\n{origin.render(rest, place.family, place.host)}\r\n{rest}"
