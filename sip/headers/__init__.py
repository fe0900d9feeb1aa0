"""Typed values of header fields, one module per family.

Fed by ``sip.message`` one value at a time, on first use; every parser raises
``sip.errors.MalformedHeader`` and nothing else. ``str(value)`` gives wire text.
"""

from sip.headers.address import NameAddr, parse_name_addr
from sip.headers.auth import Challenge, Credentials, parse_authorization, parse_challenge
from sip.headers.generic import (
    CSeq,
    EventHeader,
    RAck,
    Reason,
    Replaces,
    RetryAfter,
    SubscriptionState,
    parse_cseq,
    parse_event,
    parse_rack,
    parse_reason,
    parse_replaces,
    parse_retry_after,
    parse_rseq,
    parse_subscription_state,
)
from sip.headers.names import canonical_name
from sip.headers.timer import SessionExpires, parse_min_se, parse_session_expires
from sip.headers.via import MAGIC_COOKIE, Via, parse_via

__all__ = [
    "MAGIC_COOKIE",
    "CSeq",
    "Challenge",
    "Credentials",
    "EventHeader",
    "NameAddr",
    "RAck",
    "Reason",
    "Replaces",
    "RetryAfter",
    "SessionExpires",
    "SubscriptionState",
    "Via",
    "canonical_name",
    "parse_authorization",
    "parse_challenge",
    "parse_cseq",
    "parse_event",
    "parse_min_se",
    "parse_name_addr",
    "parse_rack",
    "parse_reason",
    "parse_replaces",
    "parse_retry_after",
    "parse_rseq",
    "parse_session_expires",
    "parse_subscription_state",
    "parse_via",
]
