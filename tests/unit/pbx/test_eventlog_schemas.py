"""``pbx.eventlog.schemas``: what is published about events is true, complete and kept.

``docs/schemas`` is what consumers were told. The first test below guards them: it fails for a
change that breaks what a consumer may rely on, and says what to do instead. The second asks to
publish additions.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.domain.accounts import AccountPasswordSet
from pbx.eventlog import MemoryLog, Meta
from pbx.eventlog.envelope import envelope
from pbx.eventlog.schema_compat import additions, breaking_changes
from pbx.eventlog.schemas import (
    DIALECT,
    as_text,
    asyncapi,
    envelope_schema,
    event_schemas,
    schema_files,
    write_schemas,
)
from pbx.kernel.events import EVENT_TYPES, SEALED, Durability, Event, EventType, sealed_fields

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "docs" / "schemas"
REGENERATE = "publish it: make schemas"


def published() -> dict[str, Any]:
    """The committed schema of each type."""
    return {
        file.name.removesuffix(".json"): json.loads(file.read_text(encoding="utf-8"))
        for file in PUBLISHED.glob("*.v[0-9]*.json")
    }


def test_no_change_breaks_what_consumers_were_told() -> None:
    problems = breaking_changes(published(), event_schemas())
    assert not problems, "\n".join(problems)


def test_what_is_published_is_what_is_there() -> None:
    current = schema_files()
    stale = [
        name
        for name, document in current.items()
        if not (PUBLISHED / name).is_file()
        or (PUBLISHED / name).read_text(encoding="utf-8") != as_text(document)
    ]
    others = {*current, "openapi.json"}  # that of the API has a test of its own
    gone = [file.name for file in PUBLISHED.glob("*.json") if file.name not in others]
    news = ", ".join(additions(published(), event_schemas())) or "words changed"
    assert not stale + gone, f"{news}; {REGENERATE}"


def test_writing_drops_the_schemas_of_types_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "old.type.v1.json").write_text("{}")
    (tmp_path / "other.json").write_text("{}")
    assert write_schemas(tmp_path / "new" / "..") == len(schema_files())
    assert not (tmp_path / "old.type.v1.json").exists()
    assert (tmp_path / "other.json").exists()


# What they promise.


@pytest.mark.parametrize("name", sorted(schema_files()))
def test_a_schema_is_one(name: str) -> None:
    document = schema_files()[name]
    if document.get("$schema") == DIALECT:
        jsonschema.Draft202012Validator.check_schema(document)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    if isinstance(kind, msgspec.inspect.Metadata):
        return values(kind.type)
    if isinstance(kind, msgspec.inspect.StrType):
        return st.text(max_size=5)
    if isinstance(kind, msgspec.inspect.BoolType):
        return st.booleans()
    if isinstance(kind, msgspec.inspect.IntType):
        return st.integers(-(2**53), 2**53)
    if isinstance(kind, msgspec.inspect.FloatType):
        return st.floats(allow_nan=False, allow_infinity=False)
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return st.lists(values(kind.item_type), max_size=3).map(tuple)
    if isinstance(kind, msgspec.inspect.DictType):
        return st.dictionaries(st.text(max_size=5), values(kind.value_type), max_size=3)
    if isinstance(kind, msgspec.inspect.AnyType):
        return st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.text(max_size=5))
    return st.none()


@given(st.data())
def test_every_event_that_goes_out_fits_its_schema(data: st.DataObject) -> None:
    """Any event of any type, through the log and the envelope."""
    row = data.draw(st.sampled_from(sorted(EVENT_TYPES.values(), key=lambda row: row.name)))
    info = msgspec.inspect.type_info(row.struct)
    assert isinstance(info, msgspec.inspect.StructType)
    fields = {field.name: data.draw(values(field.type)) for field in info.fields}
    try:
        event = msgspec.convert(fields, row.struct)
    except msgspec.ValidationError:
        return  # a type of field this test cannot make up; its other events are tried
    log = MemoryLog()
    log.append("call/1", 0, [event], Meta(time_ns=data.draw(st.integers(0, 2**61))))
    [record] = log.read()
    shown = json.loads(envelope("1", record))
    jsonschema.validate(shown, envelope_schema())
    jsonschema.validate(shown["data"], event_schemas()[shown["type"]])
    jsonschema.validate(shown, message_schema(row.name))


def message_schema(name: str) -> Any:
    """Payload of a message of the AsyncAPI document, as a schema by itself."""
    document = asyncapi()
    [message] = [m for m in document["components"]["messages"].values() if m["name"] == name]
    return {**message["payload"], "components": document["components"]}


def test_a_sealed_field_says_so() -> None:
    schema = event_schemas()["account.password-set.v1"]
    assert schema["properties"]["ha1_md5"]["x-sealed"] is True
    log = MemoryLog()
    secret = AccountPasswordSet(realm="r", ha1_md5="a", ha1_sha256="b")
    log.append("account/a@b", 0, [secret], Meta())
    assert json.loads(envelope("1", next(log.read())))["data"]["ha1_md5"] == "[sealed]"


# AsyncAPI.


def test_the_asyncapi_document_hangs_together() -> None:
    """AsyncAPI 3.0.0: fixed fields, keys, and every reference leads somewhere."""
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= document["info"].keys()
    for reference in references(document):
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
    for channel in document["channels"].values():
        assert channel["address"].startswith("pbx.")
        assert channel["messages"]
    for name, operation in document["operations"].items():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"] == f"#/channels/{name.removeprefix('send_')}"
    names = {message["name"] for message in document["components"]["messages"].values()}
    assert names == set(EVENT_TYPES)
    listed = [
        reference["$ref"]
        for channel in document["channels"].values()
        for reference in channel["messages"].values()
    ]
    assert len(listed) == len(set(listed)) == len(EVENT_TYPES), "each type in one channel"
    keys = [*document["channels"], *document["operations"], *document["components"]["schemas"]]
    assert all(key.replace("_", "").isalnum() for key in keys)


def test_the_asyncapi_document_is_one() -> None:
    """By a model of the specification that is not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the model's own field names, when it is imported
        from asyncapi3.models.asyncapi import AsyncAPI3
    document = json.loads(as_text(asyncapi()))
    assert len(AsyncAPI3.model_validate(document).components.messages) == len(EVENT_TYPES)
    document["channels"]["pbx_calls"]["adress"] = document["channels"]["pbx_calls"].pop("address")
    with pytest.raises(ValueError, match="adress"):
        AsyncAPI3.model_validate(document)


