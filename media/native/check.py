"""Checks of a stream's configuration, the same before the C core and before the twin."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from media.native.relay import ANY_PAYLOAD_TYPE, Address, StreamConfig

MAX_DATAGRAM_BYTES = 2048
"""Room for one datagram in the C core. Media stays below the MTU of Ethernet; what is longer
is cut by the kernel and dropped by the relay."""

_BROADCAST = ip_address("255.255.255.255")


@lru_cache(maxsize=4096)  # a server meets the same peers again and again
def _parsed(host: str) -> IPv4Address | IPv6Address:
    return ip_address(host)


def normalised(config: StreamConfig, local: Address) -> StreamConfig:
    """Check what the packet path relies on and bring addresses into their one spelling.

    Raises ValueError: an address that is not a unicast address of the socket's family, a number
    out of its range.
    """
    if config.payload_types is not None and not config.payload_types <= ANY_PAYLOAD_TYPE:
        raise ValueError("payload types are 0 to 127")
    if not 0 < config.max_packet_bytes < MAX_DATAGRAM_BYTES:
        raise ValueError(f"max_packet_bytes is 1 to {MAX_DATAGRAM_BYTES - 1}")
    if not 0 <= config.max_packets_per_s <= 1_000_000:
        raise ValueError("max_packets_per_s is 0 to 1,000,000")
    if not 0 <= config.clock_rate <= 1_000_000:
        raise ValueError("clock_rate is 0 to 1,000,000")
    if not config.rebind_silence_s >= 0.0:  # also refuses NaN
        raise ValueError("rebind_silence_s is not negative")
    remote = config.remote
    if remote is not None:
        host = _parsed(remote[0])
        if host.version != _parsed(local[0]).version:
            raise ValueError(f"{host} is not of the family of {local[0]}")
        if host.is_multicast or host.is_unspecified or host == _BROADCAST:
            raise ValueError(f"{host} is not a unicast address")
        if not 0 < remote[1] <= 65535:
            raise ValueError(f"{remote[1]} is not a port")
        remote = (str(host), remote[1])
    signalling_host = config.signalling_host
    if signalling_host is not None:
        signalling_host = str(_parsed(signalling_host))
    if remote == config.remote and signalling_host == config.signalling_host:
        return config
    return replace(config, remote=remote, signalling_host=signalling_host)
