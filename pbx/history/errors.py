"""What the history of the configuration refuses."""

from __future__ import annotations

from collections.abc import Sequence

from pbx.kernel.errors import DomainError


class HistoryError(DomainError):
    """Base: something cannot be found or undone; the text says what to do instead."""


class LaterChanges(HistoryError):
    """What a revert would undo was changed again since."""

    def __init__(self, conflicts: Sequence[str]) -> None:
        listed = "\n".join(f"  {conflict}" for conflict in conflicts)
        super().__init__(
            f"later changes stand in the way:\n{listed}\n"
            "revert those first, or overwrite them with --force"
        )
        self.conflicts = tuple(conflicts)
