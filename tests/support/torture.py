"""What this server answers to each message of RFC 4475; the table of ``docs/torture.md``.

A stranger sends the message to a server that knows its domain. Shared by the fast test on engine
and call control and by the one that sends real packets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.data.rfc4475 import MESSAGES

SILENCE = ()


class Answer(NamedTuple):
    """Statuses of the answers, in order; none: the message is discarded (or waited for)."""

    udp: tuple[int, ...]
    tcp: tuple[int, ...]
    closes: bool = False
    """Over TCP the connection is closed afterwards: where the next message starts is unknown."""
    why: str = ""
    """What stands in the last column of the table."""


def _both(status: int, why: str) -> Answer:
    return Answer((status,), (status,), False, why)


_CHALLENGED = "understood; a stranger is challenged"
_SERVED = "understood and served"
ANSWERS: dict[str, Answer] = {
    "wsinv": _both(481, "understood; its To tag names no dialog of ours (RFC 3261 §12.2.2)"),
    "intmeth": _both(501, "understood; with Allow (RFC 3261 §8.2.1)"),
    "esc01": _both(401, _CHALLENGED),
    "escnull": _both(401, _CHALLENGED),
    "esc02": _both(501, "`RE%47IST%45R` is another method than REGISTER"),
    "lwsdisp": _both(200, _SERVED),
    "longreq": _both(401, _CHALLENGED),
    "dblreq": Answer(
        (401,),
        (400, 401),
        True,
        "a datagram ends with its body; on a stream the INVITE (without Contact: 400) is the next "
        "message, and what follows its Content-Length is none",
    ),
    "semiuri": _both(200, _SERVED),
    "transports": _both(200, "unknown transports in Via do no harm"),
    "mpart01": _both(401, _CHALLENGED),
    "unreason": Answer(SILENCE, SILENCE, False, "a response to nothing of ours"),
    "noreason": Answer(SILENCE, SILENCE, False, "a response to nothing of ours"),
    "badinv01": _both(400, "Via is echoed as it came, the answer goes to the source"),
    "clerr": Answer((400,), SILENCE, False, "a stream waits for the rest, and is dropped for it"),
    "ncl": Answer((400,), (400,), True, "no end of the message on a stream"),
    "scalar02": _both(400, "CSeq beyond 2**31"),
    "scalarlg": Answer(SILENCE, SILENCE, False, "a response whose CSeq cannot be read"),
    "quotbal": _both(400, "To cannot be read"),
    "ltgtruri": _both(400, "no Request-URI"),
    "lwsruri": _both(400, "no start line"),
    "lwsstart": _both(400, "strict: no start line"),
    "trws": _both(400, "strict: no start line"),
    "escruri": _both(400, "header fields have no place in a Request-URI (RFC 3261 §19.1.1)"),
    "baddate": _both(401, "nothing of ours reads Date"),
    "regbadct": _both(400, "Contact needs angle brackets"),
    "badaspec": _both(400, "To cannot be read"),
    "baddn": Answer((400,), SILENCE, False, "its empty line is missing; the name is tolerated"),
    "badvers": _both(505, "another version of SIP"),
    "mismatch01": _both(400, "CSeq names another method"),
    "mismatch02": _both(400, "CSeq names another method"),
    "bigcode": Answer(SILENCE, SILENCE, False, "no status line"),
    "badbranch": _both(200, "matched by the rules of RFC 2543 (RFC 3261 §17.2.3)"),
    "insuf": _both(400, "the answer lacks what the request lacks"),
    "unkscm": _both(416, "unknown scheme"),
    "novelsc": _both(416, "scheme without a meaning here"),
    "unksm2": _both(401, "schemes of From and To do no harm; once authenticated: 404"),
    "bext01": _both(420, "with Unsupported; Proxy-Require is not for a user agent"),
    "invut": _both(415, "with Accept"),
    "regaut01": _both(401, "unknown credentials are none"),
    "multi01": _both(400, "more than one Call-ID"),
    "mcl01": Answer((400,), (400,), True, "two lengths are no length"),
    "bcast": Answer(SILENCE, SILENCE, False, "a response with another's Via"),
    "zeromf": _both(200, "OPTIONS ends here and is answered (RFC 3261 §11); other methods 483"),
    "cparam01": _both(401, _CHALLENGED),
    "cparam02": _both(401, "challenged; another binding than that of cparam01"),
    "regescrt": _both(401, "challenged; the Route stays in the binding"),
    "sdp01": _both(406, "nothing we answer with is acceptable"),
    "inv2543": Answer(
        (401,), (400,), True, "accepted as a datagram; a stream needs Content-Length"
    ),
}


def check_answer(name: str, transport: str, answers: Sequence[bytes]) -> None:
    """Assert that `answers` are those of the table, with the headers they owe."""
    expected = ANSWERS[name].udp if transport == "udp" else ANSWERS[name].tcp
    statuses = tuple(int(answer[8:11]) for answer in answers)
    assert statuses == expected, (name, answers)
    for status, answer in zip(statuses, answers, strict=True):
        assert answer.startswith(b"SIP/2.0 ")
        assert b"None" not in answer
        owed = {
            401: b"\r\nWWW-Authenticate: Digest ",
            415: b"\r\nAccept: application/sdp\r\n",
            420: b"\r\nUnsupported: nothingSupportsThis, nothingSupportsThisEither\r\n",
            501: b"\r\nAllow: ACK, BYE, ",
        }
        assert owed.get(status, b"") in answer


def table() -> str:
    """The table of ``docs/torture.md`` (Markdown)."""

    def cell(statuses: tuple[int, ...], closes: bool) -> str:
        text = ", ".join(map(str, statuses)) or "–"
        return f"{text}, close" if closes else text

    rows = [
        f"| `{name}` | {MESSAGES[name].section} | {cell(answer.udp, False)} "
        f"| {cell(answer.tcp, answer.closes)} | {answer.why} |"
        for name, answer in ANSWERS.items()
    ]
    return "\n".join(
        ["| Message | RFC 4475 | UDP | TCP | Why |", "|---|---|---|---|---|", *rows, ""]
    )
