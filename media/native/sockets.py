"""The sockets of a relay: bound, marked, big enough. Feeds both implementations."""

from __future__ import annotations

import fcntl
import resource
import socket
import struct
from contextlib import suppress

from media.native.relay import Address, RelayOptions

_SIOCGIFADDR = 0x8915  # netdevice(7): the IPv4 address of an interface


def bind(host: str, port: int, options: RelayOptions) -> socket.socket:
    """A non-blocking UDP socket on a numeric address; raises OSError when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            # One port number serves each family by a socket of its own.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, options.dscp << 2)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, options.dscp << 2)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer_bytes)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer_bytes)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def raise_file_limit() -> None:
    """A stream is a file: take as many as the administrator allows this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # a container may refuse; open() will tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def local_hosts() -> frozenset[str]:
    """Addresses of this machine, by which its own wildcard sockets can be reached."""
    hosts = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            with suppress(OSError):  # an interface without an IPv4 address
                answer = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
                hosts.add(socket.inet_ntoa(answer[20:24]))
    with suppress(OSError), open("/proc/net/if_inet6", encoding="ascii") as table:
        for line in table:
            hosts.add(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0])))
    return frozenset(hosts)


def bound_address(sock: socket.socket) -> Address:
    name = sock.getsockname()
    return (name[0], name[1])
