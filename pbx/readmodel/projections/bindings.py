"""Table ``bindings`` from ``binding/…`` streams: the contacts that are registered.

A binding that lapsed while no server ran stays until its ``binding.removed``; readers compare
``expires_ns`` with the time they live in.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, update

from pbx.domain.bindings import BINDINGS, BindingAdded, BindingRefreshed, BindingRemoved
from pbx.eventlog import Record
from pbx.kernel.events import Event
from pbx.readmodel.projection import Statements, upsert
from pbx.readmodel.tables import bindings

_OF_KEY = (bindings.c.account == bindparam("key_account")) & (
    bindings.c.contact_id == bindparam("key_contact")
)
_REFRESH = (
    update(bindings)
    .where(_OF_KEY)
    .values(
        {
            name: bindparam(name)
            for name in (
                "expires_ns",
                "sip_call_id",
                "cseq",
                "remote",
                "local",
                "transport",
                "nat",
                "refreshed_ns",
            )
        }
    )
)
_DELETE = delete(bindings).where(_OF_KEY)


class BindingProjection:
    """One row a binding."""

    name = "bindings"
    categories = frozenset((BINDINGS,))
    tables = (bindings,)

    def __init__(self) -> None:
        self._statements = Statements()

    def apply(self, record: Record, event: Event) -> None:
        account = record.stream.partition("/")[2]
        match event:
            case BindingAdded():
                self._statements.add(
                    upsert(bindings),
                    account=account,
                    contact_id=event.contact_id,
                    contact=event.contact,
                    expires_ns=event.expires_ns,
                    q=event.q,
                    instance=event.instance,
                    reg_id=event.reg_id,
                    path="\n".join(event.path),
                    user_agent=event.user_agent,
                    transport=event.transport,
                    local=event.local,
                    remote=event.remote,
                    nat=event.nat,
                    contact_params=event.contact_params,
                    methods=" ".join(event.methods),
                    sip_call_id=event.sip_call_id,
                    cseq=event.cseq,
                    since_ns=event.since_ns or record.time_ns,
                    refreshed_ns=record.time_ns,
                )
            case BindingRefreshed():
                self._statements.add(
                    _REFRESH,
                    key_account=account,
                    key_contact=event.contact_id,
                    expires_ns=event.expires_ns,
                    sip_call_id=event.sip_call_id,
                    cseq=event.cseq,
                    remote=event.remote,
                    local=event.local,
                    transport=event.transport,
                    nat=event.nat,
                    refreshed_ns=record.time_ns,
                )
            case BindingRemoved():
                self._statements.add(_DELETE, key_account=account, key_contact=event.contact_id)

    def flush(self, connection: Connection) -> None:
        self._statements.flush(connection)

    def reset(self) -> None:
        self._statements.clear()

    def committed(self) -> None:
        pass

    def settled(self) -> None:
        pass
