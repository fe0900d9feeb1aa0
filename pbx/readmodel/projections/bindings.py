"""Tables ``bindings`` and ``binding_streams`` from ``binding/…`` streams: contacts registered.

A binding that lapsed while no server ran stays until its ``binding.removed``; readers compare
``expires_ns`` with the time they live in. The rows hold all that ``pbx.calls.locations`` folds from
the same events, so that a server starts from them (``pbx.signal.restore``).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, update

from pbx.domain.bindings import BINDINGS, BindingAdded, BindingRefreshed, BindingRemoved
from pbx.eventlog import Record
from pbx.kernel.events import Event
from pbx.readmodel.projection import ProjectionBase, run_rows, write_rows
from pbx.readmodel.tables import binding_streams, bindings

_COLUMNS: Final = tuple(bindings.columns.keys())
_RENEWED: Final = (
    "expires_ns", "sip_call_id", "cseq", "remote", "local", "transport", "nat", "refreshed_ns",
)  # fmt: skip
"""What a refresh changes."""
_KEY: Final = ("key_account", "key_contact_id")
_THIS: Final = (bindings.c.account == bindparam(_KEY[0])) & (
    bindings.c.contact_id == bindparam(_KEY[1])
)
_REFRESH: Final = update(bindings).where(_THIS).values({n: bindparam(n) for n in _RENEWED})
_DELETE: Final = delete(bindings).where(_THIS)

_Key = tuple[str, str]


class BindingProjection(ProjectionBase):
    """One row a binding, one row a stream."""

    name = "bindings"
    categories = frozenset((BINDINGS,))
    tables = (bindings, binding_streams)

    def __init__(self) -> None:
        # The last state of what the batch touched: phones refresh more often than they change.
        self._rows: dict[_Key, dict[str, Any]] = {}
        self._renewed: dict[_Key, dict[str, Any]] = {}
        self._removed: dict[_Key, None] = {}
        self._versions: dict[str, int] = {}

    def apply(self, record: Record, event: Event) -> None:
        account = record.stream.partition("/")[2]
        match event:
            case BindingRefreshed():
                self._refresh((account, event.contact_id), record, event)
            case BindingAdded():
                key = (account, event.contact_id)
                self._rows[key] = _row(account, record, event)
                self._renewed.pop(key, None)
            case BindingRemoved():
                key = (account, event.contact_id)
                self._rows.pop(key, None)
                self._renewed.pop(key, None)
                self._removed[key] = None
        self._versions[account] = record.version

    def _refresh(self, key: _Key, record: Record, event: BindingRefreshed) -> None:
        row = self._rows.get(key)
        if row is None:
            row = self._renewed.setdefault(key, {})
        row.update(
            expires_ns=event.expires_ns,
            sip_call_id=event.sip_call_id,
            cseq=event.cseq,
            remote=event.remote,
            local=event.local,
            transport=event.transport,
            nat=event.nat,
            refreshed_ns=record.time_ns,
        )

    def flush(self, connection: Connection) -> None:
        # Removed first: a binding that was removed and came back stands in the rows, too, and one
        # that was removed for good is not there any more for a late refresh to find.
        run_rows(connection, _DELETE, _KEY, list(self._removed))
        rows = [tuple(row.values()) for row in self._rows.values()]
        write_rows(connection, bindings, _COLUMNS, rows)
        renewed = [(*row.values(), *key) for key, row in self._renewed.items()]
        run_rows(connection, _REFRESH, (*_RENEWED, *_KEY), renewed)
        write_rows(connection, binding_streams, _STREAM, list(self._versions.items()))
        self.reset()

    def reset(self) -> None:
        self._rows.clear()
        self._renewed.clear()
        self._removed.clear()
        self._versions.clear()


_STREAM: Final = tuple(binding_streams.columns.keys())


def _row(account: str, record: Record, event: BindingAdded) -> dict[str, Any]:
    """The columns in their order."""
    return {
        "account": account,
        "contact_id": event.contact_id,
        "contact": event.contact,
        "expires_ns": event.expires_ns,
        "q": event.q,
        "instance": event.instance,
        "reg_id": event.reg_id,
        "path": "\n".join(event.path),
        "user_agent": event.user_agent,
        "transport": event.transport,
        "local": event.local,
        "remote": event.remote,
        "nat": event.nat,
        "contact_params": event.contact_params,
        "methods": " ".join(event.methods),
        "sip_call_id": event.sip_call_id,
        "cseq": event.cseq,
        "since_ns": event.since_ns,
        "refreshed_ns": record.time_ns,
        "version": record.version,
    }
