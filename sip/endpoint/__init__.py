"""The asyncio shell around :mod:`sip.engine`: the only part of ``sip`` that touches the world.

``endpoint`` owns the listeners and pumps the engine; ``udp`` and ``stream`` are its sockets,
``resolver`` (over the pure ``locate``) finds servers by RFC 3263, ``tls`` holds certificates.
"""

from sip.endpoint.endpoint import SipEndpoint
from sip.endpoint.limits import EndpointLimits
from sip.endpoint.resolver import Resolver
from sip.endpoint.tls import TlsContexts, TlsFileError, TlsSettings, ensure_self_signed

__all__ = [
    "EndpointLimits",
    "Resolver",
    "SipEndpoint",
    "TlsContexts",
    "TlsFileError",
    "TlsSettings",
    "ensure_self_signed",
]
