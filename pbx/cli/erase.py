"""``pbx erase ACCOUNT``: forget a person."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pbx.cli.common import actor, add_options, data_directory, print_json
from pbx.cli.reading import opened_read_model
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "erase",
        help="forget a person: delete the account, what its calls tell of it, and its key",
        description="Deletes the account, has call records, files and exports forget who it was in "
        "every ended call, and destroys the key of whatever was sealed for it. Times, causes and "
        "totals stay. Cannot be undone.",
    )
    parser.add_argument("account", metavar="NAME@DOMAIN")
    parser.add_argument("--yes", action="store_true", help="do it, do not only say what would be")
    add_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import stored_inventory
    from pbx.domain.accounts import account_address
    from pbx.erasure import erase
    from pbx.eventlog import open_keys, open_log
    from pbx.readmodel import queries

    account = "@".join(account_address(arguments.account))
    with opened_read_model(arguments) as database, database.read() as connection:
        calls = queries.calls_of(connection, account)
    if not arguments.yes:
        if arguments.json:
            print_json({"account": account, "calls": len(calls), "done": False})
        else:
            print(
                f"{account} is named in {len(calls)} calls. This cannot be undone; to do it: "
                f"pbx erase {account} --yes"
            )
        return 0
    data = data_directory(arguments)
    keys = open_keys(data.path)
    log = open_log(data.path, unseal="personal")
    try:
        with stored_inventory(data) as known:
            done = erase(log, account, calls, actor=actor(), destroy=keys.erase, inventory=known)
    finally:
        log.close()
    if not done.calls and not done.key_destroyed and not done.in_clear:
        raise DomainError(f"nothing is known of {account}")
    if arguments.json:
        print_json({**done._asdict(), "done": True})
        return 0
    print(f"{account}: {done.calls} calls tell of it no more")
    print("its key is destroyed" if done.key_destroyed else "it had no key")
    if done.in_clear:
        print(
            f"{done.in_clear} events of these calls and of its mail stay in the log in clear, "
            "since they were written while privacy.seal_calls was off"
        )
    return 0
