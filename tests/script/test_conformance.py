"""The conformance snippets of CG/PL reference §15, and expressions of §3 and §4."""

from __future__ import annotations

from typing import Any

import pytest

from pbx.script.errors import CompileError, ProgramException
from pbx.script.testing import compile_text, evaluate, logged


def test_both_dialects_mix() -> None:
    """§15, the program."""
    text = """
entry Main is
  var s = "";
  for i = 0 while i < 3 by i += 1 loop s += String(i); end loop;   // "012"
  for(var k = 3; k < 5; k += 1) { s = s + String(k); }             // "01234"
  n = 0; loop n += 1; exitif n >= 4; s += "."; end loop;           // "01234..."
  SysLog(s == "01234..." ? "ok" : "bad");
end entry;
"""
    assert logged(text) == ["ok"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        # §15.
        ('null || "a" && null', None),
        ('"" ? 1 : 2', 1),
        ("false == null", "YES"),
        ("true", "YES"),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ('"a" "b" + "c"', "abc"),
        ("x.y.z[3]", None),
        ('Number("0x10")', 0),
        ('NewDictionary().("k")', None),
        ('String(null) || "NULL"', "NULL"),
        ('ToObject("{a=(#1,b);}").a[0]', 1),
        ("ObjectToString(NewArray())", "()"),
        ('Substring("x{y}",-1,1)', "}"),
        # §4.1: one level of logical operators, from left to right.
        ("-2 + 1", -1),
        ('"a" || "b" && "c"', "c"),
        ('null && "b" || "c"', "c"),
        ("null ? 1 : null ? 2 : 3", 3),
        ("1 ? 2 : null ? 3 : 4", 2),
        ("!null", "YES"),
        ("not 0", None),
        ("! not null", None),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("10 - 3 - 2", 5),
        # §4.2.
        ("9223372036854775807 + 1", -9223372036854775808),
        ("5 / 0", None),
        ("5 % 0", None),
        ('"n" + 5', "n5"),
        ('5 + "n"', "5n"),
        ('"a" + null', None),
        ("null + 1", None),
        ('"a" * 2', None),
        ("-null", 0),
        ('-"5"', 0),
        ("+7", 7),
        ("1 < 2", "YES"),
        ('"a" < "b"', "YES"),
        ('1 < "b"', None),
        ("2 <= 2", "YES"),
        ("2 != 2", None),
        ('"A" == "a"', None),
        ("null == null", "YES"),
        ("0 == null", None),
        ("1 and 2", "YES"),
        ("1 & null", None),
        ("null or 3", "YES"),
        ("null | null", None),
        ("1 xor null", "YES"),
        ("1 ^ 1", None),
        ("5 and then 7", 7),
        ("null and then 7", None),
        ("5 or else 7", 5),
        ("null or else 7", 7),
        ('"x".length()', 1),
        ("null.string()", None),
        ("null.length()", 0),
        # §3.
        ("ObjectToString(null)", "#null#"),
        ('ObjectToString(ToObject("(a,#-5,{b=#I[10.0.44.55]:25;})"))', None),
        ('Number("123#")', 123),
        ('Number("abc")', 0),
        ("Number(null)", 0),
        ('ObjectClass("x")', "STString"),
        ("ObjectClass(null)", None),
        ('"401"[0]', "4"),
        ('"401"[3]', None),
        ('String(Date("22-10-2009_15:24:45"))', "22-10-2009_15:24:45"),
        ('String(IPAddress("[10.0.0.1]:5060"))', "[10.0.0.1]:5060"),
        ('String(IPAddress("10.0.0.1"))', "[10.0.0.1]"),
        ('ToObject("#T22-10-2009") - Date("21-10-2009_00:00:00")', 86400),
        ('ObjectToString(ToObject("#TPAST"))', "#TPAST"),
        ('ToObject("#0xFF") + ToObject("#0o17") + ToObject("#0b101")', 275),
        ('ToObject("#null#")', None),
        ('ToObject("(a")', None),
        ('ObjectToString("a b")', '"a b"'),
        # §9.1, §9.2.
        ('Same("J"+"ack","Jack")', None),
        ("Same(null,null)", "YES"),
        ("Same(true,true)", "YES"),
        ("Min(1,2) + Max(5,3) * 10", 51),
        ('Max("a",1)', 1),
        ('Substring("abcdef",-1,2)', "ef"),
        ('Substring("abcdef",-2,2)', "de"),
        ('Substring("abcdef",1,2)', "bc"),
        ('Substring("abc",3,2)', ""),
        ('Substring("abc",1,-1)', None),
        ('Substring("abc",-9,2)', ""),
        ('Range("žluť",1,2)', "lu"),
        ('Length("ž")', 2),
        ('FindSubstring("forest","for")', 0),
        ('FindSubstring("A forest for all","for",1)', 2),
        ('FindSubstring("A forest for all","for",4)', 9),
        ('FindSubstring("A forest for all","for",-3)', 9),
        ('FindSubstring("A forest for all","for",-5)', 2),
        ('FindSubstring("a/b/c","/",-1)', 3),
        ('FindSubstring("abc","x")', -1),
        ('ToUpperCase("ёж")', "ЁЖ"),
        ('IsDigit("5")', "YES"),
        ('IsDigit("*")', None),
        ('IsDigit("55")', None),
        ('IsWhiteSpaces(" \\t")', "YES"),
        ('FindRegEx("/a/b/c.txt","^.+/")[0]', "/a/b/"),
        ('FindRegEx("x=12","([a-z])=([0-9]+)")[2]', "12"),
        ('FindRegEx("x","y")', None),
        ('EmailDomainPart("a@b@c")', "b@c"),
        ('EmailUserPart("a")', "a"),
        ('EmailDomainPart("a")', None),
        # §9.4.
        ('Year(Date("05-11-2008"))', 2008),
        ("ObjectToString(DateByMonthDay(2008,11,5))", "#T05-11-2008_00:00:00"),
        ("ObjectToString(DateByYearDay(2006,32))", "#T01-02-2006_00:00:00"),
        ("DateByMonthDay(2007,2,29)", None),
        ("Year(Date(0))", 0),
        ("Year(Date(-1))", 9999),
        ("ObjectToString(Date(1))", "#T02-01-1970_00:00:00"),
        ("Month(3)", "Mar"),
        ('WeekDay(Date("22-10-2009"))', "Thu"),
        ('YearDay(Date("01-02-2006"))', 32),
        ('TimeOfDay(Date("22-10-2009_01:00:05"))', 3605),
        # §9.5.
        ('Base64Encode("abc")', "YWJj"),
        ('String(Base64Decode("YWJj"))', "abc"),
        ('String(Base32Decode(Base32Encode("hi")))', "hi"),
        ('Convert(Convert("ff00","hex"),"HEX")', "FF00"),
        ('Convert("Я","utfcode")', 1071),
        ('Convert(1071,"utfcode")', "Я"),
        ('Convert("a  b","words")[1]', "b"),
        ('Convert(Convert("я","koi8-r"),"hex")', "d1"),
        ('Convert(CryDigest("MD5",""),"hex")', "d41d8cd98f00b204e9800998ecf8427e"),
        ('CryDigest("NONE","x")', None),
        # §9.9.
        ('ObjectToJSON(ToObject("{a=(#1,b);}"))', '{"a":[1,"b"]}'),
        ('ObjectToString(JSONToObject("{\\"a\\":[1,true,null,1.5]}"))', "{a=(#1,YES,#null#,1.5);}"),
        ('ObjectToString(JSONToObject("["))', "#null#"),
    ],
)
def test_expressions(expression: str, value: Any) -> None:
    """One expression, one value."""
    if expression.startswith('ObjectToString(ToObject("(a,#-5'):
        value = "(a,#-5,{b=#I[10.0.44.55]:25;})"
    assert evaluate(expression) == value


