"""Scenarios: who calls whom, what they press, what is in the accounts. TOML files.

::

    account = "pbx@example.org"        # whose name the program runs under
    language = "russian"
    parameter = ["401"]                # Vars().startParameter
    time_limit_s = 600                 # then the caller hangs up

    [caller]                           # leave it out to start without a call, as STARTPBXTASK does
    uri = "sip:alice@example.org"
    name = "Alice"
    authenticated = "alice@example.org"
    dialled = "sip:301@example.org"
    does = "1 w5 2# h"

    [destinations."402@example.org"]
    answers_after_s = 3                # or: status = 486
    does = "w10 h"
    refer = "200"                      # how it answers a transfer

    [accounts."alice@example.org"]
    preferences = { Language = "russian" }
    settings = { PSTNGatewayDomain = "gw.example.net" }
    messages = [ { from = "bob@example.org", seen = false, seconds = 4 } ]

    [groups]
    techsupport = ["user1", "user2"]

What a party *does* is a row of words: digits are pressed one by one whenever the program listens
for them; ``!12`` presses at once, whatever is being played; ``w5`` waits five seconds; ``t`` lets
the program's patience run out once; ``s4`` speaks for four seconds; ``h`` hangs up.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

from pbx.script.errors import ScenarioError

DEFAULT_ACCOUNT: Final = "pbx@example.org"
DEFAULT_TIME_LIMIT_S: Final = 3600.0
_WORD: Final = re.compile(r"(?:([wst])([0-9]+(?:\.[0-9]+)?)?|(h)|(!?)([0-9*#A-D]+))\Z")


class ActionKind(Enum):
    """What a simulated person can do."""

    PRESS = "press"
    """…when the program listens."""
    PRESS_NOW = "press now"
    WAIT = "wait"
    SPEAK = "speak"
    TIME_OUT = "time out"
    HANG_UP = "hang up"


@dataclass(frozen=True, slots=True)
class Action:
    """One step."""

    kind: ActionKind
    digit: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Party:
    """A simulated person with a telephone."""

    uri: str
    name: str | None = None
    authenticated: str | None = None
    redirector: str | None = None
    dialled: str | None = None
    request: dict[str, Any] = field(default_factory=dict)
    """More fields of the INVITE, for ``PendingRequestData``."""
    actions: list[Action] = field(default_factory=list)
    answers_after_s: float = 2.0
    status: int = 200
    """Final response of a destination."""
    refer: int = 200
    """How it answers a transfer."""
    codecs: bool = True
    """Whether there is a common codec."""


@dataclass(slots=True)
class Message:
    """One message of a mailbox."""

    sender: str = "unknown@example.org"
    seen: bool = False
    deleted: bool = False
    seconds: float = 3.0
    subject: str = ""


@dataclass(slots=True)
class AccountState:
    """What a program can see of an account."""

    preferences: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    telnums: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Scenario:
    """A whole scenario."""

    account: str = DEFAULT_ACCOUNT
    language: str | None = None
    parameter: Any = None
    entry: str = "main"
    caller: Party | None = None
    destinations: dict[str, Party] = field(default_factory=dict)
    accounts: dict[str, AccountState] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    time_limit_s: float = DEFAULT_TIME_LIMIT_S
    start_time_s: int = 1_790_000_000
    """Wall time at the start, seconds since 1970."""
    seed: int = 1
    """Of all randomness."""
    strict_media: bool = False
    """Whether prompts must exist as files; otherwise every name is a second of sound."""


def parse_actions(text: str) -> list[Action]:
    """The steps of a row of words. Raises ``ScenarioError``."""
    found: list[Action] = []
    for word in text.replace(",", " ").split():
        match = _WORD.match(word)
        if match is None:
            raise ScenarioError(
                f"{word!r} is no step: write digits, !digits, w5, s4, t or h, with blanks between"
            )
        letter, amount, hang_up, at_once, digits = match.groups()
        if hang_up:
            found.append(Action(ActionKind.HANG_UP))
        elif letter:
            kind = {
                "w": ActionKind.WAIT,
                "s": ActionKind.SPEAK,
                "t": ActionKind.TIME_OUT,
            }[letter]
            found.append(Action(kind, seconds=float(amount or 1)))
        else:
            kind = ActionKind.PRESS_NOW if at_once else ActionKind.PRESS
            found.extend(Action(kind, digit) for digit in digits)
    return found


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file. Raises ``ScenarioError`` with what is wrong and where."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from None
    try:
        return scenario_of(raw)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None


def scenario_of(raw: dict[str, Any]) -> Scenario:
    """A scenario from the tables of its file. Raises ``ScenarioError``."""
    scenario = Scenario()
    simple = {
        "account": str,
        "language": str,
        "entry": str,
        "time_limit_s": (int, float),
        "start_time_s": int,
        "seed": int,
        "strict_media": bool,
    }
    for key, value in raw.items():
        if key in simple:
            setattr(scenario, key, _typed(value, simple[key], key))
        elif key == "parameter":
            scenario.parameter = value
        elif key == "caller":
            scenario.caller = _party("caller", value, "sip:caller@example.org")
        elif key == "destinations":
            for name, one in _table(value, key).items():
                scenario.destinations[name] = _party(f"destinations.{name}", one, f"sip:{name}")
        elif key == "accounts":
            for name, one in _table(value, key).items():
                scenario.accounts[name] = _account(f"accounts.{name}", one)
        elif key == "groups":
            for name, one in _table(value, key).items():
                scenario.groups[name] = [_typed(each, str, f"groups.{name}") for each in one]
        else:
            raise ScenarioError(f"unknown key {key}")
    return scenario


def _typed(value: Any, kind: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = [one.__name__ for one in kind] if isinstance(kind, tuple) else [kind.__name__]
        raise ScenarioError(f"{where} must be {' or '.join(names)}, not {value!r}")
    return value


def _table(value: Any, where: str) -> dict[str, Any]:
    table: dict[str, Any] = _typed(value, dict, where)
    return table


def _fill(target: Any, raw: dict[str, Any], kinds: dict[str, Any], where: str) -> dict[str, Any]:
    rest: dict[str, Any] = {}
    for key, value in raw.items():
        if key in kinds:
            setattr(target, key, _typed(value, kinds[key], f"{where}.{key}"))
        else:
            rest[key] = value
    return rest


def _party(where: str, value: Any, uri: str) -> Party:
    party = Party(uri)
    kinds = {
        "uri": str,
        "name": str,
        "authenticated": str,
        "redirector": str,
        "dialled": str,
        "request": dict,
        "answers_after_s": (int, float),
        "status": int,
        "refer": int,
        "codecs": bool,
    }
    rest = _fill(party, _table(value, where), kinds, where)
    party.actions = parse_actions(_typed(rest.pop("does", ""), str, f"{where}.does"))
    if rest:
        raise ScenarioError(f"unknown key {where}.{next(iter(rest))}")
    return party


def _account(where: str, value: Any) -> AccountState:
    state = AccountState()
    kinds = {"preferences": dict, "settings": dict, "telnums": list}
    rest = _fill(state, _table(value, where), kinds, where)
    for number, one in enumerate(rest.pop("messages", [])):
        message = Message()
        raw = dict(_table(one, f"{where}.messages"))
        message.sender = raw.pop("from", message.sender)
        fields = {"seen": bool, "deleted": bool, "seconds": (int, float), "subject": str}
        unknown = _fill(message, raw, fields, f"{where}.messages[{number}]")
        if unknown:
            raise ScenarioError(f"unknown key {where}.messages.{next(iter(unknown))}")
        state.messages.append(message)
    for name, text in _table(rest.pop("files", {}), f"{where}.files").items():
        state.files[name] = _typed(text, str, f"{where}.files.{name}").encode()
    if rest:
        raise ScenarioError(f"unknown key {where}.{next(iter(rest))}")
    return state
