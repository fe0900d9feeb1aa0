"""What must hold for any text that reaches the router, and a hunt that runs until it does not.

``python -m tests.fuzz.router --seed 1 --runs 1000000`` prints the mutant that broke a rule.
"""

from __future__ import annotations

import sys

from pbx.router import (
    DEFAULT_TABLE,
    AddressError,
    CompiledTables,
    Kind,
    TableError,
    fan_out,
    parse_address,
    parse_table,
    route,
    shown_steps,
)
from pbx.router.address import qualified
from pbx.router.table import MAX_PROBLEMS, usable_table
from tests.fuzz.hunt import hunt
from tests.support.routing import corporation
from tests.transcript.test_router_examples import cases

WORDS = tuple(
    word.encode()
    for word in (
        "Relay:", "NoRelay:", "RelayAll:", "Signal:", "Mail:", "Access:", "<", ">", "@*", "*",
        "[::1]",
        "(3d)", "(7-20d)", "(0d)", "(9-1d)", "(", "; x", "=", "#pbx", "{*}", "{", "}", "@telnum",
        "@pstn", "._via", ".local", "null", "error", "spamtrap", "localhost", "!", "%", '"',
        "\\*", "corpx.un", "\ue000", "401",
    )
)  # fmt: skip


def corpus() -> list[bytes]:
    """Tables and addresses of the examples."""
    texts = {DEFAULT_TABLE}
    for case in cases():
        texts.update((case.table, case.address))
    return [text.encode() for text in sorted(texts)]


_STATE = corporation()


def check(data: bytes) -> None:
    """Nothing but the declared errors; what was read is written back; decisions end."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        address = parse_address(text)
    except AddressError:
        pass
    else:
        assert parse_address(str(address)) == address
        assert qualified(text, "corpx.un", "user1")
    problems = 1
    try:
        table = parse_table(text)
    except TableError as error:
        problems = len(error.problems)
        table = usable_table(text)
    assert 1 <= problems <= MAX_PROBLEMS
    assert table.text == text
    _STATE.tables = CompiledTables([table])
    for line in (text[:200], "401@corpX.un", "+74951234567", "x%y@telnum", "*12"):
        for kind in Kind:
            found = route(line, kind, _STATE, caller="user1@corpx.un")
            assert shown_steps(found)
            assert found.triple()
            list(fan_out(found, kind, _STATE))


if __name__ == "__main__":
    sys.exit(hunt(corpus(), WORDS, check))
