"""``pbx account create|import|list|passwd|limits|rights|control|delete``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from pbx.cli import control
from pbx.cli.common import actor, add_options, data_directory, print_json, print_table
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.domain.accounts import AccountState


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "account", help="accounts: create, import, list, passwd, limits, rights, control, delete"
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    create = actions.add_parser("create", help="create an account")
    create.add_argument("account", metavar="NAME@DOMAIN")
    create.add_argument("--name", default="", metavar="TEXT", help="display name")
    _add_password_options(create)
    add_options(create)
    create.set_defaults(run=_create)

    listing = actions.add_parser("list", help="list the accounts")
    listing.add_argument("domain", nargs="?", help="of this domain only")
    add_options(listing)
    listing.set_defaults(run=_list)

    passwd = actions.add_parser("passwd", help="set a new password")
    passwd.add_argument("account", metavar="NAME@DOMAIN")
    _add_password_options(passwd)
    add_options(passwd)
    passwd.set_defaults(run=_passwd)

    limits = actions.add_parser("limits", help="show or set the limits of an account")
    limits.add_argument("account", metavar="NAME@DOMAIN")
    limits.add_argument("--calls", type=int, metavar="N", help="calls at once; -1: no limit")
    limits.add_argument("--contacts", type=int, metavar="N", help="phones registered at once")
    add_options(limits)
    limits.set_defaults(run=_limits)

    rights = actions.add_parser(
        "rights",
        help="show or set what an account may administrate",
        description="Without codes the rights are shown. Master may do anything (accounts of the "
        "main domain only); Domain with others, such as CanCreateAccounts, makes an administrator "
        "of the account's domain; none takes all away.",
    )
    rights.add_argument("account", metavar="NAME@DOMAIN")
    rights.add_argument("codes", metavar="CODE", nargs="*", help="Master, UserAccounts, Domain, …")
    add_options(rights)
    rights.set_defaults(run=_rights)

    imported = actions.add_parser(
        "import",
        help="make the accounts of a text file",
        description="The file is UTF-8; fields are separated by one TAB; the first line names the "
        "columns: Name, and any of RealName, Password, Aliases, Telnums, Type and settings. A line "
        "that cannot be used is told with its number, the others become accounts; accounts that "
        "exist stay as they are, so an import may be given again. The exit status is 1 if there "
        "are lines that cannot be used.",
    )
    imported.add_argument("file", metavar="FILE", help="the file; - for standard input")
    imported.add_argument(
        "--domain", default="", metavar="NAME", help="domain of names without one (name@domain)"
    )
    imported.add_argument(
        "--dry-run", action="store_true", help="only tell what would be made and refused"
    )
    imported.add_argument(
        "--refused", metavar="FILE", help="write the refused lines there, to be mended"
    )
    add_options(imported)
    imported.set_defaults(run=_import)

    control.register(actions)

    delete = actions.add_parser("delete", help="delete an account and erase its secrets")
    delete.add_argument("account", metavar="NAME@DOMAIN")
    add_options(delete)
    delete.set_defaults(run=_delete)


def _add_password_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--password", metavar="TEXT", help="the password (other users of the machine can see it)"
    )
    source.add_argument(
        "--password-stdin", action="store_true", help="read it from the first line of the input"
    )


def _password(arguments: argparse.Namespace) -> tuple[str, bool]:
    """The password, and whether it was made up and must be shown."""
    from pbx.cli.administration import generate_password
    from pbx.commands import WEAK_PASSWORD

    if arguments.password is None and not arguments.password_stdin:
        return generate_password(), True
    password: str = arguments.password
    if arguments.password_stdin:
        line = sys.stdin.readline()
        if not line:
            raise DomainError("no password on standard input")
        password = line.rstrip("\r\n")
    if len(password) < WEAK_PASSWORD:
        print("pbx: a weak password: phones are guessed at all day", file=sys.stderr)
    return password, False


def _create(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    password, made_up = _password(arguments)
    with administration(data_directory(arguments), actor()) as administrate:
        account = administrate.create_account(arguments.account, password, arguments.name)
    return _show_password(arguments, account, "created", password if made_up else "")


def _import(arguments: argparse.Namespace) -> int:
    from pbx.cli.account_import import run

    return run(arguments)


def _passwd(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    password, made_up = _password(arguments)
    with administration(data_directory(arguments), actor()) as administrate:
        account = administrate.set_password(arguments.account, password)
    return _show_password(arguments, account, "has a new password", password if made_up else "")


def _show_password(
    arguments: argparse.Namespace, account: AccountState, what: str, made_up: str
) -> int:
    if arguments.json:
        shown = {"account": account.address}
        print_json(shown | {"password": made_up} if made_up else shown)
        return 0
    print(f"account {account.address} {what}")
    if made_up:
        print(f"password {made_up} (shown this once; only digests of it are kept)")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import reading_inventory
    from pbx.domain.accounts import domain_name

    with reading_inventory(data_directory(arguments)) as found:
        if arguments.domain is None:
            accounts = list(found.accounts.values())
        else:
            name = domain_name(arguments.domain)
            if name not in found.domains:
                raise DomainError(f"there is no domain {name}; see: pbx domain list")
            accounts = found.accounts_of(name)
    accounts.sort(key=lambda account: (account.domain, account.name))
    if arguments.json:
        print_json([_as_json(account) for account in accounts])
    else:
        print_table(
            ("ACCOUNT", "NAME", "PASSWORD", "CALLS", "CONTACTS", "ALSO KNOWN AS"),
            [
                (
                    account.address,
                    account.display_name or "-",
                    "set" if account.has_password else "none",
                    _limit(account.calls_limit),
                    account.max_contacts,
                    " ".join((*account.aliases, *account.telnums)) or "-",
                )
                for account in accounts
            ],
        )
    return 0


def _limits(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        account = administrate.set_limits(arguments.account, arguments.calls, arguments.contacts)
    if arguments.json:
        print_json(_as_json(account))
    else:
        print(
            f"account {account.address}: calls {_limit(account.calls_limit)}, "
            f"contacts {account.max_contacts}"
        )
    return 0


def _rights(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import settings_changes
    from pbx.domain.accounts import account_address
    from pbx.settings_changes import Target, read

    name, domain = account_address(arguments.account)
    address = f"{name}@{domain}"
    with settings_changes(data_directory(arguments), actor()) as (log, changes):
        if arguments.codes:
            wanted = [code for code in arguments.codes if code.lower() != "none"]
            changes.set_rights(address, wanted)
        state, _ = read(log, Target("account", address))
    if not state.exists:
        raise DomainError(f"there is no account {address}; see: pbx account list")
    if arguments.json:
        print_json({"account": address, "rights": list(state.rights)})
    else:
        print(f"account {address}: {' '.join(state.rights) or 'no rights'}")
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        address = administrate.delete_account(arguments.account)
    if arguments.json:
        print_json({"account": address})
    else:
        print(f"account {address} deleted")
    return 0


def _as_json(account: AccountState) -> dict[str, object]:
    return {
        "account": account.address,
        "name": account.name,
        "domain": account.domain,
        "display_name": account.display_name,
        "has_password": account.has_password,
        "calls_limit": account.calls_limit,
        "max_contacts": account.max_contacts,
        "aliases": list(account.aliases),
        "telnums": list(account.telnums),
    }


def _limit(value: int) -> str:
    return "unlimited" if value < 0 else str(value)
