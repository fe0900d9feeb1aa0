"""What the called side may learn of the caller, and of the way the call took.

Fed by the caller's INVITE and by redirects; feeds the INVITEs of ``dial.py``. Privacy (RFC 3323,
RFC 3325 §7) is carried out here and not left to others: who wants to be anonymous is, toward
everybody but the log. Redirects are told in both forms, Diversion (RFC 5806) and History-Info
(RFC 7044); of the latter only what one server knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from sip.uri import SipUri

if TYPE_CHECKING:
    from sip.message import Request

#: Host of an address that names nobody (RFC 3323 §4.1.1.3).
ANONYMOUS_HOST: Final = "anonymous.invalid"
#: Wishes of a Privacy field that withhold who calls; Contact, Via and Call-ID are ours anyway.
_WITHHELD: Final = frozenset({"id", "user", "header"})


class Presentation(NamedTuple):
    """A party as it is shown to others."""

    from_: str
    """From value, without tag."""
    asserted: str = ""
    """URI for P-Asserted-Identity: told to our own accounts only; empty if unknown or withheld."""


#: Fields of the caller that would tell who an anonymous one is (RFC 3323 §4.1).
REVEALING: Final = frozenset({"Call-Info", "Organization", "Referred-By", "Subject"})
ANONYMOUS: Final = Presentation(f'"Anonymous" <sip:anonymous@{ANONYMOUS_HOST}>')


class Diversion(NamedTuple):
    """One redirect on the way."""

    uri: str
    """Who redirected."""
    status: int
    reason: str
    """Word of RFC 5806 §4."""
    target: str
    """Where to."""


def address_text(display: str, uri: str) -> str:
    """A From or To value: display name quoted as RFC 3261 §25.1 demands."""
    if not display:
        return f"<{uri}>"
    quoted = display.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{uri}>'


def of_party(account: str, uri: str) -> Presentation:
    """A party known by its account, else by its address."""
    if account:
        return Presentation(f"<sip:{account}>", f"sip:{account}")
    return Presentation(f"<{uri}>")


def of_caller(request: Request, identity: str, asserted: str = "") -> Presentation:
    """The sender of an INVITE or MESSAGE.

    `identity` is its proven URI, empty for a stranger; `asserted` what a trusted source said of
    one, which stands beside the From of its choice.
    """
    from_ = request.from_
    privacy = request.first("Privacy")
    if privacy is not None and not _WITHHELD.isdisjoint(
        privacy.lower().replace(" ", "").split(";")
    ):
        return ANONYMOUS
    if ANONYMOUS_HOST in from_.uri_text:
        named = from_.uri
        if isinstance(named, SipUri) and named.host == ANONYMOUS_HOST:
            return ANONYMOUS
    return Presentation(
        address_text(from_.display, identity or from_.uri_text), identity or asserted
    )


def diversion_fields(
    diversions: Sequence[Diversion], fields: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """`fields` of an INVITE with the redirects in front, the latest on top.

    A History-Info that came with the call is left alone: its indices are its server's.
    """
    told = [
        ("Diversion", f"<{diversion.uri}>;reason={diversion.reason};counter=1")
        for diversion in reversed(diversions)
    ]
    if not any(name == "History-Info" for name, _ in fields):
        told.append(("History-Info", _history(diversions)))
    return [*told, *fields]


def _history(diversions: Sequence[Diversion]) -> str:
    """Each target with its index below the one that led to it (RFC 7044 §10.3)."""
    index = "1"
    entries = []
    mapped = ""
    for diversion in diversions:
        cause = f"Reason=SIP%3Bcause%3D{diversion.status}"
        entries.append(f"<{diversion.uri}?{cause}>;index={index}{mapped}")
        mapped = f";mp={index}"
        index += ".1"
    target = diversions[-1].target.partition("?")[0]
    return ", ".join([*entries, f"<{target}>;index={index}{mapped}"])
