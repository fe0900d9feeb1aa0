"""Rights, encrypted texts, cleaning, files that are exported."""

from __future__ import annotations

import mailbox as standard_mailbox
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mail.reading import read_message
from pbx.blobs import BlobError, FileBlobs, MemoryBlobs
from pbx.domain.mailboxes import AccessEntry
from pbx.mailboxes.bodies import Bodies, BodyError, StoredBody
from pbx.mailboxes.cleaning import clean, unneeded
from pbx.mailboxes.export import audio_of, mbox, shown, voice_mail
from pbx.mailboxes.rights import effective
from tests.support.mail_lab import ANN, BOB, WAV, MailLab, text_message, voice_message


class TestRights:
    @pytest.mark.parametrize(
        ("entries", "who", "rights"),
        [
            ({}, BOB, ""),
            ({}, ANN, "lrswipcda"),
            ({"ann": ""}, ANN, "lrswipcda"),
            ({"bob": "rl"}, BOB, "lr"),
            ({"bob": "lr"}, "bob@other.org", ""),
            ({"bob@other.org": "lr"}, "bob@other.org", "lr"),
            ({"anyone": "l", "bob": "r"}, BOB, "lr"),
            ({"anyone": "lr", "-bob": "r"}, BOB, "l"),
            ({"anyone": "l", "+bob": "w"}, BOB, "lw"),
            ({"anyone@example.org": "l"}, BOB, "l"),
            ({"anyone@other.org": "l"}, BOB, ""),
            ({"#sales": "lr"}, BOB, "lr"),
            ({"#sales@other.org": "lr"}, BOB, ""),
            ({"#sales": "lr"}, "carl@example.org", ""),
        ],
    )
    def test_are_those_of_the_entries_that_mean_him(
        self, entries: dict[str, str], who: str, rights: str
    ) -> None:
        listed = [AccessEntry(who=name, rights=letters) for name, letters in entries.items()]

        def member(group: str, account: str) -> bool:
            return (group, account) == ("sales@example.org", BOB)

        assert effective(listed, ANN, who, member) == rights


class TestTexts:
    def test_open_with_their_key_only(self) -> None:
        blobs = MemoryBlobs()
        bodies = Bodies(blobs, lambda count: bytes(range(count)))
        stored = bodies.put(b"hello")
        assert bodies.get(stored) == b"hello"
        assert stored.key not in repr(stored)
        for key, words in (
            ("[erased]", "is erased"), ("[sealed]", "without keys"), ("AAAA", "does not fit"),
            ("no base64", "does not fit"),
        ):  # fmt: skip
            with pytest.raises(BodyError, match=words):
                bodies.get(StoredBody(stored.sha256, key))
        with pytest.raises(BlobError):
            bodies.get(StoredBody("0" * 64, stored.key))
        other = StoredBody(blobs.put(b"something else"), stored.key)
        with pytest.raises(BodyError, match="no text of a message"):
            bodies.get(other)


class TestCleaning:
    def test_deletes_what_no_mailbox_has(self) -> None:
        lab = MailLab()
        for text in ("kept", "removed", "copied", "closed"):
            lab.put(text_message(text))
        lab.store.create(ANN, "Work")
        work = (ANN, lab.store.box(ANN, "Work").number)
        lab.store.copy((ANN, 1), [3], work, token="c")
        lab.store.copy((ANN, 1), [4], work, token="d", move=True)
        lab.store.remove(ANN, 1, [2, 3])
        before = lab.clock.wall_ns() + 1
        assert len(unneeded(lab.log, before)) == 1
        assert unneeded(lab.log, before - 1) == []
        assert clean(lab.log, lab.blobs, before).files == 1
        assert clean(lab.log, lab.blobs, before).files == 0
        assert lab.store.read(ANN, 1, 1)
        assert lab.store.read(*work, 1)
        lab.store.delete(ANN, "Work", sub=False)
        assert clean(lab.log, lab.blobs, before).files == 2
        assert lab.store.read(ANN, 1, 1)

    def test_of_files(self, tmp_path: Path) -> None:
        blobs = FileBlobs(tmp_path)
        name = blobs.put(b"12345")
        assert blobs.discard(name) == 5
        assert blobs.discard(name) == 0
        with pytest.raises(BlobError):
            blobs.get(name)


class TestFiles:
    def test_a_recording_as_a_message_and_back(self) -> None:
        raw = voice_mail(WAV, BOB, ANN, datetime(2030, 1, 1, tzinfo=UTC), "t0ken")
        assert audio_of(read_message(raw)) == ("voicemail.wav", WAV)
        assert audio_of(read_message(text_message())) is None
        fields, text, parts = shown(raw)
        assert dict(fields)["From"] == BOB
        assert "2030-01-01" in text
        assert [part.content_type for part in parts] == ["audio/wav"]

    def test_a_mailbox_that_other_programs_read(self, tmp_path: Path) -> None:
        tricky = text_message(text="From here\n>From there\nend\n")
        path = tmp_path / "all.mbox"
        path.write_bytes(
            mbox([(BOB, 10**18, tricky), ("Bob <b@x>", 10**18, voice_message()), ("", 0, b"")])
        )
        box = standard_mailbox.mbox(path)
        assert [message["Subject"] for message in box] == ["hello", "Voice Message", None]
        assert b">From here\n>>From there\n" in path.read_bytes()
        box.close()
