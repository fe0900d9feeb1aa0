"""The projections, by the names operators use."""

from __future__ import annotations

from collections.abc import Callable

from pbx.eventlog import EventLog
from pbx.readmodel.projection import Projection
from pbx.readmodel.projections.accounts import AccountProjection, DomainProjection
from pbx.readmodel.projections.bindings import BindingProjection
from pbx.readmodel.projections.calls import CallProjection
from pbx.readmodel.projections.cdrs import CdrProjection
from pbx.readmodel.projections.ivr import IvrProjection
from pbx.readmodel.projections.mailboxes import MailboxProjection


def all_projections(
    log: EventLog, export_cdrs: Callable[[], bool | None] = lambda: None
) -> list[Projection]:
    """New instances of all projections over `log`; `export_cdrs` is called when there are new,
    and again soon if it says so."""
    return [
        DomainProjection(),
        AccountProjection(),
        BindingProjection(),
        CallProjection(log),
        CdrProjection(log, export_cdrs),
        MailboxProjection(),
        IvrProjection(),
    ]


PROJECTION_NAMES = ("domains", "accounts", "bindings", "calls", "cdrs", "mailboxes", "ivr")
