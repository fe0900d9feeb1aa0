"""``pbx telnum add|remove|list``: telephone numbers of accounts."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("telnum", help="telephone numbers: add, remove, list")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="assign a number to an account")
    add.add_argument("number", metavar="NUMBER", help="such as +74951234567")
    add.add_argument("account", metavar="NAME@DOMAIN")
    add_options(add)
    add.set_defaults(run=_add)
    remove = actions.add_parser("remove", help="take a number away from whoever has it")
    remove.add_argument("number", metavar="NUMBER")
    add_options(remove)
    remove.set_defaults(run=_remove)
    listing = actions.add_parser("list", help="list them")
    add_options(listing)
    listing.set_defaults(run=_list)


def _add(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        account = administrate.add_telnum(arguments.number, arguments.account)
    return _show(arguments, account.address, account.telnums)


def _remove(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        account = administrate.remove_telnum(arguments.number)
    return _show(arguments, account.address, account.telnums)


def _show(arguments: argparse.Namespace, address: str, numbers: tuple[str, ...]) -> int:
    if arguments.json:
        print_json({"account": address, "telnums": list(numbers)})
    else:
        print(f"account {address} has {', '.join(numbers) or 'no number'}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import reading_inventory

    with reading_inventory(data_directory(arguments)) as found:
        rows = sorted(found.telnums())
    if arguments.json:
        print_json([{"telnum": number, "account": account} for number, account in rows])
    else:
        print_table(("NUMBER", "ACCOUNT"), rows)
    return 0
