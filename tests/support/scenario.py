"""Scripts: what each fake phone does in one call.

Fed by :mod:`tests.simulation.scenarios`, which draws them by weight; read by
:mod:`tests.support.fake_phone`. A callee finds its script by the caller's display name, which a
B2BUA carries through: an independent way to tell which call an INVITE belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tests.support.fake_phone.call import PhoneCall


class Step(NamedTuple):
    """One thing a party does, so many seconds after the step before (or after the answer)."""

    after_s: float
    action: str
    """``hold`` ``resume`` ``update-hold`` ``update-resume`` ``refresh`` ``offerless`` ``info``
    ``talk`` ``bye`` ``vanish`` ``restart`` ``blind`` ``consult`` ``transfer``
    ``transfer-early`` ``bye-consult`` ``taken-over`` (by the phone named). ``info`` sends the digit
    named."""
    argument: str = ""


@dataclass(slots=True)
class CallerScript:
    """The caller's part."""

    steps: tuple[Step, ...] = ()
    cancel_after_s: float = 150.0
    """Give up (CANCEL) when there is no final response so long after the INVITE."""
    late_offer: bool = False
    reliable: str = "supported"
    """100rel: empty (not known), ``supported`` or ``required``."""
    session_expires_s: int = 0
    updates: bool = True
    """Announce UPDATE in Allow."""
    lost_acks: int = 0
    """The ACK is not sent for so many of the first 2xx; large: never."""
    vanish_after_s: float | None = None
    """Power off so long after the INVITE, whatever the state."""
    silent: bool = False
    """Send no audio but in ``talk`` steps."""
    replaces: str = ""
    """Value of Replaces in the INVITE (RFC 3891)."""
    consult: CallerScript | None = None
    """Script of the consultation call of an attended transfer, or of who takes over."""


@dataclass(slots=True)
class CalleeScript:
    """One called phone's part."""

    ring_after_s: float | None = 0.1
    progress: int = 180
    """``183`` carries a description (early media)."""
    reliable: bool = False
    """Send the progress reliably if the caller can (RFC 3262)."""
    answer_after_s: float | None = 1.0
    """From the INVITE; None: never."""
    reject: int = 0
    """Final status instead of an answer, after ``answer_after_s``."""
    steps: tuple[Step, ...] = ()
    updates: bool = True
    session_timer: bool = True
    vanish_after_s: float | None = None
    silent: bool = False
    picked_up_by: str = ""
    """Phone that takes the call while this one rings (RFC 3891), so long after it began to."""
    picked_up_after_s: float = 0.0
    picker: CallerScript | None = None


@dataclass(slots=True)
class Plan:
    """One planned call with everything that belongs to it."""

    number: int
    scenario: str
    caller: str
    """Name of the calling phone."""
    callee: str
    """User part that is dialled."""
    caller_script: CallerScript
    callee_scripts: dict[str, CalleeScript]
    """By phone name; phones not listed use ``fallback``."""
    fallback: CalleeScript = field(default_factory=CalleeScript)
    accounts: tuple[str, ...] = ()
    """Every account that takes part: reserved until the plan is over."""
    rules: dict[str, list[Any]] = field(default_factory=dict)
    """Signal Rules by user, in their stored form; they hold while the plan runs."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Another name by user, while the plan runs."""
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Members of groups by name; they are there while the plan runs."""
    mail: dict[str, int] = field(default_factory=dict)
    """So many voice messages are put into the INBOX of a user before the call."""
    calls: list[PhoneCall] = field(default_factory=list)
    """Every dialog that phones had because of this plan, in order of birth."""
    started_at: float = 0.0
    excused: str = ""
    """Not empty: the views of the parties are no oracle any more (and why)."""

    @property
    def label(self) -> str:
        """The display name by which callees find the plan."""
        return f"call {self.number}"

    def script_for(self, phone: str) -> CalleeScript:
        return self.callee_scripts.get(phone, self.fallback)
