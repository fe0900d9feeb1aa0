"""``pbx task create|set|list|delete``: names whose signals go to one running application."""

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
    parser = commands.add_parser("task", help="named tasks: create, set, list, delete")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, what in (("create", "make one"), ("set", "change what is given")):
        action = actions.add_parser(name, help=what)
        new = name == "create"
        action.add_argument("task", metavar="NAME@DOMAIN")
        action.add_argument("--owner", required=new, metavar="NAME", help="account it runs for")
        action.add_argument("--program", required=new, metavar="APP", help="application to run")
        action.add_argument("--name", metavar="TEXT", help="display name")
        add_options(action)
        action.set_defaults(run=_create if new else _set)
    add_list_and_delete(actions, "task", ("TASK", "OWNER", "PROGRAM", "NAME"), _as_json)


def _create(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        state = administrate.create_task(arguments.task, arguments.owner, arguments.program)
        if arguments.name:
            state = administrate.set_task(arguments.task, real_name=arguments.name)
    return show_change(arguments, state, f"runs {state.program} for {state.owner}", _as_json)


def _set(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        state = administrate.set_task(
            arguments.task, arguments.owner, arguments.program, arguments.name
        )
    return show_change(arguments, state, f"runs {state.program} for {state.owner}", _as_json)


def _as_json(state: ObjectState) -> dict[str, object]:
    return {
        "task": state.address,
        "owner": state.owner,
        "program": state.program,
        "name": state.real_name,
    }
