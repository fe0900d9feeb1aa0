"""``pbx list create|set|list|delete``: mailing lists.

They are kept and routed to; what they do with a message is the mail part's.
"""

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
    parser = commands.add_parser("list", help="mailing lists: create, set, list, delete")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, what in (("create", "make one"), ("set", "give it to another owner")):
        action = actions.add_parser(name, help=what)
        action.add_argument("list", metavar="NAME@DOMAIN")
        action.add_argument("--owner", required=True, metavar="NAME", help="account of its domain")
        add_options(action)
        action.set_defaults(run=_create if name == "create" else _set)
    add_list_and_delete(actions, "list", ("LIST", "OWNER"), _as_json)


def _create(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        state = administrate.create_list(arguments.list, arguments.owner)
    return show_change(arguments, state, f"belongs to {state.owner}", _as_json)


def _set(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        state = administrate.set_list(arguments.list, arguments.owner)
    return show_change(arguments, state, f"belongs to {state.owner}", _as_json)


def _as_json(state: ObjectState) -> dict[str, object]:
    return {"list": state.address, "owner": state.owner, "settings": dict(state.settings or {})}
