"""Numbers as they are written in several countries."""

from __future__ import annotations

import pytest

from pbx.router.e164 import NumberForm, NumberingPlan, numbering_plan

MOSCOW = numbering_plan("7(495)")
BERLIN = numbering_plan("49(30)")
SAN_FRANCISCO = numbering_plan("1(415)")
ROME = numbering_plan("39")


@pytest.mark.parametrize(
    ("plan", "written", "meant"),
    [
        (MOSCOW, "+7 (916) 123-45-67", "+79161234567"),
        (MOSCOW, "7(123)456-78-90", "+71234567890"),
        (MOSCOW, "89161234567", "+79161234567"),
        (MOSCOW, "8 (495) 123 45 67", "+74951234567"),
        (MOSCOW, "4951234567", "+74951234567"),
        (MOSCOW, "1234567", "+74951234567"),
        (MOSCOW, "(495) 123-45-67", "+74951234567"),
        (MOSCOW, "81012025550123", "+12025550123"),
        (MOSCOW, "401", ""),
        (MOSCOW, "user1", ""),
        (MOSCOW, "+7", ""),
        (MOSCOW, "", ""),
        (MOSCOW, "00000X", ""),
        (BERLIN, "030 1234567", "+49301234567"),
        (BERLIN, "0049301234567", "+49301234567"),
        (BERLIN, "1234567", ""),  # of five to thirteen digits nobody can tell
        (SAN_FRANCISCO, "5550123", "+14155550123"),
        (SAN_FRANCISCO, "1-202-555-0123", "+12025550123"),
        (SAN_FRANCISCO, "011 49 30 1234567", "+49301234567"),
        (ROME, "0012025550123", "+12025550123"),
        (MOSCOW, "+0123456789", ""),
        (MOSCOW, "+1234567890123456", ""),
    ],
)
def test_numbers(plan: NumberingPlan, written: str, meant: str) -> None:
    assert plan.e164(written) == meant


def test_forms() -> None:
    assert MOSCOW.form("+74951234567", NumberForm.NATIONAL) == "84951234567"
    assert MOSCOW.form("+12025550123", NumberForm.NATIONAL) == "81012025550123"
    assert MOSCOW.form("+74951234567", NumberForm.DIGITS) == "74951234567"
    assert MOSCOW.form("401", NumberForm.NATIONAL) == "401"


def test_settings_go_before_what_is_known_of_the_country() -> None:
    plan = numbering_plan("7(495)", "9", "00")
    assert plan.e164("94951234567") == "+74951234567"
    assert plan.e164("0012025550123") == "+12025550123"
    assert numbering_plan("972").e164("0212345678") == "+972212345678"


@pytest.mark.parametrize("text", ["", "0(30)", "7(", "seven", "1(415)2", "1234(5)", "7 495"])
def test_area_codes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no area code: write"):
        numbering_plan(text)


def test_prefixes_that_are_none() -> None:
    with pytest.raises(ValueError, match="is no prefix"):
        numbering_plan("7", "a")
    with pytest.raises(ValueError, match="is no prefix"):
        numbering_plan("7", None, "00, +")
