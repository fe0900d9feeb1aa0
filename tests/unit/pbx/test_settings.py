"""``pbx.settings`` and ``pbx.settings_source``: what is accepted, what is refused and how."""

from __future__ import annotations

import dataclasses
import json
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.settings import (
    Listener,
    Settings,
    host_port,
    kafka_servers,
    parse_database,
    parse_engine,
    parse_host_port,
    parse_listener,
    parse_log_engine,
    parse_ng,
    parse_topic_prefix,
    without_password,
)
from pbx.settings_source import (
    KEYS,
    KeyRow,
    SettingsError,
    load_settings,
    settings_to_raw,
)

ROWS = [row for rows in KEYS.values() for row in rows.values()]


def refused(**sources: object) -> list[str]:
    """The lines of the error that loading `sources` gives."""
    with pytest.raises(SettingsError) as caught:
        load_settings(**sources)  # type: ignore[arg-type]
    return str(caught.value).splitlines()


# Declarations.


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section}.{row.name}")
def test_every_key_says_what_it_does_in_a_sentence(row: KeyRow) -> None:
    assert row.about.doc.endswith(".")
    assert row.words


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section}.{row.name}")
def test_a_key_whose_name_ends_in_a_unit_declares_that_unit(row: KeyRow) -> None:
    """Units stand last in names; the shown unit must be the same."""
    for suffix, unit in (("_per_s", "1/s"), ("_ms", "ms"), ("_s", "s"), ("_bytes", "bytes")):
        if row.name.endswith(suffix):
            assert row.about.unit == unit
            return
    assert row.about.unit not in ("s", "ms", "bytes")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section}.{row.name}")
def test_every_default_is_itself_accepted(row: KeyRow) -> None:
    raw = settings_to_raw(Settings())[row.section][row.name]
    loaded = load_settings(overrides={row.section: {row.name: raw}})
    assert getattr(getattr(loaded, row.section), row.name) == row.default


def test_settings_survive_json_and_back() -> None:
    """The supervisor hands settings to its roles this way."""
    settings = load_settings(
        overrides={
            "sip": {"listen": ["[::1]:0/tls", "127.0.0.1:5070"], "client_ips": ["10.1.0.0/16"]},
            "media": {"engine": "ng:127.0.0.1:2223"},
        }
    )
    raw = json.loads(json.dumps(settings_to_raw(settings)))
    assert load_settings(overrides=raw) == settings


def test_nobody_is_trusted_by_default() -> None:
    settings = Settings()
    assert settings.sip.client_ips == ()
    assert settings.sip.outside_calls is False
    assert settings.media.ng == "auto"


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().server.node = "other"  # type: ignore[misc]


# File.


def test_a_file_sets_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "ringlog.toml"
    file.write_text('[sip]\nlisten = ["127.0.0.1:0"]\nt1_s = 1\n[limits]\ncalls_total = 7\n')
    settings = load_settings(file)
    assert settings.sip.listen == (Listener("udp", "127.0.0.1", 0),)
    assert settings.sip.t1_s == 1.0
    assert isinstance(settings.sip.t1_s, float)
    assert settings.limits.calls_total == 7
    assert settings.media == Settings().media


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (line,) = refused(file=tmp_path / "none.toml")
    assert line == f"cannot read the settings file {tmp_path}/none.toml: No such file or directory"


