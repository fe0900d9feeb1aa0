"""What the settings make of call control, the SIP engine, the endpoint and its TLS."""

from __future__ import annotations

import socket
from pathlib import Path

from pbx.calls.config import CallConfig
from pbx.calls.peers import PeerTable
from pbx.roles import Fatal
from pbx.settings import Settings
from sip.endpoint import (
    EndpointLimits,
    TlsContexts,
    TlsFileError,
    TlsSettings,
    ensure_self_signed,
)
from sip.engine import EngineConfig
from sip.flow import Address


def call_config(settings: Settings) -> CallConfig:
    """Call control's part of the settings."""
    sip, limits = settings.sip, settings.limits
    return CallConfig(
        node=settings.server.node,
        client_ips=sip.client_ips,
        outside_calls=sip.outside_calls,
        calls_total=limits.calls_total,
        calls_per_account=limits.calls_per_account,
        emergency_numbers=limits.emergency_numbers,
        setups_per_s=limits.setups_per_s,
        no_answer_s=sip.no_answer_s,
        register_expires_s=sip.register_expires_s,
        register_min_s=sip.register_min_s,
        register_max_s=sip.register_max_s,
        digest_algorithms=sip.digest_algorithms,
        nonce_life_s=sip.nonce_life_s,
        failed_logins=limits.failed_logins,
        failed_logins_s=limits.failed_logins_s,
        lock_s=limits.lock_s,
        requests_per_s=limits.requests_per_s,
        requests_burst=limits.requests_burst,
        nat_networks=sip.nat_networks,
        registrations=limits.registrations,
        contacts_per_account=limits.contacts_per_account,
        subscriptions=limits.subscriptions,
        subscriptions_per_account=limits.subscriptions_per_account,
        subscribe_max_s=sip.subscribe_max_s,
    )


def engine_config(settings: Settings, peers: PeerTable) -> EngineConfig:
    """The SIP engine's part of the settings; `peers` knows what other nodes show of themselves."""
    sip = settings.sip
    clustered = settings.cluster.link != "off"
    advertised = settings.server.advertised

    def advertise(_transport: str, local: Address) -> Address | None:
        return (advertised, local[1]) if advertised else None

    def advertised_elsewhere(node: str, _transport: str, local: Address) -> Address | None:
        return peers.shown(node, local)

    return EngineConfig(
        t1_s=sip.t1_s,
        t2_s=sip.t2_s,
        t4_s=sip.t4_s,
        user_agent=sip.user_agent,
        session_expires_s=sip.session_expires_s,
        min_se_s=sip.min_se_s,
        udp_mtu_bytes=sip.udp_mtu_bytes,
        strict_source=True,
        advertised=advertise if advertised else None,
        node=settings.server.node if clustered else "",
        advertised_elsewhere=advertised_elsewhere if clustered else None,
    )


def endpoint_limits(settings: Settings) -> EndpointLimits:
    """The bounds of connections."""
    limits = settings.limits
    return EndpointLimits(
        connections=limits.connections,
        connections_per_address=limits.connections_per_source,
        first_message_s=limits.first_message_s,
        message_s=limits.message_s,
        idle_s=limits.idle_s,
        tls_handshake_s=limits.tls_handshake_s,
    )


def tls_contexts(settings: Settings, data: Path) -> TlsContexts:
    """Certificates of the TLS listeners and whom we trust. Raises Fatal, with what to do."""
    sip = settings.sip
    if sip.tls_certificate:
        certificate, key = Path(sip.tls_certificate), Path(sip.tls_key or sip.tls_certificate)
    else:
        names = [settings.server.advertised or socket.gethostname()]
        certificate, key = ensure_self_signed(data / "tls", names)
    authorities = Path(sip.tls_ca_file) if sip.tls_ca_file else None
    try:
        return TlsContexts(
            TlsSettings(certificate, key, ca_file=authorities, verify=sip.tls_verify)
        )
    except TlsFileError as error:
        if error.path == authorities:
            advice = (
                "name a PEM file with certificates of authorities in sip.tls_ca_file, or leave it "
                "empty to trust those of the system"
            )
        else:
            advice = "name PEM files that belong together in sip.tls_certificate and sip.tls_key"
        raise Fatal(f"TLS cannot use {error}; {advice}") from error
