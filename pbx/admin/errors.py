"""Refusals of the command protocol: a code for programs, a text for people.

::

    PbxError
    └── DomainError
        └── CliError      a reply other than 200, 201 and 300

A :class:`~pbx.kernel.errors.DomainError` that is no CliError is answered 501 with its text.
"""

from __future__ import annotations

from typing import Final

from pbx.kernel.errors import DomainError

UNKNOWN_COMMAND: Final = 500
DOMAIN_EXISTS: Final = 500
GENERAL: Final = 501
NO_RIGHTS: Final = 510
NO_DOMAIN: Final = 512
NO_ACCOUNT: Final = 513
WRONG_LOGIN: Final = 515
ACCOUNT_EXISTS: Final = 520
GROUP_EXISTS: Final = 523
FORWARDER_EXISTS: Final = 524
NO_FORWARDER: Final = 553
ACCOUNT_IN_USE: Final = 555

_TEXTS: Final = {
    UNKNOWN_COMMAND: "unknown command",
    NO_RIGHTS: "insufficient access rights",
    NO_DOMAIN: "unknown secondary domain name",
    NO_ACCOUNT: "unknown user account",
    WRONG_LOGIN: "incorrect password or account name",
    ACCOUNT_EXISTS: "account with this name already exists",
    GROUP_EXISTS: "group with this name already exists",
    FORWARDER_EXISTS: "forwarder with this name already exists",
    NO_FORWARDER: "unknown forwarder",
    ACCOUNT_IN_USE: "account is in use",
}


class CliError(DomainError):
    """A command is refused with a code."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text or _TEXTS[code])
        self.code = code
