"""Requests about files, datasets and the directory (CG/PL reference §9.13, §9.16)."""

from __future__ import annotations

from pbx.script.requests.base import HostRequest, request
from pbx.script.values import Dictionary, Value


@request("ReadStorageFile", "ReadSiteFile")
class ReadStorageFile(HostRequest):
    """Result: a datablock of at most 1 MiB, or null."""

    file: Value


@request("WriteStorageFile", "WriteSiteFile")
class WriteStorageFile(HostRequest):
    """Result: null, or an error string; so are those of all that change something here."""

    file: Value
    data: Value


@request("AppendStorageFile", "AppendSiteFile", strict=True)
class AppendStorageFile(HostRequest):
    """Add to the end of a file."""

    name: str
    data: Value


@request("DeleteStorageFile", "DeleteSiteFile")
class DeleteStorageFile(HostRequest):
    """Delete a file."""

    name: str


@request("RenameStorageFile", "RenameSiteFile")
class RenameStorageFile(HostRequest):
    """Rename a file."""

    name: str
    new_name: str


@request("CreateStorageDirectory", "CreateSiteDirectory")
class CreateStorageDirectory(HostRequest):
    """Make a directory."""

    name: str


@request("RenameStorageDirectory", "RenameSiteDirectory")
class RenameStorageDirectory(HostRequest):
    """Rename a directory."""

    name: str
    new_name: str


@request("DeleteStorageDirectory", "DeleteSiteDirectory")
class DeleteStorageDirectory(HostRequest):
    """Delete an empty directory."""

    name: str


@request("ListStorageFiles", "ListSiteFiles")
class ListStorageFiles(HostRequest):
    """Result: a dictionary name to attributes, or null."""

    directory: str


@request("ReadStorageFileAttr")
class ReadStorageFileAttr(HostRequest):
    """Result: an array of XML, or an error string. One name may be given as a string."""

    name: str
    attributes: Value


@request("WriteStorageFileAttr")
class WriteStorageFileAttr(HostRequest):
    """Set attributes."""

    name: str
    attributes: list[Value]


@request("LockStorageFile", strict=True)
class LockStorageFile(HostRequest):
    """Result: a dictionary, or an error string."""

    name: str
    parameters: Dictionary


@request("DatasetList")
class DatasetList(HostRequest):
    """Result: a dictionary of entries, or an error string."""

    dataset: str
    field: str | None
    value: Value


@request("DatasetListSubsets")
class DatasetListSubsets(HostRequest):
    """Result: an array of names, or an error string."""

    dataset: str


@request("DatasetCreate")
class DatasetCreate(HostRequest):
    """Make a dataset."""

    dataset: str


@request("DatasetRemove")
class DatasetRemove(HostRequest):
    """Remove a dataset."""

    dataset: str
    if_exists: Value


@request("DatasetSet")
class DatasetSet(HostRequest):
    """Change an entry."""

    dataset: str
    entry: str
    data: Dictionary
    if_exists: Value


@request("DatasetDelete")
class DatasetDelete(HostRequest):
    """Delete an entry."""

    dataset: str
    entry: str
    if_exists: Value


@request("DirectorySearch")
class DirectorySearch(HostRequest):
    """Result: a dictionary of records, or an error string."""

    base: str
    filter: str | None
    parameters: Value


@request("DirectoryModify")
class DirectoryModify(HostRequest):
    """Change a record."""

    name: str
    new_name: str | None
    record: Dictionary


@request("ReadEnvirFile")
class ReadEnvirFile(HostRequest):
    """Result: a file of the application environment as a datablock, or null."""

    name: str


@request("ReadEnvirObject")
class ReadEnvirObject(HostRequest):
    """Result: such a file read as an object, or null."""

    name: str
    mode: Value = None


@request("ReadFile")
class ReadFile(HostRequest):
    """Result: a datablock, or null."""

    name: str


@request("ReadSkinFile")
class ReadSkinFile(HostRequest):
    """Result: a file of a skin, or null."""

    name: str
    skin: str | None = None


@request("ReadSkinObject")
class ReadSkinObject(HostRequest):
    """Result: an element of a skin's text dataset, or null."""

    tag: str
    index: Value = None
    skin: str | None = None
