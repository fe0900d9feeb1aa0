"""RSIP records: what is read from them, what is wrong with them, how they are folded."""

from __future__ import annotations

import pytest

from pbx.data import Value
from pbx.domain.accounts import AccountDeleted
from pbx.domain.setting_events import AccountSettingsChanged
from pbx.trunks.records import DISABLED_S, RecordBook, RecordKey, read_record

KEY = RecordKey("pbx@corp1.un", "sipnet")
#: As the reference prints it.
SEED: dict[str, Value] = {
    "authName": "00000X",
    "domain": "voip1.un",
    "fromName": "00000X",
    "password": "spasswordX",
    "period": "5m",
}


def test_the_record_of_the_reference() -> None:
    record = read_record(KEY, SEED)
    assert record.registrar == "sip:voip1.un"
    assert record.address == "sip:00000X@voip1.un"
    assert (record.auth_name, record.password) == ("00000X", "spasswordX")
    assert record.period_s == 300
    assert record.target == "pbx@corp1.un", "nobody named: the account itself"
    assert record.route == ()
    assert record.enabled
    assert "spasswordX" not in repr(record)


@pytest.mark.parametrize(
    ("target", "absolute"),
    [
        ("user1", "user1@corp1.un"),
        ("user1@other.un", "user1@other.un"),
        ("#pbx", "pbx#pbx@corp1.un"),
        ("echotest#user1", "echotest#user1@corp1.un"),
        ("", "pbx@corp1.un"),
    ],
)
def test_targets(target: str, absolute: str) -> None:
    assert read_record(KEY, {**SEED, "targetName": target}).target == absolute


def test_ports_transports_and_next_hops() -> None:
    record = read_record(
        KEY,
        {**SEED, "domain": "sip.example.net:5070;transport=tcp", "via": "10.0.0.1:5080"},
    )
    assert record.registrar == "sip:sip.example.net:5070;transport=tcp"
    assert record.address == "sip:00000X@sip.example.net", "an address has no port"
    assert record.route == ("<sip:10.0.0.1:5080;lr>",)
    own = read_record(KEY, {"domain": "voip1.un"})
    assert (own.address, own.auth_name) == ("sip:pbx@voip1.un", "pbx"), "the account's own name"
    named = read_record(KEY, {**SEED, "fromName": "me@example.org"})
    assert named.address == "sip:me@example.org", "an account of another domain there"


@pytest.mark.parametrize(
    ("period", "seconds"),
    [("5m", 300), ("1", 30), ("24h", 86_400), ("30d", 86_400), ("", 300), (600, 600)],
)
def test_periods_have_bounds(period: Value, seconds: float) -> None:
    assert read_record(KEY, {**SEED, "period": period}).period_s == seconds


@pytest.mark.parametrize("period", ["1000000000s", "never"])
def test_switched_off(period: str) -> None:
    assert not read_record(KEY, {**SEED, "period": period}).enabled
    assert DISABLED_S == 1e9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"domain": ""}, "domain names the registrar"),
        ({"domain": "a b"}, "domain: a b is no host"),
        ({"domain": "x@y.z"}, "is no host"),
        ({"domain": "x?Subject=1"}, "is no host"),
        ({"period": "soon"}, "period: 'soon' is no time: write 5m"),
        ({"period": "0"}, "period is longer than 0"),
        ({"via": "<sip:x>"}, "via: <sip:x> is no host"),
        ({"password": ["x"]}, "password is a string in one line"),
        ({"fromName": "a\nb"}, "fromName is a string in one line"),
        ({"targetName": "@"}, "targetName: "),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Value], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_record(KEY, {**SEED, **change})


def test_the_book_follows_the_configuration() -> None:
    book = RecordBook()
    stream = "account/pbx@corp1.un"
    public = {key: value for key, value in SEED.items() if key != "password"}
    made = AccountSettingsChanged(
        section="records",
        values={"RSIP": {"sipnet": public, "bad": {"period": "5m"}}},
        secrets='{"RSIP":{"sipnet":{"password":"spasswordX"}}}',
    )
    assert book.apply(stream, made) == "pbx@corp1.un"
    assert book.accounts() == ["pbx@corp1.un"]
    found = dict(book.of("pbx@corp1.un"))
    record = found[KEY]
    assert not isinstance(record, str)
    assert record.password == "spasswordX", "joined from the sealed part"
    assert found[RecordKey("pbx@corp1.un", "bad")] == (
        "domain names the registrar, such as sip.example.net"
    )
    other = AccountSettingsChanged(section="settings", values={"RSIP": {}})
    assert book.apply(stream, other) == ""
    rules = AccountSettingsChanged(section="records", values={"Rules": []})
    assert book.apply(stream, rules) == ""
    assert book.apply(stream, AccountSettingsChanged(section="records", removed=("RSIP",)))
    assert list(book.of("pbx@corp1.un")) == []
    book.apply(stream, made)
    assert book.apply(stream, AccountDeleted(name="pbx", domain="corp1.un")) == "pbx@corp1.un"
    assert book.apply(stream, AccountDeleted(name="pbx", domain="corp1.un")) == ""
    assert book.accounts() == []
