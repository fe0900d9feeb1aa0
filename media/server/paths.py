"""From what two parties said of themselves to the relay's configuration of their streams.

Fed by ``media.server.exchange`` when an answer completes an offer; feeds the relay. Where media
may be sent is decided in ``addresses``, who may send in the relay's latch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from media.native.relay import LearnPolicy, Relay, StreamConfig
from media.sdp.description import MediaDescription
from media.sdp.negotiator import may_send
from media.server.addresses import Network, Placement, place
from media.server.calls import Face
from media.server.options import ExchangeOptions
from media.server.ports import PortPool

#: Audio at 10 ms packets is 100/s; four times that lets bursts after a stall pass.
AUDIO_PACKETS_PER_S: Final = 400
#: A key frame of high-definition video is a burst of hundreds of packets.
VIDEO_PACKETS_PER_S: Final = 10_000
#: UDPTL sends a page image at 33 packets/s with redundancy; data channels burst.
OTHER_PACKETS_PER_S: Final = 2_000
_PACKETS_PER_S: Final[Mapping[str, int]] = {
    "audio": AUDIO_PACKETS_PER_S,
    "video": VIDEO_PACKETS_PER_S,
}


class Paths:
    """Makes streams of a relay each other's sink; knows which addresses are our own."""

    def __init__(
        self, relay: Relay, own_hosts: Mapping[str, PortPool], internal: Sequence[Network] = ()
    ) -> None:
        """``own_hosts``: pools by local and by advertised address."""
        self._relay = relay
        self._own_hosts = own_hosts
        self._internal = internal
        self.refused_addresses = 0
        """Descriptions that pointed where media is never sent."""

    def describe(self, face: Face, media: MediaDescription, options: ExchangeOptions) -> str:
        """Take over what a party said of itself; returns why its address is refused, if it is.

        A new place raises the generation, which makes the relay learn again.
        """
        connection = media.connection
        assert connection is not None  # the parser demands it of living media
        face.description = media
        face.asymmetric = options.asymmetric
        face.learn = options.learn or LearnPolicy.SIGNALLING_IP
        if connection.is_zero:
            return ""  # a hold in the old manner: the party stays where it was
        before = (face.remote, face.rtcp_remote, face.signalling_host, face.nat)
        host = options.received_from if options.source_address else connection.host
        placement = self._place(face, host, media.port, options)
        face.signalling_host = options.received_from
        # Signalling may know of a NAT that the description does not show (ports rewritten).
        face.nat = placement.nat or options.source_address or options.learn is not None
        face.remote = (host, media.port) if placement.usable else None
        face.rtcp_remote = None
        if face.remote is not None and media.is_rtp_family:
            if media.rtcp_port and media.rtcp_host in ("", connection.host):
                face.rtcp_remote = (host, media.rtcp_port)
            elif media.port < 65_535:  # RFC 3550 §11
                face.rtcp_remote = (host, media.port + 1)
        if before != (face.remote, face.rtcp_remote, face.signalling_host, face.nat):
            face.generation += 1
        if placement.reason:
            self.refused_addresses += 1
        return placement.reason

    def connect(self, one: Face, two: Face) -> None:
        """Make two described faces each other's sink."""
        self._configure(one, two)
        self._configure(two, one)

    def _place(self, face: Face, host: str, port: int, options: ExchangeOptions) -> Placement:
        assert face.pair is not None
        pool = self._own_hosts.get(host)
        if pool is not None and pool.owns(port):
            return Placement(usable=False, nat=True, reason="media would return to this relay")
        placement = place(host, options.received_from, face.pair.host, internal=self._internal)
        if placement.usable and (":" in host) != (face.family == "IP6"):
            reason = f"{host} is not of the family of the relay's address"
            return Placement(usable=False, nat=True, reason=reason)
        return placement

    def _configure(self, face: Face, sink: Face) -> None:
        """Give the relay the streams of ``face``; what did not change is left alone."""
        pair, out = face.pair, sink.pair
        media, theirs = face.description, sink.description
        assert pair is not None
        assert out is not None
        assert media is not None
        assert theirs is not None
        rtcp_sink = out.rtcp if not sink.mux else 0
        config = StreamConfig(
            sink=out.rtp,
            rtcp_sink=rtcp_sink,
            mux=face.mux,
            remote=face.remote,
            signalling_host=face.signalling_host or None,
            nat=face.nat,
            asymmetric=face.asymmetric,
            learn=face.learn,
            payload_types=frozenset(face.codecs) if media.is_rtp else None,
            max_packets_per_s=_PACKETS_PER_S.get(media.kind, OTHER_PACKETS_PER_S),
            clock_rate=_clock_rate(face),
            generation=face.generation,
            enabled_in=may_send(media.direction, theirs.direction) and not _on_zero(theirs),
            enabled_out=may_send(theirs.direction, media.direction) and not _on_zero(media),
        )
        if config != face.config:
            self._apply(pair.rtp, config)
            face.config = config
        if not pair.rtcp or face.mux:
            return
        rtcp_config = StreamConfig(
            sink=rtcp_sink or out.rtp,
            rtcp=True,
            rtp_stream=pair.rtp,
            remote=face.rtcp_remote,
            signalling_host=face.signalling_host or None,
            nat=face.nat,
            learn=face.learn,
            generation=face.generation,
        )
        if rtcp_config != face.rtcp_config:
            self._apply(pair.rtcp, rtcp_config)
            face.rtcp_config = rtcp_config

    def _apply(self, handle: int, config: StreamConfig) -> None:
        """The relay has the last word on where it sends: it knows every socket it has open."""
        try:
            self._relay.configure(handle, config)
        except ValueError:
            self.refused_addresses += 1
            self._relay.configure(handle, replace(config, remote=None))


def _on_zero(media: MediaDescription) -> bool:
    return media.connection is not None and media.connection.is_zero


def _clock_rate(face: Face) -> int:
    """Of the preferred codec; 0 (no jitter figure) if its rate is not known or not sane."""
    for codec in face.codecs.values():
        return codec.clock_rate if codec.clock_rate <= 192_000 else 0
    return 0