def references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [found for each in part for found in references(each)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [found for each in part.values() for found in references(each)]


# Compatibility.


def schemas_of(struct: type[Event], category: str = "pbx.calls") -> dict[str, Any]:
    row = EventType(
        "thing.done.v1", category, Durability.OBSERVED, struct, sealed=sealed_fields(struct)
    )
    return event_schemas({"thing.done.v1": row})


class Before(Event):
    a: str
    b: int = 0
    c: tuple[str, ...] = ()


class Reworded(Event):
    """Other words."""

    a: str
    b: int = 0
    c: tuple[str, ...] = ()


class WithMore(Event):
    a: str
    b: int = 0
    c: tuple[str, ...] = ()
    d: str = ""


class Sealed(Event):
    a: Annotated[str, SEALED]
    b: int = 0
    c: tuple[str, ...] = ()


class Removed(Event):
    a: str
    c: tuple[str, ...] = ()


class Retyped(Event):
    a: str
    b: str = ""
    c: tuple[str, ...] = ()


class RetypedInside(Event):
    a: str
    b: int = 0
    c: tuple[int, ...] = ()


class NewWithoutDefault(Event):
    a: str
    d: str
    b: int = 0
    c: tuple[str, ...] = ()


class NowRequired(Event):
    a: str
    b: int
    c: tuple[str, ...] = ()


class NowOptional(Event):
    a: str = ""
    b: int = 0
    c: tuple[str, ...] = ()


class OtherDefault(Event):
    a: str
    b: int = 7
    c: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("struct", "news"),
    [(Before, []), (Reworded, []), (WithMore, ["thing.done.v1.d is new"])],
)
def test_additions_and_words_are_allowed(struct: type[Event], news: list[str]) -> None:
    before, after = schemas_of(Before), schemas_of(struct)
    assert breaking_changes(before, after) == []
    assert additions(before, after) == news


