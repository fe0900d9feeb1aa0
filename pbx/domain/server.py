"""What belongs to the server as a whole: its Main Domain and its Router tables (pure).

Stream ``server``, category ``pbx.config``, all *decided*. A table is stored as the text that was
typed, comments included, and only if every line of it is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pbx.domain.accounts import CONFIG
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Durability, Event, event
from pbx.router import parse_table

STREAM: Final = "server"

SERVER_TABLE: Final = "server"
CLUSTER_TABLE: Final = "cluster"
TABLES: Final = (SERVER_TABLE, CLUSTER_TABLE)
"""The Router tables in the order in which they are looked at."""


@event("router.table-set.v1", category=CONFIG, durability=Durability.DECIDED)
class RouterTableSet(Event):
    """The text of a Router table from now on."""

    text: str
    table: str = SERVER_TABLE


@event("server.main-domain-set.v1", category=CONFIG, durability=Durability.DECIDED)
class MainDomainSet(Event):
    """Addresses without a domain are of this one. Before it, the domain that was created first."""

    name: str


@dataclass(frozen=True, slots=True)
class ServerState:
    """The server as of its last event."""

    main_domain: str = ""
    """Empty: the domain that was created first."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """Text by name; a table that was never set is absent."""

    def table(self, name: str = SERVER_TABLE) -> str:
        """The text of a table, empty if it was never set."""
        return self.tables.get(name, "")


NO_SERVER: Final = ServerState()


def evolve_server(state: ServerState, happened: Event) -> ServerState:
    """Fold one event of the stream."""
    match happened:
        case RouterTableSet():
            return replace(state, tables={**state.tables, happened.table: happened.text})
        case MainDomainSet():
            return replace(state, main_domain=happened.name)
        case _:
            return state


def decide_set_table(state: ServerState, text: str, table: str = SERVER_TABLE) -> list[Event]:
    """Replace a table. Raises :class:`~pbx.router.errors.TableError` if a line of it is wrong."""
    if table not in TABLES:
        raise DomainError(f"there is no Router table {table!r}: {' and '.join(TABLES)} exist")
    parse_table(text, table)
    if state.tables.get(table) == text:
        return []
    return [RouterTableSet(text=text, table=table)]


def decide_install_table(state: ServerState, text: str) -> list[Event]:
    """The table of a new installation, if none was ever set."""
    return [] if SERVER_TABLE in state.tables else decide_set_table(state, text)


def decide_set_main_domain(state: ServerState, name: str) -> list[Event]:
    """Choose the Main Domain; that it exists is the caller's to check."""
    return [] if state.main_domain == name else [MainDomainSet(name=name)]
