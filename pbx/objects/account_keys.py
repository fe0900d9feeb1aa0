"""Settings of accounts, and of the account defaults of domains and of the server.

Objects and settings reference §3.1–§3.3; defaults are those of its server defaults file.
"""

from __future__ import annotations

from typing import Final

from pbx.objects import destinations as d
from pbx.objects import forms as f
from pbx.objects.keys import Key, Table, table

_BASIC: Final = "BasicSettings"
_PSTN: Final = "PSTNSettings"
_RECORDS: Final = "records of their own commands"

GENERAL: Final = (
    Key("RealName", "Real Name", form=f.LINE, right=_BASIC,
        effect="display name of calls and listings"),
    Key("Password", "Password", form=f.TEXT, right=_BASIC, secret=True,
        effect="becomes the password; kept as digests"),
    Key("UseAppPassword", "Password: Enabled", "YES", f.FLAG, right=_BASIC,
        effect="NO: no login with the password on the command protocol"),
    Key("UseExtPassword", "External Password: Enabled", "NO", f.FLAG, right=_BASIC,
        effect="YES: phones and log-ins may use the password that the external program has"),
    Key("UseSysPassword", "OS Password: Enabled", "NO", f.FLAG, right=_BASIC),
    Key("OSUserName", "OS User Name", "*", f.TEXT, right=_BASIC),
    Key("UseKerberosPassword", "Kerberos Authentication", "YES", f.FLAG, right=_BASIC),
    Key("UseCertificateAuth", "Certificate Authentication", "NO", f.FLAG, right=_BASIC),
    Key("RequireAPOP", "Secure Method Required", "NO", f.FLAG, right=_BASIC,
        effect="YES: no clear-text login over a connection without TLS from elsewhere"),
    Key("PasswordEncryption", "Password Encryption", "A-crpt",
        f.one_of("clear", "A-crpt", "U-crpt", "MD5", "SHA1", "SSHA", "SHA256", "SHA512"),
        right=_BASIC,
        effect="clear: passwords set from now on are kept recoverable, sealed; else digests only"),
    Key("PWDAllowed", "Allow to Modify Password", "YES", f.FLAG,
        effect="NO: the owner cannot change the password"),
    Key("PasswordRecovery", "Allow password recovery by e-mail", "YES", f.FLAG),
    Key("FailedLoginFlow", "Failed Login Limit", ["10", "1m"], f.FLOW,
        effect="wrong logins on the command protocol that lock the account for a while"),
    Key("LogLogin", "Log logins", "NO", f.FLAG, effect="YES: each login is logged"),
    Key("AccessModes", "Enabled Services", "All", f.SERVICE_SET,
        effect="PWD: login on the command protocol"),
    Key("ServiceClass", "Class of Service", "", f.TEXT,
        effect="names the class whose settings stand before the defaults"),
    Key("ServiceClasses", "Classes of Service", {}, f.DICTIONARIES,
        effect="settings by class"),
    Key("LoginAddresses", "Permitted Login Addresses", "", f.IP_LIST,
        effect="if set, logins on the command protocol from elsewhere are refused"),
)  # fmt: skip

MAIL: Final = (
    Key("MaxAccountSize", "Mail Storage Limit", "unlimited", f.SIZE),
    Key("QuotaNotice", "Over quota: notice at", "90", f.NUMBER),
    Key("QuotaAlert", "Over quota: alert at", "80", f.NUMBER),
    Key("QuotaSuspend", "Over quota: suspend at", "100", f.NUMBER),
    Key("MaxMessageSize", "Incoming Message Size Limit", "unlimited", f.SIZE),
    Key("MaxMailOutSize", "Outgoing Message Size Limit", "unlimited", f.SIZE),
    Key("MaxMailboxes", "Mailboxes limit", "-1", f.LIMIT),
    Key("MaxWebSize", "File Storage Limit", "100M", f.SIZE),
    Key("MaxWebFiles", "Files Limit", "1000", f.LIMIT),
    Key("MaxFileSize", "File Size Limit", "unlimited", f.SIZE),
    Key("DefaultMailboxType", "New Mailboxes", "TextMailbox",
        f.one_of("TextMailbox", "MailDirMailbox", "SlicedMailbox")),
    Key("MailInpFlow", "Incoming Mail limit", ["20", "15"], f.FLOW),
    Key("MailOutFlow", "Outgoing Mail limit", ["-1", "30"], f.FLOW),
    Key("MailToAll", "Accept Mail to All", "YES", f.FLAG),
    Key("AddMailTrailer", "Mail Trailer", "YES", f.FLAG),
    Key("AddWebBanner", "Web Banner", "YES", f.FLAG),
    Key("ArchiveMessagesAfter", "Archive Messages after", "0", f.PERIOD),
    Key("DeleteMessagesAfter", "Delete Messages after", "0", f.PERIOD),
    Key("RulesAllowed", "Rule Actions allowed (mail)", "Filter Only",
        f.one_of("No", "Filter Only", "All But Exec", "Any")),
    Key("RPOPAllowed", "Modify RPOP Records", "NO", f.FLAG,
        effect="YES: the owner may change the records"),
    Key("AirSyncAllowed", "Allowed AirSync devices"),
    Key("DefaultWebPage", "Default Web Page", "default.html", f.TEXT),
    Key("HiddenSkins", "Hidden Skins", "", f.TEXT),
    Key("HiddenProntoModules", "Hidden Modules", "", f.TEXT),
    Key("BannerInfo", "Banner Info", "", f.TEXT),
    Key("IMAPSeesNonMail", "IMAP shows non-mail mailboxes", "NO", f.FLAG),
    Key("SyncMode", "Synchronization", "NO"),
    Key("SyncServer", "Synchronization server", "", f.TEXT),
    Key("SyncUserName", "Synchronization name", "^0", f.TEXT),
    Key("SyncUserPassword", "Synchronization password", "^0", f.TEXT, secret=True),
    Key("ExternalINBOX", "Legacy INBOX", "NO", f.FLAG),
    Key("WebAdminPrefs", "Administrator's interface", form=f.DICTIONARY),
)  # fmt: skip

