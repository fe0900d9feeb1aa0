"""Descriptions: RFC 8866, read tolerantly, printed strictly."""

from __future__ import annotations

import pytest

from media.errors import SdpError
from media.sdp.description import MAX_CHARS, MAX_LINES, MAX_MEDIAS, Codec, Connection, parse

OFFER = (
    "v=0\r\n"
    "o=- 3845 3845 IN IP4 192.168.0.5\r\n"
    "s=-\r\n"
    "c=IN IP4 192.168.0.5\r\n"
    "t=0 0\r\n"
    "m=audio 11780 RTP/AVP 111 9 8 0 18 101\r\n"
    "a=rtpmap:111 opus/48000/2\r\n"
    "a=fmtp:111 useinbandfec=1;minptime=10\r\n"
    "a=rtpmap:101 telephone-event/8000\r\n"
    "a=fmtp:101 0-16\r\n"
    "a=ptime:20\r\n"
    "a=sendrecv\r\n"
    "a=rtcp:11781\r\n"
)
HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"


def test_what_a_relay_needs_is_read() -> None:
    description = parse(OFFER)
    (audio,) = description.medias
    assert description.origin == "- 3845 3845 IN IP4 192.168.0.5"
    assert (audio.kind, audio.port, audio.proto) == ("audio", 11780, "RTP/AVP")
    assert audio.connection == Connection("IP4", "192.168.0.5")
    assert audio.direction == "sendrecv"
    assert audio.rtcp_port == 11781
    assert audio.is_rtp
    assert audio.is_rtp_family
    assert not audio.is_secure
    assert not audio.is_rejected
    assert not audio.rtcp_mux


def test_a_description_is_printed_as_it_was() -> None:
    assert parse(OFFER).to_text() == OFFER


def test_codecs_are_in_order_with_static_types_known() -> None:
    assert parse(OFFER).medias[0].codecs() == {
        111: Codec("opus", 48000),
        9: Codec("G722", 8000),
        8: Codec("PCMA", 8000),
        0: Codec("PCMU", 8000),
        18: Codec("G729", 8000),
        101: Codec("telephone-event", 8000),
    }


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n\r\n", " \r\n"])
def test_line_ends_are_tolerated_and_printed_right(newline: str) -> None:
    assert parse(OFFER.replace("\r\n", newline)).to_text() == OFFER


def test_missing_session_name_and_time_are_put_where_they_belong() -> None:
    text = (
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\na=tool:x\r\nm=audio 9 RTP/AVP 0"
    )
    assert parse(text).to_text() == (
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=tool:x\r\n"
        "m=audio 9 RTP/AVP 0\r\n"
    )


def test_only_what_is_missing_is_put_in() -> None:
    text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nt=0 0\r\n"
    assert parse(text).to_text() == text.replace("t=", "s=-\r\nt=")


def test_unknown_lines_are_kept_in_place() -> None:
    text = HEAD + "x=whatever\r\nm=audio 9 RTP/AVP 0\r\na=x-new:1\r\ny=odd\r\n"
    assert parse(text).to_text() == text


def test_the_session_gives_defaults_and_the_media_overrides_them() -> None:
    text = (
        HEAD
        + "a=sendonly\r\nm=audio 9 RTP/AVP 0\r\n"
        + "m=video 10 RTP/AVP 96\r\nc=IN IP6 2001:DB8::1\r\na=inactive\r\n"
    )
    audio, video = parse(text).medias
    assert audio.direction == "sendonly"
    assert audio.connection == Connection("IP4", "192.0.2.1")
    assert video.direction == "inactive"
    assert video.connection == Connection("IP6", "2001:db8::1")


def test_attributes_of_transport_are_read() -> None:
    text = (
        HEAD
        + "a=ice-lite\r\nm=audio 9/2 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 224.2.1.1/127/2\r\n"
        + "c=IN IP4 224.2.1.3\r\na=rtcp:53020 IN IP4 192.0.2.9\r\na=rtcp-mux\r\n"
        + "a=candidate:1 1 UDP 2130706431 192.0.2.1 9 typ host\r\na=bundle-only\r\n"
    )
    (media,) = parse(text).medias
    assert (media.port, media.port_count) == (9, 2)
    assert media.connection == Connection("IP4", "224.2.1.1")
    assert (media.rtcp_port, media.rtcp_host) == (53020, "192.0.2.9")
    assert media.rtcp_mux
    assert media.is_secure
    assert media.is_rtp_family
    assert not media.is_rtp  # DTLS shares the port
    assert parse(text).to_text() == text


@pytest.mark.parametrize("value", ["x", "-1", "65536", "99999999999", ""])
def test_an_unreadable_rtcp_attribute_is_as_none(value: str) -> None:
    (media,) = parse(f"{HEAD}m=audio 9 RTP/AVP 0\r\na=rtcp:{value}\r\n").medias
    assert media.rtcp_port == 0


def test_formats_that_are_no_payload_types_have_no_codec() -> None:
    text = HEAD + "m=audio 9 RTP/AVP 0 500 x 97 98\r\na=rtpmap:97 L16/x\r\n"
    codecs = parse(text).medias[0].codecs()
    assert codecs == {0: Codec("PCMU", 8000), 97: Codec("L16", 0), 98: Codec("98", 0)}
    assert Codec("opus", 48000).key == Codec("OPUS", 48000).key


def test_a_rejected_media_needs_no_address() -> None:
    text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\n"
    (media,) = parse(text).medias
    assert media.is_rejected
    assert media.connection is None


@pytest.mark.parametrize("zero", ["IP4 0.0.0.0", "IP6 ::"])
def test_the_old_hold_is_recognised(zero: str) -> None:
    connection = parse(f"{HEAD}m=audio 9 RTP/AVP 0\r\nc=IN {zero}\r\n").medias[0].connection
    assert connection is not None
    assert connection.is_zero


@pytest.mark.parametrize("proto", ["TCP/MSRP", "TCP/TLS/MSRP", "tcp"])
def test_what_does_not_run_over_datagrams_is_seen(proto: str) -> None:
    assert not parse(f"{HEAD}m=message 9 {proto} *\r\n").medias[0].is_datagram
    assert parse(f"{HEAD}m=image 9 udptl t38\r\n").medias[0].is_datagram


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "v="),
        ("\r\n\r\n", "v="),
        ("garbage", "type"),
        ("v=0\r\nm", "type"),
        ("v=0\r\n1=2", "type"),
        ("o=- 1 1 IN IP4 192.0.2.1\r\nv=0", "v="),
        ("v=0\r\ns=-\r\n", "o="),
        ("v=0\r\no=x\r\n", "o="),
        ("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nm=audio 9 RTP/AVP 0", "no c="),
        (HEAD + "c=IN IP4", "c="),
        (HEAD + "c=IN IP5 x", "c="),
        (HEAD + "c=ATM NSAP x", "c="),
        (HEAD + "m=audio 9 RTP/AVP", "incomplete"),
        (HEAD + "m=audio x RTP/AVP 0", "port"),
        (HEAD + "m=audio 65536 RTP/AVP 0", "port"),
        (HEAD + "m=audio 9/x RTP/AVP 0", "port"),
        (HEAD + "m=audio 9 RTP/AVP" + " 0" * 129, "formats"),
        (HEAD + "a=x\r\n" * MAX_LINES, "lines"),
        (HEAD + "m=audio 9 RTP/AVP 0\r\n" * (MAX_MEDIAS + 1), "media lines"),
        (HEAD + "a=" + "x" * MAX_CHARS, "long"),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SdpError, match=reason):
        parse(text)
