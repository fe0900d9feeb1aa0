"""What rules are asked about: the values of one request at one moment.

Fed by call control (or a test, or a recorded call), which gives a function for the values; each is
asked for once, and only if a rule looks at it. Feeds :mod:`.compiled`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo

from pbx.rules.pictures import folded
from pbx.rules.vocabulary import Subject

Value = str | int | tuple[str, ...] | None
"""Of a subject; None: there is no such thing, a condition on it does not hold (``is not`` does).

``ReqField`` has all lines ``Name: value``, ``Preference`` all ``name:value``; ``RegClients`` is a
number; the subjects of time are made of the moment and have no value of their own.
"""

Provider = Callable[[Subject], Value]
Dataset = Callable[[str], Iterable[str]]
"""The addresses in a dataset of the called account, by name."""


def _no_dataset(name: str) -> Iterable[str]:
    return ()


class Facts:
    """The values of one request. One per evaluation; not shared between threads."""

    __slots__ = (
        "_dataset",
        "_folded",
        "_local",
        "_provider",
        "_seen",
        "has_account",
        "now",
        "zone",
    )

    def __init__(
        self,
        provider: Provider,
        now: datetime,
        *,
        zone: tzinfo = UTC,
        has_account: bool = True,
        dataset: Dataset = _no_dataset,
    ) -> None:
        """`now` is aware; `zone` is the called account's; `has_account`: it is known already."""
        self._provider = provider
        self._dataset = dataset
        self._seen: dict[Subject, Value] = {}
        self._folded: dict[Subject, str | tuple[str, ...] | None] = {}
        self._local: datetime | None = None
        self.now = now
        self.zone = zone
        self.has_account = has_account

    def value(self, subject: Subject) -> Value:
        """The value as it is shown."""
        seen = self._seen
        if subject in seen:
            return seen[subject]
        value = seen[subject] = self._provider(subject)
        return value

    def text(self, subject: Subject) -> str | None:
        """The value of a text, ready to be compared."""
        known = self._folded
        if subject in known:
            found = known[subject]
        else:
            value = self.value(subject)
            found = known[subject] = None if value is None else folded(str(value))
        return found if isinstance(found, str) else None

    def lines(self, subject: Subject) -> tuple[str, ...]:
        """The values of a subject that has several, ready to be compared."""
        known = self._folded
        if subject in known:
            found = known[subject]
        else:
            value = self.value(subject)
            texts = value if isinstance(value, tuple) else () if value is None else (str(value),)
            found = known[subject] = tuple([folded(text) for text in texts])
        return found if isinstance(found, tuple) else ()

    @property
    def local(self) -> datetime:
        """The moment by the clock of the account."""
        local = self._local
        if local is None:
            local = self._local = self.now.astimezone(self.zone)
        return local

    def dataset(self, name: str) -> frozenset[str]:
        """Addresses in a dataset of the account, ready to be compared."""
        return frozenset(folded(address) for address in self._dataset(name))


def given(values: dict[Subject, Value]) -> Provider:
    """A provider of fixed values."""
    return values.get
