"""Requests about mailboxes, messages and calendars (CG/PL reference §9.11, §9.12)."""

from __future__ import annotations

from dataclasses import dataclass

from pbx.script.requests.base import HostRequest, request
from pbx.script.values import Dictionary, Handle, Value


@request("ListMailboxes")
class ListMailboxes(HostRequest):
    """Result: a dictionary name to attributes, or an error string."""

    pattern: str | None


@request("CreateMailbox")
class CreateMailbox(HostRequest):
    """Result: null, or an error string; so are those of all that change something here."""

    name: str
    mailbox_class: str | None


@request("RenameMailbox")
class RenameMailbox(HostRequest):
    """Rename, with `sub` also the mailboxes below."""

    name: str
    new_name: str
    sub: Value


@request("DeleteMailbox")
class DeleteMailbox(HostRequest):
    """Delete, with `sub` also the mailboxes below."""

    name: str
    sub: Value


@request("GetMailboxACLs")
class GetMailboxACLs(HostRequest):
    """Result: a dictionary, or an error string."""

    name: str


@request("SetMailboxACLs")
class SetMailboxACLs(HostRequest):
    """Set access rights."""

    name: str
    rights: Dictionary


@request("GetMailboxAliases")
class GetMailboxAliases(HostRequest):
    """Result: a dictionary, or an error string."""

    account: str | None


@request("SetMailboxAliases")
class SetMailboxAliases(HostRequest):
    """Set the aliases."""

    aliases: Dictionary
    account: str | None


@request("GetMailboxSubscription")
class GetMailboxSubscription(HostRequest):
    """Result: an array, or an error string."""

    account: str | None


@request("SetMailboxSubscription")
class SetMailboxSubscription(HostRequest):
    """Set the subscription."""

    mailboxes: list[Value]
    account: str | None


@request("OpenMailbox")
class OpenMailbox(HostRequest):
    """Result: a handle, or an error string."""

    name: str


@request("OpenMailboxView")
class OpenMailboxView(HostRequest):
    """Result: a handle, or an error string."""

    parameters: Dictionary


@request("MailboxUIDs")
class MailboxUIDs(HostRequest):
    """Result: an array of UIDs, of messages that have the flags (``Seen,Undeleted`` …)."""

    mailbox: Handle
    flags: str | None


@request("SubscribeEvents", procedure=True)
class SubscribeEvents(HostRequest):
    """A view sends Mailbox Notify events with this parameter; null ends it."""

    view: Handle
    reference: Value


@request("Sync")
class Sync(HostRequest):
    """Result: one change, committed to the view, or null."""

    view: Handle


@request("MailboxInternalTimeByUID")
class MailboxInternalTimeByUID(HostRequest):
    """Result: a timestamp, or null."""

    mailbox: Handle
    uid: int


@request("MailboxFlagsByUID")
class MailboxFlagsByUID(HostRequest):
    """Result: flags separated by commas, or null."""

    mailbox: Handle
    uid: int


@request("MailboxOrigUIDByUID")
class MailboxOrigUIDByUID(HostRequest):
    """Result: the original UID, or null."""

    mailbox: Handle
    uid: int


@request("MailboxUIDByOrigUID")
class MailboxUIDByOrigUID(HostRequest):
    """Result: the UID, or null."""

    mailbox: Handle
    uid: int


@request("MailboxSetFlags", "MailboxSetFlagsByUID")
class MailboxSetFlags(HostRequest):
    """Set or clear flags of some messages."""

    mailbox: Handle
    messages: Value
    flags: Value


@request("MailboxExpunge")
class MailboxExpunge(HostRequest):
    """Remove the messages marked as deleted."""

    mailbox: Handle


@request("MailboxAudioByUID")
class MailboxAudioByUID(HostRequest):
    """Result: the audio of a message as a datablock, or null."""

    mailbox: Handle
    uid: int


@request("MailboxRedirectByUID")
class MailboxRedirectByUID(HostRequest):
    """Send a message on, unchanged."""

    mailbox: Handle
    uid: int
    addresses: str


@request("MailboxForwardByUID")
class MailboxForwardByUID(HostRequest):
    """Send a message on, in a new one."""

    mailbox: Handle
    uid: int
    addresses: str


@request("MailboxAppend")
class MailboxAppend(HostRequest):
    """Result: null, the new UID when the headers ask for it, or an error string."""

    mailbox: Handle
    headers: Value
    content: Value


@request("MailboxCopy", "MailboxCopyByUID")
class MailboxCopy(HostRequest):
    """Result: null, an array of UIDs when asked for, or an error string."""

    mailbox: Handle
    messages: Value
    parameters: Value


@request("GetMessageAttr")
class GetMessageAttr(HostRequest):
    """Result: a dictionary, or an error string."""

    mailbox: Handle
    uid: int


@request("UpdateMessageAttr")
class UpdateMessageAttr(HostRequest):
    """Change attributes; the value ``default`` removes one."""

    mailbox: Handle
    uid: int
    attributes: Dictionary


@request("OpenMessage")
class OpenMessage(HostRequest):
    """Result: a handle, or null."""

    mailbox: Handle
    uid: int


@request("MessagePart")
class MessagePart(HostRequest):
    """Result: the structure, or the first part of a type, null, or an error string."""

    message: Handle
    type: str | None


@request("MessageHeader")
class MessageHeader(HostRequest):
    """Result: values of a field, or a dictionary of all, null, or an error string."""

    message: Handle
    part: Value
    field: str | None


@request("MessageBody")
class MessageBody(HostRequest):
    """Result: a string, XML, datablock, null, or an error string."""

    message: Handle
    part: Value


@request("OpenCalendar")
class OpenCalendar(HostRequest):
    """Result: a handle, or an error string."""

    mailbox: str


@dataclass(frozen=True, slots=True)
class FindInCalendar(HostRequest):
    """``Find(calendar,params)``. Result: one dictionary per day, or an error string."""

    calendar: Handle
    parameters: Dictionary


@request("ProcessCalendar")
class ProcessCalendar(HostRequest):
    """Publish, cancel, accept … Result: null, or an error string."""

    calendar: Value
    parameters: Dictionary


@request("messageFields")
class MessageFields(HostRequest):
    """Result: fields of a message, or null."""

    message: Value
    field: Value
