"""``pbx trunk list|status|register-now``: registrations with providers.

Made of the configuration (which records there are) and of what the nodes wrote about them; nobody
reads passwords here. What changes something is in :mod:`pbx.cli.trunk_changes`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from pbx.cli import trunk_changes
from pbx.cli.common import actor, add_options, data_directory, print_json, print_table
from pbx.cli.reading import as_json, opened_log, show_duration, show_time
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.domain.trunks import TrunkState
    from pbx.eventlog import EventLog
    from pbx.trunks.records import RecordKey, RsipRecord

_STEP_S: Final = 0.1
_WAIT_S: Final = 10.0
_NS_PER_MS: Final = 1_000_000


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("trunk", help="providers and gateways: set, list, status")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="list the records of all accounts and their state")
    listing.add_argument("account", nargs="?", default="", metavar="NAME@DOMAIN")
    add_options(listing)
    listing.set_defaults(run=_list)

    status = actions.add_parser("status", help="everything that is known of one record")
    _named(status)
    status.set_defaults(run=_status)

    now = actions.add_parser(
        "register-now",
        help="register at once, whatever the record waits for",
        description="Asks the node that registers the record to do it now, and waits for what "
        "comes of it. The exit status is 1 if that is no registration.",
    )
    _named(now)
    now.add_argument(
        "--wait", type=float, default=_WAIT_S, metavar="SECONDS",
        help="how long to wait for the outcome (default: 10; 0 does not wait)",
    )  # fmt: skip
    now.set_defaults(run=_register_now)

    trunk_changes.register(actions)


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account", metavar="NAME@DOMAIN", help="whose record it is")
    parser.add_argument("record", nargs="?", default="", help="its name, if there are several")
    add_options(parser)


Row = tuple["RecordKey", "RsipRecord | str", "TrunkState"]


def _rows(log: EventLog, only: str = "") -> Iterator[Row]:
    """Each record that is configured, and what the log says of it."""
    from pbx.domain.trunks import NOTHING, PREFIX, Trunks, evolve_trunks
    from pbx.trunks.records import RecordBook

    book = RecordBook()
    types = ("account.settings-changed.v1", "account.deleted.v1")
    for record in log.read(category="pbx.config", types=types):
        book.apply(record.stream, record.event)
    states: dict[str, Trunks] = {}
    for record in log.read(category="pbx.nodes", types=_STATES):
        if record.stream.startswith(PREFIX):
            account = record.stream.removeprefix(PREFIX)
            states[account] = evolve_trunks(
                states.get(account, NOTHING), record.event,
                version=record.version, node=record.node, time_ns=record.time_ns,
            )  # fmt: skip
    for account in sorted(book.accounts()):
        if only in ("", account):
            for key, found in book.of(account):
                yield key, found, states.get(account, NOTHING).of(key.name)


_STATES: Final = (
    "trunk.claimed.v1", "trunk.registered.v1", "trunk.failed.v1", "trunk.removed.v1",
    "trunk.refreshed.v1",
)  # fmt: skip


def _list(arguments: argparse.Namespace) -> int:
    with opened_log(arguments) as log:
        rows = list(_rows(log, _address(arguments.account)))
    if arguments.json:
        print_json([_json(row) for row in rows])
        return 0
    now_ns = time.time_ns()
    print_table(
        ("ACCOUNT", "RECORD", "REGISTERED AS", "STATE", "SINCE (UTC)", "NEXT IN", "REASON"),
        [
            (
                key.account,
                key.name,
                "-" if isinstance(found, str) else found.address.partition(":")[2],
                _state(found, state),
                show_time(state.since_ns).partition(".")[0],
                show_duration((state.next_ns - now_ns) // _NS_PER_MS) if state.next_ns else "-",
                _reason(found, state) or "-",
            )
            for key, found, state in rows
        ],
    )
    return 0


def _status(arguments: argparse.Namespace) -> int:
    with opened_log(arguments) as log:
        row = _one(log, arguments)
    if arguments.json:
        print_json(_json(row))
        return 0
    key, found, state = row
    now_ns = time.time_ns()
    print(f"{key.account} {key.name}: {_state(found, state)}")
    lines = [("why", _reason(found, state))]
    if not isinstance(found, str):
        lines += [
            ("registered as", found.address.partition(":")[2]),
            ("registrar", found.registrar.partition(":")[2]),
            ("sent to", " ".join(found.route)),
            ("every", show_duration(int(found.period_s * 1000))),
            ("calls go to", found.target),
        ]
    lines += [
        ("contact", state.contact),
        ("calls come from", ", ".join(state.sources)),
        ("by node", state.node),
        ("since", show_time(state.since_ns) if state.since_ns else ""),
        ("known there until", show_time(state.expires_ns) if state.expires_ns else ""),
        ("failures in a row", str(state.attempt) if state.attempt else ""),
        ("next attempt", _next(state, now_ns)),
    ]
    for name, text in lines:
        if text:
            print(f"  {name}: {text}")
    return 0


def _register_now(arguments: argparse.Namespace) -> int:
    from pbx.domain.trunks import PREFIX, TrunkRegisterAsked
    from pbx.eventlog import ANY_VERSION, Meta, open_log

    log = open_log(data_directory(arguments).path)
    try:
        key, found, state = _one(log, arguments)
        if isinstance(found, str):
            raise DomainError(f"the record {key.name} cannot be registered: {found}")
        if not found.enabled:
            raise DomainError(f"the record {key.name} is switched off by its period")
        meta = Meta(actor=actor(), tenant=key.account.rpartition("@")[2])
        asked = log.append(
            f"{PREFIX}{key.account}", ANY_VERSION, [TrunkRegisterAsked(record=key.name)], meta
        )
        outcome = _outcome(log, key, asked, arguments.wait)
        state = _one(log, arguments)[2]
    finally:
        log.close()
    if arguments.json:
        print_json({**_json((key, found, state)), "outcome": outcome or "unknown"})
    elif outcome:
        print(f"{key.account} {key.name}: {outcome}")
    else:
        print(
            f"{key.account} {key.name}: no outcome yet; is the server running? "
            f"pbx trunk status {key.account} {key.name}"
        )
    return 0 if outcome.startswith("registered") or not arguments.wait else 1


def _outcome(log: EventLog, key: RecordKey, after: int, wait_s: float) -> str:
    """What the node wrote about the record since it was asked; empty if nothing in time."""
    from pbx.domain.trunks import PREFIX, TrunkFailed, TrunkRefreshed, TrunkRegistered

    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        for record in log.read(after, category="pbx.nodes", types=_STATES):
            event = record.event
            if (
                record.stream != f"{PREFIX}{key.account}"
                or getattr(event, "record", "") != key.name
            ):
                continue
            if isinstance(event, TrunkRegistered | TrunkRefreshed):
                return "registered"
            if isinstance(event, TrunkFailed):
                return event.reason
        time.sleep(_STEP_S)
    return ""


def _one(log: EventLog, arguments: argparse.Namespace) -> Row:
    """The record that the arguments name. Raises :class:`DomainError`."""
    account = _address(arguments.account)
    rows = list(_rows(log, account))
    if not rows:
        raise DomainError(f"{account} has no records; they are set with pbx trunk set")
    named = [row for row in rows if arguments.record in ("", row[0].name)]
    if len(named) == 1:
        return named[0]
    names = ", ".join(row[0].name for row in rows)
    if named:
        raise DomainError(f"{account} has several records, name one: {names}")
    raise DomainError(f"{account} has no record {arguments.record}, but {names}")


def _address(text: str) -> str:
    from pbx.domain.accounts import account_address

    return "@".join(account_address(text)) if text else ""


def _state(found: RsipRecord | str, state: TrunkState) -> str:
    if isinstance(found, str):
        return "wrong"
    if not found.enabled:
        return "off"
    if state.state == "registered" and state.expires_ns < time.time_ns() - _GRACE_NS:
        return "lapsed"
    return state.state


_GRACE_NS: Final = 900 * 1_000_000_000
"""Refreshes are written every ten minutes: a registration may be younger than the log says."""


def _reason(found: RsipRecord | str, state: TrunkState) -> str:
    if isinstance(found, str):
        return found
    return state.reason


def _next(state: TrunkState, now_ns: int) -> str:
    if not state.next_ns:
        return ""
    return f"{show_time(state.next_ns)} UTC (in {show_duration((state.next_ns - now_ns) // 10**6)})"


def _json(row: Row) -> dict[str, Any]:
    key, found, state = row
    shown: dict[str, Any] = {
        "account": key.account,
        "record": key.name,
        "state": _state(found, state),
        "reason": _reason(found, state),
        "kind": state.kind,
        "status": state.status,
        "attempt": state.attempt,
        "node": state.node,
        "contact": state.contact,
        "sources": list(state.sources),
    }
    if not isinstance(found, str):
        shown |= {
            "address": found.address,
            "registrar": found.registrar,
            "period_s": found.period_s,
            "target": found.target,
        }
    times = {
        "since_ns": state.since_ns, "expires_ns": state.expires_ns, "next_ns": state.next_ns,
    }  # fmt: skip
    return {**shown, **as_json(times)}
