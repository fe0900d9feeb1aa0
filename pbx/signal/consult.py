"""Who call control asks: the external program, ENUM.

Implements ``pbx.calls.consult.ConsultPort``.
The program is asked ``NEW name@domain`` and ``READPLAIN name@domain`` (Objects and settings
reference §8.2), ENUM by NAPTR look-ups in the zones of ``sip.enum_zones``, in their order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from pbx.calls.consult import Answer, Done, Kind, Question, Reply
from pbx.helper.program import HelperProgram
from sip.endpoint.locate import Naptr
from sip.endpoint.locate import Question as DnsQuestion
from sip.endpoint.resolver import DnsLookup
from sip.enum import EnumRecord, choose, domain_of

log = logging.getLogger("pbx.helper")

ENUM_S: Final = 3.0
"""For all zones of a number together: somebody waits for the first ring."""


class Consultants:
    """See the module. One per role; used on its loop."""

    def __init__(
        self,
        program: HelperProgram | None,
        zones: Sequence[str],
        monotonic: Callable[[], float],
        acted: Callable[[], None],
        lookup: DnsLookup | None = None,
    ) -> None:
        """`acted` is called after an answer was handed over: it may have caused messages."""
        self._program = program
        self._zones = tuple(zones)
        self._monotonic = monotonic
        self._acted = acted
        self._lookup = lookup or DnsLookup()
        self._tasks: set[asyncio.Task[None]] = set()

    def asks(self, kind: Kind) -> bool:
        """Whether there is somebody to ask about such things."""
        return bool(self._zones) if kind is Kind.NUMBER else self._program is not None

    def ask(self, question: Question, done: Done) -> None:
        """Ask; `done` comes later, on the loop."""
        loop = asyncio.get_running_loop()
        if question.kind is Kind.NUMBER:
            task = loop.create_task(self._enum(question.text, done))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        program = self._program
        assert program is not None
        command = "NEW" if question.kind is Kind.NAME else "READPLAIN"

        def answered(word: str, text: str) -> None:
            # Not from within ask: whoever asked is not yet ready for the answer.
            loop.call_soon(self._hand_over, _read(question, word, text), done)

        program.ask(command, (question.text,), answered)

    async def aclose(self) -> None:
        """Give up look-ups; end the program."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._program is not None:
            await self._program.aclose()

    def _hand_over(self, answer: Answer, done: Done) -> None:
        done(answer, self._monotonic())
        self._acted()

    async def _enum(self, number: str, done: Done) -> None:
        answer = Answer(Reply.SILENT)
        try:
            async with asyncio.timeout(ENUM_S):
                uri = await self._find(number)
            answer = Answer(Reply.ROUTED, uri) if uri else Answer(Reply.UNKNOWN)
        except TimeoutError:
            log.warning("ENUM did not answer within %g s", ENUM_S)
        self._hand_over(answer, done)

    async def _find(self, number: str) -> str:
        """An address for the Router; empty if no zone has one."""
        for zone in self._zones:
            name = domain_of(number, zone)
            if not name:
                return ""
            found = await self._lookup(DnsQuestion(name, "NAPTR"))
            records = [
                EnumRecord(r.order, r.preference, r.flags, r.service, r.regexp)
                for r in found.records
                if isinstance(r, Naptr)
            ]
            digits = number.removeprefix("+")
            uri = choose(records, f"+{digits}")
            scheme, colon, address = uri.partition(":")
            if colon and scheme.lower() in ("sip", "sips"):
                return address.partition(";")[0].partition("?")[0]
        return ""


def _read(question: Question, word: str, text: str) -> Answer:
    """What an answer of the program means for a question."""
    match word:
        case "OK" if question.kind is Kind.NAME:
            return Answer(Reply.MADE)
        case "ROUTED" if question.kind is Kind.NAME and text:
            return Answer(Reply.ROUTED, text)
        case "PLAIN" if question.kind is Kind.PASSWORD and text:
            return Answer(Reply.PASSWORD, text)
        case "ERROR":
            return Answer(Reply.UNKNOWN, text)
        case "FAILURE":
            log.warning("no answer about a %s: %s", question.kind.value, text or "FAILURE")
            return Answer(Reply.SILENT)
    log.warning("%s is no answer to a question about a %s", word[:40], question.kind.value)
    return Answer(Reply.SILENT)
