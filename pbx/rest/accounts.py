"""Accounts: listing, making, changing, deleting; settings, names, numbers, rights, password."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pbx.admin.dispatch import Context, carry_out, require
from pbx.data import Value
from pbx.domain import configuration as conf
from pbx.domain.accounts import account_name
from pbx.kernel.errors import DomainError
from pbx.objects.account_keys import ACCOUNT_KEYS
from pbx.rest.access import require_keys, seen_account, seen_domain
from pbx.rest.changes import Resource, version_of
from pbx.rest.listing import named_page
from pbx.rest.operations import Call, Handler, Reply
from pbx.rest.shapes import Account, AccountPage, AccountRow, given
from pbx.rest.values import DEFAULT, read_settings, replacing, shown_settings, updating
from pbx.settings_changes import Target

REAL_NAME = "RealName"
PASSWORD = "Password"


def resource(context: Context, address: str) -> Resource:
    """An account that the token sees."""
    return Resource(f"account/{seen_account(context, address)}")


def shown(context: Context, address: str) -> Account:
    """An account as it is."""
    name, _, domain = address.partition("@")
    state = context.world.account_state(address)
    configuration = context.configuration(Target("account", address))
    settings = configuration.section(conf.SETTINGS)
    real_name = settings.get(REAL_NAME, "")
    return Account(
        address=address,
        name=name,
        domain=domain,
        real_name=real_name if isinstance(real_name, str) else "",
        aliases=list(state.aliases),
        telnums=list(state.telnums),
        rights=list(configuration.rights),
        has_password=state.has_password,
        settings=shown_settings(settings),
    )


def _reply(call: Call, address: str) -> Reply:
    def look(context: Context) -> Reply:
        found = seen_account(context, address)
        version = version_of(context.log, Resource(f"account/{found}"))
        return Reply(shown(context, found), version)

    return call.read(look)


def list_accounts(call: Call) -> Reply:
    """LISTACCOUNTS, a page."""

    def look(context: Context) -> Reply:
        entry = seen_domain(context, call.path["domain"])
        require(context, "LISTACCOUNTS", {"domainName": entry.name})
        query = call.query
        page, following = named_page(
            f"accounts {entry.name}", entry.accounts, query.cursor, query.limit, query.filter
        )
        known = context.world.inventory.accounts
        states = [known[f"{name}@{entry.name}"] for name in page]
        rows = [
            AccountRow(
                address=state.address,
                name=state.name,
                real_name=state.display_name,
                aliases=list(state.aliases),
                telnums=list(state.telnums),
            )
            for state in states
        ]
        return Reply(AccountPage(items=rows, next=following))

    return call.read(look)


def create_account(call: Call) -> Reply:
    """CREATEACCOUNT, with aliases and numbers in the same append."""
    body = call.body

    def new_address(context: Context) -> str:
        return f"{account_name(body.name)}@{seen_domain(context, call.path['domain']).name}"

    def make(context: Context) -> str:
        address = new_address(context)
        settings = read_settings(body.settings)
        if body.real_name:
            settings[REAL_NAME] = body.real_name
        if body.password:
            settings[PASSWORD] = body.password
        if body.aliases:
            require(context, "SETACCOUNTALIASES", {"accountName": address})
        if body.telnums:
            require(context, "SETACCOUNTTELNUMS", {"accountName": address})
        carry_out(context, "CREATEACCOUNT", {"accountName": address, "settings": settings})
        if body.aliases:
            context.administration.set_aliases(address, body.aliases)
        if body.telnums:
            context.administration.set_telnums(address, body.telnums)
        return address

    address = call.change(lambda context: Resource(f"account/{new_address(context)}"), make)
    reply = _reply(call, address)
    reply.location = f"/accounts/{address}"
    return reply


def get_account(call: Call) -> Reply:
    return _reply(call, call.path["address"])


def patch_account(call: Call) -> Reply:
    """UPDATEACCOUNTSETTINGS, SETACCOUNTALIASES, SETACCOUNTTELNUMS, SETACCOUNTRIGHTS, in one
    append."""
    body = call.body

    def change(context: Context) -> None:
        address = seen_account(context, call.path["address"])
        if given(body.aliases):
            _set(context, "SETACCOUNTALIASES", address, newAliases=list(body.aliases or ()))
        if given(body.telnums):
            _set(context, "SETACCOUNTTELNUMS", address, newTelnums=list(body.telnums or ()))
        if given(body.rights):
            _set(context, "SETACCOUNTRIGHTS", address, newRights=list(body.rights or ()))
        patch: dict[str, Any] = {}
        held = context.configuration(Target("account", address)).section(conf.SETTINGS)
        if given(body.settings):
            patch.update(dict.fromkeys(held) if body.settings is None else body.settings)
        if given(body.real_name):
            patch[REAL_NAME] = body.real_name or None
        if patch:
            _update(context, address, updating(patch, held))

    call.change(lambda context: resource(context, call.path["address"]), change)
    return get_account(call)


def delete_account(call: Call) -> Reply:
    """DELETEACCOUNT."""

    def change(context: Context) -> None:
        address = seen_account(context, call.path["address"])
        carry_out(context, "DELETEACCOUNT", {"accountName": address})

    call.change(lambda context: resource(context, call.path["address"]), change)
    return Reply()


# --------------------------------------------------------------------------------- parts of it


def get_settings(call: Call) -> Reply:
    """GETACCOUNTSETTINGS."""
    reply = get_account(call)
    return Reply(reply.body.settings, reply.version)


def put_settings(call: Call) -> Reply:
    """SETACCOUNTSETTINGS."""

    def change(context: Context) -> None:
        address = seen_account(context, call.path["address"])
        held = context.configuration(Target("account", address)).section(conf.SETTINGS)
        values = replacing(call.body, held)
        _no_password(values)
        _set(context, "SETACCOUNTSETTINGS", address, newSettings=values)

    call.change(lambda context: resource(context, call.path["address"]), change)
    return get_settings(call)


def patch_settings(call: Call) -> Reply:
    """UPDATEACCOUNTSETTINGS."""

    def change(context: Context) -> None:
        address = seen_account(context, call.path["address"])
        held = context.configuration(Target("account", address)).section(conf.SETTINGS)
        _update(context, address, updating(call.body, held))

    call.change(lambda context: resource(context, call.path["address"]), change)
    return get_settings(call)


def get_effective(call: Call) -> Reply:
    """GETACCOUNTEFFECTIVESETTINGS: of several objects, so without an ETag."""

    def look(context: Context) -> Reply:
        address = seen_account(context, call.path["address"])
        found = carry_out(context, "GETACCOUNTEFFECTIVESETTINGS", {"accountName": address})
        assert isinstance(found, dict)
        return Reply(shown_settings(found))

    return call.read(look)


def part_handlers(part: str, command: str, parameter: str) -> tuple[Handler, Handler]:
    """GET and PUT of a list that an account has."""

    def get(call: Call) -> Reply:
        reply = get_account(call)
        return Reply({part: getattr(reply.body, part)}, reply.version)

    def put(call: Call) -> Reply:
        def change(context: Context) -> None:
            address = seen_account(context, call.path["address"])
            _set(context, command, address, **{parameter: list(getattr(call.body, part))})

        call.change(lambda context: resource(context, call.path["address"]), change)
        return get(call)

    return get, put


def get_trunks(call: Call) -> Reply:
    """GETACCOUNTRSIPS, without passwords."""

    def look(context: Context) -> Reply:
        address = seen_account(context, call.path["address"])
        version = version_of(context.log, Resource(f"account/{address}"))
        return Reply(shown_settings(_trunks(context, address)), version)

    return call.read(look)


def put_trunks(call: Call) -> Reply:
    """SETACCOUNTRSIPS; a password that is not named stays."""
    return _change_trunks(call, lambda held: replacing(call.body, held))


def patch_trunks(call: Call) -> Reply:
    """SETACCOUNTRSIPS, of what there was with what changes."""

    def changed(held: dict[str, Value]) -> dict[str, Value]:
        changes = updating(call.body, held)
        gone = {name for name, value in changes.items() if value == DEFAULT}
        return {name: value for name, value in {**held, **changes}.items() if name not in gone}

    return _change_trunks(call, changed)


def get_trunk_states(call: Call) -> Reply:
    """GETACCOUNTINFO of the registrations: what came of them, so without an ETag."""

    def look(context: Context) -> Reply:
        address = seen_account(context, call.path["address"])
        arguments: dict[str, Value] = {"accountName": address, "keyName": "RSIP", "KEY": "KEY"}
        found = carry_out(context, "GETACCOUNTINFO", arguments)
        return Reply(shown_settings(found) if isinstance(found, dict) else {})

    return call.read(look)


def _trunks(context: Context, address: str) -> dict[str, Value]:
    found = carry_out(context, "GETACCOUNTRSIPS", {"accountName": address})
    assert isinstance(found, dict)
    return found


def _change_trunks(call: Call, changed: Callable[[dict[str, Value]], dict[str, Value]]) -> Reply:
    def change(context: Context) -> None:
        address = seen_account(context, call.path["address"])
        _set(context, "SETACCOUNTRSIPS", address, newRecords=changed(_trunks(context, address)))

    call.change(lambda context: resource(context, call.path["address"]), change)
    return get_trunks(call)


def put_password(call: Call) -> Reply:
    """SETACCOUNTPASSWORD. Nothing reads it."""

    def change(context: Context) -> None:
        address = seen_account(context, call.path["address"])
        _set(context, "SETACCOUNTPASSWORD", address, newPassword=call.body.password)

    call.change(lambda context: resource(context, call.path["address"]), change)
    return Reply(version=get_account(call).version)


def _set(context: Context, command: str, address: str, **values: Value) -> None:
    carry_out(context, command, {"accountName": address, **values})


def _update(context: Context, address: str, values: dict[str, Value]) -> None:
    _no_password(values)
    arguments: dict[str, Value] = {"accountName": address, "newSettings": values}
    require(context, "UPDATEACCOUNTSETTINGS", arguments)
    require_keys(context, values, ACCOUNT_KEYS)
    carry_out(context, "UPDATEACCOUNTSETTINGS", arguments)


def _no_password(values: dict[str, Value]) -> None:
    if PASSWORD in values:
        raise DomainError("Password is no setting here: PUT …/password sets it")
