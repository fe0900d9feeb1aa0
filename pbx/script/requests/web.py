"""Requests of web applications (CG/PL reference §12). Their host comes with the web work."""

from __future__ import annotations

from pbx.script.requests.base import WEB_ONLY, HostRequest, request
from pbx.script.values import Dictionary, Value


@request("GetHTTPParameter", environments=WEB_ONLY)
class GetHTTPParameter(HostRequest):
    """Result: the n-th value of a parameter of the URL or form, or null."""

    name: str
    index: int | None = None


@request("GetHTTPBinaryParameter", environments=WEB_ONLY)
class GetHTTPBinaryParameter(HostRequest):
    """Result: an uploaded file as a datablock, or null."""

    name: str
    index: int | None = None


@request("GetHTTPField", environments=WEB_ONLY)
class GetHTTPField(HostRequest):
    """Result: a header field, ``""`` the URL without parameters, or null."""

    name: str


@request("GetHTTPQuery", environments=WEB_ONLY)
class GetHTTPQuery(HostRequest):
    """Result: the text after ``?``, or null."""


@request("GetHTTPResource", environments=WEB_ONLY)
class GetHTTPResource(HostRequest):
    """Result: path and parameters."""


@request("GetHTTPMethod", environments=WEB_ONLY)
class GetHTTPMethod(HostRequest):
    """Result: ``GET``, ``POST`` …"""


@request("GetHTTPType", environments=WEB_ONLY)
class GetHTTPType(HostRequest):
    """Result: the type of the body, or null."""


@request("GetHTTPSubtype", environments=WEB_ONLY)
class GetHTTPSubtype(HostRequest):
    """Result: the subtype of the body, or null."""


@request("GetHTTPData", environments=WEB_ONLY)
class GetHTTPData(HostRequest):
    """Result: the body as XML, string or datablock, or null."""


@request("SetHTTPResponseData", procedure=True, environments=WEB_ONLY)
class SetHTTPResponseData(HostRequest):
    """The body of the response."""

    data: Value


@request("SetHTTPResponseType", procedure=True, environments=WEB_ONLY)
class SetHTTPResponseType(HostRequest):
    """Its type."""

    type: str
    subtype: str


@request("SetHTTPResponseCode", procedure=True, environments=WEB_ONLY)
class SetHTTPResponseCode(HostRequest):
    """A number 200 to 999, or ``NNN-text``."""

    code: Value


@request("AddHTTPResponseField", procedure=True, environments=WEB_ONLY)
class AddHTTPResponseField(HostRequest):
    """A header field of the response."""

    name: str
    value: Value


@request("ProxiedIPAddress", environments=WEB_ONLY)
class ProxiedIPAddress(HostRequest):
    """Result: the address before a proxy, or null."""


@request("LocalIPAddress", environments=WEB_ONLY)
class LocalIPAddress(HostRequest):
    """Result: the address that was called."""


@request("RemoteIPAddress", environments=WEB_ONLY)
class WebRemoteIPAddress(HostRequest):
    """Result: the address of the browser."""


@request("SendHTTPContinue", environments=WEB_ONLY)
class SendHTTPContinue(HostRequest):
    """Result: null, or an error string."""


@request("ProcessWSSP", procedure=True, environments=WEB_ONLY)
class ProcessWSSP(HostRequest):
    """The body is a rendered page of the skin."""

    page: str
    data: Dictionary


@request("SessionData", environments=WEB_ONLY)
class SessionData(HostRequest):
    """Result: the session's dataset."""


@request("WSSPCompose", environments=WEB_ONLY)
class WSSPCompose(HostRequest):
    """Result: a rendered page as text, or null."""

    page: str
    data: Dictionary
    skin: str | None = None
