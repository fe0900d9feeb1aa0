"""Account file storage (CLI reference §5.9).

The administrator and the owner may do everything. With ``AUTH`` the command is carried out in the
name of another account, which needs what its owner granted (:mod:`pbx.environments.rights`).
"""

from __future__ import annotations

import re
from typing import Final

from pbx.admin.dispatch import Context, Result, number, require_texts, text, time_stamp
from pbx.admin.errors import NO_RIGHTS, CliError
from pbx.admin.syntax import Arguments
from pbx.data import Value, XmlObject
from pbx.domain.storage import StoredEntry, path_name
from pbx.environments import Position, Right, granted
from pbx.environments.rights import ACL_CODE
from pbx.kernel.errors import DomainError

_POSITIONS: Final = {"BEG": Position.BEGINNING, "END": Position.END, "NEW": Position.NEW}
_XML_NAME: Final = re.compile(r"\s*<([^\s/>]+)")


def read_file(c: Context, a: Arguments) -> Result:
    """READSTORAGEFILE: content, time of the last change, size of the whole file."""
    account, name = _place(c, a, "fileName", Right.READ)
    offset = number(a, "position") if "position" in a else 0
    size = number(a, "size") if "size" in a else None
    found = c.storage.read(account, name, offset, size)
    return Result([found.data, time_stamp(found.modified_ns), found.size_bytes])


def write_file(c: Context, a: Arguments) -> None:
    """WRITESTORAGEFILE; a name that ends with a slash makes a directory."""
    account, name = _place(c, a, "fileName", Right.WRITE)
    data = a["datablock"]
    assert isinstance(data, bytes)
    meta = c.changes.meta(account.rpartition("@")[2])
    if text(a, "fileName").endswith("/"):
        if data or "OFFSET" in a:
            raise DomainError("a directory has neither data nor an offset")
        c.storage.make_directory(account, name, meta)
        return
    position = _position(a["position"]) if "OFFSET" in a else Position.REPLACE
    c.storage.write(account, name, data, meta, position)


def rename_file(c: Context, a: Arguments) -> None:
    """RENAMESTORAGEFILE: a file or a directory."""
    account, old = _place(c, a, "oldFile", Right.DELETE)
    _, new = _place(c, a, "newFile", Right.WRITE)
    c.storage.rename(account, old, new, c.changes.meta(account.rpartition("@")[2]))


def delete_file(c: Context, a: Arguments) -> None:
    """DELETESTORAGEFILE: a file or an empty directory."""
    account, name = _place(c, a, "fileName", Right.DELETE)
    c.storage.delete(account, name, c.changes.meta(account.rpartition("@")[2]))


def list_files(c: Context, a: Arguments) -> Result:
    """LISTSTORAGEFILES: attributes of files by name, an empty array for a directory."""
    account, directory = _place(c, a, "directory", Right.LIST)
    found: dict[str, Value] = {
        name: [] if entry.is_directory else _described(entry)
        for name, entry in c.storage.listing(account, directory).items()
    }
    return Result(found)


def get_info(c: Context, a: Arguments) -> Result:
    """GETSTORAGEFILEINFO: total size and number of files."""
    account, directory = _place(c, a, "directory", Right.LIST)
    return Result([*c.storage.usage(account, directory)])


def read_attributes(c: Context, a: Arguments) -> Result:
    """READSTORAGEFILEATTR: all of them, or those of some names."""
    account, name = _place(c, a, "fileName", Right.READ)
    wanted = require_texts(a["attributes"], "attributes") if "attributes" in a else None
    found: list[Value] = [
        XmlObject(attribute)
        for attribute in c.storage.attributes(account, name)
        if wanted is None or _xml_name(attribute) in wanted
    ]
    return Result(found)


def update_attributes(c: Context, a: Arguments) -> None:
    """UPDATESTORAGEFILEATTR: each given element takes the place of the one of its name."""
    account, name = _place(c, a, "fileName", Right.WRITE)
    if "authAccount" in a:
        raise CliError(NO_RIGHTS)  # attributes say who may do what: the owner's to decide
    given = a["attributes"]
    assert isinstance(given, list)
    kept = {_xml_name(one): one for one in c.storage.attributes(account, name)}
    for element in given:
        if not isinstance(element, XmlObject):
            raise DomainError("incorrect data format: attributes is an array of XML elements")
        kept[_xml_name(element.text)] = element.text
    meta = c.changes.meta(account.rpartition("@")[2])
    c.storage.set_attributes(account, name, list(kept.values()), meta)


def get_subscription(c: Context, a: Arguments) -> Result:
    """GETFILESUBSCRIPTION."""
    return Result([*c.storage.state(c.account(a)).subscribed])


def set_subscription(c: Context, a: Arguments) -> None:
    """SETFILESUBSCRIPTION."""
    account = c.account(a)
    names = require_texts(a["newSubscription"], "newSubscription")
    c.storage.subscribe(account, names, c.changes.meta(account.rpartition("@")[2]))


def _place(c: Context, a: Arguments, key: str, right: Right) -> tuple[str, str]:
    """Account and path, which whoever is meant has the right to."""
    account = c.account(a)
    path = path_name(text(a, key)) if key in a else ""
    if "authAccount" in a:
        who = c.account(a, "authAccount")
        if who != account and not _administers(c, who, account):
            if not granted(c.storage.state(account), path, account, who, right):
                raise CliError(NO_RIGHTS)
    return account, path


def _administers(c: Context, who: str, account: str) -> bool:
    authority = c.service.authority(who)
    domain = account.rpartition("@")[2]
    return authority.administers(domain, c.world.admin_domain_of(domain)) and authority.has_code(
        ACL_CODE
    )


def _position(value: Value) -> Position | int:
    if isinstance(value, str):
        if value.upper() in _POSITIONS:
            return _POSITIONS[value.upper()]
        if value.isascii() and value.isdigit() and len(value) < 16:
            return int(value)
    if isinstance(value, int) and value >= 0:
        return value
    raise DomainError("incorrect data format: expected OFFSET and a number, BEG, END or NEW")


def _described(entry: StoredEntry) -> dict[str, Value]:
    found: dict[str, Value] = {
        "STFileSize": entry.size_bytes,
        "STCreated": time_stamp(entry.created_ns),
        "STModified": time_stamp(entry.modified_ns),
    }
    if entry.attributes_ns:
        found["MetaModified"] = time_stamp(entry.attributes_ns)
    return found


def _xml_name(element: str) -> str:
    match = _XML_NAME.match(element)
    return match[1] if match else ""
