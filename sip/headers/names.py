"""Header names: one spelling inside, any spelling on the wire (RFC 3261 §7.3.1, §7.3.3).

``CANONICAL`` maps the exact canonical spelling, its lower-case form and the compact form to the
canonical spelling, so the parser's common case is one dictionary hit.
"""

from __future__ import annotations

from typing import Final

from sip.errors import MalformedHeader
from sip.grammar import LWS, TOKEN

_TEXT: Final = """
Accept Accept-Contact Accept-Encoding Accept-Language Accept-Resource-Priority Alert-Info Allow
Allow-Events Answer-Mode Authentication-Info Authorization Call-ID Call-Info Contact
Content-Disposition Content-Encoding Content-ID Content-Language Content-Length Content-Type CSeq
Date Diversion Encryption Error-Info Event Expires Feature-Caps Flow-Timer From Geolocation
Geolocation-Error Geolocation-Routing Hide History-Info Identity Identity-Info In-Reply-To
Info-Package Join Max-Breadth Max-Forwards MIME-Version Min-Expires Min-SE Organization
P-Access-Network-Info P-Asserted-Identity P-Asserted-Service P-Associated-URI P-Billing-Id
P-Called-Party-ID P-CGP-Local P-CGP-Private P-Charge-Info P-Charging-Vector P-Early-Media
P-Preferred-Identity P-Preferred-Service P-Visited-Network-ID P-XMPP-Data Path
Permission-Missing Priority Privacy Proxy-Authenticate Proxy-Authentication-Info
Proxy-Authorization Proxy-Require RAck Reason Record-Route Recv-Info Refer-Sub Refer-To
Referred-By Reject-Contact Remote-Party-ID Replaces Reply-To Request-Disposition Require
Resource-Priority Response-Key Retry-After Route RSeq Security-Client Security-Server
Security-Verify Server Service-Route Session-Expires Session-ID SIP-ETag SIP-If-Match Subject
Subscription-State Supported Suppress-If-Match Target-Dialog Timestamp To Trigger-Consent
Unsupported User-Agent User-to-User Via Warning WWW-Authenticate
"""
_NAMES: Final = _TEXT.split()

# RFC 3261 §7.3.3 and the IANA registry of compact forms.
_COMPACT: Final = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}

KNOWN: Final = frozenset(_NAMES)
"""Canonical names; any other name is an extension and keeps its own spelling."""

CANONICAL: Final[dict[str, str]] = {
    **{name: name for name in _NAMES},
    **{name.lower(): name for name in _NAMES},
    **_COMPACT,
    **{letter.upper(): name for letter, name in _COMPACT.items()},
}


def canonical_name(text: str) -> str:
    """The canonical spelling of a name as met on the wire, white space before the colon included.

    Raises MalformedHeader if it is not a token.
    """
    name = CANONICAL.get(text)
    if name is not None:
        return name
    text = text.rstrip(LWS)
    name = CANONICAL.get(text.lower())
    if name is not None:
        return name
    if TOKEN.fullmatch(text) is None:
        raise MalformedHeader("header field name", "not a token")
    return text
