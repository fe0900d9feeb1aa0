"""Sections of the server's settings: modules and subjects (CLI reference §5.16).

A section without a table takes any keys. The keys below are those of the
objects and settings reference §10–§12.
"""

from __future__ import annotations

from typing import Final

from pbx.objects import forms as f
from pbx.objects.account_keys import ACCOUNT_KEYS
from pbx.objects.domain_keys import DOMAIN_KEYS
from pbx.objects.keys import Key, Table, table
from pbx.objects.prefs_keys import PREFS_KEYS

MODULES: Final = (
    "ACAP", "BSDLOG", "FTP", "HTTPA", "HTTPU", "IMAP", "LDAP", "LIST", "LOCAL", "PIPE", "POP",
    "PWD", "RADIUS", "RPOP", "RSIP", "SIP", "SMPP", "SMTP", "SNMP", "STUN", "TFTP", "XIMSS", "XMPP",
)  # fmt: skip

_LEVEL: Final = f.ranged(0, 5)
_LISTENER: Final = Key("Listener", "Listener", form=f.DICTIONARY)
_LOG_LEVEL: Final = Key("LogLevel", "Log Level", "3", _LEVEL)

_HTTPU: Final = table(
    (
        _LISTENER,
        _LOG_LEVEL,
        Key("CLI", "Sub-protocol CLI", "clients", f.one_of("disabled", "clients", "everybody"),
            effect="who may give commands over HTTP"),
        Key("HTTPRequestSizeLimit", "Request Size Limit", "10M", f.SIZE),
        Key("SupportKeepAlive", "Support Keep-Alive", "YES", f.FLAG),
        Key("AdvertiseBasicAUTH", "Advertise Basic AUTH", "YES", f.FLAG),
        Key("AdvertiseDigestAUTH", "Advertise Digest AUTH", "YES", f.FLAG),
        Key("CGIExtensions", "CGI extensions", form=f.DICTIONARY),
        Key("SystemCGIDirectory", "CGI directory", "cgi", f.TEXT),
    )
)  # fmt: skip
_PWD: Final = table((_LISTENER, _LOG_LEVEL))
_OTHER: Final = table((_LISTENER, _LOG_LEVEL))

IP_LISTS: Final = {
    "LAN": "LAN addresses",
    "CLIENT": "Client addresses",
    "BLACKLISTED": "Blacklisted addresses",
    "WHITEHOLE": "Addresses that are never blacklisted",
    "NATED": "Addresses behind a NAT",
    "NATSITE": "Addresses of NAT sites",
    "DEBUG": "Addresses whose traffic is logged in full",
    "DENIED": "Addresses that are refused",
}
"""By the word in ``GETwordIPS``."""

_IP_EFFECTS: Final = {
    "CLIENT": "addresses from which commands are taken over HTTP",
    "WHITEHOLE": "never locked for wrong logins nor blacklisted",
    "DENIED": "connections to the command protocol are refused",
    "BLACKLISTED": "connections to the command protocol are refused",
}

SERVER_TABLES: Final[dict[str, Table]] = {
    "account-defaults": ACCOUNT_KEYS,
    "domain-defaults": DOMAIN_KEYS,
    "prefs": PREFS_KEYS,
    "settings": table(
        (
            Key("DomainName", "Main Domain Name", form=f.TEXT),
            _LOG_LEVEL,
            Key("AccountStatistics", "Account Statistics", "YES", f.FLAG),
            Key("CrashRecovery", "Crash Recovery", "YES", f.FLAG),
            Key("HideAccountUnknown", "Hide Unknown Account", "YES", f.FLAG),
            Key("SeparateAdminRealms", "Separate Admin Realms", "NO", f.FLAG),
            Key("SaveInfoUpdates", "Save Info Updates", "NO", f.FLAG),
        )
    ),
    "ips": table(
        Key(word, title, "", f.IP_LIST, effect=_IP_EFFECTS.get(word, ""))
        for word, title in IP_LISTS.items()
    ),
    "module.HTTPU": _HTTPU,
    "module.HTTPA": _HTTPU,
    "module.PWD": _PWD,
    **{
        f"module.{name}": _OTHER for name in MODULES if name not in ("HTTPU", "HTTPA", "PWD")
    },
    **{
        name: table(())
        for name in (
            "queue", "signal", "media", "session", "log", "network", "dnr", "banned", "router",
            "directory", "intercept", "alerts", "records", "certificates",
        )
    },
}  # fmt: skip
