"""Settings of call control, as one frozen value handed down by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class CallConfig:
    """Limits and policies; every number says its unit and why it is so."""

    node: str = "ringlog"
    """Name of this node: stream of its own events, ``node`` in each envelope."""
    client_ips: tuple[Network, ...] = ()
    """Trusted sources: may call without credentials. Empty: nobody."""
    outside_calls: bool = False
    """Take calls to our accounts from unauthenticated strangers. Off: they are challenged like
    everybody else, so that nobody learns which accounts exist."""
    calls_total: int = 5000
    """Calls at once on this node; more get 503 with Retry-After."""
    calls_per_account: int = -1
    """Calls at once of an account without a limit of its own; -1 means no limit."""
    registrations: int = 100_000
    """Bindings of all accounts; more get 503."""
    contacts_per_account: int = 10
    """Bindings of an account without a limit of its own."""
    subscriptions: int = 20_000
    """Subscriptions of all accounts; more get 503."""
    subscriptions_per_account: int = 500
    """Subscriptions of one account, over all its phones; more get 403."""
    subscribe_max_s: int = 3600
    """Longest life of a subscription between two refreshes."""
    emergency_numbers: tuple[str, ...] = ("112", "911")
    """Dialled numbers that no limit and no rule stands in the way of; no rule sends calls there."""
    setups_per_s: float = 0.0
    """Rate of new calls above which 503 is answered; 0 means no limit."""
    no_answer_s: float = 180.0
    """How long a callee may ring; the caller's Expires field may shorten it."""
    transfer_grace_s: float = 5.0
    """How long a transferor may take to hang up by itself after its transfer succeeded."""
    max_redirects: int = 5
    """3xx answers followed for one call."""
    max_branches: int = 20
    """Contacts tried for one call (Max-Breadth in spirit, RFC 5393)."""
    heartbeat_s: float = 1.0
    """Distance of ``node.alive`` events while calls are up: bounds the error of the end time of
    a call that died with its node."""
    retry_after_s: int = 5
    """Lower bound of Retry-After; up to twice this is added at random."""
    register_expires_s: int = 3600
    register_min_s: int = 60
    register_max_s: int = 86_400
    digest_algorithms: tuple[str, ...] = ("MD5",)
    """Challenges of a 401, strongest first. Deviation from RFC 8760 §2.4, which would name SHA-256
    too: SIPp 3.6 gives up when it comes first, baresip 1.0 when it comes at all."""
    nonce_life_s: float = 120.0
    """Life of a digest nonce; then ``stale=true``."""
    failed_logins: int = 10
    """Wrong answers to a challenge within `failed_logins_s` before a source or account is
    locked for `lock_s`."""
    failed_logins_s: float = 60.0
    lock_s: float = 300.0
    requests_per_s: float = 200.0
    """Token bucket per unauthenticated source address, and its depth."""
    requests_burst: int = 400
    scanner_agents: tuple[str, ...] = (
        "friendly-scanner", "sipvicious", "sundayddr", "vaxsipuseragent", "pplsip", "sip-scan",
    )  # fmt: skip
    """User-Agent beginnings (lower case) that get no answer at all."""
    nat_networks: tuple[Network, ...] = field(default=())
    """Private ranges behind remote NATs; empty means the usual private ranges."""
