"""One media session between two legs, and its figures for the call record.

A bridge is one call of the media service: joining other legs (a transfer) makes a new bridge
with new ports, so that no state of the old parties survives and every media engine that speaks
the protocol behaves alike (see ``docs/adr``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from media.ng.figures import LegMedia
from pbx.calls.leg import Leg
from pbx.calls.media import NoMedia
from pbx.calls.ports import MediaParty, MediaPort, MediaReply
from pbx.domain.calls import MediaAllocated, MediaStats

if TYPE_CHECKING:
    from pbx.calls.call import Call

Done = Callable[[MediaReply, float], None]


class Direct(NoMedia):
    """For sessions with a program: the media service hosts its party, nothing is relayed."""

    name = "hosted"


_DIRECT = Direct()


class Bridge:
    """A session of the media service; released exactly once."""

    __slots__ = ("_media", "_offerer_tag", "call", "id", "released")

    def __init__(self, call: Call, *, direct: bool = False) -> None:
        """`direct`: a program is at one end, also if it is not named yet."""
        self.call = call
        self._media: MediaPort = _DIRECT if direct else call.node.media
        self.id = call.next_bridge_id()
        self.released = False
        self._offerer_tag = ""
        """Leg of the first offer; empty while the service holds nothing for this bridge."""
        call.node.bridges[self.id] = self
        call.bridges.append(self)

    def offer(
        self, offerer: Leg, answerer: Leg | None, body: bytes, now: float, done: Done
    ) -> None:
        """Have the offer of `offerer` rewritten for `answerer` (None: not known yet)."""
        if self.released:
            return
        if not self._offerer_tag and (
            offerer.program or (answerer is not None and answerer.program)
        ):
            self._media = _DIRECT
        # The service is asked, so it may hold ports from now on even if the reply is lost.
        self._offerer_tag = self._offerer_tag or offerer.id
        other = answerer.party() if answerer is not None else None
        self._media.offer(self.id, offerer.party(), other, body, now, self._guard(done))

    def answer(
        self,
        offerer: Leg,
        answerer: Leg,
        body: bytes,
        now: float,
        done: Done,
        *,
        early: bool = False,
    ) -> None:
        """Have the answer of `answerer` rewritten for `offerer`; `early` while it still rings."""
        if self.released:
            return
        self._media.answer(
            self.id,
            offerer.party(),
            answerer.party(),
            body,
            now,
            self._guard(done),
            early=early,
        )

    def answer_alone(self, offerer: Leg, body: bytes, now: float, done: Done) -> None:
        """As :meth:`answer`, while nobody is at the other end yet."""
        if not self.released:
            party = offerer.party()
            nobody = MediaParty(f"{offerer.id}.0", "", "")
            self._media.answer(self.id, party, nobody, body, now, self._guard(done))

    def note_allocated(self, now: float) -> None:
        """The first offer was accepted: a fact of the call."""
        call = self.call
        call.journal.write(
            MediaAllocated(
                bridge=self.id,
                engine=self._media.name,
                elapsed_ms=call.journal.elapsed_ms(now),
            )
        )

    def release(self, now: float) -> None:
        """Free the ports and write the figures; the call waits for them. Again: nothing."""
        if self.released:
            return
        self.released = True
        call = self.call
        call.node.bridges.pop(self.id, None)
        call.bridges.remove(self)
        if self._offerer_tag:
            call.releasing += 1
            self._media.delete(self.id, self._offerer_tag, now, self._figures)

    def _figures(self, by_leg: Mapping[str, LegMedia], now: float) -> None:
        call = self.call
        for leg_id, leg in by_leg.items():
            call.journal.write(
                MediaStats(
                    leg_id=leg_id,
                    bridge=self.id,
                    codec=leg.codec,
                    packets_in=leg.packets_in,
                    packets_out=leg.packets_out,
                    bytes_in=leg.bytes_in,
                    bytes_out=leg.bytes_out,
                    packets_lost=leg.lost,
                    packets_dropped=leg.dropped,
                    jitter_ms=leg.jitter_ms,
                    mos=leg.mos,
                )
            )
        call.bridge_released(now)

    def _guard(self, done: Done) -> Done:
        """A reply that comes after the release is nobody's."""

        def checked(reply: MediaReply, now: float) -> None:
            if not self.released:
                done(reply, now)

        return checked
