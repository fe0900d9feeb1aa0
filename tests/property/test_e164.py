"""Telephone numbers: what a plan makes of them is a fixed point, whatever comes in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbx.router.e164 import COUNTRIES, NumberForm, NumberingPlan, numbering_plan

DIGITS = st.text("0123456789", min_size=1, max_size=15)


@st.composite
def plans(draw: st.DrawFn) -> NumberingPlan:
    """Of a known country or of one that nothing is known of, with or without own prefixes."""
    country = draw(st.sampled_from([*sorted(COUNTRIES), "20", "972"]))
    area = draw(st.sampled_from(["", "495", "30", "415"]))
    own = draw(st.booleans())
    return numbering_plan(
        f"{country}({area})" if area else country,
        draw(st.sampled_from(["", "0", "8"])) if own else None,
        draw(st.sampled_from(["00", "810", "00, 011"])) if own else None,
    )


@given(plans(), st.text(max_size=40))
def test_any_text_gives_a_number_or_nothing(plan: NumberingPlan, text: str) -> None:
    number = plan.e164(text)
    if number:
        assert number[0] == "+"
        assert number[1:].isascii()
        assert number[1:].isdigit()
        assert 7 <= len(number) - 1 <= 15
        assert plan.e164(number) == number


@given(plans(), st.sampled_from(["+", "", "00", "8", "0", "("]), DIGITS, st.sampled_from(" -()./"))
def test_separators_mean_nothing(plan: NumberingPlan, front: str, digits: str, mark: str) -> None:
    written = front + digits[0] + mark + digits[1:]
    assert plan.e164(written) == plan.e164(front.strip("(") + digits)


@given(st.sampled_from(sorted(COUNTRIES)), st.data())
def test_forms_lead_back_to_the_number(code: str, data: st.DataObject) -> None:
    """National and international spelling of a number of the country mean that number."""
    country = COUNTRIES[code]
    length = data.draw(st.integers(max(country.shortest, 7 - len(code)), country.longest))
    first = data.draw(st.sampled_from("3479"))
    rest = data.draw(st.text("0123456789", min_size=length - 1, max_size=length - 1))
    plan = numbering_plan(code)
    number = f"+{code}{first}{rest}"
    assert plan.e164(number) == number
    national = plan.form(number, NumberForm.NATIONAL)
    if plan.national or plan.shortest == plan.longest:
        assert plan.e164(national) == number
    assert plan.e164(plan.international[0] + number[1:]) == number
    assert plan.form(number, NumberForm.DIGITS) == number[1:]
    assert plan.form(number, NumberForm.E164) == number


@given(plans(), st.text("0123456789", min_size=1, max_size=5))
def test_short_numbers_are_left_alone(plan: NumberingPlan, digits: str) -> None:
    """Extensions and service numbers are no telephone numbers of the world."""
    if not plan.area:
        assert plan.e164(digits) == ""


@given(plans(), st.text(max_size=20), st.sampled_from(NumberForm))
def test_only_numbers_are_written_otherwise(
    plan: NumberingPlan, text: str, form: NumberForm
) -> None:
    if not text.startswith("+"):
        assert plan.form(text, form) == text
