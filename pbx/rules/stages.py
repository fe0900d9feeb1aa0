"""When a rule is looked at: its *stage code*, and the number that packs it with the priority.

A stored rule begins with ``stage code * 100 + priority`` (Telephony reference §3.1). Codes fall as
time goes on: 1000 is at arrival, 990 after ten seconds of ringing, below 400 the failure stages.
The XIMSS interface and the web name stages otherwise (seconds, and 995, 997, 999 for failures):
:func:`code_of_stage` and :func:`stage_of_code` convert; the numbers are never to be mixed up.
"""

from __future__ import annotations

from typing import Final

from pbx.rules.errors import RuleError

IMMEDIATE: Final = 1000
NO_ANSWER: Final = 5
BUSY: Final = 3
FAILURE: Final = 1
FAILURES: Final = (NO_ANSWER, BUSY, FAILURE)

LONGEST_S: Final = 600
"""The latest timed stage; nothing rings for longer than ten minutes."""
OFFERED_S: Final = (0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 25, 30, 40, 60, 90, 120, 600)
"""What user interfaces offer; any whole second up to :data:`LONGEST_S` is taken."""

INACTIVE: Final = 0
HIGHEST: Final = 10
ABOVE_ACCOUNTS: Final = 5
"""Server and domain rules of a higher priority go before the account's, the others after them."""

_WORDS: Final = {NO_ANSWER: "no answer", BUSY: "busy", FAILURE: "error"}
_STAGES: Final = {995: NO_ANSWER, 997: BUSY, 999: FAILURE}


def after_s(seconds: int) -> int:
    """The code of the stage that comes after so many seconds of ringing; 0 is at arrival."""
    if not 0 <= seconds <= LONGEST_S:
        raise RuleError(f"a stage after {seconds} s: 0 to {LONGEST_S} seconds are possible")
    return IMMEDIATE - seconds


def is_timed(code: int) -> bool:
    """Whether `code` is of a moment: at arrival or after some seconds of ringing."""
    return code >= IMMEDIATE - LONGEST_S


def seconds_of(code: int) -> int:
    """Seconds of ringing after which a timed stage comes."""
    return IMMEDIATE - code


def split_number(number: int) -> tuple[int, int]:
    """Stage code and priority of a stored number. Raises :class:`RuleError`."""
    code, priority = divmod(number, 100)
    if priority > HIGHEST or not (code in _WORDS or IMMEDIATE - LONGEST_S <= code <= IMMEDIATE):
        raise RuleError(
            f"the priority number {number} is none: expected stage * 100 + priority, where the "
            "stage is 1000 minus the seconds of ringing (1000 at once, 400 after 600 s), 5 for no "
            "answer, 3 for busy or 1 for an error, and the priority is 0 to 10"
        )
    return code, priority


def name_of(code: int) -> str:
    """The stage in words: ``at once``, ``after 10 s``, ``busy`` …"""
    word = _WORDS.get(code)
    if word is not None:
        return word
    return "at once" if code == IMMEDIATE else f"after {seconds_of(code)} s"


def code_of_stage(stage: int) -> int:
    """The code of an interface's stage value: seconds, or 995, 997, 999."""
    code = _STAGES.get(stage)
    return after_s(stage) if code is None else code


def stage_of_code(code: int) -> int:
    """The stage value of a code, as interfaces show it."""
    return seconds_of(code) if is_timed(code) else IMMEDIATE - code
