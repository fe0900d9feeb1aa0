"""Mailbox exact: what must hold for the mailboxes of a log when everything is quiet.

The judge shares no fold with the product: it reads the events by itself. `accepted` is what the
programs (or whoever stores) were told is stored: each of those is there once and only once, or was
removed by an event; nothing is there that nobody was told of, unless a crash met its delivery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pbx.eventlog import EventLog

Rows = Iterable[Mapping[str, Any]]


def uids_of(text: str) -> list[int]:
    """``1:3,7`` as a list."""
    found: list[int] = []
    for word in text.split(","):
        first, _, last = word.partition(":")
        found += range(int(first), int(last or first) + 1)
    return found


class Judged:
    """One mailbox, as its events say."""

    def __init__(self) -> None:
        self.messages: dict[int, dict[str, Any]] = {}
        self.highest = 0
        self.tokens: Counter[str] = Counter()
        self.closed = False


def broken_mailboxes(
    log: EventLog,
    *,
    accepted: Mapping[str, Iterable[str]] | None = None,
    doubtful: Mapping[str, Iterable[str]] | None = None,
    opens: Callable[[str, str], bytes] | None = None,
    rows: Rows | None = None,
) -> list[str]:
    """What is wrong with the mailboxes of a log; an empty list if nothing is.

    `accepted`: tokens of the deliveries that were acknowledged, by account; `doubtful`: of those
    that a crash met under way, which may be stored. `opens` gives the text of a blob and its key;
    `rows` are those of the table ``messages``.
    """
    problems: list[str] = []
    boxes: dict[str, Judged] = {}
    numbers: dict[str, list[int]] = {}
    for record in log.read(category="pbx.messages"):
        if not record.stream.startswith("mailbox/"):
            continue
        event: Any = record.event
        if record.stream.count("/") == 1:
            if record.type == "mailbox.created.v1":
                made = numbers.setdefault(record.stream, [])
                if made and event.number <= made[-1]:
                    problems.append(f"{record.stream}: number {event.number} is used again")
                made.append(event.number)
            continue
        box = boxes.setdefault(record.stream, Judged())
        problems += [f"{record.stream}: {text}" for text in _judge(box, record.type, event)]
    problems += _deliveries(boxes, accepted, doubtful or {})
    if opens is not None:
        problems += _texts(boxes, opens)
    if rows is not None:
        problems += _rows(boxes, rows)
    return problems


def _judge(box: Judged, kind: str, event: Any) -> Iterable[str]:
    if box.closed:
        yield f"{kind} after the mailbox was closed"
    match kind:
        case "mail.stored.v1":
            if event.uid <= box.highest:
                yield f"UID {event.uid} comes after {box.highest}"
            box.highest = max(box.highest, event.uid)
            box.tokens[event.token] += 1
            if event.token and box.tokens[event.token] > 1:
                yield f"the delivery {event.token} is stored twice"
            box.messages[event.uid] = {
                "flags": set(event.flags),
                "sha256": event.sha256,
                "key": event.key,
                "size_bytes": event.size_bytes,
            }
        case "mail.flags-set.v1":
            for same in event.messages:
                for uid in uids_of(same.uids):
                    if uid not in box.messages:
                        yield f"flags of the message {uid}, which is not there"
                    else:
                        box.messages[uid]["flags"] = set(same.flags)
        case "mail.attributes-set.v1":
            if event.uid not in box.messages:
                yield f"attributes of the message {event.uid}, which is not there"
        case "mail.removed.v1":
            for uid in uids_of(event.uids):
                if box.messages.pop(uid, None) is None:
                    yield f"the message {uid} is removed, and is not there"
        case "mail.closed.v1":
            box.closed = True
            box.messages.clear()


def _deliveries(
    boxes: Mapping[str, Judged],
    accepted: Mapping[str, Iterable[str]] | None,
    doubtful: Mapping[str, Iterable[str]],
) -> Iterable[str]:
    if accepted is None:
        return
    stored: dict[str, set[str]] = {}
    for stream, box in boxes.items():
        stored.setdefault(stream.split("/")[1], set()).update(box.tokens)
    for account in {*stored, *accepted}:
        told, there = set(accepted.get(account, ())), stored.get(account, set())
        for token in sorted(told - there):
            yield f"{account}: the delivery {token} was acknowledged and is not there"
        for token in sorted(there - told - set(doubtful.get(account, ()))):
            yield f"{account}: the delivery {token} is there and was not acknowledged"


def _texts(boxes: Mapping[str, Judged], opens: Callable[[str, str], bytes]) -> Iterable[str]:
    for stream, box in boxes.items():
        for uid, message in box.messages.items():
            try:
                size_bytes = len(opens(message["sha256"], message["key"]))
            except Exception as error:  # noqa: BLE001 - whatever it is, the text is lost
                yield f"{stream}: the text of {uid} cannot be read: {error}"
                continue
            if size_bytes != message["size_bytes"]:
                yield f"{stream}: the text of {uid} has {size_bytes} bytes"


def _rows(boxes: Mapping[str, Judged], rows: Rows) -> Iterable[str]:
    shown = {
        (f"mailbox/{row['account']}/{row['number']}", row["uid"]): (
            {flag for flag in row["flags"].split(",") if flag},
            row["sha256"],
            row["size_bytes"],
        )
        for row in rows
    }
    there = {
        (stream, uid): (message["flags"], message["sha256"], message["size_bytes"])
        for stream, box in boxes.items()
        for uid, message in box.messages.items()
    }
    for key in sorted({*shown, *there}):
        if shown.get(key) != there.get(key):
            yield f"{key[0]}: the row of {key[1]} is {shown.get(key)}, not {there.get(key)}"
