"""``pbx forwarder create|set|list|delete``: a name for another address."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pbx.cli.common import actor, add_options, data_directory
from pbx.cli.objects import add_list_and_delete, show_change

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.domain.objects import ObjectState


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("forwarder", help="forwarders: create, set, list, delete")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, what in (("create", "make one"), ("set", "let it stand for another address")):
        action = actions.add_parser(name, help=what)
        action.add_argument("forwarder", metavar="NAME@DOMAIN")
        action.add_argument(
            "target",
            metavar="ADDRESS",
            help="any address, here or elsewhere; without a domain it is of the forwarder's",
        )
        add_options(action)
        action.set_defaults(run=_create if name == "create" else _set)
    add_list_and_delete(actions, "forwarder", ("FORWARDER", "TARGET"), _as_json)


def _create(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        state = administrate.create_forwarder(arguments.forwarder, arguments.target)
    return show_change(arguments, state, f"stands for {state.target}", _as_json)


def _set(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        state = administrate.set_forwarder(arguments.forwarder, arguments.target)
    return show_change(arguments, state, f"stands for {state.target}", _as_json)


def _as_json(state: ObjectState) -> dict[str, object]:
    return {"forwarder": state.address, "target": state.target}
