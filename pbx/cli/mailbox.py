"""``pbx mailbox``: the mailboxes of an account, voice messages among them.

All of them work beside a running server: what is changed here is an event like any other, phones'
lamps follow it.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pbx.cli.common import (
    actor,
    add_options,
    data_directory,
    print_json,
    print_table,
    settings_of,
)
from pbx.cli.reading import as_json, parse_time, show_time
from pbx.kernel.errors import DomainError, PbxError

if TYPE_CHECKING:
    from mail.mailbox import Message
    from pbx.cli.common import Commands
    from pbx.domain.mailboxes import Content
    from pbx.mailboxes.store import MailStore

_PATIENCE_S: Final = 5.0
"""How long a command waits for other writers."""
_MAX_FILE_BYTES: Final = 60 << 20


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "mailbox", help="mailboxes and voice messages: list, show, export, store, mark, delete"
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="list the mailboxes of an account")
    _account(listing)
    add_options(listing)
    listing.set_defaults(run=_run, action=_list)

    show = actions.add_parser("show", help="list the messages of a mailbox, or show one")
    _place(show)
    show.add_argument("uid", nargs="?", type=int, help="number of the message in the mailbox")
    add_options(show)
    show.set_defaults(run=_run, action=_show)

    export = actions.add_parser(
        "export",
        help="write a message, its recording, or a whole mailbox to a file",
        description="pbx mailbox export ACCOUNT MAILBOX UID FILE.eml; with --audio the recording "
        "in it as FILE.wav; with --all, and without UID, the mailbox as mbox. A file that is there "
        "is not replaced.",
    )
    _place(export)
    export.add_argument("uid", nargs="?", type=int, help="number of the message in the mailbox")
    export.add_argument("file", nargs="?", type=Path, metavar="FILE.eml")
    export.add_argument("--audio", type=Path, metavar="FILE.wav", help="write the recording only")
    export.add_argument("--all", type=Path, metavar="FILE.mbox", help="write all messages")
    add_options(export)
    export.set_defaults(run=_run, action=_export)

    store = actions.add_parser(
        "store",
        help="put a message from a file into a mailbox",
        description="The file is a message (.eml), or a WAV file, which becomes a voice message.",
    )
    _account(store)
    store.add_argument("file", type=Path)
    store.add_argument("--mailbox", default="INBOX", metavar="NAME", help="default: INBOX")
    store.add_argument(
        "--from", dest="sender", default="", metavar="ADDRESS", help="sender of a voice message"
    )
    add_options(store)
    store.set_defaults(run=_run, action=_store)

    mark = actions.add_parser("mark", help="mark messages as read or unread, or set other flags")
    _place(mark)
    mark.add_argument("uid", nargs="+", type=int)
    state = mark.add_mutually_exclusive_group(required=True)
    state.add_argument(
        "--seen",
        dest="flags",
        action="store_const",
        const="Seen",
        help="as read: the lamp goes off",
    )
    state.add_argument(
        "--unseen", dest="flags", action="store_const", const="Unseen", help="as unread"
    )
    state.add_argument("--flags", metavar="FLAGS", help="such as Flagged,Undeleted")
    add_options(mark)
    mark.set_defaults(run=_run, action=_mark)

    delete = actions.add_parser(
        "delete", help="remove messages, or (without UID, with --yes) a mailbox with all in it"
    )
    _place(delete)
    delete.add_argument("uid", nargs="*", type=int)
    delete.add_argument("--yes", action="store_true", help="delete the whole mailbox")
    delete.add_argument("--nested", action="store_true", help="and the mailboxes below it")
    add_options(delete)
    delete.set_defaults(run=_run, action=_delete)

    clean = actions.add_parser(
        "clean", help="delete the files of messages that were removed some time ago"
    )
    clean.add_argument(
        "--before", type=parse_time, default="30d", metavar="TIME",
        help="removed before this time (default: 30d ago)",
    )  # fmt: skip
    add_options(clean)
    clean.set_defaults(run=_clean)


def _account(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account", metavar="ACCOUNT", help="name@domain, or an alias of it")


def _place(parser: argparse.ArgumentParser) -> None:
    _account(parser)
    parser.add_argument("mailbox", metavar="MAILBOX", help="such as INBOX")


@contextlib.contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[tuple[MailStore, str]]:
    """The store, and the account that was named."""
    from pbx.blobs import FileBlobs
    from pbx.domain.accounts import account_address
    from pbx.eventlog import open_log
    from pbx.inventory import inventory
    from pbx.kernel.clock import SystemClock
    from pbx.mailboxes.bodies import Bodies
    from pbx.mailboxes.store import MailStore

    data = data_directory(arguments)
    sealed = settings_of(arguments).privacy.seal_calls
    log = open_log(data.path, seal_personal=sealed, busy_timeout_s=_PATIENCE_S)
    try:
        name, domain = account_address(arguments.account)
        known = inventory(log)
        account = known.account_of(name, known.domain_of(domain))
        if not account:
            raise DomainError(f"there is no account {name}@{domain}; see: pbx account list")
        bodies = Bodies(FileBlobs(data.path / "blobs"), secrets.token_bytes)
        yield MailStore(log, bodies, SystemClock(), actor=actor()), account
    finally:
        log.close()


def _run(arguments: argparse.Namespace) -> int:
    from mail.errors import MailError

    with _opened(arguments) as (store, account):
        try:
            arguments.action(arguments, store, account)
        except MailError as error:
            raise DomainError(str(error)) from error
    return 0


def _number(arguments: argparse.Namespace, store: MailStore, account: str) -> int:
    from mail.names import mailbox_name

    box = store.catalog(account).find(mailbox_name(arguments.mailbox))
    if box is None:
        raise DomainError(
            f"{account} has no mailbox {arguments.mailbox}; see: pbx mailbox list {account}"
        )
    return box.number


def _message(store: MailStore, account: str, number: int, uid: int) -> Message[Content]:
    message = store.messages(account, number).messages.get(uid)
    if message is None:
        raise DomainError(f"there is no message {uid} in the mailbox; see: pbx mailbox show")
    return message


# Reading.


def _list(arguments: argparse.Namespace, store: MailStore, account: str) -> None:
    from mail.flags import MEDIA, SEEN, parse_flags

    rows: list[dict[str, Any]] = []
    for box in sorted(store.catalog(account).boxes.values(), key=lambda one: one.name):
        held = store.messages(account, box.number)
        rows.append(
            {
                "name": box.name + ("/" if box.folder else ""),
                "class": box.mailbox_class,
                "messages": len(held.messages),
                "unseen": len(held.with_flags(parse_flags(f"Un{SEEN}"))),
                "voice": len(held.with_flags(parse_flags(MEDIA))),
                "size_bytes": held.size_bytes,
                "uid_validity": box.uid_validity,
                "uid_next": held.uid_next,
                "access": {entry.who: entry.rights for entry in box.access},
            }
        )
    if arguments.json:
        print_json(rows)
        return
    print_table(
        ("MAILBOX", "MESSAGES", "UNREAD", "VOICE", "SIZE", "CLASS"),
        [
            (
                row["name"], row["messages"], row["unseen"], row["voice"],
                _size(row["size_bytes"]), row["class"] or "-",
            )
            for row in rows
        ],
    )  # fmt: skip


def _show(arguments: argparse.Namespace, store: MailStore, account: str) -> None:
    number = _number(arguments, store, account)
    if arguments.uid is not None:
        _show_one(arguments, store, account, number)
        return
    rows = [_row(message) for message in store.messages(account, number).messages.values()]
    if arguments.json:
        print_json(rows)
        return
    print_table(
        ("UID", "RECEIVED (UTC)", "FLAGS", "SIZE", "FROM", "SUBJECT"),
        [
            (
                row["uid"], show_time(row["received_ns"]), row["flags"] or "-",
                _size(row["size_bytes"]), row["sender"] or "-", row["subject"] or "-",
            )
            for row in rows
        ],
    )  # fmt: skip


def _row(message: Message[Content]) -> dict[str, Any]:
    from mail.flags import flags_text

    content = message.content
    return as_json(
        {
            "uid": message.uid,
            "received_ns": message.received_ns,
            "flags": flags_text(message.flags),
            "size_bytes": message.size_bytes,
            "sender": content.sender,
            "subject": content.subject,
            "content_class": content.content_class,
            "urgent": content.urgent,
        }
    )


def _show_one(arguments: argparse.Namespace, store: MailStore, account: str, number: int) -> None:
    from pbx.mailboxes.export import shown

    message = _message(store, account, number, arguments.uid)
    fields, text, parts = shown(store.read(account, number, message.uid))
    if arguments.json:
        print_json(
            {
                **_row(message),
                "fields": [list(pair) for pair in fields],
                "text": text,
                "parts": [
                    {
                        "part": part.part_id,
                        "type": part.content_type,
                        "filename": part.filename,
                        "size_bytes": len(part.payload()),
                    }
                    for part in parts
                ],
            }
        )
        return
    for name, value in fields:
        print(f"{name}: {_printable(value)}")
    print(f"\n{_printable(text.rstrip())}")
    for part in parts:
        name = f" {_printable(part.filename)}" if part.filename else ""
        print(f"\n[{part.part_id}] {part.content_type}{name}, {_size(len(part.payload()))}", end="")
    print()


def _printable(text: str) -> str:
    """What a message says must not command the terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text.replace("\r", "")
    )


