"""The media figures of one party, out of the reply to ``delete`` or ``query``.

Fed by call control with a reply of either engine; feeds the call's statistics event. rtpengine
counts what it received; what it sent to a party is what it received from the other one. Loss,
jitter and MOS it knows from RTCP only, under ``SSRC``; our service measures them (extension
fields ``lost``, ``jitter``, ``mos``, ``packets out``, ``bytes out``, ``dropped``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from media.ng.messages import Message


class LegMedia(NamedTuple):
    """ "In" is received from the party, "out" is sent to it; RTP only, summed over its medias."""

    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    lost: int = 0
    dropped: int = 0
    jitter_ms: float = 0.0
    mos: float = 0.0
    codec: str = ""


def leg_media(reply: Message, tag: str, peer_tag: str = "") -> LegMedia:
    """Return the figures of the party ``tag``; zeros if the reply does not know it.

    ``peer_tag`` may be left out when the engine names the other party (``subscriptions``).
    """
    tags = _table(reply.get("tags"))
    party = _table(tags.get(tag))
    if not party:
        return LegMedia()
    ours = _sum(party, reply)
    if ours.measured_out:
        return ours.figures
    peer = _table(tags.get(peer_tag or _peer_of(party, tags, tag)))
    theirs = _sum(peer, reply).figures
    return ours.figures._replace(packets_out=theirs.packets_in, bytes_out=theirs.bytes_in)


class _Sum(NamedTuple):
    figures: LegMedia
    measured_out: bool


def _sum(party: Mapping[str, Any], reply: Message) -> _Sum:
    packets_in = packets_out = bytes_in = bytes_out = lost = dropped = 0
    jitter_ms = 0.0
    scores: list[float] = []
    codec = ""
    measured_out = False
    for media in _tables(party.get("medias")):
        codec = codec or str(media.get("codec", "")).partition("/")[0]  # rtpengine: PCMA/8000
        for stream in _tables(media.get("streams")):
            flags = stream.get("flags")
            if isinstance(flags, list) and "RTP" not in flags:
                continue
            stats = _table(stream.get("stats"))
            packets_in += _integer(stats, "packets")
            bytes_in += _integer(stats, "bytes")
            if "packets out" in stats:
                measured_out = True
                packets_out += _integer(stats, "packets out")
                bytes_out += _integer(stats, "bytes out")
            dropped += _integer(stats, "errors")
            quality = stats if "mos" in stats else _of_ssrc(reply, stream)
            lost += _integer(quality, "lost")
            jitter_ms = max(jitter_ms, _integer(quality, "jitter us") / 1000)
            score = _integer(quality, "mos")
            if score:
                scores.append(score / 100)
    figures = LegMedia(
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        lost,
        dropped,
        jitter_ms,
        min(scores, default=0.0),
        codec,
    )
    return _Sum(figures, measured_out)


def _of_ssrc(reply: Message, stream: Mapping[str, Any]) -> dict[str, int]:
    """What rtpengine learned from RTCP about the source of a stream: MOS is ten times itself."""
    entry = _table(_table(reply.get("SSRC")).get(str(stream.get("SSRC", ""))))
    average = _table(entry.get("average MOS"))
    return {
        "lost": _integer(entry, "cumulative loss"),
        "jitter us": _integer(average, "jitter") * 1000,
        "mos": _integer(average, "MOS") * 10,
    }


def _peer_of(party: Mapping[str, Any], tags: Mapping[str, Any], tag: str) -> str:
    for subscription in _tables(party.get("subscriptions")):
        return str(subscription.get("tag", ""))
    others = [other for other in tags if other != tag]
    return others[0] if len(others) == 1 else ""


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield item


def _integer(table: Mapping[str, Any], key: str) -> int:
    value = table.get(key)
    return value if isinstance(value, int) else 0
