"""Compiled tables: the first record that fits without looking at all of them.

Made once for each table text, shared by all decisions. For each routing type records are grouped by
what their domain part applies to, then by their literal text: a look-up costs a few dictionary
probes (one for each length of literal prefix that occurs), however long the table is. Of what the
probes find, the record with the smallest number wins: the order of lines decides, as in the text.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from typing import Final

from pbx.router.patterns import Pattern, Wildcard
from pbx.router.table import Kind, Match, Record, Table

_Bucket = list[tuple[int, Pattern]]


class _Locals:
    """Records of one domain group by local part; gives the smallest number that fits."""

    __slots__ = ("_any", "_exact", "_prefix_lengths", "_prefixes", "_suffix_lengths", "_suffixes")

    def __init__(self) -> None:
        self._exact: dict[str, int] = {}
        self._prefixes: dict[str, _Bucket] = {}
        self._prefix_lengths: list[int] = []
        self._suffixes: dict[str, _Bucket] = {}
        """Of patterns that begin with their wildcard."""
        self._suffix_lengths: list[int] = []
        self._any: _Bucket = []
        """Patterns that are a wildcard alone."""

    def add(self, number: int, pattern: Pattern) -> None:
        if pattern.wildcard is Wildcard.NONE:
            self._exact.setdefault(pattern.prefix, number)
        elif pattern.prefix:
            _put(self._prefixes, self._prefix_lengths, pattern.prefix, (number, pattern))
        elif pattern.suffix:
            _put(self._suffixes, self._suffix_lengths, pattern.suffix, (number, pattern))
        else:
            self._any.append((number, pattern))

    def first(self, local: str, best: int) -> int:
        """The smallest number below `best` whose pattern fits, else `best`."""
        number = self._exact.get(local, best)
        if number < best:
            best = number
        size = len(local)
        for length in self._prefix_lengths:
            if length > size:
                break
            bucket = self._prefixes.get(local[:length])
            if bucket is not None:
                best = _first(bucket, local, best)
        for length in self._suffix_lengths:
            if length > size:
                break
            bucket = self._suffixes.get(local[-length:])
            if bucket is not None:
                best = _first(bucket, local, best)
        if self._any:
            best = _first(self._any, local, best)
        return best


def _put(
    buckets: dict[str, _Bucket], lengths: list[int], key: str, entry: tuple[int, Pattern]
) -> None:
    bucket = buckets.get(key)
    if bucket is None:
        bucket = buckets[key] = []
        if len(key) not in lengths:
            insort(lengths, len(key))
    bucket.append(entry)


def _first(bucket: _Bucket, local: str, best: int) -> int:
    for number, pattern in bucket:
        if number >= best:
            return best
        if pattern.fits(local):
            return number
    return best


class _KindIndex:
    """The records that serve one routing type."""

    __slots__ = ("by_domain", "domains", "main", "main_domain", "ours", "wild")

    def __init__(self) -> None:
        self.main: _Locals | None = None
        self.ours: _Locals | None = None
        self.by_domain: dict[str, _Locals] = {}
        self.domains: dict[str, int] = {}
        """Records of the domain level by exact name."""
        self.main_domain = _NONE
        """The first record of the domain level for the Main Domain."""
        self.wild: list[tuple[int, Record]] = []
        """Records with a wildcard in the domain part; there are few of them."""

    def add(self, number: int, record: Record) -> None:
        local = record.local
        if record.match is Match.WILD:
            self.wild.append((number, record))
        elif local is None:
            if record.match is Match.MAIN:
                self.main_domain = min(self.main_domain, number)
            else:
                self.domains.setdefault(record.domain.prefix, number)
        elif record.match is Match.MAIN:
            if self.main is None:
                self.main = _Locals()
            self.main.add(number, local)
        elif record.match is Match.LOCAL:
            if self.ours is None:
                self.ours = _Locals()
            self.ours.add(number, local)
        else:
            found = self.by_domain.get(record.domain.prefix)
            if found is None:
                found = self.by_domain[record.domain.prefix] = _Locals()
            found.add(number, local)

    def first(self, local: str, names: tuple[str, ...], main: bool, ours: bool) -> int:
        best = _NONE
        if self.by_domain:
            for name in names:
                found = self.by_domain.get(name)
                if found is not None:
                    best = found.first(local, best)
        if main:
            if self.main is not None:
                best = self.main.first(local, best)
            if self.main_domain < best:
                best = self.main_domain
        if ours and self.ours is not None:
            best = self.ours.first(local, best)
        if self.domains:
            for name in names:
                number = self.domains.get(name, best)
                if number < best:
                    best = number
        for number, record in self.wild:
            if number >= best:
                break
            if record.fits(local, names, main, ours):
                return number
        return best


_NONE: Final = 1 << 60


class CompiledTables:
    """The records of all tables in the order in which they apply: server, then cluster."""

    __slots__ = ("_kinds", "records")

    def __init__(self, tables: Iterable[Table]) -> None:
        self.records: Sequence[Record] = tuple(
            record for table in tables for record in table.records
        )
        self._kinds = {kind: _KindIndex() for kind in Kind}
        for number, record in enumerate(self.records):
            for kind in Kind:
                if record.kind is None or record.kind is kind:
                    self._kinds[kind].add(number, record)

    def first(
        self, kind: Kind, local: str, names: tuple[str, ...], main: bool, ours: bool
    ) -> Record | None:
        """The first record that applies: local part in lower case, the names of its domain."""
        number = self._kinds[kind].first(local, names, main, ours)
        return None if number == _NONE else self.records[number]

    def after(
        self, record: Record, kind: Kind, local: str, names: tuple[str, ...], main: bool, ours: bool
    ) -> Record | None:
        """The next record behind `record` that applies, one by one: seldom asked."""
        start = next(i for i, known in enumerate(self.records) if known is record) + 1
        return scan(self.records[start:], kind, local, names, main, ours)


def scan(
    records: Iterable[Record],
    kind: Kind,
    local: str,
    names: tuple[str, ...],
    main: bool,
    ours: bool,
) -> Record | None:
    """What :meth:`CompiledTables.first` finds, by looking at each record: the rule as written."""
    for record in records:
        if (record.kind is None or record.kind is kind) and record.fits(local, names, main, ours):
            return record
    return None


NO_TABLES: Final = CompiledTables(())
