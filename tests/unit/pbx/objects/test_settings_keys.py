"""Forms, checks and effective values of settings."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from pbx.data import Value
from pbx.objects import effective, forms
from pbx.objects.check import TABLES, WrongValue, check, unused
from pbx.objects.keys import is_secret

GOOD: list[tuple[Callable[[Value], object], Value, object]] = [
    (forms.read_flag, "yes", True),
    (forms.read_flag, "NO", False),
    (forms.read_number, "-5", -5),
    (forms.read_number, 5, 5),
    (forms.read_limit, "unlimited", -1),
    (forms.read_limit, "-1", -1),
    (forms.read_period_s, "10m", 600.0),
    (forms.read_period_s, "2d", 172_800.0),
    (forms.read_period_s, "15", 15.0),
    (forms.read_period_s, 15, 15.0),
    (forms.read_period_s, "never", math.inf),
    (forms.read_size_bytes, "100K", 102_400),
    (forms.read_size_bytes, "3g", 3 * 1024**3),
    (forms.read_size_bytes, "unlimited", -1),
    (forms.read_size_bytes, 512, 512),
    (forms.read_flow, ["10", "1m"], forms.FlowLimit(10, 60.0)),
    (forms.read_flow, ["-1", "3600"], forms.FlowLimit(-1, 3600.0)),
    (forms.read_services, "None", frozenset()),
    (forms.read_services, ["26", "Mail", "sip"], frozenset({"Mail", "SIP", "MobilePronto"})),
    (forms.read_services, ["PWD"], frozenset({"PWD"})),
]

BAD: list[tuple[Callable[[Value], object], Value]] = [
    (forms.read_flag, "1"),
    (forms.read_flag, 1),
    (forms.read_number, "5x"),
    (forms.read_number, "²"),
    (forms.read_number, "9" * 30),
    (forms.read_limit, "-2"),
    (forms.read_period_s, "10 m"),
    (forms.read_period_s, "-5s"),
    (forms.read_period_s, ["5s"]),
    (forms.read_size_bytes, "1.5G"),
    (forms.read_flow, ["10"]),
    (forms.read_flow, ["10", "never"]),
    (forms.read_flow, ["10", "0"]),
    (forms.read_flow, "10, 1m"),
    (forms.read_services, "Some"),
    (forms.read_services, ["26", "Telegraph"]),
    (forms.read_ip_list, "10.0.0.9-10.0.0.1"),
    (forms.read_ip_list, "10.0.0.1-::1"),
    (forms.read_ip_list, "example.com"),
    (forms.read_line, "two\nlines"),
]


@pytest.mark.parametrize(("read", "value", "meaning"), GOOD)
def test_accepted_forms(read: Callable[[Value], object], value: Value, meaning: object) -> None:
    assert read(value) == meaning


@pytest.mark.parametrize(("read", "value"), BAD)
def test_refused_forms(read: Callable[[Value], object], value: Value) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read(value)


def test_the_first_line_of_an_address_list_that_fits_decides() -> None:
    items = forms.read_ip_list("!172.16.1.254\n172.16.1.0/24 ; office\n10.5.0.1-10.5.0.9\n::1\n")
    for address, included in (
        ("172.16.1.254", False), ("172.16.1.3", True), ("10.5.0.9", True), ("10.5.0.10", False),
        ("::1", True), ("::2", False),
    ):  # fmt: skip
        assert forms.address_in(items, address) is included, address


def test_wrong_values_name_the_accepted_form_and_hide_secrets() -> None:
    with pytest.raises(WrongValue, match=r"^CallsLimit: expected a whole number, or unlimited"):
        check("account", "settings", {"CallsLimit": "many"})
    with pytest.raises(WrongValue) as raised:
        check("account", "settings", {"Password": ["hidden"]})
    assert "hidden" not in str(raised.value)
    with pytest.raises(WrongValue, match="CallsLimit"):
        check("domain", "account-defaults", {"ServiceClasses": {"gold": {"CallsLimit": "x"}}})


def test_what_has_no_effect_is_kept_as_it_comes() -> None:
    values: dict[str, Value] = {"MaxAccountSize": "a lot", "MyOwnKey": ["x"], "CallsLimit": "3"}
    check("account", "settings", values)
    found = {row.key: row.known for row in unused("account", "settings", values)}
    assert found == {"MaxAccountSize": True, "MyOwnKey": False}


def test_every_default_is_of_its_form() -> None:
    for table in TABLES.values():
        for key in table.values():
            if key.default is not None:
                key.form.read(key.default)


def test_the_levels_of_a_setting() -> None:
    server: dict[str, Value] = {
        "MaxAccountSize": "3G", "ServiceClasses": {"gold": {"MaxAccountSize": "5G"}},
    }  # fmt: skip
    domain: dict[str, Value] = {"MaxAccountSize": "10G"}
    size = "MaxAccountSize"
    assert effective.account_settings({}, {}, {})[size] == "unlimited"
    assert effective.account_settings({}, {}, server)[size] == "3G"
    assert effective.account_settings({}, domain, server)[size] == "10G"
    assert effective.account_settings({"ServiceClass": "gold"}, domain, server)[size] == "5G"
    own: dict[str, Value] = {size: "50G", "ServiceClass": "gold"}
    assert effective.account_settings(own, domain, server)[size] == "50G"
    assert effective.account_setting(size, own, domain, server) == 50 * 1024**3
    assert effective.account_setting("CallsLimit", {"CallsLimit": "broken"}, {}, {}) == -1
    assert effective.stated_account_setting("CallsLimit", {}, {}, {}) is None


def test_a_template_gives_what_differs_from_the_defaults() -> None:
    template: dict[str, Value] = {"MaxAccountSize": "10G", "CallsLimit": "2", "RealName": "x"}
    assert effective.template_settings(template, {"MaxAccountSize": "10G"}, {}) == {
        "CallsLimit": "2", "RealName": "x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [("password", "x", True), ("SyncUserPassword", "x", True), ("UseAppPassword", "YES", False),
     ("PasswordEncryption", "clear", False), ("PSTNGatewayPassword", {"gw": "x"}, True),
     ("RSIP", {"a": {"password": "x"}}, False)],
)  # fmt: skip
def test_secrets_by_name(name: str, value: Value, secret: bool) -> None:
    assert is_secret(name, value) is secret


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("voip1.un", True),
        ({"gwru": "10.1.1.1", "gwus": "sipprov.net"}, True),
        ("{gwru=10.1.1.1;gwus=sipprov.net;}", True),
        ({"gwru": ["10.1.1.1"]}, False),
        (["voip1.un"], False),
    ],
)
def test_settings_of_gateways_may_be_given_by_gateway(value: Value, right: bool) -> None:
    for kind, section in (("account", "settings"), ("domain", "account-defaults")):
        if right:
            check(kind, section, {"PSTNGatewayDomain": value})
        else:
            with pytest.raises(WrongValue, match="PSTNGatewayDomain: expected a string"):
                check(kind, section, {"PSTNGatewayDomain": value})