def test_a_broken_file_says_where(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[sip\n")
    (line,) = refused(file=file)
    assert line.startswith(f"{file} is not a TOML file: ")
    assert "line 1" in line


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(b'[sip]\nuser_agent = "\xff"\n')
    (line,) = refused(file=file)
    assert "is not a TOML file" in line


def test_a_key_outside_a_section_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "flat.toml"
    file.write_text("t1_s = 0.5\n")
    (line,) = refused(file=file)
    assert line.startswith("t1_s: a key outside a section; write it below one of [server], [sip]")


# Unknown names.


def test_an_unknown_key_gets_the_nearest_known_name() -> None:
    assert refused(overrides={"sip": {"sesion_expires": 90}}) == [
        "sip.sesion_expires: no such setting; did you mean sip.session_expires_s?"
    ]


def test_an_unknown_section_gets_the_nearest_known_name() -> None:
    assert refused(overrides={"limit": {}}) == ["[limit]: no such section; did you mean limits?"]


def test_a_name_like_nothing_known_gets_no_guess() -> None:
    assert refused(overrides={"sip": {"zzzz": 1}}) == ["sip.zzzz: no such setting"]


def test_all_mistakes_are_reported_at_once() -> None:
    lines = refused(overrides={"sip": {"t1_s": "x", "zzzz": 1}, "media": {"port_min": 1}})
    assert len(lines) == 3


# Wrong values.


@pytest.mark.parametrize(
    ("section", "name", "value", "words"),
    [
        ("sip", "t1_s", "fast", 'sip.t1_s = "fast": must be a number from 0.01 to 10 (s)'),
        ("sip", "t1_s", True, "sip.t1_s = true: must be a number from 0.01 to 10 (s)"),
        ("sip", "t1_s", 11, "sip.t1_s = 11: must be a number from 0.01 to 10 (s)"),
        ("sip", "t1_s", float("nan"), "sip.t1_s = nan: must be a number from 0.01 to 10 (s)"),
        (
            "limits",
            "setups_per_s",
            float("inf"),
            "limits.setups_per_s = inf: must be a number of at least 0 (1/s)",
        ),
        (
            "limits",
            "calls_total",
            1.5,
            "limits.calls_total = 1.5: must be a whole number from 1 to 1000000",
        ),
        ("sip", "outside_calls", 1, "sip.outside_calls = 1: must be true or false"),
        ("server", "data", 1, "server.data = 1: must be a text in quotes"),
        ("server", "node", "a/b", "must be a name of ASCII letters, digits, hyphens and points"),
        ("server", "node", "", "must be a name of ASCII letters"),
        ("sip", "user_agent", "a\r\nX: y", "must be a text of one line"),
        ("media", "engine", "rtpengine", 'must be "local", "ng:HOST:PORT" or "off"'),
        ("media", "engine", 1, 'must be "local", "ng:HOST:PORT" or "off"'),
        ("media", "ng", "on", 'must be "auto", "off" or "HOST:PORT"'),
        ("log", "level", "loud", 'must be "debug" or "info" or "warning" or "error"'),
        ("sip", "listen", "127.0.0.1:5060", 'must be a list, each "HOST:PORT/udp"'),
        ("sip", "listen", ["localhost:5060"], 'must be a list, each "HOST:PORT/udp"'),
        ("sip", "client_ips", ["10.0.0.1/8"], "must be a list, each a network such as"),
        ("server", "advertised", "pbx.example", "must be a numeric address or an empty text"),
    ],
)
def test_a_wrong_value_is_shown_beside_the_accepted_form(
    section: str, name: str, value: object, words: str
) -> None:
    (line,) = refused(overrides={section: {name: value}})
    assert line.startswith(f"{section}.{name} = ")
    assert words in line


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            {"media": {"port_min": 20000, "port_max": 20000}},
            "media.port_min must be below media.port_max",
        ),
        (
            {"sip": {"register_min_s": 3600, "register_max_s": 60}},
            "sip.register_min_s must not be above sip.register_max_s",
        ),
        (
            {"sip": {"min_se_s": 200, "session_expires_s": 100}},
            "sip.min_se_s must not be above sip.session_expires_s",
        ),
        (
            {"sip": {"listen": []}},
            "sip.listen is empty: a server needs a socket to take SIP at",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    overrides: dict[str, dict[str, object]], line: str
) -> None:
    assert refused(overrides=overrides) == [line]


# Environment.


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    file = tmp_path / "ringlog.toml"
    file.write_text('[server]\nnode = "file"\n[sip]\nt1_s = 1.0\nt2_s = 8.0\n')
    environment = {"RINGLOG_SIP__T1_S": "2", "RINGLOG_SIP__T2_S": "9", "HOME": "/"}
    settings = load_settings(file, environment, {"sip": {"t2_s": 10}})
    assert (settings.server.node, settings.sip.t1_s, settings.sip.t2_s) == ("file", 2.0, 10.0)


@pytest.mark.parametrize("text", ["10.0.0.0/8, 192.0.2.1", '["10.0.0.0/8", "192.0.2.1"]'])
def test_a_list_in_the_environment_has_commas_or_brackets(text: str) -> None:
    settings = load_settings(environment={"RINGLOG_SIP__CLIENT_IPS": text})
    assert settings.sip.client_ips == (ip_network("10.0.0.0/8"), ip_network("192.0.2.1/32"))


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("RINGLOG_SERVER__NODE", "7", "7"),
        ("RINGLOG_SIP__USER_AGENT", "a b", "a b"),
        ("RINGLOG_SIP__OUTSIDE_CALLS", "true", True),
        ("RINGLOG_LIMITS__CALLS_TOTAL", "12", 12),
    ],
)
def test_a_text_in_the_environment_becomes_the_type_of_its_key(
    variable: str, text: str, expected: object
) -> None:
    settings = load_settings(environment={variable: text})
    section, _, name = variable.removeprefix("RINGLOG_").lower().partition("__")
    assert getattr(getattr(settings, section), name) == expected


