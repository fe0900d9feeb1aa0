"""The answer of an ACK that a BYE follows."""

from sip.dialog.refusal import refusing_answer

OFFER = (
    b"v=0\r\no=a 7 7 IN IP4 192.0.2.1\r\ns=call\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=sendrecv\r\n"
    b"m=audio 4000/2 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\nm=video 0 RTP/AVP 96\r\nm=odd\r\n"
)


def test_every_stream_is_refused_in_order() -> None:
    """RFC 3264 §6: as many media lines as the offer, port 0, the same formats."""
    lines = refusing_answer(OFFER).split(b"\r\n")
    assert [line for line in lines if line.startswith(b"m=")] == [
        b"m=audio 0 RTP/AVP 0 8",
        b"m=video 0 RTP/AVP 96",
    ]
    assert lines[0] == b"v=0"
    assert b"192.0.2.1" not in b"".join(lines)


def test_an_offer_without_streams_gets_an_answer_without() -> None:
    assert b"m=" not in refusing_answer(b"v=0\r\n")