def test_short_circuit_and_both_sides() -> None:
    """`&&` and `||` evaluate what they need, `and` and `or` everything (§4.2)."""
    text = """
function say(x) { Vars().log = (Vars().log || "") + x; return x; }
entry main {
  void(null && say("a")); void("1" || say("b"));
  void(null and say("c")); void("1" or say("d"));
  SysLog(Vars().log);
}
"""
    assert logged(text) == ["cd"]


def test_scopes_and_undeclared_names() -> None:
    """An inner var shadows, undeclared names live in the section, task variables are Vars()."""
    text = """
var shared;
procedure other() { SysLog(free); SysLog(shared); Vars().shared = "changed"; }
entry main {
  var x = 1;
  if(true) { var x = 2; x += 1; SysLog(x); }
  SysLog(X);
  free = "mine"; shared = "task";
  other();
  SysLog(SHARED);
}
"""
    assert logged(text) == [3, 1, None, "task", "changed"]


def test_var_in_a_loop_is_fresh() -> None:
    """A var without a value is null in every pass."""
    text = "entry main { for(var i = 0; i < 2; i += 1) { var x; SysLog(x); x = i; } }"
    assert logged(text) == [None, None]


def test_sharing_and_copies() -> None:
    """Assignment shares, Copy copies; parameters are passed by sharing (§3)."""
    text = """
procedure change(d) { d.k = "new"; d = null; }
entry main {
  var a = NewDictionary(), b = a, c; c = a.copy();
  change(a);
  SysLog(b.k); SysLog(c.k); SysLog(Same(a,b)); SysLog(Same(a,c)); a.k = null; SysLog(Length(b));
}
"""
    assert logged(text) == ["new", None, "YES", None, 0]


