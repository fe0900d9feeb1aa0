"""Preferences of users (objects and settings reference §3.6). Other keys are free for programs."""

from __future__ import annotations

from typing import Final

from pbx.data import Value
from pbx.objects.keys import Key, Table, table

_DEFAULTS: Final[dict[str, Value]] = {
    "Language": "", "SkinName": "XChange", "ProntoSkinName": "Pronto-", "TimeZone": "HostOS",
    "WeekStart": "Mon", "WorkDays": ["Mon", "Tue", "Wed", "Thu", "Fri"], "WorkDayStart": "28800",
    "WorkDayEnd": "61200", "DeleteMode": "Move To Trash", "EmptyTrash": "15d", "EmptyJunk": "7d",
    "TrashBox": "Trash", "SentBox": "Sent Items", "DraftsBox": "Drafts", "JunkBox": "Junk",
    "CalendarBox": "Calendar", "ContactsBox": "Contacts", "NotesBox": "Notes",
    "TasksBox": "Tasks", "HistoryBox": "History", "ArchiveBox": "Archive",
    "InboxDisplay": "INBOX", "SendMDNMode": "Automatically", "IPWatch": "YES", "UseCookie": "NO",
    "Charset": "utf-8", "MessagesInView": "20", "MailboxRefresh": "1m", "AutoSavePeriod": "5m",
    "AwayTimer": "3m", "ProntoCallAccept": "NO", "ProntoCallOut": "dialer",
    "DTMFSendMode": "media", "DTMFLength": "50", "HoldMusic": "YES", "CallOutPrivacy": "NO",
    "DelayedIM": "YES", "IMHistory": "YES", "RosterIMMode": "everybody", "ReceptMenu": [],
    "ReceptDirPrefix": "2", "ReceptDirDigits": "3",
}  # fmt: skip

PREFS_KEYS: Final[Table] = table(
    Key(name, name, default, right="WebUserSettings") for name, default in _DEFAULTS.items()
)
