"""Routing decisions: how many a second, what a long table and many accounts cost.

Beside each figure stands that of a naive router on the same addresses: the same engine, but looking
at each record of the table in turn, which is what the order of lines seems to ask for.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Sequence
from typing import Final

from pbx.calls.directory import Directory
from pbx.domain.accounts import AccountAliasesSet, AccountCreated, DomainCreated
from pbx.domain.server import RouterTableSet
from pbx.router import DEFAULT_TABLE, CompiledTables, Kind, Outcome, Record, parse_table, route
from pbx.router.index import scan

ACCOUNTS: Final = 200_000
LINES: Final = 10_000
DOMAIN: Final = "example.org"
NAIVE_RUNS: Final = 200
"""A scan of ten thousand lines takes milliseconds."""
RUNS: Final = 50_000

#: What is dialled, and what it must come to.
DIALLED: Final = (
    ("an account", "u77@example.org", Outcome.ACCOUNT),
    ("an alias", "4077@example.org", Outcome.ACCOUNT),
    ("elsewhere", "ann@far.example", Outcome.FOREIGN),
    ("nobody", "nobody@example.org", Outcome.UNKNOWN),
    ("a number to the PSTN", "+4930123456@example.org", Outcome.APPLICATION),
)


class NaiveTables(CompiledTables):
    """Finds a record by looking at all of them."""

    def first(
        self, kind: Kind, local: str, names: tuple[str, ...], main: bool, ours: bool
    ) -> Record | None:
        return scan(self.records, kind, local, names, main, ours)


def long_table() -> str:
    """Ten thousand lines of the kinds that long tables have: numbers, names, domains."""
    kinds: Sequence[Callable[[int], str]] = (
        lambda n: f"Signal:<{100_000 + n}(4d)@*> = *@site{n}.example",
        lambda n: f"<old{n}@example.org> = u{n}",
        lambda n: f"client{n}.example = client{n}.local",
        lambda n: f"<*-{n}@gate.example> = *@site{n}.example",
    )
    lines = [kinds[number % 4](number) for number in range(LINES - 9)]
    return "\n".join([*lines, DEFAULT_TABLE])


def directory() -> Directory:
    """Accounts with an alias each."""
    made = Directory()
    made.apply(f"domain/{DOMAIN}", DomainCreated(name=DOMAIN))
    for name in ("pbx", *(f"u{number}" for number in range(ACCOUNTS))):
        stream = f"account/{name}@{DOMAIN}"
        made.apply(stream, AccountCreated(name=name, domain=DOMAIN))
        if name != "pbx":
            made.apply(stream, AccountAliasesSet(aliases=(f"40{name[1:]}",)))
    return made


def microseconds(state: Directory, address: str, expected: Outcome, runs: int) -> float:
    """CPU of one decision."""
    for _ in range(min(runs, 1000)):
        found = route(address, Kind.SIGNAL, state)
    if found.outcome is not expected:
        raise AssertionError(f"{address} became {found.outcome}")
    started = time.process_time()
    for _ in range(runs):
        route(address, Kind.SIGNAL, state)
    return (time.process_time() - started) / runs * 1e6


def main() -> None:
    """Print the table."""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    state = directory()
    folded_s = time.process_time() - started
    gc.collect()
    used_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    text = long_table()
    started = time.process_time()
    table = parse_table(text)
    parsed_s = time.process_time() - started
    started = time.process_time()
    compiled = CompiledTables([table])
    compiled_s = time.process_time() - started
    print(f"A directory of {ACCOUNTS:,} accounts with an alias each: "
          f"{used_kb * 1024 / ACCOUNTS:.0f} bytes an account, "
          f"folded at {2 * ACCOUNTS / folded_s:,.0f} events/s")  # fmt: skip
    print(f"A table of {len(table.records):,} lines: read in {parsed_s * 1000:.0f} ms, "
          f"compiled in {compiled_s * 1000:.0f} ms")  # fmt: skip
    naive = NaiveTables([table])
    print(f"{'':<24}{'default table':>22}{f'{LINES:,} lines':>22}{'naive':>12}")
    for what, address, expected in DIALLED:
        state.apply("server", RouterTableSet(text=DEFAULT_TABLE))
        short_us = microseconds(state, address, expected, RUNS)
        state._tables = compiled
        long_us = microseconds(state, address, expected, RUNS)
        state._tables = naive
        naive_us = microseconds(state, address, expected, NAIVE_RUNS)
        print(
            f"{what:<24}{1e6 / short_us:>13,.0f}/s {short_us:>5.1f} µs"
            f"{1e6 / long_us:>13,.0f}/s {long_us:>5.1f} µs{naive_us / long_us:>9,.0f} x"
        )


if __name__ == "__main__":
    main()
