"""Requests of programs about mailboxes as such: list, create, rename, rights, aliases.

CG/PL reference §9.11. Each runs on the store's thread, for the account `who`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mail.names import INBOX, mailbox_name, matches, parents, place
from pbx.domain.mailboxes import Box
from pbx.mailboxes import answers
from pbx.mailboxes import rights as r
from pbx.mailboxes.desk import Desk
from pbx.script.requests import mailboxes as q
from pbx.script.requests.base import HostRequest
from pbx.script.values import Dictionary, Value, string_of, text_of


class CatalogRequests:
    """See the module."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def jobs(self) -> Mapping[type[HostRequest], Callable[[str, Any], Value]]:
        """What carries each of them out."""
        return {
            q.ListMailboxes: self._list,
            q.CreateMailbox: self._create,
            q.RenameMailbox: self._rename,
            q.DeleteMailbox: self._delete,
            q.GetMailboxACLs: self._get_access,
            q.SetMailboxACLs: self._set_access,
            q.GetMailboxAliases: self._get_aliases,
            q.SetMailboxAliases: self._set_aliases,
            q.GetMailboxSubscription: self._get_subscription,
            q.SetMailboxSubscription: self._set_subscription,
        }

    def _list(self, who: str, request: q.ListMailboxes) -> Value:
        pattern = request.pattern or "*"
        owner, prefix = who, ""
        if pattern.startswith("~"):
            name, pattern = place(pattern)
            if name:
                owner = self._desk.access.account_of(name, who.rpartition("@")[2])
                prefix = f"~{name}/"
        catalog = self._desk.store.catalog(owner)
        boxes = {box.name: box for box in catalog.boxes.values()}
        if owner == who and INBOX not in boxes:
            boxes[INBOX] = self._desk.store.box(who, INBOX)
        folders = {parent for name in boxes for parent in parents(name)}
        found = Dictionary()
        for name in sorted(boxes.keys() | folders):
            if matches(name, pattern):
                value = self._listed(who, owner, boxes.get(name), name in folders)
                found.set(string_of(prefix + name), value)
        if owner == who:
            for alias in catalog.aliases:
                if alias not in boxes and matches(alias, pattern):
                    opened = self._desk.access.open(who, alias)
                    found.set(string_of(alias), self._listed(who, opened.owner, opened.box, False))
        return found

    def _listed(self, who: str, owner: str, box: Box | None, folder: bool) -> Value:
        """Attributes; in an array for what has mailboxes below; rights where it cannot be read."""
        if box is None:
            return []
        rights = self._desk.access.rights(who, owner, box)
        if r.LOOKUP not in rights:
            return [] if folder else None
        if box.folder:
            return []
        if r.READ not in rights:
            return string_of(rights)
        held = self._desk.store.messages(owner, box.number)
        facts: dict[bytes, Value] = {
            b"Messages": len(held.messages),
            b"Unseen": len(held.with_flags(answers.flags_of("Unseen"))),
            b"Media": len(held.with_flags(answers.flags_of("Media"))),
            b"UnseenMedia": len(held.with_flags(answers.flags_of("Media,Unseen"))),
            b"Size": held.size_bytes,
            b"UIDNext": held.uid_next,
            b"UIDValidity": box.uid_validity,
            b"Class": string_of(box.mailbox_class) if box.mailbox_class else None,
        }
        made = Dictionary(facts)
        return [made] if folder else made

    def _create(self, who: str, request: q.CreateMailbox) -> Value:
        owner, name = self._desk.access.located(who, request.name)
        self._desk.access.require_create(who, owner, name)
        folder = "/" if request.name.endswith("/") else ""
        kind = request.mailbox_class or ""
        self._desk.store.create(owner, name + folder, mailbox_class=kind, actor=who)
        return None

    def _rename(self, who: str, request: q.RenameMailbox) -> Value:
        owner, name = self._desk.access.located(who, request.name)
        new_owner, new_name = self._desk.access.located(who, request.new_name)
        if owner != new_owner:
            return b"a mailbox stays with its account: copy its messages instead"
        self._desk.access.require_delete(who, owner, name)
        self._desk.access.require_create(who, owner, new_name)
        self._desk.store.rename(owner, name, new_name, sub=request.sub is not None, actor=who)
        return None

    def _delete(self, who: str, request: q.DeleteMailbox) -> Value:
        owner, name = self._desk.access.located(who, request.name)
        self._desk.access.require_delete(who, owner, name)
        self._desk.store.delete(owner, name, sub=request.sub is not None, actor=who)
        return None

    def _get_access(self, who: str, request: q.GetMailboxACLs) -> Value:
        opened = self._desk.access.open(who, request.name, r.ADMINISTER)
        made = Dictionary()
        for entry in opened.box.access:
            made.set(string_of(entry.who), string_of(entry.rights))
        return made

    def _set_access(self, who: str, request: q.SetMailboxACLs) -> Value:
        opened = self._desk.access.open(who, request.name, r.ADMINISTER)
        changes: dict[str, str | None] = {}
        for key, value in request.rights.items():
            if isinstance(value, bytes):
                changes[text_of(key)] = text_of(value)
            elif value == []:
                changes[text_of(key)] = None
            else:
                return b"rights are a string of letters; an empty array takes them all away"
        self._desk.store.set_access(opened.owner, opened.box.number, changes, actor=who)
        return None

    def _whose(self, who: str, account: str | None) -> str:
        owner = (
            who
            if account is None
            else self._desk.access.account_of(account, who.rpartition("@")[2])
        )
        self._desk.access.require_self(who, owner)
        return owner

    def _get_aliases(self, who: str, request: q.GetMailboxAliases) -> Value:
        made = Dictionary()
        for name, target in self._desk.store.catalog(
            self._whose(who, request.account)
        ).aliases.items():
            made.set(string_of(name), string_of(target))
        return made

    def _set_aliases(self, who: str, request: q.SetMailboxAliases) -> Value:
        owner = self._whose(who, request.account)
        aliases: dict[str, str] = {}
        for key, value in request.aliases.items():
            target = text_of(value) if isinstance(value, bytes) else ""
            if not place(target).owner:
                return b"an alias stands for a mailbox of somebody: ~account/mailbox"
            aliases[mailbox_name(text_of(key))] = target
        self._desk.store.set_aliases(owner, aliases, actor=who)
        return None

    def _get_subscription(self, who: str, request: q.GetMailboxSubscription) -> Value:
        names = self._desk.store.catalog(self._whose(who, request.account)).subscription
        return [string_of(name) for name in names]

    def _set_subscription(self, who: str, request: q.SetMailboxSubscription) -> Value:
        owner = self._whose(who, request.account)
        names = [text_of(one) for one in request.mailboxes if isinstance(one, bytes)]
        if len(names) != len(request.mailboxes):
            return b"the subscription is an array of names"
        for name in names:
            mailbox_name(place(name).name)
        self._desk.store.set_subscription(owner, names, actor=who)
        return None
