"""Read-your-writes between the command line and a running server."""

from pathlib import Path

from pbx.applied import AppliedMark, wait_applied


def test_a_command_returns_when_its_position_is_applied(tmp_path: Path) -> None:
    """At or past the position; a lower one is not enough."""
    path = tmp_path / "applied"
    with AppliedMark(path) as mark:
        mark.set(7)
        assert wait_applied(path, 7, 0.0)
        assert not wait_applied(path, 8, 0.0)
        mark.set(9)
        assert wait_applied(path, 8, 0.0)


def test_without_a_server_nobody_waits(tmp_path: Path) -> None:
    """No file, or one that went away with its server."""
    path = tmp_path / "applied"
    assert wait_applied(path, 1, 10.0)
    with AppliedMark(path):
        pass
    assert wait_applied(path, 1, 10.0)
