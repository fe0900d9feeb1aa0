"""Groups, forwarders, aliases, telephone numbers, the Router (CLI reference §5.1–§5.5, §5.16)."""

from __future__ import annotations

from pbx.admin.dispatch import Context, Result, number, require_texts, text
from pbx.admin.errors import (
    ACCOUNT_EXISTS,
    FORWARDER_EXISTS,
    GROUP_EXISTS,
    NO_FORWARDER,
    NO_RIGHTS,
    CliError,
)
from pbx.admin.syntax import Arguments
from pbx.data import Value
from pbx.domain.objects import GROUP_OPTIONS, ObjectState, object_stream
from pbx.inventory import Inventory, digits_of
from pbx.kernel.errors import DomainError
from pbx.objects.forms import read_flag
from pbx.router import Kind, ObjectKind, fold_case, route

_MAX_LISTED = 10_000


def list_objects(kind: ObjectKind, c: Context, a: Arguments) -> Result:
    """Names of the objects of a kind in a domain."""
    found = c.world.inventory.objects_of(kind, c.domain(a).name)
    return Result([*sorted(state.name for state in found)])


def _existing(c: Context, a: Arguments, key: str, kind: ObjectKind) -> ObjectState:
    name, domain = c.object_names(a[key])
    state = c.world.inventory.objects.get(object_stream(kind, name, domain))
    if state is None:
        if kind is ObjectKind.FORWARDER:
            raise CliError(NO_FORWARDER)
        raise DomainError(f"unknown {kind.value}")
    return state


def _new(c: Context, a: Arguments, key: str, kind: ObjectKind) -> tuple[str, str]:
    """A name that is free; objects of all kinds share the names of a domain."""
    name, domain = c.object_names(a[key])
    if object_stream(kind, name, domain) in c.world.inventory.objects:
        raise CliError(GROUP_EXISTS if kind is ObjectKind.GROUP else FORWARDER_EXISTS)
    if c.world.inventory.holder(name, domain):
        raise CliError(ACCOUNT_EXISTS)
    return name, domain


def _require_same(c: Context, a: Arguments, kind: ObjectKind) -> tuple[ObjectState, str]:
    """The object to be renamed and its new address, in a domain that may be administered."""
    old = _existing(c, a, "oldName", kind)
    name, domain = _new(c, a, "newName", kind)
    if not c.authority.administers(domain, c.world.admin_domain_of(domain)):
        raise CliError(NO_RIGHTS)
    return old, f"{name}@{domain}"


# ------------------------------------------------------------------------------------------ groups


def list_groups(c: Context, a: Arguments) -> Result:
    """LISTGROUPS."""
    return list_objects(ObjectKind.GROUP, c, a)


def create_group(c: Context, a: Arguments) -> None:
    """CREATEGROUP."""
    name, domain = _new(c, a, "groupName", ObjectKind.GROUP)
    members, real_name, options = _group(a.get("settings", {}))
    c.administration.create_group(f"{name}@{domain}", members, real_name, options)


def get_group(c: Context, a: Arguments) -> Result:
    """GETGROUP: settings and members."""
    state = _existing(c, a, "groupName", ObjectKind.GROUP)
    found: dict[str, Value] = {"Members": list(state.members)}
    if state.real_name:
        found["RealName"] = state.real_name
    found.update(dict.fromkeys(state.options, "YES"))
    return Result(found)


def set_group(c: Context, a: Arguments) -> None:
    """SETGROUP: replaces all, members included."""
    state = _existing(c, a, "groupName", ObjectKind.GROUP)
    members, real_name, options = _group(a["newSettings"])
    c.administration.set_group(state.address, members, real_name, options)


def rename_group(c: Context, a: Arguments) -> None:
    """RENAMEGROUP."""
    old, address = _require_same(c, a, ObjectKind.GROUP)
    c.administration.create_group(address, old.members, old.real_name, old.options)
    c.administration.delete_object(ObjectKind.GROUP, old.address)


def delete_group(c: Context, a: Arguments) -> None:
    """DELETEGROUP."""
    state = _existing(c, a, "groupName", ObjectKind.GROUP)
    c.administration.delete_object(ObjectKind.GROUP, state.address)


def _group(settings: Value) -> tuple[list[str], str, list[str]]:
    assert isinstance(settings, dict)
    unknown = set(settings) - {"Members", "RealName", *GROUP_OPTIONS}
    if unknown:
        raise DomainError(f"{min(unknown)} is no setting of a group")
    options = []
    for option in GROUP_OPTIONS:
        try:
            if read_flag(settings.get(option, "NO")):
                options.append(option)
        except ValueError:
            raise DomainError(f"{option}: expected YES or NO") from None
    real_name = settings.get("RealName", "")
    if not isinstance(real_name, str):
        raise DomainError("RealName: expected a string")
    return require_texts(settings.get("Members", []), "Members"), real_name, options


# -------------------------------------------------------------------------------------- forwarders


def list_forwarders(c: Context, a: Arguments) -> Result:
    """LISTFORWARDERS."""
    return list_objects(ObjectKind.FORWARDER, c, a)


def create_forwarder(c: Context, a: Arguments) -> None:
    """CREATEFORWARDER."""
    name, domain = _new(c, a, "forwarderName", ObjectKind.FORWARDER)
    c.administration.create_forwarder(f"{name}@{domain}", text(a, "address"))


