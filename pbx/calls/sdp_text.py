"""The four things call control must know of a session description, as text operations.

Bodies are opaque to signalling: rewriting belongs to the media service. Only hold (RFC 3264
§8.4), the equality of two descriptions but for their ``o=`` line, forcing a direction when legs
are joined anew, and an answer without media yet are decided here, in a single pass over the lines.
"""

from __future__ import annotations

from typing import Final

_DIRECTIONS: Final = {
    b"a=sendrecv": "sendrecv",
    b"a=sendonly": "sendonly",
    b"a=recvonly": "recvonly",
    b"a=inactive": "inactive",
}


def direction(body: bytes) -> str:
    """Direction the sender of `body` wants: ``sendrecv`` unless something says otherwise.

    With several streams the most open one counts: a call is held only if all streams are.
    ``c=IN IP4 0.0.0.0`` is the old way to say ``sendonly`` (RFC 3264 §8.4).
    """
    if b"=sendonly" not in body and b"=inactive" not in body and b"=recvonly" not in body:
        return "sendonly" if b"IN IP4 0.0.0.0" in body else "sendrecv"
    session = "sendrecv"
    media: list[str] = []
    live = False
    in_media = False
    for line in body.splitlines():
        if line.startswith(b"m="):
            in_media = True
            live = line.split(b" ", 2)[1:2] != [b"0"]
            if live:
                media.append(session)
            continue
        found = _DIRECTIONS.get(line.strip())
        if found is None:
            continue
        if not in_media:
            session = found
        elif live:
            media[-1] = found
    for wanted in ("sendrecv", "sendonly", "recvonly", "inactive"):
        if wanted in media:
            return wanted
    return session


def with_sendrecv(body: bytes) -> bytes:
    """`body` with every direction attribute removed, which means ``sendrecv`` (RFC 3264 §5.1).

    Used when a party that was on hold is joined with somebody else.
    """
    lines = body.split(b"\n")
    kept = [line for line in lines if line.rstrip(b"\r") not in _DIRECTIONS]
    return body if len(kept) == len(lines) else b"\n".join(kept)


def inactive_answer(offer: bytes) -> bytes:
    """An answer that takes plain audio, but sends and expects nothing for the moment.

    All formats stay, so that the offer which follows soon finds the streams in place. Streams
    of other kinds are refused, and secured ones, since an answer to them needs keys (RFC 3264 §6).
    The address is one where nobody listens (RFC 5737, RFC 6666): 0.0.0.0 would mean the old hold.
    """
    family = b"IP6 100::1" if b"\nc=IN IP6" in offer else b"IP4 192.0.2.1"
    lines = [b"v=0", b"o=- 0 0 IN " + family, b"s=-", b"c=IN " + family, b"t=0 0"]
    taken = False
    for line in offer.splitlines():
        if line.startswith(b"m="):
            words = line.split(b" ")
            taken = words[0] == b"m=audio" and words[2:3] == [b"RTP/AVP"] and words[1] != b"0"
            words[1:2] = [b"9" if taken else b"0"]
            lines.append(b" ".join(words))
            if taken:
                lines.append(b"a=inactive")
        elif taken and line.startswith((b"a=rtpmap:", b"a=fmtp:")):
            lines.append(line)
    return b"\r\n".join(lines) + b"\r\n"


def same_media(one: bytes, other: bytes) -> bool:
    """Whether two descriptions differ in nothing but ``o=`` (id, version) and ``s=``."""
    if one == other:
        return True
    return _essence(one) == _essence(other)


def _essence(body: bytes) -> list[bytes]:
    return [line for line in body.splitlines() if line[:2] not in (b"o=", b"s=") and line]
