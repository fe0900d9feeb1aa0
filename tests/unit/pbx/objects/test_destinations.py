"""Number plans: which kind a number is of, and what settings may say."""

from __future__ import annotations

import pytest

from pbx.kernel.errors import DomainError
from pbx.objects.check import check
from pbx.objects.destinations import (
    ALL,
    BUILT_IN_PLAN,
    read_allowed,
    read_plan,
    read_shown_number,
)

RUSSIA = read_plan(
    {
        "national": ["+7*", "8(10d)"],
        "mobile": ["+79*", "89(9d)"],
        "local": "(7d)",
        "premium": ["+7809*", "8809*", "0900*"],
    }
)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("401", "local"), ("000402", "international"), ("2345678", "local"),
        ("+74951234567", "national"), ("84951234567", "national"), ("+79161234567", "mobile"),
        ("89161234567", "mobile"), ("+78091234567", "premium"), ("88091234567", "premium"),
        ("+4930123456", "international"), ("004930123456", "international"),
        ("0079161234567", "mobile"), ("8104930123456", "international"), ("0900123", "premium"),
        ("12345678", "national"), ("+19001234567", "international"),
        ("", ""), ("x1", ""), ("1*2", ""), ("+", ""), ("٣٣٣", ""),
    ],
)  # fmt: skip
def test_the_longest_beginning_decides(number: str, kind: str) -> None:
    assert RUSSIA.kind_of(number)[0] == kind


def test_built_in() -> None:
    """Premium and satellite numbers, by + and by 00; the rest by length."""
    kinds = {
        number: BUILT_IN_PLAN.kind_of(number)
        for number in ("+19001234567", "0019001234567", "+8821234", "+12025550123", "5551234", "55")
    }
    assert kinds == {
        "+19001234567": ("premium", "+1900*"), "0019001234567": ("premium", "+1900*"),
        "+8821234": ("premium", "+882*"), "+12025550123": ("international", "+*"),
        "5551234": ("national", ""), "55": ("local", ""),
    }  # fmt: skip


def test_of_equal_beginnings_the_exact_length_and_then_the_dearer_kind() -> None:
    plan = read_plan({"national": ["5*", "6*"], "local": ["5(3d)"], "mobile": ["6*"]})
    assert plan.kind_of("5123")[0] == "local"
    assert plan.kind_of("51234")[0] == "national"
    assert plan.kind_of("61")[0] == "mobile"


@pytest.mark.parametrize(
    "value",
    [
        {"cheap": ["1*"]}, {"sip": ["1*"]}, {"local": ["1*2"]}, {"local": ["(x)"]}, {"local": [""]},
        {"local": ["(9-7d)"]}, {"local": ["(0d)"]}, {"local": ["+"]}, {"local": [["1"]]}, "1*", [],
        {"local": ["1*"] * 501},
    ],
)  # fmt: skip
def test_plans_that_are_none(value: object) -> None:
    with pytest.raises(ValueError):
        read_plan(value)  # type: ignore[arg-type]


def test_allowed() -> None:
    assert read_allowed("All") == ALL
    assert read_allowed("none") == frozenset()
    assert read_allowed("Internal") == {"internal"}
    assert read_allowed(["LOCAL", "internal"]) == {"internal", "local"}
    for wrong in ("some", ["local", "lokal"], {"a": "b"}, 5):
        with pytest.raises(ValueError):
            read_allowed(wrong)  # type: ignore[arg-type]


def test_shown_number() -> None:
    assert read_shown_number("+4930123456") == "+4930123456"
    assert read_shown_number("") == ""
    for wrong in ('1" <sip:x', "1\r\n", "a", "1" * 33, ["1"]):
        with pytest.raises(ValueError):
            read_shown_number(wrong)  # type: ignore[arg-type]


def test_a_wrong_setting_is_refused_with_the_form() -> None:
    with pytest.raises(DomainError, match="CallOutAllowed: expected All, None, or an array of int"):
        check("account", "settings", {"CallOutAllowed": ["lokal"]})
    with pytest.raises(
        DomainError, match=r"CallClasses: expected a dictionary of local, .*8\(10d\)"
    ):
        check("domain", "account-defaults", {"CallClasses": {"local": ["1*2"]}})
