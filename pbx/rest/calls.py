"""Calls that are up, their end; records of calls; phones that are registered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pbx.call_commands import ask_end
from pbx.domain.accounts import account_address, domain_name
from pbx.rest.access import no_object
from pbx.rest.listing import cursor_of, read_cursor
from pbx.rest.operations import Call, Reply
from pbx.rest.routing import read_time
from pbx.rest.shapes import (
    CallEnding,
    Cdr,
    CdrPage,
    Leg,
    LiveCall,
    LiveCallPage,
    Registration,
    RegistrationPage,
)
from pbx.tokens import Principal
from pbx.web.auth import tenant_for

_NS_PER_S: Final = 1_000_000_000


def list_calls(call: Call) -> Reply:
    """Calls that are up, oldest first."""
    from pbx.readmodel import queries

    query = call.query
    after = read_cursor("calls", query.cursor, (int, str))
    with call.backend.tables() as connection:
        rows = queries.live_calls(
            connection, tenant=call.principal.domain, after=after, limit=query.limit + 1
        )
        page = rows[: query.limit]
        legs = queries.legs_of(connection, [row["call_id"] for row in page])
    following = None
    if len(rows) > query.limit:
        following = cursor_of("calls", page[-1]["start_ns"], page[-1]["call_id"])
    items = [_live(row, legs.get(row["call_id"], ())) for row in page]
    return Reply(LiveCallPage(items=items, next=following))


def get_call(call: Call) -> Reply:
    """One call that is up."""
    from pbx.readmodel import queries

    call_id = call.path["call_id"]
    with call.backend.tables() as connection:
        row = _found(call, queries.live_call(connection, call_id))
        legs = queries.legs_of(connection, [call_id])
    return Reply(_live(row, legs.get(call_id, ())))


def end_call(call: Call) -> Reply:
    """Ask the node of a call to end it."""
    from pbx.readmodel import queries

    call_id = call.path["call_id"]
    with call.backend.tables() as connection:
        row = _found(call, queries.live_call(connection, call_id))
    ask_end(
        call.backend.log,
        row["node"],
        call_id,
        actor=call.principal.actor,
        reason=call.body.reason,
        origin=call.origin,
        tenant=row["tenant"],
    )
    return Reply(CallEnding(call_id=call_id, node=row["node"]))


def _found(call: Call, row: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if row is None or not _sees(call.principal, row["tenant"]):
        raise no_object("call that is up", call.path["call_id"])
    return row


def _sees(principal: Principal, tenant: str) -> bool:
    return principal.domain in ("", tenant)


def _live(row: Mapping[str, Any], legs: Any) -> LiveCall:
    same = (
        "call_id", "node", "state", "from_uri", "from_display", "to_uri", "request_uri", "account",
        "source", "transport", "user_agent",
    )  # fmt: skip
    return LiveCall(
        **{name: row[name] for name in same},
        domain=row["tenant"],
        started=_time(row["start_ns"]),
        answered=_time(row["answer_ns"]),
        legs=[
            Leg(
                **{
                    name: leg[name]
                    for name in ("leg_id", "role", "state", "account", "target_uri", "codec")
                },
                started=_time(leg["start_ns"]),
                answered=_time(leg["answer_ns"]),
                ended=_time(leg["end_ns"]),
            )
            for leg in legs
        ],
    )


def list_cdrs(call: Call) -> Reply:
    """Records in order of the calls' end."""
    from pbx.readmodel import queries

    query = call.query
    after = read_cursor("cdrs", query.cursor, (int, str))
    with call.backend.tables() as connection:
        rows = queries.call_records_page(
            connection,
            since_ns=read_time(query.since, "since") if query.since else 0,
            until_ns=read_time(query.until, "until") if query.until else None,
            account=_account(query.account),
            tenant=_tenant(call),
            after=after,
            limit=query.limit + 1,
        )
    page = rows[: query.limit]
    following = None
    if len(rows) > query.limit:
        following = cursor_of("cdrs", page[-1]["end_ns"], page[-1]["call_id"])
    return Reply(CdrPage(items=[_cdr(row) for row in page], next=following))


def _cdr(row: Mapping[str, Any]) -> Cdr:
    same = (
        "call_id", "from_uri", "to_uri", "request_uri", "asserted_identity", "account",
        "answered_by", "source", "transport", "talk_ms", "status", "cause", "q850", "ended_by",
        "reason", "recovered", "legs",
    )  # fmt: skip
    return Cdr(
        **{name: row[name] for name in same},
        domain=row["tenant"],
        started=_time(row["start_ns"]),
        provisioned=_time(row["provision_ns"]),
        answered=_time(row["answer_ns"]),
        ended=_time(row["end_ns"]),
    )


def list_registrations(call: Call) -> Reply:
    """Phones, by account."""
    from pbx.readmodel import queries

    query = call.query
    after = read_cursor("registrations", query.cursor, (str, str))
    tenant = _tenant(call)
    with call.backend.tables() as connection:
        rows = queries.bindings_page(
            connection,
            call.backend.service.clock.wall_ns(),
            account=_account(query.account),
            domain=tenant,
            after=after,
            limit=query.limit + 1,
        )
    page = rows[: query.limit]
    following = None
    if len(rows) > query.limit:
        following = cursor_of("registrations", page[-1]["account"], page[-1]["contact_id"])
    same = ("account", "contact", "q", "instance", "user_agent", "transport", "remote", "nat")
    items = [
        Registration(
            **{name: row[name] for name in same},
            expires=_time(row["expires_ns"]),
            registered=_time(row["since_ns"]),
            refreshed=_time(row["refreshed_ns"]),
        )
        for row in page
    ]
    return Reply(RegistrationPage(items=items, next=following))


def _tenant(call: Call) -> str:
    """The domain that is asked for, or that the token is for; empty: all."""
    wanted = domain_name(call.query.domain) if call.query.domain else None
    return tenant_for(call.principal, wanted) or ""


def _account(text: str) -> str:
    return "@".join(account_address(text)) if text else ""


def _time(time_ns: int) -> str | None:
    from pbx.readmodel.cdr_files import iso_time

    return iso_time(time_ns) or None
