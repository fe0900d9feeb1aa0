"""CG/PL: random programs never break the evaluator, printed trees parse back, texts round-trip."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pbx.script.errors import CompileError
from pbx.script.limits import Limits, Meter
from pbx.script.machine import Failed, Finished, Machine, Paused
from pbx.script.operators import equal
from pbx.script.parser import parse
from pbx.script.printer import print_program
from pbx.script.program import compile_program
from pbx.script.source import Source
from pbx.script.textform import object_to_text, text_to_object
from pbx.script.values import Data, Dictionary, Timestamp, Value, Xml
from tests.support.script_programs import random_program

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
SEEDS = st.integers(0, 2**48)


@given(SEEDS)
@RELAXED
def test_printed_programs_parse_to_the_same_tree(seed: int) -> None:
    """What the printer writes, the parser reads as it was."""
    program = random_program(seed)
    try:
        parsed = parse(Source("p.sppr", print_program(program)))
    except CompileError as error:
        allowed = "nested too deeply" in str(error) or "loops in each other" in str(error)
    else:
        allowed = parsed == program
    assert allowed


@given(SEEDS)
@settings(RELAXED, max_examples=600)
def test_random_programs_end_in_an_outcome(seed: int) -> None:
    """Whatever a program does, the machine survives: it finishes, fails by a rule, or waits."""
    program = random_program(seed)
    try:
        compiled = compile_program(Source("p.sppr", print_program(program)))
    except CompileError:
        return  # nested too deeply
    machine = Machine(
        compiled, limits=Limits(steps=30_000, slice_steps=1_000, memory_bytes=1 << 20)
    )
    outcome = machine.run()
    for _ in range(5000):
        if isinstance(outcome, Finished):
            return
        if isinstance(outcome, Failed):
            assert outcome.internal is None, outcome
            assert outcome.stack, outcome
            return
        if isinstance(outcome, Paused):
            outcome = machine.run()
        else:
            outcome = machine.resume(None, waited=False)
    raise AssertionError("the program went on beyond its steps")


TEXTS = st.text(alphabet=' \t\nabcdefx0179"\\/*(){}[];:.,+-=<>!&|^?%_', max_size=60)
_WORDS = (
    "entry main is end ; if then else elif { } ( ) while loop for by exitif return stop null true "
    "var const x y f = += == < && || and or not ! ? : . , [ ] 's' 12 spawn function procedure "
    "forward external :: // /* */"
)
WORDS = st.lists(
    st.sampled_from(_WORDS.replace("'", '"').split()),
    max_size=40,
).map(" ".join)


@given(st.one_of(TEXTS, WORDS, WORDS.map(lambda text: f"entry main {{ {text} }}")))
@example("entry main { " + "(" * 500 + "1" + ")" * 500 + "; }")
@example("entry main { x = " + "!" * 3000 + "1; }")
@example("entry main { x = " + "+".join(["1"] * 5000) + "; }")
@example("entry main { x = a" + ".b" * 5000 + "; }")
@example("entry main { " + "if(1) {" * 300 + "}" * 300 + " }")
@example("entry main { " + "for(;;) {" * 30 + "}" * 30 + " }")
@example("entry main { x = " + "1?" * 400 + "1" + ":1" * 400 + "; }")
@example("entry main { x = " + "9" * 5000 + "; }")
@RELAXED
def test_any_text_compiles_or_has_an_error_with_a_position(text: str) -> None:
    """The parser raises nothing but CompileError, and says where."""
    try:
        findings = compile_program(Source("p.sppr", text)).warnings
    except CompileError as error:
        findings = error.diagnostics
    assert all(one.line >= 1 and one.column >= 1 for one in findings)


def values() -> st.SearchStrategy[Value]:
    scalars: st.SearchStrategy[Value] = st.one_of(
        st.none(),
        st.binary(max_size=12),
        st.text(max_size=8).map(lambda text: text.encode()),
        st.integers(-(2**63), 2**63 - 1),
        st.binary(max_size=9).map(Data),
        st.integers(-60_000_000_000, 250_000_000_000).map(Timestamp),
        st.sampled_from([Xml("a"), Xml("b", "p", "urn:x")]),
    )

    def extend(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
        return st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(st.binary(max_size=5), inner, max_size=4).map(Dictionary),
        )

    return st.recursive(scalars, extend, max_leaves=10)


@given(values())
@RELAXED
def test_text_form_round_trip(value: Value) -> None:
    """ToObject(ObjectToString(x)) equals x."""
    meter = Meter(Limits())
    text = object_to_text(meter, value)
    assert equal(meter, text_to_object(meter, text), value)


@given(st.binary(max_size=60) | st.text('(){}[]#=;,"\\a1 T<>/', max_size=40).map(str.encode))
@RELAXED
def test_any_text_is_an_object_or_null(text: bytes) -> None:
    """The reader of the text form raises nothing."""
    text_to_object(Meter(Limits()), text)
