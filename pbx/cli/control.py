"""``pbx account control|dataset``: forwarding, voice mail, blocking; lists of callers.

What is set here are the simplified rules of the account: ``pbx rules show`` shows them, too.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.rules import Simple

_OFF = "off"


def register(actions: Commands) -> None:
    """Add the parser to those of ``pbx account``."""
    control = actions.add_parser("control", help="show or set what happens with an account's calls")
    control.add_argument("account", metavar="NAME@DOMAIN")
    where = "addresses, separated by commas; off: no more"
    for option, text in (
        ("--forward", "send all calls to"),
        ("--forward-busy", "send calls on busy to"),
        ("--forward-error", "send calls on errors to"),
        ("--forward-no-answer", "send calls that nobody answers to"),
        ("--ring-also", "ring at the same time"),
    ):
        control.add_argument(option, metavar="ADDRESS", help=f"{text}: {where}")
    seconds = "after so many seconds of ringing"
    control.add_argument("--forward-after", metavar="S", help=f"{seconds}; off: when given up")
    control.add_argument("--ring-also-after", type=int, metavar="S", help=seconds)
    control.add_argument("--voicemail-after", metavar="S", help=f"voice mail {seconds}; off")
    switch = argparse.BooleanOptionalAction
    control.add_argument("--voicemail-busy", action=switch, help="voice mail on busy")
    control.add_argument("--voicemail-error", action=switch, help="voice mail on errors")
    control.add_argument("--do-not-disturb", action=switch, help="refuse all calls as busy")
    control.add_argument("--self-calls", action=switch, help="calling oneself starts the service")
    control.add_argument(
        "--block", action="append", default=[], metavar="CALLER", help="refuse: anonymous, *@a.com"
    )
    control.add_argument("--unblock", action="append", default=[], metavar="CALLER")
    add_options(control)
    control.set_defaults(run=_control)

    dataset = actions.add_parser("dataset", help="lists of callers that rules remember and ask for")
    dataset.add_argument("account", metavar="NAME@DOMAIN")
    dataset.add_argument("dataset", metavar="NAME", nargs="?", help="one of them")
    dataset.add_argument("--add", action="append", default=[], metavar="ADDRESS")
    dataset.add_argument("--remove", action="append", default=[], metavar="ADDRESS")
    add_options(dataset)
    dataset.set_defaults(run=_dataset)


def _control(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import rule_administration

    with rule_administration(data_directory(arguments), actor()) as administrate:
        simple = administrate.control(arguments.account, lambda before: _changed(before, arguments))
    if arguments.json:
        print_json({"account": arguments.account, **asdict(simple)})
        return 0
    print(f"account {arguments.account}")
    for line in _lines(simple):
        print(f"  {line}")
    return 0


def _dataset(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import reading_rules, rule_administration

    account, name = arguments.account, arguments.dataset
    if arguments.add or arguments.remove:
        if name is None:
            raise DomainError(
                "which dataset? pbx account dataset NAME@DOMAIN DATASET --add ADDRESS"
            )
        with rule_administration(data_directory(arguments), actor()) as administrate:
            for address in arguments.add:
                administrate.add_entry(account, name, address)
            for address in arguments.remove:
                administrate.remove_entry(account, name, address)
    with reading_rules(data_directory(arguments)) as administrate:
        found = administrate.state(account).datasets
    rows = {key: dict(entries) for key, entries in found.items() if name in (None, key)}
    if arguments.json:
        print_json(rows)
    else:
        print_table(
            ("DATASET", "ADDRESS", "NAME"),
            [
                (key, address, display or "-")
                for key, entries in sorted(rows.items())
                for address, display in sorted(entries.items())
            ],
        )
    return 0


def _changed(simple: Simple, arguments: argparse.Namespace) -> Simple:
    changes: dict[str, object] = {}
    for option, field in (
        ("forward", "forward_always"),
        ("forward_busy", "forward_busy"),
        ("forward_error", "forward_error"),
        ("forward_no_answer", "forward_no_answer"),
        ("ring_also", "ring_also"),
    ):
        value = getattr(arguments, option)
        if value is not None:
            changes[field] = None if value == _OFF else value
    for option, field in (
        ("forward_after", "forward_after_s"),
        ("voicemail_after", "voicemail_after_s"),
    ):
        value = getattr(arguments, option)
        if value is not None:
            changes[field] = None if value == _OFF else _seconds(value)
    if arguments.ring_also_after is not None:
        changes["ring_also_after_s"] = arguments.ring_also_after
    for field in ("voicemail_busy", "voicemail_error", "do_not_disturb", "self_calls"):
        if getattr(arguments, field) is not None:
            changes[field] = getattr(arguments, field)
    gone = {caller.lower() for caller in arguments.unblock}
    blocked = [caller for caller in simple.blocked if caller.lower() not in gone]
    changes["blocked"] = tuple(dict.fromkeys([*blocked, *arguments.block]))
    return replace(simple, **changes)  # type: ignore[arg-type]


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise DomainError(f"{text} is no number of seconds: expected 1 to 600, or off")
    return int(text)


def _lines(simple: Simple) -> list[str]:
    after = simple.forward_after_s
    moment = "when nobody answers" if after is None else f"after {after} s"
    told = [
        ("blocked callers", ", ".join(simple.blocked)),
        ("do not disturb", "on" if simple.do_not_disturb else ""),
        ("calls to itself", "start the service" if simple.self_calls else ""),
        ("all calls", _to(simple.forward_always)),
        (f"also rings after {simple.ring_also_after_s} s", simple.ring_also or ""),
        (moment, _to(simple.forward_no_answer)),
        ("on busy", _to(simple.forward_busy)),
        ("on errors", _to(simple.forward_error)),
        (
            "voice mail",
            ", ".join(
                part
                for part, present in (
                    (f"after {simple.voicemail_after_s} s", simple.voicemail_after_s is not None),
                    ("on busy", simple.voicemail_busy),
                    ("on errors", simple.voicemail_error),
                )
                if present
            ),
        ),
    ]
    return [f"{what}: {value}" for what, value in told if value] or ["the devices ring"]


def _to(addresses: str | None) -> str:
    return "" if addresses is None else f"to {addresses}"
