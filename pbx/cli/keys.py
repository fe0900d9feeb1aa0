"""``pbx keys list|move``: the keys of sealed fields."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pbx.cli.common import add_options, data_directory, print_json, print_table
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("keys", help="keys of sealed fields: list, move")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="who has one (the keys themselves are never shown)")
    add_options(listing)
    listing.set_defaults(run=_list)

    move = actions.add_parser(
        "move",
        help="move them from the file into PostgreSQL, for nodes that share a log",
        description="Copies the keys of this data directory to the database and uses them there "
        "from now on. Stop the server before. Run it on every node of a cluster with the same URL: "
        "a key that is there already stays.",
    )
    move.add_argument("url", help="postgresql://user:password@host/database")
    add_options(move)
    move.set_defaults(run=_move)


def _list(arguments: argparse.Namespace) -> int:
    from pbx.eventlog import open_key_store

    subjects = open_key_store(data_directory(arguments).path).subjects()
    if arguments.json:
        print_json(subjects)
    else:
        print_table(("SUBJECT",), [(subject,) for subject in subjects])
    return 0


def _move(arguments: argparse.Namespace) -> int:
    from pbx.eventlog import open_key_store, shared_key_store, use_keys

    data = data_directory(arguments)
    if not arguments.url.startswith(("postgresql://", "postgres://")):
        raise DomainError("keys move to PostgreSQL: give postgresql://user:password@host/database")
    source, target = open_key_store(data.path), shared_key_store(arguments.url)
    moved = 0
    for subject in source.subjects():
        key = source.get(subject)
        if key is not None:
            target.put(subject, key)
            moved += 1
    for subject in source.subjects():
        if source.get(subject) != target.get(subject):
            raise DomainError(
                f"{subject} has another key in the database: these are keys of another log; "
                "nothing is changed here"
            )
    use_keys(data.path, arguments.url)
    if arguments.json:
        print_json({"moved": moved})
    else:
        print(f"{moved} keys are in the database; keys.sqlite3 is not used any more: delete it")
    return 0
