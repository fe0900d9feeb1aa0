"""Accounts: making and ending them, settings, passwords, rights (CLI reference §5.3)."""

from __future__ import annotations

from typing import Final

from pbx.admin.dispatch import Context, Result, require_texts, text
from pbx.admin.errors import (
    ACCOUNT_EXISTS,
    ACCOUNT_IN_USE,
    GENERAL,
    NO_RIGHTS,
    WRONG_LOGIN,
    CliError,
)
from pbx.admin.handlers import signal_rules
from pbx.admin.rights import SERVER_RIGHTS
from pbx.admin.syntax import Arguments
from pbx.data import Value
from pbx.domain import accounts
from pbx.domain import configuration as conf
from pbx.domain.accounts import Secrets
from pbx.domain.configuration import Configuration
from pbx.domain.setting_events import PREFS, SETTINGS
from pbx.kernel.errors import DomainError
from pbx.objects import effective
from pbx.objects.account_keys import ACCOUNT_KEYS
from pbx.settings_changes import Target

PASSWORD: Final = "Password"
TYPES: Final = "MultiMailbox|TextMailbox|MailDirMailbox|SlicedMailbox|AGrade|BGrade|CGrade"
_SPECIAL: Final = frozenset({"TextMailbox", "MailDirMailbox", "SlicedMailbox"})
ACCOUNT_TYPE: Final = "AccountType"
_MAX_RIGHTS: Final = 100


def create(c: Context, a: Arguments) -> None:
    """CREATEACCOUNT: the template's settings, then those given, in one append."""
    name, domain = c.object_names(a["accountName"])
    name = accounts.new_name(name)
    account_type = a.get("accountType", "MultiMailbox")
    if (account_type in _SPECIAL or "LEGACY" in a) and not c.authority.has_code(
        "CanCreateSpecialAccounts"
    ):
        raise CliError(NO_RIGHTS)
    if c.world.inventory.holder(name, domain):
        raise CliError(ACCOUNT_EXISTS)
    entry = c.world.domains[domain]
    limit = c.world.domain_setting("AccountsLimit", entry)
    if isinstance(limit, int) and 0 <= limit <= len(entry.accounts):
        raise DomainError(f"license limit reached: {domain} may have {limit} accounts")
    given = a.get("settings", {})
    assert isinstance(given, dict)
    template = effective.template_settings(
        entry.configuration.section(conf.TEMPLATE), *c.world.account_levels(domain)
    )
    settings = {**template, **given}
    password = _taken_password(settings)
    future = Configuration(True, {SETTINGS: dict(settings)})
    secrets = None if password is None else c.secrets(name, domain, password, future)
    c.changes.create_account(name, domain, settings, secrets)
    if account_type != "MultiMailbox":
        target = Target("account", f"{name}@{domain}")
        c.changes.update(target, conf.RECORDS, {ACCOUNT_TYPE: account_type})


def rename(c: Context, a: Arguments) -> None:
    """RENAMEACCOUNT: a new account with everything of the old one, which then ends.

    Digests of a password belong to a name. Where only they are kept the password would be lost, so
    that is refused.
    """
    old = c.account(a, "oldName")
    name, domain = c.object_names(a["newName"])
    name = accounts.new_name(name)
    if not c.authority.all_domains and not c.authority.administers(
        domain, c.world.admin_domain_of(domain)
    ):
        raise CliError(NO_RIGHTS)
    new = f"{name}@{domain}"
    if new == old:
        return
    if c.world.inventory.holder(name, domain):
        raise CliError(ACCOUNT_EXISTS)
    if c.service.sessions.of_account(old):
        raise CliError(ACCOUNT_IN_USE)
    state = c.world.account_state(old)
    configuration = c.configuration(Target("account", old))
    password = c.service.recoverable_password(old)
    if state.has_password and not password:
        raise DomainError(
            "the password is kept as digests of the old name and would be lost: set "
            "PasswordEncryption to clear and the password anew, then rename"
        )
    secrets = c.secrets(name, domain, password, configuration) if password else None
    c.changes.create_account(name, domain, configuration.section(SETTINGS), secrets)
    target = Target("account", new)
    others = [section for section in configuration.sections if section != SETTINGS]
    for section in others:
        c.changes.update(target, section, configuration.section(section))
    if configuration.rights:
        c.changes.set_rights(new, configuration.rights)
    signal_rules.move(c, old, new)
    c.storage.move(old, new, c.changes.meta(domain))
    aliases, telnums = state.aliases, state.telnums
    c.administration.delete_account(old)
    # Names and numbers belong to one account, so they move when the old one has gone.
    if aliases:
        c.administration.set_aliases(new, aliases)
    if telnums:
        c.administration.set_telnums(new, telnums)


