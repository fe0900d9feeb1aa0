"""The configuration database under a real server: behind, missing, broken, changed meanwhile.

Phones may log in as the log says, whatever the file said, from the moment the server is ready; an
import beside a running server is known to it when the command returns.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.conftest import with_accounts
from tests.interop.peers.raw_phone import RawPhone
from tests.support.server_process import DOMAIN, ServerProcess

pytestmark = pytest.mark.interop

SETTINGS = '[media]\nng = "off"\n'


def _registers(server: ServerProcess, name: str) -> bool:
    with RawPhone(server, name) as phone:
        status = phone.register().status
    assert status in (200, 401)
    return status == 200


def _create(server: ServerProcess, name: str) -> None:
    server.run("account", "create", f"{name}@{DOMAIN}", "--password", f"secret-{name}")


@pytest.mark.parametrize("trouble", ["behind", "missing", "broken"])
def test_a_start_goes_by_the_log(tmp_path: Path, trouble: str) -> None:
    server = ServerProcess(tmp_path / "data", settings=SETTINGS)
    with server:
        with_accounts(server)
        assert _registers(server, "alice")
        server.kill()
        file = server.data / "config.sqlite3"
        old = {path: path.read_bytes() for path in server.data.glob("config.sqlite3*")}
        _create(server, "newcomer")
        server.run("account", "delete", f"alice@{DOMAIN}")
        for path in server.data.glob("config.sqlite3*"):
            path.unlink()
        if trouble == "behind":
            for path, content in old.items():
                path.write_bytes(content)
        elif trouble == "broken":
            file.write_bytes(b"\7" * 9000)
        server.start()
        assert _registers(server, "newcomer")
        assert _registers(server, "bob")
        assert not _registers(server, "alice")


def test_an_import_beside_a_running_server(tmp_path: Path) -> None:
    """Everything is known when the command returns, the last account too; what is changed then by
    the same way is known as fast."""
    with ServerProcess(tmp_path / "data", settings=SETTINGS) as server:
        with_accounts(server)
        assert not _registers(server, "user0")  # it is remembered that there is nobody
        lines = "".join(f"user{n}\tsecret-user{n}\t4{n}\n" for n in range(3000))
        file = tmp_path / "accounts.txt"
        file.write_text("Name\tPassword\tAliases\n" + lines)
        said = server.run("account", "import", str(file), "--domain", DOMAIN)
        assert "3000 accounts created" in said
        for name in ("user0", "user1500", "user2999"):
            assert _registers(server, name)
        server.run("account", "delete", f"user0@{DOMAIN}")
        assert not _registers(server, "user0")
        assert _registers(server, "alice")
