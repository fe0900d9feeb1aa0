"""Rules every received message has to keep, whatever the state of the call.

Called by :class:`~tests.support.fake_phone.phone.FakePhone` for each new message; a breach is
reported, and the message is processed all the same. RFC 3261 §8.1, §8.2.6, §12, §17.1.3, §18.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.fake_phone.wire import Heard, address_uri, host_port

if TYPE_CHECKING:
    from tests.support.fake_phone.phone import FakePhone
    from tests.support.fake_phone.transactions import PhoneClient

_WITH_CONTACT = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})
_SINGLE = ("from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type")


def check_message(phone: FakePhone, heard: Heard) -> None:
    """What holds for requests and responses."""
    headers = heard.headers
    length = headers.get("content-length")
    if length is None:
        phone.report("content-length-missing", heard.method or str(heard.status), heard)
    elif length[0] != str(len(heard.body)):
        phone.report("content-length-wrong", f"{length[0]} for {len(heard.body)}", heard)
    if heard.body and "content-type" not in headers:
        phone.report("content-type-missing", heard.method or str(heard.status), heard)
    for name in _SINGLE:
        if len(headers.get(name, ())) > 1:
            phone.report("header-twice", name, heard)
    if not heard.from_tag:
        phone.report("from-tag-missing", heard.get("from"), heard)


def check_request(phone: FakePhone, heard: Heard) -> None:
    """A new request (not a retransmission)."""
    check_message(phone, heard)
    headers = heard.headers
    if not heard.branch.startswith("z9hG4bK") or len(heard.branch) < 12:
        phone.report("branch-cookie", heard.branch, heard)
    if heard.cseq_method != heard.method:
        phone.report("cseq-method", f"{heard.cseq_method} in {heard.method}", heard)
    hops = heard.get("max-forwards")
    if not hops.isdigit() or not 0 < int(hops) <= 70:
        phone.report("max-forwards", repr(hops), heard)
    if len(headers["via"]) != 1:
        phone.report("via-leaked", f"{len(headers['via'])} Via headers of a B2BUA", heard)
    if "record-route" in headers:
        phone.report("record-route-leaked", headers["record-route"][0], heard)
    if "authorization" in headers or "proxy-authorization" in headers:
        phone.report("credentials-leaked", heard.method, heard)
    if heard.method in _WITH_CONTACT and len(headers.get("contact", ())) != 1:
        phone.report("contact-count", f"{headers.get('contact')} in {heard.method}", heard)
    uri = heard.uri
    if uri.startswith("sip:") and host_port(uri)[0] != phone.host and heard.method != "ACK":
        phone.report("request-uri", f"{uri} is not our contact {phone.contact}", heard)


def check_response(phone: FakePhone, client: PhoneClient, heard: Heard) -> None:
    """A response that matched one of our client transactions."""
    check_message(phone, heard)
    status = heard.status
    if len(heard.headers["via"]) != 1:
        phone.report("response-via", f"{len(heard.headers['via'])} Via headers", heard)
    if heard.cseq != client.cseq:
        phone.report("response-cseq", f"{heard.cseq} for {client.cseq}", heard)
    sent = client.data
    if f"\r\nFrom: {heard.get('from')}\r\n".encode() not in sent:
        phone.report("response-from", heard.get("from"), heard)
    if f"\r\nCall-ID: {heard.call_id}\r\n".encode() not in sent:
        phone.report("response-call-id", heard.call_id, heard)
    if f"\r\nTo: {address_part(heard.get('to'))}".encode() not in sent:
        phone.report("response-to", heard.get("to"), heard)
    if status > 100 and not heard.to_tag:
        phone.report("to-tag-missing", f"{status} to {client.method}", heard)
    if client.invite and 200 <= status < 300 and len(heard.headers.get("contact", ())) != 1:
        phone.report("contact-count", f"{heard.headers.get('contact')} in {status}", heard)
    if status == 405 and "allow" not in heard.headers:
        phone.report("allow-missing", "405 without Allow", heard)
    if status in (401, 407):
        name = "www-authenticate" if status == 401 else "proxy-authenticate"
        if name not in heard.headers:
            phone.report("challenge-missing", str(status), heard)
    if client.method == "CANCEL" and status not in (200, 481):
        phone.report("cancel-response", str(status), heard)
    if status == 408 and not client.invite and phone.repeats:
        phone.report("non-invite-408", client.method, heard)


def address_part(value: str) -> str:
    """A To or From value without its tag."""
    return value.partition(";tag=")[0]


__all__ = ["address_uri", "check_message", "check_request", "check_response"]