def test_dictionary_order_and_case() -> None:
    """Keys are sorted by bytes, or without case after SetCaseSensitive(d,null)."""
    text = """
entry main {
  var d = NewDictionary();
  d.b = 1; d.A = 2; d.a = 3; d.("") = 4;
  SysLog(ObjectToString(d)); SysLog(d[0]); SysLog(d[1]); SysLog(d[9]);
  SetCaseSensitive(d,null);
  SysLog(d.B); SysLog(Length(d));
}
"""
    assert logged(text) == ['{""=#4;A=#2;a=#3;b=#1;}', "", "A", None, 1, 3]


def test_arrays() -> None:
    """Appending by index, insertion, removal, sorting, searching (§4.3, §9.6)."""
    text = """
entry main {
  var a = NewArray();
  a[0] = "b"; a[Length(a)] = "C"; a.addElement("a");
  a.insertElement("1", "x"); a.removeElement(0);
  SysLog(ObjectToString(a)); SortStrings(a); SysLog(ObjectToString(a));
  SysLog(Find(a,"x")); SysLog(Find(a,"?")); SysLog(ObjectToString(Invert(a))); SysLog(a[7]);
}
"""
    assert logged(text) == ["(x,C,a)", "(a,C,x)", 2, -1, "(x,C,a)", None]


def test_compound_assignment_targets() -> None:
    """`x op= e` on keys and elements evaluates the target once."""
    text = """
function next(a) { Vars().n = (Vars().n || 0) + 1; return a; }
entry main {
  var d = NewDictionary(), a = NewArray(); a[0] = 5;
  d.k = 1; d.k += 2; d.("k") *= 5; next(a)[0] -= 1; a[0] %= 3; d.f = null; d.f |= 1; d.f &= null;
  SysLog(d.k); SysLog(a[0]); SysLog(Vars().n); SysLog(d.f);
}
""".replace("next(a)[0]", "a.next()[0]")
    assert logged(text) == [15, 1, 1, None]


def test_loops() -> None:
    """exitif leaves without the step; parts of a head may be absent (§5)."""
    text = """
entry main is
  for(;;) { exitif true; SysLog("never"); }
  i = 0; for while i < 2 loop i += 1; end loop; SysLog(i);
  while i < 5 loop i += 1; exitif i == 4; end loop; SysLog(i);
  for j = 0 by j += 1 loop exitif j > 2; end loop; SysLog(j);
  while(null) { SysLog("never"); }
end;
"""
    assert logged(text) == [2, 4, 3]


def test_if_dialects() -> None:
    """elif in both dialects, empty branches, an if within else."""
    text = """
entry main is
  if null then SysLog(1); elif 0 then SysLog(2); else SysLog(3); end if;
  if(null) {} elif(null) {} else { SysLog(4); }
  if null then null; else if true then SysLog(5); end if; end;
end entry;
"""
    assert logged(text) == [2, 4, 5]


def test_stop_ends_everything() -> None:
    """`stop` ends the task from any depth; `return` in an entry ends it normally."""
    assert logged("procedure p() { stop; } entry main { SysLog(1); p(); SysLog(2); }") == [1]
    assert logged("entry main { SysLog(1); return; }") == [1]


