"""The media service: NG requests in, ports and relay behind.

``NgService`` and all it is made of are sans-I/O; ``shell`` and ``run`` are the process around it.
"""

from __future__ import annotations

from media.server.addresses import Interface
from media.server.service import NgService, ServiceConfig, ServiceEvent

__all__ = ["Interface", "NgService", "ServiceConfig", "ServiceEvent"]
