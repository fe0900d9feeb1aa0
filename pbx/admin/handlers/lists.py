"""Mailing lists as records (CLI reference §5.10): who owns them, their settings, kept as they come.

Who is on a list, and what it does with a message, is not here: those commands are not supported.
"""

from __future__ import annotations

from typing import Final

from pbx.admin.dispatch import Context, Result, text
from pbx.admin.errors import ACCOUNT_EXISTS, CliError
from pbx.admin.handlers.objects import list_objects
from pbx.admin.syntax import Arguments
from pbx.data import Value, from_json, to_json
from pbx.domain.objects import ObjectState, object_stream
from pbx.kernel.errors import DomainError
from pbx.objects.check import is_default
from pbx.router import ObjectKind

_OWNER: Final = "Owner"
_UNKNOWN_COUNT: Final = "-1"
"""What the reference has for a number of subscribers that cannot be told."""


def list_lists(c: Context, a: Arguments) -> Result:
    """LISTLISTS."""
    return list_objects(ObjectKind.LIST, c, a)


def of_domain(c: Context, a: Arguments) -> Result:
    """GETDOMAINLISTS."""
    return Result(_counts(c.world.inventory.objects_of(ObjectKind.LIST, c.domain(a).name)))


def of_account(c: Context, a: Arguments) -> Result:
    """GETACCOUNTLISTS: those the account owns."""
    name, _, domain = c.account(a).partition("@")
    found = c.world.inventory.objects_of(ObjectKind.LIST, domain)
    return Result(_counts([state for state in found if state.owner == name]))


def create(c: Context, a: Arguments) -> None:
    """CREATELIST."""
    name, domain = _free(c, a, "listName")
    c.administration.create_list(f"{name}@{domain}", text(a, "ownerName"))


def rename(c: Context, a: Arguments) -> None:
    """RENAMELIST: within its domain, where its owner is."""
    old = _existing(c, a, "oldName")
    new = text(a, "newName")
    if "@" not in new:
        new = f"{new}@{old.domain}"  # not the administrator's domain
    name, domain = _free(c, {**a, "newName": new}, "newName")
    if domain != old.domain:
        raise DomainError("a mailing list stays in the domain of its owner")
    address = f"{name}@{domain}"
    c.administration.create_list(address, old.owner)
    if old.settings:
        c.administration.set_list(address, settings=old.settings)
    c.administration.delete_object(ObjectKind.LIST, old.address)


def delete(c: Context, a: Arguments) -> None:
    """DELETELIST."""
    c.administration.delete_object(ObjectKind.LIST, _existing(c, a, "listName").address)


def get(c: Context, a: Arguments) -> Result:
    """GETLIST."""
    state = _existing(c, a, "listName")
    settings = {key: from_json(value) for key, value in (state.settings or {}).items()}
    return Result({**settings, _OWNER: state.owner})


def update(c: Context, a: Arguments) -> None:
    """UPDATELIST: keys that are not given stay, ``default`` takes one away."""
    state = _existing(c, a, "listName")
    given = a["newSettings"]
    assert isinstance(given, dict)
    owner: Value = given.get(_OWNER)
    if owner is not None and not isinstance(owner, str):
        raise DomainError(f"{_OWNER}: expected a string")
    settings = dict(state.settings or {})
    for key, value in given.items():
        if is_default(value):
            settings.pop(key, None)
        elif key != _OWNER:
            settings[key] = to_json(value)
    c.administration.set_list(state.address, owner, settings)


def _existing(c: Context, a: Arguments, key: str) -> ObjectState:
    name, domain = c.object_names(a[key])
    state = c.world.inventory.objects.get(object_stream(ObjectKind.LIST, name, domain))
    if state is None:
        raise DomainError("unknown mailing list")
    return state


def _free(c: Context, a: Arguments, key: str) -> tuple[str, str]:
    name, domain = c.object_names(a[key])
    if object_stream(ObjectKind.LIST, name, domain) in c.world.inventory.objects:
        raise DomainError("mailing list with this name already exists")
    if c.world.inventory.holder(name, domain):
        raise CliError(ACCOUNT_EXISTS)
    return name, domain


def _counts(states: list[ObjectState]) -> dict[str, Value]:
    return {state.name: _UNKNOWN_COUNT for state in sorted(states, key=lambda state: state.name)}
