"""What ``group``, ``forwarder``, ``list`` and ``task`` share: listing and deleting."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.domain.objects import ObjectState
    from pbx.router import ObjectKind

AsJson = Callable[["ObjectState"], dict[str, object]]


def add_list_and_delete(
    actions: Commands, word: str, heads: Sequence[str], as_json: AsJson
) -> argparse.ArgumentParser:
    """The two actions for objects of one kind; `heads` are the columns of :func:`as_json`.

    Returns the parser of the listing.
    """
    listing: argparse.ArgumentParser = actions.add_parser("list", help="list them")
    listing.add_argument("domain", nargs="?", help="of this domain only")
    add_options(listing)
    listing.set_defaults(run=lambda arguments: _list(arguments, word, heads, as_json))

    delete = actions.add_parser("delete", help="delete one")
    delete.add_argument("object", metavar="NAME@DOMAIN")
    add_options(delete)
    delete.set_defaults(run=lambda arguments: _delete(arguments, word))
    return listing


def show_change(
    arguments: argparse.Namespace, state: ObjectState, what: str, as_json: AsJson
) -> int:
    """What a command made of an object."""
    if arguments.json:
        print_json(as_json(state))
    else:
        print(f"{state.kind.value if state.kind else ''} {state.address} {what}")
    return 0


def _kind(word: str) -> ObjectKind:
    from pbx.domain.objects import KIND_OF_PREFIX

    return KIND_OF_PREFIX[word]


def _list(arguments: argparse.Namespace, word: str, heads: Sequence[str], as_json: AsJson) -> int:
    from pbx.cli.administration import reading_inventory
    from pbx.domain.accounts import domain_name

    with reading_inventory(data_directory(arguments)) as known:
        domain = ""
        if arguments.domain is not None:
            domain = known.domain_of(domain_name(arguments.domain))
            if not domain:
                raise DomainError(f"there is no domain {arguments.domain}; see: pbx domain list")
        found = known.objects_of(_kind(word), domain)
    found.sort(key=lambda state: (state.domain, state.name))
    rows = [as_json(state) for state in found]
    if arguments.json:
        print_json(rows)
    else:
        print_table(heads, [[_cell(row[head.lower()]) for head in heads] for row in rows])
    return 0


def _cell(value: object) -> str:
    return (" ".join(map(str, value)) if isinstance(value, list) else str(value)) or "-"


def _delete(arguments: argparse.Namespace, word: str) -> int:
    from pbx.cli.administration import administration

    with administration(data_directory(arguments), actor()) as administrate:
        address = administrate.delete_object(_kind(word), arguments.object)
    if arguments.json:
        print_json({word: address})
    else:
        print(f"{_kind(word).value} {address} deleted")
    return 0
