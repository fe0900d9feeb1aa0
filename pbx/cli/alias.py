"""``pbx alias add|remove|list``: other names of accounts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("alias", help="other names of accounts: add, remove, list")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="one more name, e.g. an extension")
    add.add_argument("alias", metavar="ALIAS", help="such as 401")
    add.add_argument("account", metavar="NAME@DOMAIN")
    add_options(add)
    add.set_defaults(run=_add)
    remove = actions.add_parser("remove", help="take a name away")
    remove.add_argument("alias", metavar="ALIAS@DOMAIN")
    add_options(remove)
    remove.set_defaults(run=_remove)
    listing = actions.add_parser("list", help="list them")
    add_options(listing)
    listing.set_defaults(run=_list)


def _add(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        account = administrate.add_alias(arguments.alias, arguments.account)
    code = _show(arguments, account.address, account.aliases)
    if account.has_password and not arguments.json:
        print(f"to log in by it set the password anew: pbx account passwd {account.address}")
    return code


def _remove(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        account = administrate.remove_alias(arguments.alias)
    return _show(arguments, account.address, account.aliases)


def _show(arguments: argparse.Namespace, address: str, names: tuple[str, ...]) -> int:
    if arguments.json:
        print_json({"account": address, "aliases": list(names)})
    else:
        print(f"account {address} is also {', '.join(names) or 'nothing else'}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import reading_inventory

    with reading_inventory(data_directory(arguments)) as found:
        rows = sorted(
            (f"{alias}@{domain}", f"{name}@{domain}") for alias, domain, name in found.aliases()
        )
    if arguments.json:
        print_json([{"alias": alias, "account": account} for alias, account in rows])
    else:
        print_table(("ALIAS", "ACCOUNT"), rows)
    return 0
