"""What must hold of programs and their mailboxes when everything is quiet.

Read from the log, the read model, what programs were told (:class:`~.mail.MailMachine`) and what
the callers of voice mail did; :mod:`.invariants` asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from pbx.calls.event_packages import MessageCounts
from pbx.domain.applications import ApplicationAttached, ApplicationEnded, ApplicationStarted
from pbx.domain.mailboxes import MailStored
from pbx.mailboxes.bodies import StoredBody
from pbx.readmodel import tables
from tests.simulation.mail import Kept, MailMachine, lamps_of
from tests.simulation.mailboxes import broken_mailboxes
from tests.support.scenario import Plan

if TYPE_CHECKING:
    from tests.simulation.world import World

DOMAIN: Final = "sim.test"

Rows = Sequence[Mapping[str, Any]]

#: What voicemail.sppr takes for a message.
SHORTEST_MS: Final = 1000
#: Menus of a caller who says nothing more, the mail store, and the projection of that.
SENT_S: Final = 60.0


def program_breaches(world: World) -> list[str]:
    """Every breach; none where no programs run."""
    machine = world.mail
    if machine is None:
        return []
    world.read_model.catch_up()
    with world.read_model.database.read() as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in (tables.mailboxes, tables.messages, tables.ivr_tasks)
        }
    wrong = broken_mailboxes(
        world.log,
        accepted=machine.told,
        doubtful=machine.doubtful,
        opens=lambda sha256, key: machine.bodies.get(StoredBody(sha256, key)),
        rows=rows["messages"],
    )
    wrong += _tasks(world, rows["ivr_tasks"])
    wrong += _lamps(world, rows["mailboxes"], rows["messages"])
    wrong += _left_messages(world, machine)
    return wrong


def _tasks(world: World, rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Each task has one beginning and one end, in its stream and in the table."""
    started: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for record in world.log.read(category="pbx.applications"):
        task_id = record.stream.partition("/")[2]
        started[task_id] += isinstance(record.event, ApplicationStarted)
        ended[task_id] += isinstance(record.event, ApplicationEnded)
        if ended[task_id] and not isinstance(record.event, ApplicationEnded):
            yield f"task {task_id}: {record.type} after its end"
    for task_id in started:
        if (started[task_id], ended[task_id]) != (1, 1):
            yield f"task {task_id} began {started[task_id]} times and ended {ended[task_id]} times"
    for record in world.log.read(category="pbx.calls"):
        if isinstance(record.event, ApplicationAttached) and not started[record.event.task_id]:
            yield f"{record.stream}: its program {record.event.task_id} never began"
    for row in rows:
        if not row["end_ns"]:
            yield f"task {row['task_id']} ({row['program']}) runs for ever in the statistics"


def _lamps(world: World, boxes: Rows, messages: Rows) -> Iterable[str]:
    """Whoever was lit by changes alone shows what the mailbox says."""
    process = world.server.process
    if process is None or process.mail is None:
        return
    if process.mail.worker.waiting:
        yield f"{process.mail.worker.waiting} jobs of the mail store are left"
    right = lamps_of(boxes, messages)
    for account, shown in process.mail.lamps.items():
        if shown != right.get(account, MessageCounts()):
            yield f"the lamp of {account} shows {shown}, not {right.get(account)}"


def _left_messages(world: World, machine: MailMachine) -> Iterable[str]:
    """A caller who spoke and pressed no key has left exactly one message."""
    kept: dict[str, list[Kept]] = {}
    for one in machine.kept:
        if one.program == "voicemail":
            kept.setdefault(one.account, []).append(one)
    stored: dict[str, list[float]] = {}
    epoch_ns = world.clock.wall_ns_at(0.0)
    for record in world.log.read(category="pbx.messages"):
        if isinstance(record.event, MailStored) and record.event.content_class == "voice":
            moment = (record.time_ns - epoch_ns) / 1e9
            stored.setdefault(record.stream.split("/")[1], []).append(moment)
    for plan in world.plans:
        if plan.scenario == "program-voicemail" and not _pressed(plan):
            yield from _left_by(world, plan, kept, stored)


def _pressed(plan: Plan) -> bool:
    return any(step.action == "info" for step in plan.caller_script.steps)


def _left_by(
    world: World, plan: Plan, kept: Mapping[str, list[Kept]], stored: Mapping[str, list[float]]
) -> Iterable[str]:
    account = f"{plan.callee}@{DOMAIN}"
    end = min(
        (one.started_at for one in world.plans if one.started_at > plan.started_at
         and plan.callee in one.accounts),
        default=float("inf"),
    )  # fmt: skip
    mine = [one for one in kept.get(account, ()) if plan.started_at <= one.at < end]
    there = [at for at in stored.get(account, ()) if plan.started_at <= at < end]
    until = min(end, (mine[-1].at if mine else plan.started_at) + SENT_S)
    full = any(since <= until and plan.started_at <= to for since, to in world.full_disks)
    disturbed = full or world.server.was_down(plan.started_at, until)
    long = [one for one in mine if one.length_ms >= SHORTEST_MS]
    if len(there) > 1 or (there and not long):
        yield f"{plan.label}: {len(there)} messages of {len(long)} recordings were stored"
    if long and not there and not disturbed:
        yield f"{plan.label}: a recording of {long[-1].length_ms} ms was not stored for {account}"
