"""Domains and the defaults on all levels (CLI reference §5.1, §5.2)."""

from __future__ import annotations

from pbx.admin.dispatch import Context, Handler, Result, number, require_texts, text
from pbx.admin.errors import DOMAIN_EXISTS, GENERAL, NO_RIGHTS, CliError
from pbx.admin.syntax import Arguments
from pbx.admin.world import DomainEntry
from pbx.data import Value
from pbx.domain import accounts
from pbx.domain import configuration as conf
from pbx.domain.setting_events import SETTINGS
from pbx.kernel.errors import DomainError
from pbx.objects import effective
from pbx.objects.check import keys_of
from pbx.objects.domain_keys import DOMAIN_KEYS
from pbx.router import ObjectKind
from pbx.settings_changes import THE_SERVER, Target

EXTENSION = "macnt"
"""What listings give as the kind of an account: one with several mailboxes."""
_MAX_LISTED = 10_000


def list_domains(c: Context, a: Arguments) -> Result:
    """LISTDOMAINS: names, aliases not included."""
    return Result(list(c.world.domains))


def main_domain_name(c: Context, a: Arguments) -> Result:
    """MAINDOMAINNAME."""
    return Result(c.world.main_domain)


def create_domain(c: Context, a: Arguments) -> None:
    """CREATEDOMAIN; `aliases` come from the API, the language has no word for them."""
    if "SHARED" in a:
        raise DomainError("not a Cluster member")
    name = accounts.domain_name(text(a, "domainName"))
    if c.world.domain(name) is not None:
        raise CliError(DOMAIN_EXISTS, "domain with this name already exists")
    settings = a.get("settings", {})
    assert isinstance(settings, dict)
    if settings:
        from pbx.objects.check import check

        check("domain", SETTINGS, settings)  # before there is a domain: half of it is none
    c.administration.create_domain(name, require_texts(a.get("aliases", []), "aliases"))
    if settings:
        c.changes.update(Target("domain", name), SETTINGS, settings)


def delete_domain(c: Context, a: Arguments) -> None:
    """DELETEDOMAIN: an empty one, or with FORCE one with all its objects."""
    entry = c.domain(a)
    if entry.name == c.world.main_domain:
        raise DomainError("the main domain cannot be deleted")
    known = c.world.inventory
    if any(known.contents(entry.name).values()) and "FORCE" not in a:
        raise CliError(GENERAL, "domain is not empty")
    for state in [state for state in known.objects.values() if state.domain == entry.name]:
        assert state.kind is not None
        c.administration.delete_object(state.kind, state.address)
    for name in list(entry.accounts):
        c.administration.delete_account(f"{name}@{entry.name}")
    c.administration.delete_domain(entry.name)


def suspend(c: Context, a: Arguments) -> None:
    """SUSPENDDOMAIN: nobody of it logs in; open sessions end."""
    entry = c.domain(a)
    if entry.name == c.authority.domain:
        raise DomainError("your own domain: you could not resume it")
    c.changes.update(Target("domain", entry.name), conf.RECORDS, {"Suspended": "YES"})
    for name in entry.accounts:
        for session in c.service.sessions.of_account(f"{name}@{entry.name}"):
            c.service.sessions.kill(session)


def resume(c: Context, a: Arguments) -> None:
    """RESUMEDOMAIN."""
    target = Target("domain", c.domain(a).name)
    c.changes.update(target, conf.RECORDS, {"Suspended": "default"})


def list_accounts(c: Context, a: Arguments) -> Result:
    """LISTACCOUNTS."""
    return Result(dict.fromkeys(sorted(c.domain(a).accounts), EXTENSION))


def list_objects(c: Context, a: Arguments) -> Result:
    """LISTDOMAINOBJECTS: (accounts, objects, aliases, forwarders[, cookie])."""
    entry = c.domain(a)
    limit = number(a, "limit")
    if not 0 <= limit < _MAX_LISTED:
        raise DomainError(f"limit: expected a whole number below {_MAX_LISTED}")
    kinds = {"ACCOUNTS", "ALIASES", "FORWARDERS"}.intersection(a) or {
        "ACCOUNTS", "ALIASES", "FORWARDERS",
    }  # fmt: skip
    wanted = text(a, "filter").lower() if "filter" in a else ""
    listed: list[tuple[str, Value]] = []
    aliases = [(alias, owner) for alias, _, owner in c.world.inventory.aliases(entry.name)]
    forwarders = c.world.inventory.objects_of(ObjectKind.FORWARDER, entry.name)
    if "ACCOUNTS" in kinds:
        listed += [(name, EXTENSION) for name in entry.accounts]
    if "ALIASES" in kinds:
        listed += [(alias, [owner]) for alias, owner in aliases]
    if "FORWARDERS" in kinds:
        listed += [(state.name, [[state.target]]) for state in forwarders]
    listed = sorted(item for item in listed if wanted in item[0])
    after = text(a, "cookie") if "cookie" in a else ""
    rest = [item for item in listed if item[0] > after]
    page = rest[:limit]
    totals = len(entry.accounts), len(aliases), len(forwarders)
    result: list[Value] = [str(totals[0]), dict(page), str(totals[1]), str(totals[2])]
    if "cookie" in a:
        result.append(page[-1][0] if len(rest) > limit and page else "")
    return Result(result)


