"""The OpenAPI document: current, complete, and the page for people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pbx.domain.tokens import SCOPES
from pbx.rest import openapi
from pbx.rest.page import LANGUAGES, html
from pbx.rest.table import OPERATIONS, TAGS
from tests.support.rest_lab import RestLab

PUBLISHED = Path(__file__).parents[4] / "docs" / "schemas" / openapi.FILE


def test_what_is_published_is_what_is_there() -> None:
    """If this fails: make schemas"""
    assert PUBLISHED.read_text(encoding="utf-8") == openapi.as_text()


def test_it_is_served_to_everybody(lab: RestLab) -> None:
    with lab.client("") as api:
        answer = api.get("/openapi.json")
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == openapi.document()


def test_every_reference_leads_somewhere_and_schemas_are_schemas() -> None:
    document = openapi.document()
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', openapi.as_text()):
        part: Any = document
        for key in reference.split("/"):
            part = part[key]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_operation_is_declared_whole() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    for operation in OPERATIONS:
        assert operation.scope in SCOPES
        assert operation.tag in TAGS
        assert operation.handler.__module__.startswith("pbx.rest.")
        if operation.method in ("PUT", "PATCH", "DELETE"):
            assert operation.guarded, operation.name
            assert operation.scope == "config:write"
        assert re.search("[а-яё]", operation.summary_ru), operation.name
        assert not re.search("[а-яё]", operation.summary), operation.name


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_names_every_operation_and_loads_nothing(lab: RestLab, language: str) -> None:
    with lab.client("") as api:
        answer = api.http.get("/api/", headers={"Accept-Language": f"{language}-XX,fr;q=0.5"})
    assert answer.headers["content-language"] == language
    assert answer.text == html(language)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for operation in OPERATIONS:
        assert operation.path in answer.text
    assert not re.search(r"<script|src=|@import|url\(|href=\"(?:https?:)?//", answer.text)


def test_the_page_without_slash_and_in_other_languages(lab: RestLab) -> None:
    with lab.client("") as api:
        moved = api.http.get("/api", follow_redirects=False)
        assert (moved.status_code, moved.headers["location"]) == (308, "/api/")
        assert api.http.get("/api/?lang=ru").headers["content-language"] == "ru"
        assert api.http.get("/api/?lang=xx").headers["content-language"] == "en"
        assert api.http.post("/api/").status_code == 405
        assert api.http.get("/api/v1/domains").status_code == 401