def delete(c: Context, a: Arguments) -> None:
    """DELETEACCOUNT."""
    address = c.account(a)
    if c.service.sessions.of_account(address):
        raise CliError(ACCOUNT_IN_USE)
    c.administration.delete_account(address)


def set_type(c: Context, a: Arguments) -> None:
    """SETACCOUNTTYPE: only among types that keep mail in the same way."""
    target = Target("account", c.account(a))
    held = c.configuration(target).section(conf.RECORDS).get(ACCOUNT_TYPE)
    if held in _SPECIAL:
        raise DomainError(f"an account of type {held} keeps its type")
    c.changes.update(target, conf.RECORDS, {ACCOUNT_TYPE: a["accountType"]})


# ---------------------------------------------------------------------------------------- settings


def get_settings(c: Context, a: Arguments) -> Result:
    """GETACCOUNTSETTINGS: explicit values only, and no defaults."""
    return Result(c.section(Target("account", c.account(a)), SETTINGS))


def get_effective(c: Context, a: Arguments) -> Result:
    """GETACCOUNTEFFECTIVESETTINGS."""
    return Result(_effective(c, c.account(a)))


def get_one(c: Context, a: Arguments) -> Result:
    """GETACCOUNTONESETTING: one effective value, or null."""
    return Result(_effective(c, c.account(a)).get(text(a, "keyName")))


def _effective(c: Context, address: str) -> dict[str, Value]:
    configuration = c.configuration(Target("account", address))
    domain = address.rpartition("@")[2]
    levels = c.world.account_levels(domain)
    settings = effective.account_settings(configuration.section(SETTINGS), *levels)
    records = configuration.section(conf.RECORDS)
    records.pop(ACCOUNT_TYPE, None)
    rules = signal_rules.rules_of(c, address)
    return {**settings, **records, **({signal_rules.KEY: rules} if rules else {})}


def update_settings(c: Context, a: Arguments) -> None:
    """UPDATEACCOUNTSETTINGS: merge; an administrator of the domain changes what he may."""
    address = c.account(a)
    settings = dict(c.permitted(a["newSettings"], ACCOUNT_KEYS))
    extra = _password_events(c, address, settings, replacing=False)
    c.update(Target("account", address), SETTINGS, settings, extra)


def set_settings(c: Context, a: Arguments) -> None:
    """SETACCOUNTSETTINGS: replace. The password stays unless a new one is given."""
    address = c.account(a)
    if not c.authority.all_domains:
        raise CliError(NO_RIGHTS)
    given = a["newSettings"]
    assert isinstance(given, dict)
    settings = dict(given)
    extra = _password_events(c, address, settings, replacing=True)
    target = Target("account", address)
    version = c.client.seen.pop((target.stream, SETTINGS), None)
    c.changes.replace(target, SETTINGS, settings, read_version=version, extra=extra)
    if version is not None:
        c.section(target, SETTINGS)


def _password_events(
    c: Context, address: str, settings: dict[str, Value], *, replacing: bool
) -> list[accounts.AccountPasswordSet]:
    """Takes ``Password`` out of new settings; what sets it, appended with them."""
    password = _taken_password(settings)
    if password is None:
        return []
    held = {} if replacing else c.configuration(Target("account", address)).section(SETTINGS)
    future = Configuration(True, {SETTINGS: {**held, **settings}})
    name, _, domain = address.partition("@")
    secrets = c.secrets(name, domain, password, future)
    return [_password_set(secrets)]


def _password_set(secrets: Secrets) -> accounts.AccountPasswordSet:
    return accounts.AccountPasswordSet(
        realm=secrets.realm,
        ha1_md5=secrets.ha1_md5,
        ha1_sha256=secrets.ha1_sha256,
        alias_ha1=secrets.alias_ha1,
        text=secrets.text,
    )


