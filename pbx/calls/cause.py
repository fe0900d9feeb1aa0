"""How calls end: one vocabulary for SIP statuses, Q.850 causes and call records.

Pure tables. Fed by final responses and the reason a leg stopped; read by ``call.py`` (what to
answer the caller), the ``Reason`` field (RFC 3326) and the call records.
SIP ↔ Q.850 follows RFC 3398 §7.2.4.1 and §8.2.6.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple


class EndCause(Enum):
    """Why a leg or call ended, as the call record says it."""

    NORMAL = "normal"
    CANCEL = "cancel"
    BUSY = "busy"
    NO_ANSWER = "noanswer"
    REJECT = "reject"
    ERROR = "error"
    MEDIA_TIMEOUT = "mediatimeout"
    ADMIN = "admin"
    LIMIT = "limit"


class EndedBy(Enum):
    """Who ended it."""

    CALLER = "caller"
    CALLEE = "callee"
    SERVER = "server"


class End(NamedTuple):
    """The complete end of a leg or call."""

    status: int
    cause: EndCause
    q850: int
    by: EndedBy
    reason: str = ""


Q850_OF_STATUS: Final[dict[int, int]] = {
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22,
    413: 127, 414: 127, 415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 430: 18, 480: 18, 481: 41,
    482: 25, 483: 25, 484: 28, 485: 1, 486: 17, 487: 16, 488: 65, 500: 41, 501: 79, 502: 38,
    503: 41, 504: 102, 505: 127, 513: 127, 600: 17, 603: 21, 604: 1, 606: 65,
}  # fmt: skip

Q850_NORMAL: Final = 16
Q850_NO_ANSWER: Final = 19
Q850_TEMPORARY_FAILURE: Final = 41
Q850_TIMER_EXPIRY: Final = 102

#: A device whose connection is gone, as if it were not registered (RFC 5626 §5.3, §11.5).
FLOW_FAILED: Final = 430

_BUSY: Final = frozenset({486, 600})
_NO_ANSWER: Final = frozenset({408, FLOW_FAILED, 480, 487})
# Within the 4xx class these let the caller act on them (RFC 3261 §16.7 step 6).
_PREFERRED: Final = frozenset({401, 407, 415, 420, 484})
# What a callee may say that would mean something else coming from us (see passed_status).
_CHALLENGES: Final = frozenset({401, 407})


def q850_of(status: int) -> int:
    """Q.850 cause of a final SIP status (2xx is normal clearing)."""
    if status < 300:
        return Q850_NORMAL
    known = Q850_OF_STATUS.get(status)
    if known is not None:
        return known
    return Q850_TEMPORARY_FAILURE if status < 600 else 21


def cause_of(status: int) -> EndCause:
    """Class of a failed INVITE by its final status."""
    if status < 300:
        return EndCause.NORMAL
    if status in _BUSY:
        return EndCause.BUSY
    if status in _NO_ANSWER:
        return EndCause.NO_ANSWER
    if status < 500 or status >= 600:
        return EndCause.REJECT
    return EndCause.ERROR


def failure(status: int, by: EndedBy, reason: str = "") -> End:
    """The end of a leg whose INVITE got the final `status`."""
    return End(status, cause_of(status), q850_of(status), by, reason)


def best_status(statuses: Iterable[int]) -> int:
    """The one final status for the caller out of all branches (RFC 3261 §16.7 step 6).

    6xx wins; else the lowest class, inside 4xx those that the caller can act on; a 408 made up
    by us for a silent branch, and the 430 of a lost connection (RFC 5626 §5.3), lose to any real
    answer. No branch at all is 480.
    """
    best = 0
    best_rank = (9, 9, 0)
    for order, status in enumerate(statuses):
        if status >= 600:
            rank = (0, 0, order)
        elif status in (408, FLOW_FAILED):
            rank = (7, 0, order)
        else:
            rank = (status // 100, 0 if status in _PREFERRED else 1, order)
        if rank < best_rank:
            best, best_rank = status, rank
    return best or 480


def passed_status(status: int) -> int:
    """What a branch's final status becomes toward the caller.

    A challenge of the callee is not for the caller's credentials (a digest leak), and 503 would
    make the caller's proxy avoid this whole server (RFC 3261 §16.7): both become 500. A redirect
    that was not followed is no answer for a caller of a B2BUA: 480; and so is 430, which is for
    proxies (RFC 5626 §11.5).
    """
    if status in _CHALLENGES or status == 503:
        return 500
    if 300 <= status < 400 or status == FLOW_FAILED:
        return 480
    return status


def passed_non_invite_status(status: int) -> int:
    """The same for requests other than INVITE, inside and outside calls.

    A 408 would come when its receiver has long given up (RFC 4320 §4.2 forbids it), and a 481 of
    one party would make the other believe that *its* dialog is gone.
    """
    if status == 408:
        return 504
    return 480 if status == 481 else passed_status(status)


def reason_field(end: End) -> str:
    """Value of a Reason header field for a BYE or CANCEL (RFC 3326)."""
    text = (end.reason or end.cause.value).replace("\\", "\\\\").replace('"', '\\"')
    return f'Q.850;cause={end.q850};text="{text}"'


#: CANCEL of the other branches of a fork: phones then log no missed call (RFC 3326 §2).
COMPLETED_ELSEWHERE: Final = 'SIP;cause=200;text="Call completed elsewhere"'
