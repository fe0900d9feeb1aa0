"""``pbx script check`` and ``pbx script run``, as an administrator types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pbx.cli.main import main

HELLO = Path(__file__).parents[2] / "data" / "script" / "sayhello.sppr"


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Findings with places; the status tells whether there are errors."""
    good, bad, odd = tmp_path / "a.sppr", tmp_path / "b.sppr", tmp_path / "c.wcgp"
    good.write_text("entry main { stop; }")
    bad.write_text("entry main {\n  foo();\n}\n")
    odd.write_text("entry main { SetHTTPResponseData(x); }")
    assert main(["script", "check", str(good)]) == 0
    assert capsys.readouterr().out == "1 file: no findings\n"
    assert main(["script", "check", str(good), str(bad), str(odd)]) == 1
    out = capsys.readouterr().out
    assert f"{bad}:2:3: error: there is no procedure foo" in out
    assert f"{odd}:1:34: warning: x is never set" in out
    assert main(["script", "check", str(odd)]) == 0
    assert main(["script", "check", "--strict", "--json", str(odd)]) == 1


def test_check_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for programs."""
    bad = tmp_path / "b.sppr"
    bad.write_text("entry main { foo(); }")
    assert main(["script", "check", "--json", str(bad)]) == 1
    assert json.loads(capsys.readouterr().out) == [
        {
            "file": str(bad),
            "line": 1,
            "column": 14,
            "severity": "error",
            "message": "there is no procedure foo",
        }
    ]


def test_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A transcript of what the caller hears and does."""
    assert main(["script", "run", str(HELLO), "--offline", "--digits", "!1"]) == 0
    out = capsys.readouterr().out
    assert "answers: 200 OK" in out
    assert "caller   presses 1" in out
    assert "welcome" not in out


def test_run_a_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Callers, destinations and accounts come from a file; options win over it."""
    scenario = tmp_path / "s.toml"
    scenario.write_text(
        'parameter = ["401"]\n[destinations."401"]\nstatus = 486\nanswers_after_s = 1\n'
    )
    program = str(HELLO.with_name("sayhello_cb.sppr"))
    assert main(["script", "run", program, "--offline", "--scenario", str(scenario)]) == 0
    assert "answers: 486 Busy Here" in capsys.readouterr().out
    assert (
        main(["script", "run", program, "--offline", "--no-call", "--param", "402", "--json"]) == 0
    )
    out = json.loads(capsys.readouterr().out)
    assert out["endings"] == {"T1": "return"}
    assert any("sip:402@" in line["text"] for line in out["transcript"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "unknown key x"),
        ("[caller]\nfoo = 1", "unknown key caller.foo"),
        ('[caller]\ndoes = "1 x"', "'x' is no step"),
        ("seed = 'a'", "seed must be int"),
        ("= 1", "Invalid"),
    ],
)
def test_bad_scenarios(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong, and in which file."""
    scenario = tmp_path / "s.toml"
    scenario.write_text(text)
    assert main(["script", "run", str(HELLO), "--scenario", str(scenario)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert str(scenario) in error


def test_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failing program, one that does not start, and files that are none."""
    program = tmp_path / "p.sppr"
    program.write_text("entry main { void(ToObject(1)); }")
    assert main(["script", "run", str(program)]) == 1
    assert "ToObject needs" in capsys.readouterr().out
    program.write_text("entry main {")
    assert main(["script", "run", str(program)]) == 1
    assert "does not compile" in capsys.readouterr().err
    assert main(["script", "run", str(tmp_path / "no.sppr")]) == 1
    assert main(["script", "run", str(HELLO.with_name("webcallback.wcgp"))]) == 1
    assert main(["script", "check", str(tmp_path / "no.sppr")]) == 1
