"""Figures of a party, read from the replies of both engines."""

from __future__ import annotations

from typing import Any

import pytest

from media.ng.figures import LegMedia, leg_media
from media.ng.messages import Message


def stream(flag: str, packets: int, **more: Any) -> Message:
    return {
        "flags": [flag],
        "stats": {"packets": packets, "bytes": packets * 172, "errors": 1},
    } | more


def rtpengine() -> Message:
    """The shape of rtpengine 10.5: counts of what came in, quality by SSRC from RTCP."""
    return {
        "result": "ok",
        "SSRC": {
            "77": {
                "cumulative loss": 12,
                "average MOS": {"MOS": 43, "jitter": 5, "packet loss": 1},
            }
        },
        "tags": {
            "a": {
                "subscriptions": [{"tag": "b", "type": "offer/answer"}],
                "medias": [
                    {
                        "codec": "PCMA/8000",
                        "streams": [stream("RTP", 500, SSRC=77), stream("RTCP", 3)],
                    }
                ],
            },
            "b": {
                "subscriptions": [{"tag": "a", "type": "offer/answer"}],
                "medias": [{"streams": [stream("RTP", 400), stream("RTCP", 3)]}],
            },
        },
    }


def test_rtpengines_out_is_what_came_from_the_other_party() -> None:
    assert leg_media(rtpengine(), "a") == LegMedia(
        packets_in=500,
        packets_out=400,
        bytes_in=500 * 172,
        bytes_out=400 * 172,
        lost=12,
        dropped=1,
        jitter_ms=5.0,
        mos=4.3,
        codec="PCMA",
    )
    assert leg_media(rtpengine(), "b").packets_out == 500


def test_the_peer_is_found_without_subscriptions_too() -> None:
    reply = rtpengine()
    for party in reply["tags"].values():
        del party["subscriptions"]
    assert leg_media(reply, "a").packets_out == 400
    reply["tags"]["c"] = {}
    assert leg_media(reply, "a").packets_out == 0
    assert leg_media(reply, "a", "b").packets_out == 400


def test_our_service_measures_both_directions() -> None:
    stats = {
        "packets": 500,
        "bytes": 86_000,
        "errors": 3,
        "packets out": 490,
        "bytes out": 84_280,
        "lost": 4,
        "jitter us": 1500,
        "mos": 431,
    }
    audio = {"codec": "PCMA", "streams": [{"flags": ["RTP", "filled"], "stats": stats}]}
    video = {"codec": "VP8", "streams": [{"flags": ["RTP"], "stats": stats | {"mos": 0}}]}
    reply = {"tags": {"a": {"medias": [audio, video]}}}
    assert leg_media(reply, "a") == LegMedia(
        packets_in=1000,
        packets_out=980,
        bytes_in=172_000,
        bytes_out=168_560,
        lost=8,
        dropped=6,
        jitter_ms=1.5,
        mos=4.31,
        codec="PCMA",
    )


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"tags": None},
        {"tags": {"a": []}},
        {"tags": {"b": {}}},
        {"tags": {"a": {"medias": "x"}}},
        {"tags": {"a": {"medias": [None, {"streams": [1, {"stats": {"packets": "x"}}]}]}}},
    ],
)
def test_a_reply_that_does_not_know_the_party_gives_zeros(reply: Message) -> None:
    assert leg_media(reply, "a") == LegMedia()
