"""Settings of the server and of its modules, address lists, statistics (CLI reference §5.16–17)."""

from __future__ import annotations

from pbx.admin.dispatch import Context, Handler, Result, number, text
from pbx.admin.syntax import Arguments
from pbx.data import Value
from pbx.domain import blacklist
from pbx.domain.blacklist import address_text
from pbx.kernel.errors import DomainError
from pbx.objects.forms import read_number
from pbx.objects.server_keys import MODULES
from pbx.settings_changes import THE_SERVER

_NS_PER_S = 1_000_000_000
_MAX_TIMEOUT_S = 10 * 365 * 86_400


def list_modules(c: Context, a: Arguments) -> Result:
    """LISTMODULES."""
    return Result(list(MODULES))


def get_module(c: Context, a: Arguments) -> Result:
    """GETMODULE."""
    return Result(c.section(THE_SERVER, _module(a)))


def update_module(c: Context, a: Arguments) -> None:
    """UPDATEMODULE."""
    c.update(THE_SERVER, _module(a), a["newSettings"])


def set_module(c: Context, a: Arguments) -> None:
    """SETMODULE."""
    c.replace(THE_SERVER, _module(a), a["newSettings"])


def _module(arguments: Arguments) -> str:
    name = text(arguments, "moduleName").upper()
    if name not in MODULES:
        raise DomainError("unknown module")
    return f"module.{name}"


def address_list(word: str) -> tuple[Handler, Handler]:
    """GET and SET of one list of addresses."""

    def get(c: Context, a: Arguments) -> Result:
        return Result(c.section(THE_SERVER, "ips").get(word, ""))

    def replace(c: Context, a: Arguments) -> None:
        lines = text(a, "addresses")
        c.changes.update(THE_SERVER, "ips", {word: lines} if lines else {word: "default"})

    return get, replace


# --------------------------------------------------------------------------------- temporary lists


def get_blacklisted(c: Context, a: Arguments) -> Result:
    """GETTEMPBLACKLISTEDIPS: ``address-seconds``, ``address-*`` for ever; locked sources, too."""
    now_ns = c.service.clock.wall_ns()
    found: dict[str, str] = {}
    for key, left_s in c.service.guard.locked(c.service.clock.monotonic()).items():
        if key.startswith("ip:"):
            found[key.removeprefix("ip:")] = str(max(1, round(left_s)))
    for address, until_ns in c.service.blacklisted(now_ns).items():
        left = "*" if until_ns == blacklist.FOREVER else str(-(-(until_ns - now_ns) // _NS_PER_S))
        found[address] = left
    return Result(",".join(f"{address}-{left}" for address, left in sorted(found.items())))


def blacklist_address(c: Context, a: Arguments) -> None:
    """TEMPBLACKLISTIP."""
    address = address_text(text(a, "address"))
    seconds = number(a, "seconds") if "seconds" in a else None
    if "DELETE" in a or seconds == 0:
        _release(c, address)
    else:
        _put(c, address, seconds)


def set_blacklisted(c: Context, a: Arguments) -> None:
    """SETTEMPBLACKLISTEDIPS: adds a list in the form in which it is shown."""
    wanted: list[tuple[str, int | None]] = []
    for item in text(a, "addresses").replace("\n", ",").split(","):
        item = item.strip()
        if not item:
            continue
        address, dash, left = item.rpartition("-")
        if not dash:
            address, left = item, "*"
        wanted.append((address_text(address), None if left == "*" else _seconds(left)))
    for address, seconds in wanted:  # all are right: now, and not before, they are put on it
        _put(c, address, seconds)


def report_failed_login(c: Context, a: Arguments) -> None:
    """REPORTFAILEDLOGINADDRESS: counts toward the lock of the address."""
    address = address_text(text(a, "address"))
    if not c.service.exempt(address):
        c.service.guard.failed(f"ip:{address}", c.service.clock.monotonic())


def ip_state(c: Context, a: Arguments) -> Result:
    """GETIPSTATE: which of the lists names the address."""
    address = address_text(text(a, "address"))
    if "TEMP" in a:
        return Result("other")  # a login over mail makes temporary clients; there is none yet
    if c.world.blacklist.holds(address, c.service.clock.wall_ns()):
        return Result("temporarily blacklisted")
    words = {
        "WHITEHOLE": "white hole", "DENIED": "denied", "BLACKLISTED": "blacklisted",
        "LAN": "LAN", "CLIENT": "client", "NATSITE": "NAT site", "NATED": "NATed",
    }  # fmt: skip
    found = next((name for word, name in words.items() if c.service.in_list(word, address)), "")
    return Result(found or "other")


def _put(c: Context, address: str, seconds: int | None) -> None:
    if c.service.exempt(address):
        raise DomainError(f"{address} is in the list of white holes: it is never blacklisted")
    if address == c.client.address:
        raise DomainError(f"{address} is your own address")
    if seconds is not None and not 0 < seconds <= _MAX_TIMEOUT_S:
        raise DomainError(f"TIMEOUT: expected 0 to {_MAX_TIMEOUT_S} seconds")
    now_ns = c.service.clock.wall_ns()
    until_ns = blacklist.FOREVER if seconds is None else now_ns + seconds * _NS_PER_S
    c.service.change_blacklist(
        lambda state: blacklist.decide_blacklist(state, address, until_ns, now_ns),
        c.changes.meta(""),
    )


def _release(c: Context, address: str) -> None:
    c.service.guard.succeeded(f"ip:{address}")
    c.service.change_blacklist(lambda _: blacklist.decide_release(address), c.changes.meta(""))


def _seconds(text_: str) -> int:
    try:
        return read_number(text_)
    except ValueError:
        raise DomainError(f"{text_!r}: expected seconds or * behind the address") from None


# -------------------------------------------------------------------------------------- statistics


def get_statistic(c: Context, a: Arguments) -> Result:
    """GETSTATELEMENT."""
    return Result(c.service.statistics.get(text(a, "objectID")))


def set_statistic(c: Context, a: Arguments) -> None:
    """SETSTATELEMENT."""
    try:
        value = read_number(a["setValue"])
    except ValueError:
        raise DomainError("setValue: expected a whole number") from None
    c.service.statistics.set(
        text(a, "objectID"),
        value,
        increment=a.get("mode") == "INC",
        actor=c.authority.address,
    )


def next_statistic(c: Context, a: Arguments) -> Result:
    """GETNEXTSTATNAME."""
    return Result(c.service.statistics.next_name(text(a, "objectID")))


# ------------------------------------------------------------------------------------------ alerts


def server_text(section: str, key: str) -> tuple[Handler, Handler]:
    """GET and SET of one value that the server keeps."""

    def get(c: Context, a: Arguments) -> Result:
        return Result(c.section(THE_SERVER, section).get(key, ""))

    def replace(c: Context, a: Arguments) -> None:
        value: Value = a["newValue"]
        c.changes.update(THE_SERVER, section, {key: value})

    return get, replace
