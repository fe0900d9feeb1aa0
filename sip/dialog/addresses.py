"""What From, To, Contact and Record-Route of a peer say about where it is.

Read by `dialog` when a dialog opens and when its target is refreshed.
"""

from __future__ import annotations

from sip.errors import MalformedHeader
from sip.grammar import split_list
from sip.headers import parse_name_addr
from sip.message import Message, Request
from sip.request import numeric_host
from sip.uri import SipUri


def private_host(host: str) -> bool:
    """A host that only makes sense in the network it stands in.

    RFC 1918, RFC 6598 (carrier NAT), RFC 3927 and RFC 4193 ranges, loopback, and the `.invalid`
    of WebSocket clients (RFC 7118 §5.1).
    """
    if ":" in host:
        return host.startswith(("fc", "fd", "fe8", "fe9", "fea", "feb")) or host == "::1"
    if host.startswith(("10.", "192.168.", "169.254.", "127.")):
        return numeric_host(host)
    if host.startswith(("172.", "100.")) and numeric_host(host):
        second = int(host.split(".", 2)[1] or "0")
        return 16 <= second <= 31 if host.startswith("172.") else 64 <= second <= 127
    return host.endswith(".invalid")


def uri_of(value: str) -> str:
    """The URI inside a From or To value."""
    try:
        return parse_name_addr(value, "address").uri_text
    except MalformedHeader:
        return value


def record_routes(message: Message) -> list[str]:
    """As text, and known to be readable. Raises MalformedHeader."""
    if not message.has("Record-Route"):
        return []
    return [str(route) for route in message.record_routes]


def target_text(message: Message) -> str:
    """The Contact URI, or "" when there is none that can be read."""
    value = message.first("Contact")
    if not value:
        return ""
    left = value.find("<")
    if left >= 0 and '"' not in value:
        # By far the most common form needs no parser.
        right = value.find(">", left)
        text = value[left + 1 : right]
        # A space would break our request line, whatever the peer meant by it.
        return text if right > 0 and " " not in text and "\t" not in text else ""
    try:
        contacts = message.contacts
    except MalformedHeader:
        return ""
    return contacts[0].uri_text if contacts else ""


def hosts_of(message: Message) -> set[str]:
    """Hosts that take part: Contact, Via, Record-Route."""
    hosts: set[str] = set()
    for name in ("Contact", "Record-Route"):
        for value in message.all(name):
            try:
                for piece in split_list(value, name):
                    uri = parse_name_addr(piece, name).uri
                    if isinstance(uri, SipUri):
                        hosts.add(uri.host)
            except MalformedHeader:
                continue
    if isinstance(message, Request):
        hosts.update(via.host for via in message.vias)
    return hosts
