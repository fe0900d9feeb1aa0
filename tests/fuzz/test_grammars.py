"""Mutants of import files, of rules as they are typed and of data: read, or refused in words.

(Addresses and tables: ``router.py``. The same parsers under Hypothesis: ``tests/property``.)
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Final

import pytest

from pbx.commands import Administration
from pbx.configdb import ConfigDb, StoredInventory
from pbx.data import DataError, parse, write, write_pretty
from pbx.eventlog import MemoryLog
from pbx.imports import AccountImport, LineProblem, Outcome, lines_of, parse_columns, parse_line
from pbx.rules import (
    IMMEDIATE,
    Facts,
    Level,
    RuleError,
    compile_rules,
    evaluate,
    given,
    merge,
    parse_rules,
    rules_to_data,
)
from tests.fuzz.hunt import hunt_briefly
from tests.support.clock import VirtualClock

FILES: Final = (
    "Name\tRealName\tPassword\ttelephoneNumber\nuser3\tСидор\tpassword3\t403\n",
    "Name\tAliases\tTelnums\tType\tCallsLimit\nal@x.un\t401,402\t+491\tMultiMailbox\t3\nbo\t\t\t\t\n",
    "\ufeffpassword\tNAME\tAccessModes\r\nsecret-99\tcy\t(3,Mail,PWD)\r\n",
)
RULES: Final = (
    '((100005,busy,((Method,is,INVITE),("From",in,"*@a.un,b@*")),(("Redirect To","pbx@x.un"))))',
    (
        '((505,"no answer",(("Current Day",in,"Mon-Fri"),("Time Of Day","greater than","18:00")),'
        '(("Fork to","401"),("Stop Processing")),"a comment"),(301,x,(),(("Reject with",486))))'
    ),
    (
        '((94005,later,(("RequestURI","is not","sip:*@y.un"),("RegClients","less than",2)),'
        '(("Write To Log","^0 ^S"))))'
    ),
)
DATA: Final = (
    '{a = 1; "b c" = (x, "y\\r\\n", #-0x1F, [AQID], #T22-10-2009_15:24:45, #I[::1]:5060);}',
    '(a,(b,(c,{d=e;})),#NULL#,<x y="z">t</x>)',
)
WORDS: Final = tuple(
    word.encode()
    for word in (
        "\t\t", "\t", ",", "\r\n", "\ufeff", "Name", "Password", "Aliases", "@x.un", "@", "(3,",
        "{", "}", "((", "))", '"', "\\u'41'", "#T", "#I[", "#NULL#", "100005", "is not", "Fork to",
        "*", "^S", "UnixPassword", "postmaster", "error", "default", "x" * 300, "\u202e", "é",
    )
)  # fmt: skip
RUNS: Final = 250
NOW: Final = datetime(2026, 1, 31, 8, tzinfo=UTC)


def check_file(data: bytes) -> None:
    """Every line gets one verdict; whole accounts come of it, or none."""
    log = MemoryLog()
    database = ConfigDb(None, lambda: log.codec)
    inventory = StoredInventory(database)
    administration = Administration(log, actor="fuzz", inventory=inventory)
    administration.create_domain("x.un")
    before = len(inventory.refresh(log).accounts)
    told: dict[int, Outcome] = {}

    def tell(number: int, outcome: Outcome, reason: str) -> None:
        assert number not in told
        assert bool(reason) == (outcome is Outcome.REFUSED)
        told[number] = outcome

    work = AccountImport(log, inventory, VirtualClock(1e9), actor="fuzz", domain="x.un", tell=tell)
    try:
        report = work.run(lines_of(io.BytesIO(data)))
    except LineProblem:
        assert not told
        return
    assert sorted(told) == list(range(2, len(told) + 2))
    assert report.created == len(inventory.refresh(log).accounts) - before
    assert sum(report[:3]) == len(told)
    # Again, nothing new comes of it.
    again = AccountImport(log, inventory, VirtualClock(1e9), actor="fuzz", domain="x.un")
    assert again.run(lines_of(io.BytesIO(data))).created == 0


def check_rules(data: bytes) -> None:
    """Data that is none, rules that are none, or rules that can be stored and evaluated."""
    try:
        value = parse(data.decode("utf-8", "replace"))
        rules = parse_rules(value)
    except (DataError, RuleError):
        return
    assert parse_rules(rules_to_data(rules)) == rules
    for level in Level:
        merged = merge(compile_rules(level, "x", rules))
        for stage in {IMMEDIATE, *(rule.stage for rule in rules)}:
            evaluate(merged, Facts(given({}), NOW), stage)


def check_data(data: bytes) -> None:
    """An error, or a value that both forms keep."""
    try:
        value = parse(data.decode("utf-8", "replace"))
    except DataError:
        return
    assert parse(write(value)) == value
    assert parse(write_pretty(value)) == value


CHECKS: Final = {
    "import": (FILES, check_file),
    "rules": (RULES, check_rules),
    "data": (DATA, check_data),
}


@pytest.mark.parametrize("what", CHECKS)
def test_corpus_itself(what: str) -> None:
    texts, check = CHECKS[what]
    for text in texts:
        check(text.encode())


def test_the_corpus_is_good() -> None:
    """Mutants of what is refused anyway would find little."""
    for text in FILES:
        lines = [raw for _, raw in lines_of(io.BytesIO(text.encode()))]
        assert all(isinstance(raw, bytes) for raw in lines)
        columns = parse_columns(lines[0])  # type: ignore[arg-type]
        assert all(parse_line(columns, raw).name for raw in lines[1:])  # type: ignore[arg-type]
    assert sum(len(parse_rules(parse(text))) for text in RULES) == 4


@pytest.mark.parametrize("what", CHECKS)
@pytest.mark.parametrize("seed", range(3))
def test_mutants(what: str, seed: int) -> None:
    texts, check = CHECKS[what]
    hunt_briefly([text.encode() for text in texts], WORDS, check, seed=seed, runs=RUNS)
