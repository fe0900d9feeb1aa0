"""Estimated listening quality (MOS) out of loss, jitter and delay: the E-model, ITU-T G.107.

Fed by the service with the figures of a stream; feeds the statistics of a call. It rates what the
network did to the stream with the defaults of G.107, not the acoustics of the telephones.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Impairment(NamedTuple):
    """How a codec behaves: G.113 Appendix I."""

    ie: float
    """Equipment impairment without loss."""
    bpl: float
    """Robustness against loss; larger is better."""


#: Bpl of G.711 is the one with concealment (25.1, without 4.3): telephones of today conceal.
#: G.722 and Opus have no narrow-band value in G.113; they are rated as G.711 with concealment,
#: which is what a listener of a narrow-band scale would say at worst.
IMPAIRMENTS: Final[dict[str, Impairment]] = {
    "PCMU": Impairment(0, 25.1),
    "PCMA": Impairment(0, 25.1),
    "G722": Impairment(0, 25.1),
    "OPUS": Impairment(0, 25.1),
    "G729": Impairment(11, 19),
    "G723": Impairment(15, 16.1),
    "GSM": Impairment(20, 10),
    "GSM-EFR": Impairment(5, 10),
    "AMR": Impairment(5, 10),
    "AMR-WB": Impairment(5, 10),
    "ILBC": Impairment(11, 32),
}
#: An unknown codec is rated as one that compresses and does not conceal well.
UNKNOWN: Final = Impairment(11, 19)

#: Fewer packets (two seconds of audio) say nothing about a call.
MIN_PACKETS: Final = 100


def r_factor(delay_ms: float, loss_percent: float, codec: str) -> float:
    """Transmission rating R (0-93.2) for a one-way mouth-to-ear ``delay_ms``."""
    ie, bpl = IMPAIRMENTS.get(codec.upper(), UNKNOWN)
    delay_impairment = 0.024 * delay_ms
    if delay_ms > 177.3:
        delay_impairment += 0.11 * (delay_ms - 177.3)
    effective = ie + (95.0 - ie) * loss_percent / (loss_percent + bpl)
    return max(0.0, 93.2 - delay_impairment - effective)


def mos_of_r(r: float) -> float:
    """Mean opinion score (1-4.5) of a rating, G.107 Annex B."""
    if r <= 0.0:
        return 1.0
    if r >= 100.0:
        return 4.5
    return max(1.0, 1.0 + 0.035 * r + 7e-6 * r * (r - 60.0) * (100.0 - r))


def playout_delay_ms(jitter_ms: float) -> float:
    """Delay of a usual adaptive jitter buffer: one 20 ms frame and three times the jitter."""
    return min(200.0, max(40.0, 20.0 + 3.0 * jitter_ms))


def mos(
    *, received: int, lost: int, jitter_ms: float, codec: str, round_trip_ms: float = 0.0
) -> float:
    """MOS of one stream, or 0.0 when too few packets were seen.

    The network's share of the delay is half the round trip, if RTCP told one.
    """
    if received < MIN_PACKETS:
        return 0.0
    lost = max(0, lost)  # duplicates make the count negative, RFC 3550 §6.4.1
    loss_percent = 100.0 * lost / (received + lost)
    delay_ms = playout_delay_ms(jitter_ms) + round_trip_ms / 2.0
    return round(mos_of_r(r_factor(delay_ms, loss_percent, codec)), 2)
