"""A network of its own for a program, and the cable to it: for tests of what a broken one does.

A namespace with one end of a virtual cable (veth); the other end is ours. Pulled at the far end
(:meth:`NamedNetwork.cut`) packets vanish without a word, as behind a switch that died; at ours
(:meth:`NamedNetwork.unplug`) this machine knows that there is no way. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess


def possible() -> bool:
    """Whether namespaces can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"ringlog-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode == 0:
        subprocess.run(["ip", "netns", "del", name], check=False)
    return made.returncode == 0


class NamedNetwork:
    """A context manager. Programs run in it by :attr:`within`, and are at :attr:`address`."""

    def __init__(self) -> None:
        number = os.getpid() % 16_384
        self._name = f"ringlog-{number}"
        self._ours, self._theirs = f"rl{number}a", f"rl{number}b"
        # Of the range for tests of devices (RFC 2544), four addresses for each process.
        base = f"198.18.{number // 64}.{number % 64 * 4}"
        prefix, _, low = base.rpartition(".")
        self._our_address = f"{prefix}.{int(low) + 1}"
        self.address = f"{prefix}.{int(low) + 2}"
        self.within = ("ip", "netns", "exec", self._name)

    def __enter__(self) -> NamedNetwork:
        _ip("netns", "add", self._name)
        try:
            _ip("link", "add", self._ours, "type", "veth",
                "peer", "name", self._theirs, "netns", self._name)  # fmt: skip
            _ip("address", "add", f"{self._our_address}/30", "dev", self._ours)
            _ip("link", "set", self._ours, "up")
            self._inside("address", "add", f"{self.address}/30", "dev", self._theirs)
            self._inside("link", "set", self._theirs, "up")
            self._inside("link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["ip", "link", "del", self._ours], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self._name], capture_output=True, check=False)

    def cut(self) -> None:
        """Pull the cable at the far end."""
        self._inside("link", "set", self._theirs, "down")

    def unplug(self) -> None:
        """Pull it at ours."""
        _ip("link", "set", self._ours, "down")

    def heal(self) -> None:
        """Put it in at both ends."""
        _ip("link", "set", self._ours, "up")
        self._inside("link", "set", self._theirs, "up")

    def _inside(self, *arguments: str) -> None:
        _ip("-n", self._name, *arguments)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
