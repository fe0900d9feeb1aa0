"""Every command: its syntax, who may give it, what carries it out, what it shows.

The one place where the language is declared. ``docs/cli.md`` is generated from it
(``python -m pbx.admin.document``), ``LISTCLICOMMANDS`` lists it, and a test compares it with the
names of the reference: each is here or in :data:`UNSUPPORTED` with the reason. It is long since it
is one table of two hundred rows, looked up by name and by group.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pbx.admin.dispatch import Handler, Row
from pbx.admin.handlers import (
    accounts,
    alerts,
    domains,
    environments,
    info,
    lists,
    misc,
    objects,
    records,
    server,
    sessions,
    signal_rules,
    storage,
    tasks,
)
from pbx.admin.old_names import OLD_NAMES
from pbx.admin.rights import (
    ADMINISTRATOR,
    ALL_DOMAINS,
    EVERYBODY,
    MASTER,
    MONITOR,
    SETTINGS,
    TUNE_LOGS,
    Needs,
    domain,
)
from pbx.admin.rights import server as of_server
from pbx.admin.syntax import Syntax
from pbx.admin.unsupported import UNSUPPORTED
from pbx.objects.server_keys import IP_LISTS
from pbx.trunks.records import read_record

_D: Final = "newSettings:dictionary"
_ALL: Final = of_server(ALL_DOMAINS)
_SET: Final = of_server(SETTINGS)
_MON: Final = of_server(MONITOR)
_CREATE: Final = domain("CanCreateAccounts")
_SESSIONS: Final = domain("CanCreateWebUserSessions")


def _row(
    name: str, syntax: str, needs: Needs, handler: Handler, shows: str = "", about: str = ""
) -> Row:
    parsed = Syntax(syntax)
    if not about:
        names = [parameter.name for parameter in parsed.parameters()]
        known = (
            "accountName", "domainName", "oldName", "groupName", "forwarderName", "taskName",
            "listName",
        )  # fmt: skip
        about = next((name for name in names if name in known), "domainName")
    return Row(name, parsed, needs, handler, shows, about)


def _triple(noun: str, needs: Needs, handlers: tuple[Handler, Handler, Handler]) -> Iterator[Row]:
    """GET, UPDATE and SET of a dictionary of the server."""
    get, update, replace = handlers
    yield _row(f"GET{noun}", "", needs, get, "dictionary")
    yield _row(f"UPDATE{noun}", _D, needs, update)
    yield _row(f"SET{noun}", _D, needs, replace)


def _pair(noun: str, needs: Needs, section: str) -> Iterator[Row]:
    """GET and SET of a dictionary of the server."""
    get, _, replace = domains.of_server(section)
    yield _row(f"GET{noun}", "", needs, get, "dictionary")
    yield _row(f"SET{noun}", _D, needs, replace)


def _of_domain(noun: str, needs: Needs, section: str) -> Iterator[Row]:
    get, update, replace = domains.of_domain(section)
    yield _row(f"GET{noun}", "[ domainName ]", domain(), get, "dictionary")
    yield _row(f"UPDATE{noun}", f"[ domainName ] {_D}", needs, update)
    yield _row(f"SET{noun}", f"[ domainName ] {_D}", needs, replace)


def _rows() -> Iterator[Row]:
    yield from _domain_set()
    yield from _domain_rows()
    yield from _account_rows()
    yield from _object_rows()
    yield from _record_rows()
    yield from _info_rows()
    yield from _alert_rows()
    yield from _storage_rows()
    yield from _environment_rows()
    yield from _task_rows()
    yield from _list_rows()
    yield from _session_rows()
    yield from _server_rows()
    yield from _misc_rows()


def _domain_set() -> Iterator[Row]:
    yield _row("LISTDOMAINS", "", _ALL, domains.list_domains, "array of names")
    yield _row("MAINDOMAINNAME", "", ADMINISTRATOR, domains.main_domain_name, "string")
    yield from _triple("DOMAINDEFAULTS", _ALL, domains.of_server("domain-defaults"))
    yield from _triple("SERVERACCOUNTDEFAULTS", _ALL, domains.of_server("account-defaults"))
    yield from _triple("SERVERACCOUNTPREFS", _ALL, domains.of_server("prefs"))
    yield _row(
        "CREATEDOMAIN", "domainName [ SHARED ] [ settings:dictionary ]", _ALL, domains.create_domain
    )
    yield _row("DELETEDOMAIN", "domainName [ FORCE ]", _ALL, domains.delete_domain)
    get, replace = server.server_text("certificates", "Trusted")
    yield _row("GETSERVERTRUSTEDCERTS", "", _ALL, get, "array of data blocks")
    yield _row("SETSERVERTRUSTEDCERTS", "newValue:array", _ALL, replace)
    yield from _pair("DIRECTORYINTEGRATION", _ALL, "directory")


def _domain_rows() -> Iterator[Row]:
    yield _row("GETDOMAINSETTINGS", "[ domainName ]", domain(), domains.get_settings, "dictionary")
    yield _row(
        "GETDOMAINEFFECTIVESETTINGS",
        "[ domainName ]",
        domain(),
        domains.get_effective,
        "dictionary",
    )
    yield _row("UPDATEDOMAINSETTINGS", f"[ domainName ] {_D}", domain(), domains.update_settings)
    yield _row("SETDOMAINSETTINGS", f"domainName {_D}", _ALL, domains.set_settings)
    yield from _of_domain("ACCOUNTDEFAULTS", domain(), "account-defaults")
    yield from _of_domain("ACCOUNTDEFAULTPREFS", domain("WebUserSettings"), "prefs")
    yield from _of_domain("ACCOUNTTEMPLATE", domain(), "template")
    yield _row("GETDOMAINALIASES", "domainName", domain(), domains.get_aliases, "array of names")
    yield _row(
        "LISTADMINDOMAINS", "[ domainName ]", domain(), domains.list_admin_domains, "array of names"
    )
    yield _row(
        "LISTDOMAINOBJECTS",
        "domainName [ FILTER filter ] limit:number [ ACCOUNTS ] [ ALIASES ] [ FORWARDERS ]"
        " [ COOKIE cookie ]",
        domain(),
        domains.list_objects,
        "array: accounts, dictionary of objects, aliases, forwarders[, cookie]",
    )
    yield _row(
        "LISTACCOUNTS", "[ domainName ]", domain(), domains.list_accounts, "dictionary by name"
    )
    yield _row("GETDOMAINLOCATION", "[ domainName ]", domain(), domains.get_location, "string")
    yield _row("SUSPENDDOMAIN", "domainName", _ALL, domains.suspend)
    yield _row("RESUMEDOMAIN", "domainName", _ALL, domains.resume)


def _account_rows() -> Iterator[Row]:
    read = domain(owner=True)
    yield _row(
        "CREATEACCOUNT",
        f"accountName [ accountType:{accounts.TYPES} ] [ LEGACY ] [ settings:dictionary ]",
        _CREATE,
        accounts.create,
    )
    yield _row("RENAMEACCOUNT", "oldName INTO newName", _CREATE, accounts.rename)
    yield _row("DELETEACCOUNT", "accountName", _CREATE, accounts.delete)
    yield _row(
        "SETACCOUNTTYPE",
        "accountName accountType:MultiMailbox|AGrade|BGrade|CGrade",
        _CREATE,
        accounts.set_type,
    )
    yield _row("GETACCOUNTSETTINGS", "accountName", read, accounts.get_settings, "dictionary")
    yield _row(
        "GETACCOUNTEFFECTIVESETTINGS", "accountName", read, accounts.get_effective, "dictionary"
    )
    yield _row(
        "GETACCOUNTONESETTING", "accountName keyName", read, accounts.get_one, "object or null"
    )
    yield _row("UPDATEACCOUNTSETTINGS", f"accountName {_D}", domain(), accounts.update_settings)
    yield _row("SETACCOUNTSETTINGS", f"accountName {_D}", domain(), accounts.set_settings)
    yield _row(
        "SETACCOUNTPASSWORD",
        "accountName PASSWORD newPassword [ METHOD method ] [ TAG tag ] [ CHECK ]",
        domain("BasicSettings", owner=True),
        accounts.set_password,
    )
    yield _row(
        "VERIFYACCOUNTPASSWORD", "accountName PASSWORD password", domain(), accounts.verify_password
    )
    yield _row(
        "GETACCOUNTPLAINPASSWORD",
        "accountName",
        of_server(MASTER),
        accounts.get_plain_password,
        "string",
    )
    yield _row("GETACCOUNTRIGHTS", "accountName", domain(), accounts.get_rights, "array of codes")
    yield _row("SETACCOUNTRIGHTS", "accountName newRights:array", _ALL, accounts.set_rights)
    yield _row("GETACCOUNTPREFS", "accountName", read, accounts.get_prefs, "dictionary")
    yield _row(
        "GETACCOUNTEFFECTIVEPREFS", "accountName", read, accounts.get_effective_prefs, "dictionary"
    )
    prefs = domain("WebUserSettings", owner=True)
    yield _row("UPDATEACCOUNTPREFS", f"accountName {_D}", prefs, accounts.update_prefs)
    yield _row("SETACCOUNTPREFS", f"accountName {_D}", prefs, accounts.set_prefs)
    yield _row("KILLACCOUNTSESSIONS", "accountName", domain(), accounts.kill_sessions)
    yield _row("GETACCOUNTLOCATION", "accountName", domain(), accounts.get_location, "string")


def _object_rows() -> Iterator[Row]:
    o, groups, forwarders = objects, domain("CanCreateGroups"), domain("CanCreateForwarders")
    yield _row("LISTGROUPS", "[ domainName ]", domain(), o.list_groups, "array of names")
    yield _row("CREATEGROUP", "groupName [ settings:dictionary ]", groups, o.create_group)
    yield _row("RENAMEGROUP", "oldName INTO newName", groups, o.rename_group)
    yield _row("DELETEGROUP", "groupName", groups, o.delete_group)
    yield _row("GETGROUP", "groupName", domain(), o.get_group, "dictionary")
    yield _row("SETGROUP", f"groupName {_D}", groups, o.set_group)
    yield _row("LISTFORWARDERS", "[ domainName ]", domain(), o.list_forwarders, "array of names")
    yield _row("CREATEFORWARDER", "forwarderName TO address", forwarders, o.create_forwarder)
    yield _row("RENAMEFORWARDER", "oldName INTO newName", forwarders, o.rename_forwarder)
    yield _row("DELETEFORWARDER", "forwarderName", forwarders, o.delete_forwarder)
    yield _row("GETFORWARDER", "forwarderName", domain(), o.get_forwarder, "string")
    yield _row(
        "FINDFORWARDERS", "domainName TO address", domain(), o.find_forwarders, "array of names"
    )
    yield _row(
        "GETACCOUNTALIASES",
        "accountName",
        domain(owner=True),
        o.get_account_aliases,
        "array of names",
    )
    yield _row(
        "SETACCOUNTALIASES",
        "accountName newAliases:array",
        domain("CanCreateAliases"),
        o.set_account_aliases,
    )
    yield _row("SETDOMAINALIASES", "domainName newAliases:array", _ALL, o.set_domain_aliases)
    telnums = domain("CanCreateTelnums")
    yield _row(
        "GETACCOUNTTELNUMS", "accountName", domain(owner=True), o.get_telnums, "array of numbers"
    )
    yield _row("SETACCOUNTTELNUMS", "accountName newTelnums:array", telnums, o.set_telnums)
    yield _row(
        "MODIFYACCOUNTTELNUMS",
        "accountName parameters:dictionary",
        telnums,
        o.modify_telnums,
        "dictionary",
    )
    listed = "dictionary: account by number"
    yield _row("LISTSERVERTELNUMS", "[ FILTER filter ] limit:number", _ALL, o.list_telnums, listed)
    yield _row(
        "LISTDOMAINTELNUMS",
        "domainName [ FILTER filter ] limit:number",
        domain(),
        o.list_telnums,
        listed,
    )
    yield _row("GETROUTERTABLE", "", _SET, o.get_table, "string of lines")
    yield _row("SETROUTERTABLE", "newTable", _SET, o.set_table)
    yield _row(
        "ROUTE",
        "address [ type:mail|access|signal ]",
        of_server(SETTINGS, ALL_DOMAINS),
        o.route_address,
        "array: module, host, address",
    )


def _record_rows() -> Iterator[Row]:
    get, replace = records.server_rules()
    yield _row("GETSERVERMAILRULES", "", _SET, get, "array of rules")
    yield _row("SETSERVERMAILRULES", "newRules:array", _SET, replace)
    get, replace = records.domain_rules()
    yield _row("GETDOMAINMAILRULES", "domainName", domain(), get, "array of rules")
    yield _row("SETDOMAINMAILRULES", "domainName newRules:array", domain("RulesAllowed"), replace)
    read = domain(owner=True)
    yield _row(
        "GETACCOUNTMAILRULES", "accountName", read, records.get_account_rules, "array of rules"
    )
    change = domain("RulesAllowed", owner=True)
    yield _row(
        "SETACCOUNTMAILRULES", "accountName newRules:array", change, records.set_account_rules
    )
    yield _row(
        "UPDATEACCOUNTMAILRULE",
        "accountName { newRule:array | DELETE oldRuleName }",
        change,
        records.update_account_rule,
    )
    get, replace = signal_rules.server_rules()
    yield _row("GETSERVERSIGNALRULES", "", _SET, get, "array of rules")
    yield _row("SETSERVERSIGNALRULES", "newRules:array", _SET, replace)
    get, replace = signal_rules.domain_rules()
    yield _row("GETDOMAINSIGNALRULES", "domainName", domain(), get, "array of rules")
    code = signal_rules.CODE
    yield _row("SETDOMAINSIGNALRULES", "domainName newRules:array", domain(code), replace)
    yield _row(
        "GETACCOUNTSIGNALRULES", "accountName", read, signal_rules.get_account, "array of rules"
    )
    change = domain(code, owner=True)
    yield _row(
        "SETACCOUNTSIGNALRULES", "accountName newRules:array", change, signal_rules.set_account
    )
    yield _row(
        "UPDATEACCOUNTSIGNALRULE",
        "accountName { newRule:array | DELETE oldRuleName }",
        change,
        signal_rules.update_account,
    )
    for noun, key, code, allowed, check in (
        ("RSIPS", "RSIP", "CanModifyRSIP", "RSIPAllowed", read_record),
        ("RPOPS", "RPOP", "CanModifyRPOP", "RPOPAllowed", None),
    ):
        get, replace = records.named_records(key, code, allowed, check)
        yield _row(f"GETACCOUNT{noun}", "accountName", read, get, "dictionary by name")
        yield _row(
            f"SETACCOUNT{noun}",
            "accountName newRecords:dictionary",
            domain(code, owner=True),
            replace,
        )
    yield _row(
        "UPDATESCHEDULEDTASK",
        "accountName taskData:dictionary",
        domain("CanModifyRSIP"),
        records.update_scheduled_task,
    )


def _info_rows() -> Iterator[Row]:
    read = domain(owner=True)
    yield _row(
        "GETACCOUNTINFO",
        "accountName [ KEY keyName | keyList:array ]",
        read,
        info.get_info,
        "dictionary, or one element",
    )
    yield _row(
        "GETACCOUNTSTAT",
        "accountName [ KEY key ]",
        read,
        info.get_account_statistics,
        "dictionary, or a number or time",
    )
    yield _row(
        "RESETACCOUNTSTAT",
        "accountName [ KEY key ]",
        domain("BasicSettings"),
        info.reset_account_statistics,
    )
    yield _row(
        "GETDOMAINSTAT",
        "domainName [ KEY key ]",
        domain(),
        info.get_domain_statistics,
        "dictionary, or a number or time",
    )
    yield _row(
        "RESETDOMAINSTAT",
        "domainName [ KEY key ]",
        domain("BasicSettings"),
        info.reset_domain_statistics,
    )


def _alert_rows() -> Iterator[Row]:
    post = domain("PostAlerts")
    for noun, who, read, change, commands in (
        ("DOMAIN", "[ domainName ]", domain(), post, alerts.OF_DOMAIN),
        ("ACCOUNT", "accountName", domain(owner=True), post, alerts.OF_ACCOUNT),
        ("SERVER", "", _ALL, _ALL, alerts.OF_SERVER),
    ):
        one = who.strip("[ ]")
        named = f"{one} ALERT " if one else ""
        yield _row(f"GET{noun}ALERTS", who, read, commands.get, "dictionary by time")
        yield _row(
            f"SET{noun}ALERTS", f"{who} newAlerts:dictionary".strip(), change, commands.replace
        )
        yield _row(f"POST{noun}ALERT", f"{named}text", change, commands.post)
        yield _row(f"REMOVE{noun}ALERT", f"{named}timeStamp", change, commands.remove)


def _storage_rows() -> Iterator[Row]:
    files = domain("CanAccessWebSites", owner=True)
    auth = "[ AUTH authAccount ]"
    yield _row(
        "READSTORAGEFILE",
        f"accountName FILE fileName [ OFFSET position:number ] [ SIZE size:number ] {auth}",
        files,
        storage.read_file,
        "array: data block, time stamp, size",
    )
    yield _row(
        "WRITESTORAGEFILE",
        f"accountName FILE fileName [ OFFSET position:object ] {auth} DATA datablock:data",
        files,
        storage.write_file,
    )
    yield _row(
        "RENAMESTORAGEFILE",
        f"accountName FILE oldFile INTO newFile {auth}",
        files,
        storage.rename_file,
    )
    yield _row("DELETESTORAGEFILE", f"accountName FILE fileName {auth}", files, storage.delete_file)
    listed = f"accountName [ PATH directory ] {auth}"
    yield _row("LISTSTORAGEFILES", listed, files, storage.list_files, "dictionary by name")
    yield _row("GETSTORAGEFILEINFO", listed, files, storage.get_info, "array: size, files")
    yield _row(
        "READSTORAGEFILEATTR",
        f"accountName FILE fileName [ attributes:array ] {auth}",
        files,
        storage.read_attributes,
        "array of XML",
    )
    yield _row(
        "UPDATESTORAGEFILEATTR",
        f"accountName FILE fileName attributes:array {auth}",
        files,
        storage.update_attributes,
    )
    yield _row(
        "GETFILESUBSCRIPTION", "accountName", files, storage.get_subscription, "array of names"
    )
    yield _row(
        "SETFILESUBSCRIPTION",
        "accountName newSubscription:array",
        files,
        storage.set_subscription,
    )


def _task_rows() -> Iterator[Row]:
    yield _row(
        "STARTPBXTASK",
        "accountName PROGRAM programName [ ENTRY entryName ] [ PARAM parameter:object ]",
        domain("CanImpersonate"),
        tasks.start,
        "string: id of the task",
    )
    # Whose task it is, is found by the handlers.
    yield _row(
        "SENDTASKEVENT",
        "taskID EVENT eventName [ PARAM parameter:object ]",
        ADMINISTRATOR,
        tasks.send_event,
    )
    yield _row("KILLNODE", "taskID", ADMINISTRATOR, tasks.kill)
    yield _row("READNODESTATUS", "taskID", ADMINISTRATOR, tasks.read_status, "object or null")
    named, one = domain("CanCreateNamedTasks"), "dictionary"
    listed = "dictionary of dictionaries"
    yield _row("LISTDOMAINNAMEDTASKS", "[ domainName ]", domain(), tasks.list_of_domain, listed)
    yield _row("LISTACCOUNTNAMEDTASKS", "accountName", domain(), tasks.list_of_account, listed)
    yield _row("CREATENAMEDTASK", "taskName FOR ownerName", named, tasks.create_named)
    yield _row("RENAMENAMEDTASK", "oldName INTO newName", named, tasks.rename_named)
    yield _row("DELETENAMEDTASK", "taskName", named, tasks.delete_named)
    yield _row("GETNAMEDTASK", "taskName", domain(), tasks.get_named, one)
    yield _row("UPDATENAMEDTASK", f"taskName {_D}", named, tasks.update_named)


def _list_rows() -> Iterator[Row]:
    made, counted = domain("CanCreateLists"), "dictionary: name -> number of subscribers"
    yield _row("LISTLISTS", "[ domainName ]", domain(), lists.list_lists, "array of names")
    yield _row("GETDOMAINLISTS", "[ domainName ]", domain(), lists.of_domain, counted)
    yield _row("GETACCOUNTLISTS", "accountName", domain(), lists.of_account, counted)
    yield _row("CREATELIST", "listName FOR ownerName", made, lists.create)
    yield _row("RENAMELIST", "oldName INTO newName", made, lists.rename)
    yield _row("DELETELIST", "listName", made, lists.delete)
    yield _row("GETLIST", "listName", domain(), lists.get, "dictionary")
    yield _row("UPDATELIST", f"listName {_D}", domain("CanAccessLists"), lists.update)


def _environment_rows() -> Iterator[Row]:
    data = "fileName { DATA datablock:data | DELETE }"
    apps = domain("CanModifyPBXApps")
    files = environments.DOMAIN_FILES
    yield _row("CREATEDOMAINPBX", "domainName [ FILE language ]", apps, files.create)
    yield _row("DELETEDOMAINPBX", "domainName FILE language", apps, files.delete)
    yield _row(
        "LISTDOMAINPBXFILES",
        "domainName [ FILE language ]",
        domain(),
        files.list_files,
        "dictionary by name",
    )
    yield _row("READDOMAINPBXFILE", "domainName FILE fileName", domain(), files.read, "data block")
    yield _row("STOREDOMAINPBXFILE", f"domainName FILE {data}", apps, files.store)
    for noun, files in (
        ("SERVER", environments.SERVER_FILES),
        ("CLUSTER", environments.CLUSTER_FILES),
    ):
        yield _row(f"CREATE{noun}PBX", "language", _SET, files.create)
        yield _row(f"DELETE{noun}PBX", "language", _SET, files.delete)
        yield _row(
            f"LIST{noun}PBXFILES", "[ language ]", _SET, files.list_files, "dictionary by name"
        )
        yield _row(f"READ{noun}PBXFILE", "fileName", _SET, files.read, "data block")
        yield _row(f"STORE{noun}PBXFILE", data, _SET, files.store)
    stock = "dictionary by name"
    yield _row("LISTSTOCKPBXFILES", "[ language ]", ADMINISTRATOR, environments.list_stock, stock)
    yield _row("READSTOCKPBXFILE", "fileName", ADMINISTRATOR, environments.read_stock, "data block")


def _session_rows() -> Iterator[Row]:
    found = (
        "accountName [ ADDRESS address [ FOR proxied ] ] [ PROTOCOL protocol ]"
        " [ TRANSPORT transport ] [ CLIENT client ]"
    )
    yield _row("FINDACCOUNTSESSION", found, _SESSIONS, sessions.find, "string")
    yield _row("LISTACCOUNTSESSIONS", found, _SESSIONS, sessions.list_sessions, "array of ids")
    yield _row(
        "GETSESSION", "sessionID [ DOMAIN domainName ]", ADMINISTRATOR, sessions.get, "dictionary"
    )
    yield _row("KILLSESSION", "sessionID [ DOMAIN domainName ]", ADMINISTRATOR, sessions.kill)


def _server_rows() -> Iterator[Row]:
    yield _row("LISTMODULES", "", _SET, server.list_modules, "array of names")
    yield _row("GETMODULE", "moduleName", _SET, server.get_module, "dictionary")
    yield _row("SETMODULE", f"moduleName {_D}", _SET, server.set_module)
    yield _row("UPDATEMODULE", f"moduleName {_D}", _SET, server.update_module)
    for noun, section in (
        ("QUEUESETTINGS", "queue"),
        ("SIGNALSETTINGS", "signal"),
        ("MEDIASERVERSETTINGS", "media"),
        ("SESSIONSETTINGS", "session"),
        ("NETWORK", "network"),
        ("DNRSETTINGS", "dnr"),
        ("BANNED", "banned"),
        ("ROUTERSETTINGS", "router"),
    ):
        yield from _pair(noun, _SET, section)
    get, update, _ = domains.of_server("log")
    yield _row("GETLOGSETTINGS", "", of_server(MONITOR, SETTINGS), get, "dictionary")
    yield _row("UPDATELOGSETTINGS", _D, of_server(SETTINGS, TUNE_LOGS), update)
    get, update, _ = domains.of_server("settings")
    yield _row("GETSERVERSETTINGS", "", _SET, get, "dictionary")
    yield _row("UPDATESERVERSETTINGS", _D, _SET, update)
    for word in IP_LISTS:
        get, replace = server.address_list(word)
        yield _row(f"GET{word}IPS", "", _SET, get, "string of lines")
        yield _row(f"SET{word}IPS", "addresses", _SET, replace)
    intercept = domains.of_server("intercept")
    yield _row("GETSERVERINTERCEPT", "", of_server(MASTER), intercept[0], "dictionary")
    yield _row("SETSERVERINTERCEPT", _D, of_server(MASTER), intercept[2])
    yield _row("GETIPSTATE", "address [ TEMP ]", _MON, server.ip_state, "string")
    yield _row("GETTEMPBLACKLISTEDIPS", "", _MON, server.get_blacklisted, "string of addresses")
    yield _row("SETTEMPBLACKLISTEDIPS", "addresses", _SET, server.set_blacklisted)
    yield _row(
        "TEMPBLACKLISTIP",
        "address [ TIMEOUT seconds:number | DELETE ]",
        _SET,
        server.blacklist_address,
    )
    yield _row("REPORTFAILEDLOGINADDRESS", "address", _SET, server.report_failed_login)
    yield _row("GETSTATELEMENT", "objectID", _MON, server.get_statistic, "number")
    yield _row(
        "SETSTATELEMENT", "objectID [ mode:INC|SET ] setValue:object", _MON, server.set_statistic
    )
    yield _row("GETNEXTSTATNAME", "objectID", _MON, server.next_statistic, "string")
    yield _row("SHUTDOWN", "", of_server(MASTER), misc.shutdown)


def _misc_rows() -> Iterator[Row]:
    yield _row("NOOP", "", EVERYBODY, misc.noop)
    yield _row("ECHO", "object:object", EVERYBODY, misc.echo, "the object")
    yield _row("LISTCLICOMMANDS", "", EVERYBODY, misc.list_commands, "array of names")
    yield _row("GETVERSION", "", EVERYBODY, misc.get_version, "string")
    yield _row("GETSYSTEMINFO", "what", ADMINISTRATOR, misc.get_system_info, "object")
    yield _row("GETCURRENTTIME", "", EVERYBODY, misc.get_current_time, "time stamp")
    yield _row("WRITELOG", "logLevel:number logRecord", _MON, misc.write_log)


def _by_name(rows: Iterator[Row]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        assert row.name not in found, row.name
        found[row.name] = row
    return found


COMMANDS: Final[dict[str, Row]] = _by_name(_rows())

UNDOCUMENTED: Final = frozenset({"GETACCOUNTPLAINPASSWORD"})
"""Carried out, not listed."""

__all__ = ["COMMANDS", "OLD_NAMES", "UNDOCUMENTED", "UNSUPPORTED"]