def get_forwarder(c: Context, a: Arguments) -> Result:
    """GETFORWARDER."""
    return Result(_existing(c, a, "forwarderName", ObjectKind.FORWARDER).target)


def rename_forwarder(c: Context, a: Arguments) -> None:
    """RENAMEFORWARDER."""
    old, address = _require_same(c, a, ObjectKind.FORWARDER)
    c.administration.create_forwarder(address, old.target)
    c.administration.delete_object(ObjectKind.FORWARDER, old.address)


def delete_forwarder(c: Context, a: Arguments) -> None:
    """DELETEFORWARDER."""
    state = _existing(c, a, "forwarderName", ObjectKind.FORWARDER)
    c.administration.delete_object(ObjectKind.FORWARDER, state.address)


def find_forwarders(c: Context, a: Arguments) -> Result:
    """FINDFORWARDERS: those that stand for an address."""
    domain = c.domain(a).name
    wanted = fold_case(text(a, "address"))
    found = c.world.inventory.objects_of(ObjectKind.FORWARDER, domain)
    return Result([*sorted(state.name for state in found if _stands_for(state, wanted))])


def _stands_for(state: ObjectState, wanted: str) -> bool:
    target = fold_case(state.target)
    return wanted in (target, f"{target}@{state.domain}")


# ----------------------------------------------------------------------------- aliases and telnums


def get_account_aliases(c: Context, a: Arguments) -> Result:
    """GETACCOUNTALIASES."""
    return Result(list(c.world.account_state(c.account(a)).aliases))


def set_account_aliases(c: Context, a: Arguments) -> None:
    """SETACCOUNTALIASES: replaces them."""
    address = c.account(a)
    domain = address.rpartition("@")[2]
    aliases = require_texts(a["newAliases"], "newAliases")
    for alias in aliases:
        if c.world.inventory.holder(alias.lower(), domain, but=address):
            raise CliError(ACCOUNT_EXISTS)
    c.administration.set_aliases(address, aliases)


def set_domain_aliases(c: Context, a: Arguments) -> None:
    """SETDOMAINALIASES: replaces them."""
    aliases = require_texts(a["newAliases"], "newAliases")
    c.administration.set_domain_aliases(c.domain(a).name, aliases)


def get_telnums(c: Context, a: Arguments) -> Result:
    """GETACCOUNTTELNUMS."""
    return Result(list(c.world.account_state(c.account(a)).telnums))


def set_telnums(c: Context, a: Arguments) -> None:
    """SETACCOUNTTELNUMS: replaces them; a number belongs to one account of the server."""
    address = c.account(a)
    telnums = require_texts(a["newTelnums"], "newTelnums")
    _require_free(c.world.inventory, address, telnums)
    c.administration.set_telnums(address, telnums)


def modify_telnums(c: Context, a: Arguments) -> Result:
    """MODIFYACCOUNTTELNUMS: add, del, or pop the first one."""
    address = c.account(a)
    parameters = a["parameters"]
    assert isinstance(parameters, dict)
    held = list(c.world.account_state(address).telnums)
    telnum = parameters.get("telnum", "")
    if not isinstance(telnum, str):
        raise DomainError("telnum: expected a string")
    match parameters.get("op"):
        case "add":
            _require_free(c.world.inventory, address, [telnum])
            if digits_of(telnum) in map(digits_of, held):
                raise DomainError("telnum is already assigned")
            c.administration.add_telnum(telnum, address)
            return Result({})
        case "del":
            if digits_of(telnum) not in map(digits_of, held):
                raise DomainError("telnum not found")
            c.administration.remove_telnum(telnum)
            return Result({})
        case "pop":
            if not held:
                return Result({})
            c.administration.remove_telnum(held[0])
            return Result({"telnum": held[0]})
    raise DomainError("op: expected add, del or pop")


def _require_free(known: Inventory, address: str, telnums: list[str]) -> None:
    if any(known.telnum_holder(telnum) not in ("", address) for telnum in telnums):
        raise DomainError("telnum is already assigned")


def list_telnums(c: Context, a: Arguments) -> Result:
    """LISTSERVERTELNUMS, LISTDOMAINTELNUMS: number -> account, and ``""`` -> how many."""
    domain = c.domain(a).name if "domainName" in a else ""
    limit = number(a, "limit")
    if not 0 <= limit <= _MAX_LISTED:
        raise DomainError(f"limit: expected 0 to {_MAX_LISTED}")
    wanted = text(a, "filter") if "filter" in a else ""
    found = sorted(
        (telnum, address)
        for telnum, address in c.world.inventory.telnums()
        if wanted in telnum and (not domain or address.endswith(f"@{domain}"))
    )
    return Result({**dict(found[:limit]), "": len(found)})


# -------------------------------------------------------------------------------------- the Router


def get_table(c: Context, a: Arguments) -> Result:
    """GETROUTERTABLE."""
    return Result(c.world.inventory.server.table())


def set_table(c: Context, a: Arguments) -> None:
    """SETROUTERTABLE: the whole table, or an error that names each wrong line."""
    c.administration.set_router_table(text(a, "newTable"))


def route_address(c: Context, a: Arguments) -> Result:
    """ROUTE: module, host and address."""
    kind = Kind(a.get("type", "access"))
    found = route(text(a, "address"), kind, c.world.directory)
    if found.status:
        raise DomainError(found.reason or found.outcome.value)
    return Result(list(found.triple()))
