"""What the API reads of clients: entity tags, cursors, merge patches, settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx.data import Value, from_json
from pbx.rest.changes import etag, read_precondition
from pbx.rest.listing import cursor_of, named_page, read_cursor
from pbx.rest.operations import merged
from pbx.rest.values import DEFAULT, read_settings, replacing, shown_settings, updating
from pbx.web.problems import Problem

VALUES = st.recursive(
    st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abP", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
SETTINGS = st.dictionaries(st.sampled_from(["A", "B", "Password", "PrivateSecureKey"]), VALUES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)

# RFC 7396, appendix A: original, patch, result.
EXAMPLES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


def _status(work: Callable[[], object]) -> int:
    """Of the refusal; 0 if there is none."""
    try:
        work()
    except Problem as problem:
        json.dumps(problem.body)
        return problem.status
    return 0


@pytest.mark.parametrize(("original", "patch", "result"), EXAMPLES)
def test_merge_patches_of_the_rfc(original: Any, patch: Any, result: Any) -> None:
    assert merged(original, patch) == result


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_an_etag_fits_its_version_and_no_other(version: int, other: int) -> None:
    read = read_precondition(f'"x", {etag(version)}')
    assert read.fits(version)
    assert read.fits(other) == (version == other)


@given(st.text())
def test_any_text_is_a_precondition_or_fits_nothing(text: str) -> None:
    read = read_precondition(text)
    assert read.any == (text.strip() == "*")
    for version in read.versions:
        assert etag(version) in text


@given(st.text(max_size=20), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20))
def test_cursors_come_back(listing: str, number: int, text: str) -> None:
    cursor = cursor_of(listing, number, text)
    assert read_cursor(listing, cursor, (int, str)) == (number, text)
    with pytest.raises(Problem):
        read_cursor(listing + "x", cursor, (int, str))
    with pytest.raises(Problem):
        read_cursor(listing, cursor, (str, str))


@given(st.text() | st.text("ABCWyIiJd0-_", max_size=40))
def test_other_texts_are_no_cursors(text: str) -> None:
    assert _status(lambda: read_cursor("names", text, (str,))) in (0, 400)


@given(
    st.sets(st.text("abc", min_size=1, max_size=4)), st.integers(1, 5), st.text("abc", max_size=1)
)
def test_pages_show_each_name_once(names: set[str], limit: int, wanted: str) -> None:
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page, cursor = named_page("names", names, cursor, limit, wanted)
        assert len(page) <= limit
        found += page
    assert found == sorted(name for name in names if wanted in name)


@given(JSON)
def test_any_json_is_settings_or_a_problem(raw: Any) -> None:
    assert _status(lambda: read_settings({"Key": raw})) in (0, 400)


@given(SETTINGS, SETTINGS)
def test_settings_that_are_put_back_are_the_same(held: Any, other: Any) -> None:
    """Secrets included, which the client has not seen."""
    values: dict[str, Value] = {key: from_json(raw) for key, raw in held.items()}
    shown = shown_settings(values)
    assert "Password" not in shown or isinstance(held["Password"], list | dict)
    assert replacing(shown, values) == values


@given(SETTINGS, SETTINGS)
def test_an_update_does_what_the_merge_patch_says(held: Any, patch: Any) -> None:
    values: dict[str, Value] = {key: from_json(raw) for key, raw in held.items()}
    result = dict(values)
    for key, value in updating(patch, values).items():
        if value == DEFAULT:
            result.pop(key, None)
        else:
            result[key] = value
    wanted = {key: from_json(raw) for key, raw in merged(held, patch).items()}
    assert result == {key: value for key, value in wanted.items() if value != DEFAULT}
