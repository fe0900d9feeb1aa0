"""Records of accounts and domains that have commands of their own (CLI reference §5.2, §5.3).

Outgoing registrations (RSIP), mail fetched from elsewhere (RPOP), mail rules, scheduled tasks. They
are kept in the section ``records`` of the object's configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from pbx.admin.dispatch import Context, Handler, Result, text
from pbx.admin.errors import NO_RIGHTS, CliError
from pbx.admin.syntax import Arguments
from pbx.data import Value
from pbx.domain import configuration as conf
from pbx.kernel.errors import DomainError
from pbx.objects.forms import read_number
from pbx.settings_changes import THE_SERVER, Target
from pbx.trunks.records import RecordKey

MAX_RECORDS: Final = 100
"""Of one kind and object: each is a registration or a rule to look at on every call."""
_PERIODS: Final = ("day", "week", "month", "year")


def named_records(
    key: str,
    code: str,
    allowed: str,
    check: Callable[[RecordKey, dict[str, Value]], object] | None = None,
) -> tuple[Handler, Handler]:
    """GET and SET of a dictionary of records by name. `allowed` is the setting that lets the owner
    change them, `code` the right of administrators; `check` raises ``ValueError``."""

    def get(c: Context, a: Arguments) -> Result:
        return Result(_of_account(c, c.account(a)).get(key, {}))

    def replace(c: Context, a: Arguments) -> None:
        address = c.account(a)
        _require_change(c, address, code, allowed)
        records = a["newRecords"]
        assert isinstance(records, dict)
        if len(records) > MAX_RECORDS:
            raise DomainError(f"{len(records)} records: {MAX_RECORDS} are the most")
        for name, record in records.items():
            if not name or not isinstance(record, dict):
                raise DomainError(f"incorrect data format: the record {name!r} is a dictionary")
            if check is not None:
                try:
                    check(RecordKey(address, name), record)
                except ValueError as error:
                    raise DomainError(f"record {name}: {error}") from None
        _store(c, Target("account", address), key, records)

    return get, replace


# ------------------------------------------------------------------------------------------- rules


def server_rules() -> tuple[Handler, Handler]:
    """GET and SET of the server's mail rules."""

    def get(c: Context, a: Arguments) -> Result:
        return Result(c.section(THE_SERVER, conf.RECORDS).get("Rules", []))

    def replace(c: Context, a: Arguments) -> None:
        _store(c, THE_SERVER, "Rules", checked_rules(a["newRules"]))

    return get, replace


def domain_rules() -> tuple[Handler, Handler]:
    """GET and SET of a domain's mail rules."""

    def get(c: Context, a: Arguments) -> Result:
        target = Target("domain", c.domain(a).name)
        return Result(c.section(target, conf.RECORDS).get("Rules", []))

    def replace(c: Context, a: Arguments) -> None:
        target = Target("domain", c.domain(a).name)
        _store(c, target, "Rules", checked_rules(a["newRules"]))

    return get, replace


def get_account_rules(c: Context, a: Arguments) -> Result:
    """GETACCOUNTMAILRULES."""
    return Result(_of_account(c, c.account(a)).get("Rules", []))


def set_account_rules(c: Context, a: Arguments) -> None:
    """SETACCOUNTMAILRULES."""
    address = c.account(a)
    _require_change(c, address, "RulesAllowed", "RulesAllowed")
    _store(c, Target("account", address), "Rules", checked_rules(a["newRules"]))


def update_account_rule(c: Context, a: Arguments) -> None:
    """UPDATEACCOUNTMAILRULE: one rule by its name, or only its priority, or DELETE."""
    address = c.account(a)
    _require_change(c, address, "RulesAllowed", "RulesAllowed")
    held = _of_account(c, address).get("Rules", [])
    assert isinstance(held, list)
    if "DELETE" in a:
        kept = [rule for rule in held if _name(rule) != text(a, "oldRuleName")]
        _store(c, Target("account", address), "Rules", kept)
        return
    _store(c, Target("account", address), "Rules", updated_rules(held, a["newRule"]))


def updated_rules(held: list[Value], new: Value) -> list[Value]:
    """The rules with one stored, replaced, or (fewer than four elements) of a new priority."""
    if not isinstance(new, list) or len(new) < 2 or not isinstance(new[1], str):
        raise DomainError("incorrect data format: a rule begins with its priority and its name")
    index = next((i for i, rule in enumerate(held) if _name(rule) == new[1]), None)
    if len(new) < 4:
        if index is None:
            raise DomainError("rule with this name not found")
        rule = held[index]
        assert isinstance(rule, list)
        new = [new[0], *rule[1:]]
    rules = [rule for i, rule in enumerate(held) if i != index]
    return checked_rules([*rules, new])


