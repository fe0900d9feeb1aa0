"""The judge of mailboxes finds what is wrong, and finds nothing where nothing is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pbx.domain import mailboxes as m
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta
from pbx.kernel.events import Event
from pbx.mailboxes.bodies import Bodies, StoredBody
from pbx.readmodel import catch_up, open_read_model
from pbx.readmodel.tables import messages
from tests.simulation.mailboxes import broken_mailboxes
from tests.support.mail_histories import write_mail_history
from tests.support.mail_lab import ANN, MailLab, text_message

META = Meta(actor="test")


@pytest.mark.parametrize("number", range(5))
def test_what_the_store_does_is_right(number: int, tmp_path: Path) -> None:
    lab = MailLab(seed=number)
    write_mail_history(lab, number, 150)
    bodies = Bodies(lab.blobs, lab.rng.randbytes)
    database = open_read_model(tmp_path)
    catch_up(lab.log, database)
    with database.read() as connection:
        rows = [dict(row) for row in connection.execute(select(messages)).mappings()]
    assert rows
    assert (
        broken_mailboxes(
            lab.log, opens=lambda sha, key: bodies.get(StoredBody(sha, key)), rows=rows
        )
        == []
    )
    rows[0]["flags"] = "Junk"
    assert len(broken_mailboxes(lab.log, rows=rows)) == 1
    database.close()


def test_what_was_acknowledged_is_there_once() -> None:
    lab = MailLab()
    for token in ("a", "b", "a"):
        lab.put(text_message(), token=token)
    assert broken_mailboxes(lab.log, accepted={ANN: ["a", "b"]}) == []
    (problem,) = broken_mailboxes(lab.log, accepted={ANN: ["a", "b", "c"]})
    assert "c was acknowledged and is not there" in problem
    (problem,) = broken_mailboxes(lab.log, accepted={ANN: ["a"]})
    assert "b is there and was not acknowledged" in problem
    assert broken_mailboxes(lab.log, accepted={ANN: ["a"]}, doubtful={ANN: ["b"]}) == []
    lab.blobs._contents.clear()
    bodies = Bodies(lab.blobs, lab.rng.randbytes)
    lost = broken_mailboxes(lab.log, opens=lambda sha, key: bodies.get(StoredBody(sha, key)))
    assert len(lost) == 2


def stored(uid: int, token: str = "") -> m.MailStored:
    return m.MailStored(
        uid=uid, sha256="0" * 64, key="key", size_bytes=1, received_ns=1, token=token
    )


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([stored(1), stored(1)], "UID 1 comes after 1"),
        ([stored(1, "t"), stored(2, "t")], "the delivery t is stored twice"),
        ([m.MailRemoved(uids="1")], "the message 1 is removed, and is not there"),
        ([m.MailFlagsSet(messages=(m.SameFlags(uids="3:4"),))], "flags of the message 3"),
        ([m.MailAttributesSet(uid=2)], "attributes of the message 2"),
        ([m.MailClosed(), stored(1)], "after the mailbox was closed"),
    ],
)
def test_planted_mistakes_are_found(events: list[Event], words: str) -> None:
    log: Any = MemoryLog()
    log.append(m.messages_stream(ANN, 1), ANY_VERSION, events, META)
    assert any(words in problem for problem in broken_mailboxes(log))


def test_a_number_that_is_used_again() -> None:
    log = MemoryLog()
    made = m.MailboxCreated(number=1, name="INBOX", uid_validity=1)
    log.append(m.catalog_stream(ANN), ANY_VERSION, [made, made], META)
    assert broken_mailboxes(log) == [f"mailbox/{ANN}: number 1 is used again"]
