"""The Router: addresses, the table language and the decision what an address means.

A library without I/O; ``docs/router.md`` explains the language. Start with
:func:`~pbx.router.engine.route`; :class:`~pbx.router.state.RoutingState` is what it asks of the
configuration.
"""

from __future__ import annotations

from pbx.router.address import Address, fold_case, parse_address, qualified
from pbx.router.defaults import DEFAULT_TABLE, MAIN_ACCOUNTS, PBX, POSTMASTER
from pbx.router.engine import RESERVED_DOMAINS, fan_out, route
from pbx.router.errors import AddressError, Problem, RouterError, TableError
from pbx.router.index import NO_TABLES, CompiledTables
from pbx.router.result import Module, Outcome, Route, Rule, Step, shown_steps
from pbx.router.state import (
    REJECTED,
    Forwarder,
    Group,
    MailingList,
    NamedObject,
    NamedTask,
    ObjectKind,
    RoutingState,
    Unknown,
    UnknownPolicy,
)
from pbx.router.table import Kind, Record, Relay, Table, parse_table
from pbx.router.trace import traced

__all__ = [
    "DEFAULT_TABLE",
    "MAIN_ACCOUNTS",
    "NO_TABLES",
    "PBX",
    "POSTMASTER",
    "REJECTED",
    "RESERVED_DOMAINS",
    "Address",
    "AddressError",
    "CompiledTables",
    "Forwarder",
    "Group",
    "Kind",
    "MailingList",
    "Module",
    "NamedObject",
    "NamedTask",
    "ObjectKind",
    "Outcome",
    "Problem",
    "Record",
    "Relay",
    "Route",
    "RouterError",
    "RoutingState",
    "Rule",
    "Step",
    "Table",
    "TableError",
    "Unknown",
    "UnknownPolicy",
    "fan_out",
    "fold_case",
    "parse_address",
    "parse_table",
    "qualified",
    "route",
    "shown_steps",
    "traced",
]
