"""The Router: its table as a whole, and what an address means."""

from __future__ import annotations

from datetime import UTC, datetime

from pbx.admin.dispatch import Context, carry_out, require
from pbx.calls.directory import Directory
from pbx.domain.accounts import account_address
from pbx.domain.server import STREAM
from pbx.rest.changes import Resource, version_of
from pbx.rest.operations import Call, Reply
from pbx.rest.shapes import RouterTable, Trace
from pbx.router import Kind, traced
from pbx.web.problems import Problem

TABLE = Resource(STREAM, ("router.table-set",))


def get_table(call: Call) -> Reply:
    """GETROUTERTABLE."""

    def look(context: Context) -> Reply:
        version = version_of(context.log, TABLE)
        text = carry_out(context, "GETROUTERTABLE", {})
        assert isinstance(text, str)
        return Reply(RouterTable(text=text), version)

    return call.read(look)


def put_table(call: Call) -> Reply:
    """SETROUTERTABLE."""

    def change(context: Context) -> None:
        carry_out(context, "SETROUTERTABLE", {"newTable": call.body.text})

    call.change(lambda context: TABLE, change)
    return get_table(call)


def trace(call: Call) -> Reply:
    """ROUTE with its steps, as ``pbx route``."""
    body = call.body
    kind = Kind(body.kind.value)
    caller = "@".join(account_address(body.by)) if body.by else ""

    def look(context: Context) -> Trace | None:
        require(context, "ROUTE", {})
        return None if body.at else _traced(body.address, kind, context.world.directory, caller)

    found = call.read(look)
    if found is None:  # reading all of the past must not hold commands up
        directory = call.backend.directory_at(read_time(body.at, "at"))
        found = _traced(body.address, kind, directory, caller)
    return Reply(found)


def _traced(address: str, kind: Kind, directory: Directory, caller: str) -> Trace:
    fields = traced(address, kind, directory, caller=caller)[1]
    return Trace(**fields)


def read_time(text: str, name: str) -> int:
    """Nanoseconds of UTC of an RFC 3339 time; of a whole millisecond its end, as times are shown
    cut to milliseconds. Raises :class:`Problem` (400)."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError, OSError):
        raise Problem(
            400,
            "bad-time",
            "This is no time",
            f"{name}={text[:40]}: write 2026-01-31T08:00:00Z",
        ) from None
    return seconds * 1_000_000_000 + moment.microsecond * 1000
