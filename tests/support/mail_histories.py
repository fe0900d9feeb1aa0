"""Random histories of two accounts' mailboxes, through the store: what programs and people do."""

from __future__ import annotations

import random

from mail.errors import MailError
from mail.flags import parse_flags
from pbx.kernel.errors import DomainError
from tests.support.mail_lab import ANN, BOB, MailLab, text_message, voice_message

NAMES = ("INBOX", "Work", "Work/Old", "Семья", "a/b/c")
CHANGES = ("Seen", "Unseen", "Deleted", "Undeleted", "Flagged,$Label1", "Unflagged,Un$Label1")


def write_mail_history(lab: MailLab, seed: int, steps: int) -> int:
    """Do `steps` things; those that are refused count, too. Returns how many were."""
    rng = random.Random(seed)
    stores = [lab.store, lab.another_store()]
    refused = 0
    for number in range(steps):
        store = rng.choice(stores)
        account = rng.choice((ANN, BOB))
        name = rng.choice(NAMES)
        try:
            match rng.randrange(12):
                case 0:
                    store.create(account, name, mailbox_class=rng.choice(("", "IPF.Contact")))
                case 1:
                    store.rename(account, name, rng.choice(NAMES), sub=rng.random() < 0.5)
                case 2:
                    store.delete(account, name, sub=rng.random() < 0.5)
                case 3:
                    box = store.box(account, name)
                    store.set_access(
                        account, box.number, {"bob": rng.choice(("lr", "+s", "", "-r"))}
                    )
                case 4 | 5 | 6:
                    box = store.box(account, name)
                    raw = rng.choice((voice_message, text_message))()
                    # Some deliveries are repeated.
                    token = f"{seed}-{number - rng.choice((0, 0, 0, 1, 2))}"
                    store.store(account, box.number, store.prepare(raw), token=token, source="PBX")
                case 7 | 8:
                    box = store.box(account, name)
                    uids = rng.sample(range(1, 20), 5)
                    store.set_flags(account, box.number, uids, parse_flags(rng.choice(CHANGES)))
                case 9:
                    store.expunge(account, store.box(account, name).number)
                case 10:
                    source = (account, store.box(account, name).number)
                    target = (BOB, store.box(BOB, rng.choice(NAMES)).number)
                    store.copy(
                        source,
                        rng.sample(range(1, 20), 3),
                        target,
                        token=f"c{seed}-{number}",
                        move=rng.random() < 0.5,
                    )
                case _:
                    box = store.box(account, name)
                    store.remove(account, box.number, [rng.randrange(1, 20)])
        except (DomainError, MailError):
            refused += 1
    return refused
