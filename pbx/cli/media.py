"""``pbx media``: the media service alone, for other SIP servers that speak the NG protocol."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pbx.cli.common import add_options, settings_of
from pbx.settings import NG, parse_ng
from pbx.settings_source import Raw

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "media",
        help="run the media service alone",
        description="Runs the media service for Kamailio, OpenSIPS or any other client of the NG "
        "protocol. `pbx serve` runs one by itself.",
    )
    parser.add_argument(
        "--ng", type=_ng, metavar="HOST:PORT", help="take the NG protocol here (default: media.ng)"
    )
    add_options(parser, json_output=False)
    parser.set_defaults(run=_run)


def _ng(text: str) -> str:
    try:
        return parse_ng(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {NG.words}") from None


def _run(arguments: argparse.Namespace) -> int:
    from pbx.media_role import media_config, run_with
    from pbx.roles import set_up_logging

    overrides: Raw = {} if arguments.ng is None else {"media": {"ng": arguments.ng}}
    settings = settings_of(arguments, overrides)
    set_up_logging(settings.log, "media")
    config = media_config(
        settings,
        None,
        on_listening=lambda place: print(f"listening {place}", flush=True),
        on_ready=lambda: print("ready", flush=True),
    )
    return run_with(config)
