"""``pbx serve --demo`` (``make run``): two accounts to try a first call with.

Made when the data directory has no account yet, with passwords of their own: even a demo that is
forgotten on a public address lets no stranger in. The passwords are printed at every start from a
file that only the owner of the data directory can read.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shlex
import sys
from typing import Final

from pbx.addresses import media_addresses
from pbx.cli.administration import administration, generate_password, reading_inventory
from pbx.cli.common import actor
from pbx.datadir import DataDirectory
from pbx.router import MAIN_ACCOUNTS
from pbx.settings import Settings, host_port

DOMAIN: Final = "localhost"
"""Resolves to this machine without DNS; phones may as well use the machine's address, since an
address of the server means its first domain."""
NAMES: Final = ("1001", "1002")
FILE: Final = "demo-accounts.json"
WATCH: Final = (
    ("registrations", "who is registered"),
    ("calls", "calls going on"),
    ("cdr list", "calls that ended"),
    ("log", "everything that happened"),
)


def prepare_demo(data: DataDirectory, settings: Settings) -> None:
    """Make the accounts if there are none, and say how to use them."""
    data.prepare()
    file = data.path / FILE
    if not _accounts_of_people(data):
        passwords = {f"{name}@{DOMAIN}": generate_password() for name in NAMES}
        _write_private(file, json.dumps(passwords))
        with administration(data, actor()) as administrate:
            if DOMAIN not in administrate.inventory.domains:
                administrate.create_domain(DOMAIN)
            for address, password in passwords.items():
                administrate.create_account(address, password)
    if file.is_file():
        print(_instructions(data, settings, json.loads(file.read_bytes())), flush=True)


def _accounts_of_people(data: DataDirectory) -> bool:
    """Whether there are accounts that the server did not make by itself."""
    with reading_inventory(data) as found:
        return any(account.name not in MAIN_ACCOUNTS for account in found.accounts.values())


def _write_private(file: os.PathLike[str], text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)


def _instructions(data: DataDirectory, settings: Settings, passwords: dict[str, str]) -> str:
    first, second = (address.partition("@")[0] for address in passwords)
    server = _server_address(settings)
    pbx = shlex.quote(sys.argv[0]) if sys.argv[0].endswith("pbx") else "pbx"
    data_option = f"--data {shlex.quote(str(data.path))}"
    watch = "\n".join(
        f"    {f'{pbx} {command} {data_option}':<44}  # {what}" for command, what in WATCH
    )
    accounts = "\n".join(
        f"    account {address}   password {password}" for address, password in passwords.items()
    )
    return f"""
Two accounts are ready:

{accounts}

Register one softphone as each: user name {first} or {second}, its password, server {server}.
Then dial {second} from {first}. To watch, in another terminal:

{watch}

Ctrl-C stops the server.
"""


def _server_address(settings: Settings) -> str:
    """Host and port to type into a phone: an address other machines can reach, if there is one."""
    listener = settings.sip.listen[0]
    host = listener.host
    if host in ("0.0.0.0", "::"):
        version = ipaddress.ip_address(host).version
        host = next(
            address
            for address in media_addresses(settings)
            if ipaddress.ip_address(address).version == version
        )
    return host if listener.port in (0, 5060) else host_port(host, listener.port)
