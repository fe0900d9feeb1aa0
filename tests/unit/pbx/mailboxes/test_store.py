"""The store: what it does to mailboxes, what it refuses, what races and crashes leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mail.errors import MailboxNameError, MessageError
from mail.flags import SEEN, parse_flags
from pbx.domain import mailboxes as m
from pbx.domain.setting_events import AccountSettingsChanged, DomainSettingsChanged
from pbx.eventlog import Conflict, MemoryLog, Meta, OutcomeUnknown
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Event
from pbx.mail_closing import close_mail_account, close_mailbox
from pbx.mailboxes import store as stores
from tests.support.mail_lab import ANN, BOB, MailLab, text_message, voice_message

META = Meta(actor="test")


@pytest.fixture
def lab() -> MailLab:
    return MailLab()


def test_a_voice_message_is_mail_in_the_inbox(lab: MailLab) -> None:
    stored = lab.put(voice_message("Bob <bob@example.org>", urgent=True))
    box = lab.store.catalog(ANN).find("INBOX")
    assert box is not None
    message = lab.store.messages(ANN, box.number).messages[stored.uid]
    assert message.flags == {"Media"}
    assert message.received_ns == lab.clock.wall_ns()
    content = message.content
    assert (content.sender, content.subject) == ("Bob <bob@example.org>", "Voice Message")
    assert (content.content_class, content.urgent) == ("voice", True)
    assert lab.store.read(*stored) == voice_message("Bob <bob@example.org>", urgent=True)
    assert lab.put(text_message()).uid == 2
    assert lab.store.messages(ANN, box.number).messages[2].flags == frozenset()


def test_texts_are_encrypted_where_they_lie(lab: MailLab) -> None:
    lab.put(text_message(text="the secret of the house"))
    for sealed in lab.blobs._contents.values():
        assert b"secret" not in sealed
    assert all(b"secret" not in record.data for record in lab.log.read())


def test_a_repeated_delivery_is_stored_once(lab: MailLab) -> None:
    first = lab.put(text_message(), token="d1")
    assert lab.put(text_message(), token="d1") == first
    assert lab.put(text_message(), token="d2").uid == 2
    assert len(lab.store.messages(*first[:2]).messages) == 2


def test_two_stores_agree(lab: MailLab) -> None:
    """As two processes: the loser of a race decides again."""
    other = lab.another_store()
    lab.put(text_message())
    number = other.box(ANN, "INBOX").number
    other.set_flags(ANN, number, [1], parse_flags("Seen"))
    lab.put(text_message())
    other.set_flags(ANN, number, [1, 2], parse_flags("Flagged"))
    assert lab.store.messages(ANN, number).messages == other.messages(ANN, number).messages
    assert lab.store.messages(ANN, number).messages[1].flags == {"Seen", "Flagged"}


class Rival(MemoryLog):
    """A log in which somebody else is always faster, for a while."""

    rivals: list[tuple[str, Event]]

    def append(
        self, stream: str, expected_version: int, events: Sequence[Event], meta: Meta
    ) -> int:
        if getattr(self, "rivals", None) and stream == self.rivals[0][0]:
            _, event = self.rivals.pop(0)
            super().append(stream, expected_version, [event], meta)
            raise Conflict(stream, expected_version, expected_version + 1)
        return super().append(stream, expected_version, events, meta)


def stored_event(uid: int, **more: Any) -> m.MailStored:
    return m.MailStored(
        uid=uid, sha256="0" * 64, key="a key", size_bytes=10, received_ns=1, token=f"r{uid}", **more
    )


def test_uids_stay_unique_when_deliveries_race() -> None:
    lab = MailLab(log=Rival())
    stream = m.messages_stream(ANN, lab.store.box(ANN, "INBOX").number)
    assert isinstance(lab.log, Rival)
    lab.log.rivals = [(stream, stored_event(1)), (stream, stored_event(2))]
    stored = lab.put(text_message())
    assert stored.uid == 3
    assert list(lab.store.messages(*stored[:2]).messages) == [1, 2, 3]


def test_a_delivery_that_loses_against_a_deletion_is_refused() -> None:
    lab = MailLab(log=Rival())
    lab.store.create(ANN, "Work")
    box = lab.store.box(ANN, "Work")
    assert isinstance(lab.log, Rival)
    lab.log.rivals = [(m.messages_stream(ANN, box.number), m.MailClosed())]
    with pytest.raises(DomainError, match="no such mailbox"):
        lab.store.store(ANN, box.number, lab.store.prepare(text_message()), token="t")


class Unsure(MemoryLog):
    """A log that does not know whether it appended, once."""

    takes = False
    armed = False

    def append(
        self, stream: str, expected_version: int, events: Sequence[Event], meta: Meta
    ) -> int:
        if self.armed:
            self.armed = False
            if self.takes:
                super().append(stream, expected_version, events, meta)
            raise OutcomeUnknown("the broker did not answer in time")
        return super().append(stream, expected_version, events, meta)


@pytest.mark.parametrize("takes", [True, False])
def test_an_outcome_that_nobody_knows_never_doubles_a_message(takes: bool) -> None:
    lab = MailLab(log=Unsure())
    assert isinstance(lab.log, Unsure)
    number = lab.store.box(ANN, "INBOX").number
    lab.log.armed, lab.log.takes = True, takes
    if takes:
        assert lab.put(text_message(), token="d").uid == 1
    else:
        with pytest.raises(OutcomeUnknown):
            lab.put(text_message(), token="d")
    assert lab.put(text_message(), token="d").uid == 1
    assert len(lab.store.messages(ANN, number).messages) == 1


def test_flags_and_expunge(lab: MailLab) -> None:
    for _ in range(4):
        number = lab.put(text_message()).number
    lab.store.set_flags(ANN, number, [1, 2, 9], parse_flags("Deleted"))
    lab.store.set_flags(ANN, number, [3], parse_flags("Seen"))
    before = lab.log.head()
    lab.store.set_flags(ANN, number, [3], parse_flags("Seen,Unflagged"))
    assert lab.log.head() == before, "nothing changed, nothing is written"
    lab.store.expunge(ANN, number)
    assert list(lab.store.messages(ANN, number).messages) == [3, 4]
    lab.store.remove(ANN, number, [4, 7])
    assert list(lab.store.messages(ANN, number).messages) == [3]
    assert lab.put(text_message()).uid == 5


def test_a_large_change_is_one_append_of_several_events(
    lab: MailLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(m, "UIDS_PER_EVENT", 2)
    for _ in range(5):
        number = lab.put(text_message()).number
    lab.store.set_flags(ANN, number, range(1, 6), parse_flags("Deleted"))
    types = [record.type for record in lab.log.read_stream(m.messages_stream(ANN, number))]
    assert types[5:] == ["mail.flags-set.v1"] * 3
    lab.store.expunge(ANN, number)
    assert not lab.store.messages(ANN, number).messages


def test_copies_and_moves(lab: MailLab) -> None:
    number = lab.put(voice_message()).number
    lab.put(text_message())
    lab.store.set_flags(ANN, number, [1], parse_flags("Seen"))
    lab.store.set_attributes(ANN, number, 1, {"note": "call back"})
    theirs = lab.store.box(BOB, "INBOX").number
    assert lab.store.copy((ANN, number), [1, 2, 9], (BOB, theirs), token="c") == [1, 2]
    assert lab.store.copy((ANN, number), [1, 2, 9], (BOB, theirs), token="c") == [1, 2]
    copied = lab.store.messages(BOB, theirs).messages
    assert copied[1].flags == {"Seen", "Media"}
    assert copied[1].attributes == {"note": "call back"}
    assert lab.store.read(BOB, theirs, 1) == voice_message()
    lab.store.create(ANN, "Old")
    old = lab.store.box(ANN, "Old").number
    assert lab.store.copy((ANN, number), [2], (ANN, old), token="m", move=True) == [1]
    assert list(lab.store.messages(ANN, number).messages) == [1]
    assert lab.store.copy((ANN, number), [2], (ANN, old), token="n", move=True) == []


def test_many_copies_come_in_appends_that_a_broker_takes(
    lab: MailLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "APPEND_MESSAGES", 2)
    for _ in range(5):
        number = lab.put(text_message()).number
    lab.store.set_attributes(ANN, number, 5, {"note": "x" * 10_000})
    lab.store.create(ANN, "Old")
    old = (ANN, lab.store.box(ANN, "Old").number)
    assert lab.store.copy((ANN, number), range(1, 6), old, token="c") == [1, 2, 3, 4, 5]
    assert lab.store.copy((ANN, number), range(1, 6), old, token="c") == [1, 2, 3, 4, 5]
    assert len(lab.store.messages(*old).messages) == 5
    monkeypatch.setattr(stores, "APPEND_BYTES", 50_000)
    assert lab.store.copy((ANN, number), range(1, 6), old, token="d", move=True) == [6, 7, 8, 9, 10]
    assert not lab.store.messages(ANN, number).messages


def test_a_message_is_replaced_by_its_new_version(lab: MailLab) -> None:
    first = lab.put(text_message("draft"))
    again = lab.store.store(
        ANN, first.number, lab.store.prepare(text_message("draft 2")), token="r", replaces=1
    )
    held = lab.store.messages(ANN, first.number)
    assert list(held.messages) == [again.uid] == [2]
    assert held.messages[2].original_uid == 1
    assert held.by_original(1) == 2


def test_attributes_have_bounds(lab: MailLab) -> None:
    number = lab.put(text_message()).number
    lab.store.set_attributes(ANN, number, 1, {"a": "b", "c": "d"})
    lab.store.set_attributes(ANN, number, 1, {"a": None, "x": None})
    assert lab.store.messages(ANN, number).messages[1].attributes == {"c": "d"}
    with pytest.raises(DomainError, match="at most 50 attributes"):
        lab.store.set_attributes(ANN, number, 1, {"c": "x" * 16_001})
    with pytest.raises(DomainError, match="no such message"):
        lab.store.set_attributes(ANN, number, 7, {"c": "d"})


class TestMailboxes:
    def names(self, lab: MailLab) -> list[str]:
        return sorted(box.name for box in lab.store.catalog(ANN).boxes.values())

    def test_come_and_go(self, lab: MailLab) -> None:
        for name in ("Work/Old", "Work", "Archive/"):
            lab.store.create(ANN, name)
        assert self.names(lab) == ["Archive", "Work", "Work/Old"]
        assert lab.store.catalog(ANN).find("Archive") is None, "a folder holds no messages"
        with pytest.raises(DomainError, match="already"):
            lab.store.create(ANN, "Work")
        lab.store.create(ANN, "Archive", mailbox_class="IPF.Contact")
        assert lab.store.box(ANN, "Archive").mailbox_class == "IPF.Contact"
        lab.store.rename(ANN, "Work", "Job", sub=True)
        assert self.names(lab) == ["Archive", "Job", "Job/Old"]
        lab.store.rename(ANN, "Job", "Job2", sub=False)
        assert self.names(lab) == ["Archive", "Job/Old", "Job2"]
        lab.store.delete(ANN, "Job", sub=True)
        assert self.names(lab) == ["Archive", "Job2"]

    def test_a_renamed_mailbox_keeps_messages_and_uids(self, lab: MailLab) -> None:
        lab.store.create(ANN, "Work")
        lab.put(text_message(), name="Work")
        validity = lab.store.box(ANN, "Work").uid_validity
        lab.store.rename(ANN, "Work", "Job", sub=False)
        box = lab.store.box(ANN, "Job")
        assert box.uid_validity == validity
        assert list(lab.store.messages(ANN, box.number).messages) == [1]

    def test_one_made_anew_is_another(self, lab: MailLab) -> None:
        """UIDs of the old one must not mean messages of the new one."""
        lab.store.create(ANN, "Work")
        lab.put(text_message(), name="Work")
        old = lab.store.box(ANN, "Work")
        lab.store.delete(ANN, "Work", sub=False)
        lab.store.create(ANN, "Work")
        new = lab.store.box(ANN, "Work")
        assert new.uid_validity > old.uid_validity
        assert not lab.store.messages(ANN, new.number).messages

    def test_what_is_refused(self, lab: MailLab) -> None:
        lab.store.create(ANN, "Work")
        lab.store.create(ANN, "Work/Old")
        lab.store.box(ANN, "INBOX")
        for refused in (
            lambda: lab.store.rename(ANN, "INBOX", "x", sub=False),
            lambda: lab.store.rename(ANN, "Work", "INBOX", sub=False),
            lambda: lab.store.rename(ANN, "Work", "Work/Old", sub=False),
            lambda: lab.store.rename(ANN, "Work", "Work/New", sub=True),
            lambda: lab.store.rename(ANN, "None", "x", sub=True),
            lambda: lab.store.delete(ANN, "inbox", sub=False),
            lambda: lab.store.delete(ANN, "None", sub=True),
            lambda: lab.store.box(ANN, "None"),
            lambda: lab.store.create("nobody@example.org", "x"),
            lambda: lab.store.box("nobody@example.org", "INBOX"),
        ):
            with pytest.raises(DomainError):
                refused()
        with pytest.raises(MailboxNameError):
            lab.store.create(ANN, "a//b")

    def test_have_a_bound(self, lab: MailLab) -> None:
        lab.log.append(
            f"account/{ANN}", 2, [AccountSettingsChanged(values={"MaxMailboxes": "2"})], META
        )
        lab.store.create(ANN, "a")
        lab.store.create(ANN, "b")
        with pytest.raises(DomainError, match="has 2 mailboxes"):
            lab.store.create(ANN, "c")
        lab.put(text_message())  # INBOX is there whatever the bound is

    def test_below_another_are_for_those_who_may_use_that(self, lab: MailLab) -> None:
        lab.store.create(ANN, "Team")
        team = lab.store.box(ANN, "Team").number
        lab.store.set_access(ANN, team, {"bob": "lrs", "anyone": "l"})
        lab.store.set_access(ANN, team, {"Bob": "+w", "anyone": None})
        lab.store.create(ANN, "Team/Sub")
        assert lab.store.box(ANN, "Team/Sub").access == (m.AccessEntry(who="bob", rights="lrsw"),)
        lab.store.set_access(ANN, team, {"bob": "-rs"})
        assert lab.store.box(ANN, "Team").access == (m.AccessEntry(who="bob", rights="lw"),)
        for wrong in ({"bob": "z"}, {"": "l"}, {"a b": "l"}, {"+-bob": "l"}):
            with pytest.raises(DomainError):
                lab.store.set_access(ANN, team, wrong)

    def test_aliases_and_subscription(self, lab: MailLab) -> None:
        lab.store.set_aliases(ANN, {"group1": "~bob/group1"})
        lab.store.set_subscription(ANN, ["INBOX", "Work", "INBOX"])
        catalog = lab.another_store().catalog(ANN)
        assert catalog.aliases == {"group1": "~bob/group1"}
        assert catalog.subscription == ("INBOX", "Work")
        with pytest.raises(DomainError, match="at most"):
            lab.store.set_aliases(ANN, {str(n): "~bob/x" for n in range(500)})
        with pytest.raises(DomainError, match="at most"):
            lab.store.set_subscription(ANN, [str(n) for n in range(5000)])


class TestLimits:
    def test_a_full_account_takes_nothing(self, lab: MailLab) -> None:
        size = len(text_message())
        changed = AccountSettingsChanged(values={"MaxAccountSize": str(size * 2)})
        lab.log.append(f"account/{ANN}", 2, [changed], META)
        lab.put(text_message())
        lab.put(text_message())
        with pytest.raises(DomainError, match="mail storage of ann"):
            lab.put(text_message())
        lab.store.remove(ANN, 1, [1])
        lab.put(text_message())

    def test_of_the_domain_and_of_one_message(self, lab: MailLab) -> None:
        changed = DomainSettingsChanged(section="account-defaults", values={"MaxMessageSize": "1K"})
        lab.log.append("domain/example.org", 1, [changed], META)
        with pytest.raises(DomainError, match="larger than ann"):
            lab.put(voice_message())
        lab.put(text_message())

    def test_no_message_is_larger_than_the_server_takes(
        self, lab: MailLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stores, "MAX_MESSAGE_BYTES", 100)
        with pytest.raises(MessageError, match="larger"):
            lab.store.prepare(bytes(101))

    def test_folded_mailboxes_are_kept_within_a_bound(
        self, lab: MailLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stores, "KEPT_MESSAGES", 3)
        for account in (ANN, BOB):
            for _ in range(3):
                lab.put(text_message(), account)
        assert len(lab.store._boxes) == 1
        assert len(lab.store.messages(ANN, 1).messages) == 3, "it is folded again"


class TestTheEndOfAnAccount:
    def test_takes_its_mail_along(self, lab: MailLab) -> None:
        stored = lab.put(text_message())
        lab.administrate.delete_account(ANN)
        assert lab.store.catalog(ANN).empty
        with pytest.raises(DomainError, match="there is no account"):
            lab.put(text_message())
        lab.administrate.create_account(ANN, "another password")
        assert not lab.store.messages(ANN, lab.store.box(ANN, "INBOX").number).messages
        with pytest.raises(DomainError, match="no such message"):
            lab.store.read(*stored)

    def test_that_was_interrupted_is_completed(self, lab: MailLab) -> None:
        lab.put(text_message())
        close_mailbox(lab.log, ANN, 1, META)
        # Somebody writes to it before that: the INBOX is another one.
        assert lab.put(text_message()) == (ANN, 2, 1)
        assert close_mail_account(lab.log, ANN, META)
        assert not close_mail_account(lab.log, ANN, META)
        assert lab.store.catalog(ANN).empty


def test_actor_and_tenant_are_in_the_log(lab: MailLab) -> None:
    number = lab.put(text_message()).number
    lab.store.set_flags(ANN, number, [1], parse_flags(SEEN), actor=ANN)
    last = list(lab.log.read())[-1]
    assert (last.actor, last.tenant) == (ANN, "example.org")
