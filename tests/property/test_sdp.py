"""Descriptions: nothing crashes the parser, and what a relay prints it can read again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from media.errors import SdpError
from media.sdp.description import DIRECTIONS, ICE_ATTRIBUTES, Description, parse
from media.sdp.negotiator import (
    MediaPorts,
    OriginLine,
    Rewrite,
    check_answer,
    check_reoffer,
    negotiated,
    rewrite,
)

hosts = st.sampled_from(["192.0.2.1", "198.51.100.7", "0.0.0.0", "10.1.2.3"])
tokens = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=8)
attributes = st.one_of(
    st.sampled_from(
        [
            "a=rtcp-mux",
            "a=rtcp:5001",
            "a=rtcp:5001 IN IP4 192.0.2.1",
            "a=candidate:1 1 UDP 1 192.0.2.1 9 typ host",
            "a=ice-ufrag:abcd",
            "a=rtpmap:96 opus/48000/2",
            "a=rtpmap:101 telephone-event/8000",
            "a=ptime:20",
            "a=bundle-only",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x",
            "b=AS:64",
            "c=IN IP4 192.0.2.9",
            "c=IN IP4 0.0.0.0",
            "x=odd",
        ]
    ),
    st.sampled_from(sorted(DIRECTIONS)).map("a={}".format),
    tokens.map("a=x-{}".format),
)


@st.composite
def sections(draw: st.DrawFn) -> list[str]:
    """One media section."""
    kind = draw(st.sampled_from(["audio", "video", "image", "application"]))
    proto = draw(st.sampled_from(["RTP/AVP", "RTP/SAVP", "udptl", "UDP/TLS/RTP/SAVPF", "TCP/MSRP"]))
    port = draw(st.one_of(st.just(0), st.integers(1, 65_535)))
    formats = draw(st.lists(st.integers(0, 127), min_size=1, max_size=5))
    head = f"m={kind} {port} {proto} {' '.join(map(str, formats))}"
    return [head, *draw(st.lists(attributes, max_size=8))]


@st.composite
def descriptions(draw: st.DrawFn) -> str:
    """A description that a telephone could have written."""
    lines = [
        "v=0",
        f"o=- {draw(st.integers(0, 2**62))} 1 IN IP4 {draw(hosts)}",
        "s=-",
        f"c=IN IP4 {draw(hosts)}",
        "t=0 0",
        *draw(st.lists(attributes.filter(lambda line: line[0] != "c"), max_size=3)),
    ]
    for section in draw(st.lists(sections(), max_size=4)):
        lines += section
    return "".join(f"{line}\r\n" for line in lines)


@given(st.text(max_size=400))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse(text)
    except SdpError:
        pass
    else:
        assert parse(parse(text).to_text()).to_text() == parse(text).to_text()


@given(descriptions(), st.data())
def test_a_mutated_description_parses_or_is_refused(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 8))
    patch = data.draw(st.text(max_size=6))
    try:
        description = parse(text[:at] + patch + text[at + cut :])
        rewrite(description, relay(description))
    except SdpError:
        return
    assert description.medias is not None


@given(descriptions())
def test_what_was_parsed_is_printed_the_same(text: str) -> None:
    assert parse(text).to_text() == text


def relay(description: Description) -> Rewrite:
    """Ports for every media."""
    ports = [MediaPorts(20_000 + 2 * n, 20_001 + 2 * n) for n in range(len(description.medias))]
    return Rewrite("IP4", "203.0.113.10", ports, OriginLine(7), zero_address=True)


@given(descriptions())
def test_a_rewritten_description_shows_nothing_but_the_relay(text: str) -> None:
    before = parse(text)
    after = parse(rewrite(before, relay(before)))
    assert len(after.medias) == len(before.medias)
    for number, (theirs, ours) in enumerate(zip(before.medias, after.medias, strict=True)):
        assert (ours.kind, ours.proto, ours.formats) == (theirs.kind, theirs.proto, theirs.formats)
        assert ours.port == (20_000 + 2 * number if theirs.port else 0)
        assert ours.connection == ("IP4", "203.0.113.10")
        assert ours.direction == theirs.direction
        assert not [line for line in ours.lines if line.startswith(ICE_ATTRIBUTES)]
        assert list(ours.codecs()) == list(theirs.codecs())
        kept = [line for line in theirs.lines if line.startswith(("a=x-", "a=crypto", "b=", "x="))]
        assert [line for line in ours.lines if line in kept] == kept


@given(descriptions())
def test_rewriting_again_changes_neither_text_nor_version(text: str) -> None:
    how = relay(parse(text))
    assert rewrite(parse(text), how) == rewrite(parse(text), how)


@given(descriptions(), descriptions())
def test_an_accepted_answer_has_the_lines_of_its_offer(offer: str, answer: str) -> None:
    offered, answered = parse(offer), parse(answer)
    try:
        check_answer(offered, answered)
    except SdpError:
        return
    assert len(answered.medias) == len(offered.medias)
    for theirs, ours in zip(offered.medias, answered.medias, strict=True):
        assert ours.is_rejected or ours.kind == theirs.kind
        assert set(negotiated(theirs, ours)) >= set(ours.codecs())


@given(descriptions(), descriptions())
def test_media_lines_never_get_fewer(first: str, second: str) -> None:
    before, after = parse(first), parse(second)
    count = len(after.medias)
    check_reoffer(before, after)
    assert len(after.medias) == max(count, len(before.medias))
    assert all(media.is_rejected for media in after.medias[count:])
