"""The media role: translates settings into a configuration of ``media.server`` and runs it.

``media`` knows nothing of settings files or supervisors; this module is where they meet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from media.server.addresses import Interface
from media.server.run import AudioSettings, MediaConfig
from media.server.run import run as run_media
from media.server.service import ServiceConfig
from pbx.addresses import media_addresses
from pbx.roles import Fatal, RoleContext
from pbx.settings import NG_DEFAULT, Settings, parse_host_port

PROMPTS: Final = Path(__file__).parent / "prompts"
"""Stock prompts, English; other languages in folders below."""


def run(context: RoleContext) -> int:
    """Be the media role until SIGTERM."""
    return run_with(
        media_config(
            context.settings,
            context.data.media_socket,
            on_ready=context.ready,
            audio=AudioSettings(
                sound_roots=(context.data.sounds, PROMPTS),
                recording_root=context.data.recordings,
            ),
        )
    )


def run_with(config: MediaConfig) -> int:
    """Run the service; an address that cannot be had is :class:`~pbx.roles.Fatal`."""
    try:
        return run_media(config)
    except OSError as error:
        raise Fatal(f"the media service cannot open its sockets: {error}") from error


def media_config(
    settings: Settings,
    socket_path: Path | None,
    *,
    on_ready: Callable[[], None],
    on_listening: Callable[[str], None] = lambda place: None,
    audio: AudioSettings | None = None,
) -> MediaConfig:
    """The configuration that the settings mean; `socket_path` is for our own signalling.

    `audio`: where sounds and recordings are; None: a service that only relays.
    """
    media = settings.media
    places: tuple[tuple[str, int], ...] = ()
    if media.ng != "off":
        places = (parse_host_port(NG_DEFAULT if media.ng == "auto" else media.ng),)
    return MediaConfig(
        service=ServiceConfig(
            interfaces=(interface(settings, media_addresses(settings)),),
            port_min=media.port_min,
            port_max=media.port_max,
            media_timeout_s=media.timeout_s,
            hold_timeout_s=media.hold_timeout_s,
        ),
        unix_path=socket_path,
        udp=places,
        udp_optional=media.ng == "auto",
        on_listening=on_listening,
        on_ready=on_ready,
        audio=audio,
    )


def interface(settings: Settings, addresses: Iterable[str]) -> Interface:
    """The one interface of the service: the first address of either family.

    Raises :class:`~pbx.roles.Fatal` if there is none.
    """
    by_version: dict[int, str] = {}
    for address in addresses:
        by_version.setdefault(ipaddress.ip_address(address).version, address)
    if not by_version:
        raise Fatal("this machine has no network address for media; name one: media.addresses")
    advertised = settings.media.advertised or settings.server.advertised
    shown = {ipaddress.ip_address(advertised).version: advertised} if advertised else {}
    return Interface(
        "default",
        ip4=by_version.get(4, ""),
        ip6=by_version.get(6, ""),
        advertised_ip4=shown.get(4, ""),
        advertised_ip6=shown.get(6, ""),
    )
