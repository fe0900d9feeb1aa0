"""``pbx route ADDRESS``: what the Router makes of an address, step by step."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pbx.cli.common import add_options, data_directory, print_json, settings_of
from pbx.cli.reading import opened_log, parse_moment

if TYPE_CHECKING:
    from pbx.calls.directory import Directory
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "route",
        help="tell what an address means, and why",
        description="Prints each step with the line of the Router table or the object that caused "
        "it, then the result: module, host and address. Nothing is called and nothing changes.",
    )
    parser.add_argument("address", help="such as 401@example.com, +4930123456 or sip:x@host")
    parser.add_argument(
        "--as", dest="kind", choices=("signal", "mail", "access"), default="signal",
        help="for a call (signal, the default), for mail, or for a log-in (access)",
    )  # fmt: skip
    parser.add_argument(
        "--by",
        default="",
        metavar="NAME@DOMAIN",
        help="the account that calls; default: a stranger",
    )
    parser.add_argument(
        "--at", metavar="TIME", type=parse_moment,
        help="with the configuration of that time: 2026-01-31T08:00 (UTC), 15m, 2h, 3d ago",
    )  # fmt: skip
    add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the decision; the exit status is 1 if the address is refused."""
    from pbx.calls.tracing import traced_call
    from pbx.domain.accounts import account_address
    from pbx.router import Kind, Outcome

    directory = _directory(arguments)
    kind = Kind(arguments.kind)
    caller = "@".join(account_address(arguments.by)) if arguments.by else ""
    found, shown, barred = traced_call(
        arguments.address,
        kind,
        directory,
        caller=caller,
        emergency_numbers=settings_of(arguments).limits.emergency_numbers,
    )
    if arguments.json:
        print_json(shown)
        return 0 if (found.reached or not found.status) and not barred else 1
    for number, line in enumerate(shown["steps"], 1):
        print(f"{number:>3}  {line}")
    for member in shown["members"]:
        print(f"     member {member['address']}: {member['outcome']}")
    if found.status:
        print(f"refused with {found.status}: {found.reason or found.outcome.value}")
        return 1
    if barred:
        print(f"refused with 403: {barred}")
        return 1
    port = f":{found.port}" if found.port else ""
    marked = found.relay and found.outcome is Outcome.FOREIGN
    relay = ", for everybody (relay mark)" if marked else ""
    reached = f"{shown['module']} {shown['host']}{port} {shown['address']}"
    print(f"{found.outcome.value}: {reached}".rstrip() + relay)
    return 0


def _directory(arguments: argparse.Namespace) -> Directory:
    """The configuration now, or as it was: then it is folded from the log."""
    from pbx.addresses import own_hosts
    from pbx.calls.directory import Directory
    from pbx.calls.stored_directory import StoredDirectory
    from pbx.configdb import open_config
    from pbx.domain.accounts import CONFIG

    with opened_log(arguments) as log:
        if arguments.at is None:
            config = open_config(data_directory(arguments).path)
            config.advance(log)
            directory: Directory = StoredDirectory(config.reader(), log.codec.decode)
        else:
            directory = Directory()
            for record in log.read(category=CONFIG):
                if record.time_ns <= arguments.at:
                    directory.apply(record.stream, record.event)
    directory.set_own_hosts(own_hosts(settings_of(arguments)))
    return directory
