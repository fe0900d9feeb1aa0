"""The data directory: where everything a server keeps lies, and who may use it.

Used by the composition root, by every command (``--data DIR``) and by the roles. One server at a
time owns a directory: it holds a lock that the kernel takes back when its holder dies, however it
dies, so that nothing is left to clean up after ``kill -9``. Commands need no lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pbx.kernel.errors import PbxError

FOLDERS: Final = ("blobs", "CDRs", "run", "tls")


class DataDirectoryError(PbxError):
    """The directory cannot be used; the text says what to do."""


class DataDirectory:
    """Names of what lies in a data directory. Makes nothing before :meth:`prepare`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run"
        """Sockets and files that mean something only while the server runs."""
        self.settings = self.run / "settings.json"
        """The settings the running server was started with, for its roles."""
        self.lock = self.run / "lock"
        self.sounds = path / "sounds"
        """Sound files of the administrator's, before the stock prompts."""
        self.recordings = path / "recordings"
        """Where the media service writes; who asked for a recording takes it from there."""
        self.media_socket = self.run / "media.sock"
        """Where the media service takes the NG protocol from the signal role."""
        self.control_socket = self.run / "control.sock"
        """Where the signal role takes commands on running applications."""
        self.log_socket = self.run / "log.sock"
        """Where the log role of a cluster's node takes decisions from the other processes."""
        self.applied = self.run / "applied"
        """Position up to which the running server has taken commands up."""

    def prepare(self) -> None:
        """Make the directory and its folders; nobody but the owner may read a new one."""
        try:
            if not self.path.exists():
                self.path.mkdir(mode=0o700, parents=True)
            for name in FOLDERS:
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise DataDirectoryError(
                f"cannot use the data directory {self.path}: {error.strerror}; "
                "name another with --data DIR"
            ) from error
        if self.path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            self._close_to_others()

    def _close_to_others(self) -> None:
        """The keys in it open every secret of the log: others have no business here."""
        try:
            self.path.chmod(0o700)
        except OSError as error:
            raise DataDirectoryError(
                f"{self.path} is open to other users and cannot be closed: {error.strerror}; "
                f"run: chmod 700 {self.path}"
            ) from error

    def require(self) -> None:
        """For commands that read: the directory must be there already."""
        if not self.path.is_dir():
            raise DataDirectoryError(
                f"there is no data directory {self.path}: start a server first "
                f"(pbx serve --data {self.path}), or name yours with --data DIR"
            )

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the directory as its one server. Raises if another one does."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.read(descriptor, 32).decode("ascii", "replace").strip()
                raise DataDirectoryError(
                    f"a server (process {pid or 'unknown'}) already runs on {self.path}; "
                    "stop it, or give this one another --data DIR"
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
            yield
        finally:
            os.close(descriptor)  # which releases the lock


def default_data_directory(environment: Mapping[str, str], *, root: bool) -> Path:
    """Where data lies if nobody says: the system's place for root, the user's own else."""
    if root:
        return Path("/var/lib/ringlog")
    home = environment.get("XDG_DATA_HOME") or f"{environment.get('HOME', '.')}/.local/share"
    return Path(home) / "ringlog"
