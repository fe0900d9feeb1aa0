"""Telephone numbers in their world-wide form, ``+74951234567`` (ITU-T E.164).

A :class:`NumberingPlan` is how numbers are written at one place: the country and area code, and the
prefixes dialled before national and international numbers. It is made of settings (``1(415)``, the
form of the setting *Local Area Code*) and of a small table of countries that fills in what is not
set. Numbers that the plan cannot place (extensions, service numbers, names) are left alone: a
number that is not understood is better than a wrong one.

Pure; used for assigned numbers, and for the caller's number toward and from other systems.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

MAX_DIGITS: Final = 15
"""E.164 §6: country code and national number together."""
MIN_DIGITS: Final = 7
"""The shortest number in use has seven digits with its country code."""


class NumberForm(Enum):
    """Ways to write a number toward another system."""

    E164 = "E.164"
    DIGITS = "digits"
    """Without the plus."""
    NATIONAL = "national"
    """With the national prefix in our country, with the international one for others."""


class Country(NamedTuple):
    """What is dialled there, and how long a national number is without prefix."""

    international: tuple[str, ...]
    national: str
    shortest: int
    longest: int


_ZEROS: Final = ("00",)
_ELSEWHERE: Final = Country(_ZEROS, "0", 0, 0)
"""The prefixes that ITU-T recommends; nothing is known of lengths."""

COUNTRIES: Final[dict[str, Country]] = {
    "1": Country(("011",), "1", 10, 10),
    "7": Country(("810",), "8", 10, 10),
    "31": Country(_ZEROS, "0", 9, 9),
    "32": Country(_ZEROS, "0", 8, 9),
    "33": Country(_ZEROS, "0", 9, 9),
    "34": Country(_ZEROS, "", 9, 9),
    "39": Country(_ZEROS, "", 6, 11),
    "41": Country(_ZEROS, "0", 9, 9),
    "43": Country(_ZEROS, "0", 4, 13),
    "44": Country(_ZEROS, "0", 9, 10),
    "45": Country(_ZEROS, "", 8, 8),
    "46": Country(_ZEROS, "0", 7, 9),
    "47": Country(_ZEROS, "", 8, 8),
    "48": Country(_ZEROS, "", 9, 9),
    "49": Country(_ZEROS, "0", 5, 13),
    "61": Country(("0011",), "0", 9, 9),
    "81": Country(("010",), "0", 9, 10),
    "90": Country(_ZEROS, "0", 10, 10),
    "91": Country(_ZEROS, "0", 10, 10),
    "358": Country(_ZEROS, "0", 5, 12),
    "371": Country(_ZEROS, "", 8, 8),
    "372": Country(_ZEROS, "", 7, 8),
    "380": Country(_ZEROS, "0", 9, 9),
    "420": Country(_ZEROS, "", 9, 9),
    "421": Country(_ZEROS, "0", 9, 9),
}
"""By country code; settings go before it."""

_NUMBER: Final = re.compile(r"\s*\+?\(?[0-9][0-9 ()./\u2010-\u2015-]*\s*")
_SEPARATORS: Final = re.compile(r"[^0-9]")
_AREA_CODE: Final = re.compile(r"\s*\+?([1-9][0-9]{0,2})\s*(?:\(\s*([0-9]{0,6})\s*\))?\s*")
_PREFIX: Final = re.compile(r"[0-9]{0,6}")


class NumberingPlan(NamedTuple):
    """See the module."""

    country: str
    """Country code, digits."""
    area: str = ""
    """Area code without national prefix; empty where none is left out when dialling."""
    international: tuple[str, ...] = _ZEROS
    national: str = "0"
    """Empty: national numbers are dialled as they are."""
    shortest: int = 0
    longest: int = 0
    """Digits of a national number without prefix; 0: not known."""

    def e164(self, text: str) -> str:
        """The number with its plus; empty for what is no number, or none that can be placed."""
        if _NUMBER.fullmatch(text) is None:
            return ""
        digits = _SEPARATORS.sub("", text)
        if text.lstrip().startswith("+"):
            return _whole(digits)
        for prefix in self.international:
            if digits.startswith(prefix):
                found = _whole(digits[len(prefix) :])
                if found:
                    return found
        if self.national and digits.startswith(self.national):
            found = self._in_country(digits[len(self.national) :])
            if found:
                return found
        if self.shortest == 0 or self.shortest != self.longest:
            return ""  # without a fixed length nobody can tell what is missing in front
        return (
            self._in_country(digits)
            or (self._in_country(digits[len(self.country) :]) if self._begins(digits) else "")
            or (self._in_country(self.area + digits) if self.area else "")
        )

    def form(self, number: str, form: NumberForm) -> str:
        """A number of :meth:`e164` as another system wants it; anything else stays as it is."""
        digits = number.removeprefix("+")
        if digits == number or form is NumberForm.E164:
            return number
        if form is NumberForm.DIGITS:
            return digits
        if digits.startswith(self.country) and self._fits(digits[len(self.country) :]):
            return self.national + digits[len(self.country) :]
        return self.international[0] + digits if self.international else digits

    def _begins(self, digits: str) -> bool:
        return digits.startswith(self.country)

    def _fits(self, national: str) -> bool:
        if not self.shortest:
            return MIN_DIGITS <= len(self.country) + len(national) <= MAX_DIGITS
        return self.shortest <= len(national) <= self.longest

    def _in_country(self, national: str) -> str:
        return _whole(self.country + national) if self._fits(national) else ""


def _whole(digits: str) -> str:
    """With its plus, if it can be a number: country codes begin with no zero."""
    if not MIN_DIGITS <= len(digits) <= MAX_DIGITS or digits[0] == "0":
        return ""
    return f"+{digits}"


def numbering_plan(
    area_code: str, national: str | None = None, international: str | None = None
) -> NumberingPlan:
    """A plan from settings: ``7(495)``, and the prefixes if they are not those of the country.

    Several international prefixes are separated by commas. Raises ``ValueError``, in words.
    """
    match = _AREA_CODE.fullmatch(area_code)
    if match is None:
        raise ValueError(f"{area_code!r} is no area code: write 1(415), 7(495), 49(30) or 372")
    country, area = match[1], match[2] or ""
    known = COUNTRIES.get(country, _ELSEWHERE)
    own = None if national is None else _prefix(national)
    others = known.international
    if international is not None:
        others = tuple(_prefix(piece) for piece in international.split(",") if piece.strip())
    return NumberingPlan(
        country,
        area,
        # The longest one that fits is meant: 00 and 0011.
        tuple(sorted(others, key=len, reverse=True)),
        known.national if own is None else own,
        known.shortest,
        known.longest,
    )


def _prefix(text: str) -> str:
    text = text.strip()
    if _PREFIX.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no prefix: up to six digits")
    return text
