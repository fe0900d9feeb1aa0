"""Requests of programs about the messages of a mailbox that is open.

CG/PL reference §9.11. Each runs on the store's thread, for the account `who`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mail.flags import DELETED, SEEN, flags_text
from mail.reading import MailPart
from pbx.kernel.errors import DomainError
from pbx.mailboxes import answers
from pbx.mailboxes import rights as r
from pbx.mailboxes.access import Opened
from pbx.mailboxes.desk import Desk, Held, missing
from pbx.mailboxes.views import view_of
from pbx.script.conversion import to_python
from pbx.script.limits import MAX_STRING_BYTES
from pbx.script.requests import mailboxes as q
from pbx.script.requests.base import HostRequest
from pbx.script.values import Data, Dictionary, Handle, Timestamp, Value, string_of, text_of

_NS_PER_S: Final = 1_000_000_000


class MessageRequests:
    """See the module."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def opening(self) -> Mapping[type[HostRequest], Callable[[str, str, Any], Value | Held]]:
        """Those that open something for a task."""
        return {
            q.OpenMailbox: self._open_mailbox,
            q.OpenMailboxView: self._open_view,
            q.OpenMessage: self._open_message,
        }

    def jobs(self) -> Mapping[type[HostRequest], Callable[[str, Held, Any], Value]]:
        """Those about what is open."""
        return {
            q.MailboxUIDs: self._uids,
            q.Sync: self._sync,
            q.MailboxInternalTimeByUID: self._time,
            q.MailboxFlagsByUID: self._flags,
            q.MailboxOrigUIDByUID: self._original,
            q.MailboxUIDByOrigUID: self._by_original,
            q.MailboxSetFlags: self._set_flags,
            q.MailboxExpunge: self._expunge,
            q.MailboxCopy: self._copy,
            q.MailboxAudioByUID: self._audio,
            q.GetMessageAttr: self._attributes,
            q.UpdateMessageAttr: self._set_attributes,
            q.MessagePart: self._part,
            q.MessageHeader: self._header,
            q.MessageBody: self._body,
            q.MessageFields: self._fields,
        }

    def _open_mailbox(self, task_id: str, who: str, request: q.OpenMailbox) -> Value | Held:
        opened = self._desk.access.open(who, request.name, r.READ)
        held = self._desk.store.messages(opened.owner, opened.box.number)
        return Held(
            task_id, Handle("mailbox", 0, len(held.messages)), opened.owner, opened.box.number
        )

    def _open_view(self, task_id: str, who: str, request: q.OpenMailboxView) -> Value | Held:
        asked = to_python(request.parameters)
        name = asked.get("mailbox")
        if not isinstance(name, str):
            return b"the parameters of a view name its mailbox"
        kind = asked.get("mailboxClass")
        try:
            opened = self._desk.access.open(who, name, r.READ)
        except DomainError:
            if not isinstance(kind, str) or self._desk.access.located(who, name)[0] != who:
                raise
            # With a class it is made when it is first looked at.
            self._desk.store.create(who, name, mailbox_class=kind, actor=who)
            opened = self._desk.access.open(who, name, r.READ)
        validity = asked.get("UIDValidity")
        view = view_of(asked)
        if isinstance(validity, int) and validity != opened.box.uid_validity:
            view.first_uid = 0  # what the program knows of UIDs is of another mailbox
        view.hidden = r.ADMINISTER in opened.rights
        view.begin(self._desk.store.messages(opened.owner, opened.box.number))
        return Held(
            task_id,
            Handle("view", 0, len(view.order)),
            opened.owner,
            opened.box.number,
            view=view,
        )

    def _open_message(self, task_id: str, who: str, request: q.OpenMessage) -> Value | Held:
        held = self._desk.held(task_id, request.mailbox)
        if held is None:
            return missing()
        opened = self._desk.again(who, held, r.READ)
        if self._desk.message(opened, request.uid) is None:
            return None
        return Held(task_id, Handle("message", 0), held.owner, held.number, uid=request.uid)

    def _uids(self, who: str, held: Held, request: q.MailboxUIDs) -> Value:
        opened = self._desk.again(who, held)
        wanted = answers.flags_of(request.flags)
        order = self._desk.visible(opened) if held.view is None else held.view.order
        messages = self._desk.box(opened).messages
        held.handle.messages = len(order)
        return [uid for uid in order if uid in messages and wanted.fits(messages[uid].flags)]

    def _sync(self, who: str, held: Held, request: q.Sync) -> Value:
        opened = self._desk.again(who, held)
        if held.view is None:
            return b"Sync is for mailbox views"
        held.told = False
        change = held.view.sync(self._desk.box(opened))
        held.handle.messages = len(held.view.order)
        return None if change is None else change.value()

    def _time(self, who: str, held: Held, request: q.MailboxInternalTimeByUID) -> Value:
        message = self._desk.message(self._desk.again(who, held), request.uid)
        return None if message is None else Timestamp(message.received_ns // _NS_PER_S)

    def _flags(self, who: str, held: Held, request: q.MailboxFlagsByUID) -> Value:
        message = self._desk.message(self._desk.again(who, held), request.uid)
        return None if message is None else string_of(flags_text(message.flags))

    def _original(self, who: str, held: Held, request: q.MailboxOrigUIDByUID) -> Value:
        message = self._desk.message(self._desk.again(who, held), request.uid)
        return None if message is None else message.original_uid

    def _by_original(self, who: str, held: Held, request: q.MailboxUIDByOrigUID) -> Value:
        opened = self._desk.again(who, held)
        uid = self._desk.box(opened).by_original(request.uid)
        return None if uid is None or self._desk.message(opened, uid) is None else uid

    def _chosen(self, opened: Opened, held: Held, messages: Value, parameters: Value) -> list[int]:
        """The UIDs that a set of messages means, of those that may be seen."""
        visible = self._desk.visible(opened)
        if by_index(parameters) and held.view is not None:
            return [uid for uid in answers.chosen(held.view.order, messages) if uid in visible]
        found = self._desk.box(opened).within(answers.spans(messages))
        return found if r.ADMINISTER in opened.rights else [u for u in found if u in set(visible)]

    def _set_flags(self, who: str, held: Held, request: q.MailboxSetFlags) -> Value:
        text = request.flags
        if isinstance(text, Dictionary):
            text = text.get(b"flags")
        if not isinstance(text, bytes):
            return b"flags are a string such as Seen,Undeleted"
        change = answers.flags_of(text_of(text))
        named = change.has | change.lacks
        needed = {{SEEN: r.SEEN, DELETED: r.DELETE}.get(flag, r.WRITE) for flag in named}
        opened = self._desk.again(who, held, r.READ + "".join(needed))
        uids = self._chosen(opened, held, request.messages, request.flags)
        self._desk.store.set_flags(opened.owner, opened.box.number, uids, change, actor=who)
        return None

    def _expunge(self, who: str, held: Held, request: q.MailboxExpunge) -> Value:
        opened = self._desk.again(who, held, r.READ + r.DELETE)
        self._desk.store.expunge(opened.owner, opened.box.number, actor=who)
        if held.view is None:
            held.handle.messages = len(self._desk.visible(opened))
        return None

    def _attributes(self, who: str, held: Held, request: q.GetMessageAttr) -> Value:
        message = self._desk.message(self._desk.again(who, held), request.uid)
        if message is None:
            return b"there is no such message"
        made = Dictionary()
        for name, text in message.attributes.items():
            made.set(string_of(name), string_of(text))
        return made

    def _set_attributes(self, who: str, held: Held, request: q.UpdateMessageAttr) -> Value:
        opened = self._desk.again(who, held, r.READ + r.WRITE)
        values: dict[str, str | None] = {}
        for key, value in request.attributes.items():
            if not isinstance(value, bytes):
                return b"the attributes of a message are strings"
            values[text_of(key)] = None if value == b"default" else text_of(value)
        if self._desk.message(opened, request.uid) is None:
            return b"there is no such message"
        self._desk.store.set_attributes(
            opened.owner, opened.box.number, request.uid, values, actor=who
        )
        return None

    def _copy(self, who: str, held: Held, request: q.MailboxCopy) -> Value:
        parameters = request.parameters
        table = parameters if isinstance(parameters, Dictionary) else Dictionary()
        name = table.get(b"targetMailbox") if isinstance(parameters, Dictionary) else parameters
        if not isinstance(name, bytes):
            return b"the parameters name the target mailbox"
        move = table.get(b"doMove") is not None
        opened = self._desk.again(who, held, r.READ + (r.DELETE if move else ""))
        kind = table.get(b"mailboxClass")
        try:
            target = self._desk.access.open(who, text_of(name), r.INSERT)
        except DomainError:
            owner, wanted = self._desk.access.located(who, text_of(name))
            if not isinstance(kind, bytes) or self._desk.store.catalog(owner).find(wanted):
                raise
            self._desk.access.require_create(who, owner, wanted)
            self._desk.store.create(owner, wanted, mailbox_class=text_of(kind), actor=who)
            target = self._desk.access.open(who, text_of(name), r.INSERT)
        new = self._desk.store.copy(
            (opened.owner, opened.box.number),
            self._chosen(opened, held, request.messages, parameters),
            (target.owner, target.box.number),
            token=self._desk.new_token(),
            move=move,
            actor=who,
        )
        return list(new) if table.get(b"report") is not None else None

    def _opened_message(self, who: str, held: Held) -> MailPart:
        opened = self._desk.again(who, held)
        self._desk.require_message(opened, held.uid)
        return self._desk.read(held.owner, held.number, held.uid)

    def _audio(self, who: str, held: Held, request: q.MailboxAudioByUID) -> Value:
        if self._desk.message(self._desk.again(who, held), request.uid) is None:
            return None
        found = self._desk.read(held.owner, held.number, request.uid).first("audio")
        octets = b"" if found is None else found.payload()
        return Data(octets) if 0 < len(octets) <= MAX_STRING_BYTES else None

    def _part(self, who: str, held: Held, request: q.MessagePart) -> Value:
        message = self._opened_message(who, held)
        found = message if request.type is None else message.first(request.type)
        return None if found is None else answers.structure(found)

    def _header(self, who: str, held: Held, request: q.MessageHeader) -> Value:
        part = answers.chosen_part(self._opened_message(who, held), request.part)
        if request.field is None:
            return answers.all_fields(part)
        return answers.field_values(part, request.field)

    def _body(self, who: str, held: Held, request: q.MessageBody) -> Value:
        return answers.body_value(self._opened_message(who, held), request.part)

    def _fields(self, who: str, held: Held, request: q.MessageFields) -> Value:
        message = self._opened_message(who, held)
        if request.field is None:
            return answers.all_fields(message)
        if not isinstance(request.field, bytes):
            return None
        return answers.field_values(message, text_of(request.field))


def by_index(parameters: Value) -> bool:
    """Whether a set of messages counts what a view shows."""
    return isinstance(parameters, Dictionary) and parameters.get(b"useIndex") is not None
