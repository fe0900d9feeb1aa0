"""Names of mailboxes, and patterns of them."""

from __future__ import annotations

import pytest

from mail.errors import MailboxNameError
from mail.names import is_below, mailbox_name, matches, moved, parents, place


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("inbox", "INBOX"),
        ("InBox/Old", "INBOX/Old"),
        ("Sent Items", "Sent Items"),
        ("Входящие/Важное", "Входящие/Важное"),
        ("e\u0301", "\u00e9"),
        ("inbox2", "inbox2"),
    ],
)
def test_a_name_is_stored_in_one_form(text: str, name: str) -> None:
    assert mailbox_name(text) == name


@pytest.mark.parametrize(
    "text",
    ["", "/", "a//b", "a/", "/a", " a", "a /b", "a/..", "a\nb", "a\0", "~x", "#x", "a*", "50%",
     "x" * 256, "я" * 128, "/".join("abcdefghijklmnopqrstu"), "\ud800"],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(MailboxNameError, match=r"mailbox"):
        mailbox_name(text)


def test_whose_mailbox_is_meant() -> None:
    assert place("Work") == ("", "Work")
    assert place("~/Work") == ("", "Work")
    assert place("~ann/Work/Old") == ("ann", "Work/Old")
    assert place("~ann@example.org/INBOX") == ("ann@example.org", "INBOX")
    for text in ("~ann", "~ann/", "~"):
        with pytest.raises(MailboxNameError, match="names no mailbox"):
            place(text)


def test_levels() -> None:
    assert is_below("a/b", "a")
    assert not is_below("ab", "a")
    assert not is_below("a", "a")
    assert parents("a/b/c") == ["a", "a/b"]
    assert moved("a/b/c", "a/b", "x") == "x/c"
    assert moved("a", "a", "x/y") == "x/y"


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("INBOX", "inbox", True),
        ("INBOX", "*", True),
        ("Work/Old", "*", True),
        ("Work/Old", "%", False),
        ("Work", "%", True),
        ("Work/Old", "Work/%", True),
        ("Work/Old/1", "Work/%", False),
        ("Work/Old/1", "Work*1", True),
        ("Work", "W%k", True),
        ("Work", "work", False),
        ("Work", "", False),
        ("ab", "a*%b", True),
        ("a/b", "a%*b", True),
        ("a", "aa", False),
    ],
)
def test_patterns(name: str, pattern: str, fits: bool) -> None:
    assert matches(name, pattern) is fits


def test_a_pattern_made_to_take_long_takes_no_time() -> None:
    assert not matches("a" * 255, "*a" * 120 + "b")
    assert not matches("a" * 255, "*" * 10_000 + "b")
