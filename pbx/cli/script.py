"""``pbx script``: check CG/PL programs and try them before callers meet them. Needs no server."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbx.cli.common import print_json
from pbx.script.errors import ScriptError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.script.errors import Diagnostic
    from pbx.script.offline import OfflineRun, Scenario


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser("script", help="check and try programs (CG/PL)")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser("check", help="report errors and doubtful places of program files")
    check.add_argument("files", metavar="FILE", nargs="+", type=Path)
    check.add_argument("--strict", action="store_true", help="warnings fail, too")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)
    run = actions.add_parser(
        "run",
        help="run a program with simulated callers and a virtual clock",
        description="Prints what the caller would hear and what happened. A program that is "
        "started by a call gets a caller unless --no-call is given.",
    )
    run.add_argument("file", metavar="FILE", type=Path, help="a program (.sppr)")
    run.add_argument("--offline", action="store_true", help="no network (the only way so far)")
    run.add_argument(
        "--digits",
        metavar="STEPS",
        help='what the caller does: digits, "!12" at once, "w5" waits, "s4" speaks, "t" lets the '
        'program wait in vain, "h" hangs up; such as "1 w2 402# h"',
    )
    run.add_argument("--scenario", metavar="FILE", type=Path, help="callers, accounts … (TOML)")
    run.add_argument("--from", dest="sender", metavar="URI", help="who calls")
    run.add_argument("--to", metavar="URI", help="the address that was dialled")
    run.add_argument("--account", help="the account whose name the program runs under")
    run.add_argument("--language", help="the account's language")
    run.add_argument("--entry", help="the entry to start (default: main)")
    run.add_argument("--no-call", action="store_true", help="start it as a command would")
    run.add_argument(
        "--param", metavar="TEXT", action="append", help="one of the start parameters (an array)"
    )
    run.add_argument("--json", action="store_true", help="print JSON")
    run.set_defaults(run=_run)


def _check(arguments: argparse.Namespace) -> int:
    """Report every finding; 1 if any file has an error."""
    from pbx.script.builtins.registry import Environment
    from pbx.script.errors import CompileError, Severity
    from pbx.script.program import check_program
    from pbx.script.source import Source

    findings: list[Diagnostic] = []
    for path in arguments.files:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ScriptError(f"{path}: {error.strerror}") from None
        try:
            source = Source.from_bytes(str(path), data)
        except CompileError as error:
            findings += error.diagnostics
            continue
        findings += check_program(source, Environment.of_file(path.name))
    if arguments.json:
        print_json(
            [
                {
                    "file": one.source,
                    "line": one.line,
                    "column": one.column,
                    "severity": one.severity.value,
                    "message": one.message,
                }
                for one in findings
            ]
        )
    else:
        for one in findings:
            print(one)
        if not findings:
            print(f"{len(arguments.files)} file{'s' * (len(arguments.files) != 1)}: no findings")
    failing = [one for one in findings if arguments.strict or one.severity is Severity.ERROR]
    return 1 if failing else 0


def _scenario(arguments: argparse.Namespace) -> Scenario:
    from pbx.script.offline.scenario import Party, Scenario, load_scenario, parse_actions

    scenario = load_scenario(arguments.scenario) if arguments.scenario else Scenario()
    if arguments.account:
        scenario.account = arguments.account
    if arguments.language:
        scenario.language = arguments.language
    if arguments.entry:
        scenario.entry = arguments.entry
    if arguments.param:
        scenario.parameter = arguments.param
    if arguments.no_call:
        scenario.caller = None
    elif scenario.caller is None and not (arguments.scenario and not arguments.digits):
        scenario.caller = Party("sip:caller@example.org")
    if scenario.caller is not None:
        if arguments.sender:
            scenario.caller.uri = arguments.sender
        if arguments.to:
            scenario.caller.dialled = arguments.to
        if arguments.digits:
            scenario.caller.actions = parse_actions(arguments.digits)
    return scenario


def _run(arguments: argparse.Namespace) -> int:
    """Run and print the transcript; 1 if the program failed or did not end."""
    from pbx.script.builtins.registry import Environment
    from pbx.script.environment import Level
    from pbx.script.offline.files import OfflineFiles
    from pbx.script.offline.run import OfflineRun, stock_directory

    path: Path = arguments.file
    suffix = Environment.REAL_TIME.program_suffix
    if not path.name.lower().endswith(suffix):
        raise ScriptError(f"{path}: only real-time programs ({suffix}) can be run offline")
    if not path.is_file():
        raise ScriptError(f"{path}: there is no such file")
    scenario = _scenario(arguments)
    directories = {Level.DOMAIN: path.resolve().parent, Level.STOCK: stock_directory()}
    files = OfflineFiles(directories, imagine=not scenario.strict_media)
    done = OfflineRun(path.name[: -len(suffix)], scenario, files).run()
    if arguments.json:
        print_json(_as_json(done))
    else:
        print(done.transcript)
    if done.start_problem is not None:
        print(f"pbx: {done.start_problem}", file=sys.stderr)
        return 1
    return 1 if done.failures or done.still_running else 0


def _as_json(done: OfflineRun) -> dict[str, Any]:
    return {
        "transcript": [
            {"time_s": one.time_s, "who": one.who, "what": one.what, "text": one.text}
            for one in done.transcript.entries
        ],
        "endings": done.endings,
        "failures": [str(one) for one in done.failures],
        "still_running": done.still_running,
    }
