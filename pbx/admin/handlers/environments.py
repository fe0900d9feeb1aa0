"""Files of application environments (CLI reference §5.13)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from pbx.admin.dispatch import Context, Handler, Result, text
from pbx.admin.syntax import Arguments
from pbx.commands import Aggregate, execute, load
from pbx.data import Value
from pbx.domain import environments as env
from pbx.domain.environments import Environment
from pbx.kernel.errors import DomainError
from pbx.kernel.events import Event
from pbx.settings_changes import THE_SERVER, Target

OF_DOMAIN: Final = Aggregate(env.NO_ENVIRONMENT, env.evolve_environment)
OF_SERVER: Final = Aggregate(env.SERVER_ENVIRONMENT, env.evolve_environment)


class Files(NamedTuple):
    """The commands on one kind of environment."""

    create: Handler
    delete: Handler
    list_files: Handler
    read: Handler
    store: Handler


def files(
    aggregate: Aggregate[Environment], target_of: Callable[[Context, Arguments], Target]
) -> Files:
    """The commands; `target_of` finds whose environment they are about."""

    def create(c: Context, a: Arguments) -> None:
        language = env.language_name(text(a, "language")) if "language" in a else ""
        _change(c, a, lambda state: env.decide_create(state, language))

    def delete(c: Context, a: Arguments) -> None:
        language = env.language_name(text(a, "language"))
        _change(c, a, lambda state: env.decide_delete(state, language))

    def list_files(c: Context, a: Arguments) -> Result:
        language = env.language_name(text(a, "language")) if "language" in a else ""
        state = _state(c, a)
        if not state.exists or (language and language not in state.languages):
            raise DomainError("there is no such environment")
        found: dict[str, Value] = {
            name: {
                "STFileSize": file.size_bytes,
                "STModified": datetime.fromtimestamp(file.modified_ns // 1_000_000_000, UTC),
            }
            for name, file in sorted(state.of_language(language).items())
        }
        if not language:
            found.update({name: [] for name in sorted(state.languages)})
        return Result(found)

    def read(c: Context, a: Arguments) -> Result:
        file = _state(c, a).files.get(env.file_name(text(a, "fileName")))
        if file is None:
            raise DomainError("unknown file")
        return Result(c.service.blobs.get(file.sha256))

    def store(c: Context, a: Arguments) -> None:
        name = env.file_name(text(a, "fileName"))
        if "DELETE" in a:
            _change(c, a, lambda state: env.decide_remove(state, name))
            return
        content = a["datablock"]
        assert isinstance(content, bytes)
        now_ns = c.service.clock.wall_ns()
        # Refused before the content is kept anywhere.
        env.decide_store(_state(c, a), name, "", len(content), now_ns)
        sha256 = c.service.blobs.put(content)
        _change(c, a, lambda state: env.decide_store(state, name, sha256, len(content), now_ns))

    def _state(c: Context, a: Arguments) -> Environment:
        return load(c.log, aggregate, target_of(c, a).stream)

    def _change(c: Context, a: Arguments, decide: Callable[[Environment], list[Event]]) -> None:
        target = target_of(c, a)
        execute(c.log, aggregate, target.stream, decide, c.changes.meta(target.tenant))

    return Files(create, delete, list_files, read, store)


DOMAIN_FILES: Final = files(OF_DOMAIN, lambda c, a: Target("domain", c.domain(a).name))
SERVER_FILES: Final = files(OF_SERVER, lambda c, a: THE_SERVER)
