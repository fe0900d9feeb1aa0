"""Settings of domains and of the server's domain defaults (objects and settings reference §5)."""

from __future__ import annotations

from typing import Final

from pbx.objects import forms as f
from pbx.objects.keys import Key, Table, table

_UNKNOWN: Final = f.one_of("Rejected", "Discarded", "Rerouted to", "Accepted and Bounced")

DOMAIN_KEYS: Final[Table] = table(
    (
        Key("DomainAccessModes", "Enabled Services", "All", f.SERVICE_SET,
            effect="PWD: login on the command protocol"),
        Key("AccountsLimit", "Accounts limit", "-1", f.LIMIT,
            effect="accounts the domain may have"),
        Key("CallsLimit", "Concurrent Calls limit", "-1", f.LIMIT,
            effect="calls at once in which accounts of the domain take part"),
        Key("ListsLimit", "Lists limit", "-1", f.LIMIT),
        Key("AGradeLimit", "A-grade limit", "-1", f.LIMIT),
        Key("BGradeLimit", "B-grade limit", "-1", f.LIMIT),
        Key("CGradeLimit", "C-grade limit", "-1", f.LIMIT),
        Key("DGradeLimit", "D-grade limit", "-1", f.LIMIT),
        Key("AdminDomainName", "Administrator Domain", "", f.TEXT,
            effect="domain whose administrators may administer this one"),
        Key("MailToUnknown", "Mail to Unknown", "Rejected", _UNKNOWN),
        Key("MailRerouteAddress", "Mail to Unknown: address", "spamtrap", f.TEXT),
        Key("SignalToUnknown", "Signal to Unknown", "Rejected", _UNKNOWN),
        Key("SignalRerouteAddress", "Signal to Unknown: address", "pbx", f.TEXT),
        Key("AccessToUnknown", "Access to Unknown", "Rejected", _UNKNOWN),
        Key("AccessRerouteAddress", "Access to Unknown: address", "error", f.TEXT),
        Key("ExternalOnUnknown", "Consult External for Unknown", "NO", f.FLAG,
            effect="YES: the external program is asked about names that nobody has"),
        Key("ExternalOnProvision", "Consult External on Provision", "NO", f.FLAG),
        Key("MailToAllAction", "Mail to All accepted from", "Authenticated Domain Users", f.TEXT),
        Key("AllWithForwarders", "All includes forwarders", "NO", f.FLAG),
        Key("RelayAddress", "Source address for relaying", "any", f.TEXT),
        Key("ForceSMTPAUTH", "Force AUTH for", "nobody", f.TEXT),
        Key("AUTHMethods", "SASL methods", "All"),
        Key("AutoSignup", "Users may create accounts", "NO", f.FLAG),
        Key("AutoCreateChats", "Chat rooms are made on demand", "NO", f.FLAG),
        Key("TrailerText", "Mail Trailer", "", f.TEXT),
        Key("ClientIPs", "Client IP Addresses", "", f.IP_LIST,
            effect="addresses from which commands are taken over HTTP"),
        Key("AssignedIPs", "Assigned IP Addresses", ""),
        Key("CertificateType", "PKI Services", "Test", f.TEXT),
        Key("ClientCertReq", "Request client certificates", "NO", f.FLAG),
        Key("ClientCertCA", "Client certificate authority", ""),
        Key("PrivateSecureKey", "Private Key", secret=True),
        Key("SecureCertificate", "Certificate"),
        Key("CAChain", "Certificate chain"),
        Key("CentralDirectory", "Directory Integration", "Keep In Sync", f.TEXT),
        Key("XIMSSMode", "XIMSS transport", "TCP", f.TEXT),
        Key("WebSitePrefix", "Personal site prefix", "~", f.TEXT),
        Key("AccountsLogLevel", "Accounts log level", "3", f.NUMBER),
        Key("MailboxesLogLevel", "Mailboxes log level", "3", f.NUMBER),
        Key("Foldering", "Foldering", "flat", f.TEXT),
        Key("RenameInPlace", "Rename in place", "NO", f.FLAG),
        Key("FolderIndex", "Folder index", "NO", f.FLAG),
        Key("FastStorageType", "Fast storage type", "0"),
        Key("ExternalLockType", "Lock type", "FileLevel", f.TEXT),
        Key("RecipientStatus", "Recipient status", "NO", f.FLAG),
    )
)  # fmt: skip
"""``AccountDefaults`` has commands of its own and is shown among effective settings."""
