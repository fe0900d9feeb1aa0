"""Signal Rules of the server, of domains and of accounts (CLI reference §5.2, §5.3, §5.14).

The rules themselves are :mod:`pbx.rule_commands`'; here is who may change which, and what the
effective setting ``SignalRulesAllowed`` leaves to the owner of an account.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from pbx.admin.dispatch import Context, Handler, Result, text
from pbx.admin.errors import NO_RIGHTS, CliError
from pbx.admin.syntax import Arguments
from pbx.data import Value
from pbx.domain.rules import RulesState
from pbx.domain.server import STREAM as SERVER_STREAM
from pbx.rule_commands import RuleAdministration, owner_stream
from pbx.rules import Allowed, Simple, parse_allowed, rules_to_data

KEY: Final = "SignalRules"
"""As effective settings and rights of administrators spell it, the latter with ``Allowed``."""
CODE: Final = "SignalRulesAllowed"

_Owner: TypeAlias = Callable[[Context, Arguments], str]


def server_rules() -> tuple[Handler, Handler]:
    """GET and SET of the server's rules."""
    return _get_of(lambda c, a: SERVER_STREAM), _set_of(lambda c, a: SERVER_STREAM)


def domain_rules() -> tuple[Handler, Handler]:
    """GET and SET of a domain's rules."""
    return _get_of(lambda c, a: c.domain(a).name), _set_of(lambda c, a: c.domain(a).name)


def get_account(c: Context, a: Arguments) -> Result:
    """GETACCOUNTSIGNALRULES."""
    return Result(_shown(c, c.account(a)))


def set_account(c: Context, a: Arguments) -> None:
    """SETACCOUNTSIGNALRULES: administrators as they like, the owner within the setting."""
    address = c.account(a)
    _replace(c, address, a["newRules"], _allowed(c, address))


def update_account(c: Context, a: Arguments) -> None:
    """UPDATEACCOUNTSIGNALRULE: one rule by its name, or only its priority, or DELETE."""
    address = c.account(a)
    rules = _administration(c, _allowed(c, address))
    if "DELETE" in a:
        rules.delete_rule(address, text(a, "oldRuleName"))
    else:
        rules.update_rule(address, a["newRule"])


def state_of(c: Context, owner: str) -> RulesState:
    """Rules, datasets and limits of an owner."""
    return _administration(c).state(owner)


def control(c: Context, address: str, change: Callable[[Simple], Simple]) -> None:
    """Change the simplified rules of an account; who may do that is who may change its rules."""
    _administration(c, _allowed(c, address)).control(address, change)


def rules_of(c: Context, address: str) -> list[Value]:
    """The stored form of an account's rules, for its effective settings."""
    rules: list[Value] = rules_to_data(_administration(c).state(address).rules)
    return rules


def move(c: Context, old: str, new: str) -> None:
    """Give an account the rules and datasets of another, which is being renamed."""
    rules = _administration(c)
    state = rules.state(old)
    if state.rules:
        rules.set_rules(new, rules_to_data(state.rules))
    for dataset, entries in state.datasets.items():
        for address, name in entries.items():
            rules.add_entry(new, dataset, address, name)


def _get_of(owner: _Owner) -> Handler:
    def get(c: Context, a: Arguments) -> Result:
        return Result(_shown(c, owner(c, a)))

    return get


def _set_of(owner: _Owner) -> Handler:
    def replace(c: Context, a: Arguments) -> None:
        _replace(c, owner(c, a), a["newRules"], None)

    return replace


def _shown(c: Context, owner: str) -> Value:
    state, version = _administration(c).read(owner)
    c.client.saw(owner_stream(owner), KEY, version)
    rules: Value = rules_to_data(state.rules)
    return rules


def _replace(c: Context, owner: str, data: Value, allowed: Allowed | None) -> None:
    """Replace a set; refused once if somebody else changed what this client read."""
    seen = (owner_stream(owner), KEY)
    version = c.client.seen.pop(seen, None)
    rules = _administration(c, allowed)
    rules.set_rules(owner, data, read_version=version)
    if version is not None:
        c.client.saw(*seen, rules.read(owner)[1])


def _administration(c: Context, allowed: Allowed | None = None) -> RuleAdministration:
    return RuleAdministration(c.log, actor=c.actor, allowed=allowed, origin=c.origin)


def _allowed(c: Context, address: str) -> Allowed | None:
    """What may be stored; None for administrators. Raises :class:`CliError` if nothing may."""
    domain = address.rpartition("@")[2]
    authority = c.authority
    if authority.administers(domain, c.world.admin_domain_of(domain)) and authority.has_code(CODE):
        return None
    if address != authority.address:
        raise CliError(NO_RIGHTS)
    configuration = c.world.account_configuration(address)
    allowed = parse_allowed(str(c.world.account_setting(CODE, domain, configuration)))
    if allowed is Allowed.NO:
        raise CliError(NO_RIGHTS)
    return allowed