def test_a_wrong_text_in_the_environment_is_refused_with_the_form() -> None:
    (line,) = refused(environment={"RINGLOG_SIP__OUTSIDE_CALLS": "yes"})
    assert line == 'sip.outside_calls = "yes": must be true or false'


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", ""),
        (" postgresql://al@db/x ", "postgresql+psycopg://al@db/x"),
        ("postgresql+psycopg://al:p@db/x?host=/tmp", "postgresql+psycopg://al:p@db/x?host=/tmp"),
    ],
)
def test_databases(text: str, url: str) -> None:
    assert parse_database(text) == url


@pytest.mark.parametrize("text", ["sqlite:///geheim", "postgresql://", "postgresql://a b/geheim"])
def test_what_is_no_database_is_refused_and_not_repeated(text: str) -> None:
    """It may hold a password."""
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides={"readmodel": {"url": text}})
    assert str(caught.value) == (
        'readmodel.url: must be "postgresql://USER@HOST/DATABASE" or an empty text'
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("geheim", "***"),
        ("postgresql+psycopg://al@db/x", "postgresql+psycopg://al@db/x"),
        ("postgresql+psycopg://al:geheim@db:5432/x", "postgresql+psycopg://al:***@db:5432/x"),
        ("postgresql+psycopg://al:ge@heim@db/x", "postgresql+psycopg://al:***@db/x"),
        (
            "postgresql+psycopg://db/x?a=b&password=geheim&c=d",
            "postgresql+psycopg://db/x?a=b&password=***&c=d",
        ),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_an_unknown_variable_gets_the_nearest_known_name() -> None:
    (line,) = refused(environment={"RINGLOG_SIP__T1": "1"})
    assert line == "RINGLOG_SIP__T1: no such setting; did you mean RINGLOG_SIP__T1_S?"


# Forms.


@pytest.mark.parametrize(
    ("text", "listener"),
    [
        ("127.0.0.1:5060", Listener("udp", "127.0.0.1", 5060)),
        (" 0.0.0.0:0/TCP ", Listener("tcp", "0.0.0.0", 0)),
        ("[2001:DB8:0::1]:5061/tls", Listener("tls", "2001:db8::1", 5061)),
    ],
)
def test_listeners(text: str, listener: Listener) -> None:
    assert parse_listener(text) == listener
    assert parse_listener(str(listener)) == listener


@pytest.mark.parametrize(
    "text",
    ["", "5060", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:5060",
     "[127.0.0.1]:5060", "[::1:5060", "127.0.0.1:5060/sctp", "127.0.0.1:٣", "host:1/udp"],
)  # fmt: skip
def test_what_is_no_listener(text: str) -> None:
    with pytest.raises(ValueError):
        parse_listener(text)


@pytest.mark.parametrize("text", ["", "ng", "ng:", "ng:127.0.0.1", "ng:127.0.0.1:0", "local:1"])
def test_what_is_no_media_engine(text: str) -> None:
    with pytest.raises(ValueError):
        parse_engine(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kafka",
        "kafka:",
        "kafka:host",
        "kafka:host:0",
        "kafka:host:70000",
        "kafka:a:1,",
        "nats:a:1",
    ],
)
def test_what_is_no_log_engine(text: str) -> None:
    with pytest.raises(ValueError):
        parse_log_engine(text)


def test_log_engines_and_topic_prefixes() -> None:
    assert parse_log_engine("embedded") == "embedded"
    engine = parse_log_engine("kafka:k1.example.org:9092, [::1]:9093")
    assert kafka_servers(engine) == ["k1.example.org:9092", "[::1]:9093"]
    assert kafka_servers("embedded") == []
    assert parse_topic_prefix("") == ""
    assert parse_topic_prefix("prod-1.eu_") == "prod-1.eu_"
    for text in ("a b", "ä", "x/", "x" * 101):
        with pytest.raises(ValueError):
            parse_topic_prefix(text)


def test_media_engines_and_ng_places() -> None:
    assert parse_engine("local") == "local"
    assert parse_engine("off") == "off"
    assert parse_engine("ng:[::1]:2223") == "ng:[::1]:2223"
    assert parse_ng("off") == "off"
    assert parse_ng("127.0.0.1:0") == "127.0.0.1:0"


@given(st.ip_addresses(), st.integers(0, 65535))
def test_host_and_port_round_trip(address: object, port: int) -> None:
    assert parse_host_port(host_port(str(address), port)) == (str(address), port)


@given(st.text())
def test_any_text_is_a_listener_or_a_value_error(text: str) -> None:
    try:
        listener = parse_listener(text)
    except ValueError:
        return
    assert parse_listener(str(listener)) == listener


def test_what_may_hold_a_password_is_secret() -> None:
    """`pbx settings` shows it without."""
    secret = {
        (s, name) for s, rows in KEYS.items() for name, row in rows.items() if row.about.secret
    }
    assert {("cluster", "secret"), ("readmodel", "url"), ("privacy", "keys")} <= secret
