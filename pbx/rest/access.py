"""What a token may, in the terms of the command layer.

==============================================  ==================================================
Token                                           Acts as
==============================================  ==================================================
scope ``admin``                                 Master
``config:*`` for all domains                    server rights Settings, UserAccounts and Monitor:
                                                all but granting rights
``config:*`` for one domain, with an account    that account: its codes of a domain administrator,
                                                as they are now; server rights do not count
``config:read`` for one domain                  an administrator of the domain without any code
==============================================  ==================================================

What a token may not see does not exist for it: an object of another domain is answered like one
that is not there, 404, by reads and by changes. What it may see and not do is 403, with the right
that is missing. A scope that is missing is 403 before anything is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pbx.admin.dispatch import Context
from pbx.admin.rights import (
    ALL_DOMAINS,
    DOMAIN,
    MASTER,
    MONITOR,
    SERVER_RIGHTS,
    SETTINGS,
    Authority,
)
from pbx.admin.service import AdminService
from pbx.admin.world import DomainEntry
from pbx.data import Value
from pbx.objects.keys import Table
from pbx.tokens import Principal
from pbx.web.problems import Problem

_ALL: Final = frozenset({SETTINGS, ALL_DOMAINS, MONITOR})
_MASTER: Final = frozenset({MASTER})
_NOBODY: Final = ""


def authority_of(service: AdminService, principal: Principal) -> Authority:
    """The rights of a token as of now. Raises :class:`Problem` if its account is gone."""
    world, actor = service.world, principal.actor
    if not principal.domain:
        held = _MASTER if principal.may("admin") else _ALL
        return Authority(_NOBODY, world.main_domain, held, held, actor)
    rights = frozenset({DOMAIN})
    name = _NOBODY
    if principal.account:
        name, _, domain = principal.account.partition("@")
        if not world.account_exists(name, domain):
            raise Problem(
                403,
                "account-gone",
                "The account whose rights this token has is gone",
                "make another token: pbx token create … --account NAME@DOMAIN",
            )
        rights = frozenset(world.account_configuration(principal.account).rights) - SERVER_RIGHTS
    return Authority(name, principal.domain, rights, frozenset(), actor)


def no_object(kind: str, name: str) -> Problem:
    """404 for what does not exist, and for what the token may not see."""
    return Problem(
        404, "not-found", f"There is no such {kind}", f"this token sees no {kind} {name[:300]}"
    )


def seen_domain(context: Context, name: str) -> DomainEntry:
    """A domain by its name or alias. Raises :class:`Problem` (404) if the token may not see it."""
    entry = context.world.domain(name)
    if entry is None or not sees(context, entry.name):
        raise no_object("domain", name)
    return entry


def sees(context: Context, domain: str) -> bool:
    """Whether the token may see what is in a domain."""
    authority = context.authority
    if authority.all_domains:
        return True
    # A token is for one domain, also where its account administers others besides.
    return domain == authority.domain and authority.administers(domain, "")


def seen_account(context: Context, address: str) -> str:
    """``name@domain`` of an account by its address or alias. Raises :class:`Problem` (404)."""
    name, at, domain = address.strip().lower().rpartition("@")
    entry = context.world.domain(domain) if at else None
    if entry is not None and sees(context, entry.name):
        found = context.world.inventory.account_of(name, entry.name)
        if found:
            return found
    raise no_object("account", address)


def require_keys(context: Context, values: Mapping[str, Value], table: Table) -> None:
    """Raises :class:`Problem` (403) if there are settings that the token may not change.

    The command protocol leaves those out, as its scripts expect; here nothing is half done.
    """
    permitted = context.permitted(dict(values), table)
    refused = sorted(key for key in values if key not in permitted)
    if refused:
        codes = sorted({table[key].code if key in table else key for key in refused})
        raise Problem(
            403,
            "right-needed",
            "This token may not change that",
            f"{', '.join(refused[:10])}: its account needs the rights "
            f"{', '.join(codes[:10])}, see: pbx account rights",
            keys=refused[:100],
        )
