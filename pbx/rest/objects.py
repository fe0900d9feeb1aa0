"""Groups and forwarders."""

from __future__ import annotations

from typing import Any

from pbx.admin.dispatch import Context, carry_out, require
from pbx.data import Value
from pbx.domain.accounts import account_name
from pbx.domain.objects import ObjectState, object_stream
from pbx.rest.access import no_object, seen_domain, sees
from pbx.rest.changes import Resource, version_of
from pbx.rest.listing import named_page
from pbx.rest.operations import Call, Reply
from pbx.rest.shapes import Forwarder, ForwarderPage, Group, GroupPage, given
from pbx.router import ObjectKind

GROUP, FORWARDER = ObjectKind.GROUP, ObjectKind.FORWARDER


def _seen(context: Context, kind: ObjectKind, address: str) -> ObjectState:
    """An object that the token sees. Raises :class:`Problem` (404)."""
    name, at, domain = address.strip().lower().rpartition("@")
    entry = context.world.domain(domain) if at else None
    if entry is not None and sees(context, entry.name):
        state = context.world.inventory.objects.get(object_stream(kind, name, entry.name))
        if state is not None:
            return state
    raise no_object(kind.value, address)


def _resource(context: Context, kind: ObjectKind, address: str) -> Resource:
    state = _seen(context, kind, address)
    return Resource(object_stream(kind, state.name, state.domain))


def _shown(state: ObjectState) -> Group | Forwarder:
    if state.kind is GROUP:
        return Group(
            address=state.address,
            name=state.name,
            domain=state.domain,
            real_name=state.real_name,
            members=list(state.members),
            options=list(state.options),
        )
    return Forwarder(
        address=state.address, name=state.name, domain=state.domain, target=state.target
    )


def _reply(call: Call, kind: ObjectKind, address: str) -> Reply:
    def look(context: Context) -> Reply:
        found = _resource(context, kind, address)
        version = version_of(context.log, found)
        return Reply(_shown(_seen(context, kind, address)), version)

    return call.read(look)


def _list(call: Call, kind: ObjectKind, command: str) -> tuple[list[Any], str | None]:
    def look(context: Context) -> tuple[list[Any], str | None]:
        entry, query = seen_domain(context, call.path["domain"]), call.query
        require(context, command, {"domainName": entry.name})
        found = {s.name: s for s in context.world.inventory.objects_of(kind, entry.name)}
        page, following = named_page(
            f"{kind.value} {entry.name}", found, query.cursor, query.limit, query.filter
        )
        return [_shown(found[name]) for name in page], following

    return call.read(look)


def _create(call: Call, kind: ObjectKind, command: str, values: dict[str, Value]) -> Reply:
    def new_names(context: Context) -> tuple[str, str]:
        return account_name(call.body.name), seen_domain(context, call.path["domain"]).name

    def make(context: Context) -> str:
        address = "@".join(new_names(context))
        key = "groupName" if kind is GROUP else "forwarderName"
        carry_out(context, command, {key: address, **values})
        return address

    address = call.change(lambda context: Resource(object_stream(kind, *new_names(context))), make)
    reply = _reply(call, kind, address)
    reply.location = f"/{'groups' if kind is GROUP else 'forwarders'}/{address}"
    return reply


# ------------------------------------------------------------------------------------------ groups


def list_groups(call: Call) -> Reply:
    """LISTGROUPS, a page."""
    items, following = _list(call, GROUP, "LISTGROUPS")
    return Reply(GroupPage(items=items, next=following))


def create_group(call: Call) -> Reply:
    """CREATEGROUP."""
    body = call.body
    settings = _settings(body.members, body.real_name, body.options)
    return _create(call, GROUP, "CREATEGROUP", {"settings": settings})


def get_group(call: Call) -> Reply:
    """GETGROUP."""
    return _reply(call, GROUP, call.path["address"])


def put_group(call: Call) -> Reply:
    """SETGROUP."""
    body = call.body
    return _set_group(call, lambda held: (body.members, body.real_name, body.options))


def patch_group(call: Call) -> Reply:
    """SETGROUP, of what it was with what changes."""
    body = call.body

    def wanted(held: ObjectState) -> tuple[Any, str, Any]:
        return (
            (body.members or []) if given(body.members) else held.members,
            (body.real_name or "") if given(body.real_name) else held.real_name,
            (body.options or []) if given(body.options) else held.options,
        )

    return _set_group(call, wanted)


def _set_group(call: Call, wanted: Any) -> Reply:
    address = call.path["address"]

    def change(context: Context) -> None:
        held = _seen(context, GROUP, address)
        settings = _settings(*wanted(held))
        carry_out(context, "SETGROUP", {"groupName": held.address, "newSettings": settings})

    call.change(lambda context: _resource(context, GROUP, address), change)
    return get_group(call)


def delete_group(call: Call) -> Reply:
    """DELETEGROUP."""
    return _delete(call, GROUP, "DELETEGROUP", "groupName")


def _settings(members: Any, real_name: str, options: Any) -> dict[str, Value]:
    settings: dict[str, Value] = {"Members": list(members), "RealName": real_name}
    settings.update((option, "YES") for option in options)
    return settings


# -------------------------------------------------------------------------------------- forwarders


def list_forwarders(call: Call) -> Reply:
    """LISTFORWARDERS, a page."""
    items, following = _list(call, FORWARDER, "LISTFORWARDERS")
    return Reply(ForwarderPage(items=items, next=following))


def create_forwarder(call: Call) -> Reply:
    """CREATEFORWARDER."""
    return _create(call, FORWARDER, "CREATEFORWARDER", {"address": call.body.target})


def get_forwarder(call: Call) -> Reply:
    """GETFORWARDER."""
    return _reply(call, FORWARDER, call.path["address"])


def put_forwarder(call: Call) -> Reply:
    """Another target. The command protocol deletes and creates instead; the right is the same."""
    address = call.path["address"]

    def change(context: Context) -> None:
        held = _seen(context, FORWARDER, address)
        require(context, "CREATEFORWARDER", {"forwarderName": held.address})
        context.administration.set_forwarder(held.address, call.body.target)

    call.change(lambda context: _resource(context, FORWARDER, address), change)
    return get_forwarder(call)


def delete_forwarder(call: Call) -> Reply:
    """DELETEFORWARDER."""
    return _delete(call, FORWARDER, "DELETEFORWARDER", "forwarderName")


def _delete(call: Call, kind: ObjectKind, command: str, key: str) -> Reply:
    address = call.path["address"]

    def change(context: Context) -> None:
        carry_out(context, command, {key: _seen(context, kind, address).address})

    call.change(lambda context: _resource(context, kind, address), change)
    return Reply()
