"""The INVITE that a program's parameters mean (CG/PL reference §11.2).

It never crosses a wire: call control takes it as it takes one that came by SIP, with the flow
``LOCAL``. Pure; raises :class:`~pbx.voice.errors.BadParameters`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pbx.calls.presentation import ANONYMOUS, Presentation, address_text
from pbx.calls.program import OutgoingOptions
from pbx.script.runtime.surroundings import address_of
from pbx.script.values import Dictionary, Value, text_of
from pbx.voice.errors import BadParameters
from sip.errors import RemoteProtocolError
from sip.headers.address import parse_name_addr
from sip.login import DigestLogin
from sip.message import Request
from sip.uri import SipUri, parse_uri

MAX_VALUE_CHARS: Final = 2048
"""Of one field of a program's call."""
MAX_FORWARDS: Final = 70
_TEXTS: Final = ("Subject", "Alert-Info", "Referred-By")
_LISTS: Final = ("Diversion", "Call-Info", "Privacy", "History-Info")
_WITHHELD: Final = frozenset(("id", "user", "header"))


class Outgoing(NamedTuple):
    """What a program wants to call."""

    request: Request
    shown: Presentation
    options: OutgoingOptions
    expires_s: int | None
    """Longest ringing; None: as the server has it."""
    late: bool
    """Without a description: the other side offers."""


def text(parameters: Dictionary, key: str) -> str:
    """A text of the parameters, empty if there is none. What would break a header is refused."""
    value = parameters.get(key.encode())
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, bytes):
        return ""
    return _checked(key, text_of(value))


def _checked(key: str, found: str) -> str:
    if len(found) > MAX_VALUE_CHARS or any(char < " " or char == "\x7f" for char in found):
        raise BadParameters(400, f"the parameter {key} cannot stand in a SIP message")
    return found.strip()


def texts(parameters: Dictionary, key: str) -> list[str]:
    """A text or an array of them."""
    value = parameters.get(key.encode())
    values = value if isinstance(value, list) else [value]
    return [_checked(key, text_of(one)) for one in values[:20] if isinstance(one, bytes) and one]


def uri_of(address: str, domain: str | None) -> str:
    """A URI of what programs take for one: ``sip:…``, ``tel:…``, ``name@domain``, ``name``."""
    found = address.strip()
    if "<" in found:
        found = found.partition("<")[2].partition(">")[0].strip()
    if found[:5].lower() in ("sips:",) or found[:4].lower() in ("sip:", "tel:"):
        return found
    if "@" in found or not domain:
        return f"sip:{found}"
    return f"sip:{found}@{domain}"


def outgoing(
    parameters: Dictionary,
    account: str | None,
    real_name: str,
    main_domain: str,
    call_id: str,
    tag: str,
) -> Outgoing:
    """See the module. `account` is the task's, `call_id` a new one, `tag` that of From."""
    domain = (account or "").partition("@")[2] or main_domain
    target = uri_of(text(parameters, ""), domain)
    try:
        parsed = parse_uri(target)
    except RemoteProtocolError:
        raise BadParameters(484, f"{target} is no address") from None
    if isinstance(parsed, SipUri) and not parsed.user:
        raise BadParameters(484, f"{target} names nobody")
    from_uri, name = _sender(parameters, account, real_name, domain)
    to = text(parameters, "To")
    shown = Presentation(address_text(name, from_uri), f"sip:{account}" if account else "")
    chosen_id = text(parameters, "Call-ID")
    if chosen_id and not all(char.isprintable() and char not in ' <>"' for char in chosen_id):
        raise BadParameters(400, "the parameter Call-ID is no Call-ID")
    hops = parameters.get(b"Max-Forwards")
    if isinstance(hops, int) and hops <= 0:
        raise BadParameters(483, "Too Many Hops")
    fields: list[tuple[str, str]] = [
        ("From", f"{shown.from_};tag={tag}"),
        ("To", f"<{uri_of(to, domain)}>" if to else f"<{target}>"),
        ("Call-ID", chosen_id or call_id),
        ("CSeq", "1 INVITE"),
        ("Max-Forwards", str(min(hops, MAX_FORWARDS) if isinstance(hops, int) else MAX_FORWARDS)),
        ("Allow", "INVITE, ACK, CANCEL, BYE, UPDATE, INFO, REFER, NOTIFY"),
    ]
    fields += [(key, value) for key in _TEXTS if (value := text(parameters, key))]
    fields += [(key, value) for key in _LISTS for value in texts(parameters, key)]
    if not _WITHHELD.isdisjoint(one.lower() for one in texts(parameters, "Privacy")):
        shown = ANONYMOUS
    expires = parameters.get(b"Expires")
    if isinstance(expires, int) and expires > 0:
        fields.append(("Expires", str(expires)))
    return Outgoing(
        Request("INVITE", target, tuple(fields)),
        shown,
        _options(parameters, chosen_id),
        expires if isinstance(expires, int) and expires > 0 else None,
        parameters.get(b"NoInitSDP") is not None,
    )


