"""All operations of the API.

The one place where it is declared: routes, checks of requests, the OpenAPI document and the page
for people are made of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pbx.domain import configuration as conf
from pbx.rest import accounts, calls, domains, objects, routing, rules, shapes
from pbx.rest.operations import Handler, Operation
from pbx.rules.vocabulary import Level

READ: Final = "config:read"
WRITE: Final = "config:write"

TAGS: Final = {
    "domains": ("Domains", "Домены"),
    "accounts": ("Accounts", "Учётные записи"),
    "groups": ("Groups", "Группы"),
    "forwarders": ("Forwarders", "Переадресаторы"),
    "router": ("The Router", "Маршрутизатор"),
    "rules": ("Signal Rules", "Правила обработки вызовов"),
    "calls": ("Calls and phones", "Вызовы и телефоны"),
}
"""Tag -> title in English and in Russian."""


def _read(
    tag: str,
    path: str,
    name: str,
    words: tuple[str, str],
    handler: Handler,
    reply: Any,
    **more: Any,
) -> Operation:
    return Operation(
        "GET", path, name, tag, *words, more.pop("scope", READ), handler, reply=reply, **more
    )


def _change(
    method: str,
    tag: str,
    path: str,
    name: str,
    words: tuple[str, str],
    handler: Handler,
    **more: Any,
) -> Operation:
    """PUT, PATCH or DELETE of a resource with an ETag."""
    deletes = method == "DELETE"
    return Operation(
        method,
        path,
        name,
        tag,
        *words,
        WRITE,
        handler,
        status=204 if more.get("reply") is None else 200,
        etag=not deletes,
        guarded=True,
        refused=True,
        **more,
    )


def _create(
    tag: str,
    path: str,
    name: str,
    words: tuple[str, str],
    handler: Handler,
    body: Any,
    reply: Any,
) -> Operation:
    return Operation(
        "POST", path, name, tag, *words, WRITE, handler,
        body=body, reply=reply, status=201, etag=True, refused=True,
    )  # fmt: skip


def _domains() -> Iterator[Operation]:
    d, one = domains, "/domains/{domain}"
    yield _read(
        "domains", "/domains", "listDomains", ("List domains", "Список доменов"),
        d.list_domains, shapes.DomainPage, query=shapes.FilteredPage,
    )  # fmt: skip
    yield _create(
        "domains", "/domains", "createDomain", ("Make a domain", "Создать домен"),
        d.create_domain, shapes.NewDomain, shapes.Domain,
    )  # fmt: skip
    yield _read(
        "domains", one, "getDomain", ("A domain", "Домен"), d.get_domain, shapes.Domain, etag=True
    )
    yield _change(
        "PATCH", "domains", one, "patchDomain", ("Change a domain", "Изменить домен"),
        d.patch_domain, body=shapes.DomainPatch, reply=shapes.Domain,
    )  # fmt: skip
    yield _change(
        "DELETE", "domains", one, "deleteDomain", ("Delete a domain", "Удалить домен"),
        d.delete_domain, query=shapes.DeleteDomain,
    )  # fmt: skip
    yield _read(
        "domains", f"{one}/aliases", "getDomainAliases",
        ("Other names of a domain", "Другие имена домена"),
        d.get_aliases, shapes.DomainAliases, etag=True,
    )  # fmt: skip
    yield _change(
        "PUT", "domains", f"{one}/aliases", "putDomainAliases",
        ("Replace the other names of a domain", "Заменить другие имена домена"),
        d.put_aliases, body=shapes.DomainAliases, reply=shapes.DomainAliases,
    )  # fmt: skip
    for section, path, noun, words, words_ru in (
        (conf.SETTINGS, "settings", "DomainSettings", "the settings of a domain",
         "настройки домена"),
        (conf.ACCOUNT_DEFAULTS, "account-defaults", "AccountDefaults",
         "the defaults of a domain's accounts", "умолчания учётных записей домена"),
    ):  # fmt: skip
        get, put, patch = d.section_handlers(section)
        yield from _dictionary("domains", f"{one}/{path}", noun, words, words_ru, get, put, patch)
    yield _read(
        "domains", f"{one}/effective-settings", "getDomainEffectiveSettings",
        ("The settings of a domain with defaults", "Настройки домена с умолчаниями"),
        d.get_effective, shapes.Settings,
    )  # fmt: skip


def _dictionary(
    tag: str,
    path: str,
    noun: str,
    words: str,
    words_ru: str,
    get: Handler,
    put: Handler,
    patch: Handler,
) -> Iterator[Operation]:
    """GET, PUT and PATCH of settings."""
    show = words[0].upper() + words[1:], words_ru[0].upper() + words_ru[1:]
    body: Any = shapes.Settings
    yield _read(tag, path, f"get{noun}", show, get, body, etag=True)
    replace = f"Replace {words}", f"Заменить {words_ru}"
    yield _change("PUT", tag, path, f"put{noun}", replace, put, body=body, reply=body)
    change = f"Change {words}", f"Изменить {words_ru}"
    yield _change("PATCH", tag, path, f"patch{noun}", change, patch, body=body, reply=body)


def _accounts() -> Iterator[Operation]:
    a, one = accounts, "/accounts/{address}"
    yield _read(
        "accounts", "/domains/{domain}/accounts", "listAccounts",
        ("List the accounts of a domain", "Список учётных записей домена"),
        a.list_accounts, shapes.AccountPage, query=shapes.FilteredPage,
    )  # fmt: skip
    yield _create(
        "accounts", "/domains/{domain}/accounts", "createAccount",
        ("Make an account", "Создать учётную запись"),
        a.create_account, shapes.NewAccount, shapes.Account,
    )  # fmt: skip
    yield _read(
        "accounts", one, "getAccount", ("An account", "Учётная запись"),
        a.get_account, shapes.Account, etag=True,
    )  # fmt: skip
    yield _change(
        "PATCH", "accounts", one, "patchAccount",
        ("Change an account", "Изменить учётную запись"),
        a.patch_account, body=shapes.AccountPatch, reply=shapes.Account,
    )  # fmt: skip
    yield _change(
        "DELETE", "accounts", one, "deleteAccount",
        ("Delete an account", "Удалить учётную запись"), a.delete_account,
    )  # fmt: skip
    yield from _dictionary(
        "accounts", f"{one}/settings", "AccountSettings", "the settings of an account",
        "настройки учётной записи", a.get_settings, a.put_settings, a.patch_settings,
    )  # fmt: skip
    yield _read(
        "accounts", f"{one}/effective-settings", "getAccountEffectiveSettings",
        ("The settings of an account with defaults", "Настройки учётной записи с умолчаниями"),
        a.get_effective, shapes.Settings,
    )  # fmt: skip
    for part, command, parameter, noun, body, words, words_ru in (
        ("aliases", "SETACCOUNTALIASES", "newAliases", "AccountAliases", shapes.Aliases,
         "the other names of an account", "другие имена учётной записи"),
        ("telnums", "SETACCOUNTTELNUMS", "newTelnums", "AccountTelnums", shapes.Telnums,
         "the telephone numbers of an account", "телефонные номера учётной записи"),
        ("rights", "SETACCOUNTRIGHTS", "newRights", "AccountRights", shapes.AccountRights,
         "the rights of an account as an administrator", "права учётной записи администратора"),
    ):  # fmt: skip
        get, put = a.part_handlers(part, command, parameter)
        show = words[0].upper() + words[1:], words_ru[0].upper() + words_ru[1:]
        yield _read("accounts", f"{one}/{part}", f"get{noun}", show, get, body, etag=True)
        replace = f"Replace {words}", f"Заменить {words_ru}"
        yield _change(
            "PUT", "accounts", f"{one}/{part}", f"put{noun}", replace, put, body=body, reply=body
        )
    yield from _dictionary(
        "accounts", f"{one}/trunks", "AccountTrunks", "the registrations with providers, by name",
        "регистрации у провайдеров по именам", a.get_trunks, a.put_trunks, a.patch_trunks,
    )  # fmt: skip
    yield _read(
        "accounts", f"{one}/trunk-states", "getAccountTrunkStates",
        ("How the registrations with providers are", "Состояние регистраций у провайдеров"),
        a.get_trunk_states, shapes.Settings,
    )  # fmt: skip
    yield _change(
        "PUT", "accounts", f"{one}/password", "putAccountPassword",
        ("Set a password; nothing shows it", "Установить пароль; прочитать его нельзя"),
        a.put_password, body=shapes.Password,
    )  # fmt: skip


def _objects() -> Iterator[Operation]:
    o, one = objects, "/groups/{address}"
    yield _read(
        "groups", "/domains/{domain}/groups", "listGroups",
        ("List the groups of a domain", "Список групп домена"),
        o.list_groups, shapes.GroupPage, query=shapes.FilteredPage,
    )  # fmt: skip
    yield _create(
        "groups", "/domains/{domain}/groups", "createGroup", ("Make a group", "Создать группу"),
        o.create_group, shapes.NewGroup, shapes.Group,
    )  # fmt: skip
    yield _read(
        "groups", one, "getGroup", ("A group", "Группа"), o.get_group, shapes.Group, etag=True
    )
    yield _change(
        "PUT", "groups", one, "putGroup", ("Replace a group", "Заменить группу"),
        o.put_group, body=shapes.GroupBody, reply=shapes.Group,
    )  # fmt: skip
    yield _change(
        "PATCH", "groups", one, "patchGroup", ("Change a group", "Изменить группу"),
        o.patch_group, body=shapes.GroupPatch, reply=shapes.Group,
    )  # fmt: skip
    yield _change(
        "DELETE", "groups", one, "deleteGroup", ("Delete a group", "Удалить группу"),
        o.delete_group,
    )  # fmt: skip
    one = "/forwarders/{address}"
    yield _read(
        "forwarders", "/domains/{domain}/forwarders", "listForwarders",
        ("List the forwarders of a domain", "Список переадресаторов домена"),
        o.list_forwarders, shapes.ForwarderPage, query=shapes.FilteredPage,
    )  # fmt: skip
    yield _create(
        "forwarders", "/domains/{domain}/forwarders", "createForwarder",
        ("Make a forwarder", "Создать переадресатор"),
        o.create_forwarder, shapes.NewForwarder, shapes.Forwarder,
    )  # fmt: skip
    yield _read(
        "forwarders", one, "getForwarder", ("A forwarder", "Переадресатор"),
        o.get_forwarder, shapes.Forwarder, etag=True,
    )  # fmt: skip
    yield _change(
        "PUT", "forwarders", one, "putForwarder",
        ("Let a forwarder stand for another address", "Задать переадресатору другой адрес"),
        o.put_forwarder, body=shapes.ForwarderBody, reply=shapes.Forwarder,
    )  # fmt: skip
    yield _change(
        "DELETE", "forwarders", one, "deleteForwarder",
        ("Delete a forwarder", "Удалить переадресатор"), o.delete_forwarder,
    )  # fmt: skip


def _router() -> Iterator[Operation]:
    yield _read(
        "router", "/router", "getRouterTable", ("The Router table", "Таблица маршрутизатора"),
        routing.get_table, shapes.RouterTable, etag=True,
    )  # fmt: skip
    yield _change(
        "PUT", "router", "/router", "putRouterTable",
        ("Replace the Router table", "Заменить таблицу маршрутизатора"),
        routing.put_table, body=shapes.RouterTableBody, reply=shapes.RouterTable,
    )  # fmt: skip
    yield Operation(
        "POST", "/router/trace", "traceAddress", "router",
        "What an address means, and why", "Что означает адрес и почему",
        READ, routing.trace, body=shapes.TraceBody, reply=shapes.Trace, rejects=True,
    )  # fmt: skip


def _rules() -> Iterator[Operation]:
    body = shapes.SignalRules
    for level, path, words, words_ru in (
        (Level.SERVER, "/rules", "Signal Rules of the server", "правила сервера"),
        (Level.DOMAIN, "/domains/{domain}/rules", "Signal Rules of a domain", "правила домена"),
        (Level.ACCOUNT, "/accounts/{address}/rules", "Signal Rules of an account",
         "правила учётной записи"),
    ):  # fmt: skip
        get, put = rules.rule_handlers(level)
        noun = f"{level.value.capitalize()}Rules"
        show = words, words_ru.capitalize()
        yield _read("rules", path, f"get{noun}", show, get, body, etag=True)
        replace = f"Replace the {words}", f"Заменить {words_ru}"
        yield _change("PUT", "rules", path, f"put{noun}", replace, put, body=body, reply=body)
    path, control = "/accounts/{address}/call-control", shapes.CallControl
    yield _read(
        "rules", path, "getCallControl",
        ("Forwarding, voice mail, blocking", "Переадресация, голосовая почта, блокировка"),
        rules.get_control, control, etag=True,
    )  # fmt: skip
    yield _change(
        "PUT", "rules", path, "putCallControl",
        ("Replace the call control of an account", "Заменить управление вызовами"),
        rules.put_control, body=control, reply=control,
    )  # fmt: skip
    yield _change(
        "PATCH", "rules", path, "patchCallControl",
        ("Change the call control of an account", "Изменить управление вызовами"),
        rules.patch_control, body=shapes.CallControlPatch, reply=control,
    )  # fmt: skip


def _calls() -> Iterator[Operation]:
    yield _read(
        "calls", "/calls", "listCalls", ("Calls that are up", "Текущие вызовы"),
        calls.list_calls, shapes.LiveCallPage, query=shapes.Page, scope="calls:read",
    )  # fmt: skip
    yield _read(
        "calls", "/calls/{call_id}", "getCall", ("A call that is up", "Текущий вызов"),
        calls.get_call, shapes.LiveCall, scope="calls:read",
    )  # fmt: skip
    yield Operation(
        "POST", "/calls/{call_id}/hangup", "endCall", "calls",
        "End a call", "Завершить вызов", "calls:control", calls.end_call,
        body=shapes.EndCall, reply=shapes.CallEnding, status=202, refused=True,
    )  # fmt: skip
    yield _read(
        "calls", "/cdrs", "listCdrs", ("Records of calls that ended", "Записи о вызовах"),
        calls.list_cdrs, shapes.CdrPage, query=shapes.CdrFilter, scope="cdrs:read", rejects=True,
    )  # fmt: skip
    yield _read(
        "calls", "/registrations", "listRegistrations",
        ("Phones that are registered", "Зарегистрированные телефоны"),
        calls.list_registrations, shapes.RegistrationPage,
        query=shapes.RegistrationFilter, scope="calls:read", rejects=True,
    )  # fmt: skip


OPERATIONS: Final[tuple[Operation, ...]] = (
    *_domains(), *_accounts(), *_objects(), *_router(), *_rules(), *_calls(),
)  # fmt: skip
