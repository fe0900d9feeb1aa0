"""A real PostgreSQL server for tests: made in a temporary directory, gone with the test run.

Uses the programs of the distribution (``scripts/test-tools`` installs them). The server listens on
a Unix socket in its own directory and nowhere else, does not wait for the disk, and sorts text as
people do (ICU), not by code point: what depends on the order must say so itself. PostgreSQL refuses
to run as root: then it runs as the distribution's ``postgres`` user.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import psycopg

PROGRAMS: Final = "/usr/lib/postgresql"
"""Where Debian keeps the servers of each major version."""
USER: Final = "ringlog"
START_S: Final = 60.0
_PR_SET_PDEATHSIG: Final = 1
_POLL_S: Final = 0.05

_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "log_min_messages": "fatal",
    "logging_collector": "off",
}


class PostgresServer:
    """One server with any number of databases; a context manager that starts and stops it."""

    def __init__(self) -> None:
        self._owner = _owner()
        self.folder = Path(tempfile.mkdtemp(prefix="ringlog-pg-"))
        if self._owner is not None:
            os.chown(self.folder, self._owner.pw_uid, self._owner.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        self._run(
            "initdb", "--pgdata", self._data, "--username", USER, "--auth", "trust",
            "--encoding", "UTF8", "--locale", "C.UTF-8", "--locale-provider", "icu",
            "--icu-locale", "en-US", "--no-sync", "--no-instructions",
        )  # fmt: skip

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def url(self, database: str = "postgres") -> str:
        """As ``readmodel.url`` takes it."""
        return f"postgresql+psycopg://{USER}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """Make an empty database; returns its URL."""
        name = f"db{next(self._names)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection in which each statement is a transaction."""
        return psycopg.connect(
            host=str(self.folder), user=USER, dbname=database, autocommit=True, connect_timeout=5
        )

    def start(self) -> None:
        """Start it, or start it again; returns when it answers."""
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        with (self.folder / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", self._data, f"-k{self.folder}", *settings],
                stdout=output,
                stderr=output,
                cwd=self.folder,
                preexec_fn=_die_with_parent,
                **self._credentials(),
            )
        pause = threading.Event()
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                pause.wait(_POLL_S)

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it: SIGINT ends sessions in order, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [_program(program), *arguments],
            capture_output=True,
            check=False,
            cwd=self.folder,
            **self._credentials(),
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.decode(errors='replace')}")

    def _credentials(self) -> dict[str, Any]:
        if self._owner is None:
            return {}
        return {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}


def _owner() -> pwd.struct_passwd | None:
    """Who the server runs as, None for ourselves."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def _program(name: str) -> str:
    """The newest one of the distribution, else what the path has."""
    versions = sorted(Path(PROGRAMS).glob("*/bin"), key=lambda bin_: float(bin_.parent.name))
    found = shutil.which(name, path=str(versions[-1]) if versions else None)
    if found is None:
        raise RuntimeError(f"PostgreSQL's {name} is not here: apt-get install postgresql")
    return found


def _die_with_parent() -> None:
    """A test run that is killed must not leave a server behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT), 0, 0, 0)
