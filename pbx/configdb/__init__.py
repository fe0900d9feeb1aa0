"""The configuration database: what exists, in a file that any role can look things up in.

``DATA/config.sqlite3`` is a projection of the configuration in the node's own log, whatever the
shared read model is: a node needs nobody else to know its accounts. Everybody who reads it first
brings it level (:meth:`~pbx.configdb.store.ConfigDb.advance`), whoever happens to do it. The file
can be deleted at any time and is then made anew. ``docs/scale.md`` and ``docs/adr/0016`` have the
reasons and the figures.
"""

from pbx.configdb.fold import Noted
from pbx.configdb.inventory import StoredInventory
from pbx.configdb.reader import ConfigReader, ConfigUnavailable, Counts
from pbx.configdb.rows import AccountRow, DomainRow, ServerRow
from pbx.configdb.store import FILE, ConfigDb, open_config

__all__ = [
    "FILE",
    "AccountRow",
    "ConfigDb",
    "ConfigReader",
    "ConfigUnavailable",
    "Counts",
    "DomainRow",
    "Noted",
    "ServerRow",
    "StoredInventory",
    "open_config",
]
