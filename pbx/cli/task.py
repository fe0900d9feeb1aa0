"""``pbx task``: named tasks (create, set, list, delete), and applications that run now (list
--running, start, send, kill, status)."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table
from pbx.cli.objects import add_list_and_delete, show_change

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.domain.objects import ObjectState
    from pbx.voice.control_client import ControlClient


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "task", help="applications that run: start, send, kill, status; named tasks: create, set …"
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name, what in (("create", "make one"), ("set", "change what is given")):
        action = actions.add_parser(name, help=f"named tasks: {what}")
        new = name == "create"
        action.add_argument("task", metavar="NAME@DOMAIN")
        action.add_argument("--owner", required=new, metavar="NAME", help="account it runs for")
        action.add_argument("--program", required=new, metavar="APP", help="application to run")
        action.add_argument("--name", metavar="TEXT", help="display name")
        add_options(action)
        action.set_defaults(run=_create if new else _set)
    heads = ("TASK", "OWNER", "PROGRAM", "NAME")
    listing = add_list_and_delete(actions, "task", heads, _as_json)
    listing.add_argument(
        "--running", action="store_true", help="the applications that run on this node now"
    )
    named = listing.get_default("run")
    listing.set_defaults(
        run=lambda arguments: _running(arguments) if arguments.running else named(arguments)
    )
    _register_running(actions)


def _register_running(actions: Commands) -> None:
    start = actions.add_parser("start", help="run an application without a call")
    start.add_argument("account", metavar="NAME@DOMAIN", help="whose name it runs under")
    start.add_argument("program", metavar="APP", help="name of the program")
    start.add_argument("--entry", default="main", help="the entry to start (default: main)")
    _add_parameter(start, "startParameter, such as '(\"401\")'")
    add_options(start)
    start.set_defaults(run=_start)

    send = actions.add_parser("send", help="send an event to a running application")
    send.add_argument("task", metavar="ID")
    send.add_argument("event", metavar="EVENT", help="its name")
    _add_parameter(send, "what it carries")
    add_options(send)
    send.set_defaults(run=_send)

    kill = actions.add_parser("kill", help="end a running application; its caller is hung up on")
    kill.add_argument("task", metavar="ID")
    add_options(kill)
    kill.set_defaults(run=_kill)

    status = actions.add_parser("status", help="a running application: where it is, its status")
    status.add_argument("task", metavar="ID")
    add_options(status)
    status.set_defaults(run=_status)


def _add_parameter(action: argparse.ArgumentParser, what: str) -> None:
    action.add_argument(
        "--param", default="", metavar="OBJECT", help=f"{what}; an object of the data format"
    )


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


# Applications that run now.


def _client(arguments: argparse.Namespace) -> ControlClient:
    from pbx.voice.control_client import ControlClient

    return ControlClient(data_directory(arguments).control_socket)


def _running(arguments: argparse.Namespace) -> int:
    domain = (arguments.domain or "").lower()
    rows = [
        one
        for one in _client(arguments).running()
        if not domain or one.account.rpartition("@")[2] == domain
    ]
    if arguments.json:
        print_json([asdict(one) for one in rows])
    else:
        print_table(
            ("ID", "PROGRAM", "ACCOUNT", "CALL", "AT"),
            [
                (one.task_id, one.program, one.account or "-", one.state, one.position or "-")
                for one in rows
            ],
        )
    return 0


def _start(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import reading_inventory
    from pbx.domain.accounts import account_address
    from pbx.kernel.errors import DomainError
    from pbx.voice.control_wire import value_of

    name, domain = account_address(arguments.account)
    with reading_inventory(data_directory(arguments)) as known:
        account = known.account_of(name, known.domain_of(domain) or domain)
    if not account:
        raise DomainError(f"there is no account {name}@{domain}; see: pbx account list")
    task_id = _client(arguments).start(
        arguments.program,
        account=account,
        entry=arguments.entry,
        parameter=value_of(arguments.param),
        actor=actor(),
    )
    if arguments.json:
        print_json({"task": task_id, "program": arguments.program, "account": account})
    else:
        print(task_id)
    return 0


def _send(arguments: argparse.Namespace) -> int:
    from pbx.voice.control_wire import value_of

    _client(arguments).send_event(arguments.task, arguments.event, value_of(arguments.param))
    return _done(arguments, f"event {arguments.event} sent to {arguments.task}")


def _kill(arguments: argparse.Namespace) -> int:
    _client(arguments).kill(arguments.task, actor=actor())
    return _done(arguments, f"{arguments.task} ended")


def _done(arguments: argparse.Namespace, text: str) -> int:
    if arguments.json:
        print_json({"task": arguments.task})
    else:
        print(text)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    found = _client(arguments).describe(arguments.task)
    if arguments.json:
        print_json(asdict(found))
        return 0
    print(f"{found.task_id} runs {found.program} for {found.account or 'nobody'}")
    print(f"  call: {found.state}")
    for what, value in (
        ("named", found.name),
        ("spawned by", found.parent),
        ("at", found.position),
        ("status", found.status),
    ):
        if value:
            print(f"  {what}: {value}")
    return 0
