"""``pbx account import FILE``: see :mod:`pbx.imports`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from pbx.cli.administration import changing_log, stored_inventory
from pbx.cli.common import actor, data_directory, print_json
from pbx.imports import AccountImport, LineProblem, Outcome, Report, lines_of
from pbx.kernel.clock import SystemClock
from pbx.kernel.errors import DomainError

APPLY_S: Final = 30.0
"""How long a running server may take to have taken notice of all of them."""
MAX_TOLD: Final = 100
"""Refused lines that are told one by one; ``--refused`` keeps all."""


def run(arguments: argparse.Namespace) -> int:
    """Import the file; the exit status is 1 if there are lines that cannot be used."""
    data = data_directory(arguments)
    refused = _Refused(arguments.refused)
    problems: list[dict[str, object]] = []

    def tell(number: int, outcome: Outcome, reason: str) -> None:
        refused.tell(number, outcome)
        if outcome is not Outcome.REFUSED:
            return
        if len(problems) < MAX_TOLD:
            problems.append({"line": number, "reason": reason})
            if not arguments.json:
                print(f"pbx: line {number}: {reason}", file=sys.stderr)
        elif len(problems) == MAX_TOLD and not arguments.json:
            problems.append({})
            print("pbx: more lines are refused and counted only; see --refused", file=sys.stderr)

    began = time.monotonic()
    with (
        _opened(arguments.file) as file,
        changing_log(data, APPLY_S) as log,
        stored_inventory(data) as known,
    ):
        work = AccountImport(
            log,
            known,
            SystemClock(),
            actor=actor(),
            domain=arguments.domain,
            dry_run=arguments.dry_run,
            tell=tell,
        )
        try:
            with refused:
                report = work.run(refused.seen(lines_of(file)))
        except LineProblem as error:
            raise DomainError(f"{arguments.file}, line 1: {error}") from None
    _show(arguments, report, [p for p in problems if p], time.monotonic() - began)
    return 1 if report.refused else 0


def _show(
    arguments: argparse.Namespace, report: Report, problems: list[dict[str, object]], took_s: float
) -> None:
    if arguments.json:
        print_json(
            {
                "created": report.created,
                "exists": report.exists,
                "refused": report.refused,
                "problems": problems,
                "dry_run": arguments.dry_run,
            }
        )
        return
    would = "would be created" if arguments.dry_run else "created"
    rate = f", {report.created / took_s:,.0f} a second" if report.created > 1000 else ""
    print(f"{report.created} accounts {would}{rate}")
    if report.exists:
        print(f"{report.exists} exist already and stay as they are")
    if report.refused:
        print(f"{report.refused} lines were refused")


@contextlib.contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 (closed below, read errors are told as ours)
    except OSError as error:
        raise DomainError(f"cannot read {name}: {error.strerror}") from error
    with file:
        yield file


class _Refused(contextlib.AbstractContextManager["_Refused"]):
    """Keeps the refused lines, below the header, for another try. No more than a batch is in
    memory."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._file: BinaryIO | None = None
        self._header = b""
        self._lines: dict[int, bytes] = {}

    def seen(
        self, lines: Iterator[tuple[int, bytes | LineProblem]]
    ) -> Iterator[tuple[int, bytes | LineProblem]]:
        """Pass lines on, remembered until it is told what became of them."""
        for number, raw in lines:
            if self._name is not None and isinstance(raw, bytes):
                if number == 1:
                    self._header = raw
                else:
                    self._lines[number] = raw
            yield number, raw

    def tell(self, number: int, outcome: Outcome) -> None:
        """What became of a line."""
        raw = self._lines.pop(number, None)
        if outcome is Outcome.REFUSED and raw is not None and self._name is not None:
            if self._file is None:
                self._file = _private(self._name)
                self._file.write(self._header + b"\n")
            self._file.write(raw + b"\n")

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def _private(name: str) -> BinaryIO:
    """There are passwords in it."""
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise DomainError(f"cannot write {name}: {error.strerror}") from error
    return os.fdopen(descriptor, "wb")
