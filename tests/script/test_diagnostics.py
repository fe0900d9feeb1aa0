"""What ``pbx script check`` reports: message, line and column."""

from __future__ import annotations

import pytest

from pbx.script.builtins.registry import Environment
from pbx.script.errors import Severity
from pbx.script.program import check_program
from pbx.script.source import Source


def findings(text: str) -> list[tuple[str, int, int, str]]:
    """(severity, line, column, message) of everything found."""
    return [
        (one.severity.value, one.line, one.column, one.message)
        for one in check_program(Source("x.sppr", text), Environment.REAL_TIME)
    ]


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("\ufeffentry main {}", 1, 1, "entry or procedure is expected"),
        ("SysLog(1);", 1, 1, "entry or procedure is expected"),
        ("entry main {\n  SysLog(1)\n}", 3, 1, "“;” at the end of the statement is expected"),
        ('entry main {\n  x = "abc;\n}', 2, 7, "not closed on its line"),
        ("entry main { /* ", 1, 14, "the comment is not closed"),
        ("entry main { x = 1.5; }", 1, 18, "no fractions"),
        ("entry main { x = 0x10; }", 1, 18, "decimal digits"),
        ("entry main { x = 9999999999999999999; }", 1, 18, "larger than"),
        ('entry main { x = "\\q"; }', 1, 19, "unknown escape"),
        ('entry main { x = "\\999"; }', 1, 19, "no byte"),
        ("entry main { x = “a”; }", 1, 18, "no quote of the language"),
        ("entry main { if(1) {} else if(2) {} }", 1, 28, "write “elif”"),
        ("entry main { if(1) { exitif 1; } }", 1, 22, "exitif belongs directly"),
        ("entry main { loop if 1 then exitif 1; end if; end loop; }", 1, 29, "exitif belongs"),
        ("entry end {}", 1, 7, "is a keyword"),
        ("entry main { foo(); }", 1, 14, "there is no procedure foo"),
        ('entry main { PlayFil("a"); }', 1, 14, "did you mean playfile?"),
        ("entry main { x = Length(); }", 1, 18, "Length takes 1 argument, not 0"),
        ('entry main { x = Substring("a",1); }', 1, 18, "takes 3 arguments, not 2"),
        ("entry main { Length(1); }", 1, 14, "Length is a function"),
        ('entry main { x = PlayFile("a"); }', 1, 18, "PlayFile is a procedure"),
        ("function f(a) {} entry main { void(f()); }", 1, 36, "f takes 1 argument, not 0"),
        ("entry a {} entry a {}", 1, 18, "defined already in line 1"),
        ("procedure p(a,A) {}", 1, 15, "two parameters"),
        ("procedure p() forward; entry main {}", 1, 11, "never defined"),
        ("procedure p() forward; procedure p(a) {}", 1, 34, "announced with 0 parameters"),
        ("function p() forward; procedure p() {}", 1, 33, "announced as a function"),
        ("entry main { x = spawn other; }", 1, 18, "there is no entry other"),
        ("entry main { main(); }", 1, 14, "can only be spawned"),
        ("entry main { m::f(); }", 1, 14, "not declared"),
        ("const a = 1; entry main { a = 2; }", 1, 27, "a is a constant"),
        ("const a = GMTTime(); entry main {}", 1, 11, "must be known beforehand"),
        ("var a = 1; entry main {}", 1, 7, "no initial value"),
        ("entry main { 1 = 2; }", 1, 14, "nothing can be assigned"),
        ("entry main { spawn main; }", 1, 14, "an assignment or a call"),
        ("entry main {", 1, 13, "end of the program"),
    ],
)
def test_errors(text: str, line: int, column: int, message: str) -> None:
    """One error each, at its place."""
    found = [one for one in findings(text) if one[0] == "error"]
    assert len(found) == 1
    assert found[0][1:3] == (line, column)
    assert message in found[0][3]


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("entry main { SysLog(typo); }", 1, 21, "typo is never set"),
        ("entry main { counter = 1; SysLog(conter); }", 1, 34, "did you mean counter?"),
        ("entry main { SysLog(MyDomain); }", 1, 21, "a call needs parentheses"),
        ("entry main { stop; SysLog(1); }", 1, 20, "never reached"),
        ("entry main { if(1) { return; } else { stop; } SysLog(1); }", 1, 47, "never reached"),
        ("entry main { loop SysLog(1); end loop; SysLog(2); }", 1, 40, "never reached"),
        ("entry main { p(); } procedure p() {}", 1, 14, "announce it with “forward;”"),
        ("procedure p() { return 1; } entry main { p(); }", 1, 17, "returns no value"),
        ("function f() { return; } entry main { void(f()); }", 1, 16, "returns null"),
    ],
)
def test_warnings(text: str, line: int, column: int, message: str) -> None:
    """Doubtful places do not forbid running."""
    (found,) = findings(text)
    assert found[0] == "warning"
    assert found[1:3] == (line, column)
    assert message in found[3]


def test_all_findings_are_shown_in_order() -> None:
    """The resolver goes on after an error."""
    text = "entry main {\n  foo();\n  SysLog(typo);\n  x = bar(1);\n}\n"
    assert [one[1] for one in findings(text)] == [2, 3, 4]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str) -> None:
    """CR, LF and CRLF count as one line, and end comments."""
    text = end.join(["// comment", "entry main {", "  foo();", "}"])
    assert [one[1:3] for one in findings(text)] == [(3, 3)]


def test_the_text_of_a_finding() -> None:
    """File, place, message, the line, and a mark under the column."""
    (found,) = check_program(Source("x.sppr", "entry main {\n\tfoo();\n}"), Environment.REAL_TIME)
    assert str(found) == ("x.sppr:2:2: error: there is no procedure foo\n    \tfoo();\n    \t^")
    assert found.severity is Severity.ERROR


def test_bytes_that_are_no_text() -> None:
    """The line is told; a huge file is refused."""
    from pbx.script.errors import CompileError

    with pytest.raises(CompileError, match=r"x\.sppr:2:1: error: the text is not UTF-8"):
        Source.from_bytes("x.sppr", b"entry main {\n\xff\n}")
    with pytest.raises(CompileError, match="larger than"):
        Source.from_bytes("x.sppr", b" " * 1_100_000)
