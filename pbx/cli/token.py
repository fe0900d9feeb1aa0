"""``pbx token create|list|revoke``: who may use the API."""

from __future__ import annotations

import argparse
import re
import time
from typing import TYPE_CHECKING, Final

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table
from pbx.cli.reading import show_time

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.domain.tokens import TokenState

_NS_PER_S: Final = 1_000_000_000
_SCOPES: Final = (
    "events:read", "cdrs:read", "calls:read", "calls:control", "config:read", "config:write",
    "admin",
)  # fmt: skip
_LIFE: Final = re.compile(r"(\d{1,5})([smhdw])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("token", help="tokens of the API: create, list, revoke")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    create = actions.add_parser(
        "create",
        help="make a token and print it, this once",
        description="Prints the token. It is stored nowhere: keep it where its program finds it.",
    )
    create.add_argument("name", help="what uses it, for the list")
    create.add_argument(
        "--scope",
        action="append",
        choices=_SCOPES,
        help="what it may do (repeatable; default events:read)",
    )
    create.add_argument("--domain", default="", help="the only domain it may see")
    create.add_argument(
        "--account",
        default="",
        metavar="NAME@DOMAIN",
        help="it is for that account's domain, and changes what that administrator may",
    )
    create.add_argument(
        "--expires", type=_expiry, default=0, metavar="TIME", help="90d, 12h, or 2027-01-31"
    )
    add_options(create)
    create.set_defaults(run=_create)

    listing = actions.add_parser("list", help="list the tokens, without what they open with")
    add_options(listing)
    listing.set_defaults(run=_list)

    revoke = actions.add_parser("revoke", help="close a token at once")
    revoke.add_argument("id", help="as the list shows it")
    add_options(revoke)
    revoke.set_defaults(run=_revoke)


def _expiry(text: str) -> int:
    """Wall time in nanoseconds of a distance into the future or a date."""
    from pbx.cli.reading import parse_time

    life = _LIFE.fullmatch(text)
    if life is not None:
        return time.time_ns() + int(life[1]) * _UNIT_S[life[2]] * _NS_PER_S
    try:
        return parse_time(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text} is no time to come: write 90d, 12h, 2027-01-31 or 2027-01-31T08:00:00Z"
        ) from None


def _create(arguments: argparse.Namespace) -> int:
    import secrets

    from pbx.cli.administration import changing_log
    from pbx.tokens import create_token

    with changing_log(data_directory(arguments, create=True)) as log:
        state, text = create_token(
            log,
            actor=actor(),
            name=arguments.name,
            scopes=arguments.scope or ["events:read"],
            domain=arguments.domain,
            account=arguments.account,
            expires_ns=arguments.expires,
            now_ns=time.time_ns(),
            random=secrets.token_bytes,
        )
    if arguments.json:
        print_json({**_row(state), "token": text})
    else:
        print(text)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from pbx.eventlog import open_log
    from pbx.tokens import TokenDirectory

    log = open_log(data_directory(arguments).path, unseal=False)
    try:
        found = TokenDirectory(log).all()
    finally:
        log.close()
    if arguments.json:
        print_json([_row(state) for state in found])
        return 0
    now_ns = time.time_ns()
    print_table(
        ("ID", "NAME", "SCOPES", "DOMAIN", "ACCOUNT", "EXPIRES (UTC)", "STATE"),
        [
            (
                state.token_id,
                state.name,
                " ".join(state.scopes),
                state.domain or "-",
                state.account or "-",
                show_time(state.expires_ns),
                _condition(state, now_ns),
            )
            for state in found
        ],
    )
    return 0


def _condition(state: TokenState, now_ns: int) -> str:
    if state.revoked:
        return "revoked"
    return "good" if state.usable(now_ns) else "expired"


def _row(state: TokenState) -> dict[str, object]:
    from pbx.cli.reading import as_json

    return as_json(
        {
            "id": state.token_id,
            "name": state.name,
            "scopes": list(state.scopes),
            "domain": state.domain,
            "account": state.account,
            "expires_ns": state.expires_ns,
            "state": _condition(state, time.time_ns()),
        }
    )


def _revoke(arguments: argparse.Namespace) -> int:
    from pbx.cli.administration import changing_log
    from pbx.eventlog import open_keys
    from pbx.tokens import revoke_token

    data = data_directory(arguments)
    with changing_log(data) as log:
        state = revoke_token(log, arguments.id, actor=actor(), erase=open_keys(data.path).erase)
    if arguments.json:
        print_json({"id": state.token_id, "state": "revoked"})
    else:
        print(f"token {state.token_id} ({state.name}) revoked")
    return 0
