"""``pbx.media_role`` and ``pbx.addresses``: what settings mean to the media service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from media.server.addresses import Interface
from media.server.run import MediaConfig
from pbx import media_role
from pbx.addresses import media_addresses, routed_addresses
from pbx.datadir import DataDirectory
from pbx.media_role import interface, media_config, run, run_with
from pbx.roles import Fatal, RoleContext
from pbx.settings import Settings
from pbx.settings_source import load_settings

LAN4, LAN6 = "192.0.2.10", "2001:db8::10"


def settings_with(listen: Sequence[str] = (), **media: object) -> Settings:
    raw: dict[str, dict[str, object]] = {"media": media}
    if listen:
        raw["sip"] = {"listen": list(listen)}
    return load_settings(overrides=raw)


@pytest.mark.parametrize(
    ("listen", "addresses"),
    [
        (["127.0.0.1:0"], ["127.0.0.1"]),
        (["192.0.2.7:5060/udp", "192.0.2.7:5060/tcp"], ["192.0.2.7"]),
        (["127.0.0.1:0", "192.0.2.7:0"], ["192.0.2.7", "127.0.0.1"]),
        (["0.0.0.0:5060"], [LAN4, "127.0.0.1"]),
        (["[::]:5060"], [LAN6, "::1"]),
        (["[::1]:5060", "0.0.0.0:5060"], [LAN4, "::1", "127.0.0.1"]),
    ],
)
def test_media_is_taken_where_sip_is(listen: list[str], addresses: list[str]) -> None:
    found = media_addresses(settings_with(listen), lambda: [LAN4, LAN6])
    assert found == addresses


def test_a_laptop_without_a_network_has_loopback() -> None:
    assert media_addresses(Settings(), list) == ["127.0.0.1"]


def test_named_addresses_are_taken_as_they_are() -> None:
    assert media_addresses(settings_with(addresses=["192.0.2.9"]), lambda: [LAN4]) == ["192.0.2.9"]


def test_routed_addresses_are_at_most_one_a_family() -> None:
    found = list(routed_addresses())
    assert len({":" in address for address in found}) == len(found)


def test_the_interface_has_the_first_address_of_either_family() -> None:
    assert interface(Settings(), [LAN4, LAN6, "127.0.0.1", "::1"]) == Interface(
        "default", ip4=LAN4, ip6=LAN6
    )


@pytest.mark.parametrize("section", ["server", "media"])
def test_the_advertised_address_is_that_of_its_family(section: str) -> None:
    settings = load_settings(overrides={section: {"advertised": "198.51.100.1"}})
    found = interface(settings, [LAN4, LAN6])
    assert found.advertised("IP4") == "198.51.100.1"
    assert found.advertised("IP6") == LAN6


def test_no_address_is_fatal() -> None:
    with pytest.raises(Fatal, match=r"name one: media\.addresses"):
        interface(Settings(), [])


@pytest.mark.parametrize(
    ("ng", "udp", "optional"),
    [
        ("auto", (("127.0.0.1", 22222),), True),
        ("off", (), False),
        ("[::1]:0", (("::1", 0),), False),
    ],
)
def test_where_foreign_clients_are_taken(
    ng: str, udp: tuple[tuple[str, int], ...], optional: bool
) -> None:
    config = media_config(settings_with(["127.0.0.1:0"], ng=ng), None, on_ready=lambda: None)
    assert (config.udp, config.udp_optional) == (udp, optional)


def test_ports_and_timeouts_come_from_the_settings(tmp_path: Path) -> None:
    settings = settings_with(
        ["127.0.0.1:0"], port_min=20_000, port_max=20_100, timeout_s=5, hold_timeout_s=50
    )
    config = media_config(settings, tmp_path / "media.sock", on_ready=lambda: None)
    service = config.service
    assert (service.port_min, service.port_max) == (20_000, 20_100)
    assert (service.media_timeout_s, service.hold_timeout_s) == (5.0, 50.0)
    assert config.unix_path == tmp_path / "media.sock"


def test_the_role_listens_for_our_own_signalling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs: list[MediaConfig] = []

    def served(config: MediaConfig) -> int:
        configs.append(config)
        return 0

    monkeypatch.setattr(media_role, "run_media", served)
    data = DataDirectory(tmp_path)
    assert run(RoleContext(data, settings_with(["127.0.0.1:0"]))) == 0
    assert configs[0].unix_path == data.media_socket


def test_a_socket_that_cannot_be_had_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(config: MediaConfig) -> int:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(media_role, "run_media", taken)
    config = media_config(settings_with(["127.0.0.1:0"]), None, on_ready=lambda: None)
    with pytest.raises(Fatal, match="Address already in use"):
        run_with(config)
