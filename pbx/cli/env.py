"""``pbx env list|get|put|delete|diff-stock``: programs, prompts and other files of applications.

Works on the server-wide environment, or with ``--domain`` on that of a domain, beside a running
server or without one; the next task uses what was stored.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import difflib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pbx.cli.common import actor, add_options, data_directory, print_json, print_table
from pbx.cli.reading import show_time
from pbx.kernel.errors import DomainError

if TYPE_CHECKING:
    from pbx.cli.common import Commands
    from pbx.domain.environments import StoredFile
    from pbx.environments import EnvironmentCommands
    from pbx.eventlog import EventLog
    from pbx.script.errors import Diagnostic
    from pbx.settings_changes import Target

_TEXT_CHARS: Final = 400
"""A file is text if its beginning is: a difference of sounds is told by their sizes."""


def register(commands: Commands) -> None:
    """Add the parser."""
    parser = commands.add_parser(
        "env",
        help="files of applications: list, get, put, delete, compare with the stock ones",
        description="Programs (.sppr), modules (.sppi), prompts (.wav) and other files that "
        "applications use. Files of a domain hide those of the server, which hide the stock ones.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    listing = _action(actions, "list", "list the files", _list)
    listing.add_argument("--stock", action="store_true", help="those that come with the server")

    get = _action(actions, "get", "print a file, or write it to --out", _get)
    get.add_argument("file", metavar="FILE", help="its name")
    get.add_argument("--stock", action="store_true", help="the one that comes with the server")
    get.add_argument("--out", type=Path, metavar="PATH", help="write it there")

    put = _action(
        actions, "put", "store files; programs are checked, .tar archives are unpacked", _put
    )
    put.add_argument("files", metavar="FILE", nargs="+", type=Path, help="files of this machine")
    put.add_argument("--as", dest="name", metavar="NAME", help="store it under another name")

    delete = _action(actions, "delete", "delete a file, so that the level below shows", _delete)
    delete.add_argument("file", metavar="FILE", help="its name; all of a language: --all")
    delete.add_argument("--all", action="store_true", help="FILE is a language: delete all of it")

    diff = _action(actions, "diff-stock", "how a file differs from the one it hides", _diff)
    diff.add_argument("file", metavar="FILE", help="its name")


def _action(actions: Commands, name: str, what: str, run: Any) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=what)
    action.add_argument("--domain", metavar="D", default="", help="of a domain, not of the server")
    action.add_argument("--language", metavar="L", default="", help="of a language directory")
    add_options(action)
    action.set_defaults(run=run)
    return action


@contextlib.contextmanager
def _opened(
    arguments: argparse.Namespace, *, changing: bool = False
) -> Iterator[tuple[EnvironmentCommands, Target]]:
    from pbx.blobs import FileBlobs
    from pbx.cli.administration import changing_log
    from pbx.cli.reading import opened_log
    from pbx.environments import EnvironmentCommands
    from pbx.eventlog import Meta

    data = data_directory(arguments)
    with changing_log(data) if changing else opened_log(arguments) as log:
        commands = EnvironmentCommands(
            log,
            FileBlobs(data.path / "blobs"),
            time.time_ns,
            lambda tenant: Meta(actor=actor(), tenant=tenant, causation="cli"),
        )
        yield commands, _target(log, arguments.domain)


def _target(log: EventLog, domain: str) -> Target:
    from pbx.domain.accounts import domain_name
    from pbx.inventory import inventory
    from pbx.settings_changes import THE_SERVER, Target

    if not domain:
        return THE_SERVER
    found = inventory(log).domain_of(domain_name(domain))
    if not found:
        raise DomainError(f"there is no domain {domain}; see: pbx domain list")
    return Target("domain", found)


def _name(arguments: argparse.Namespace, name: str) -> str:
    from pbx.domain.environments import file_name

    return file_name(f"{arguments.language}/{name}" if arguments.language else name)


def _list(arguments: argparse.Namespace) -> int:
    from pbx.domain.environments import language_name
    from pbx.environments import StockFiles

    if arguments.stock:
        stock = StockFiles()
        language = language_name(arguments.language) if arguments.language else ""
        files, languages = stock.of_language(language), sorted(stock.languages)
        if language and language not in languages:
            raise DomainError(f"there is no stock language {language}: {', '.join(languages)}")
        languages = [] if language else languages
    else:
        with _opened(arguments) as (commands, target):
            if target.kind == "domain" and not commands.state(target).exists:
                files, languages = {}, []
            else:
                files, languages = commands.files(target, arguments.language)
    if arguments.json:
        print_json({"files": [_as_json(*item) for item in files.items()], "languages": languages})
        return 0
    print_table(
        ("FILE", "BYTES", "STORED (UTC)"),
        [
            *((name, file.size_bytes, show_time(file.modified_ns)) for name, file in files.items()),
            *((f"{language}/", "-", "-") for language in languages),
        ],
    )
    return 0


def _as_json(name: str, file: StoredFile) -> dict[str, object]:
    from pbx.readmodel.cdr_files import iso_time

    return {
        "file": name,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "modified": iso_time(file.modified_ns),
    }


def _get(arguments: argparse.Namespace) -> int:
    name = _name(arguments, arguments.file)
    if arguments.stock:
        content = _stock(name)
    else:
        with _opened(arguments) as (commands, target):
            content = commands.read(target, name)
    if arguments.out is not None:
        try:
            arguments.out.write_bytes(content)
        except OSError as error:
            raise DomainError(f"cannot write {arguments.out}: {error.strerror}") from None
        print(f"{name}: {len(content)} bytes to {arguments.out}")
        return 0
    if arguments.json:
        text = _as_text(content)
        kept = {"base64": base64.b64encode(content).decode()} if text is None else {"text": text}
        print_json({"file": name, "size_bytes": len(content), **kept})
        return 0
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    return 0


def _stock(name: str) -> bytes:
    from pbx.environments import StockFiles

    content = StockFiles().read(name)
    if content is None:
        raise DomainError(f"there is no stock file {name}; see: pbx env list --stock")
    return content


def _put(arguments: argparse.Namespace) -> int:
    """1 if a program that was stored does not compile: it is stored all the same."""
    from pbx.environments.check import errors_of

    if arguments.name and len(arguments.files) > 1:
        raise DomainError("--as names one file, and several are given")
    stored: list[str] = []
    findings: list[Diagnostic] = []
    with _opened(arguments, changing=True) as (commands, target):
        for path in arguments.files:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise DomainError(f"cannot read {path}: {error.strerror}") from None
            name = _name(arguments, arguments.name or path.name)
            done = commands.store(target, name, content, create=True)
            stored += done.names
            findings += done.findings
    if arguments.json:
        print_json({"stored": stored, "findings": [_finding(one) for one in findings]})
    else:
        for one in findings:
            print(one)
        for name in stored:
            print(f"{name} stored")
    return 1 if errors_of(tuple(findings)) else 0


def _finding(one: Diagnostic) -> dict[str, object]:
    return {
        "file": one.source,
        "line": one.line,
        "column": one.column,
        "severity": one.severity.value,
        "message": one.message,
    }


def _delete(arguments: argparse.Namespace) -> int:
    from pbx.domain.environments import language_name

    with _opened(arguments, changing=True) as (commands, target):
        if arguments.all:
            name = language_name(arguments.file)
            commands.delete(target, name)
        else:
            name = commands.remove(target, _name(arguments, arguments.file))
    if arguments.json:
        print_json({"deleted": name})
    else:
        print(f"{name} deleted")
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    name = _name(arguments, arguments.file)
    with _opened(arguments) as (commands, target):
        own = commands.read(target, name)
    stock = _stock(name)
    before, after = _as_text(stock), _as_text(own)
    lines: list[str] = []
    if before is not None and after is not None:
        lines = list(
            difflib.unified_diff(
                before.splitlines(), after.splitlines(), f"stock/{name}", name, lineterm=""
            )
        )
    if arguments.json:
        print_json(
            {
                "file": name,
                "same": own == stock,
                "stock_bytes": len(stock),
                "own_bytes": len(own),
                "diff": lines,
            }
        )
    elif own == stock:
        print(f"{name} is the stock file")
    elif lines:
        print(*lines, sep="\n")
    else:
        print(f"{name} has {len(own)} bytes, the stock file {len(stock)}")
    return 0


def _as_text(content: bytes) -> str | None:
    """The text of a text file."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text[:_TEXT_CHARS] else text
