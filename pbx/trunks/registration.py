"""One registration with another system, as a machine without I/O (RFC 3261 §10.2, RFC 5626 §4.5).

Asked by its owner: :meth:`Registration.attempt` when it is due, then :meth:`succeeded` or
:meth:`failed` with what came back. It says when it wants to be asked next (:attr:`due`), and keeps
what must stay the same over the life of a client: Call-ID, a growing CSeq, the user part of the
contact. Time is monotonic seconds, randomness an argument.

    state        entered by
    WAITING      made, or told to begin anew; `due` says when
    TRYING       attempt(); nothing is due
    REGISTERED   succeeded(); due for the refresh
    FAILED       failed(); due after the back-off, or never
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from pbx.calls.ports import Rng
from pbx.trunks.records import RsipRecord


class State(StrEnum):
    WAITING = "waiting"
    TRYING = "trying"
    REGISTERED = "registered"
    FAILED = "failed"


class Kind(StrEnum):
    """Why an attempt failed; decides how soon another one makes sense."""

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    PASSWORD = "password"
    CONFIGURATION = "configuration"


BASE_S: Final = 30.0
"""RFC 5626 §4.5: the back-off begins with this and doubles."""
UNREACHABLE_MAX_S: Final = 300.0
"""A registrar that hears nothing is not loaded by trying, and a network comes back any minute."""
REFUSED_S: Final = (30.0, 300.0, 1800.0)
"""A registrar that says no is not asked for ever: it may lock us out (Telephony reference §9)."""
RETRY_AFTER_MAX_S: Final = 3600.0
REFRESH_PART: Final = 0.8
"""Part of the granted time after which it is refreshed: the rest is for repeats of a lost one."""
EXPIRES_PART: Final = 1.25
"""Asked for so much more than the period that the refresh falls due at the period."""
MIN_EXPIRES_TRIES: Final = 2
"""423 that are followed at once; a registrar that always wants more is broken."""
MAX_EXPIRES_S: Final = 86_400 * 7
CSEQ_MAX: Final = 2**31 - 1
CSEQ_GAP: Final = 20
"""Requests that a crash may have hidden, beside one a second (repeats with credentials count)."""


@dataclass(slots=True)
class Identity:
    """What makes us the same client for the registrar over restarts (RFC 3261 §10.2.4)."""

    token: str
    sip_call_id: str
    cseq: int = 0


def new_identity(rng: Rng) -> Identity:
    """A client that no registrar knows."""
    # 80 bits: nobody guesses a contact of ours, and phones show it in a line.
    return Identity(f"t{rng.getrandbits(80):020x}", f"{rng.getrandbits(96):024x}")


def cseq_after(recorded: int, seconds: float) -> int:
    """A CSeq that exceeds all that were used since `recorded` was, `seconds` ago."""
    found = recorded + int(max(0.0, seconds)) + CSEQ_GAP
    # A Call-ID of its own begins a new sequence; 2^31 seconds are 68 years.
    return found if found < CSEQ_MAX else 1


class Attempt(NamedTuple):
    """A REGISTER to be sent."""

    cseq: int
    expires_s: int


class Granted(NamedTuple):
    """What a 2xx says."""

    expires_s: int
    cseq: int
    """Of the request that was answered; authentication makes it grow."""


class Refused(NamedTuple):
    """Why an attempt failed."""

    kind: Kind
    status: int
    reason: str
    cseq: int
    min_expires_s: int = 0
    retry_after_s: float = 0.0


class Registration:
    """See the module."""

    __slots__ = (
        "_expires_s", "_rng", "_too_brief", "attempt_number", "due", "expires_at", "identity",
        "last", "record", "state",
    )  # fmt: skip

    def __init__(self, record: RsipRecord, identity: Identity, rng: Rng, due: float) -> None:
        self.record = record
        self.identity = identity
        self._rng = rng
        self.state = State.WAITING
        self.due: float | None = due
        """When :meth:`attempt` is to be called; None: not before something happens."""
        self.expires_at = 0.0
        """When the registrar forgets us; 0: it does not know us."""
        self.attempt_number = 0
        """Failures in a row."""
        self.last: Refused | None = None
        self._expires_s = max(1, int(record.period_s * EXPIRES_PART))
        self._too_brief = 0

    def is_registered(self, now: float) -> bool:
        """Whether the registrar knows us, as far as we know; a failed refresh does not end that."""
        return now < self.expires_at

    def attempt(self) -> Attempt:
        """The next REGISTER."""
        self.state = State.TRYING
        self.due = None
        self.identity.cseq += 1
        return Attempt(self.identity.cseq, self._expires_s)

    def begin_anew(self, now: float) -> None:
        """Register at once, whatever it waits for: an operator, a lost connection."""
        if self.state is not State.TRYING:
            self.due = now
            self.attempt_number = 0

    def succeeded(self, granted: Granted, now: float) -> None:
        """The registrar knows us for some time."""
        self.state = State.REGISTERED
        self.identity.cseq = max(self.identity.cseq, granted.cseq)
        self.attempt_number = 0
        self.last = None
        self._too_brief = 0
        self.expires_at = now + granted.expires_s
        wait_s = min(self.record.period_s, granted.expires_s * REFRESH_PART)
        # A little early and never at the same time as everybody else.
        self.due = now + max(1.0, wait_s * (0.9 + 0.1 * self._rng.random()))

    def failed(self, refused: Refused, now: float) -> bool:
        """It did not work out. Gives False if the next attempt is made at once, as asked for by
        the registrar: that is no failure."""
        self.identity.cseq = max(self.identity.cseq, refused.cseq)
        wanted_s = refused.min_expires_s
        if refused.status == 423 and wanted_s > self._expires_s and self._may_ask_longer(wanted_s):
            # RFC 3261 §10.2.8: the same again for longer.
            self._too_brief += 1
            self._expires_s = wanted_s
            self.state = State.WAITING
            self.due = now
            return False
        self.state = State.FAILED
        self.last = refused
        self.attempt_number += 1
        self.due = now + self._back_off_s(refused)
        return True

    def _may_ask_longer(self, wanted_s: int) -> bool:
        return self._too_brief < MIN_EXPIRES_TRIES and wanted_s <= MAX_EXPIRES_S

    def _back_off_s(self, refused: Refused) -> float:
        number = self.attempt_number
        if refused.kind is Kind.UNREACHABLE:
            longest = min(UNREACHABLE_MAX_S, BASE_S * (1 << min(number, 10)))
        else:
            longest = REFUSED_S[min(number, len(REFUSED_S)) - 1]
        # RFC 5626 §4.5: between half of it and all of it, so that a crowd spreads out.
        wait_s = longest * (0.5 + 0.5 * self._rng.random())
        return max(wait_s, min(refused.retry_after_s, RETRY_AFTER_MAX_S))
