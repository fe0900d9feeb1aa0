"""What is known of an account beside its settings: logins, registrations, calls (CLI reference
§5.3, §5.17)."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from typing import Final

from pbx.admin.dispatch import Context, Result, text
from pbx.admin.syntax import Arguments
from pbx.data import DataError, IpAddress, Value, parse
from pbx.domain.accounts import AccountCreated
from pbx.domain.bindings import BindingAdded, BindingRefreshed, BindingRemoved
from pbx.domain.configuration import RECORDS
from pbx.domain.logins import Logins, logins_of
from pbx.domain.meetings import MeetingRemoved, MeetingSet
from pbx.domain.trunks import NOTHING, PREFIX, TrunkState, evolve_trunks
from pbx.kernel.errors import DomainError
from pbx.settings_changes import Target

_NS_PER_S: Final = 1_000_000_000
STATISTICS: Final = "statistics"
"""Section that remembers since when counters count."""
RESET: Final = "StatReset"
COUNTERS: Final = ("CallsReceived", "CallsSent")


def get_info(c: Context, a: Arguments) -> Result:
    """GETACCOUNTINFO: all elements, one (``""`` if there is none), or those of a list."""
    elements = _elements(c, c.account(a))
    if "keyName" in a:
        return Result(elements.get(text(a, "keyName"), ""))
    if "keyList" in a:
        wanted = a["keyList"]
        assert isinstance(wanted, list)
        return Result({key: elements[key] for key in map(str, wanted) if key in elements})
    return Result(elements)


def _elements(c: Context, address: str) -> dict[str, Value]:
    log = c.service.log
    found: dict[str, Value] = {}
    meetings: dict[str, Value] = {}
    for record in log.read_stream(f"account/{address}"):
        match record.event:
            case AccountCreated():
                found["Created"] = _moment(record.time_ns)
                meetings.clear()  # of an account of that name before
            case MeetingSet() as meeting:
                _put_meeting(meetings, meeting)
            case MeetingRemoved(key=key, meeting_set=name):
                of_set = meetings.get(name)
                if isinstance(of_set, dict) and of_set.pop(key, None) is not None and not of_set:
                    del meetings[name]
    if meetings:
        found["Meetings"] = meetings
    logins = logins_of(log.read_stream(f"login/{address}"))
    found.update(_login_elements(logins))
    contacts: list[Value] = [*_contacts(c, address)]
    if contacts:
        found["SIPContacts"] = contacts
    trunks = _trunks(c, address)
    if trunks:
        found["RSIP"] = trunks
    return found


def _put_meeting(meetings: dict[str, Value], meeting: MeetingSet) -> None:
    """Sets of Meetings by name, each by key: ``{conference={123456={parameter={…};};};}``."""
    parameter: Value = ""
    try:
        parameter = parse(meeting.parameter) if meeting.parameter else ""
    except DataError:  # handles of tasks can be shown and not read
        parameter = meeting.parameter
    of_set = meetings.setdefault(meeting.meeting_set, {})
    assert isinstance(of_set, dict)
    of_set[meeting.key] = {"parameter": parameter}


def _login_elements(logins: Logins) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for prefix, address_key, entry in (
        ("LastLogin", "LastAddress", logins.last),
        ("PrevLogin", "PrevLoginAddress", logins.previous),
        ("LastFailedLogin", "LastFailedLoginAddress", logins.failed),
    ):
        if entry is not None:
            found[prefix] = _moment(entry.time_ns)
            found[address_key] = IpAddress(ipaddress.ip_address(entry.address))
    return found


def _trunks(c: Context, address: str) -> dict[str, Value]:
    """How the registrations with providers are, by record name (Telephony reference §9)."""
    configuration = c.configuration(Target("account", address)).section(RECORDS)
    records = configuration.get("RSIP")
    if not isinstance(records, dict):
        return {}
    state = NOTHING
    for record in c.service.log.read_stream(f"{PREFIX}{address}"):
        state = evolve_trunks(
            state, record.event, version=record.version, node=record.node, time_ns=record.time_ns
        )
    return {name: _trunk(state.of(name)) for name in records}


def _trunk(state: TrunkState) -> dict[str, Value]:
    shown: dict[str, Value] = {"state": state.state}
    if state.reason:
        shown["lastError"] = state.reason
    if state.contact:
        shown["contact"] = state.contact
    for key, time_ns in (
        ("since", state.since_ns), ("expires", state.expires_ns), ("nextTime", state.next_ns),
    ):  # fmt: skip
        if time_ns:
            shown[key] = _moment(time_ns)
    return shown


def _contacts(c: Context, address: str) -> list[str]:
    """Contact URIs of the phones that are registered now."""
    now_ns = c.service.clock.wall_ns()
    live: dict[str, tuple[str, int]] = {}
    for record in c.service.log.read_stream(f"binding/{address}"):
        match record.event:
            case BindingAdded(contact_id=key, contact=contact, expires_ns=expires):
                live[key] = contact, expires
            case BindingRefreshed(contact_id=key, expires_ns=expires):
                if key in live:
                    live[key] = live[key][0], expires
            case BindingRemoved(contact_id=key):
                live.pop(key, None)
    return [contact for contact, expires in live.values() if expires > now_ns]


# -------------------------------------------------------------------------------------- statistics


def get_account_statistics(c: Context, a: Arguments) -> Result:
    """GETACCOUNTSTAT."""
    address = c.account(a)
    return Result(_counters(c, a, Target("account", address), address))


def reset_account_statistics(c: Context, a: Arguments) -> None:
    """RESETACCOUNTSTAT."""
    _reset(c, a, Target("account", c.account(a)))


def get_domain_statistics(c: Context, a: Arguments) -> Result:
    """GETDOMAINSTAT."""
    name = c.domain(a).name
    return Result(_counters(c, a, Target("domain", name), f"@{name}"))


def reset_domain_statistics(c: Context, a: Arguments) -> None:
    """RESETDOMAINSTAT."""
    _reset(c, a, Target("domain", c.domain(a).name))


def _counters(c: Context, a: Arguments, target: Target, whose: str) -> Value:
    resets = c.configuration(target).section(STATISTICS)
    key = text(a, "key") if "key" in a else ""
    if key == RESET:
        return resets.get(RESET, "")
    found: dict[str, Value] = {}
    for name in COUNTERS:
        if key in ("", name):
            since = resets.get(name)
            since_ns = int(since.timestamp()) * _NS_PER_S if isinstance(since, datetime) else 0
            found[name] = c.service.count_calls(name, whose, since_ns)
    if key:
        return found.get(key, "")
    return {**found, **({RESET: resets[RESET]} if RESET in resets else {})}


def _reset(c: Context, a: Arguments, target: Target) -> None:
    now = _moment(c.service.clock.wall_ns())
    key = text(a, "key") if "key" in a else ""
    if key and key not in COUNTERS:
        raise DomainError(f"{key}: expected {' or '.join(COUNTERS)}")
    keys = (key,) if key else (*COUNTERS, RESET)
    c.changes.update(target, STATISTICS, dict.fromkeys(keys, now))


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // _NS_PER_S, UTC)
