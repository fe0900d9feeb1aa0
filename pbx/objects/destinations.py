"""Kinds of destinations, and which kind a telephone number is of.

A class of service says which kinds an account may call (``CallOutAllowed``); a number plan says
what the numbers of a country and of a company are (``CallClasses``). Pure; read by call set-up for
each call that leaves, so a plan is compiled once and a number costs a look at some twenty patterns.

A pattern is digits with a ``+`` in front or not, and at its end ``*`` for anything, ``(7d)`` for
seven digits or ``(7-20d)`` for seven to twenty. The longest beginning that fits decides, as in
tables of tariffs: ``+7809*`` goes before ``+7*``, and that before ``+*``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from pbx.data import Value
from pbx.objects.forms import Form, read_dictionary, read_text, read_texts

INTERNAL: Final = "internal"
LOCAL: Final = "local"
NATIONAL: Final = "national"
MOBILE: Final = "mobile"
INTERNATIONAL: Final = "international"
PREMIUM: Final = "premium"
SIP: Final = "sip"
KINDS: Final = (INTERNAL, LOCAL, NATIONAL, MOBILE, INTERNATIONAL, PREMIUM, SIP)
"""``internal`` is all that answers at this server, ``sip`` what a user dials at another server."""
NUMBER_KINDS: Final = (LOCAL, NATIONAL, MOBILE, INTERNATIONAL, PREMIUM)
ALL: Final = frozenset(KINDS)
ALLOWED_BY_DEFAULT: Final = ALL - {PREMIUM}
"""What is never dialled by mistake and pays whoever arranged for it has to be asked for."""

MAX_PATTERNS: Final = 500
"""Of one plan: each is looked at. Countries have some dozens."""
SHORT_DIGITS: Final = 6
"""Numbers that fit no pattern are local up to this length, else national."""

#: What is premium or foreign whatever the country: ITU-T E.164 country codes, and what the North
#: American, British, German and Russian plans charge extra for. Others are the administrator's.
BUILT_IN: Final[Mapping[str, tuple[str, ...]]] = {
    INTERNATIONAL: ("+*", "810*"),
    PREMIUM: (
        "+1900*", "+1976*", "+449*", "+49900*", "+7803*", "8803*", "+7809*", "8809*",
        "+979*", "+870*", "+881*", "+882*", "+883*",
    ),
}  # fmt: skip

_PATTERN: Final = re.compile(
    r"(\+?[0-9]*)(?:(\*)|\(([0-9]{1,2})(?:-([0-9]{1,2}))?d\))?", re.ASCII | re.IGNORECASE
)
_NUMBER: Final = re.compile(r"\+?[0-9]+", re.ASCII)
_LONGEST: Final = 99
"""Digits; E.164 has 15, prefixes of lines come on top."""


class Pattern(NamedTuple):
    """One pattern of a plan."""

    prefix: str
    low: int
    """Digits that follow, at least and at most."""
    high: int
    kind: str
    text: str


def canonical(number: str) -> str:
    """A number as patterns mean it: ``00`` in front is the ``+`` of most of the world."""
    return f"+{number[2:]}" if number.startswith("00") else number


def parse_pattern(text: str, kind: str) -> Pattern:
    """A pattern of numbers of a kind. Raises ``ValueError``."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None or not text.strip():
        raise ValueError(text)
    prefix, star, low_text, high_text = match.groups()
    low = high = 0
    if star:
        high = _LONGEST
    elif low_text:
        low, high = int(low_text), int(high_text or low_text)
        if not 0 < low <= high:
            raise ValueError(text)
    elif not prefix.strip("+"):
        raise ValueError(text)
    return Pattern(canonical(prefix), low, high, kind, text.strip())


class NumberPlan:
    """Compiled patterns."""

    __slots__ = ("_patterns",)

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        # Among beginnings of one length a known number of digits says more than a star, and the
        # kind that costs more goes first.
        self._patterns = sorted(
            patterns,
            key=lambda p: (-len(p.prefix), p.high - p.low, -NUMBER_KINDS.index(p.kind)),
        )

    def kind_of(self, number: str) -> tuple[str, str]:
        """Kind of a number and the pattern that said so (empty: none fitted).

        The kind of a text that is no number is empty: nobody can say what it costs.
        """
        if _NUMBER.fullmatch(number) is None:
            return "", ""
        number = canonical(number)
        for prefix, low, high, kind, text in self._patterns:
            if number.startswith(prefix) and low <= len(number) - len(prefix) <= high:
                return kind, text
        return (LOCAL if len(number) <= SHORT_DIGITS else NATIONAL), ""


def read_plan(value: Value) -> NumberPlan:
    """A dictionary of kinds with arrays of patterns. A kind that it names is what it says, the
    others stay as built in. Raises ``ValueError``."""
    kinds: dict[str, tuple[str, ...]] = dict(BUILT_IN)
    for name, texts in read_dictionary(value).items():
        kind = name.lower()
        if kind not in NUMBER_KINDS:
            raise ValueError(name)
        kinds[kind] = tuple(read_texts([texts] if isinstance(texts, str) else texts))
    patterns = [parse_pattern(text, kind) for kind, texts in kinds.items() for text in texts]
    if len(patterns) > MAX_PATTERNS:
        raise ValueError(value)
    return NumberPlan(patterns)


def read_allowed(value: Value) -> frozenset[str]:
    """``All``, ``None``, one kind or an array of kinds. Raises ``ValueError``."""
    if isinstance(value, str):
        whole = {"all": ALL, "none": frozenset[str]()}.get(value.lower())
        if whole is not None:
            return whole
        value = [value]
    found = frozenset(name.lower() for name in read_texts(value))
    if not found <= ALL:
        raise ValueError(value)
    return found


def read_shown_number(value: Value) -> str:
    """A telephone number to show, or nothing. Raises ``ValueError``."""
    text = read_text(value)
    if text and (_NUMBER.fullmatch(text) is None or len(text) > 32):
        raise ValueError(value)
    return text


BUILT_IN_PLAN: Final = read_plan({})

ALLOWED: Final = Form(f"All, None, or an array of {', '.join(KINDS)}", read_allowed)
PLAN: Final = Form(
    f"a dictionary of {', '.join(NUMBER_KINDS)} with arrays of patterns such as +7*, 8(10d), 0*",
    read_plan,
)
SHOWN_NUMBER: Final = Form("a telephone number such as +4930123456, or nothing", read_shown_number)
