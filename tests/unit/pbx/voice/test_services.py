"""Requests of programs find the part of the server that knows the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from pbx.script.requests.accounts import ReadGroupMembers, ReadTelnums
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import Answer
from pbx.script.runtime.task import Task
from pbx.voice.services import Handler, ServiceTable

TASK = cast("Task", object())


class _Preferences:
    def language_of(self, account: str | None) -> str | None:
        return "russian" if account == "anna@example.com" else None

    def zone_of(self, account: str | None) -> str | None:
        return "Europe/Moscow" if account == "anna@example.com" else None


class _Groups:
    def handlers(self) -> Mapping[type[HostRequest], Handler]:
        return {ReadGroupMembers: self._members}

    def _members(self, task: Task, request: ReadGroupMembers) -> Answer:
        assert task is TASK
        return [f"member-of-{request.group}".encode()]


def test_a_request_goes_to_its_provider() -> None:
    table = ServiceTable(_Preferences(), [_Groups()])
    assert table.perform(TASK, ReadGroupMembers("sales")) == [b"member-of-sales"]


def test_what_nobody_provides_is_an_error_string() -> None:
    table = ServiceTable(_Preferences(), [_Groups()])
    answer = table.perform(TASK, ReadTelnums(None))
    assert answer == b"500-ReadTelnums is not available on this server"


def test_two_providers_of_one_request_are_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="ReadGroupMembers is provided twice"):
        ServiceTable(_Preferences(), [_Groups(), _Groups()])


def test_preferences_are_those_of_the_account() -> None:
    table = ServiceTable(_Preferences(), [])
    assert table.language_of("anna@example.com") == "russian"
    assert table.zone_of("anna@example.com") == "Europe/Moscow"
    assert table.language_of(None) is None