def _sender(
    parameters: Dictionary, account: str | None, real_name: str, domain: str
) -> tuple[str, str]:
    """URI and display name of From."""
    given = text(parameters, "From")
    name = text(parameters, "fromName")
    if not given:
        sender = f"sip:{account}" if account else "sip:anonymous@anonymous.invalid"
        return sender, name or real_name
    display = ""
    if "<" in given:
        try:
            display = parse_name_addr(given, "From").display
        except RemoteProtocolError:
            raise BadParameters(400, "the parameter From is no address") from None
    uri = uri_of(given, domain)
    try:
        parse_uri(uri)
    except RemoteProtocolError:
        raise BadParameters(400, "the parameter From is no address") from None
    own = account is not None and address_of(uri) == account
    return uri, display or name or (real_name if own else "")


def _options(parameters: Dictionary, call_id: str) -> OutgoingOptions:
    name, password = text(parameters, "authUsername"), text(parameters, "authPassword")
    interval = parameters.get(b"Session-Expires")
    identity = parameters.get(b"customIdentity")
    via = text(parameters, "Via")
    route: tuple[str, ...] = ()
    if via:
        place = uri_of(via, None)
        try:
            parse_uri(place)
        except RemoteProtocolError:
            raise BadParameters(400, "the parameter Via is no address") from None
        route = (f"<{place};lr>" if ";lr" not in place else f"<{place}>",)
    return OutgoingOptions(
        call_id=call_id,
        # Pinned: a party behind the gateway gets no digest by challenging what we send later.
        credentials=DigestLogin(name, password, pin=True) if name else None,
        reliable=parameters.get(b"No100rel") is None,
        session_expires_s=interval if isinstance(interval, int) and interval >= 0 else None,
        route=route,
        asserted=_identity(identity),
        relay=text(parameters, "Relay").upper() != "NO",
        billing_id=text(parameters, "P-Billing-Id")[:128],
        fields=tuple(_own_fields(parameters)),
    )


def _own_fields(parameters: Dictionary) -> list[tuple[str, str]]:
    """Fields that only programs send."""
    fields = [
        (key, value) for key in ("P-CGP-Private", "P-CGP-Local") if (value := text(parameters, key))
    ]
    fields += [("Remote-Party-Id", value) for value in texts(parameters, "Remote-Party-Id")]
    replaces = parameters.get(b"Replaces")
    if isinstance(replaces, Dictionary):
        call_id = text(replaces, "Call-ID")
        value = f"{call_id};to-tag={text(replaces, 'toTag')};from-tag={text(replaces, 'fromTag')}"
        if replaces.get(b"early-only") is not None:
            value += ";early-only"
        fields.append(("Replaces", value))
    elif given := text(parameters, "Replaces"):
        fields.append(("Replaces", given))
    return fields


def _identity(value: Value) -> str | None:
    if not isinstance(value, bytes):
        return None
    found = _checked("customIdentity", text_of(value))
    return uri_of(found, None) if found else ""
