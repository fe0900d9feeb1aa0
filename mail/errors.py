"""The error tree of ``mail``.

::

    MailError
    ├── MessageError       a message cannot be built, or is larger than it may be
    ├── MailboxNameError   a text is no name of a mailbox
    ├── FlagError          a text is no flag, or says two things at once
    └── MailboxFull        no UID is left, or a bound is reached
"""

from __future__ import annotations


class MailError(Exception):
    """Base of everything ``mail`` raises on purpose."""


class MessageError(MailError):
    """A message cannot be built or taken; the text says why."""


class MailboxNameError(MailError):
    """A text is no name of a mailbox."""


class FlagError(MailError):
    """A text is no flag."""


class MailboxFull(MailError):
    """The mailbox takes no further message."""