def _size(size_bytes: int) -> str:
    if size_bytes < 10_000:
        return f"{size_bytes} B"
    return (
        f"{size_bytes / 1000:.0f} kB" if size_bytes < 10_000_000 else f"{size_bytes / 1e6:.0f} MB"
    )


# Exporting.


def _export(arguments: argparse.Namespace, store: MailStore, account: str) -> None:
    from mail.reading import read_message
    from pbx.mailboxes.export import audio_of, mbox

    asked = [arguments.file, arguments.audio, arguments.all]
    if sum(one is not None for one in asked) != 1 or (arguments.uid is None) is not bool(
        arguments.all
    ):
        raise DomainError(
            "say what to write: UID FILE.eml, UID --audio FILE.wav, or --all FILE.mbox without UID"
        )
    number = _number(arguments, store, account)
    if arguments.all:
        held = store.messages(account, number).messages
        content = mbox(
            (message.content.sender, message.received_ns, store.read(account, number, uid))
            for uid, message in held.items()
        )
        _write(arguments, arguments.all, content, messages=len(held))
        return
    _message(store, account, number, arguments.uid)
    raw = store.read(account, number, arguments.uid)
    if arguments.file:
        _write(arguments, arguments.file, raw, messages=1)
        return
    found = audio_of(read_message(raw))
    if found is None:
        raise DomainError(f"the message {arguments.uid} has no recording in it")
    _write(arguments, arguments.audio, found[1], messages=1)


