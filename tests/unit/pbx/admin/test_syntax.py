"""Descriptions of commands, and words matched with them."""

from __future__ import annotations

import pytest

from pbx.admin.errors import CliError
from pbx.admin.syntax import Syntax
from pbx.admin.table import COMMANDS
from pbx.data import words_of

CREATE = Syntax("accountName [ accountType:MultiMailbox|AGrade ] [ PATH storage ] [ s:dictionary ]")
STORE = Syntax("fileName { DATA datablock:data | DELETE }")


def test_optional_parts_and_choices() -> None:
    def matched(syntax: Syntax, line: str) -> dict[str, object]:
        return dict(syntax.match("X", words_of(line)))

    assert matched(CREATE, "a") == {"accountName": "a"}
    assert matched(CREATE, "a agrade path p {}") == {
        "accountName": "a", "accountType": "AGrade", "PATH": "PATH", "storage": "p", "s": {},
    }  # fmt: skip
    assert matched(STORE, "f DATA[AQ==]") == {"fileName": "f", "DATA": "DATA", "datablock": b"\1"}
    assert matched(STORE, "f delete") == {"fileName": "f", "DELETE": "DELETE"}
    assert matched(Syntax("[ d ] s:dictionary"), "{}") == {"s": {}}
    assert matched(Syntax("[ d ] s:dictionary"), "x{}") == {"d": "x", "s": {}}


@pytest.mark.parametrize(
    ("syntax", "line", "text"),
    [
        (CREATE, "", "parameter missing: accountName; write X accountName ["),
        (CREATE, "a PATH", "parameter missing: storage; write"),
        (CREATE, "(a)", "column 1: expected accountName, not (a); write"),
        (CREATE, "a {} more", "unexpected parameter more; write"),
        (STORE, "f", "parameter missing: DATA or DELETE; write"),
        (STORE, "f DATA x", "column 8: expected datablock (a data block), not x; write"),
        (STORE, 'f "DELETE"', "column 3: expected DATA or DELETE, not DELETE; write"),
        (Syntax("n:number"), "x", "column 1: expected n (a number), not x"),
        (Syntax("m:INC|SET"), "DEC", "column 1: expected INC or SET, not DEC"),
    ],
)
def test_errors_say_what_is_missing(syntax: Syntax, line: str, text: str) -> None:
    with pytest.raises(CliError) as raised:
        syntax.match("X", words_of(line))
    assert text in str(raised.value)
    assert raised.value.code == 501


def test_every_command_names_the_object_that_its_rights_are_about() -> None:
    for row in COMMANDS.values():
        names = {parameter.name for parameter in row.syntax.parameters()}
        if row.needs.realm.value == "domain":
            assert row.about in names, row.name
