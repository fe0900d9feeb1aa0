"""Calls whose other party is this service: ports, terms and the leg of the audio path.

Fed by ``media.server.audio`` with requests; feeds the relay's configuration (a stream without a
sink, tapped) and ``media.graph``. Such a call is an ordinary :class:`media.server.calls.Call`
with one side only, so that figures, time-outs and orphans are those of relayed calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from media.bank import StreamSetup
from media.errors import MediaError, NgRequestError, SdpError
from media.graph import AudioGraph, Leg
from media.native.relay import Relay, StreamConfig
from media.sdp.description import INACTIVE, RECVONLY, SENDONLY, SENDRECV, Codec, parse
from media.server import terms as negotiation
from media.server.calls import Call, Face, Party
from media.server.exchange import Exchange, Rewritten
from media.server.options import ExchangeOptions
from media.server.paths import AUDIO_PACKETS_PER_S

#: RFC 3264 §8.4: what a hold makes of our direction.
_HELD: Final = {SENDRECV: SENDONLY, RECVONLY: INACTIVE, SENDONLY: SENDONLY, INACTIVE: INACTIVE}


class _Offered(NamedTuple):
    """An offer of ours that waits for its answer."""

    direction: str
    mux: bool


class Hosting:
    """Hosts parties; holds the offers that wait, and no more."""

    def __init__(
        self,
        relay: Relay,
        exchange: Exchange,
        graph: AudioGraph,
        codecs: Sequence[tuple[str, int]],
    ) -> None:
        self._relay = relay
        self._exchange = exchange
        self._graph = graph
        self._codecs = tuple(codecs)
        self._offered: dict[str, _Offered] = {}

    def serve(
        self,
        call: Call,
        party: Party,
        text: str,
        options: ExchangeOptions,
        now: float,
        *,
        held: bool = False,
    ) -> Rewritten:
        """Answer an offer of the party; media flows at once.

        ``held``: we do not want to hear it. Raises :class:`MediaError`; ports that were opened
        are then closed, and what was agreed before stays in force.
        """
        description = parse(text)
        agreed = negotiation.choose(description, self._codecs)
        media = description.medias[agreed.line]
        assert media.connection is not None  # the parser demands it of living media
        side = party.side
        self._exchange.choose_interfaces(side, call.opposite(side), options)
        call.add_medias(len(description.medias))
        mux = media.rtcp_mux and "reject" not in options.mux
        fresh: list[Face] = []
        try:
            self._exchange.reserve_face(
                call, side, agreed.line, media.connection.family, not mux, fresh, now
            )
            face = side.faces[agreed.line]
            face.mux = mux
            warning = self._exchange.paths.describe(face, media, options)
            direction = _HELD[agreed.direction] if held else agreed.direction
            self._connect(call, party, face, agreed, direction)
        except MediaError:
            for one in fresh:
                self._exchange.release(one, now)
            raise
        for index, other in enumerate(side.faces):
            if index != agreed.line and other.pair is not None:
                self._exchange.release(other, now)
        self._offered.pop(call.call_id, None)
        place = self._place(face, party, options)
        origin = self._exchange.new_origin(side, options)
        sdp = negotiation.answer(description, agreed, place, origin, direction)
        self._exchange.remember_origin(party, options.origin_key)
        return Rewritten(sdp, warning)

    def create(
        self, call: Call, party: Party, options: ExchangeOptions, now: float, *, held: bool = False
    ) -> Rewritten:
        """An offer of ours to the party, the first or a new one. Raises :class:`MediaError`."""
        side = party.side
        self._exchange.choose_interfaces(side, call.opposite(side), options)
        call.add_medias(1)
        family = options.address_family or side.faces[0].family or "IP4"
        fresh: list[Face] = []
        self._exchange.reserve_face(call, side, 0, family, True, fresh, now)
        direction = SENDONLY if held else SENDRECV
        mux = bool(options.mux & {"offer", "require"})
        self._offered[call.call_id] = _Offered(direction, mux)
        place = self._place(side.faces[0], party, options, mux=mux)
        offered = [key for key in self._codecs if key[0] != "L16"]
        origin = self._exchange.new_origin(side, options)
        return Rewritten(negotiation.offer(offered, place, origin, direction))

    def accept(
        self, call: Call, party: Party, text: str, options: ExchangeOptions, now: float
    ) -> str:
        """Take the party's answer to our offer; returns a warning. Raises :class:`MediaError`."""
        offered = self._offered.get(call.call_id)
        if offered is None:
            raise NgRequestError("No offer of ours to answer")
        description = parse(text)
        agreed = negotiation.choose(description, self._codecs)
        if agreed.line != 0:
            raise SdpError("the answer has more media lines than the offer")
        media = description.medias[0]
        face = party.side.faces[0]
        face.mux = offered.mux and media.rtcp_mux
        warning = self._exchange.paths.describe(face, media, options)
        sends = offered.direction in (SENDRECV, SENDONLY)
        hears = offered.direction in (SENDRECV, RECVONLY)
        direction = agreed.direction
        if not sends or direction in (RECVONLY, INACTIVE):
            sends = False
        if not hears or direction in (SENDONLY, INACTIVE):
            hears = False
        self._connect(call, party, face, agreed, _direction(sends, hears))
        if not options.provisional:
            del self._offered[call.call_id]
        self._exchange.remember_origin(party, options.origin_key)
        return warning

    def forget(self, call: Call) -> None:
        """The call has ended."""
        self._offered.pop(call.call_id, None)

    def _connect(
        self, call: Call, party: Party, face: Face, agreed: negotiation.Terms, direction: str
    ) -> None:
        pair, media = face.pair, face.description
        assert pair is not None
        assert media is not None
        setup = StreamSetup(
            handle=pair.rtp,
            send=agreed.codec,
            send_type=agreed.send_type,
            receive=dict.fromkeys(agreed.receive_types, agreed.codec),
            event_types=agreed.event_types,
            noise_types=agreed.noise_types,
        )
        inband = not agreed.event_types
        leg = self._leg(call, party, setup, agreed.event_type, inband)
        face.codecs = {agreed.send_type: Codec(*agreed.codec)}
        types = agreed.receive_types | agreed.event_types | agreed.noise_types
        config = StreamConfig(
            mux=face.mux,
            remote=face.remote,
            signalling_host=face.signalling_host or None,
            nat=face.nat,
            asymmetric=face.asymmetric,
            learn=face.learn,
            payload_types=frozenset(types),
            max_packets_per_s=AUDIO_PACKETS_PER_S,
            clock_rate=agreed.codec[1],
            generation=face.generation,
            enabled_in=direction in (SENDRECV, RECVONLY),
            enabled_out=direction in (SENDRECV, SENDONLY),
            tap=leg.tap,
        )
        self._apply(pair.rtp, config)
        face.config = config
        if pair.rtcp and not face.mux:
            face.rtcp_config = StreamConfig(
                rtcp=True,
                rtp_stream=pair.rtp,
                remote=face.rtcp_remote,
                signalling_host=face.signalling_host or None,
                nat=face.nat,
                learn=face.learn,
                generation=face.generation,
            )
            self._apply(pair.rtcp, face.rtcp_config)

    def _leg(
        self, call: Call, party: Party, setup: StreamSetup, event_type: int, inband: bool
    ) -> Leg:
        key = (call.call_id, party.tag)
        leg = self._graph.legs.get(key)
        if leg is not None:
            self._graph.configure(leg, setup, event_type, inband)
            return leg
        try:
            return self._graph.open(key, setup, event_type, inband)
        except ValueError as error:
            raise NgRequestError(str(error)) from None

    def _place(
        self, face: Face, party: Party, options: ExchangeOptions, *, mux: bool | None = None
    ) -> negotiation.Place:
        pair = face.pair
        assert pair is not None
        interface = self._exchange.interface(party.side)
        host = options.media_address or interface.advertised(face.family)
        has_mux = face.mux if mux is None else mux
        family = "IP6" if ":" in host else "IP4"
        return negotiation.Place(family, host, pair.port, pair.port + 1, has_mux)

    def _apply(self, handle: int, config: StreamConfig) -> None:
        """The relay has the last word on where it sends: it knows every socket it has open."""
        try:
            self._relay.configure(handle, config)
        except ValueError:
            self._exchange.paths.refused_addresses += 1
            self._relay.configure(handle, replace(config, remote=None))


def _direction(sends: bool, hears: bool) -> str:
    if sends:
        return SENDRECV if hears else SENDONLY
    return RECVONLY if hears else INACTIVE
