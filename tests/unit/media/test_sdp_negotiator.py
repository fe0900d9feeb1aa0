"""Rewriting for a relay: what is ours, what passes, what is gone (RFC 3264, 3605, 5761)."""

from __future__ import annotations

import pytest

from media.errors import SdpError
from media.sdp.description import Codec, parse
from media.sdp.negotiator import (
    REJECTED,
    MediaPorts,
    OriginLine,
    Rewrite,
    check_answer,
    check_reoffer,
    loops,
    may_send,
    negotiated,
    rewrite,
)
from tests.unit.media.test_sdp_description import HEAD, OFFER

TO_LAN = Rewrite("IP4", "172.16.1.101", [MediaPorts(30412, 30413)], None)


def lines_of(text: str, how: Rewrite = TO_LAN) -> list[str]:
    return rewrite(parse(text), how).split("\r\n")[:-1]


def test_addresses_and_ports_are_ours_and_all_else_passes() -> None:
    how = TO_LAN._replace(origin=OriginLine(77001))
    expected = (
        OFFER.replace("o=- 3845 3845 IN IP4 192.168.0.5", "o=- 77001 1 IN IP4 172.16.1.101")
        .replace("c=IN IP4 192.168.0.5", "c=IN IP4 172.16.1.101")
        .replace("m=audio 11780", "m=audio 30412")
        .replace("a=rtcp:11781", "a=rtcp:30413")
    )
    assert rewrite(parse(OFFER), how) == expected


def test_the_origin_passes_when_it_is_not_ours() -> None:
    assert "o=- 3845 3845 IN IP4 192.168.0.5" in lines_of(OFFER)


def test_the_version_grows_only_with_the_text() -> None:
    origin = OriginLine(5)
    how = TO_LAN._replace(origin=origin)
    first = rewrite(parse(OFFER), how)
    # The peer counts its own version up; what we print is the same.
    again = rewrite(parse(OFFER.replace("3845 3845", "3845 3846")), how)
    held = rewrite(parse(OFFER.replace("sendrecv", "sendonly")), how)
    assert again == first
    assert "o=- 5 1 " in first
    assert "o=- 5 2 " in held


def test_rejected_media_stays_rejected_in_its_place() -> None:
    text = OFFER + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"
    how = TO_LAN._replace(medias=[MediaPorts(30412, 30413), MediaPorts(30500, 30501)])
    assert lines_of(text, how)[-2:] == ["m=video 0 RTP/AVP 96", "a=rtpmap:96 VP8/90000"]


def test_media_that_we_refuse_gets_port_zero() -> None:
    assert "m=audio 0 RTP/AVP 111 9 8 0 18 101" in lines_of(
        OFFER, TO_LAN._replace(medias=[REJECTED])
    )


def test_ice_and_bundle_are_gone_at_both_levels() -> None:
    text = (
        HEAD
        + "a=ice-lite\r\na=ice-options:trickle\r\na=group:BUNDLE 0 1\r\na=group:LS 0 1\r\n"
        + "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789\r\n"
        + "a=candidate:1 1 UDP 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n"
        + "a=remote-candidates:1 192.0.2.1 9\r\na=bundle-only\r\n"
    )
    assert lines_of(text) == [
        *HEAD.replace("c=IN IP4 192.0.2.1", "c=IN IP4 172.16.1.101").split("\r\n")[:-1],
        "a=group:LS 0 1",
        "m=audio 30412 RTP/AVP 0",
        "a=mid:0",
    ]


def test_media_level_addresses_are_ours_too_and_one_each() -> None:
    text = HEAD + "m=audio 9/2 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\nc=IN IP4 224.2.1.2/127\r\n"
    assert lines_of(text)[-2:] == ["m=audio 30412 RTP/AVP 0", "c=IN IP4 172.16.1.101"]


def test_families_change() -> None:
    how = TO_LAN._replace(family="IP6", host="2001:db8::5", origin=OriginLine(1))
    lines = lines_of(OFFER, how)
    assert "o=- 1 1 IN IP6 2001:db8::5" in lines
    assert "c=IN IP6 2001:db8::5" in lines