def get_aliases(c: Context, a: Arguments) -> Result:
    """GETDOMAINALIASES."""
    return Result(list(c.domain(a).aliases))


def get_location(c: Context, a: Arguments) -> Result:
    """GETDOMAINLOCATION."""
    name = c.domain(a).name
    return Result("Accounts" if name == c.world.main_domain else f"Domains/{name}")


def list_admin_domains(c: Context, a: Arguments) -> Result:
    """LISTADMINDOMAINS: domains whose administrators are those of this one."""
    return Result([*c.world.administered_by(c.domain(a).name)])


# ---------------------------------------------------------------------------------------- settings


def get_settings(c: Context, a: Arguments) -> Result:
    """GETDOMAINSETTINGS."""
    return Result(c.section(Target("domain", c.domain(a).name), SETTINGS))


def get_effective(c: Context, a: Arguments) -> Result:
    """GETDOMAINEFFECTIVESETTINGS."""
    configuration = c.domain(a).configuration
    own, defaults = configuration.section(SETTINGS), c.world.server.section(conf.DOMAIN_DEFAULTS)
    settings = effective.domain_settings(own, defaults)
    of_accounts: Value = configuration.section(conf.ACCOUNT_DEFAULTS)
    return Result({**settings, **({"AccountDefaults": of_accounts} if of_accounts else {})})


def update_settings(c: Context, a: Arguments) -> None:
    """UPDATEDOMAINSETTINGS."""
    entry = c.domain(a)
    settings = _without_defaults(c, entry, c.permitted(a["newSettings"], DOMAIN_KEYS))
    c.update(Target("domain", entry.name), SETTINGS, settings)


def set_settings(c: Context, a: Arguments) -> None:
    """SETDOMAINSETTINGS: replace; All Domains only."""
    if not c.authority.all_domains:
        raise CliError(NO_RIGHTS)
    entry = c.domain(a)
    values = a["newSettings"]
    assert isinstance(values, dict)
    settings = _without_defaults(c, entry, values)
    c.replace(Target("domain", entry.name), SETTINGS, settings)


def _without_defaults(
    c: Context, entry: DomainEntry, settings: dict[str, Value]
) -> dict[str, Value]:
    """Account defaults have commands of their own; inside a domain's settings they are refused
    rather than stored where nobody looks."""
    if "AccountDefaults" in settings:
        raise DomainError("AccountDefaults: set them by SETACCOUNTDEFAULTS")
    return settings


def of_domain(section: str) -> tuple[Handler, Handler, Handler]:
    """GET, UPDATE and SET of a dictionary that a domain holds for its accounts."""

    def get(c: Context, a: Arguments) -> Result:
        return Result(c.section(Target("domain", c.domain(a).name), section))

    def update(c: Context, a: Arguments) -> None:
        values = c.permitted(a["newSettings"], keys_of("domain", section))
        c.update(Target("domain", c.domain(a).name), section, values)

    def replace(c: Context, a: Arguments) -> None:
        if section != "prefs" and not c.authority.all_domains:
            raise CliError(NO_RIGHTS)
        c.replace(Target("domain", c.domain(a).name), section, a["newSettings"])

    return get, update, replace


def of_server(section: str) -> tuple[Handler, Handler, Handler]:
    """GET, UPDATE and SET of a dictionary of the server."""

    def get(c: Context, a: Arguments) -> Result:
        return Result(c.section(THE_SERVER, section))

    def update(c: Context, a: Arguments) -> None:
        c.update(THE_SERVER, section, a["newSettings"])

    def replace(c: Context, a: Arguments) -> None:
        c.replace(THE_SERVER, section, a["newSettings"])

    return get, update, replace
