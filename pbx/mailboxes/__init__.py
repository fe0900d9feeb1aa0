"""Mailboxes of accounts over the event log and the blob store; ``docs/mailboxes.md``.

:class:`~pbx.mailboxes.store.MailStore` is the one way to change them: for programs
(:mod:`pbx.mailboxes.provider`), for ``pbx mailbox``, later for SMTP and IMAP. It blocks, so the
signal role gives it a thread (:mod:`pbx.mailboxes.worker`). What the lamps of phones show is
followed from the log (:mod:`pbx.mailboxes.waiting`).
"""