def test_functions() -> None:
    """Recursion, forward declarations, a function without return gives null, hiding a built-in."""
    text = """
function even(n) forward;
function odd(n) { return n == 0 ? null : even(n-1); }
function even(n) { return n == 0 ? true : odd(n-1); }
function nothing() {}
function Length(x) { return "mine"; }
entry main { SysLog(even(10)); SysLog(odd(10)); SysLog(nothing()); SysLog(Length("abc")); }
"""
    assert logged(text) == ["YES", None, None, "mine"]


def test_constants() -> None:
    """Constants are folded; assignment is a compile error (§6)."""
    assert logged('const a = 2, b = a * 3 + 1; entry main { const c = b + "x"; SysLog(c); }') == [
        "7x"
    ]
    with pytest.raises(CompileError, match="is a constant"):
        compile_text("const a = 1; entry main { a = 2; }")


def test_strings() -> None:
    """Escapes and concatenation of literals (§2)."""
    text = r"""
entry main {
  SysLog("a\"b\\c\t\065\u'42f'");
  SysLog("one" /* comment */
         " two" // another
         " three");
}
"""
    assert logged(text) == ['a"b\\c\tAЯ', "one two three"]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("var x; x.k = 1;", "not in null"),
        ('var x = "s"; x[0] = 1;', "not in string"),
        ("var a = NewArray(); a[1] = 1;", "outside of an array"),
        ('AddElement("x",1);', "needs an array or XML"),
        ("void(ToObject(5));", "ToObject needs"),
        ("void(Base64Encode(5));", "Base64Encode needs"),
        ("void(XMLType(null));", "needs an XML object"),
        ("SetCaseSensitive(null,null);", "needs a dictionary"),
        ("var a = NewArray(); a.addElement(1); SortStrings(a);", "strings only"),
        ('void(FuncCall("m::f"));', "there is no module m"),
    ],
)
def test_exceptions(statement: str, message: str) -> None:
    """What the reference calls a program exception ends the program, with a position."""
    with pytest.raises(ProgramException, match=message) as caught:
        logged("entry main {\n  " + statement + "\n}")
    assert "test.sppr:2:" in str(caught.value)
    assert "in entry main" in str(caught.value)


def test_call_stack() -> None:
    """The innermost frame comes first, with its source line."""
    text = """
function inner(x) { return x.k[0] + ToObject(5); }
procedure outer(x) {
  for(;;) { void(inner(x)); exitif true; }
}
entry main { outer(null); }
"""
    with pytest.raises(ProgramException) as caught:
        logged(text)
    lines = str(caught.value).splitlines()
    places = [line.split(" in ")[1] for line in lines if " in " in line]
    assert places == ["function inner", "procedure outer", "entry main"]
    assert "return x.k[0] + ToObject(5);" in str(caught.value)


def test_xml() -> None:
    """XML objects: the value comes before the name; namespaces; bodies by type and index."""
    text = """
entry main {
  var x = NewXML("root","p","urn:x");
  x.setAttribute("v","a"); x.setAttribute(5,"n","q");
  x.addElement(NewXML("child")); x.addElement("text"); x.addElement(NewXML("child"));
  SysLog(ObjectToString(x)); SysLog(x.getAttribute("a")); SysLog(x.getAttribute(1)[1]);
  SysLog(XMLType(XMLBody(x,"child",null,1))); SysLog(XMLBody(x,null,null,1)); SysLog(String(x));
  SysLog(GetNamespace(x,"p")); SysLog(GetPrefix(x,"urn:x")); x.setAttribute(null,"a");
  SysLog(x.getAttribute("a"));
  var parsed = ToObject("<a b='1'>&lt;t&gt;<c/><!-- no --><![CDATA[ & ]]></a>");
  SysLog(ObjectToString(parsed)); SysLog(ToObject("<a><b></a>"));
}
"""
    assert logged(text) == [
        '<p:root xmlns:p="urn:x" a="v" q:n="5"><child/>text<child/></p:root>',
        "v",
        "q",
        "child",
        "text",
        "text",
        "urn:x",
        "p",
        None,
        '<a b="1">&lt;t&gt;<c/> &amp; </a>',
        None,
    ]
