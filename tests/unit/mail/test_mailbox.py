"""The rules of a mailbox: UIDs, sizes, flags, modification sequences."""

from __future__ import annotations

import pytest

from mail import mailbox as rules
from mail.errors import MailboxFull
from mail.flags import NONE, parse_flags
from mail.mailbox import (
    MAX_UID,
    Mailbox,
    Message,
    next_uid_validity,
    parse_spans,
    span_uids,
    spans_of,
    spans_text,
)


def message(uid: int, modseq: int = 1, *flags: str) -> Message[str]:
    return Message(uid, modseq, frozenset(flags), 100, 0, uid, f"text {uid}")


def box(*messages: Message[str]) -> Mailbox[str]:
    made: Mailbox[str] = Mailbox()
    for one in messages:
        made.stored(one)
    return made


def test_a_uid_is_given_once() -> None:
    held = box(message(1), message(2))
    held.removed([2], 5)
    assert held.next_uid() == 3
    assert (held.size_bytes, held.modseq) == (100, 5)


def test_when_all_uids_are_given_out() -> None:
    held = box(message(MAX_UID))
    with pytest.raises(MailboxFull, match="all UIDs"):
        held.next_uid()
    held = box(message(MAX_UID - 1))
    assert held.next_uid() == MAX_UID
    with pytest.raises(MailboxFull):
        held.next_uid(2)


def test_a_mailbox_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_MESSAGES", 2)
    held = box(message(1))
    assert held.next_uid() == 2
    with pytest.raises(MailboxFull, match="has 2 messages"):
        held.next_uid(2)


def test_flags_and_what_changes_them() -> None:
    held = box(message(1, 1, "Seen"), message(2, 2), message(3, 3, "Deleted"))
    assert held.with_flags(parse_flags("Undeleted")) == [1, 2]
    assert held.deleted() == [3]
    assert held.changes([1, 2, 3, 9], parse_flags("Seen")) == {
        frozenset({"Seen"}): [2],
        frozenset({"Seen", "Deleted"}): [3],
    }
    held.flagged([2, 9], frozenset({"Seen"}), 7)
    assert held.messages[2].flags == {"Seen"}
    assert list(held.changed_since(3)) == [2]
    assert list(held.messages) == [1, 2, 3], "in the order of UIDs"


def test_attributes() -> None:
    held = box(message(1))
    held.described(1, {"a": "b"}, 4)
    held.described(9, {"a": "b"}, 5)
    assert held.messages[1].attributes == {"a": "b"}
    assert (held.messages[1].modseq, held.modseq) == (4, 5)


def test_the_original_uid_finds_the_newest_version() -> None:
    held = box(message(1))
    held.stored(Message(2, 2, NONE, 100, 0, 1, "edited"))
    assert held.by_original(1) == 2
    assert held.by_original(7) is None


def test_tokens_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_TOKENS", 2)
    held = box()
    for uid in (1, 2, 3):
        held.stored(message(uid), f"t{uid}")
    assert dict(held.tokens) == {"t2": 2, "t3": 3}


def test_a_closed_mailbox_is_empty() -> None:
    held = box(message(1))
    held.close(9)
    assert (held.closed, held.messages, held.size_bytes, held.modseq) == (True, {}, 0, 9)


def test_ranges() -> None:
    held = box(*(message(uid) for uid in (1, 2, 5, 6, 9)))
    assert held.within([(5, 9), (1, 1), (6, 7)]) == [1, 5, 6, 9]
    assert held.within([(3, 4)]) == held.within([]) == []
    assert spans_of([6, 1, 2, 5, 2]) == [(1, 2), (5, 6)]
    assert spans_text({9, 1, 2}) == "1:2,9"
    assert parse_spans("1:2,9") == [(1, 2), (9, 9)]
    assert list(span_uids("1:3,9")) == [1, 2, 3, 9]
    for text in ("", "0", "2:1", "x", "1:", f"{MAX_UID + 1}"):
        with pytest.raises(ValueError):
            parse_spans(text)


def test_uid_validity_only_grows() -> None:
    assert next_uid_validity(0, 1000) == 1000
    assert next_uid_validity(1000, 1000) == 1001
    assert next_uid_validity(5000, 1000) == 5001
    assert next_uid_validity(0, 2**40) == MAX_UID
