"""What listings and pages ask of the read model. Rows come as mappings of plain values.

Used by ``pbx calls``, ``pbx cdr``, ``pbx registrations`` (and later by the web). Each function
takes an open connection: several make one consistent page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, func, literal, select, tuple_

from pbx.readmodel.tables import bindings, calls, cdr_legs, cdrs, legs

Rows: TypeAlias = Sequence[Mapping[str, Any]]


def live_calls(
    connection: Connection,
    *,
    tenant: str = "",
    after: tuple[int, str] | None = None,
    limit: int | None = None,
) -> Rows:
    """Calls that are up, oldest first; of one domain, behind a (start_ns, call_id)."""
    query = select(calls).where(calls.c.end_ns == 0).order_by(calls.c.start_ns, calls.c.call_id)
    if tenant:
        query = query.where(calls.c.tenant == tenant)
    if after is not None:
        query = query.where(_behind((calls.c.start_ns, calls.c.call_id), after))
    return _plain(connection, query.limit(limit))


def live_call(connection: Connection, call_id: str) -> Mapping[str, Any] | None:
    """One call, if it is up."""
    query = select(calls).where(calls.c.call_id == call_id, calls.c.end_ns == 0)
    return next(iter(_plain(connection, query)), None)


def legs_of(connection: Connection, call_ids: Sequence[str]) -> dict[str, Rows]:
    """The legs of some calls, in order of appearance."""
    found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for start in range(0, len(call_ids), _MARKS):
        some = legs.c.call_id.in_(call_ids[start : start + _MARKS])
        for row in _plain(connection, select(legs).where(some).order_by(legs.c.ordinal)):
            found[row["call_id"]].append(row)
    return dict(found)


def calls_named(connection: Connection, name: str, limit: int = 10) -> list[str]:
    """Ids of calls that begin with `name`, or one of whose legs has it as SIP Call-ID."""
    by_id = select(calls.c.call_id).where(
        calls.c.call_id >= name, calls.c.call_id < name + "\U0010ffff"
    )
    by_leg = select(legs.c.call_id).where(legs.c.sip_call_id == name)
    return list(connection.execute(by_id.union(by_leg).order_by("call_id").limit(limit)).scalars())


def calls_of(connection: Connection, account: str) -> list[str]:
    """Ids of the calls that name the account, as caller, dialled, or owner of a leg."""
    uri = f"%{_escaped(account)}%"
    by_call = select(calls.c.call_id).where(
        (calls.c.account == account)
        | calls.c.from_uri.ilike(uri, escape="\\")
        | calls.c.to_uri.ilike(uri, escape="\\")
        | calls.c.request_uri.ilike(uri, escape="\\")
        | calls.c.asserted_identity.ilike(uri, escape="\\")
    )
    by_leg = select(legs.c.call_id).where(
        (legs.c.account == account)
        | legs.c.target_uri.ilike(uri, escape="\\")
        | legs.c.redirector.ilike(uri, escape="\\")
    )
    return list(connection.execute(by_call.union(by_leg).order_by("call_id")).scalars())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def call_records(
    connection: Connection,
    *,
    since_ns: int = 0,
    until_ns: int | None = None,
    account: str = "",
    limit: int | None = None,
) -> Rows:
    """Records of calls that ended in a time (`until_ns` excluded), in order of their end.

    `account` keeps the calls it made or took a leg of. With `limit` the last ones.
    """
    query = select(cdrs).where(cdrs.c.end_ns >= since_ns)
    if until_ns is not None:
        query = query.where(cdrs.c.end_ns < until_ns)
    if account:
        took = select(legs.c.call_id).where(legs.c.account == account)
        query = query.where((cdrs.c.account == account) | cdrs.c.call_id.in_(took))
    query = query.order_by(cdrs.c.end_ns.desc(), cdrs.c.position.desc()).limit(limit)
    return list(reversed(_plain(connection, query)))


def call_records_page(
    connection: Connection,
    *,
    since_ns: int = 0,
    until_ns: int | None = None,
    account: str = "",
    tenant: str = "",
    after: tuple[int, str] | None = None,
    limit: int = 100,
) -> Rows:
    """As :func:`call_records`, the first `limit` behind a (end_ns, call_id)."""
    query = select(cdrs).where(cdrs.c.end_ns >= since_ns)
    if until_ns is not None:
        query = query.where(cdrs.c.end_ns < until_ns)
    if tenant:
        query = query.where(cdrs.c.tenant == tenant)
    if account:
        took = select(legs.c.call_id).where(legs.c.account == account)
        query = query.where((cdrs.c.account == account) | cdrs.c.call_id.in_(took))
    if after is not None:
        query = query.where(_behind((cdrs.c.end_ns, cdrs.c.call_id), after))
    return _plain(connection, query.order_by(cdrs.c.end_ns, cdrs.c.call_id).limit(limit))


def cdr_legs_of(connection: Connection, call_ids: Sequence[str]) -> dict[str, Rows]:
    """The leg records of some calls, in order of appearance."""
    found: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for start in range(0, len(call_ids), _MARKS):
        some = cdr_legs.c.call_id.in_(call_ids[start : start + _MARKS])
        for row in _plain(connection, select(cdr_legs).where(some).order_by(cdr_legs.c.ordinal)):
            found[row["call_id"]].append(row)
    return dict(found)


def live_bindings(connection: Connection, now_ns: int, account: str = "") -> Rows:
    """Bindings that have not lapsed, by account, best first."""
    query = select(bindings).where(bindings.c.expires_ns > now_ns)
    if account:
        query = query.where(bindings.c.account == account)
    query = query.order_by(bindings.c.account, bindings.c.q.desc(), bindings.c.contact_id)
    return _plain(connection, query)


def bindings_page(
    connection: Connection,
    now_ns: int,
    *,
    account: str = "",
    domain: str = "",
    after: tuple[str, str] | None = None,
    limit: int = 100,
) -> Rows:
    """Bindings that have not lapsed, by account and contact, the first `limit` behind an
    (account, contact_id)."""
    query = select(bindings).where(bindings.c.expires_ns > now_ns)
    if account:
        query = query.where(bindings.c.account == account)
    if domain:
        query = query.where(bindings.c.account.endswith(f"@{domain}", autoescape=True))
    if after is not None:
        query = query.where(_behind((bindings.c.account, bindings.c.contact_id), after))
    return _plain(
        connection, query.order_by(bindings.c.account, bindings.c.contact_id).limit(limit)
    )


def count_calls(connection: Connection, sent: bool, whose: str, since_ns: int) -> int:
    """How many calls that began at a moment or later an account made (or took a leg of).

    `whose` is ``name@domain``, or ``@domain`` for all accounts of a domain.
    """
    table = cdrs if sent else cdr_legs
    column = table.c.account
    ours = column.endswith(whose, autoescape=True) if whose.startswith("@") else column == whose
    query = select(func.count(table.c.call_id.distinct())).where(table.c.start_ns >= since_ns, ours)
    if not sent:
        query = query.where(cdr_legs.c.role != "A")
    return connection.execute(query).scalar_one()


def _behind(columns: Sequence[Column[Any]], key: Sequence[Any]) -> ColumnElement[bool]:
    """Rows behind a place in the order of some columns."""
    place = (literal(part, column.type) for part, column in zip(key, columns, strict=True))
    return tuple_(*columns) > tuple_(*place)


def _plain(connection: Connection, query: Any) -> list[Mapping[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


_MARKS = 500
"""Values in one IN list; SQLite takes 32,766."""
