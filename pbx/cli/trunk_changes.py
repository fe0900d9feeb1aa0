"""``pbx trunk set|delete|gateway``: what is registered where, and how numbers are called.

The same settings that the command protocol sets (``SETACCOUNTRSIPS``, the ``PSTN…`` keys), one at a
time and checked. Passwords come from the command line or, better, from standard input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pbx.cli.common import actor, add_options, data_directory, print_json
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.data import Value
    from pbx.domain.configuration import Configuration
    from pbx.kernel.events import Event
    from pbx.settings_changes import Target

_RECORD: Final = (
    ("host", "domain", "HOST", "the registrar: sip.example.net, perhaps with :PORT;transport=tcp"),
    ("user", "fromName", "NAME", "the account there"),
    ("login", "authName", "NAME", "user name for authentication, if it is another one"),
    ("every", "period", "TIME", "how often: 5m, 1h (default: 5m)"),
    ("target", "targetName", "ADDRESS", "who gets its calls (default: the account itself)"),
    ("via", "via", "HOST", "where to send, if not to the registrar's own address"),
)  # fmt: skip
_GATEWAY: Final = (
    ("host", "PSTNGatewayDomain", "HOST", "numbers are called at this host"),
    ("via", "PSTNGatewayVia", "HOST", "where to send, if not there"),
    ("login", "PSTNGatewayAuthName", "NAME", "user name for authentication"),
    ("caller", "PSTNFromName", "TEXT", "who calls: a number, $ account name, * its own number"),
    ("area", "PSTNAreaCode", "CODE", "where we are: 7(495), 1(415), 372"),
    ("numbers", "PSTNNumberFormat", "FORM", "of our numbers there: E.164, digits or national"),
)  # fmt: skip


def register(actions: Commands) -> None:
    """Add the parsers to those of ``pbx trunk``."""
    record = actions.add_parser(
        "set",
        help="make or change a record: register with a provider",
        description="Options that are left out keep what the record has; an empty one takes it "
        "away. A running server registers at once: pbx trunk status",
    )
    record.add_argument("account", metavar="NAME@DOMAIN", help="whose record it is, often pbx@…")
    record.add_argument("record", metavar="RECORD", help="a name of your choice")
    _options(record, _RECORD)
    record.set_defaults(run=_set)

    delete = actions.add_parser("delete", help="delete a record; the provider is told")
    delete.add_argument("account", metavar="NAME@DOMAIN")
    delete.add_argument("record", metavar="RECORD")
    add_options(delete)
    delete.set_defaults(run=_delete)

    gateway = actions.add_parser(
        "gateway",
        help="how an account, a domain or everybody calls telephone numbers",
        description="Sets the PSTN settings of an account (NAME@DOMAIN), the defaults of a domain "
        "or, with `server`, those of everybody. With --name they are those of one of several "
        "gateways, which Router lines name: gatewaycaller{+7*,NAME}#pbx",
    )
    gateway.add_argument("owner", metavar="server|DOMAIN|NAME@DOMAIN")
    gateway.add_argument("--name", default="", metavar="NAME", help="one of several gateways")
    _options(gateway, _GATEWAY)
    gateway.set_defaults(run=_gateway)


def _options(parser: argparse.ArgumentParser, rows: Sequence[tuple[str, str, str, str]]) -> None:
    for option, key, metavar, text in rows:
        parser.add_argument(f"--{option}", dest=key, metavar=metavar, help=text)
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--password", metavar="TEXT", help="the password (other users of the machine can see it)"
    )
    group.add_argument(
        "--password-stdin", action="store_true", help="read it from the first line of the input"
    )
    add_options(parser)


def _given(
    arguments: argparse.Namespace, rows: Sequence[tuple[str, str, str, str]], password_key: str
) -> dict[str, str]:
    """What the options say, by key; an empty text takes a key away."""
    found = {key: getattr(arguments, key) for _, key, _, _ in rows}
    values = {key: text for key, text in found.items() if text is not None}
    password: str | None = arguments.password
    if arguments.password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise DomainError("no password on standard input")
    if password is not None:
        values[password_key] = password
    if not values:
        raise DomainError("nothing to set: see pbx trunk set --help, pbx trunk gateway --help")
    return values


def _set(arguments: argparse.Namespace) -> int:
    from pbx.trunks.records import KEY, RecordKey, read_record

    given = _given(arguments, _RECORD, "password")
    account = _account(arguments.account)
    name: str = arguments.record

    def change(records: dict[str, Value]) -> dict[str, Value]:
        held = records.get(name)
        record = {**(held if isinstance(held, dict) else {}), **given}
        record = {key: value for key, value in record.items() if value != ""}
        try:
            read_record(RecordKey(account, name), record)
        except ValueError as error:
            raise DomainError(f"record {name}: {error}") from None
        return {**records, name: record}

    _change_records(arguments, account, KEY, change)
    if arguments.json:
        print_json({"account": account, "record": name})
    else:
        print(f"record {name} of {account} is set; how it is: pbx trunk status {account} {name}")
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    from pbx.trunks.records import KEY

    account = _account(arguments.account)
    name: str = arguments.record

    def change(records: dict[str, Value]) -> dict[str, Value]:
        if name not in records:
            raise DomainError(f"{account} has no record {name}")
        return {key: value for key, value in records.items() if key != name}

    _change_records(arguments, account, KEY, change)
    if arguments.json:
        print_json({"account": account, "record": name})
    else:
        print(f"record {name} of {account} is deleted")
    return 0


def _change_records(arguments: argparse.Namespace, account: str, key: str, change: _Change) -> None:
    from pbx.cli.administration import settings_changes
    from pbx.domain.configuration import RECORDS, decide_update
    from pbx.domain.setting_events import AccountSettingsChanged
    from pbx.objects.keys import is_secret
    from pbx.settings_changes import Target

    def decide(state: Configuration) -> Sequence[Event]:
        held = state.section(RECORDS).get(key)
        changed = change(dict(held) if isinstance(held, dict) else {})
        values = {key: changed} if changed else {}
        removed = () if changed else (key,)
        return decide_update(state, AccountSettingsChanged, RECORDS, values, removed, is_secret)

    with settings_changes(data_directory(arguments), actor()) as (_, changes):
        changes.append(Target("account", account), decide)


def _gateway(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import settings_changes
    from pbx.router.e164 import numbering_plan
    from pbx.settings_changes import read

    given = _given(arguments, _GATEWAY, "PSTNGatewayPassword")
    area = given.get("PSTNAreaCode")
    if area:
        try:
            numbering_plan(area)
        except ValueError as error:
            raise DomainError(str(error)) from None
    target, section = _owner(arguments.owner)
    name: str = arguments.name
    with settings_changes(data_directory(arguments), actor()) as (log, changes):
        held = read(log, target)[0].section(section)
        values = {key: _merged(held.get(key), name, text) for key, text in given.items()}
        changes.update(target, section, values)
    if arguments.json:
        print_json({"owner": arguments.owner, "gateway": name})
    else:
        named = f"gateway {name}" if name else "the gateway"
        print(f"{named} of {arguments.owner} is set")
    return 0


def _merged(held: Value, name: str, text: str) -> Value:
    """A setting with the value of one gateway changed; ``default`` takes a setting away."""
    if not name:
        return text or "default"
    values: dict[str, Value] = dict(held) if isinstance(held, dict) else {}
    if isinstance(held, str) and held:
        raise DomainError(
            f"there is one value for all gateways already ({held}): take it away first, without "
            "--name and with an empty text"
        )
    if text:
        values[name] = text
    else:
        values.pop(name, None)
    return values or "default"


def _owner(owner: str) -> tuple[Target, str]:
    from pbx.domain.configuration import ACCOUNT_DEFAULTS, SETTINGS
    from pbx.settings_changes import THE_SERVER, Target

    if owner == "server":
        return THE_SERVER, ACCOUNT_DEFAULTS
    if "@" in owner:
        return Target("account", _account(owner)), SETTINGS
    return Target("domain", owner.lower()), ACCOUNT_DEFAULTS


def _account(text: str) -> str:
    from pbx.domain.accounts import account_address

    return "@".join(account_address(text))


if TYPE_CHECKING:
    from collections.abc import Callable

    _Change = Callable[[dict[str, Value]], dict[str, Value]]
