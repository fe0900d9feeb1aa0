"""``pbx domain create|list|alias|main|unknown|limits|delete``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "domain", help="domains: create, list, alias, main, unknown, limits, delete"
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    create = actions.add_parser("create", help="make a domain ours")
    create.add_argument("name", help="such as example.com")
    create.add_argument(
        "--alias", action="append", default=[], metavar="NAME", help="another name of it"
    )
    add_options(create)
    create.set_defaults(run=_create)

    listing = actions.add_parser("list", help="list the domains")
    add_options(listing)
    listing.set_defaults(run=_list)

    alias = actions.add_parser("alias", help="replace the other names of a domain")
    alias.add_argument("name")
    alias.add_argument("aliases", nargs="*", metavar="ALIAS", help="all of them; none: no more")
    add_options(alias)
    alias.set_defaults(run=_alias)

    main = actions.add_parser("main", help="show or choose the domain of addresses without one")
    main.add_argument("name", nargs="?")
    add_options(main)
    main.set_defaults(run=_main)

    unknown = actions.add_parser(
        "unknown", help="what becomes of addresses that nobody in a domain has"
    )
    unknown.add_argument("name")
    unknown.add_argument(
        "action", choices=("rejected", "discarded", "rerouted", "bounced"), metavar="ACTION",
        help="rejected, discarded, rerouted or, of mail, bounced",
    )  # fmt: skip
    unknown.add_argument(
        "address", nargs="?", default="", help="rerouted: where to; * is the unknown name"
    )
    unknown.add_argument(
        "--as", dest="kind", choices=("signal", "mail", "access"), default="signal",
        help="calls (signal, the default), mail, or log-ins (access)",
    )  # fmt: skip
    add_options(unknown)
    unknown.set_defaults(run=_unknown)

    limits = actions.add_parser("limits", help="show or set the limits of a domain")
    limits.add_argument("name")
    limits.add_argument("--calls", type=int, metavar="N", help="calls at once; -1: no limit")
    add_options(limits)
    limits.set_defaults(run=_limits)

    delete = actions.add_parser("delete", help="give a domain up; it must have no accounts")
    delete.add_argument("name")
    add_options(delete)
    delete.set_defaults(run=_delete)


def _create(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments, create=True), actor()) as administrate:
        name = administrate.create_domain(arguments.name, arguments.alias)
    if arguments.json:
        print_json({"domain": name})
    else:
        print(f"domain {name} created; next: pbx account create NAME@{name}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import reading_inventory

    with reading_inventory(data_directory(arguments)) as found:
        rows = [(domain.name, size, domain.aliases) for domain, size in found.domain_sizes()]
    if arguments.json:
        print_json(
            [
                {"domain": name, "accounts": accounts, "aliases": list(aliases)}
                for name, accounts, aliases in rows
            ]
        )
    else:
        print_table(
            ("DOMAIN", "ACCOUNTS", "ALIASES"),
            [(name, accounts, " ".join(aliases) or "-") for name, accounts, aliases in rows],
        )
    return 0


def _alias(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        domain = administrate.set_domain_aliases(arguments.name, arguments.aliases)
    if arguments.json:
        print_json({"domain": domain.name, "aliases": list(domain.aliases)})
    else:
        print(f"domain {domain.name} is also {', '.join(domain.aliases) or 'nothing else'}")
    return 0


def _main(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration, reading_inventory

    if arguments.name is None:
        with reading_inventory(data_directory(arguments)) as found:
            name = found.main_domain
    else:
        with administration(data_directory(arguments), actor()) as administrate:
            name = administrate.set_main_domain(arguments.name)
    if arguments.json:
        print_json({"main_domain": name})
    else:
        print(f"the Main Domain is {name}" if name else "there is no domain yet")
    return 0


def _unknown(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration
    from pbx.router import Kind, Unknown

    actions = {
        "rejected": Unknown.REJECT, "discarded": Unknown.DISCARD, "rerouted": Unknown.REROUTE,
        "bounced": Unknown.BOUNCE,
    }  # fmt: skip
    with administration(data_directory(arguments), actor()) as administrate:
        values = administrate.set_unknown(
            arguments.name, Kind(arguments.kind), actions[arguments.action], arguments.address
        )
    if arguments.json:
        print_json(values)
    else:
        print("\n".join(f"{key} = {value}" for key, value in values.items()))
    return 0


def _limits(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import rule_administration

    with rule_administration(data_directory(arguments), actor()) as administrate:
        if arguments.calls is not None:
            calls = administrate.set_domain_limit(arguments.name, arguments.calls)
        else:
            calls = administrate.state(arguments.name).calls_limit
    if arguments.json:
        print_json({"domain": arguments.name, "calls_limit": calls})
    else:
        print(f"domain {arguments.name}: calls {'unlimited' if calls < 0 else calls}")
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        name = administrate.delete_domain(arguments.name)
    if arguments.json:
        print_json({"domain": name})
    else:
        print(f"domain {name} deleted")
    return 0