@pytest.mark.parametrize(("family", "zero"), [("IP4", "c=IN IP4 0.0.0.0"), ("IP6", "c=IN IP6 ::")])
def test_an_old_hold_stays_one_in_the_receivers_family(family: str, zero: str) -> None:
    how = TO_LAN._replace(family=family)
    session = HEAD.replace("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0") + "m=audio 9 RTP/AVP 0\r\n"
    media = HEAD + "m=audio 9 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n"
    assert zero in lines_of(session, how)
    assert zero in lines_of(media, how)
    assert zero not in lines_of(media, how._replace(zero_address=True))


def test_session_name_can_be_hidden() -> None:
    text = OFFER.replace("s=-", "s=Alice at home")
    assert "s=Alice at home" in lines_of(text)
    assert "s=-" in lines_of(text, TO_LAN._replace(session_name=True))


@pytest.mark.parametrize(
    ("ports", "attribute", "expected"),
    [
        (MediaPorts(30412, 30413), "auto", []),
        (MediaPorts(30412, 30419), "auto", ["a=rtcp:30419"]),
        (MediaPorts(30412, 30412, mux=True), "auto", ["a=rtcp:30412", "a=rtcp-mux"]),
        (MediaPorts(30412, 0, mux=True), "auto", ["a=rtcp:30412", "a=rtcp-mux"]),
        (MediaPorts(30412, 30413, mux=True), "none", ["a=rtcp-mux"]),
        (MediaPorts(30412, 30413), "full", ["a=rtcp:30413 IN IP4 172.16.1.101"]),
        (MediaPorts(30412, 0), "full", []),
    ],
)
def test_rtcp_is_told_where_it_is_not_the_next_port(
    ports: MediaPorts, attribute: str, expected: list[str]
) -> None:
    text = HEAD + "m=audio 9 RTP/AVP 0\r\na=rtcp-mux\r\na=sendrecv\r\n"
    lines = lines_of(text, TO_LAN._replace(medias=[ports], rtcp_attribute=attribute))
    assert [line for line in lines if "rtcp" in line] == expected


def test_an_rtcp_attribute_that_was_there_is_answered_with_one() -> None:
    assert "a=rtcp:30413" in lines_of(OFFER)


def test_keys_of_opportunistic_srtp_can_be_stripped_and_others_never() -> None:
    key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
    plain = f"{HEAD}m=audio 9 RTP/AVP 0\r\n{key}\r\n"
    secure = f"{HEAD}m=audio 9 RTP/SAVP 0\r\n{key}\r\n"
    strip = TO_LAN._replace(strip_crypto=True)
    assert key in lines_of(plain)
    assert key not in lines_of(plain, strip)
    assert key in lines_of(secure, strip)


def test_profiles_change_but_encryption_does_not() -> None:
    text = HEAD + "m=audio 9 RTP/AVPF 0\r\n"
    assert "m=audio 30412 RTP/AVP 0" in lines_of(text, TO_LAN._replace(proto="RTP/AVP"))
    for proto in ("RTP/SAVP", "UDP/TLS/RTP/SAVPF"):
        with pytest.raises(SdpError, match="encryption"):
            lines_of(text, TO_LAN._replace(proto=proto))
    fax = HEAD + "m=image 9 udptl t38\r\n"
    assert "m=image 30412 udptl t38" in lines_of(fax, TO_LAN._replace(proto="RTP/AVP"))


def test_t38_passes_with_all_its_attributes() -> None:
    attributes = [
        "a=T38FaxVersion:0",
        "a=T38MaxBitRate:14400",
        "a=T38FaxFillBitRemoval",
        "a=T38FaxRateManagement:transferredTCF",
        "a=T38FaxMaxDatagram:400",
        "a=T38FaxUdpEC:t38UDPRedundancy",
    ]
    text = HEAD + "m=image 9 udptl t38\r\n" + "".join(f"{line}\r\n" for line in attributes)
    lines = lines_of(text, TO_LAN._replace(medias=[MediaPorts(30840)]))
    assert lines[-7:] == ["m=image 30840 udptl t38", *attributes]


def test_a_loop_is_recognised_by_its_mark() -> None:
    text = rewrite(parse(OFFER), TO_LAN._replace(loop_mark="c0ffee"))
    assert loops(parse(text), "c0ffee")
    assert not loops(parse(text), "badcafe")
    assert not loops(parse(OFFER), "c0ffee")