TELEPHONY: Final = (
    Key("CallInpFlow", "Incoming Calls limit", ["-1", "3600"], f.FLOW,
        effect="calls to an account in a period; more are answered 486"),
    Key("CallOutFlow", "Outgoing Calls limit", ["-1", "3600"], f.FLOW,
        effect="calls of an account in a period; more are answered 403"),
    Key("CallsLimit", "Concurrent Calls limit", "-1", f.LIMIT,
        effect="calls at once of an account"),
    Key("MaxSignalContacts", "Registrations limit", "10", f.ranged(0, 1000),
        effect="phones that may be registered at once"),
    Key("CallOutAllowed", "Destinations allowed",
        [kind for kind in d.KINDS if kind in d.ALLOWED_BY_DEFAULT], d.ALLOWED,
        effect="kinds of destinations an account may call; others are answered 403"),
    Key("CallClasses", "Number plan", {}, d.PLAN,
        effect="which numbers are of which kind; kinds that are not named are as built in"),
    Key("CallerIdNumber", "Caller ID outside", "", d.SHOWN_NUMBER,
        effect="number that the account is shown with at other servers"),
    Key("CallerIdWithheld", "Caller ID withheld", "NO", f.FLAG,
        effect="YES: calls to other servers are anonymous; calls to emergency numbers never are"),
    Key("NotifyOutFlow", "Notify limit", ["100", "15"], f.FLOW),
    Key("MaxRosterItems", "Roster limit", "20", f.LIMIT),
    Key("CallLogs", "Call Logs", "YES", f.FLAG),
    Key("IMLogs", "IM Logs", "YES", f.FLAG),
    Key("DialogInfo", "Publish dialog state", "YES", f.FLAG),
    Key("SIPIMMode", "Messages to SIP clients", "YES"),
    Key("SignalRulesAllowed", "Rule Actions allowed (signal)", "Any",
        f.one_of("No", "Filter Only", "All But Exec", "Any"),
        effect="which actions the owner may store; No: the owner cannot change the rules"),
    Key("RSIPAllowed", "Modify RSIP Records", "NO", f.FLAG,
        effect="YES: the owner may change the records"),
)  # fmt: skip

PSTN: Final = (
    Key("PSTNGatewayDomain", "Gateway Domain", "", f.TEXT, right=_PSTN, per_gateway=True,
        effect="numbers are called at this host; calls to it carry the gateway's credentials"),
    Key("PSTNGatewayVia", "Gateway Address", "", f.TEXT, right=_PSTN, per_gateway=True,
        effect="where to send instead"),
    Key("PSTNGatewayAuthName", "Name for Gateway", "", f.TEXT, right=_PSTN, per_gateway=True,
        effect="user name for the gateway's challenges; *domain* is the account's domain"),
    Key("PSTNGatewayPassword", "Password for Gateway", "", f.TEXT, right=_PSTN, secret=True,
        per_gateway=True, effect="its password"),
    Key("PSTNFromName", "Caller ID", "$", f.TEXT, right=_PSTN, per_gateway=True,
        effect="who calls: $ account name, * first telephone number, empty the caller's address"),
    Key("PSTNAreaCode", "Local Area Code", "1(415)", f.TEXT, right=_PSTN, per_gateway=True,
        effect="where set: what numbers without country code mean"),
    Key("PSTNNumberFormat", "Numbers at the Gateway", None,
        f.one_of("E.164", "digits", "national"), right=_PSTN, per_gateway=True,
        effect="form of the caller's telephone number there: +74951234567, 74951234567 or 8495…"),
    Key("PSTNNationalPrefix", "National prefix", None, f.TEXT, right=_PSTN,
        effect="dialled before numbers of other areas; by default that of the country"),
    Key("PSTNInternationalPrefix", "International prefix", None, f.TEXT, right=_PSTN,
        effect="dialled before country codes; several with commas"),
    Key("PSTNEmergency", "Emergency", "call=sip:911@telnum", f.TEXT, right=_PSTN,
        per_gateway=True),
    Key("PSTNBillingPlan", "Billing plan", "", f.TEXT, right=_PSTN, per_gateway=True),
    Key("PSTNSMSHost", "SMS host", "", f.TEXT, right=_PSTN, per_gateway=True),
)  # fmt: skip

ACCOUNT_KEYS: Final[Table] = table((*GENERAL, *MAIL, *TELEPHONY, *PSTN))

RECORD_KEYS: Final[Table] = table(
    (
        Key("Rules", "Mail Rules", [], right="RulesAllowed"),
        Key("SignalRules", "Signal Rules", [], right="SignalRulesAllowed"),
        Key("RSIP", "Outgoing registrations", {}, f.DICTIONARIES, right="CanModifyRSIP"),
        Key("RPOP", "Mail fetched from elsewhere", {}, f.DICTIONARIES, right="CanModifyRPOP"),
        Key("ScheduledTasks", "Scheduled tasks", {}, f.DICTIONARIES, right="CanModifyRSIP"),
    )
)
"""What has commands of its own; shown among effective settings, not changed by SET or UPDATE."""
