"""Tables ``ivr_tasks`` and ``ivr_inputs`` from ``application/…`` streams: what programs did.

All events of a task are in its one stream, so rows are made and changed in order.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Connection, bindparam, case, update

from pbx.domain import applications as a
from pbx.eventlog import Record
from pbx.kernel.events import Event
from pbx.readmodel.projection import ProjectionBase, Statements
from pbx.readmodel.tables import ivr_inputs, ivr_tasks

UNTOLD: Final = "?"
"""In a path: something was pressed that is not told."""
_NS_PER_MS: Final = 1_000_000

_KEY = ivr_tasks.c.task_id == bindparam("key")
_ANSWERED = update(ivr_tasks).where(_KEY).values(answered=True, answer_ms=bindparam("answer_ms"))
_FORWARDED = update(ivr_tasks).where(_KEY).values(forwarded=True)
_STEP = (
    update(ivr_tasks)
    .where(_KEY)
    .values(
        path=case(
            (ivr_tasks.c.path == "", bindparam("step")),
            else_=ivr_tasks.c.path.concat(" ").concat(bindparam("step")),
        ),
        choices=ivr_tasks.c.choices + 1,
    )
)
_FAILED = (
    update(ivr_tasks)
    .where(_KEY)
    .values(
        failure=bindparam("failure"),
        failure_file=bindparam("failure_file"),
        failure_line=bindparam("failure_line"),
    )
)
_END: Final[dict[str, Any]] = {
    "in_program_ms": bindparam("in_program_ms"),
    "reason": bindparam("reason"),
    "ended_by": bindparam("ended_by"),
    "last_menu": bindparam("last_menu"),
}
_ENDED = update(ivr_tasks).where(_KEY).values(end_ns=bindparam("end_ns"), **_END)
# The end of a task that died with its node is written when that starts again, which may be much
# later; how long it ran is told.
_INTERRUPTED = (
    update(ivr_tasks)
    .where(_KEY)
    .values(end_ns=ivr_tasks.c.start_ns + bindparam("ran_ns", type_=BigInteger), **_END)
)


class IvrProjection(ProjectionBase):
    """One row a task, one row an input of its caller."""

    name = "ivr"
    categories = frozenset((a.APPLICATIONS,))
    tables = (ivr_tasks, ivr_inputs)

    def __init__(self) -> None:
        self._statements = Statements()

    def apply(self, record: Record, event: Event) -> None:
        key = record.stream.partition("/")[2]
        add = self._statements.add
        match event:
            case a.ApplicationStarted():
                self._started(record, key, event)
            case a.ApplicationAnswered():
                add(_ANSWERED, key=key, answer_ms=event.elapsed_ms)
            case a.ApplicationInput():
                add(
                    ivr_inputs,
                    task_id=key,
                    version=record.version,
                    menu=event.menu,
                    choice=event.choice,
                    digits=event.digits,
                    source=event.source,
                    at_ms=event.elapsed_ms,
                )
                add(_STEP, key=key, step=f"{event.menu}={event.choice or UNTOLD}")
            case a.ApplicationActed(action="transfer" | "bridge"):
                add(_FORWARDED, key=key)
            case a.ApplicationFailed():
                add(
                    _FAILED,
                    key=key,
                    failure=event.message,
                    failure_file=event.file,
                    failure_line=event.line,
                )
            case a.ApplicationEnded():
                interrupted = event.reason == a.INTERRUPTED
                when = (
                    {"ran_ns": event.elapsed_ms * _NS_PER_MS}
                    if interrupted
                    else {"end_ns": record.time_ns}
                )
                add(
                    _INTERRUPTED if interrupted else _ENDED,
                    key=key,
                    **when,
                    in_program_ms=event.elapsed_ms,
                    reason=event.reason,
                    ended_by=event.ended_by,
                    last_menu=event.menu,
                )

    def _started(self, record: Record, key: str, event: a.ApplicationStarted) -> None:
        self._statements.add(
            ivr_tasks,
            task_id=key,
            tenant=record.tenant,
            node=record.node,
            program=event.program,
            account=event.account,
            cause=event.cause,
            call_id=event.call_id,
            parent=event.parent,
            language=event.language,
            start_ns=record.time_ns,
            answered=False,
            answer_ms=0,
            forwarded=False,
            end_ns=0,
            in_program_ms=0,
            reason="",
            ended_by="",
            last_menu="",
            choices=0,
            path="",
            failure="",
            failure_file="",
            failure_line=0,
        )

    def flush(self, connection: Connection) -> None:
        self._statements.flush(connection)

    def reset(self) -> None:
        self._statements.clear()
