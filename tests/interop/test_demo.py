"""``pbx serve --demo``: what it prints is all that a newcomer needs for a first call."""

from __future__ import annotations

import re
from pathlib import Path

from tests.interop.conftest import SETTINGS
from tests.support.phones import PjsuaPhone, assert_talking
from tests.support.server_process import ServerProcess

ACCOUNT = re.compile(r"account (?P<user>\S+)@(?P<domain>\S+)\s+password (?P<password>\S+)")


def test_two_phones_call_with_what_was_printed(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "server", settings=SETTINGS, options=("--demo",))
    with server:
        accounts = [match.groupdict() for line in server.lines if (match := ACCOUNT.search(line))]
        assert len(accounts) == 2
        # The user name, the password and the server's address: nothing else is needed.
        first, second = (
            PjsuaPhone(
                tmp_path / account["user"],
                f"sip:{account['user']}@{server.address()}",
                user=account["user"],
                password=account["password"],
                registrar=f"sip:{server.address()}",
            )
            for account in accounts
        )
        with first, second:
            first.tone(440)
            second.tone(1000)
            assert first.register()["status"] == 200
            assert second.register()["status"] == 200
            call = first.call(f"sip:{accounts[1]['user']}@{server.address()}")
            incoming = second.ringing()
            second.answer(incoming)
            first.confirmed(call)
            assert_talking(first, 440, second, 1000)
            first.hangup(call)
            second.ended(incoming)
    lines = list(server.lines)
    with server:
        again = [line for line in server.lines if ACCOUNT.search(line)]
        assert again == [line for line in lines if ACCOUNT.search(line)]
