"""Requests about accounts, addresses and settings (CG/PL reference §9.10).

Errors are strings; rights are the host's to check, with the task's current account.
"""

from __future__ import annotations

from pbx.script.requests.base import HostRequest, request
from pbx.script.values import Dictionary, Value


@request("MyDomain")
class MyDomain(HostRequest):
    """Result: the current account's domain, or null."""


@request("MyEmail")
class MyEmail(HostRequest):
    """Result: the current account's address, or null."""


@request("Impersonate")
class Impersonate(HostRequest):
    """Make another account the current one. Result: null, or an error string."""

    address: str
    mode: Value = None


@request("SIPURIToEmail")
class SIPURIToEmail(HostRequest):
    """Result: ``user@domain`` of a SIP URI, or null."""

    uri: str


@request("EmailToSIPURI")
class EmailToSIPURI(HostRequest):
    """Result: the SIP URI of an address; a bare name is taken in the current domain."""

    address: str


@request("PhoneNumberToSIPURI")
class PhoneNumberToSIPURI(HostRequest):
    """Result: the SIP URI of a number in the current domain."""

    number: str


@request("RouteAddress")
class RouteAddress(HostRequest):
    """Result: a dictionary ``{module; host; object; canRelay}``, or an error string."""

    address: str
    type: str


@request("RouteLocalURI")
class RouteLocalURI(HostRequest):
    """Result: the address of the local account a URI leads to, or null."""

    uri: str


@request("RouteENUM")
class RouteENUM(HostRequest):
    """Result: an array with the URL, or an error string."""

    service: str
    number: str
    domain: str


@request("GetAccountPreferences")
class GetAccountPreferences(HostRequest):
    """Result: the value of a key, or the dictionary of all."""

    key: Value


@request("SetAccountPreferences")
class SetAccountPreferences(HostRequest):
    """Result: null, or an error string."""

    value: Value
    key: Value


@request("ReadGroupMembers")
class ReadGroupMembers(HostRequest):
    """Result: an array of addresses, or null."""

    group: str


@request("ReadTelnums")
class ReadTelnums(HostRequest):
    """Result: an array of numbers, or null."""

    account: str | None = None


@request("UpdateAccountMailRule")
class UpdateAccountMailRule(HostRequest):
    """Result: null, or an error string."""

    rule: Value
    account: str | None = None


@request("UpdateAccountSignalRule")
class UpdateAccountSignalRule(HostRequest):
    """Result: null, or an error string."""

    rule: Value
    account: str | None = None


@request("ReadRoster")
class ReadRoster(HostRequest):
    """Result: a dictionary of contacts, or an error string."""

    account: str | None = None


@request("SetRoster")
class SetRoster(HostRequest):
    """Result: null, or an error string."""

    parameters: Dictionary
    account: str | None = None


@request("GetAccountSettings")
class GetAccountSettings(HostRequest):
    """Result: effective settings (or one of them), null when they cannot be read."""

    key: Value = None
    account: str | None = None


@request("GetPreference")
class GetPreference(HostRequest):
    """Result: one preference, or null."""

    key: str
    account: Value = None


@request("GetAccountInfo")
class GetAccountInfo(HostRequest):
    """Result: one item of the account's info, or null."""

    key: str


@request("ReadCallInfo")
class ReadCallInfo(HostRequest):
    """Result: a dictionary of the account's current calls, or null."""

    account: str | None = None


@request("ApplicationSettings")
class ApplicationSettings(HostRequest):
    """Result: settings of an application, or null."""

    name: Value
    key: Value


@request("findContact")
class FindContact(HostRequest):
    """Result: a contact of the account, or null."""

    name: Value
    kind: Value
