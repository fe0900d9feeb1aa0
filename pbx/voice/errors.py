"""What goes wrong between programs and calls.

::

    VoiceError
    ├── NoHosting       this server's media service cannot host parties
    └── BadParameters   a program asks for something that no call can be made of
"""

from __future__ import annotations

from pbx.kernel.errors import PbxError


class VoiceError(PbxError):
    """Base of this package's errors."""


class NoHosting(VoiceError):
    """Programs need ``media.engine = "local"``: only our own service plays and records."""


class BadParameters(VoiceError):
    """``status`` is what a caller would get."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
