"""Alerts: texts for users, kept until somebody removes them (CLI reference §5.8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from pbx.admin.dispatch import Context, Handler, Result, text
from pbx.admin.syntax import Arguments
from pbx.kernel.errors import DomainError
from pbx.settings_changes import THE_SERVER, Target

SECTION: Final = "alerts"
MAX_ALERTS: Final = 100
MAX_CHARS: Final = 2000
_FORM: Final = "%d-%m-%Y_%H:%M:%S"


class Alerts(NamedTuple):
    """The four commands on the alerts of one kind of object."""

    get: Handler
    replace: Handler
    post: Handler
    remove: Handler


def alerts(target_of: Callable[[Context, Arguments], Target]) -> Alerts:
    """The commands; `target_of` finds whose alerts they are about."""

    def get(c: Context, a: Arguments) -> Result:
        return Result(c.section(target_of(c, a), SECTION))

    def replace(c: Context, a: Arguments) -> None:
        wanted = a["newAlerts"]
        assert isinstance(wanted, dict)
        if len(wanted) > MAX_ALERTS:
            raise DomainError(f"{len(wanted)} alerts: {MAX_ALERTS} are the most")
        for stamp, alert in wanted.items():
            _check(stamp, alert)
        c.replace(target_of(c, a), SECTION, wanted)

    def post(c: Context, a: Arguments) -> None:
        target = target_of(c, a)
        held = c.configuration(target).section(SECTION)
        if len(held) >= MAX_ALERTS:
            raise DomainError(f"there are {MAX_ALERTS} alerts: remove some first")
        moment = datetime.fromtimestamp(c.service.clock.wall_ns() // 1_000_000_000, UTC)
        while (stamp := moment.strftime(_FORM)) in held:
            moment += timedelta(seconds=1)  # stamps name alerts, so each needs its own
        _check(stamp, a["text"])
        c.changes.update(target, SECTION, {stamp: a["text"]})

    def remove(c: Context, a: Arguments) -> None:
        target, stamp = target_of(c, a), text(a, "timeStamp").removeprefix("#T")
        if stamp not in c.configuration(target).section(SECTION):
            raise DomainError("there is no alert of that time")
        c.changes.update(target, SECTION, {stamp: "default"})

    return Alerts(get, replace, post, remove)


def _check(stamp: str, alert: object) -> None:
    try:
        datetime.strptime(stamp, _FORM).replace(tzinfo=UTC)
    except ValueError:
        raise DomainError(f"{stamp!r}: expected a time such as 31-12-2026_08:00:00") from None
    if not isinstance(alert, str) or not 0 < len(alert) <= MAX_CHARS or alert == "default":
        raise DomainError(f"an alert is a text of up to {MAX_CHARS} characters")


OF_SERVER: Final = alerts(lambda c, a: THE_SERVER)
OF_DOMAIN: Final = alerts(lambda c, a: Target("domain", c.domain(a).name))
OF_ACCOUNT: Final = alerts(lambda c, a: Target("account", c.account(a)))
