"""What the lamps of phones show follows the flags of voice messages, whoever changes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mail.flags import parse_flags
from pbx.eventlog import LogUnavailable, Meta
from pbx.mail_closing import close_mailbox
from pbx.mailboxes import waiting as module
from pbx.mailboxes.waiting import VoiceCounts, WaitingMessages
from tests.support.mail_histories import write_mail_history
from tests.support.mail_lab import ANN, BOB, MailLab, text_message, voice_message


class Lamp:
    """A follower of a lab's log, as the signal role is."""

    def __init__(self, lab: MailLab, **more: object) -> None:
        self.lab = lab
        self.told: list[str] = []
        self.waiting = WaitingMessages(lab.log, changed=self.told.append, **more)  # type: ignore[arg-type]
        self.position = lab.log.head()

    def counts(self, account: str = ANN) -> VoiceCounts:
        """After taking up what was appended."""
        for record in self.lab.log.read(self.position, category="pbx.messages"):
            self.waiting.apply(record)
            self.position = record.position
        return self.waiting.counts(account)


def test_a_message_lights_the_lamp_and_reading_it_puts_it_out() -> None:
    lab = MailLab()
    lamp = Lamp(lab)
    assert lamp.counts() == VoiceCounts()
    number = lab.put(voice_message()).number
    assert lamp.counts() == VoiceCounts(new=1)
    lab.put(voice_message(urgent=True))
    assert lamp.counts() == VoiceCounts(new=2, urgent_new=1)
    lab.store.set_flags(ANN, number, [1], parse_flags("Seen"))
    assert lamp.counts() == VoiceCounts(1, 1, 1, 0)
    lab.store.set_flags(ANN, number, [1, 2], parse_flags("Seen"))
    assert lamp.counts() == VoiceCounts(0, 2, 0, 1)
    lab.store.set_flags(ANN, number, [1], parse_flags("Unseen"))
    assert lamp.counts() == VoiceCounts(1, 1, 0, 1)
    lab.store.set_flags(ANN, number, [1], parse_flags("Deleted"))
    assert lamp.counts() == VoiceCounts(0, 1, 0, 1)
    lab.store.set_flags(ANN, number, [1], parse_flags("Undeleted"))
    assert lamp.counts() == VoiceCounts(1, 1, 0, 1)
    lab.store.remove(ANN, number, [1, 2])
    assert lamp.counts() == VoiceCounts()
    assert set(lamp.told) == {ANN}


def test_only_voice_messages_in_the_inbox_count() -> None:
    lab = MailLab()
    lab.store.create(ANN, "Old")
    lamp = Lamp(lab)
    lab.put(text_message())
    lab.put(voice_message(), name="Old")
    lab.put(voice_message(), BOB)
    assert lamp.counts() == VoiceCounts()
    assert lamp.counts(BOB) == VoiceCounts(new=1)
    lab.store.copy((ANN, lab.store.box(ANN, "Old").number), [1],
                   (ANN, lab.store.box(ANN, "INBOX").number), token="c")  # fmt: skip
    assert lamp.counts() == VoiceCounts(new=1)


def test_nobody_is_told_of_what_changes_no_number() -> None:
    lab = MailLab()
    lab.put(voice_message())
    lamp = Lamp(lab)
    lamp.counts()
    lab.store.set_flags(ANN, 1, [1], parse_flags("Flagged"))
    lab.put(text_message())
    lab.store.create(ANN, "Work")
    lamp.counts()
    assert lamp.told == []


def test_an_inbox_that_ends_and_comes_anew() -> None:
    lab = MailLab()
    lab.put(voice_message())
    lamp = Lamp(lab)
    assert lamp.counts().new == 1
    close_mailbox(lab.log, ANN, 1, Meta())
    assert lamp.counts().new == 0
    lab.put(voice_message())
    assert lamp.counts().new == 1
    lab.administrate.delete_account(ANN)
    assert lamp.counts() == VoiceCounts()


def test_a_long_inbox_is_folded_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    lab = MailLab()
    for _ in range(5):
        lab.put(voice_message())
    turns: list[Callable[[], None]] = []
    lamp = Lamp(lab, later=turns.append)
    assert lamp.counts() == VoiceCounts(), "not known yet"
    while turns:
        turns.pop(0)()
    assert lamp.told == [ANN]
    assert lamp.counts() == VoiceCounts(new=5)
    lab.put(voice_message())
    assert lamp.counts() == VoiceCounts(new=6)


def test_what_is_known_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_ACCOUNTS", 1)
    lab = MailLab()
    lab.put(voice_message())
    lamp = Lamp(lab)
    assert lamp.counts(ANN).new == 1
    assert lamp.counts(BOB).new == 0
    assert lamp.waiting.statistics() == {"mail_accounts": 1}
    lab.put(voice_message())
    assert lamp.counts(ANN).new == 2
    assert ANN in lamp.told, "who watches an account that was forgotten is told all the same"


def test_a_log_that_cannot_be_read_shows_no_lamp() -> None:
    class Away:
        def read_stream(self, stream: str, after_version: int = 0) -> object:
            raise LogUnavailable("the disk is gone")

    waiting = WaitingMessages(Away())  # type: ignore[arg-type]
    assert waiting.counts(ANN) == VoiceCounts()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from([1, 3, 100]))
def test_following_gives_what_folding_anew_gives(seed: int, at_once: int) -> None:
    lab = MailLab(seed=seed)
    turns: list[Callable[[], None]] = []
    lamp = Lamp(lab, later=turns.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        for part in range(4):
            write_mail_history(lab, seed + part, 15)
            for account in (ANN, BOB):
                lamp.counts(account)
                while turns:
                    turns.pop(0)()
                assert lamp.counts(account) == WaitingMessages(lab.log).counts(account)
                box = lab.store.catalog(account).find("INBOX")
                held = lab.store.messages(account, box.number) if box else None
                new = held.with_flags(parse_flags("Media,Unseen,Undeleted")) if held else []
                assert lamp.counts(account).new == len(new)
