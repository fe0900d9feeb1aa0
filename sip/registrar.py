"""The registrar's rules as one pure function (RFC 3261 §10.3, RFC 3327, RFC 5626 §6).

Fed by call control with a REGISTER that is authenticated and allowed for its address of record
(§10.3 steps 1 to 5 are the caller's: domain, Require, digest, owner, To known) and with the
bindings of that address; gives back the response and what changed. Nothing is stored here, so a
request that fails changes nothing, and the caller answers 200 only after the log has taken it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import lru_cache
from typing import Final, NamedTuple

from sip.errors import MalformedHeader, RemoteProtocolError
from sip.flow import Address, Flow
from sip.grammar import LWS, format_params, readable, unquote
from sip.headers.address import NameAddr
from sip.message import REASONS, Request
from sip.uri import SipUri, Uri, parse_uri, unescape

_NS: Final = 1_000_000_000
# qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
_QVALUE: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
# User-Agent goes to lists and logs: longer ones are noise.
_USER_AGENT_CHARS: Final = 200
# RFC 3261 §10.3 step 7: only intervals below one hour may be refused as too brief.
_HOUR_S: Final = 3600

PRIVATE_NETWORKS: Final = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
)
"""Addresses that mean nothing outside their site (RFC 1918, 6598, 3927, 4193, 4291)."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact bound to an address of record. Fields are named as in the log's events."""

    contact_id: str
    """Stable: from instance and reg-id (RFC 5626), else from the contact URI."""
    contact: str
    """The Contact URI exactly as registered."""
    expires_ns: int
    """Wall time at which the binding lapses."""
    sip_call_id: str
    cseq: int
    q: float = 1.0
    instance: str = ""
    """The ``+sip.instance`` URN, without quotes, brackets kept."""
    reg_id: int = 0
    """0 when outbound does not apply."""
    path: tuple[str, ...] = ()
    """Path values, top first: the preloaded Route toward this contact (RFC 3327 §5.3)."""
    user_agent: str = ""
    transport: str = "udp"
    local: str = ""
    remote: str = ""
    """``ip:port`` the REGISTER came from; IPv6 in brackets."""
    nat: bool = False
    """The contact's address is of no use from here: send to ``remote`` from ``local``."""
    contact_params: str = ""
    """Header parameters other than q and expires, as text that starts with a semicolon."""
    methods: tuple[str, ...] = ()
    since_ns: int = 0
    flow_id: int = 0
    """Serial of the connection; not stored in the log, it dies with the process."""

    @property
    def uri(self) -> Uri:
        return parse_uri(self.contact, header="Contact")

    @property
    def flow(self) -> Flow:
        """The flow the REGISTER came over."""
        return Flow(
            self.transport, _parse_address(self.local), _parse_address(self.remote), self.flow_id
        )

    def header_value(self, now_ns: int) -> str:
        """The binding as a Contact value, with the seconds that remain (at least 1)."""
        remaining_s = max(1, -((now_ns - self.expires_ns) // _NS))
        q = "" if self.q == 1.0 else f";q={self.q:.3f}".rstrip("0")
        return f"<{self.contact}>{self.contact_params}{q};expires={remaining_s}"


class Removal(NamedTuple):
    binding: Binding
    reason: str
    """``unregistered``, ``expired`` or ``replaced``."""


@dataclass(frozen=True, slots=True)
class RegistrarConfig:
    default_expires_s: int = 3600
    min_expires_s: int = 60
    """Shorter is refused by 423: it would be a denial of service."""
    max_expires_s: int = 86_400
    nat_expires_s: int = 120
    """Longest for a contact behind NAT over UDP, so that its mapping is known alive; 0 = no cut."""
    max_contacts: int = 10
    """Bindings of one address; more is 403."""
    private_networks: tuple[str, ...] = PRIVATE_NETWORKS
    outbound: bool = True
    flow_timer_s: int = 60
    """How often an outbound client must send keep-alives (RFC 5626 §4.4.1); 0 = not said."""
    service_route: tuple[str, ...] = ()
    """RFC 3608: Service-Route values for the 200."""


#: Contact parameters that are not the client's to say: what comes back is made anew.
_NOT_KEPT: Final = frozenset({"q", "expires", "pub-gruu", "temp-gruu"})
#: What a URI parameter may not hold as it stands (RFC 3261 §25.1, paramchar).
_GR_ESCAPED: Final = re.compile(r"[^A-Za-z0-9\-_.!~*'()\[\]/:&+$]")

DEFAULT_CONFIG: Final = RegistrarConfig()


@dataclass(frozen=True, slots=True)
class RegisterResult:
    """The response to build, and what changed. Apply ``removed`` before ``added``: a contact that
    moved stands in both under one contact_id."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    bindings: tuple[Binding, ...]
    """All bindings afterwards; the old ones if the request failed."""
    added: tuple[Binding, ...] = ()
    refreshed: tuple[Binding, ...] = ()
    """Same contact, only expiry, Call-ID, CSeq and flow are new."""
    removed: tuple[Removal, ...] = ()


class _Refused(RemoteProtocolError):
    """The REGISTER fails as a whole."""

    def __init__(self, status: int, reason: str = "", header: tuple[str, str] | None = None):
        super().__init__(reason or REASONS[status], status_hint=status)
        self.headers = () if header is None else (header,)


def evaluate(
    request: Request,
    flow: Flow,
    bindings: tuple[Binding, ...],
    now_ns: int,
    config: RegistrarConfig = DEFAULT_CONFIG,
) -> RegisterResult:
    """Apply one REGISTER. ``now_ns`` is wall time; never raises for what a peer sent."""
    try:
        return _Update(request, flow, bindings, now_ns, config).result()
    except _Refused as error:
        return RegisterResult(error.status_hint, error.reason, error.headers, bindings)
    except MalformedHeader as error:
        return RegisterResult(error.status_hint, error.reason, (), bindings)


def expire(
    bindings: Iterable[Binding], now_ns: int
) -> tuple[tuple[Binding, ...], tuple[Removal, ...]]:
    """Split bindings into those alive and those that lapsed."""
    alive, lapsed = [], []
    for binding in bindings:
        if binding.expires_ns > now_ns:
            alive.append(binding)
        else:
            lapsed.append(Removal(binding, "expired"))
    return tuple(alive), tuple(lapsed)


class _Update:
    """One REGISTER being applied to a copy of the bindings."""

    def __init__(
        self,
        request: Request,
        flow: Flow,
        bindings: tuple[Binding, ...],
        now_ns: int,
        config: RegistrarConfig,
    ) -> None:
        self.request = request
        self.flow = flow
        self.now_ns = now_ns
        self.config = config
        self.before, removed = expire(bindings, now_ns)
        self.current = list(self.before)
        self.touched: set[str] = set()
        self.added: dict[str, Binding] = {}
        self.refreshed: dict[str, Binding] = {}
        self.removed = list(removed)
        self.path = tuple(readable(value) for value in request.values("Path"))
        self.outbound_used = False
        supported = request.option_tags("Supported")
        self.outbound_asked = config.outbound and "outbound" in supported
        self.gruu_asked = "gruu" in supported

    def result(self) -> RegisterResult:
        request = self.request
        if request.contact_is_star:
            self.remove_all()
        else:
            contacts = request.contacts
            self.check_outbound(contacts)
            for contact in contacts:
                self.apply(contact)
            if len(self.current) > max(self.config.max_contacts, len(self.before)):
                raise _Refused(403, "Too many contacts")
        return RegisterResult(
            200,
            REASONS[200],
            self.success_headers(),
            tuple(self.current),
            tuple(self.added.values()),
            tuple(self.refreshed.values()),
            tuple(self.removed),
        )

    def success_headers(self) -> tuple[tuple[str, str], ...]:
        headers = [("Contact", binding.header_value(self.now_ns)) for binding in self.current]
        if self.gruu_asked:
            aor = self.request.to.sip_uri
            headers = [
                (name, f'{value};pub-gruu="{public_gruu(aor, binding.instance)}"')
                if binding.instance
                else (name, value)
                for (name, value), binding in zip(headers, self.current, strict=True)
            ]
        headers += [("Path", value) for value in self.path]
        headers += [("Service-Route", value) for value in self.config.service_route]
        headers.append(
            ("Supported", "path, outbound, gruu" if self.config.outbound else "path, gruu")
        )
        if self.outbound_used:
            headers.append(("Require", "outbound"))
            if self.config.flow_timer_s:
                headers.append(("Flow-Timer", str(self.config.flow_timer_s)))
        headers.append(("Date", formatdate(self.now_ns // _NS, usegmt=True)))
        return tuple(headers)

    def remove_all(self) -> None:
        """Contact: * (§10.3 step 6)."""
        if self.request.expires != 0:
            raise _Refused(400, "The wildcard needs Expires: 0")
        for binding in self.current:
            self.check_order(binding)
            self.removed.append(Removal(binding, "unregistered"))
        self.current.clear()

    def check_order(self, binding: Binding) -> None:
        """§10.3 steps 6 and 7: the same client must count up."""
        request = self.request
        if binding.sip_call_id == request.call_id and request.cseq.number <= binding.cseq:
            raise _Refused(500, "CSeq out of order")

    def check_outbound(self, contacts: list[NameAddr]) -> None:
        """RFC 5626 §6: what makes the whole request wrong."""
        if not self.outbound_asked or not any(_outbound_id(contact)[1] for contact in contacts):
            return
        if len([contact for contact in contacts if self.lifetime_s(contact) > 0]) > 1:
            raise _Refused(400, "More than one Contact with reg-id")
        if len(self.request.vias) > 1:
            # Not directly from the client: the edge proxy must have promised to keep the flow.
            edge = self.request.paths[-1].sip_uri if self.path else None
            if edge is None or "ob" not in edge.params:
                raise _Refused(439)

    def lifetime_s(self, contact: NameAddr) -> int:
        """Seconds asked for (§10.2.1.1): the parameter, else Expires, else our default."""
        value = contact.param("expires")
        if value is None:
            expires = self.request.expires
            return self.config.default_expires_s if expires is None else expires
        if not (value.isascii() and value.isdigit()):
            return self.config.default_expires_s  # malformed counts as the default
        return min(int(value[:10]), 0xFFFF_FFFF)

    def apply(self, contact: NameAddr) -> None:
        """One Contact (§10.3 step 7)."""
        uri = contact.sip_uri  # Deviation: RFC 3261 allows any URI, but we could not call it
        lifetime_s = self.lifetime_s(contact)
        if 0 < lifetime_s < min(self.config.min_expires_s, _HOUR_S):
            raise _Refused(423, "", ("Min-Expires", str(self.config.min_expires_s)))
        instance, reg_id = _outbound_id(contact)
        if not self.outbound_asked:
            reg_id = 0
        old = self.find(uri, instance, reg_id)
        if old is not None and old.contact_id not in self.touched:
            self.check_order(old)
        if lifetime_s == 0:
            if old is not None:
                self.drop(old, "unregistered")
            return
        if reg_id:
            self.outbound_used = True
        binding = self.bind(contact, lifetime_s, instance, reg_id, old)
        self.touched.add(binding.contact_id)
        if old is None:
            self.current.append(binding)
            self.added[binding.contact_id] = binding
            return
        if _same_contact(old, binding):
            self.current[self.current.index(old)] = binding
            changed = self.added if binding.contact_id in self.added else self.refreshed
            changed[binding.contact_id] = binding
            return
        position = self.current.index(old)
        self.drop(old, "replaced")
        self.current.insert(position, binding)
        self.added[binding.contact_id] = binding

    def drop(self, old: Binding, reason: str) -> None:
        self.current.remove(old)
        self.refreshed.pop(old.contact_id, None)
        if self.added.pop(old.contact_id, None) is None:
            # What this very request added was never there; what it refreshed is the old one.
            stored = next((b for b in self.before if b.contact_id == old.contact_id), old)
            self.removed.append(Removal(stored, reason))

    def find(self, uri: Uri, instance: str, reg_id: int) -> Binding | None:
        """The binding this Contact is about: by instance and reg-id, else by URI (§19.1.4)."""
        if reg_id:
            for binding in self.current:
                if binding.reg_id == reg_id and binding.instance == instance:
                    return binding
        for binding in self.current:
            if (not reg_id or not binding.reg_id) and binding.uri.equivalent(uri):
                return binding
        return None

    def bind(
        self, contact: NameAddr, lifetime_s: int, instance: str, reg_id: int, old: Binding | None
    ) -> Binding:
        request, flow, config = self.request, self.flow, self.config
        nat = not self.path and _is_nat(contact, flow, config.private_networks)
        lifetime_s = min(lifetime_s, config.max_expires_s)
        if nat and config.nat_expires_s and flow.transport == "udp":
            lifetime_s = min(lifetime_s, max(config.nat_expires_s, config.min_expires_s))
        params = {k: v for k, v in contact.params.items() if k not in _NOT_KEPT}
        methods = contact.param("methods")
        allowed = request.values("Allow") if methods is None else methods.split(",")
        identity = f"{instance}\n{reg_id}" if reg_id else contact.uri_text
        return Binding(
            contact_id=_short_hash(identity),
            contact=contact.uri_text,
            expires_ns=self.now_ns + lifetime_s * _NS,
            sip_call_id=request.call_id,
            cseq=request.cseq.number,
            q=qvalue(contact),
            instance=instance,
            reg_id=reg_id,
            path=self.path,
            user_agent=readable(request.first("User-Agent") or "")[:_USER_AGENT_CHARS],
            transport=flow.transport,
            local=_format_address(flow.local),
            remote=_format_address(flow.remote),
            nat=nat,
            contact_params=readable(format_params(params)),
            methods=tuple(sorted({readable(m.strip(LWS)) for m in allowed if m.strip(LWS)})),
            since_ns=self.now_ns if old is None else old.since_ns,
            flow_id=flow.id,
        )


def _same_contact(old: Binding, new: Binding) -> bool:
    """Whether only what a refresh may change has changed."""
    return new == replace(
        old,
        expires_ns=new.expires_ns,
        sip_call_id=new.sip_call_id,
        cseq=new.cseq,
        transport=new.transport,
        local=new.local,
        remote=new.remote,
        nat=new.nat,
        flow_id=new.flow_id,
    )


def _outbound_id(contact: NameAddr) -> tuple[str, int]:
    """Instance and reg-id; reg-id without an instance is ignored (RFC 5626 §6)."""
    instance = readable(contact.param("+sip.instance") or "")
    value = contact.param("reg-id")
    if value is None or not instance:
        return instance, 0
    if not (value.isascii() and value.isdigit()) or not 0 < int(value[:11]) < 2**31:
        raise MalformedHeader("Contact", "bad reg-id")
    return instance, int(value)


def public_gruu(aor: SipUri, instance: str) -> str:
    """The public GRUU of an instance at an address of record (RFC 5627 §5.3).

    Temporary GRUUs are not made: callers are hidden by us, not by their address.
    """
    value = _GR_ESCAPED.sub(lambda found: _percent(found.group()), instance.strip("<>"))
    return f"{aor.scheme}:{aor.user}@{aor.host_text};gr={value}"


def _percent(text: str) -> str:
    return "".join([f"%{octet:02X}" for octet in text.encode("utf-8", "surrogateescape")])


def has_instance(binding: Binding, gr: str) -> bool:
    """Whether a GRUU with the ``gr`` parameter `gr` (as written) means this binding."""
    return bool(gr) and binding.instance.strip("<>").lower() == unescape(gr).lower()


def qvalue(contact: NameAddr) -> float:
    """Preference of a Contact, 1.0 unless it says less. Raises MalformedHeader."""
    value = contact.params.get("q")
    if value is None:
        return 1.0
    value = unquote(value)
    if _QVALUE.fullmatch(value) is None:
        raise MalformedHeader("Contact", "bad q")
    return float(value)


def _is_nat(contact: NameAddr, flow: Flow, private_networks: tuple[str, ...]) -> bool:
    """The client claims an address of a private network and does not come from it.

    Names are never NAT: a WebSocket client's ``.invalid`` host is reached by its flow anyway.
    """
    host = contact.sip_uri.host
    return host != flow.remote[0] and _is_private(host, private_networks)


@lru_cache(maxsize=1024)  # phones refresh the same few addresses all day
def _is_private(host: str, networks: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(network) for network in networks)


def _short_hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _format_address(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse_address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port or 0)
