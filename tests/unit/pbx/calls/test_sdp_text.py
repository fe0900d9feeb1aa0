"""What call control reads out of a session description."""

import pytest

from pbx.calls import sdp_text

AUDIO = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0\r\n"
)


@pytest.mark.parametrize(
    ("body", "direction"),
    [
        (AUDIO, "sendrecv"),
        (AUDIO + b"a=sendonly\r\n", "sendonly"),
        (AUDIO + b"a=inactive\r\n", "inactive"),
        (AUDIO + b"a=recvonly\r\n", "recvonly"),
        (AUDIO.replace(b"c=IN IP4 192.0.2.1", b"c=IN IP4 0.0.0.0"), "sendonly"),
        (AUDIO.replace(b"t=0 0\r\n", b"t=0 0\r\na=sendonly\r\n"), "sendonly"),
        (AUDIO.replace(b"t=0 0\r\n", b"t=0 0\r\na=sendonly\r\n") + b"a=sendrecv\r\n", "sendrecv"),
        (AUDIO + b"a=sendonly\r\nm=video 4002 RTP/AVP 96\r\n", "sendrecv"),
        (AUDIO + b"a=sendonly\r\nm=video 0 RTP/AVP 96\r\n", "sendonly"),
        (AUDIO.replace(b"audio 4000", b"audio 0") + b"a=inactive\r\n", "sendrecv"),
    ],
)
def test_direction_is_that_of_the_most_open_stream(body: bytes, direction: str) -> None:
    """RFC 3264 §8.4, rejected streams do not count, media level beats session level."""
    assert sdp_text.direction(body) == direction


def test_with_sendrecv_removes_every_direction() -> None:
    """A held party that is joined anew must be able to talk."""
    held = AUDIO + b"a=recvonly\r\na=ptime:20\r\n"
    assert sdp_text.with_sendrecv(held) == AUDIO + b"a=ptime:20\r\n"
    assert sdp_text.with_sendrecv(AUDIO) is AUDIO


def test_same_media_ignores_origin_only() -> None:
    """A new version number is no change, another port is."""
    newer = AUDIO.replace(b"o=- 1 1", b"o=- 1 2")
    moved = AUDIO.replace(b"audio 4000", b"audio 4002")
    assert sdp_text.same_media(AUDIO, newer)
    assert not sdp_text.same_media(AUDIO, moved)


def test_inactive_answer_takes_plain_audio_only() -> None:
    """RFC 3264 §6: as many streams, port 0 for what is refused, the offered formats."""
    offer = (
        AUDIO.replace(b"RTP/AVP 0", b"RTP/AVP 0 101")
        + b"a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
        + b"m=video 4002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
        + b"m=audio 4004 RTP/SAVP 0\r\nm=audio 0 RTP/AVP 0\r\n"
    )
    answer = sdp_text.inactive_answer(offer)
    assert answer.splitlines()[5:] == [
        b"m=audio 9 RTP/AVP 0 101",
        b"a=inactive",
        b"a=rtpmap:101 telephone-event/8000",
        b"m=video 0 RTP/AVP 96",
        b"m=audio 0 RTP/SAVP 0",
        b"m=audio 0 RTP/AVP 0",
    ]
    session = (b"v=0", b"o=- 0 0 IN IP4 192.0.2.1", b"s=-", b"c=IN IP4 192.0.2.1", b"t=0 0")
    assert tuple(answer.splitlines()[:5]) == session
    six = sdp_text.inactive_answer(AUDIO.replace(b"c=IN IP4 192.0.2.1", b"c=IN IP6 2001:db8::1"))
    assert b"c=IN IP6 100::1\r\n" in six
    assert sdp_text.direction(answer) == "inactive"
