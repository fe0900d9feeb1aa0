"""Requests of programs that send mail, or put a message of their own making into a mailbox.

CG/PL reference §9.11, §9.14. Mail to accounts of this server is stored in their mailboxes; there is
no transport to others yet, and who writes to one of those is told so before anything is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mail.compose import prepended
from mail.errors import MailError
from mail.flags import NONE, REDIRECTED, FlagSet
from mail.reading import MailPart
from pbx.kernel.errors import DomainError
from pbx.mailboxes import answers, outgoing
from pbx.mailboxes import rights as r
from pbx.mailboxes.desk import NO_ACCOUNT, Desk, Held
from pbx.mailboxes.outgoing import Recipient, Sources
from pbx.mailboxes.store import Prepared
from pbx.script.requests import communications as c
from pbx.script.requests import mailboxes as q
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import Answer
from pbx.script.runtime.task import Task
from pbx.script.values import Dictionary, Handle, Timestamp, Value, string_of, text_of

_NS_PER_S: Final = 1_000_000_000


class SendingRequests:
    """See the module."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def handlers(self) -> Mapping[type[HostRequest], Callable[[Task, Any], Answer]]:
        """Those that need nothing that is open; recipients are looked up on the loop."""
        return {c.SubmitEMail: self._submit, c.SendEMail: self._send}

    def jobs(self) -> Mapping[type[HostRequest], Callable[[str, Held, Any], Value]]:
        """Those about what is open, on the store's thread."""
        return {q.MailboxAppend: self._append}

    def onward(
        self,
    ) -> Mapping[type[HostRequest], Callable[[str, Held, Any, Sequence[Recipient]], Value]]:
        """Those that send on what is open; recipients are looked up on the loop before."""
        return {
            q.MailboxRedirectByUID: self._redirect,
            q.MailboxForwardByUID: self._forward,
        }

    def _append(self, who: str, held: Held, request: q.MailboxAppend) -> Value:
        opened = self._desk.again(who, held, r.INSERT)
        headers = _headers(request.headers)
        replaces = headers.get("replacesUID")
        old = replaces if isinstance(replaces, int) else 0
        if (
            old
            and headers.get("replaceMode") == b"ifExists"
            and self._desk.message(opened, old) is None
        ):
            return b"the message to be replaced is gone"
        if old:
            opened.require(r.DELETE)
        flags = headers.get("flags")
        wanted = answers.flags_of(text_of(flags)) if isinstance(flags, bytes) else FlagSet()
        raw, token = self._written(who, held.task_id, headers, request.content)
        stored = self._desk.store.store(
            opened.owner,
            opened.box.number,
            self._desk.store.prepare(raw),
            token=token,
            flags=wanted.applied(NONE),
            received_ns=_time_ns(headers.get("internalDate")),
            replaces=old,
            source=_source(headers),
            actor=who,
        )
        if held.view is None:
            held.handle.messages = len(self._desk.visible(opened))
        return stored.uid if headers.get("report") == b"uid" else None

    def _submit(self, task: Task, request: c.SubmitEMail) -> Answer:
        return self._mail(task, _headers(request.headers), request.content)

    def _send(self, task: Task, request: c.SendEMail) -> Answer:
        headers = _headers(request.headers)
        for name, value in (
            ("From", None if request.sender is None else string_of(request.sender)),
            ("Subject", None if request.subject is None else string_of(request.subject)),
            ("To", request.to),
        ):
            if value is not None:
                headers[name] = value
        return self._mail(task, headers, request.content)

    def _mail(self, task: Task, headers: dict[str, Value], content: Value) -> Answer:
        who = task.account
        if who is None:
            return NO_ACCOUNT
        try:
            recipients = outgoing.recipients_of(headers, self._desk.routing, who)
        except DomainError as error:
            return string_of(str(error))

        def job() -> Value:
            raw, token = self._written(who, task.task_id, headers, content)
            raw = outgoing.with_return_path(raw, who)
            return self._delivered(who, recipients, self._desk.store.prepare(raw), token, headers)

        return self._desk.later(task, job)

    def _written(
        self, who: str, task_id: str, headers: Mapping[str, Value], content: Value
    ) -> tuple[bytes, str]:
        """The message of a program's values, and the token of its delivery."""
        token = self._desk.new_token()

        def whole(handle: Handle) -> bytes:
            held = self._desk.source(who, task_id, handle)
            return self._desk.store.read(held.owner, held.number, held.uid)

        def part(handle: Handle, part_id: str) -> MailPart | None:
            held = self._desk.source(who, task_id, handle)
            return self._desk.read(held.owner, held.number, held.uid).find(part_id)

        raw = outgoing.message_of(
            headers,
            content,
            sender=who,
            token=token,
            now_ns=self._desk.clock.wall_ns(),
            sources=Sources(whole, part),
        )
        return raw, token

    def _delivered(
        self,
        who: str,
        recipients: Sequence[Recipient],
        message: Prepared,
        token: str,
        headers: Mapping[str, Value] | None = None,
    ) -> Value:
        """Null, or what went wrong; the others have the message then."""
        failures = []
        for recipient in recipients:
            try:
                box = self._desk.store.box(recipient.account, recipient.mailbox)
                self._desk.store.store(
                    recipient.account,
                    box.number,
                    message,
                    token=token,
                    source=_source(headers or {}),
                    actor=who,
                )
            except (DomainError, MailError) as error:
                failures.append(f"{recipient.account}: {error}")
        return string_of("; ".join(failures)) if failures else None

    def _redirect(
        self,
        who: str,
        held: Held,
        request: q.MailboxRedirectByUID,
        recipients: Sequence[Recipient],
    ) -> Value:
        opened = self._desk.again(who, held)
        self._desk.require_message(opened, request.uid)
        fields = [
            ("Return-Path", f"<{who}>"),
            ("Resent-From", who),
            ("Resent-To", request.addresses),
        ]
        raw = prepended(fields, self._desk.store.read(held.owner, held.number, request.uid))
        error = self._delivered(
            who, recipients, self._desk.store.prepare(raw), self._desk.new_token()
        )
        if error is None and r.WRITE in opened.rights:
            change = FlagSet(frozenset((REDIRECTED,)))
            self._desk.store.set_flags(held.owner, held.number, [request.uid], change, actor=who)
        return error

    def _forward(
        self,
        who: str,
        held: Held,
        request: q.MailboxForwardByUID,
        recipients: Sequence[Recipient],
    ) -> Value:
        self._desk.require_message(self._desk.again(who, held), request.uid)
        source = self._desk.read(held.owner, held.number, request.uid)
        fields, body = outgoing.forwarded(source, who, request.addresses)
        token = self._desk.new_token()
        raw = outgoing.dated(fields, body, token, who, self._desk.clock.wall_ns())
        raw = outgoing.with_return_path(raw, who)
        return self._delivered(who, recipients, self._desk.store.prepare(raw), token)


def _headers(value: Value) -> dict[str, Value]:
    if not isinstance(value, Dictionary):
        return {}
    return {text_of(key): one for key, one in value.items()}


def _source(headers: Mapping[str, Value]) -> str:
    """The submit tag (mail reference §1)."""
    named = headers.get("sourceType")
    return text_of(named)[:20] if isinstance(named, bytes) and named else "CGPL"


def _time_ns(when: Value) -> int:
    return when.seconds * _NS_PER_S if isinstance(when, Timestamp) and not when.special else 0
