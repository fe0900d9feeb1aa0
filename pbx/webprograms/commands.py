"""What a web program may start: tasks, with the rights of the server (CG/PL reference §12).

A visitor of the page has no rights at all; the program has been stored by an administrator of the
server and is trusted to say which program starts on which account. It is not trusted to quote what
the visitor typed: a command is refused when it holds, as it came, a value that could end a quoted
string.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from pbx.admin.dispatch import Context, Result, dispatch
from pbx.admin.jobs import Client
from pbx.admin.rights import MASTER, Authority
from pbx.admin.service import AdminService
from pbx.data import DataError
from pbx.kernel.errors import PbxError
from pbx.script.values import Value, string_of
from pbx.webprograms.limits import CallLimits

COMMAND: Final = "STARTPBXTASK"
NOT_FOR_PROGRAMS: Final = (
    f"500-web programs may give {COMMAND}; other commands are for administrators"
)
UNQUOTED: Final = (
    "400-what the visitor sent holds a quote, a backslash or a control character: the command was "
    "not carried out"
)
_MASTER: Final = frozenset({MASTER})
_BREAKING: Final = frozenset(b'"\\') | frozenset(range(32)) | {127}


class TaskCommands:
    """Starts tasks in the name of one program for one visitor."""

    def __init__(
        self,
        service: AdminService,
        limits: CallLimits,
        now: Callable[[], float],
        *,
        program: str,
        visitor: str,
    ) -> None:
        self._service = service
        self._limits = limits
        self._now = now
        self._program = program
        self._visitor = visitor

    def execute(self, command: str, sent: Iterable[bytes]) -> tuple[Value, Value]:
        """(output, error) of a command, one of them null; `sent` is what the program has read of
        the request."""
        text = string_of(command)
        if any(_breaks(value) and value in text for value in sent):
            return None, string_of(UNQUOTED)
        words = command.split(None, 1)
        if not words or words[0].upper() != COMMAND:
            return None, string_of(NOT_FOR_PROGRAMS)

        def work(context: Context) -> Value:
            result = dispatch(context, command)
            return string_of(str(result.value)) if isinstance(result, Result) else None

        return self._within(work)

    def start(self, account: str, program: str, parameter: Value) -> tuple[Value, Value]:
        """(task id, error); the same for ``StartPBXTASK``."""

        def work(context: Context) -> Value:
            return string_of(
                self._service.tasks.start(
                    program,
                    account=context.account({"accountName": account}),
                    parameter=parameter,
                    actor=context.actor,
                )
            )

        return self._within(work)

    def _within(self, work: Callable[[Context], Value]) -> tuple[Value, Value]:
        service = self._service

        def authority() -> Authority:
            domain = service.world.main_domain
            return Authority("", domain, _MASTER, _MASTER, f"program:{self._program}")

        def limited(context: Context) -> Value:
            # Within the lock of the service: the limits know one thread at a time.
            if refused := self._limits.take(self._visitor, self._now()):
                raise _Refused(refused)
            return work(context)

        try:
            return service.within(Client(self._visitor, "HTTP"), authority, limited), None
        except DataError as error:
            return None, string_of(f"incorrect data format: {error}")
        except (_Refused, PbxError) as error:
            return None, string_of(str(error))


class _Refused(Exception):
    """By a limit; the text is what the program gets."""


def _breaks(value: bytes) -> bool:
    return not _BREAKING.isdisjoint(value)
