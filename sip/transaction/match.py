"""Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3).

Fed by the engine with parsed messages; gives the keys of the two transaction tables.
"""

from __future__ import annotations

from typing import TypeAlias

from sip.headers import Via
from sip.message import Request, Response

ServerKey: TypeAlias = tuple[str, str, str]
"""(branch, sent-by, method); method INVITE also for its ACK and for finding what to cancel."""


def server_key(request: Request, via: Via, method: str) -> ServerKey:
    """The key of the server transaction that `request` starts or repeats.

    A branch with the magic cookie is unique together with sent-by and method. Without it the
    peer follows RFC 2543, and Request-URI, From tag, Call-ID, CSeq number and the whole top Via
    take the place of the branch. The To tag stays out: an ACK carries the one of our response.
    """
    if via.is_rfc3261:
        return (via.branch, via.sent_by, method)
    identity = "\n".join(
        (
            request.uri,
            request.from_.tag,
            request.call_id,
            str(request.cseq.number),
            request.first("Via") or "",
        )
    )
    return (identity, via.sent_by, method)


def client_key(branch: str, method: str) -> str:
    """The key of a client transaction: branches are our own, only CANCEL shares one (§9.1)."""
    return branch + " CANCEL" if method == "CANCEL" else branch


def echoed_via(response: Response, sent: str) -> bool:
    """Whether the response's only Via is the one we sent (§18.1.2).

    `sent` is "Via: SIP/2.0/UDP host:port;branch=…" as it left; the server adds received and rport,
    so a prefix test decides nearly every time; a rewritten but equal Via takes the slow way.
    """
    line = response.first("Via") or ""
    if line.startswith(sent[5:]):
        return "," not in line
    if len(response.vias) != 1:
        return False
    via = response.via
    head, _, branch = sent.partition(";branch=")
    sent_by = head.rpartition(" ")[2]
    return via.branch == branch and via.sent_by.lower() == sent_by.lower()
