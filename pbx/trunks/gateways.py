"""Calls through the gateways of an account's PSTN settings (PBX applications reference §9).

Each setting is one value for all gateways, or a dictionary by their names (also as text, the way
it is typed in a form). Which gateway is meant says the second parameter of ``gatewaycaller``, the
first name if there is none, or the address that is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

from pbx.calls.dial import Contact
from pbx.calls.ports import ThroughGateway
from pbx.calls.presentation import Presentation, address_text
from pbx.data import DataError, Value, parse
from pbx.router.e164 import NumberForm, NumberingPlan
from sip.errors import RemoteProtocolError
from sip.login import DigestLogin
from sip.uri import SipUri, parse_uri

_USER_SAFE: Final = "-_.!~*'()&=+$,;?/"
_TYPED_CHARS: Final = 10_000
"""A dictionary typed into a form; longer text is none."""


class Caller(NamedTuple):
    """The account that calls, as a gateway may have to know it."""

    account: str
    """``name@domain``."""
    display: str = ""
    telnum: str = ""
    """The first of its telephone numbers."""


class Gateway(NamedTuple):
    """One gateway of an account."""

    name: str
    """Key in the dictionaries of the settings; empty if they are none."""
    domain: str
    """Host, perhaps with port, of the address that is called."""
    via: str
    user: str
    password: str
    caller_id: str
    """As set; see :func:`caller_address`."""
    form: NumberForm

    def __repr__(self) -> str:
        return f"Gateway({self.name!r}, {self.domain!r})"


def _by_gateway(value: Value) -> Mapping[str, Value] | str:
    """A setting as a dictionary by gateway, or as the value for all of them."""
    if isinstance(value, str):
        text = value.strip()
        if len(text) <= _TYPED_CHARS and text.startswith("{") and text.endswith("}"):
            try:
                value = parse(text)
            except DataError:
                return ""
        else:
            return text
    return value if isinstance(value, dict) else ""


def _value(setting: Value, name: str) -> str:
    """The value for a gateway; a missing one and an empty one are the same."""
    values = _by_gateway(setting)
    if isinstance(values, str):
        return values
    value = values.get(name)
    return value.strip() if isinstance(value, str) else ""


def names(settings: Mapping[str, Value]) -> list[str]:
    """The gateways of effective settings, sorted as the first of them is meant."""
    values = _by_gateway(settings.get("PSTNGatewayDomain", ""))
    if isinstance(values, str):
        return [""] if values else []
    return sorted(values)


def gateway(settings: Mapping[str, Value], name: str, domain_name: str) -> Gateway | None:
    """The gateway `name` ('' is the first); None if it has no domain.

    `domain_name` stands for ``*domain*`` in the user name.
    """
    known = names(settings)
    if not known:
        return None
    if known != [""] and not name:
        name = known[0]
    found = _value(settings.get("PSTNGatewayDomain", ""), name)
    if not found:
        return None
    try:
        form = NumberForm(_value(settings.get("PSTNNumberFormat", ""), name) or "E.164")
    except ValueError:
        form = NumberForm.E164
    user = _value(settings.get("PSTNGatewayAuthName", ""), name)
    return Gateway(
        name,
        found,
        _value(settings.get("PSTNGatewayVia", ""), name),
        user.replace("*domain*", domain_name),
        _value(settings.get("PSTNGatewayPassword", ""), name),
        _value(settings.get("PSTNFromName", ""), name),
        form,
    )


def all_gateways(settings: Mapping[str, Value], domain_name: str) -> Iterable[Gateway]:
    """Every gateway that has a domain."""
    for name in names(settings):
        found = gateway(settings, name, domain_name)
        if found is not None:
            yield found


def caller_address(found: Gateway, caller: Caller, plan: NumberingPlan | None) -> str:
    """Who calls, as the gateway is told: ``user@host``.

    ``*`` is the caller's first telephone number in the form of the gateway, ``$`` the name of the
    calling account (the reference leaves open whether that or the name at the gateway is meant);
    without a value it is the caller's own address.
    """
    user = found.caller_id
    if user == "*":
        user = caller.telnum
        if user and plan is not None:
            user = plan.form(plan.e164(user) or user, found.form)
    elif user == "$":
        user = caller.account.partition("@")[0]
    if not user:
        return caller.account
    return user if "@" in user else f"{user}@{_host_of(found.domain)}"


def _host_of(place: str) -> str:
    uri = _place(place)
    return uri.host_text if uri is not None else place


def _place(place: str) -> SipUri | None:
    try:
        uri = parse_uri(f"sip:{place}")
    except RemoteProtocolError:
        return None
    return uri if isinstance(uri, SipUri) and uri.user is None else None


def is_at(found: Gateway, uri: SipUri) -> bool:
    """Whether an address is one of that gateway: its host, and its port if that is named."""
    place = _place(found.domain)
    return place is not None and place.host == uri.host and place.port in (None, uri.port)


def contact(
    number: str, found: Gateway, caller: Caller, plan: NumberingPlan | None
) -> ThroughGateway:
    """How `number` is called at a gateway."""
    if _place(found.domain) is None:
        return ThroughGateway(None, f"PSTNGatewayDomain {found.domain} is no host")
    uri = f"sip:{quote(number, safe=_USER_SAFE)}@{found.domain}"
    return dressed(Contact(uri), found, caller, plan)


def dressed(
    plain: Contact, found: Gateway, caller: Caller, plan: NumberingPlan | None
) -> ThroughGateway:
    """`plain`, an address at the gateway, with its route, its credentials and our name there."""
    if found.via and _place(found.via) is None:
        return ThroughGateway(None, f"PSTNGatewayVia {found.via} is no host")
    address = caller_address(found, caller, plan)
    user, _, host = address.rpartition("@")
    from_uri = f"sip:{quote(user, safe=_USER_SAFE)}@{host}"
    try:
        parse_uri(from_uri)
    except RemoteProtocolError:
        return ThroughGateway(None, f"PSTNFromName makes {address!r}, which is no address")
    if not found.user.isprintable():
        return ThroughGateway(None, "PSTNGatewayAuthName is no name in one line")
    display = "".join(letter for letter in caller.display if letter.isprintable())
    # Only the server that asks first gets an answer, in the INVITE and inside the call.
    login = DigestLogin(found.user, found.password, pin=True) if found.user else None
    named = f"gateway {found.name} ({found.domain})" if found.name else f"gateway {found.domain}"
    with_login = f"as {found.user}" if found.user else "without credentials"
    note = f"{named} of {caller.account}, {with_login}, caller {address}"
    return ThroughGateway(
        plain._replace(
            path=(f"<sip:{found.via};lr>",) if found.via else plain.path,
            login=login,
            shown=Presentation(address_text(display, from_uri)),
        ),
        note,
    )
