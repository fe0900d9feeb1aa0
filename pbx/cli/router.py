"""``pbx router show|set|check``: the Router table."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from pbx.cli.common import actor, add_options, data_directory, print_json
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.router import Record


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("router", help="the Router table: show, set, check")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    show = actions.add_parser("show", help="print the table as it was written")
    _add_cluster(show)
    add_options(show)
    show.set_defaults(run=_show)

    write = actions.add_parser("set", help="replace the table by a file, if every line is right")
    write.add_argument("file", help="the table; - for standard input")
    _add_cluster(write)
    add_options(write)
    write.set_defaults(run=_set)

    check = actions.add_parser("check", help="read a file and say what is wrong, changing nothing")
    check.add_argument("file", help="the table; - for standard input")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cluster", action="store_true", help="the table of the whole cluster, read after this one"
    )


def _table(arguments: argparse.Namespace) -> str:
    from pbx.domain.server import CLUSTER_TABLE, SERVER_TABLE

    return CLUSTER_TABLE if arguments.cluster else SERVER_TABLE


def read_table(name: str) -> str:
    """The text of a file, byte for byte as far as it is text."""
    try:
        if name == "-":
            return sys.stdin.buffer.read().decode("utf-8")
        with open(name, encoding="utf-8", newline="") as file:
            return file.read()
    except OSError as error:
        raise DomainError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DomainError(f"{name} is not UTF-8: byte {error.start}") from None


def _show(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import reading_inventory
    from pbx.router.table import usable_table

    with reading_inventory(data_directory(arguments)) as found:
        text = found.server.table(_table(arguments))
    if arguments.json:
        records = usable_table(text, _table(arguments)).records
        print_json({"text": text, "records": [_as_json(record) for record in records]})
    else:
        sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")
    return 0


def _set(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import administration

    text = read_table(arguments.file)
    with administration(data_directory(arguments), actor()) as administrate:
        table = administrate.set_router_table(text, _table(arguments))
    return _count(arguments, len(table.records), "the Router table has")


def _check(arguments: argparse.Namespace) -> int:
    from pbx.router import parse_table

    table = parse_table(read_table(arguments.file))
    return _count(arguments, len(table.records), f"{arguments.file} is right:")


def _count(arguments: argparse.Namespace, records: int, what: str) -> int:
    if arguments.json:
        print_json({"records": records})
    else:
        print(f"{what} {records} record{'' if records == 1 else 's'}")
    return 0


def _as_json(record: Record) -> dict[str, object]:
    return {
        "line": record.line,
        "text": record.text,
        "kind": "all" if record.kind is None else record.kind.value,
        "relay": record.relay.value,
    }
