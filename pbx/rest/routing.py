"""The Router: its table as a whole, and what an address means."""

from __future__ import annotations

from datetime import UTC, datetime

from pbx.admin.dispatch import Context, carry_out, require
from pbx.calls.directory import Directory
from pbx.calls.tracing import traced_call
from pbx.domain.accounts import account_address
from pbx.domain.server import STREAM
from pbx.rest.changes import Resource, version_of
from pbx.rest.operations import Call, Reply
from pbx.rest.shapes import RouterTable, Trace
from pbx.router import Kind
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
        return None if body.at else traced(context.world.directory)

    def traced(directory: Directory) -> Trace:
        numbers = call.backend.emergency_numbers
        fields = traced_call(
            body.address, kind, directory, caller=caller, emergency_numbers=numbers
        )[1]
        return Trace(**fields)

    found = call.read(look)
    if found is None:  # reading all of the past must not hold commands up
        found = traced(call.backend.directory_at(read_time(body.at, "at")))
    return Reply(found)


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
