"""The 49 torture messages of RFC 4475, in our own transcription.

:data:`MESSAGES` maps the RFC's names to :class:`~tests.data.rfc4475.notation.Torture`. The texts
are in the notation in which the RFC prints them; rendered, they are its messages byte for byte,
but for the signature in ``mpart01``, in whose place other bytes stand.
"""

from __future__ import annotations

from typing import Final

from tests.data.rfc4475 import application, invalid, valid
from tests.data.rfc4475.notation import Torture

__all__ = ["MESSAGES", "Torture"]

MESSAGES: Final[dict[str, Torture]] = {
    value.name: value
    for module in (valid, invalid, application)
    for value in vars(module).values()
    if isinstance(value, Torture)
}
