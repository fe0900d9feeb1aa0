"""The replies to ``query`` and ``delete``: rtpengine's shape, with our fields beside.

Fed by ``media.server.service``; read by any NG client, and by ``media.ng.figures``. Fields that
rtpengine does not have are listed in ``docs/ng-extensions.md``.
"""

from __future__ import annotations

from media.mos import mos
from media.native.relay import Relay, StreamStats
from media.ng.messages import Message
from media.server.calls import Call, Face, Figures, Party, own_figures


def report(call: Call, relay: Relay, now: float, wall_offset_s: float) -> Message:
    """All that is known of a call. ``wall_offset_s``: Unix time minus ``now``."""
    tags: Message = {}
    totals = Figures()
    for tag, party in call.parties.items():
        tags[tag] = _party(call, party, relay, now, wall_offset_s)
    for face in call.faces():
        totals = totals.plus(face.figures(relay))
    created = call.created + wall_offset_s
    return {
        "created": int(created),
        "created_us": int(created % 1 * 1_000_000),
        "last signal": int(call.last_signal + wall_offset_s),
        "SSRC": {},
        "tags": tags,
        "totals": {
            "RTP": {
                "packets": totals.packets_in,
                "bytes": totals.bytes_in,
                "errors": totals.dropped,
            },
            "RTCP": {"packets": totals.rtcp_in, "bytes": 0, "errors": 0},
        },
    }


def _party(call: Call, party: Party, relay: Relay, now: float, wall_offset_s: float) -> Message:
    side = party.side
    other = call.opposite(side).current
    counted = [face.figures(relay) for face in side.faces]
    peers: list[Message] = []
    if other is not None:
        peers = [{"tag": other.tag, "type": "offer/answer"}]
    medias: list[Message] = []
    figures = own_figures(party, counted)
    is_current = side.current is party
    for index, (face, own) in enumerate(zip(side.faces, figures, strict=True)):
        if face.description is not None:
            medias.append(_media(call, index, face, own, is_current, relay, now, wall_offset_s))
    return {
        "tag": party.tag,
        "created": int(party.created + wall_offset_s),
        "subscriptions": peers,
        "subscribers": peers if is_current else [],
        "medias": medias,
    }


def _media(
    call: Call,
    index: int,
    face: Face,
    own: Figures,
    is_current: bool,
    relay: Relay,
    now: float,
    wall_offset_s: float,
) -> Message:
    description = face.description
    assert description is not None
    codec = next((codec.name for codec in face.codecs.values()), "")
    flags = ["initialized"]
    if description.direction in ("sendrecv", "sendonly"):
        flags.append("send")
    if description.direction in ("sendrecv", "recvonly"):
        flags.append("recv")
    if face.mux:
        flags.append("rtcp-mux")
    media: Message = {
        "index": index + 1,
        "type": description.kind,
        "protocol": description.proto,
        "codec": codec,
        "streams": [],
        "flags": flags,
    }
    stats = None
    if face.pair is not None:
        stats = relay.stats(face.pair.rtp)
    media["streams"].append(_rtp(call, face, own, codec, stats, is_current, now, wall_offset_s))
    if face.pair is not None and face.pair.rtcp and not face.mux:
        media["streams"].append(_rtcp(face, own))
    return media


def _rtp(
    call: Call,
    face: Face,
    own: Figures,
    codec: str,
    stats: StreamStats | None,
    is_current: bool,
    now: float,
    wall_offset_s: float,
) -> Message:
    jitter_ms = 0.0
    round_trip_ms = 0.0
    heard = call.created
    if stats is not None and face.config is not None and is_current:
        if face.config.clock_rate:
            jitter_ms = 1000.0 * stats.jitter / face.config.clock_rate
        round_trip_ms = 1000.0 * (stats.round_trip_s or 0.0)
        if stats.last_packet_age_s is not None:
            heard = now - stats.last_packet_age_s
    score = 0.0
    if face.description is not None and face.description.kind == "audio":
        score = mos(
            received=own.packets_in,
            lost=own.lost,
            jitter_ms=jitter_ms,
            codec=codec,
            round_trip_ms=round_trip_ms,
        )
    stream: Message = {
        "last packet": int(heard + wall_offset_s),
        "flags": ["RTP", "filled"] if face.remote is not None else ["RTP"],
        "stats": {
            "packets": own.packets_in,
            "bytes": own.bytes_in,
            "errors": own.dropped,
            "packets out": own.packets_out,
            "bytes out": own.bytes_out,
            "lost": max(0, own.lost),
            "jitter us": round(1000.0 * jitter_ms),
            "mos": round(100.0 * score),
        },
    }
    _addresses(stream, face, 0)
    if stats is not None:
        if stats.ssrc is not None:
            stream["SSRC"] = stats.ssrc
        if stats.dropped:
            stream["stats"]["dropped"] = {
                reason.value: count for reason, count in stats.dropped.items()
            }
        if stats.locked is not None:
            stream["endpoint"] = _endpoint(*stats.locked)
            if face.nat:
                stream["flags"].append("confirmed")
    return stream


def _rtcp(face: Face, own: Figures) -> Message:
    stream: Message = {
        "flags": ["RTCP", "filled"] if face.rtcp_remote is not None else ["RTCP"],
        "stats": {"packets": own.rtcp_in, "bytes": 0, "errors": 0, "packets out": own.rtcp_out},
    }
    _addresses(stream, face, 1)
    return stream


def _addresses(stream: Message, face: Face, component: int) -> None:
    """Our port, and the peer's address as its description told it."""
    if face.pair is not None:
        stream["local port"] = face.pair.port + component
        stream["local address"] = face.pair.host
        stream["family"] = "IPv6" if face.family == "IP6" else "IPv4"
    remote = face.rtcp_remote if component else face.remote
    if remote is not None:
        stream["advertised endpoint"] = stream["endpoint"] = _endpoint(*remote)


def _endpoint(host: str, port: int) -> Message:
    return {"family": "IPv6" if ":" in host else "IPv4", "address": host, "port": port}
