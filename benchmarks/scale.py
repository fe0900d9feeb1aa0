"""A big installation: 120,000 domains and 1,000,000 accounts; ``--small`` is a hundredth of that.

Made in a temporary directory, as a user would (``pbx account import``), and thrown away. Measured
are the import, the start of a server, what its roles keep in memory, routing decisions with few and
with many accounts that telephone, and log-ins. Beside them: one look-up in SQLite without anything
of ours, one in a dictionary, Kamailio's REGISTER."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import harness, rules
from pbx.calls.directory import Directory
from pbx.calls.stored_directory import CACHED, OpenPassword, StoredDirectory, StoredRulebook
from pbx.cli.administration import administration
from pbx.configdb import FILE, ConfigDb, open_config
from pbx.datadir import DataDirectory
from pbx.domain.accounts import AccountCreated, DomainCreated
from pbx.domain.rules import RulesChanged, stored
from pbx.eventlog import ANY_VERSION, EmbeddedLog, Meta, open_log
from pbx.eventlog.record import Decision, make_rows
from pbx.router import Kind, Outcome, route
from pbx.rules import IMMEDIATE, Facts, Level, evaluate, parse_rules

ACCOUNTS: Final = 1_000_000
DOMAINS: Final = 120_000
SMALL: Final = 100
PASSWORD: Final = "scale-password-1"
DECISIONS: Final = 100_000
WARM: Final = 10_000
"""Accounts that telephone in the warm case: fewer than the cache holds."""
ZIPF: Final = 1.0
PHONES: Final = 3_000
RULED: Final = 200
"""Accounts that get rules of their own."""
MAIN: Final = "main.example"
BUDGET_WARM_US: Final = 2.0


def domain_of(account: int, domains: int) -> str:
    """Where an account is: every tenth in the Main Domain, the others all over."""
    return MAIN if account % 10 == 0 else f"d{account % domains}.example"


def address_of(account: int, domains: int) -> str:
    """``name@domain``."""
    return f"u{account}@{domain_of(account, domains)}"


def make_domains(data: Path, domains: int) -> float:
    """Seconds; thousands to a commit, since ``pbx domain create`` is made for one."""
    with administration(DataDirectory(data), "bench") as administrate:
        administrate.create_domain(MAIN)
    log = open_log(data)
    began = time.monotonic()
    try:
        for start in range(0, domains, 1000):
            decisions = []
            for number in range(start, min(start + 1000, domains)):
                name = f"d{number}.example"
                rows = make_rows(
                    log.codec,
                    f"domain/{name}",
                    [DomainCreated(name=name)],
                    Meta(actor="bench", tenant=name),
                    time_ns=time.time_ns(),
                    node="",
                )
                decisions.append(Decision(f"domain/{name}", 0, rows))
            log.commit(decisions)
    finally:
        log.close()
    return time.monotonic() - began


def write_file(path: Path, accounts: int, domains: int) -> None:
    """Every account has a password and an alias, every fourth a telephone number."""
    with path.open("w", encoding="utf-8") as file:
        file.write("Name\tRealName\tPassword\tAliases\tTelnums\n")
        for number in range(accounts):
            telnum = f"+49{number:09}" if number % 4 == 0 else ""
            file.write(
                f"{address_of(number, domains)}\tUser {number}\t{PASSWORD}\t4{number}\t{telnum}\n"
            )


def import_file(data: Path, path: Path) -> tuple[float, float, float]:
    """Seconds of wall and of CPU, and megabytes that the command took at most."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    subprocess.run(
        [*harness.PBX, "account", "import", str(path), "--data", str(data)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    wall_s = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s, after.ru_maxrss / 1024


class Weighted:
    """Accounts by Zipf's law: the n-th telephones 1/n as often as the first."""

    def __init__(self, accounts: int, rng: random.Random) -> None:
        self._sums = list(itertools.accumulate(1 / rank**ZIPF for rank in range(1, accounts + 1)))
        self._order = list(range(accounts))
        rng.shuffle(self._order)
        self._rng = rng

    def draw(self) -> int:
        """One account."""
        return self._order[bisect(self._sums, self._rng.random() * self._sums[-1])]


def decisions(data: Path, accounts: int, domains: int) -> bool:
    """Print the table of routing decisions and look-ups; whether they are within the budgets."""
    rng = random.Random(1)
    log = open_log(data)
    config = open_config(data)
    config.advance(log)
    runs = min(DECISIONS, accounts)
    print(f"{'':<44}{'a second':>12}{'each':>10}{'to the file':>14}")

    def rate(what: str, numbers: Sequence[int], directory: Directory) -> None:
        addresses = [address_of(number, domains) for number in numbers]
        before = getattr(directory, "misses", 0)
        began = time.process_time()
        for address in addresses:
            found = route(address, Kind.SIGNAL, directory)
        took = (time.process_time() - began) / len(addresses)
        if found.outcome is not Outcome.ACCOUNT:
            raise AssertionError(f"{address} became {found.outcome}")
        missed = (getattr(directory, "misses", 0) - before) / len(addresses)
        print(f"{what:<44}{1 / took:>10,.0f}/s{took * 1e6:>7.1f} µs{missed:>13.0%}")

    cold = StoredDirectory(config.reader(), log.codec.decode)
    everybody = rng.sample(range(accounts), runs)
    rate("each call to another account (cold)", everybody, cold)
    zipf = StoredDirectory(config.reader(), log.codec.decode)
    weighted = Weighted(accounts, rng)
    for _ in range(runs):
        zipf.find(f"u{(number := weighted.draw())}", domain_of(number, domains))
    rate(f"by Zipf's law, {CACHED:,} names cached", [weighted.draw() for _ in range(runs)], zipf)
    few = [rng.randrange(min(WARM, accounts)) for _ in range(runs)]
    warm = StoredDirectory(config.reader(), log.codec.decode)
    for number in few:
        warm.find(f"u{number}", domain_of(number, domains))
        warm.local_domain(domain_of(number, domains))
    rate(f"{WARM:,} accounts telephone (warm)", few, warm)
    memory = Directory()
    for number in range(min(WARM, accounts)):
        domain, name = domain_of(number, domains), f"u{number}"
        memory.apply(f"domain/{domain}", DomainCreated(name=domain))
        memory.apply(f"account/{name}@{domain}", AccountCreated(name=name, domain=domain))
    rate("the same with all of them in memory", few, memory)
    warm_us = look_ups(data, log.codec.decode, config, everybody, few, warm, domains)
    rules_us = ten_rules(log, config)
    config.close()
    log.close()
    return warm_us <= BUDGET_WARM_US and rules_us <= rules.BUDGET_US


def ten_rules(log: EmbeddedLog, config: ConfigDb) -> float:
    """Print what the rules of :mod:`benchmarks.rules` cost among all these accounts; returns µs of
    a call."""
    addresses = [f"u{number}@{MAIN}" for number in range(0, RULED * 10, 10)]
    streams = ["server", f"domain/{MAIN}", *(f"account/{address}" for address in addresses)]
    for stream in streams:
        level = Level.SERVER if stream == "server" else Level(stream.partition("/")[0])
        event = RulesChanged(rules=stored(parse_rules(rules.rows(level))))
        log.append(stream, ANY_VERSION, [event], Meta(actor="bench"))
    config.advance(log)
    directory = StoredDirectory(config.reader(), log.codec.decode)
    book = StoredRulebook(directory)
    now = datetime.now(UTC)
    figures = []
    for work in (
        lambda address: book.of_account(address, with_server=True),
        lambda address: book.of_account(address, with_server=True),
        lambda address: evaluate(
            book.of_account(address, with_server=True), Facts(rules.VALUES, now), IMMEDIATE
        ),
    ):
        began = time.process_time()
        for address in addresses:
            work(address)
        figures.append((time.process_time() - began) / len(addresses) * 1e6)
    first, again, decided = figures
    print(
        f"ten rules of an account: read and compiled once {first:.0f} µs, then {again:.1f} µs, "
        f"decided {decided:.0f} µs, budget {rules.BUDGET_US:.0f} µs"
    )
    return again + decided


def look_ups(
    data: Path,
    decode: OpenPassword,
    config: ConfigDb,
    everybody: Sequence[int],
    few: Sequence[int],
    warm: StoredDirectory,
    domains: int,
) -> float:
    """Print what single look-ups cost; returns µs of a warm one."""
    pairs = [(f"u{number}", domain_of(number, domains)) for number in everybody]
    known = [(f"u{number}", domain_of(number, domains)) for number in few]

    def each(
        what: str, ask: Callable[[str, str], object], names: Sequence[tuple[str, str]]
    ) -> float:
        began = time.process_time()
        for name, domain in names:
            ask(name, domain)
        us = (time.process_time() - began) / len(names) * 1e6
        print(f"{what:<44}{1e6 / us:>10,.0f}/s{us:>7.1f} µs")
        return us

    warm_us = each("an account that is cached", warm.find, known)
    fresh = StoredDirectory(config.reader(), decode)
    each("an account that is not", fresh.find, pairs)
    opened = StoredDirectory(config.reader(), decode)
    some = pairs[: len(pairs) // 4]
    each(
        "an account that is not, and its secret",
        lambda name, domain: opened.find(name, domain).secret(name, "MD5"),  # type: ignore[union-attr]
        some,
    )
    each("nobody of that name", lambda name, domain: fresh.find(f"no-{name}", domain), pairs)
    with contextlib.closing(sqlite3.connect(data / FILE)) as database:
        statement = "SELECT kind, data FROM objects WHERE domain = ? AND name = ?"
        each(
            "one SELECT by key and nothing else (sqlite3)",
            lambda name, domain: database.execute(statement, (domain, name)).fetchone(),
            pairs,
        )
    bare = {f"{name}@{domain}": number for number, (name, domain) in enumerate(known)}
    each("one look into a dictionary", lambda name, domain: bare[f"{name}@{domain}"], known)
    print(f"a warm look-up: {warm_us:.2f} µs, budget {BUDGET_WARM_US:.0f} µs")
    return warm_us


def projected(data: Path) -> float:
    """Seconds in which the read model takes up what was imported without a server."""
    began = time.monotonic()
    subprocess.run(
        [*harness.PBX, "registrations", "--data", str(data)], check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - began


def starts(data: Path) -> tuple[float, dict[str, float]]:
    """Seconds to ``ready``, and megabytes of the roles then."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        with harness.ringlog(media="off", data=data, prepared=True) as server:
            took.append(time.monotonic() - began)
            memory = memory_mb(server)
    return statistics.median(took), memory


def memory_mb(server: harness.Running) -> dict[str, float]:
    """Resident megabytes by role."""
    return {role: server.memory_kb(role) / 1024 for role in ("signal", "admin", "project")}


@contextlib.contextmanager
def phones(accounts: int, domains: int, seed: int) -> Iterator[list[str]]:
    """SIPp's arguments for registrations of as many different accounts."""
    scenario = (harness.HERE / "peers" / "register.xml").read_text()
    # A contact that is the same in each run: the second time it is refreshed.
    for old, new in (
        ("[service]@[local_ip]:[local_port]", "[field0]@127.0.0.1:9"),
        ("[service]", "[field0]"),
        ("[domain]", "[field1]"),
        ("[authentication]", "[field2]"),
    ):
        scenario = scenario.replace(old, new)
    # Of the Main Domain: SIPp proves itself for the address of the server, which means that one.
    chosen = random.Random(seed).sample(range(0, accounts, 10), min(PHONES, accounts // 10))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "register.xml").write_text(scenario)
        lines = [
            f"u{n};{domain_of(n, domains)};[authentication username=u{n} password={PASSWORD}]\n"
            for n in chosen
        ]
        Path(folder, "names.csv").write_text("SEQUENTIAL\n" + "".join(lines))
        yield ["-sf", f"{folder}/register.xml", "-inf", f"{folder}/names.csv"]


def registrations(data: Path, accounts: int, domains: int) -> None:
    """Print the CPU of REGISTERs: of accounts nobody asked for, and of the same ones again."""

    count = min(PHONES, accounts // 10)

    def measured(server: harness.Running, command: list[str]) -> float:
        before = server.cpu_s("signal")
        harness.sipp(command, server.port, rate=500, calls=count)
        return (server.cpu_s("signal") - before) * 1000 / count

    with harness.ringlog(media="off", data=data, prepared=True) as server:
        with phones(accounts, domains, 1) as command:
            harness.sipp(command, server.port, rate=500, calls=min(500, count))  # warm-up
        with phones(accounts, domains, 2) as command:
            new, warm = measured(server, command), measured(server, command)
    with harness.ringlog(media="off", data=data, prepared=True) as server:
        with phones(accounts, domains, 1) as command:
            harness.sipp(command, server.port, rate=500, calls=min(500, count))  # warm-up
        with phones(accounts, domains, 2) as command:
            cold = measured(server, command)
        memory = memory_mb(server)
    with harness.kamailio(9) as proxy:
        from benchmarks.register import PEER_RATE, measure

        peer = measure(proxy, PEER_RATE)
    print("CPU per REGISTER with digest, two round trips, ms")
    for what, figure in (
        ("phones for the first time: a binding is added", new),
        ("the same phones again, accounts in the cache", warm),
        ("the same after a restart: each is looked up", cold),
        ("kamailio, one account, no look-up", peer),
    ):
        print(f"  {what:<46}{figure:6.3f}   {figure / peer:5.2f} x kamailio")
    print(f"memory afterwards, MB: {_roles(memory)}")


def _roles(memory: dict[str, float]) -> str:
    return ", ".join(f"{role} {mb:.0f}" for role, mb in memory.items())


def rebuilt(data: Path) -> float:
    """Seconds in which the configuration database is made of the log alone."""
    for file in data.glob(f"{FILE}*"):
        file.unlink()
    began = time.monotonic()
    log, config = open_log(data, unseal=False), open_config(data)
    config.advance(log)
    took_s = time.monotonic() - began
    config.close()
    log.close()
    return took_s


def main() -> int:
    """Make it, measure it, print the figures, throw it away; 1 if a budget is broken."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="a hundredth of everything, for CI")
    parser.add_argument("--no-sip", action="store_true", help="without servers, SIPp and Kamailio")
    arguments = parser.parse_args()
    part = SMALL if arguments.small else 1
    accounts, domains = ACCOUNTS // part, DOMAINS // part
    folder = Path(tempfile.mkdtemp(prefix="ringlog-scale-"))
    try:
        data = folder / "data"
        DataDirectory(data).prepare()
        print(f"{domains:,} domains, {accounts:,} accounts with a password and an alias each")
        domains_s = make_domains(data, domains)
        write_file(folder / "accounts.txt", accounts, domains)
        wall_s, cpu_s, mb = import_file(data, folder / "accounts.txt")
        (folder / "accounts.txt").unlink()
        sizes = {
            file.name: file.stat().st_size / accounts for file in sorted(data.glob("*.sqlite3"))
        }
        print(
            f"import: {accounts / wall_s:,.0f} accounts/s, {cpu_s / accounts * 1e6:.0f} µs CPU "
            f"each, the command takes {mb:.0f} MB"
        )
        print(f"        {domains / domains_s:,.0f} domains/s before, a thousand to a commit")
        print("bytes an account on disk: "
              + ", ".join(f"{name} {size:.0f}" for name, size in sizes.items()))  # fmt: skip
        good = decisions(data, accounts, domains)
        if not arguments.no_sip:
            empty = folder / "empty"
            DataDirectory(empty).prepare()
            with administration(DataDirectory(empty), "bench") as administrate:
                administrate.create_domain(MAIN)
            print(f"the read model takes them up in {projected(data):.0f} s")
            few_s, few = starts(empty)
            many_s, many = starts(data)
            print(f"start to ready: {many_s:.2f} s; of an empty server {few_s:.2f} s")
            print(f"memory then, MB: {_roles(many)}; of an empty server: {_roles(few)}")
            registrations(data, accounts, domains)
        print(f"the file made anew from the log: {rebuilt(data):.1f} s")
        return 0 if good else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
