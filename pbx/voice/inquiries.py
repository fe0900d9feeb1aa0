"""What programs ask about their call (CG/PL reference §11.1): who, where from, what was dialled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pbx.script.offline.files import wav_milliseconds
from pbx.script.requests import realtime
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import Answer
from pbx.script.runtime.surroundings import address_of
from pbx.script.textform import parse_address
from pbx.script.values import Dictionary, Value, string_of, yes
from pbx.voice.line import Line
from pbx.voice.silence import trailing_silence_ms
from sip.dialog.invite import InviteUsage
from sip.errors import RemoteProtocolError
from sip.headers.address import NameAddr
from sip.uri import SipUri

if TYPE_CHECKING:
    from pbx.calls.leg import Leg
    from pbx.script.runtime.task import Task
    from pbx.voice.host import ApplicationHost
    from sip.message import Request

_LISTS: Final = frozenset({
    "Route", "Record-Route", "Diversion", "Via", "Path", "Supported", "Require", "Proxy-Require",
    "Privacy", "Allow", "Allow-Events",
})  # fmt: skip
_SPLIT: Final = frozenset({"Supported", "Require", "Proxy-Require", "Allow", "Allow-Events"})
_ADDRESSES: Final = {"From": "From", "To": "To", "Referred-By": "Referred-By"}
_ADDRESS_LISTS: Final = {
    "Remote-Party-Id": "Remote-Party-ID",
    "History-Info": "History-Info",
    "Foreign-Asserted-Identity": "P-Asserted-Identity",
}
_TEXTS: Final = frozenset({"User-Agent", "Reason", "P-CGP-Private", "P-CGP-Local"})


def answer_inquiry(
    host: ApplicationHost, task: Task, line: Line | None, request: HostRequest
) -> Answer:
    """The answer to a question about the call; an error string for what this server has not."""
    match request:
        case realtime.GetPlayDuration(data):
            return wav_milliseconds(data.octets)
        case realtime.WAVLastSilence(data, level, minimum):
            return trailing_silence_ms(
                data.octets,
                level if isinstance(level, int) else None,
                minimum if isinstance(minimum, int) else 0,
            )
        case realtime.MixerJitter():
            return None
        case (
            realtime.SetDTMFReadMode()
            | realtime.SetProvisionCode()
            | realtime.SetInterceptParams()
            | realtime.SetSecondaryForCall()
            | realtime.SetLocalContactParameter()
        ):
            return None
        case realtime.SignalOption("callInfo"):
            return _call_info(line)
    answer = _OF_LINE.get(type(request))
    if answer is not None:
        return answer(line, request) if line is not None and not line.closed else None
    return string_of(f"501-{request.function} is not available on this server")


def _incoming(line: Line) -> bool:
    return line.role == "uac"


def _call_info(line: Line | None) -> Value:
    leg = line.leg if line is not None else None
    if leg is None:
        return None
    found = Dictionary()
    found.set(b"id", string_of(leg.call.id))
    found.set(b"leg", string_of(leg.id))
    return found


def _remote_uri(line: Line, _: object) -> Value:
    if not _incoming(line):
        return string_of(line.dialled)
    return None if line.invite is None else string_of(line.invite.from_.uri_text)


def _local_uri(line: Line, _: object) -> Value:
    if not _incoming(line):
        return string_of(line.local_uri)
    return None if line.invite is None else string_of(line.invite.to.uri_text)


def _request_uri(line: Line, _: object) -> Value:
    return string_of(line.dialled) if _incoming(line) and line.branch is not None else None


def _real_name(line: Line, _: object) -> Value:
    if not _incoming(line) or line.invite is None:
        return None
    display = line.invite.from_.display
    return string_of(display) if display else None


def _authenticated(line: Line, _: object) -> Value:
    account = line.caller_account if _incoming(line) else ""
    return string_of(account) if account else None


def _redirector(line: Line, _: object) -> Value:
    return string_of(line.redirector) if line.redirector else None


def _address(line: Line, _: object) -> Value:
    peer = line.peer
    flow = peer.usage.flow if peer is not None else None
    if flow is None:
        return None
    host, port = flow.remote
    return parse_address(f"[{host.partition('%')[0]}]:{port}".encode())


def _takes_refer(line: Line, _: object) -> Value:
    peer = line.peer
    usage = peer.usage if peer is not None else None
    return yes(isinstance(usage, InviteUsage) and "REFER" in usage.remote_allow)


def _dialog_data(line: Line, asked: realtime.CallDialogDataEx) -> Value:
    peer = line.peer
    if peer is None or not isinstance(asked.name, bytes):
        return None
    usage = peer.usage
    values: dict[bytes, str] = {
        b"Call-ID": usage.call_id,
        b"fromTag": usage.local_tag,
        b"toTag": usage.remote_tag,
        b"remoteURI": usage.remote_uri,
    }
    found = values.get(asked.name)
    return string_of(found) if found else None


def _extra_data(line: Line, asked: realtime.PendingRequestExData) -> Value:
    request = _pending(line)
    if request is None:
        return None
    wanted = asked.field.lower()
    values = [value for name, value in request.headers if name.lower() == wanted]
    return string_of(", ".join(values)) if values else None


def _pending(line: Line) -> Request | None:
    return line.invite if _incoming(line) and line.branch is not None else None


def _request_data(line: Line, asked: realtime.PendingRequestData) -> Value:
    request = _pending(line)
    if request is None:
        return None
    try:
        return _field(request, asked.field)
    except RemoteProtocolError:
        return None


def _field(request: Request, field: str) -> Value:
    if field == "Call-ID":
        return string_of(request.call_id)
    if field in _ADDRESSES:
        if not request.has(field):
            return None
        return _address_data(request.addresses(field)[0])
    if field in _ADDRESS_LISTS:
        name = _ADDRESS_LISTS[field]
        if not request.has(name):
            return None
        return [_address_data(one) for one in request.addresses(name)]
    if field == "CSeq":
        return request.cseq.number
    if field == "Max-Forwards":
        return request.max_forwards
    if field in _LISTS:
        values = request.all(field)
        if field in _SPLIT:
            values = [one.strip() for value in values for one in value.split(",") if one.strip()]
        return [string_of(one) for one in values] or None
    if field in _TEXTS:
        value = request.first(field)
        return None if value is None else string_of(value)
    if field == "Accept":
        kinds = [
            one.partition(";")[0].strip()
            for value in request.all("Accept")
            for one in value.split(",")
        ]
        parts: list[Value] = [
            string_of(part) for kind in kinds if "/" in kind for part in kind.split("/", 1)
        ]
        return parts or None
    return None


def _address_data(name_addr: NameAddr) -> Dictionary:
    """An address field as programs see it."""
    found = Dictionary()
    uri = name_addr.uri
    address = address_of(name_addr.uri_text)
    if address is not None:
        found.set(b"", string_of(address))
    if name_addr.display:
        found.set(b"@realName", string_of(name_addr.display))
    if isinstance(uri, SipUri):
        if uri.secure:
            found.set(b"@schema", b"sips")
        if uri.port:
            found.set(b"@port", uri.port)
        for name, value in uri.params.items():
            found.set(string_of(name), string_of(value or ""))
    else:
        found.set(b"@schema", string_of(uri.scheme))
        found.set(b"", string_of(str(uri).partition(":")[2]))
    if name_addr.tag:
        found.set(b"@tag", string_of(name_addr.tag))
    rest = Dictionary()
    for name, value in name_addr.params.items():
        if name != "tag":
            rest.set(string_of(name), string_of(value or ""))
    if len(rest):
        found.set(b"@field-params", rest)
    return found


def caller_request(leg: Leg) -> Request | None:
    """The INVITE of a leg that called, made up or from the wire."""
    usage = leg.usage
    if isinstance(usage, Line):
        return usage.invite
    return usage.invite_request if isinstance(usage, InviteUsage) else None


_OF_LINE: Final[dict[type[HostRequest], Callable[[Line, object], Value]]] = {
    realtime.RemoteURI: _remote_uri,
    realtime.LocalURI: _local_uri,
    realtime.IncomingRequestURI: _request_uri,
    realtime.RemoteRealName: _real_name,
    realtime.RemoteAuthentication: _authenticated,
    realtime.RemoteRedirector: _redirector,
    realtime.RemoteIPAddress: _address,
    realtime.TransferSupported: _takes_refer,
    realtime.CallDialogDataEx: _dialog_data,  # type: ignore[dict-item]
    realtime.PendingRequestData: _request_data,  # type: ignore[dict-item]
    realtime.PendingRequestExData: _extra_data,  # type: ignore[dict-item]
}
