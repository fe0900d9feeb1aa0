"""Files of application environments (CLI reference §5.13)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from pbx.admin.dispatch import Context, Handler, Note, Result, text, time_stamp
from pbx.admin.errors import GENERAL, CliError
from pbx.admin.syntax import Arguments
from pbx.data import Value
from pbx.domain import environments as env
from pbx.domain.environments import StoredFile
from pbx.environments import EnvironmentCommands, StockFiles
from pbx.environments.check import in_one_line
from pbx.kernel.errors import DomainError
from pbx.settings_changes import THE_SERVER, Target


class Files(NamedTuple):
    """The commands on one kind of environment."""

    create: Handler
    delete: Handler
    list_files: Handler
    read: Handler
    store: Handler


def files(target_of: Callable[[Context, Arguments], Target]) -> Files:
    """The commands; `target_of` finds whose environment they are about."""

    def create(c: Context, a: Arguments) -> None:
        _commands(c).create(target_of(c, a), _language(a))

    def delete(c: Context, a: Arguments) -> None:
        _commands(c).delete(target_of(c, a), text(a, "language"))

    def list_files(c: Context, a: Arguments) -> Result:
        found, languages = _commands(c).files(target_of(c, a), _language(a))
        return Result(_listed(found, languages))

    def read(c: Context, a: Arguments) -> Result:
        return Result(_commands(c).read(target_of(c, a), text(a, "fileName")))

    def store(c: Context, a: Arguments) -> Note | None:
        target, name = target_of(c, a), text(a, "fileName")
        if "DELETE" in a:
            _commands(c).remove(target, name)
            return None
        content = a["datablock"]
        assert isinstance(content, bytes)
        stored = _commands(c).store(target, name, content)
        # The reply stays a success without data, whatever it says: old clients wait for no object.
        problems = in_one_line(stored.findings)
        return Note(f"stored, but it does not compile: {problems}") if problems else None

    return Files(create, delete, list_files, read, store)


def list_stock(c: Context, a: Arguments) -> Result:
    """LISTSTOCKPBXFILES."""
    language = env.language_name(text(a, "language")) if "language" in a else ""
    stock = _stock()
    if language and language not in stock.languages:
        raise DomainError("there is no such environment")
    return Result(_listed(stock.of_language(language), [] if language else sorted(stock.languages)))


def read_stock(c: Context, a: Arguments) -> Result:
    """READSTOCKPBXFILE."""
    found = _stock().read(env.file_name(text(a, "fileName")))
    if found is None:
        raise DomainError("unknown file")
    return Result(found)


def _commands(c: Context) -> EnvironmentCommands:
    service = c.service
    return EnvironmentCommands(c.log, service.blobs, service.clock.wall_ns, c.changes.meta)


def _stock() -> StockFiles:
    return StockFiles()  # looked at seldom, so that nothing is remembered


def _language(a: Arguments) -> str:
    return text(a, "language") if "language" in a else ""


def _listed(found: Mapping[str, StoredFile], languages: Iterable[str]) -> dict[str, Value]:
    listed: dict[str, Value] = {
        name: {"STFileSize": file.size_bytes, "STModified": time_stamp(file.modified_ns)}
        for name, file in sorted(found.items())
    }
    listed.update({name: [] for name in languages})
    return listed


def _cluster(c: Context, a: Arguments) -> Target:
    """All nodes of a cluster share the server-wide environment, since they share the log."""
    if not c.service.config.clustered:
        raise CliError(GENERAL, "this server is not a Cluster member")
    return THE_SERVER


DOMAIN_FILES: Final = files(lambda c, a: Target("domain", c.domain(a).name))
SERVER_FILES: Final = files(lambda c, a: THE_SERVER)
CLUSTER_FILES: Final = files(_cluster)
