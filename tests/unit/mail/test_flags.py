"""Flags and their negative names."""

from __future__ import annotations

import pytest

from mail.errors import FlagError
from mail.flags import MAX_TEXT, NAMES, flags_text, ordered, parse_flags


def test_names_and_negative_names_in_any_letter_case() -> None:
    found = parse_flags(" Seen, undeleted,UNJUNK ,$Label1,Un$Forwarded,")
    assert found.has == {"Seen", "$Label1"}
    assert found.lacks == {"Deleted", "Junk", "$Forwarded"}
    assert parse_flags("") == (frozenset(), frozenset())
    for name in NAMES:
        assert parse_flags(name).has == parse_flags(f"un{name.lower()}").lacks == {name}


@pytest.mark.parametrize("text", ["Read", "Seen,Unseen", "Un", "$", "$ä", "x" * (MAX_TEXT + 1)])
def test_what_is_no_flag(text: str) -> None:
    with pytest.raises(FlagError):
        parse_flags(text)


def test_filters() -> None:
    wanted = parse_flags("Seen,Undeleted")
    assert wanted.fits(frozenset({"Seen", "Media"}))
    assert not wanted.fits(frozenset({"Seen", "Deleted"}))
    assert not wanted.fits(frozenset())


def test_changes() -> None:
    held = frozenset({"Seen", "$a"})
    assert parse_flags("Unseen,Flagged").applied(held) == {"Flagged", "$a"}
    with pytest.raises(FlagError, match="Recent"):
        parse_flags("Recent").applied(held)
    many = frozenset(f"${n}" for n in range(32))
    assert len(parse_flags("$0").applied(many)) == 32
    with pytest.raises(FlagError, match="at most 32 keywords"):
        parse_flags("$new").applied(many)


def test_one_order() -> None:
    assert ordered({"$b", "Media", "$a", "Seen"}) == ("Seen", "Media", "$a", "$b")
    assert flags_text({"Deleted", "Seen"}) == "Seen,Deleted"