def checked_rules(value: Value) -> list[Value]:
    """Rules in their stored form, highest priority first. Raises :class:`DomainError`.

    What conditions and actions mean is the rule engine's to know; here is their shape.
    """
    assert isinstance(value, list)
    if len(value) > MAX_RECORDS:
        raise DomainError(f"{len(value)} rules: {MAX_RECORDS} are the most")
    names: set[str] = set()
    for number, rule in enumerate(value, 1):
        problem = _problem(rule)
        if problem:
            raise DomainError(f"incorrect data format: rule {number}: expected {problem}")
        name = _name(rule)
        if name in names:
            raise DomainError(f"two rules are named {name}")
        names.add(name)
    return sorted(value, key=_priority, reverse=True)


def _problem(rule: Value) -> str:
    """What a rule should have and has not; empty if it is well made."""
    if not isinstance(rule, list) or len(rule) not in (4, 5):
        return "an array of priority, name, conditions, actions and perhaps a comment"
    _, name, conditions, actions, *comment = rule
    if _priority(rule) < 0:
        return "a priority of 0 or more as its first element"
    if not isinstance(name, str) or not name:
        return "a name as its second element"
    if not _rows_of(conditions, 2, 3):
        return "an array of conditions (subject, operation, parameter) as its third element"
    if not _rows_of(actions, 1, 2):
        return "an array of actions (name, parameter) as its fourth element"
    if comment and not isinstance(comment[0], str):
        return "a comment that is a string as its fifth element"
    return ""


def _rows_of(value: Value, low: int, high: int) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, list)
        and low <= len(row) <= high
        and all(isinstance(item, str) for item in row)
        for row in value
    )


def _name(rule: Value) -> str:
    name = rule[1] if isinstance(rule, list) and len(rule) > 1 else ""
    return name if isinstance(name, str) else ""


def _priority(rule: Value) -> int:
    try:
        return read_number(rule[0]) if isinstance(rule, list) else -1
    except ValueError:
        return -1


# ------------------------------------------------------------------------------------------- tasks


def update_scheduled_task(c: Context, a: Arguments) -> None:
    """UPDATESCHEDULEDTASK: kept with the account; nothing starts it yet."""
    address = c.account(a)
    task = a["taskData"]
    assert isinstance(task, dict)
    name = task.get("id")
    if not isinstance(name, str) or not name:
        raise DomainError("taskData: id names the task")
    tasks = _of_account(c, address).get("ScheduledTasks", {})
    assert isinstance(tasks, dict)
    changed = {key: value for key, value in tasks.items() if key != name}
    if "program" in task:
        _check_task(task)
        changed[name] = {key: value for key, value in task.items() if key != "id"}
    if len(changed) > MAX_RECORDS:
        raise DomainError(f"{len(changed)} scheduled tasks: {MAX_RECORDS} are the most")
    _store(c, Target("account", address), "ScheduledTasks", changed)


def _check_task(task: dict[str, Value]) -> None:
    if not isinstance(task["program"], str) or not task["program"]:
        raise DomainError("taskData: program is the name of an application")
    when = task.get("when")
    if not isinstance(when, datetime) and when != "now":
        raise DomainError("taskData: when is a time such as #T31-12-2026_08:00:00, or now")
    period = task.get("period")
    if period is None or period in _PERIODS:
        return
    try:
        seconds = read_number(period)
    except ValueError:
        seconds = 0
    if seconds <= 0:
        raise DomainError("taskData: period is day, week, month, year or a number of seconds")


# ----------------------------------------------------------------------------------------- details


def _of_account(c: Context, address: str) -> dict[str, Value]:
    return c.section(Target("account", address), conf.RECORDS)


def _store(c: Context, target: Target, key: str, value: Value) -> None:
    """Set one record key; an empty one is none."""
    c.changes.update(target, conf.RECORDS, {key: value or "default"})


def _require_change(c: Context, address: str, code: str, allowed: str) -> None:
    """Administrators need their code, the owner a setting that allows it."""
    domain = address.rpartition("@")[2]
    authority = c.authority
    administers = authority.administers(domain, c.world.admin_domain_of(domain))
    if administers and authority.has_code(code):
        return
    if address != authority.address:
        raise CliError(NO_RIGHTS)
    configuration = c.world.account_configuration(address)
    if c.world.account_setting(allowed, domain, configuration) in (False, None, "No"):
        raise CliError(NO_RIGHTS)
