"""``pbx group create|add|remove|set|list|delete``: members that ring together."""

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
    parser = commands.add_parser("group", help="groups: create, add, remove, set, list, delete")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, run, what in (
        ("create", _create, "make a group"),
        ("add", _add, "add members"),
        ("remove", _remove, "take members out"),
    ):
        action = actions.add_parser(name, help=what)
        action.add_argument("group", metavar="NAME@DOMAIN")
        action.add_argument(
            "members",
            nargs="*" if name == "create" else "+",
            metavar="MEMBER",
            help="an address; without a domain it is of the group's",
        )
        if name == "create":
            action.add_argument("--name", default="", metavar="TEXT", help="display name")
        add_options(action)
        action.set_defaults(run=run)
    change = actions.add_parser("set", help="change name or options")
    change.add_argument("group", metavar="NAME@DOMAIN")
    change.add_argument("--name", metavar="TEXT", help="display name")
    change.add_argument(
        "--option",
        action="append",
        metavar="NAME",
        help="an option that is on, such as SignalDisabled; those not named are off",
    )
    change.add_argument("--no-options", action="store_true", help="switch all options off")
    add_options(change)
    change.set_defaults(run=_set)
    add_list_and_delete(actions, "group", ("GROUP", "NAME", "MEMBERS", "OPTIONS"), _as_json)


def _create(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        state = administrate.create_group(arguments.group, arguments.members, arguments.name)
    return show_change(arguments, state, "created", _as_json)


def _add(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        state = administrate.add_members(arguments.group, arguments.members)
    return show_change(arguments, state, f"has {_members(state)}", _as_json)


def _remove(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        state = administrate.remove_members(arguments.group, arguments.members)
    return show_change(arguments, state, f"has {_members(state)}", _as_json)


def _set(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    options = [] if arguments.no_options else arguments.option
    with administration(data_directory(arguments), actor()) as administrate:
        state = administrate.set_group(arguments.group, real_name=arguments.name, options=options)
    return show_change(arguments, state, f"options {' '.join(state.options) or 'none'}", _as_json)


def _members(state: ObjectState) -> str:
    return f"{len(state.members)} member{'' if len(state.members) == 1 else 's'}"


def _as_json(state: ObjectState) -> dict[str, object]:
    return {
        "group": state.address,
        "name": state.real_name,
        "members": list(state.members),
        "options": list(state.options),
    }
