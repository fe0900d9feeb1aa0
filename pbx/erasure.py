"""Erasing a person: what ``pbx erase`` does, step by step, and can do again after a crash.

1. The account is deleted (its bindings and mailboxes go with it), if it is still there.
2. Each ended call that names it gets ``call.erased``: projections, files and exports made from
   then on read ``[erased]`` where the call told of the person. Times, causes and totals stay.
3. The key of the account is destroyed: whatever was sealed with it, in the log and in every copy of
   it, is unreadable from then on, and so is the text of every message in its mailboxes.

What the log holds in clear because it was written while ``privacy.seal_calls`` was off cannot be
taken out of it: events are never rewritten. The result says how many events that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from pbx.commands import ACCOUNT as ACCOUNTS
from pbx.commands import Administration, load
from pbx.domain import accounts
from pbx.domain.calls import CallEnded, CallErased, erased_subject, named_account
from pbx.domain.cdrs import cdr_stream
from pbx.domain.mailboxes import MailboxCreated, catalog_stream, messages_stream
from pbx.eventlog import ANY_VERSION, EventLog, Meta
from pbx.eventlog.registry import PERSONAL_FORM
from pbx.inventory import Inventory
from pbx.kernel.errors import DomainError
from pbx.kernel.events import EVENT_TYPES, Event, EventType
from pbx.mail_closing import close_mail_account


class Erased(NamedTuple):
    """What was done."""

    account: str
    calls: int
    """Calls that tell of the person no more."""
    in_clear: int
    """Events of these calls, and of its mailboxes, that the log keeps in clear."""
    key_destroyed: bool


def erase(
    log: EventLog,
    address: str,
    calls: Iterable[str],
    *,
    actor: str,
    destroy: Callable[[str], bool],
    inventory: Inventory | None = None,
) -> Erased:
    """Erase the account; `calls` are the ids of calls that may name it, `destroy` takes its stream.

    `inventory` is one that is kept already; what it keeps of the account is gone, too, afterwards.

    Raises :class:`DomainError` when one of them is still up: its record is not written yet.
    """
    name, domain = accounts.account_address(address)
    account = f"{name}@{domain}"
    stream = accounts.account_stream(name, domain)
    found = list(calls)
    for call_id in found:
        if not _has_ended(log, call_id):
            raise DomainError(
                f"{account} is in the call {call_id}: wait for its end, or delete the account, "
                "which lets it begin no other"
            )
    if load(log, ACCOUNTS, stream).exists:
        Administration(log, actor=actor, inventory=inventory).delete_account(account)
        if inventory is not None:
            inventory.refresh(log)
    meta = Meta(actor=actor, tenant=domain)
    close_mail_account(log, account, meta)  # a deletion that was interrupted may have left it
    in_clear = _clear_mail(log, account)
    for call_id in found:
        in_clear += _clear_events(log, call_id, account)
        event = CallErased(subject=erased_subject(call_id, account))
        if not _was_erased(log, call_id, event):
            log.append(f"call/{call_id}", ANY_VERSION, [event], _of_call(meta, call_id))
    return Erased(account, len(found), in_clear, destroy(stream))


def _of_call(meta: Meta, call_id: str) -> Meta:
    return Meta(actor=meta.actor, tenant=meta.tenant, correlation=call_id)


def _has_ended(log: EventLog, call_id: str) -> bool:
    return any(isinstance(r.event, CallEnded) for r in log.read_stream(f"call/{call_id}"))


def _was_erased(log: EventLog, call_id: str, event: CallErased) -> bool:
    return any(record.event == event for record in log.read_stream(f"call/{call_id}"))


def _clear_mail(log: EventLog, account: str) -> int:
    """Events of its mailboxes that tell of senders, subjects or names in clear."""
    count, numbers = 0, [0]
    while numbers:
        number = numbers.pop()
        stream = messages_stream(account, number) if number else catalog_stream(account)
        for record in log.read_stream(stream):
            event, row = record.event, EVENT_TYPES.get(record.type)
            if isinstance(event, MailboxCreated):
                numbers.append(event.number)
            if row is not None and any(_personal(event, row)):
                count += f'"{PERSONAL_FORM}'.encode() not in record.data
    return count


def _clear_events(log: EventLog, call_id: str, account: str) -> int:
    """Events of the call, and of its record, that name the account in clear."""
    count = 0
    for record in chain(log.read_stream(f"call/{call_id}"), log.read_stream(cdr_stream(call_id))):
        row = EVENT_TYPES.get(record.type)
        if row is None or not row.tells_of_persons:
            continue
        if f'"{PERSONAL_FORM}'.encode() in record.data:
            continue
        if any(named_account(text) == account for text in _personal(record.event, row)):
            count += 1
    return count


def _personal(event: Event, row: EventType) -> Iterator[str]:
    """The texts of an event that may tell of a person."""
    for field in row.personal:
        value = getattr(event, field)
        yield from (value,) if isinstance(value, str) else value
    for field, parts in row.personal_items:
        for item in getattr(event, field):
            for part in parts:
                yield getattr(item, part)
