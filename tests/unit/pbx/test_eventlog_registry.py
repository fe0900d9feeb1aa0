"""Encoding, decoding, upcasters, sealed fields, schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from pbx.domain.accounts import AccountPasswordSet, DomainCreated
from pbx.domain.calls import CallDecided, CallRouted, CallStarted, LegDigit, RulesEvaluated
from pbx.eventlog import (
    ERASED_TEXT,
    SEALED_TEXT,
    Codec,
    DecodeError,
    Keys,
    LogError,
    LogUnavailable,
    UnknownEvent,
    category_of,
    json_schemas,
    memory_keys,
)
from pbx.eventlog.keystore import FileStore, KeyStore, MemoryStore
from pbx.eventlog.registry import CATEGORY_OF_PREFIX
from pbx.kernel.events import (
    EVENT_TYPES,
    SEALED,
    Durability,
    Event,
    EventType,
    Fields,
    Upcaster,
)

STREAM = "account/alice@example.org"
SECRET = AccountPasswordSet(realm="example.org", ha1_md5="md5", ha1_sha256="sha")


class PaidV3(Event):
    amount_cents: int
    currency: str
    card: Annotated[str, SEALED] = ""


def _to_v2(fields: Fields) -> Fields:
    fields["amount_cents"] = fields.pop("amount") * 100
    return fields


def _to_v3(fields: Fields) -> Fields:
    return {**fields, "currency": "EUR", "card": fields.pop("number", "")}


TYPES = {
    "paid.v3": EventType(
        name="paid.v3",
        category="pbx.config",
        durability=Durability.DECIDED,
        struct=PaidV3,
        sealed=("card",),
    )
}
UPCASTERS = {
    "paid.v1": Upcaster("paid.v2", _to_v2, ("number",)),
    "paid.v2": Upcaster("paid.v3", _to_v3, ("number",)),
}


def test_a_plain_event_goes_there_and_back_and_defaults_are_not_stored() -> None:
    codec = Codec()
    event = CallDecided(step="routing", outcome="account", reason="local")
    name, data = codec.encode("call/a", event)
    assert name == "call.decided.v1"
    assert json.loads(data) == {"step": "routing", "outcome": "account", "reason": "local"}
    assert codec.decode("call/a", name, data) == event


def test_undecodable_text_from_the_wire_is_stored_replaced() -> None:
    """A fact is never refused because a phone sent bytes that are no UTF-8."""
    codec = Codec()
    event = CallDecided(step="r", outcome="o\udcff", reason="\udce9t\u00e9")
    name, data = codec.encode("call/a", event)
    assert codec.decode("call/a", name, data) == CallDecided(
        step="r", outcome="o?", reason="?t\u00e9"
    )


def test_undecodable_text_is_replaced_in_lists_too() -> None:
    codec = Codec()
    name, data = codec.encode("domain/x", DomainCreated(name="x", aliases=("a\udcff", "b")))
    assert codec.decode("domain/x", name, data) == DomainCreated(name="x", aliases=("a?", "b"))


def test_undeclared_structs_are_refused() -> None:
    with pytest.raises(LogError, match="not declared"):
        Codec().encode("call/a", PaidV3(amount_cents=1, currency="EUR"))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("leg.digit.v1", b"{}"),
        ("leg.digit.v1", b'{"leg_id": 7}'),
        ("leg.digit.v1", b'{"leg_id": "a"'),
        ("account.password-set.v1", b"[]"),
        ("account.password-set.v1", b'{"realm": "x", "ha1_md5": "v1.zz", "ha1_sha256": "v1.zz"}'),
    ],
)
def test_data_that_does_not_fit_is_an_error_that_names_type_and_stream(
    name: str, data: bytes
) -> None:
    codec = Codec(memory_keys(lambda count: bytes(count)))
    codec.encode(STREAM, SECRET)  # the subject has a key
    with pytest.raises(DecodeError, match=f"{name} in {STREAM}"):
        codec.decode(STREAM, name, data)


def test_fields_of_a_later_minor_change_are_passed_over() -> None:
    event = Codec().decode("call/a", "leg.digit.v1", b'{"leg_id": "a", "new": [1]}')
    assert event == LegDigit(leg_id="a")


def test_old_versions_are_upcast_through_all_steps() -> None:
    codec = Codec(types=TYPES, upcasters=UPCASTERS)
    newest = PaidV3(amount_cents=500, currency="EUR")
    assert codec.decode("x/1", "paid.v1", b'{"amount": 5}') == newest
    assert codec.decode("x/1", "paid.v2", b'{"amount_cents": 500}') == newest


def test_a_broken_upcaster_is_a_decode_error() -> None:
    codec = Codec(types=TYPES, upcasters=UPCASTERS)
    with pytest.raises(DecodeError, match=r"paid\.v1 in x/1"):
        codec.decode("x/1", "paid.v1", b"{}")


def test_sealed_fields_of_old_versions_are_opened_before_the_upcast() -> None:
    keys = memory_keys()
    codec = Codec(keys, types=TYPES, upcasters=UPCASTERS)
    sealed = keys.seal("x/1", "paid.v1", "number", "4111")
    data = msgspec.json.encode({"amount": 5, "number": sealed})
    assert codec.decode("x/1", "paid.v1", data) == PaidV3(
        amount_cents=500, currency="EUR", card="4111"
    )


def test_without_keys_sealed_fields_stay_shut() -> None:
    name, data = Codec(memory_keys()).encode(STREAM, SECRET)
    assert Codec().decode(STREAM, name, data) == AccountPasswordSet(
        realm="example.org", ha1_md5=SEALED_TEXT, ha1_sha256=SEALED_TEXT
    )
    with pytest.raises(LogError, match="without keys"):
        Codec().encode(STREAM, SECRET)


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> KeyStore:
    return MemoryStore() if request.param == "memory" else FileStore(tmp_path / "keys.sqlite3")


class TestSealing:
    def test_erasure_makes_old_values_unreadable_and_keeps_the_rest(self, store: KeyStore) -> None:
        keys = Keys(store)
        codec = Codec(keys)
        name, data = codec.encode(STREAM, SECRET)
        assert keys.erase(STREAM)
        assert codec.decode(STREAM, name, data) == AccountPasswordSet(
            realm="example.org", ha1_md5=ERASED_TEXT, ha1_sha256=ERASED_TEXT
        )
        assert not keys.erase(STREAM)

    def test_a_subject_may_begin_again_after_its_erasure(self, store: KeyStore) -> None:
        """The account was deleted and made anew under the same name."""
        keys = Keys(store)
        codec = Codec(keys)
        name, old = codec.encode(STREAM, SECRET)
        keys.erase(STREAM)
        name, new = codec.encode(STREAM, SECRET)
        assert codec.decode(STREAM, name, new) == SECRET
        assert ERASED_TEXT in str(codec.decode(STREAM, name, old))

    def test_a_value_opens_only_where_it_was_sealed(self, store: KeyStore) -> None:
        keys = Keys(store)
        sealed = keys.seal("account/a", "t.v1", "ha1", "secret")
        keys.seal("account/b", "t.v1", "ha1", "other")
        assert keys.unseal("account/a", "t.v1", "ha1", sealed) == "secret"
        for subject, name, field in (
            ("account/b", "t.v1", "ha1"),
            ("account/a", "t.v2", "ha1"),
            ("account/a", "t.v1", "ha2"),
        ):
            with pytest.raises(ValueError, match="altered or moved"):
                keys.unseal(subject, name, field, sealed)
        assert keys.unseal("account/c", "t.v1", "ha1", sealed) == ERASED_TEXT

    @pytest.mark.parametrize("value", ["secret", "v1.!!!", "v1.AAAA"])
    def test_what_is_no_sealed_value_is_refused(self, store: KeyStore, value: str) -> None:
        keys = Keys(store)
        keys.seal("account/a", "t.v1", "ha1", "x")
        with pytest.raises(ValueError, match="ha1"):
            keys.unseal("account/a", "t.v1", "ha1", value)

    def test_equal_values_are_sealed_differently(self, store: KeyStore) -> None:
        keys = Keys(store)
        assert keys.seal("a", "t", "f", "same") != keys.seal("a", "t", "f", "same")


def test_the_key_file_is_its_owners_and_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite3"
    first = FileStore(path)
    sealed = Keys(first).seal("account/a", "t", "f", "secret")
    first.close()
    assert path.stat().st_mode & 0o777 == 0o600
    second = FileStore(path)
    assert Keys(second).unseal("account/a", "t", "f", sealed) == "secret"
    second.close()


def test_an_erased_key_is_not_left_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite3"
    store = FileStore(path)
    key = store.get_or_create("account/a")
    assert key.secret in path.read_bytes()
    store.erase("account/a")
    assert key.secret not in path.read_bytes()
    store.close()


def test_a_key_file_that_is_none_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite3"
    path.write_bytes(b"this is not a database at all, is it?" * 100)
    with pytest.raises(LogUnavailable, match=r"keys\.sqlite3"):
        FileStore(path)


@pytest.mark.parametrize(
    ("stream", "category"),
    [
        ("call/x", "pbx.calls"),
        ("account/a@b", "pbx.config"),
        ("server", "pbx.config"),
        ("binding/a@b", "pbx.bindings"),
        ("node/n", "pbx.nodes"),
        ("message/m", "pbx.messages"),
        ("calls", "pbx.other"),
        ("fax/1", "pbx.other"),
    ],
)
def test_the_prefix_of_a_stream_gives_its_category(stream: str, category: str) -> None:
    assert category_of(stream) == category


def test_every_declared_type_lies_in_a_known_category() -> None:
    known = set(CATEGORY_OF_PREFIX.values())
    assert {row.category for row in EVENT_TYPES.values()} <= known


def test_schemas_describe_every_type_for_consumers() -> None:
    schemas = json_schemas()
    assert set(schemas["events"]) == set(EVENT_TYPES)
    started = schemas["events"]["call.started.v1"]
    assert (started["category"], started["durability"]) == ("pbx.calls", "observed")
    definition = schemas["$defs"][CallStarted.__name__]
    assert "from_uri" in definition["required"]
    assert "user_agent" not in definition["required"]
    assert schemas["events"]["account.password-set.v1"]["sealed"] == [
        "ha1_md5",
        "ha1_sha256",
        "alias_ha1",
        "text",
    ]


def test_an_unknown_event_is_encoded_back_unchanged() -> None:
    codec = Codec()
    event = codec.decode("fax/1", "fax.sent.v1", b'{"pages":  3}')
    assert isinstance(event, UnknownEvent)
    assert codec.encode("fax/1", event) == ("fax.sent.v1", b'{"pages":  3}')


def test_each_of_several_personal_texts_is_sealed_by_itself() -> None:
    """Who calls whom stands in lists, too: steps of routing, values that rules saw."""
    keys = memory_keys()
    codec = Codec(keys, seal_personal=True)
    keys.seal("account/ann@example.org", "x", "y", "its key exists")
    steps = (
        "alias: ann@example.org (40155512 is an alias)",
        "result: bob@example.org (account)",
        "",
    )
    routed = CallRouted(address="sip:40155512@example.org", outcome="account", steps=steps)
    ruled = RulesEvaluated(stage="at once", trace=('rule "x": From is bob@example.org: yes',))
    for event in (routed, ruled):
        name, data = codec.encode("call/1", event)
        assert b"ann@" not in data
        assert b"bob@" not in data
        assert b"40155512" not in data  # long enough not to turn up in a ciphertext
        assert codec.decode("call/1", name, data) == event
        assert Codec().decode("call/1", name, data) != event
        clear = Codec().encode("call/1", event)[1]
        assert codec.decode("call/1", name, clear) == event
    name, data = codec.encode("call/1", routed)
    keys.erase("account/ann@example.org")
    left = codec.decode("call/1", name, data)
    assert isinstance(left, CallRouted)
    assert left.steps == (ERASED_TEXT, steps[1], steps[2])
    with_mark = CallRouted(address="p1.", outcome="account", steps=("p1.no seal",))
    name, data = Codec().encode("call/1", with_mark)
    assert codec.decode("call/1", name, data) == with_mark
