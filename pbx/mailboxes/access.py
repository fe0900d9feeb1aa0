"""From the name of a mailbox as a program writes it to a mailbox that it may use.

``INBOX``, ``Work/Old``, ``~ann/Work``, ``~ann@example.org/Work``, or an alias of the account. What
somebody may not even see does not exist for him. Mail reference §7.1, §7.5.
"""

from __future__ import annotations

from dataclasses import dataclass

from mail.names import INBOX, mailbox_name, parents, place
from pbx.domain.mailboxes import Box
from pbx.kernel.errors import DomainError
from pbx.mailboxes import rights as r
from pbx.mailboxes.store import MailStore
from pbx.router import Group, ObjectKind, RoutingState

MISSING = "there is no such mailbox"


@dataclass(frozen=True, slots=True)
class Opened:
    """A mailbox with what somebody may do with it."""

    owner: str
    box: Box
    rights: str

    def require(self, needed: str) -> None:
        """Raises :class:`DomainError` unless all `needed` rights are there."""
        for letter in needed:
            if letter not in self.rights:
                raise DomainError(f"no right {letter} in the mailbox {self.box.name}")


class MailAccess:
    """Rights of accounts over a store; `routing` knows names, aliases and groups.

    Used on the thread of the store: look-ups in `routing` are single dictionary accesses.
    """

    def __init__(self, store: MailStore, routing: RoutingState) -> None:
        self.store = store
        self._routing = routing

    def account_of(self, text: str, domain: str) -> str:
        """Address of the account that a name or address means; without a domain it is of `domain`.

        Raises :class:`DomainError` if it is no account of ours.
        """
        name, at, host = text.strip().lower().partition("@")
        local = self._routing.local_domain(host) if at else domain
        found = self._routing.find(name, local) if local and name else None
        if found is None or found.object_kind is not ObjectKind.ACCOUNT:
            raise DomainError(f"there is no account {text[:200]}")
        return f"{found.name}@{local}"

    def is_member(self, group: str, account: str) -> bool:
        """Whether a group (``name@domain``) has an account among its members."""
        name, _, domain = group.partition("@")
        found = self._routing.find(name, domain)
        if not isinstance(found, Group):
            return False
        for member in found.members:
            try:
                if self.account_of(member, domain) == account:
                    return True
            except DomainError:
                continue
        return False

    def rights(self, who: str, owner: str, box: Box) -> str:
        """What account `who` may do with a mailbox of `owner`."""
        if who != owner and self.store.settings.is_master(who):
            return r.ALL
        return r.effective(box.access, owner, who, self.is_member)

    def located(self, who: str, text: str) -> tuple[str, str]:
        """Owner and name of a mailbox, which need not exist."""
        owner, name = place(text)
        domain = who.rpartition("@")[2]
        if owner:
            return self.account_of(owner, domain), mailbox_name(name)
        wanted = mailbox_name(name.removesuffix("/"))
        catalog = self.store.catalog(who)
        if wanted != INBOX and catalog.find(wanted) is None:
            for alias in (wanted, *reversed(parents(wanted))):
                target = catalog.aliases.get(alias)
                if target is not None:
                    there, base = place(target)
                    rest = wanted[len(alias) :]
                    return self.account_of(there, domain), mailbox_name(base + rest)
        return who, wanted

    def open(self, who: str, text: str, needed: str = "") -> Opened:
        """A mailbox that is there. Raises :class:`DomainError`."""
        owner, name = self.located(who, text)
        if owner != who and name == INBOX and self.store.catalog(owner).find(INBOX) is None:
            raise DomainError(MISSING)
        opened = self._opened(who, owner, self.store.box(owner, name))
        opened.require(needed)
        return opened

    def again(self, who: str, owner: str, number: int, needed: str = "") -> Opened:
        """One that was opened before; its rights, its name, and whether it is there may have
        changed."""
        box = self.store.catalog(owner).boxes.get(number)
        if box is None:
            raise DomainError(MISSING)
        opened = self._opened(who, owner, box)
        opened.require(needed)
        return opened

    def _opened(self, who: str, owner: str, box: Box) -> Opened:
        rights = self.rights(who, owner, box)
        if not set(rights) & {r.LOOKUP, r.READ, r.INSERT}:
            raise DomainError(MISSING)
        return Opened(owner, box, rights)

    def require_create(self, who: str, owner: str, name: str) -> None:
        """To make `name`, or to rename to it: own mailboxes, or below one with the right."""
        if who == owner or self.store.settings.is_master(who):
            return
        catalog = self.store.catalog(owner)
        for parent in reversed(parents(name)):
            box = catalog.find(parent)
            if box is not None:
                Opened(owner, box, self.rights(who, owner, box)).require(r.CREATE)
                return
        raise DomainError(f"only {owner} makes mailboxes at the top of its own")

    def require_delete(self, who: str, owner: str, name: str) -> None:
        """To delete `name`, or to rename it: the right there, and that of the one around it."""
        if who == owner or self.store.settings.is_master(who):
            return
        self.require_create(who, owner, name)
        box = self.store.catalog(owner).find(name)
        if box is None:
            raise DomainError(MISSING)
        Opened(owner, box, self.rights(who, owner, box)).require(r.DELETE)

    def require_self(self, who: str, account: str) -> None:
        """For what belongs to the account as such: aliases, subscription."""
        if who != account and not self.store.settings.is_master(who):
            raise DomainError(f"only {account} may do that")
