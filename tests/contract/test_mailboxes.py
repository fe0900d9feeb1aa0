"""The projection of mailboxes, on either database: rows are what the store folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from mail.flags import flags_text
from pbx.erasure import erase
from pbx.readmodel import Database, catch_up, make_projector, open_read_model
from pbx.readmodel.tables import mailboxes, messages
from tests.support.mail_histories import write_mail_history
from tests.support.mail_lab import ANN, BOB, MailLab, voice_message

Rows = dict[str, list[Mapping[str, Any]]]
NewPlace = Callable[[], tuple[Path, str]]


def rows_of(database: Database) -> Rows:
    with database.read() as connection:
        return {
            table.name: [
                dict(row)
                for row in connection.execute(
                    select(table).order_by(*table.primary_key.columns)
                ).mappings()
            ]
            for table in (mailboxes, messages)
        }


def expected(lab: MailLab) -> Rows:
    """The same from a store that reads everything anew; without what only the log knows."""
    store = lab.another_store()
    boxes: list[Mapping[str, Any]] = []
    found: list[Mapping[str, Any]] = []
    for account in (ANN, BOB):
        for number, box in sorted(store.catalog(account).boxes.items()):
            boxes.append(
                {
                    "account": account,
                    "number": number,
                    "name": box.name,
                    "mailbox_class": box.mailbox_class,
                    "folder": box.folder,
                    "uid_validity": box.uid_validity,
                    "access": "\n".join(f"{entry.who}\t{entry.rights}" for entry in box.access),
                }
            )
            found += [
                {
                    "account": account,
                    "number": number,
                    "uid": message.uid,
                    "modseq": message.modseq,
                    "flags": flags_text(message.flags),
                    "size_bytes": message.size_bytes,
                    "received_ns": message.received_ns,
                    "sender": message.content.sender,
                    "subject": message.content.subject,
                    "content_class": message.content.content_class,
                    "urgent": message.content.urgent,
                    "original_uid": message.original_uid,
                    "sha256": message.content.sha256,
                }
                for message in store.messages(account, number).messages.values()
            ]
    return {"mailboxes": boxes, "messages": found}


def without(rows: Rows, *names: str) -> Rows:
    return {
        table: [{k: v for k, v in row.items() if k not in names} for row in found]
        for table, found in rows.items()
    }


ONLY_LOGGED = ("created_ns", "source", "stored_ns")


@pytest.mark.parametrize("sealed", [False, True], ids=["clear", "sealed"])
def test_rows_are_what_the_store_folds(new_place: NewPlace, sealed: bool) -> None:
    lab = MailLab(sealed=sealed)
    write_mail_history(lab, 5, 250)
    database = open_read_model(*new_place())
    catch_up(lab.log, database)
    live = rows_of(database)
    assert live["messages"]
    assert len({row["number"] for row in live["mailboxes"]}) > 3
    assert without(live, *ONLY_LOGGED) == expected(lab)
    database.close()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from([1, 2, 7, 50, 5000]))
def test_however_it_is_cut_into_batches_the_rows_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int, batch: int
) -> None:
    lab = MailLab(seed=seed)
    live = open_read_model(tmp_path_factory.mktemp("live"))
    projector = make_projector(lab.log, live)
    projector._batch = batch
    for part in range(3):
        write_mail_history(lab, seed + part, 30)
        projector.catch_up(lab.log.head())
    whole = open_read_model(tmp_path_factory.mktemp("whole"))
    catch_up(lab.log, whole)
    assert rows_of(whole) == rows_of(live)
    assert without(rows_of(live), *ONLY_LOGGED) == expected(lab)
    live.close()
    whole.close()


@pytest.mark.parametrize("sealed", [False, True], ids=["clear", "sealed"])
def test_an_erased_account_leaves_nothing_behind(new_place: NewPlace, sealed: bool) -> None:
    lab = MailLab(sealed=sealed)
    body = lab.store.prepare(voice_message(BOB, subject="for both")).body
    mine, theirs = lab.put(voice_message(BOB)), lab.put(voice_message(ANN), BOB)
    old = lab.store.messages(*mine[:2]).messages[mine.uid].content
    database = open_read_model(*new_place())
    catch_up(lab.log, database)
    assert {row["account"] for row in rows_of(database)["messages"]} == {ANN, BOB}

    done = erase(lab.log, ANN, [], actor="test", destroy=lab.keys.erase)
    assert done.key_destroyed
    assert (done.in_clear > 0) is not sealed
    catch_up(lab.log, database)
    assert {row["account"] for row in rows_of(database)["messages"]} == {BOB}
    assert {row["account"] for row in rows_of(database)["mailboxes"]} == {BOB}
    fresh = open_read_model(*new_place())
    catch_up(lab.log, fresh)
    assert rows_of(fresh) == rows_of(database)

    # What opened the text is gone from the log; the other account's mail is as it was.
    stored = next(
        r.event for r in lab.log.read_stream(f"mailbox/{ANN}/1") if r.type == "mail.stored.v1"
    )
    assert stored.key == "[erased]"  # type: ignore[attr-defined]
    assert all(old.key.encode() not in record.data for record in lab.log.read())
    assert body.key.encode() not in b"".join(record.data for record in lab.log.read())
    assert b"voicemail.wav" in lab.another_store().read(*theirs)
    fresh.close()
    database.close()


def test_what_opens_the_texts_is_in_no_table(new_place: NewPlace) -> None:
    lab = MailLab()
    stored = lab.put(voice_message())
    key = lab.store.messages(*stored[:2]).messages[stored.uid].content.key
    database = open_read_model(*new_place())
    catch_up(lab.log, database)
    assert key not in str(rows_of(database))
    database.close()
