"""One offer or answer: ports reserved, text rewritten, media connected. RFC 3264.

Fed by ``media.server.service`` with a call and a request; feeds ``paths`` and, through the port
pools, the relay.

What an offer says takes effect when it is answered (RFC 3264 §8.3.1: the offerer must be ready
for media at the old place until then). So a refused re-INVITE, of which nobody tells us, leaves
the media as it was. Ports toward both sides are reserved with the offer: if there are none, the
call is refused before anybody's telephone rings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from media.errors import MediaError, NgRequestError
from media.native.relay import Relay
from media.sdp import negotiator
from media.sdp.description import Description, MediaDescription, parse
from media.sdp.negotiator import REJECTED, MediaPorts, OriginLine, Rewrite
from media.server.addresses import Interface, Network
from media.server.calls import Call, Face, Offer, Party, Side
from media.server.options import ExchangeOptions
from media.server.paths import Paths
from media.server.ports import PortPool, Rng

#: ``o=`` lines kept for ``origin-key``: more legs than one server carries at a time.
MAX_ORIGINS: Final = 10_000
#: Each of these asks for a part of the line to be ours; the parts belong together.
_OWNS_ORIGIN: Final = frozenset(("origin", "SDP-version", "sess-version", "username"))
#: Names that rtpengine's clients send whatever the interfaces are called.
_ANY_INTERFACE: Final = frozenset(("", "default", "internal", "external", "priv", "pub"))


class Rewritten(NamedTuple):
    """The description for the other party."""

    sdp: str
    warning: str = ""


class Exchange:
    """Carries offers and answers out; holds what is common to all calls and no call itself."""

    def __init__(
        self,
        relay: Relay,
        rng: Rng,
        interfaces: Sequence[Interface],
        pools: Mapping[str, PortPool],
        *,
        internal: Sequence[Network] = (),
    ) -> None:
        """``pools`` by local address."""
        self._relay = relay
        self._rng = rng
        self._interfaces = {interface.name: interface for interface in interfaces}
        self._default = interfaces[0]
        self._pools = pools
        self._loop_mark = f"{rng.getrandbits(48):012x}"
        self._origins: OrderedDict[str, OriginLine] = OrderedDict()
        own_hosts = dict(pools)
        for interface in interfaces:
            for family, local in (("IP4", interface.ip4), ("IP6", interface.ip6)):
                if local:
                    own_hosts[interface.advertised(family)] = pools[local]
        self.paths: Final = Paths(relay, own_hosts, internal)
        self.owners: dict[int, tuple[Call, Side]] = {}
        """Whose stream each open RTP handle is."""

    # -- offer ------------------------------------------------------------------------------

    def offer(
        self, call: Call, party: Party, text: str, options: ExchangeOptions, now: float
    ) -> Rewritten:
        """Return the offer for the other side. Raises :class:`MediaError`; ports that were
        opened for it are then closed, and what was agreed before stays in force."""
        description = parse(text)
        media_count = len(description.medias)
        if options.loop_protect and negotiator.loops(description, self._loop_mark):
            call.offer = Offer(party, description, options, media_count, loops=True)
            return Rewritten(text)
        if call.offer is not None:
            negotiator.check_reoffer(call.offer.description, description)
        side, other = party.side, call.opposite(party.side)
        self.choose_interfaces(side, other, options)
        call.add_medias(len(description.medias))
        fresh: list[Face] = []
        try:
            self._reserve(call, side, other, description, options, fresh, now)
            ports = [
                _offer_ports(face, media, options)
                for face, media in zip(other.faces, description.medias, strict=False)
            ]
            rewritten = self._print(description, other, ports, options)
        except MediaError:
            for face in fresh:
                self.release(face, now)
            raise
        call.offer = Offer(party, description, options, media_count)
        if side.current is None:
            side.take_over(party, self._relay)
        return Rewritten(rewritten, "ICE is removed" if options.wants_ice else "")

    def new_origin(self, side: Side, options: ExchangeOptions) -> OriginLine:
        """The ``o=`` line that the party of this side sees, kept for the life of its dialog."""
        kept = self._origins.get(options.origin_key) if options.origin_key else None
        side.origin = kept or side.origin or OriginLine(self._rng.getrandbits(31) | 1)
        return side.origin

    def choose_interfaces(self, side: Side, other: Side, options: ExchangeOptions) -> None:
        """``direction`` names the offerer's interface and the other one."""
        for chosen, name in zip((side, other), options.direction, strict=False):
            if name in self._interfaces:
                chosen.interface = name
            elif name not in _ANY_INTERFACE:
                raise NgRequestError(f"no interface is named {name}")

    def _reserve(
        self,
        call: Call,
        side: Side,
        other: Side,
        description: Description,
        options: ExchangeOptions,
        fresh: list[Face],
        now: float,
    ) -> None:
        """Have ports toward both parties for all living media, in one family a side."""
        living = [media for media in description.medias if media.port and media.is_datagram]
        family = next((media.connection.family for media in living if media.connection), "IP4")
        kept = next((face.family for face in other.faces if face.pair is not None), family)
        own_rtcp = not options.mux & {"demux", "accept"}
        other_rtcp = "require" not in options.mux
        for index, media in enumerate(description.medias):
            if not media.port or not media.is_datagram:
                continue
            rtcp = media.is_rtp_family and (own_rtcp or not media.rtcp_mux)
            self.reserve_face(call, side, index, family, rtcp, fresh, now)
            rtcp = media.is_rtp_family and other_rtcp
            wanted = options.address_family or kept
            self.reserve_face(call, other, index, wanted, rtcp, fresh, now)

    def reserve_face(
        self,
        call: Call,
        side: Side,
        index: int,
        wanted: str,
        rtcp: bool,
        fresh: list[Face],
        now: float,
    ) -> None:
        """Have ports for one media toward the party of a side; what had to be opened is added to
        ``fresh``. Raises :class:`media.errors.NoPorts`."""
        interface = self.interface(side)
        family = interface.family(wanted)
        pool = self._pools[interface.local(family)]
        face = side.faces[index]
        if face.pair is not None:  # ports stay for the life of the media
            if face.pool is pool and (not rtcp or pool.open_rtcp(face.pair, self._relay)):
                return
            self.release(face, now)
        pair = face.open(pool, family, rtcp, self._relay, now)
        self.owners[pair.rtp] = (call, side)
        fresh.append(face)

    def release(self, face: Face, now: float) -> None:
        """Give the ports of a face back."""
        if face.pair is not None:
            del self.owners[face.pair.rtp]
            face.release(self._relay, now)

    def interface(self, side: Side) -> Interface:
        """The interface that faces the party of a side."""
        return self._interfaces.get(side.interface, self._default)

    # -- answer -----------------------------------------------------------------------------

    def answer(
        self, call: Call, party: Party, text: str, options: ExchangeOptions, now: float
    ) -> Rewritten:
        """Return the answer for the offerer and let media flow. Raises :class:`MediaError`."""
        offer = call.offer
        assert offer is not None  # `Call.answerer` found it
        if offer.loops:
            return Rewritten(text)
        description = parse(text)
        negotiator.check_answer(offer.description, description)
        side, other = offer.party.side, party.side
        side.take_over(offer.party, self._relay)
        other.take_over(party, self._relay)
        ports: list[MediaPorts] = []
        warning = ""
        medias = zip(offer.description.medias, description.medias, strict=True)
        for face, sink, (offered, answered) in zip(side.faces, other.faces, medias, strict=False):
            if not offered.port or not answered.port or face.pair is None or sink.pair is None:
                answered.port = 0  # RFC 3264 §6: what was offered with port 0 is answered so
                self._reject(face, offered, now)
                self._reject(sink, answered, now)
                ports.append(REJECTED)
                continue
            face.mux = offered.rtcp_mux and _accepts_mux(answered, offer.options)
            sink.mux = answered.rtcp_mux and _offers_mux(offered, offer.options)
            face.codecs = sink.codecs = negotiator.negotiated(offered, answered)
            refused = self.paths.describe(face, offered, offer.options)
            warning = self.paths.describe(sink, answered, options) or refused or warning
            self.paths.connect(face, sink)
            ports.append(_answer_ports(face, offered))
        del description.medias[offer.media_count :]
        call.answered = call.answered or not options.provisional
        sdp = self._print(description, side, ports, options, offer.description.medias)
        self.remember_origin(party)
        self.remember_origin(offer.party)
        return Rewritten(sdp, warning)

    def _reject(self, face: Face, media: MediaDescription, now: float) -> None:
        """End a media that ran. One that did not keeps its ports until the call is looked at
        the next time: another branch of a fork may still accept it."""
        if face.config is not None:
            self.release(face, now)
        face.description = media if media.is_rejected else negotiator.rejected(media)

    # -- text -------------------------------------------------------------------------------

    def _print(
        self,
        description: Description,
        side: Side,
        ports: Sequence[MediaPorts],
        options: ExchangeOptions,
        offered: Sequence[MediaDescription] = (),
    ) -> str:
        """The description for the party of ``side``."""
        interface = self.interface(side)
        family = next((face.family for face in side.faces if face.pair is not None), "")
        family = interface.family(family or options.address_family)
        host = options.media_address or interface.advertised(family)
        owned = bool(options.replace & _OWNS_ORIGIN)
        if owned:
            self.new_origin(side, options)
        return negotiator.rewrite(
            description,
            Rewrite(
                family="IP6" if ":" in host else "IP4",
                host=host,
                medias=ports,
                origin=side.origin if owned else None,
                session_name="session-name" in options.replace,
                zero_address="zero-address" in options.replace,
                strip_crypto=options.strip_crypto,
                rtcp_attribute=options.rtcp_attribute,
                proto=options.proto,
                loop_mark=self._loop_mark if options.loop_protect else "",
                offered=offered,
            ),
        )

    def remember_origin(self, party: Party, key: str = "") -> None:
        """Keep the line that a leg saw under `key`, or its tag: ``origin-key`` of a later call may
        name it, when the leg gets another peer in its old dialog (transfer)."""
        origin = party.side.origin
        if origin is not None:
            key = key or party.tag
            self._origins[key] = origin
            self._origins.move_to_end(key)
            if len(self._origins) > MAX_ORIGINS:
                self._origins.popitem(last=False)


