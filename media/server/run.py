"""The media process: relay, service, listeners, signals.

Called by the composition root with a finished configuration; knows nothing of settings files.
Calls end with the process: a stop is a stop of all media, so whoever stops it ends calls first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from media.native import RelayOptions, open_relay
from media.server.addresses import Reach, reach_of
from media.server.service import NgService, ServiceConfig
from media.server.shell import MediaShell

if TYPE_CHECKING:
    from media.native.relay import Relay
    from media.server.audio import AudioService
    from media.server.exchange import Exchange
    from media.server.ports import Rng

log = logging.getLogger("media.server")


@dataclass(frozen=True, slots=True)
class AudioSettings:
    """The audio path; see ``media.server.audio.AudioConfig``, which this becomes when needed."""

    sound_roots: tuple[Path, ...] = ()
    recording_root: Path | None = None
    codecs: tuple[tuple[str, int], ...] = ()
    opus_rate_hz: int = 16_000
    country: str = "eu"
    preplay_ms: int = 0
    linger_ms: int = 0


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
    audio: AudioSettings | None = None
    """None: this process only relays."""
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
            make_audio=None if config.audio is None else _maker(config.audio),
        )
        shell = MediaShell(service, relay)
        try:
            _listen(shell, config)
            config.on_ready()
            await stop.wait()
        finally:
            shell.close()
            if service.audio is not None:
                service.audio.shutdown()
    finally:
        relay.shutdown()
    log.info("media stopped, %d calls ended with it", service.call_count)


def _maker(settings: AudioSettings) -> Callable[[Relay, Exchange, Rng], AudioService]:
    """What makes the audio path when it is needed first; numpy is loaded then and not before."""

    def make(relay: Relay, exchange: Exchange, rng: Rng) -> AudioService:
        # A tick is many small products: threads of BLAS would only wait for each other, and
        # take the core that packets need.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        from media.server.audio import AudioConfig, AudioService

        return AudioService(AudioConfig(**asdict(settings)), relay, exchange, rng)

    return make


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
