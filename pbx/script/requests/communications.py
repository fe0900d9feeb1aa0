"""Requests that send something or call other services (CG/PL reference §9.14)."""

from __future__ import annotations

from pbx.script.requests.base import HostRequest, request
from pbx.script.values import Dictionary, IpAddress, Value


@request("SubmitEMail")
class SubmitEMail(HostRequest):
    """Result: null, or an error string."""

    headers: Value
    content: Value


@request("SendEMail")
class SendEMail(HostRequest):
    """Result: null, or an error string."""

    sender: str | None
    subject: str | None
    to: Value
    headers: Value
    content: Value


@request("SendInstantMessage")
class SendInstantMessage(HostRequest):
    """Result: null, or an error string."""

    sender: str | None
    to: str
    content: Value


@request("SendXMPPIQ")
class SendXMPPIQ(HostRequest):
    """Result: null, or an error string."""

    sender: str | None
    to: str
    content: Dictionary


@request("HTTPCall", waits=True)
class HTTPCall(HostRequest):
    """Result: a dictionary with ``responseCode``, ``body`` …, or an error string."""

    url: str
    parameters: Value = None


@request("RADIUSCall", waits=True)
class RADIUSCall(HostRequest):
    """Result: a dictionary, or an error string."""

    server: IpAddress
    parameters: Dictionary


@request("ExecuteCLI")
class ExecuteCLI(HostRequest):
    """Result: null (the output is in ``Vars().executeCLIResult``), or an error string."""

    command: str


@request("StartPBXTASK")
class StartPBXTask(HostRequest):
    """Result: the task's id, or an error string."""

    account: str
    program: str
    parameter: Value


@request("CallHelper", waits=True)
class CallHelper(HostRequest):
    """Result: what the external helper answers, or an error string."""

    name: str
    parameters: Value
    mode: Value = None


@request("BannerRead")
class BannerRead(HostRequest):
    """Result: a banner, or null."""

    type: str
    parameters: Value


@request("DoBalance")
class DoBalance(HostRequest):
    """Result: a dictionary, or an error string."""

    parameters: Dictionary
    account: str | None


@request("Statistics")
class Statistics(HostRequest):
    """Result: a number, or an error string."""

    name: str
    operation: str | None
    value: Value


@request("UpdateStatistics", procedure=True)
class UpdateStatistics(HostRequest):
    """Change a statistics element."""

    name: Value
    value: Value


@request("StoreCDR", procedure=True)
class StoreCDR(HostRequest):
    """Write a line to the external CDR processor."""

    text: str


@request("RunScript", waits=True)
class RunScript(HostRequest):
    """Result: what the script set with ``SetResult``, or null."""

    name: str
    parameter: Value = None
    entry: str | None = None


@request("SetResult", procedure=True)
class SetResult(HostRequest):
    """What ``RunScript`` gives to the caller."""

    value: Value


@request("SendPushNotifications")
class SendPushNotifications(HostRequest):
    """Result: null, or an error string."""

    parameters: Value


@request("GenerateJWTToken")
class GenerateJWTToken(HostRequest):
    """Result: a token, or null."""

    algorithm: Value
    key: Value
    header: Value
    payload: Value
