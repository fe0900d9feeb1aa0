"""Calls for help: the numbers that nothing blocks.

Asked for each initial INVITE, so it costs one look into a set. Which way such a call takes is the
Router's to say; here is only that no limit refuses it and no rule forwards or blocks it, and that
no rule sends anybody's call there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sip.uri import OpaqueUri, SipUri

if TYPE_CHECKING:
    from pbx.calls.directory import Directory

#: Service URNs of RFC 5031 §4.2: ``urn:service:sos``, ``urn:service:sos.police`` …
_SOS: Final = "service:sos"


class Emergency:
    """See the module."""

    __slots__ = ("_directory", "_numbers")

    def __init__(self, directory: Directory, numbers: Iterable[str]) -> None:
        self._directory = directory
        self._numbers = frozenset(numbers)

    def is_emergency(self, uri: SipUri | OpaqueUri) -> bool:
        """Whether who calls `uri` calls for help: such a number at this server, by ``tel:``, or the
        URN of the service. A number of a foreign host is that host's business."""
        if isinstance(uri, SipUri):
            if uri.user not in self._numbers:
                return False
            return bool(self._directory.local_domain(uri.host))
        text = str(uri)
        scheme, _, rest = text.partition(":")
        if scheme.lower() == "tel":
            return rest.partition(";")[0] in self._numbers
        return scheme.lower() == "urn" and rest.lower().startswith(_SOS)
