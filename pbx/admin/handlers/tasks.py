"""Applications that run, and named tasks (CLI reference §5.14, §5.6).

A task belongs to the domain of the account whose name it runs under: whoever may impersonate
accounts of that domain may start, end and ask its tasks.
"""

from __future__ import annotations

from typing import Final

from pbx.admin.dispatch import Context, Result, text
from pbx.admin.errors import ACCOUNT_EXISTS, NO_RIGHTS, CliError
from pbx.admin.syntax import Arguments
from pbx.data import DataError, Value, parse, write
from pbx.domain.objects import ObjectState, object_stream
from pbx.kernel.errors import DomainError
from pbx.router import ObjectKind
from pbx.voice.control import UNKNOWN_TASK
from pbx.voice.control_wire import value_of, value_text

IMPERSONATE: Final = "CanImpersonate"
DEFAULT_PROGRAM: Final = "pbx"
"""Of a named task that was given none: the account's default application."""
_SETTINGS: Final = frozenset({"Owner", "RealName", "Program"})


def start(c: Context, a: Arguments) -> Result:
    """STARTPBXTASK."""
    account = c.account(a)
    task_id = c.service.tasks.start(
        text(a, "programName"),
        account=account,
        entry=text(a, "entryName") if "entryName" in a else "main",
        parameter=value_of(write(a["parameter"])) if "parameter" in a else None,
        actor=c.actor,
    )
    return Result(task_id)


def send_event(c: Context, a: Arguments) -> None:
    """SENDTASKEVENT."""
    task_id = _task(c, a)
    parameter = value_of(write(a["parameter"])) if "parameter" in a else None
    c.service.tasks.send_event(task_id, text(a, "eventName"), parameter)


def kill(c: Context, a: Arguments) -> None:
    """KILLNODE."""
    c.service.tasks.kill(_task(c, a), actor=c.actor)


def read_status(c: Context, a: Arguments) -> Result:
    """READNODESTATUS."""
    shown = value_text(c.service.tasks.status(_task(c, a)))
    try:
        return Result(parse(shown))
    except DataError:  # handles can be shown and not read
        return Result(shown)


def _task(c: Context, a: Arguments) -> str:
    """The id, which is that of a task whose account the administrator may impersonate."""
    task_id = text(a, "taskID")
    found = c.service.tasks.describe(task_id)
    if c.authority.all_domains:
        return task_id
    domain = found.account.rpartition("@")[2]
    if not c.authority.administers(domain, c.world.admin_domain_of(domain)):
        raise DomainError(UNKNOWN_TASK)  # what there is elsewhere is no business of theirs
    if not c.authority.has_code(IMPERSONATE):
        raise CliError(NO_RIGHTS)
    return task_id


# ------------------------------------------------------------------------------------ named tasks


def list_of_domain(c: Context, a: Arguments) -> Result:
    """LISTDOMAINNAMEDTASKS."""
    found = c.world.inventory.objects_of(ObjectKind.TASK, c.domain(a).name)
    return Result(_by_name(found))


def list_of_account(c: Context, a: Arguments) -> Result:
    """LISTACCOUNTNAMEDTASKS."""
    name, _, domain = c.account(a).partition("@")
    found = c.world.inventory.objects_of(ObjectKind.TASK, domain)
    return Result(_by_name([state for state in found if state.owner == name]))


def create_named(c: Context, a: Arguments) -> None:
    """CREATENAMEDTASK: it runs the default application until it is given another."""
    name, domain = _free(c, a, "taskName")
    c.administration.create_task(f"{name}@{domain}", _owner(a), DEFAULT_PROGRAM)


def rename_named(c: Context, a: Arguments) -> None:
    """RENAMENAMEDTASK: within its domain, where its owner is."""
    old = _existing(c, a, "oldName")
    name, domain = _free(c, a, "newName")
    if domain != old.domain:
        raise DomainError("a named task stays in the domain of its owner")
    address = f"{name}@{domain}"
    c.administration.create_task(address, old.owner, old.program)
    if old.real_name:
        c.administration.set_task(address, real_name=old.real_name)
    c.administration.delete_object(ObjectKind.TASK, old.address)


def delete_named(c: Context, a: Arguments) -> None:
    """DELETENAMEDTASK."""
    c.administration.delete_object(ObjectKind.TASK, _existing(c, a, "taskName").address)


def get_named(c: Context, a: Arguments) -> Result:
    """GETNAMEDTASK."""
    return Result(_shown(_existing(c, a, "taskName")))


def update_named(c: Context, a: Arguments) -> None:
    """UPDATENAMEDTASK: keys that are not given stay."""
    state = _existing(c, a, "taskName")
    settings = a["newSettings"]
    assert isinstance(settings, dict)
    unknown = set(settings) - _SETTINGS
    if unknown:
        raise DomainError(f"{min(unknown)} is no setting of a named task")
    given: dict[str, str] = {}
    for key, value in settings.items():
        if not isinstance(value, str):
            raise DomainError(f"{key}: expected a string")
        given[key] = value
    program = given.get("Program")
    c.administration.set_task(
        state.address,
        owner=given.get("Owner"),
        program=DEFAULT_PROGRAM if program in ("", "default") else program,
        real_name="" if given.get("RealName") == "default" else given.get("RealName"),
    )


def _existing(c: Context, a: Arguments, key: str) -> ObjectState:
    name, domain = c.object_names(a[key])
    state = c.world.inventory.objects.get(object_stream(ObjectKind.TASK, name, domain))
    if state is None:
        raise DomainError("unknown named task")
    return state


def _free(c: Context, a: Arguments, key: str) -> tuple[str, str]:
    name, domain = c.object_names(a[key])
    if object_stream(ObjectKind.TASK, name, domain) in c.world.inventory.objects:
        raise DomainError("named task with this name already exists")
    if c.world.inventory.holder(name, domain):
        raise CliError(ACCOUNT_EXISTS)
    return name, domain


def _owner(a: Arguments) -> str:
    return text(a, "ownerName")


def _shown(state: ObjectState) -> dict[str, Value]:
    found: dict[str, Value] = {"Owner": state.owner, "Program": state.program}
    if state.real_name:
        found["RealName"] = state.real_name
    return found


def _by_name(states: list[ObjectState]) -> dict[str, Value]:
    return {state.name: _shown(state) for state in sorted(states, key=lambda state: state.name)}
