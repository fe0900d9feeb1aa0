"""The media process: relay, service, listeners, signals.

Called by the composition root with a finished configuration; knows nothing of settings files.
Calls end with the process: a stop is a stop of all media, so whoever stops it ends calls first.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from media.native import RelayOptions, open_relay
from media.server.addresses import Reach, reach_of
from media.server.service import NgService, ServiceConfig
from media.server.shell import MediaShell

log = logging.getLogger("media.server")


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """What the process is to do."""

    service: ServiceConfig
    unix_path: Path | None = None
    """Datagram socket for our signalling process."""
    udp: tuple[tuple[str, int], ...] = ()
    """NG listeners for foreign clients; port 0 picks one."""
    udp_optional: bool = False
    """Whether to go on when somebody else has such a port."""
    relay: RelayOptions = field(default_factory=RelayOptions)
    on_listening: Callable[[str], None] = lambda _place: None
    """Told of each NG listener, with the port it really has."""
    on_ready: Callable[[], None] = lambda: None
    """Told once requests are answered."""


def run(config: MediaConfig) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status. Raises ``OSError`` when a listener
    cannot be opened."""
    asyncio.run(_run(config))
    return 0


async def _run(config: MediaConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, stop)


async def serve(config: MediaConfig, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set."""
    loop = asyncio.get_running_loop()
    relay = open_relay(config.relay)
    try:
        service = NgService(
            config.service,
            relay,
            random.SystemRandom(),
            wall_offset_s=time.time() - loop.time(),
        )
        shell = MediaShell(service, relay)
        try:
            _listen(shell, config)
            config.on_ready()
            await stop.wait()
        finally:
            shell.close()
    finally:
        relay.shutdown()
    log.info("media stopped, %d calls ended with it", service.call_count)


def _listen(shell: MediaShell, config: MediaConfig) -> None:
    if config.unix_path is not None:
        shell.listen_unix(config.unix_path)
        config.on_listening(f"{config.unix_path}/unix")
    for host, port in config.udp:
        if reach_of(host) not in (Reach.LOOPBACK, Reach.PRIVATE):
            log.warning(
                "NG has no authentication: whoever reaches %s:%d rules the media", host, port
            )
        try:
            bound = shell.listen_udp(host, port)
        except OSError as error:
            if not config.udp_optional:
                raise
            log.info("no NG listener on %s:%d: %s", host, port, error)
            continue
        config.on_listening(f"[{host}]:{bound}/udp" if ":" in host else f"{host}:{bound}/udp")
