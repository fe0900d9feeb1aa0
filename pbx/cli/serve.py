"""``pbx serve``: start a server and keep it running until it is told to stop."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pbx.cli.common import add_options, settings_of
from pbx.datadir import DataDirectory
from pbx.kernel.errors import DomainError
from pbx.settings import (
    CLI_LISTENER,
    LISTENER,
    PLACE,
    Listener,
    kafka_servers,
    parse_cli_listener,
    parse_listener,
    parse_place,
)
from pbx.settings_source import Raw

if TYPE_CHECKING:
    from pbx.cli.common import Commands

DEV_CLI: Final = "127.0.0.1:10106"
DEV_LISTENERS: Final = (Listener("udp", "127.0.0.1", 5060), Listener("tcp", "127.0.0.1", 5060))


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "serve",
        help="run a server",
        description="Runs a server in the foreground. Prints `listening HOST:PORT/transport` for "
        "each socket and then `ready` when it answers. SIGTERM or Ctrl-C ends the calls and stops "
        "it; a second one stops it at once.",
    )
    parser.add_argument(
        "--sip",
        action="append",
        type=_listener,
        metavar="HOST:PORT[/udp|tcp|tls]",
        help="take SIP here (repeatable; port 0 picks a free one)",
    )
    parser.add_argument(
        "--cli",
        action="append",
        type=_cli_listener,
        metavar="HOST:PORT[/tls]",
        help="take commands of administrators here (repeatable)",
    )
    parser.add_argument(
        "--admin",
        type=_place,
        metavar="HOST:PORT|off",
        help="listen for the API here (port 0 picks a free one)",
    )
    parser.add_argument("--dev", action="store_true", help="listen on this machine only")
    parser.add_argument(
        "--demo", action="store_true", help="make two accounts on first start and print them"
    )
    add_options(parser, json_output=False)
    parser.set_defaults(run=_run)


def _listener(text: str) -> Listener:
    try:
        return parse_listener(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {LISTENER.words}") from None


def _cli_listener(text: str) -> Listener:
    try:
        return parse_cli_listener(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {CLI_LISTENER.words}") from None


def _place(text: str) -> str:
    try:
        return parse_place(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {PLACE.words}") from None


def _run(arguments: argparse.Namespace) -> int:
    from pbx.app import serve
    from pbx.cli.administration import install
    from pbx.cli.demo import prepare_demo
    from pbx.roles import set_up_logging

    listeners = arguments.sip or (DEV_LISTENERS if arguments.dev else None)
    overrides: Raw = {}
    if listeners is not None:
        overrides["sip"] = {"listen": [str(listener) for listener in listeners]}
    if arguments.cli is not None or arguments.dev:
        overrides["cli"] = {"listen": [str(listener) for listener in arguments.cli or ()]}
        if arguments.cli is None:
            overrides["cli"]["listen"] = [DEV_CLI]
    if arguments.admin is not None:
        overrides["web"] = {"admin_listen": arguments.admin}
        if arguments.admin == "off":
            overrides["web"]["admin_tls_listen"] = "off"
    settings = settings_of(arguments, overrides)
    set_up_logging(settings.log, "server")
    data = DataDirectory(Path(settings.server.data))
    if arguments.demo:
        if kafka_servers(settings.eventlog.engine):
            raise DomainError(
                "--demo makes accounts of one machine alone; on a cluster make them by pbx account"
            )
        prepare_demo(data, settings)
    if not kafka_servers(settings.eventlog.engine):  # of a cluster's log, the log role knows more
        install(data)
    return serve(data, settings)
