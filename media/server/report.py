"""The replies to ``query`` and ``delete``: rtpengine's shape, with our fields beside.

Fed by ``media.server.service``; read by any NG client, and by ``media.ng.figures``. Fields that
rtpengine does not have are listed in ``docs/ng-extensions.md``.
"""

from __future__ import annotations

from media.mos import mos
from media.native.relay import Relay, StreamStats
from media.ng.messages import Message
from media.server.calls import Call, Count, Face, Figures, Party, Side, own_figures


class Report:
    """One reply in the making: the relay is asked once for each stream."""

    __slots__ = ("_call", "_counts", "_now", "_wall_offset_s")

    def __init__(self, call: Call, relay: Relay, now: float, wall_offset_s: float) -> None:
        """``wall_offset_s``: Unix time minus ``now``."""
        self._call = call
        self._now = now
        self._wall_offset_s = wall_offset_s
        self._counts: dict[int, list[Count]] = {
            side.index: [face.count(relay) for face in side.faces] for side in call.sides
        }

    def message(self) -> Message:
        """All that is known of the call."""
        call = self._call
        total = Figures()
        for counts in self._counts.values():
            for count in counts:
                total = total.plus(count.total)
        created = call.created + self._wall_offset_s
        return {
            "created": int(created),
            "created_us": int(created % 1 * 1_000_000),
            "last signal": self._wall(call.last_signal),
            "SSRC": {},
            "tags": {tag: self._party(party) for tag, party in call.parties.items()},
            "totals": {
                "RTP": {
                    "packets": total.packets_in,
                    "bytes": total.bytes_in,
                    "errors": total.dropped,
                },
                "RTCP": {"packets": total.rtcp_in, "bytes": 0, "errors": 0},
            },
        }

    def _wall(self, now: float) -> int:
        return int(now + self._wall_offset_s)

    def _party(self, party: Party) -> Message:
        side = party.side
        is_current = side.current is party
        peer = self._call.opposite(side).current
        peers = [] if peer is None else [{"tag": peer.tag, "type": "offer/answer"}]
        counts = self._counts[side.index]
        own = own_figures(party, [count.total for count in counts])
        return {
            "tag": party.tag,
            "created": self._wall(party.created),
            "subscriptions": peers,
            "subscribers": peers if is_current else [],
            "medias": self._medias(side, counts, own, is_current),
        }

    def _medias(
        self, side: Side, counts: list[Count], own: list[Figures], is_current: bool
    ) -> list[Message]:
        medias: list[Message] = []
        for index, face in enumerate(side.faces):
            description = face.description
            if description is None:  # offered, not answered yet
                continue
            codec = next((codec.name for codec in face.codecs.values()), "")
            # The figures that do not add up are those of the branch that has the media now.
            stats = counts[index].rtp if is_current else None
            streams = [self._rtp(face, own[index], codec, stats)]
            if face.pair is not None and face.pair.rtcp and not face.mux:
                streams.append(_rtcp(face, own[index]))
            medias.append(
                {
                    "index": index + 1,
                    "type": description.kind,
                    "protocol": description.proto,
                    "codec": codec,
                    "streams": streams,
                    "flags": _media_flags(face, description.direction),
                }
            )
        return medias

    def _rtp(self, face: Face, own: Figures, codec: str, stats: StreamStats | None) -> Message:
        heard = self._call.created
        jitter_ms = round_trip_ms = 0.0
        flags = ["RTP"] if face.remote is None else ["RTP", "filled"]
        stream: Message = {"flags": flags}
        _addresses(stream, face, 0)
        dropped: Message = {}
        if stats is not None:
            round_trip_ms = 1000.0 * (stats.round_trip_s or 0.0)
            if face.config is not None and face.config.clock_rate:
                jitter_ms = 1000.0 * stats.jitter / face.config.clock_rate
            if stats.last_packet_age_s is not None:
                heard = self._now - stats.last_packet_age_s
            if stats.ssrc is not None:
                stream["SSRC"] = stats.ssrc
            if stats.locked is not None:
                stream["endpoint"] = _endpoint(*stats.locked)
                if face.nat:
                    flags.append("confirmed")
            dropped = {reason.value: count for reason, count in stats.dropped.items()}
        score = 0.0
        if face.description is not None and face.description.kind == "audio":
            score = mos(
                received=own.packets_in,
                lost=own.lost,
                jitter_ms=jitter_ms,
                codec=codec,
                round_trip_ms=round_trip_ms,
            )
        stream["last packet"] = self._wall(heard)
        stream["stats"] = {
            "packets": own.packets_in,
            "bytes": own.bytes_in,
            "errors": own.dropped,
            "packets out": own.packets_out,
            "bytes out": own.bytes_out,
            "lost": max(0, own.lost),
            "jitter us": round(1000.0 * jitter_ms),
            "mos": round(100.0 * score),
            "dropped": dropped,
        }
        return stream


def _rtcp(face: Face, own: Figures) -> Message:
    flags = ["RTCP"] if face.rtcp_remote is None else ["RTCP", "filled"]
    stream: Message = {"flags": flags}
    _addresses(stream, face, 1)
    stream["stats"] = {
        "packets": own.rtcp_in,
        "bytes": 0,
        "errors": 0,
        "packets out": own.rtcp_out,
    }
    return stream


def _media_flags(face: Face, direction: str) -> list[str]:
    flags = ["initialized"]
    if direction in ("sendrecv", "sendonly"):
        flags.append("send")
    if direction in ("sendrecv", "recvonly"):
        flags.append("recv")
    if face.mux:
        flags.append("rtcp-mux")
    return flags


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