def _offer_ports(face: Face, media: MediaDescription, options: ExchangeOptions) -> MediaPorts:
    """What the answerer is told; 0 for what was refused or cannot be relayed."""
    pair = face.pair
    if not media.port or pair is None or not media.is_datagram:
        return REJECTED
    if not media.is_rtp_family:
        return MediaPorts(pair.port)
    rtcp = pair.port if "require" in options.mux else pair.port + 1
    return MediaPorts(pair.port, rtcp, mux=_offers_mux(media, options))


def _answer_ports(face: Face, media: MediaDescription) -> MediaPorts:
    """What the offerer is told."""
    pair = face.pair
    assert pair is not None
    if not media.is_rtp_family:
        return MediaPorts(pair.port)
    return MediaPorts(pair.port, pair.port if face.mux else pair.port + 1, mux=face.mux)


def _offers_mux(media: MediaDescription, options: ExchangeOptions) -> bool:
    """Whether the other side is offered one port for RTP and RTCP (RFC 5761 §5.1.1)."""
    if options.mux & {"offer", "require"}:
        return True
    return media.rtcp_mux and not options.mux & {"demux", "reject"}


def _accepts_mux(answer: MediaDescription, options: ExchangeOptions) -> bool:
    """Whether the offerer, who offered it, is answered with it."""
    if "reject" in options.mux:
        return False
    return answer.rtcp_mux or bool(options.mux & {"demux", "accept"})