def _taken_password(settings: dict[str, Value]) -> str | None:
    password = settings.pop(PASSWORD, None)
    if password is None:
        return None
    if not isinstance(password, str):
        raise DomainError("Password: expected a string")
    return password


# --------------------------------------------------------------------------------------- passwords


def set_password(c: Context, a: Arguments) -> None:
    """SETACCOUNTPASSWORD."""
    address = c.account(a)
    name, _, domain = address.partition("@")
    configuration = c.world.account_configuration(address)
    owner = address == c.authority.address
    if "METHOD" in a or "TAG" in a:
        raise DomainError("not supported: passwords besides the account's own")
    if owner or "CHECK" in a:
        if not c.world.account_setting("PWDAllowed", domain, configuration):
            raise CliError(NO_RIGHTS)
    c.set_password(address, c.secrets(name, domain, text(a, "newPassword"), configuration))


def verify_password(c: Context, a: Arguments) -> None:
    """VERIFYACCOUNTPASSWORD."""
    if not c.service.verify_password(c.account(a), text(a, "password")):
        raise CliError(WRONG_LOGIN)


def get_plain_password(c: Context, a: Arguments) -> Result:
    """GETACCOUNTPLAINPASSWORD: for migration tools, and only where it is kept recoverable."""
    password = c.service.recoverable_password(c.account(a))
    if not password:
        raise DomainError("the password is kept as digests only")
    return Result(password)


# ------------------------------------------------------------------------------------------ rights


def get_rights(c: Context, a: Arguments) -> Result:
    """GETACCOUNTRIGHTS."""
    return Result(list(c.configuration(Target("account", c.account(a))).rights))


def set_rights(c: Context, a: Arguments) -> None:
    """SETACCOUNTRIGHTS: server rights are a Master's to give, the others All Domains'."""
    address = c.account(a)
    rights = require_texts(a["newRights"], "newRights")
    if len(rights) > _MAX_RIGHTS or any(not _is_code(code) for code in rights):
        raise CliError(GENERAL, "incorrect data format: rights are up to 100 codes of letters")
    rights = [code for code in rights if code.lower() != "none"]
    held = c.configuration(Target("account", address)).rights
    changed = set(rights) ^ set(held)
    in_main = address.rpartition("@")[2] == c.world.main_domain
    if not c.authority.is_master and (in_main or changed & SERVER_RIGHTS):
        raise CliError(NO_RIGHTS)
    c.changes.set_rights(address, rights)


def _is_code(code: str) -> bool:
    return 0 < len(code) <= 64 and code.isascii() and code.replace("-", "").isalnum()


# ------------------------------------------------------------------------------------- preferences


def get_prefs(c: Context, a: Arguments) -> Result:
    """GETACCOUNTPREFS."""
    return Result(c.section(Target("account", c.account(a)), PREFS))


def get_effective_prefs(c: Context, a: Arguments) -> Result:
    """GETACCOUNTEFFECTIVEPREFS."""
    address = c.account(a)
    entry = c.world.domains[address.rpartition("@")[2]]
    own = c.configuration(Target("account", address)).section(PREFS)
    levels = entry.configuration.section(PREFS), c.world.server.section(PREFS)
    return Result(effective.preferences(own, *levels))


def update_prefs(c: Context, a: Arguments) -> None:
    """UPDATEACCOUNTPREFS."""
    c.update(Target("account", c.account(a)), PREFS, a["newSettings"])


def set_prefs(c: Context, a: Arguments) -> None:
    """SETACCOUNTPREFS."""
    c.replace(Target("account", c.account(a)), PREFS, a["newSettings"])


# ------------------------------------------------------------------------------------- the rest


def kill_sessions(c: Context, a: Arguments) -> None:
    """KILLACCOUNTSESSIONS."""
    for session in c.service.sessions.of_account(c.account(a)):
        c.service.sessions.kill(session)


def get_location(c: Context, a: Arguments) -> Result:
    """GETACCOUNTLOCATION: where a file-based server would keep it; ours keeps it in the log."""
    return Result(f"{c.account(a).partition('@')[0]}.macnt")


def names_of(c: Context, domain: str) -> list[str]:
    """Accounts of a domain, sorted."""
    return sorted(c.world.domains[domain].accounts)
