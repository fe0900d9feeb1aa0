"""The answer to an offer that nobody wants (RFC 3261 §13.2.2.4, RFC 3264 §6).

A 2xx that carries an offer must be acknowledged with a valid answer even if a BYE follows at
once, e.g. when it crossed a CANCEL. Bodies are opaque to this package otherwise; here only the
media lines are repeated, each with port 0. Used by `invite_uac`.
"""

from __future__ import annotations

from typing import Final

_SESSION: Final = b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"


def refusing_answer(offer: bytes) -> bytes:
    """An answer that takes none of the offered streams."""
    answer = [_SESSION]
    for line in offer.splitlines():
        if line.startswith(b"m="):
            words = line.split(b" ")
            if len(words) > 3:
                words[1] = b"0"
                answer.append(b" ".join(words) + b"\r\n")
    return b"".join(answer)
