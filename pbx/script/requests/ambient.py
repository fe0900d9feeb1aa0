"""Requests for what lies around a task: time, randomness, language, names of the system.

Time and randomness are asked of the host like everything else, so that a task can be repeated from
the values it was given.
"""

from __future__ import annotations

from dataclasses import dataclass

from pbx.script.requests.base import HostRequest, request
from pbx.script.values import Timestamp, Value


@request("GMTTime")
class GMTTime(HostRequest):
    """Result: the current time, UTC."""


@request("LocalTime")
class LocalTime(HostRequest):
    """Result: the current time in the task's zone."""


@request("GMTToLocal")
class GMTToLocal(HostRequest):
    """Result: a time of UTC in the task's zone."""

    time: Timestamp


@request("LocalToGMT")
class LocalToGMT(HostRequest):
    """Result: a time of the task's zone in UTC."""

    time: Timestamp


@request("RandomNumber")
class RandomNumber(HostRequest):
    """Result: a number from 0 to 2^63-1."""


@request("RandomData")
class RandomData(HostRequest):
    """Result: a datablock of 1 to 4096 octets, null for another size."""

    size: int


@request("TOTPCode")
class TOTPCode(HostRequest):
    """Result: the current one-time code of a base32 secret, or null."""

    secret: str


@request("SystemInfo")
class SystemInfo(HostRequest):
    """Result: a fact about the server, or null for an unknown name."""

    what: str


@request("GetTimeZoneName")
class GetTimeZoneName(HostRequest):
    """Result: the task's zone, or null when it is the server's offset."""


@request("SetTimeZone", procedure=True)
class SetTimeZone(HostRequest):
    """Select a zone; anything unknown selects the server's."""

    name: Value


@request("GetLanguage")
class GetLanguage(HostRequest):
    """Result: the selected language."""


@request("SetLanguage", procedure=True)
class SetLanguage(HostRequest):
    """Select a language; null selects the default."""

    name: str | None


@request("SysLog", procedure=True)
class SysLog(HostRequest):
    """Write a value to the server's log."""

    value: Value


@request("SysProfile", procedure=True)
class SysProfile(HostRequest):
    """Raise or lower the profiling counter."""

    flag: Value


@request("syncDelay", procedure=True, waits=True)
class SyncDelay(HostRequest):
    """Wait so many milliseconds."""

    milliseconds: int


@request("QRCode")
class QRCode(HostRequest):
    """Result: a datablock with a PNG image, or null."""

    text: str


@request("AppToXML")
class AppToXML(HostRequest):
    """A vCard, iCalendar or SDP text as XML. Result: XML, or an error string."""

    data: Value
    format: str


@request("XMLToApp")
class XMLToApp(HostRequest):
    """The reverse. Result: text."""

    element: Value


@dataclass(frozen=True, slots=True)
class DnsLookup(HostRequest):
    """``Convert(…,"dns-a")`` and its relatives. Result: an array, or an error string."""

    record: str
    """``a``, ``aaaa``, ``ptr`` or ``txt``."""
    value: Value


@dataclass(frozen=True, slots=True)
class Nonce(HostRequest):
    """``Convert(…,"gennonce")`` (size to datablock) and ``checknonce`` (datablock to YES/null)."""

    operation: str
    value: Value
