"""``pbx domain create|list|delete``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("domain", help="SIP domains: create, list, delete")
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
    from pbx.cli.administration import read_inventory

    found = read_inventory(data_directory(arguments))
    rows = [
        (domain.name, len(found.accounts_of(domain.name)), domain.aliases)
        for domain in found.domains.values()
    ]
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


def _delete(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        name = administrate.delete_domain(arguments.name)
    if arguments.json:
        print_json({"domain": name})
    else:
        print(f"domain {name} deleted")
    return 0
