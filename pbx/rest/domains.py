"""Domains: listing, making, changing, deleting; their settings, account defaults and aliases."""

from __future__ import annotations

from pbx.admin.dispatch import Context, carry_out, require
from pbx.admin.syntax import Arguments
from pbx.admin.world import DomainEntry
from pbx.data import Value
from pbx.domain import configuration as conf
from pbx.domain.accounts import domain_name
from pbx.objects.check import keys_of
from pbx.rest.access import require_keys, seen_domain, sees
from pbx.rest.backend import NOWHERE
from pbx.rest.changes import Resource, version_of
from pbx.rest.listing import named_page
from pbx.rest.operations import Call, Handler, Reply
from pbx.rest.shapes import Domain, DomainPage, DomainRow, given
from pbx.rest.values import read_settings, replacing, shown_settings, updating
from pbx.settings_changes import Target

_COMMANDS = {conf.SETTINGS: "DOMAINSETTINGS", conf.ACCOUNT_DEFAULTS: "ACCOUNTDEFAULTS"}


def resource(context: Context, name: str) -> Resource:
    """A domain that the token sees."""
    return Resource(f"domain/{seen_domain(context, name).name}")


def shown(context: Context, entry: DomainEntry) -> Domain:
    """A domain as it is in the log the context works on."""
    settings = context.configuration(Target("domain", entry.name)).section(conf.SETTINGS)
    aliases = context.world.domains[entry.name].aliases
    return Domain(name=entry.name, aliases=list(aliases), settings=shown_settings(settings))


def _reply(call: Call, name: str) -> Reply:
    def look(context: Context) -> Reply:
        entry = seen_domain(context, name)
        # Version first: what is newer than its ETag is told at the next change.
        version = version_of(context.log, Resource(f"domain/{entry.name}"))
        return Reply(shown(context, entry), version)

    return call.read(look)


def list_domains(call: Call) -> Reply:
    """Those the token sees."""

    def look(context: Context) -> Reply:
        world, query = context.world, call.query
        names = [name for name in world.domains if sees(context, name)]
        page, following = named_page("domains", names, query.cursor, query.limit, query.filter)
        rows = [
            DomainRow(
                name=name,
                aliases=list(world.domains[name].aliases),
                main=name == world.main_domain,
                accounts=len(world.domains[name].accounts),
            )
            for name in page
        ]
        return Reply(DomainPage(items=rows, next=following))

    return call.read(look)


def create_domain(call: Call) -> Reply:
    """CREATEDOMAIN."""
    body = call.body

    def make(context: Context) -> str:
        settings = read_settings(body.settings)
        arguments: Arguments = {
            "domainName": body.name,
            "settings": settings,
            "aliases": list(body.aliases),
        }
        carry_out(context, "CREATEDOMAIN", arguments)
        return domain_name(body.name)

    def resource_of(context: Context) -> Resource:
        return Resource(f"domain/{domain_name(body.name)}")

    def install(context: Context) -> None:
        if context.world.main_domain == name:  # the first domain has what every server has
            context.administration.install()

    name = call.change(resource_of, make)
    call.change(lambda context: NOWHERE, install)
    reply = _reply(call, name)
    reply.location = f"/domains/{name}"
    return reply


def get_domain(call: Call) -> Reply:
    return _reply(call, call.path["domain"])


def patch_domain(call: Call) -> Reply:
    """UPDATEDOMAINSETTINGS, SETDOMAINALIASES, in one append."""
    name, body = call.path["domain"], call.body

    def change(context: Context) -> None:
        entry = seen_domain(context, name)
        if given(body.aliases):
            aliases: Arguments = {"domainName": entry.name, "newAliases": list(body.aliases or ())}
            carry_out(context, "SETDOMAINALIASES", aliases)
        if given(body.settings):
            held = context.configuration(Target("domain", entry.name)).section(conf.SETTINGS)
            patch = dict.fromkeys(held) if body.settings is None else body.settings
            _update(context, entry, conf.SETTINGS, updating(patch, held))

    call.change(lambda context: resource(context, name), change)
    return _reply(call, name)


def delete_domain(call: Call) -> Reply:
    """DELETEDOMAIN."""
    name = call.path["domain"]

    def change(context: Context) -> None:
        arguments: Arguments = {"domainName": seen_domain(context, name).name}
        if call.query.force:
            arguments["FORCE"] = "FORCE"
        carry_out(context, "DELETEDOMAIN", arguments)

    call.change(lambda context: resource(context, name), change)
    return Reply()


def get_aliases(call: Call) -> Reply:
    reply = _reply(call, call.path["domain"])
    return Reply({"aliases": reply.body.aliases}, reply.version)


def put_aliases(call: Call) -> Reply:
    """SETDOMAINALIASES."""
    name = call.path["domain"]

    def change(context: Context) -> None:
        entry = seen_domain(context, name)
        aliases: Arguments = {"domainName": entry.name, "newAliases": list(call.body.aliases)}
        carry_out(context, "SETDOMAINALIASES", aliases)

    call.change(lambda context: resource(context, name), change)
    return get_aliases(call)


def section_handlers(section: str) -> tuple[Handler, Handler, Handler]:
    """GET, PUT and PATCH of a dictionary of a domain."""

    def get(call: Call) -> Reply:
        def look(context: Context) -> Reply:
            entry = seen_domain(context, call.path["domain"])
            version = version_of(context.log, Resource(f"domain/{entry.name}"))
            held = context.configuration(Target("domain", entry.name)).section(section)
            return Reply(shown_settings(held), version)

        return call.read(look)

    def put(call: Call) -> Reply:
        def change(context: Context) -> None:
            entry = seen_domain(context, call.path["domain"])
            held = context.configuration(Target("domain", entry.name)).section(section)
            values = replacing(call.body, held)
            arguments: Arguments = {"domainName": entry.name, "newSettings": values}
            carry_out(context, f"SET{_COMMANDS[section]}", arguments)

        call.change(lambda context: resource(context, call.path["domain"]), change)
        return get(call)

    def patch(call: Call) -> Reply:
        def change(context: Context) -> None:
            entry = seen_domain(context, call.path["domain"])
            held = context.configuration(Target("domain", entry.name)).section(section)
            _update(context, entry, section, updating(call.body, held))

        call.change(lambda context: resource(context, call.path["domain"]), change)
        return get(call)

    return get, put, patch


def _update(context: Context, entry: DomainEntry, section: str, values: dict[str, Value]) -> None:
    arguments: Arguments = {"domainName": entry.name, "newSettings": values}
    require(context, f"UPDATE{_COMMANDS[section]}", arguments)
    require_keys(context, values, keys_of("domain", section))
    carry_out(context, f"UPDATE{_COMMANDS[section]}", arguments)


def get_effective(call: Call) -> Reply:
    """GETDOMAINEFFECTIVESETTINGS: of several objects, so without an ETag."""

    def look(context: Context) -> Reply:
        entry = seen_domain(context, call.path["domain"])
        found = carry_out(context, "GETDOMAINEFFECTIVESETTINGS", {"domainName": entry.name})
        assert isinstance(found, dict)
        return Reply(shown_settings(found))

    return call.read(look)
