"""Which digits may be told: one, at a prompt, where no secret is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as s

from pbx.voice.choices import Choice, Choices, prompt_name


def told(*steps: str, tell: bool = True) -> list[Choice]:
    """``>name`` plays a prompt, one character is a digit, ``.`` goes on otherwise."""
    choices = Choices(tell)
    found = []
    for step in steps:
        if step.startswith(">"):
            found.append(choices.played(step[1:]))
        elif step == ".":
            found.append(choices.flush())
        else:
            choices.digit(step, "x.sppr:7")
    found.append(choices.flush())
    return [one for one in found if one is not None]


def test_one_digit_at_a_prompt_is_a_choice() -> None:
    assert told(">welcome.wav", ">forsales", "1", ">thanks") == [
        Choice("welcome", "1", 1, "x.sppr:7")
    ]


@pytest.mark.parametrize(
    "steps",
    [
        (">dialnumber", "4", "0", "2"),
        (">enterPIN.wav", "4", ">welcome"),
        (">menu", ">password", "4", "."),
        ("4", "."),
        (">menu", "1", ".", "2"),
        (">enternumber", "4", ">n4", "0", ">n0", "2"),
        (">beep", "4", ">tone", "."),
    ],
)
def test_anything_else_is_only_counted(steps: tuple[str, ...]) -> None:
    assert all(one.choice == "" for one in told(*steps) if one.menu != "menu" or one.digits > 1)
    assert [one.choice for one in told(*steps)][-1] == ""


def test_a_menu_begins_anew_after_each_input() -> None:
    assert [(one.menu, one.choice) for one in told(">a", "1", ">b", ">c", "2", ">a")] == [
        ("a", "1"), ("b", "2"),
    ]  # fmt: skip
    # A secret masks its own input, not the next one.
    assert [one.choice for one in told(">enterpin", "1", "2", ">menu", "3", ".")] == ["", "3"]


def test_nothing_is_told_where_it_is_not_wanted() -> None:
    assert [one.choice for one in told(">menu", "1", tell=False)] == [""]


def test_what_counts_as_a_prompt() -> None:
    assert prompt_name("Welcome.WAV") == "welcome"
    for name in ("n4", "N1000few.wav", "4", "digit_7", "blank.wav", "", "beep", "a\nb"):
        assert prompt_name(name) == "", name
    assert len(prompt_name("x" * 500)) == 64


@given(s.text("0123456789", min_size=2, max_size=12), s.sampled_from([">n7", ">beep", ">silence"]))
def test_no_digit_of_a_number_is_ever_told(number: str, between: str) -> None:
    """Whatever is spoken or beeped between its digits."""
    steps = [">yournumber"]
    for digit in number:
        steps += [digit, between]
    found = told(*steps)
    assert [one.choice for one in found] == [""]
    assert found[0].digits == len(number)