@pytest.mark.parametrize(
    ("struct", "words"),
    [
        (Removed, "the field b was removed or renamed"),
        (Retyped, "the field b was"),
        (RetypedInside, "the field c was"),
        (NewWithoutDefault, "the field d is new and has no default"),
        (NowRequired, "the field b became required"),
        (NowOptional, "the field a was"),
        (Sealed, "the field a was"),  # what is stored in clear cannot be opened with a key
        (OtherDefault, "the field b was"),  # an absent field means its default
    ],
)
def test_any_other_change_asks_for_a_new_version(struct: type[Event], words: str) -> None:
    problems = breaking_changes(schemas_of(Before), schemas_of(struct))
    assert any(words in problem for problem in problems), problems
    assert all("declare thing.done.v2 with an upcaster" in problem for problem in problems)


def test_a_type_that_goes_or_moves_is_missed() -> None:
    assert "is gone" in breaking_changes(schemas_of(Before), {})[0]
    moved = breaking_changes(schemas_of(Before), schemas_of(Before, "pbx.nodes"))
    assert "category" in moved[0]


def test_a_change_within_a_shared_definition_is_found() -> None:
    def of(kind: str) -> dict[str, Any]:
        inner = {"type": "object", "properties": {"x": {"type": kind}}}
        return {
            "thing.done.v1": {
                "properties": {"a": {"$ref": "#/$defs/Inner"}},
                "$defs": {"Inner": inner},
            }
        }

    assert breaking_changes(of("string"), of("string")) == []
    assert "the field a was" in breaking_changes(of("string"), of("integer"))[0]


def test_a_new_type_is_an_addition() -> None:
    assert additions({}, schemas_of(Before)) == ["thing.done.v1 is new"]
    assert breaking_changes({}, schemas_of(Before)) == []


def test_an_envelope_shows_the_newest_shape_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer finds the schema of what it got by its type."""
    from pbx.kernel.events import UPCASTERS, Upcaster

    def convert(fields: dict[str, Any]) -> dict[str, Any]:
        return {"leg_id": fields["leg"]}

    monkeypatch.setitem(UPCASTERS, "leg.answered.v0", Upcaster("leg.answered.v1", convert, ()))
    log = MemoryLog()
    row = ("call/1", 1, "leg.answered.v0", 1, "n", "", "", "", "", b'{"leg":"a"}')
    log.commit([row])
    [record] = log.read()
    shown = json.loads(envelope("1", record))
    assert (shown["type"], shown["data"]) == ("leg.answered.v1", {"leg_id": "a"})
    found = [r for _, r in log.read_feed(types=("leg.answered.v0",)) if r]
    assert found == [record]
    from pbx.eventlog.feed import FeedFilter

    by_name = FeedFilter(types=("leg.answered.v1",)).read(log, "")
    assert [r for _, r in by_name if r] == [record]


def test_an_unknown_type_is_shown_as_it_is() -> None:
    log = MemoryLog()
    log.commit([("call/1", 1, "leg.flown.v9", 1, "n", "", "", "", "", b'{"x":1}')])
    shown = json.loads(envelope("1", next(log.read())))
    assert (shown["type"], shown["data"]) == ("leg.flown.v9", {"x": 1})
