"""What an account's RSIP records say: where to register, as whom, how often, for whom.

Telephony reference §9, Objects and settings reference §3.4. Keys that are not known here are kept
with the record and ignored; ``via`` is ours: where to send when that is not what the domain
resolves to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

from pbx.data import Value
from pbx.domain.accounts import AccountDeleted
from pbx.domain.configuration import NO_CONFIGURATION, RECORDS, Configuration, evolve_configuration
from pbx.domain.setting_events import AccountSettingsChanged
from pbx.kernel.events import Event
from pbx.objects.forms import read_period_s
from pbx.router import AddressError, qualified
from sip.errors import RemoteProtocolError
from sip.uri import SipUri, parse_uri

KEY: Final = "RSIP"
DEFAULT_PERIOD_S: Final = 300.0
MIN_PERIOD_S: Final = 30.0
"""More often is a load for the provider and no use; NAT is kept open by other means."""
MAX_PERIOD_S: Final = 86_400.0
DISABLED_S: Final = 1_000_000_000.0
DISABLED_TEXT: Final = "1000000000s"
"""How one client of the records writes that a record is switched off."""
_USER_SAFE: Final = "-_.!~*'()&=+$,;?/"


class RecordKey(NamedTuple):
    """Names a record."""

    account: str
    """``name@domain``."""
    name: str

    def __str__(self) -> str:
        return f"{self.account}/{self.name}"


class RsipRecord(NamedTuple):
    """A record that can be registered."""

    key: RecordKey
    registrar: str
    """Request-URI of REGISTER."""
    host: str
    """The registrar's host in lower case."""
    address: str
    """Our address there: URI of From and To."""
    auth_name: str
    password: str
    period_s: float
    target: str
    """Address of ours that its calls go to, absolute; the account itself if nothing is said."""
    route: tuple[str, ...] = ()
    """Route field where another next hop is wanted."""
    enabled: bool = True

    def __repr__(self) -> str:
        return f"RsipRecord({self.key}, {self.address})"


def read_record(key: RecordKey, values: Mapping[str, Value]) -> RsipRecord:
    """The record of a dictionary. Raises ``ValueError``, in words for who wrote it."""
    place = _text(values, "domain")
    if not place:
        raise ValueError("domain names the registrar, such as sip.example.net")
    registrar = _sip_uri(place, "domain")
    owner, _, domain = key.account.rpartition("@")
    user = _text(values, "fromName") or _text(values, "authName") or owner
    period_s = _period_s(values.get("period", ""))
    via = _text(values, "via")
    if via:
        _sip_uri(via, "via")
    target = _text(values, "targetName")
    try:
        target = qualified(target, domain, owner) if target else key.account
    except AddressError as error:
        raise ValueError(f"targetName: {error}") from None
    name, at, other = user.rpartition("@")
    host = registrar.host_text
    if at:  # an account of another domain at that registrar
        user, host = name, other
    return RsipRecord(
        key,
        f"sip:{place}",
        registrar.host,
        f"sip:{quote(user, safe=_USER_SAFE)}@{host}",
        _text(values, "authName") or user,
        _text(values, "password"),
        min(max(period_s, MIN_PERIOD_S), MAX_PERIOD_S),
        target,
        (f"<sip:{via};lr>",) if via else (),
        period_s < DISABLED_S,
    )


def _text(values: Mapping[str, Value], key: str) -> str:
    value = values.get(key, "")
    if isinstance(value, int):
        value = str(value)
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{key} is a string in one line")
    return value.strip()


def _sip_uri(place: str, key: str) -> SipUri:
    """``host``, ``host:port``, both with URI parameters."""
    try:
        uri = parse_uri(f"sip:{place}")
    except RemoteProtocolError:
        uri = None
    if not isinstance(uri, SipUri) or uri.user is not None or uri.headers or '"' in place:
        raise ValueError(f"{key}: {place} is no host: write HOST, or HOST:PORT;transport=tcp")
    return uri


def _period_s(value: Value) -> float:
    if value in ("", "default"):
        return DEFAULT_PERIOD_S
    if value == DISABLED_TEXT:
        return DISABLED_S
    try:
        period_s = read_period_s(value)
    except ValueError:
        raise ValueError(f"period: {value!r} is no time: write 5m, 300s or 1h") from None
    if period_s == math.inf:
        return DISABLED_S
    if period_s <= 0:
        raise ValueError("period is longer than 0")
    return period_s


class RecordBook:
    """The records of all accounts that have some, folded from the configuration."""

    def __init__(self) -> None:
        self._accounts: dict[str, Configuration] = {}
        """By stream; only the section of records, and there only the key in question."""

    def apply(self, stream: str, event: Event) -> str:
        """Fold one event; gives the account whose records may have changed, else ''."""
        match event:
            case AccountSettingsChanged(section=section) if section == RECORDS:
                if KEY not in event.values and KEY not in event.removed:
                    return ""
                held = self._accounts.get(stream, NO_CONFIGURATION)
                changed = evolve_configuration(held, event)
                records = changed.section(RECORDS).get(KEY)
                if isinstance(records, dict) and records:
                    self._accounts[stream] = Configuration(
                        exists=True, sections={RECORDS: {KEY: records}}
                    )
                else:
                    self._accounts.pop(stream, None)
            case AccountDeleted():
                if self._accounts.pop(stream, None) is None:
                    return ""
            case _:
                return ""
        return stream.removeprefix("account/")

    def accounts(self) -> list[str]:
        """Accounts with records."""
        return [stream.removeprefix("account/") for stream in self._accounts]

    def of(self, account: str) -> Iterator[tuple[RecordKey, RsipRecord | str]]:
        """The records of an account; instead of one that is wrong the reason."""
        held = self._accounts.get(f"account/{account}")
        records = None if held is None else held.section(RECORDS).get(KEY)
        if not isinstance(records, dict):
            return
        for name, values in sorted(records.items()):
            key = RecordKey(account, name)
            if not isinstance(values, dict):
                yield key, "the record is no dictionary"
                continue
            try:
                yield key, read_record(key, values)
            except ValueError as error:
                yield key, str(error)