# -- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "answered", "printed"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendrecv", "inactive", "inactive"),
        ("sendonly", "sendrecv", "recvonly"),
        ("sendonly", "recvonly", "recvonly"),
        ("sendonly", "sendonly", "inactive"),
        ("recvonly", "sendrecv", "sendonly"),
        ("recvonly", "sendonly", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
    ],
)
def test_an_answer_says_only_what_the_offer_allows(
    offered: str, answered: str, printed: str
) -> None:
    offer = parse(OFFER.replace("sendrecv", offered))
    how = TO_LAN._replace(offered=offer.medias)
    lines = lines_of(OFFER.replace("sendrecv", answered), how)
    assert [line for line in lines if line[2:] in ("sendrecv", "recvonly", "sendonly", "inactive")]
    assert f"a={printed}" in lines
    assert len([line for line in lines if line.endswith(("recv", "only", "inactive"))]) == 1


def test_an_answer_has_the_profile_of_its_offer() -> None:
    offer = parse(OFFER.replace("RTP/AVP", "RTP/AVPF"))
    assert "m=audio 30412 RTP/AVPF 111 9 8 0 18 101" in lines_of(
        OFFER, TO_LAN._replace(offered=offer.medias)
    )


def test_left_out_media_are_rejected_in_our_answer() -> None:
    offer = parse(OFFER + "m=video 5004 RTP/AVP 96 97\r\n")
    answer = parse(OFFER)
    check_answer(offer, answer)
    assert answer.to_text().endswith("m=video 0 RTP/AVP 96 97\r\n")


@pytest.mark.parametrize(
    ("offer", "answer", "reason"),
    [
        (OFFER, OFFER + "m=video 5004 RTP/AVP 96\r\n", "more media"),
        (OFFER, HEAD + "m=video 5004 RTP/AVP 96\r\n", "order"),
        (OFFER, HEAD + "m=audio 5004 RTP/SAVP 8\r\n", "protocol"),
        (OFFER, HEAD + "m=audio 5004 udptl 8\r\n", "protocol"),
        (
            OFFER.replace("RTP/AVP", "RTP/SAVP"),
            HEAD + "m=audio 5004 UDP/TLS/RTP/SAVP 8\r\n",
            "protocol",
        ),
    ],
)
def test_answers_that_do_not_fit_are_refused(offer: str, answer: str, reason: str) -> None:
    with pytest.raises(SdpError, match=reason):
        check_answer(parse(offer), parse(answer))


def test_a_rejection_may_be_of_any_kind() -> None:
    answer = parse(HEAD + "m=image 0 RTP/SAVP 8\r\n")
    check_answer(parse(OFFER), answer)
    assert answer.medias[0].is_rejected


def test_a_new_offer_keeps_all_media_lines() -> None:
    before = parse(OFFER + "m=video 5004 RTP/AVP 96\r\n")
    offer = parse(OFFER)
    check_reoffer(before, offer)
    assert [media.head(media.port) for media in offer.medias][1:] == ["m=video 0 RTP/AVP 96"]


def test_negotiated_are_the_answers_types_and_the_offers_of_the_same_codecs() -> None:
    offer = parse(
        HEAD + "m=audio 9 RTP/AVP 96 8 0 101\r\n"
        "a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n"
    )
    answer = parse(
        HEAD + "m=audio 9 RTP/AVP 8 97 98\r\n"
        "a=rtpmap:97 OPUS/48000/2\r\na=rtpmap:98 telephone-event/16000\r\n"
    )
    codecs = negotiated(offer.medias[0], answer.medias[0])
    assert list(codecs) == [8, 97, 98, 96]
    assert codecs[96] == Codec("opus", 48000)


@pytest.mark.parametrize(
    ("one", "other", "sends"),
    [
        ("sendrecv", "sendrecv", True),
        ("sendonly", "recvonly", True),
        ("sendonly", "sendonly", False),
        ("recvonly", "sendrecv", False),
        ("sendrecv", "inactive", False),
    ],
)
def test_media_crosses_when_one_sends_and_the_other_listens(
    one: str, other: str, sends: bool
) -> None:
    assert may_send(one, other) is sends