def _write(arguments: argparse.Namespace, path: Path, content: bytes, *, messages: int) -> None:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise DomainError(f"{path} is there already: name another file") from None
    except OSError as error:
        raise PbxError(f"{path} cannot be written: {error.strerror or error}") from error
    if arguments.json:
        print_json({"file": str(path), "messages": messages, "size_bytes": len(content)})
    else:
        print(f"{path}: {_size(len(content))}")


# Changing.


def _store(arguments: argparse.Namespace, store: MailStore, account: str) -> None:
    from mail.errors import MailError
    from pbx.mailboxes.export import voice_mail

    token = secrets.token_hex(8)
    try:
        if arguments.file.stat().st_size > _MAX_FILE_BYTES:
            raise DomainError(f"{arguments.file} is larger than {_MAX_FILE_BYTES >> 20} MB")
        raw = arguments.file.read_bytes()
    except OSError as error:
        raise PbxError(f"{arguments.file} cannot be read: {error.strerror or error}") from error
    try:
        if raw.startswith(b"RIFF"):
            sender = arguments.sender or f"unknown@{account.rpartition('@')[2]}"
            raw = voice_mail(raw, sender, account, datetime.now(UTC), token)
        number = store.box(account, arguments.mailbox).number
        stored = store.store(account, number, store.prepare(raw), token=token, source="CLI")
    except MailError as error:
        raise DomainError(str(error)) from error
    if arguments.json:
        print_json({"account": account, "mailbox": arguments.mailbox, "uid": stored.uid})
    else:
        print(f"message {stored.uid} in {arguments.mailbox} of {account}")


def _mark(arguments: argparse.Namespace, store: MailStore, account: str) -> None:
    from mail.flags import parse_flags

    number = _number(arguments, store, account)
    for uid in arguments.uid:
        _message(store, account, number, uid)
    store.set_flags(account, number, arguments.uid, parse_flags(arguments.flags))
    _said(arguments, account, arguments.uid)


def _delete(arguments: argparse.Namespace, store: MailStore, account: str) -> None:
    number = 0
    if arguments.uid:
        number = _number(arguments, store, account)
        for uid in arguments.uid:
            _message(store, account, number, uid)
        store.remove(account, number, arguments.uid)
    elif arguments.yes:
        store.delete(account, arguments.mailbox, sub=arguments.nested)
    else:
        raise DomainError(
            "name the messages to remove, or delete the mailbox and all in it with --yes"
        )
    _said(arguments, account, arguments.uid)


def _said(arguments: argparse.Namespace, account: str, uids: list[int]) -> None:
    if arguments.json:
        print_json({"account": account, "mailbox": arguments.mailbox, "uids": uids})


def _clean(arguments: argparse.Namespace) -> int:
    from pbx.blobs import FileBlobs
    from pbx.eventlog import open_log
    from pbx.mailboxes.cleaning import clean

    data = data_directory(arguments)
    log = open_log(data.path, unseal=False)
    try:
        done = clean(log, FileBlobs(data.path / "blobs"), min(arguments.before, time.time_ns()))
    finally:
        log.close()
    if arguments.json:
        print_json(done._asdict())
    else:
        print(f"{done.files} files deleted, {_size(done.size_bytes)} free")
    return 0
