"""The Router: from an address to what it means, for mail, signals and log-ins alike.

One function, :func:`route`: pure, no I/O, bounded. An address is rewritten by the first rule that
applies and starts again from the top (Router reference §3) until nothing applies any more; what
remains is the result. Every step is recorded with the line or object that caused it.

Order of the rules: nested address, special names, telephone numbers, Router tables, names of
domains, objects of a local domain, suffixes, other servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pbx.router.address import (
    MAIN_NAMES,
    MAX_ADDRESS,
    Address,
    bare,
    dialled_number,
    fold_case,
    nested_at,
    parse_address,
    qualified,
    split_local,
    standard_form,
    unnested,
)
from pbx.router.errors import AddressError
from pbx.router.result import Module, Outcome, Route, Rule, Step
from pbx.router.state import (
    Forwarder,
    Group,
    NamedObject,
    NamedTask,
    ObjectKind,
    RoutingState,
    Unknown,
)
from pbx.router.table import Kind

LIMIT: Final = 50
"""Times an address may start again. Real tables need fewer than ten; a loop is told as one."""
MAX_MEMBERS: Final = 200
"""Addresses looked at for one group with the groups in it: a call tries no more contacts."""

TELNUM: Final = "telnum"
BLACKLISTED: Final = "blacklisted"
#: Local parts without a domain, and domains, that end a decision.
SPECIAL: Final = {
    "null": Outcome.DISCARD,
    "blackhole": Outcome.DISCARD,
    "error": Outcome.REFUSED,
    "spamtrap": Outcome.SPAMTRAP,
}
RESERVED_DOMAINS: Final = frozenset({*SPECIAL, TELNUM, BLACKLISTED, "pstn"})
"""Names no domain of ours may have."""
#: Parts of a mailing list's service addresses: ``news-on@example.com``.
LIST_SERVICES: Final = ("-on", "-off", "-digest", "-null", "-index", "-admin", "-report")

#: ``host.port._via``, ``host._via``; the old spelling without the underscore.
_VIA: Final = re.compile(r"(.+?)(?:\.([0-9]{1,5}))?\._?via", re.ASCII)
_SUFFIX: Final = re.compile(r"(.+)\._?(smtp|xmpp|sip|list)", re.ASCII)
_IPV4: Final = re.compile(r"[0-9]+(?:\.[0-9]+){3}", re.ASCII)
_SUFFIX_MODULES: Final = {"smtp": Module.SMTP, "xmpp": Module.XMPP, "sip": Module.SIP}
_FOREIGN_MODULES: Final = {Kind.MAIL: Module.SMTP, Kind.SIGNAL: Module.SIP}


def route(
    address: str | Address,
    kind: Kind,
    state: RoutingState,
    *,
    caller: str = "",
    relay: bool = False,
) -> Route:
    """Decide what `address` means.

    `caller` is the authenticated account ``name@domain`` that ``service{12}#`` is about, empty for
    a stranger; `relay` is the mark the address has already, when a local object made it. Never
    raises: what is no address, loops or is unknown is an outcome with its reason.
    """
    steps: list[Step] = []
    if isinstance(address, str):
        try:
            at = parse_address(address)
        except AddressError as error:
            nothing = Address(address[:80], "")
            return _refused(nothing, steps, 484, str(error))
    else:
        at = address
    for _ in range(LIMIT):
        try:
            found = _step(at, kind, state, caller, relay, steps)
        except AddressError as error:
            return _refused(at, steps, 404, str(error))
        if isinstance(found, Route):
            return found
        at, relay = found
    return _refused(at, steps, 482, f"routing loop: {LIMIT} rewrites and no end")


_Next = tuple[Address, bool]
"""The address to start again with, and its relay mark."""


def _step(
    at: Address, kind: Kind, state: RoutingState, caller: str, relay: bool, steps: list[Step]
) -> Route | _Next:
    """The first rule that applies to an address."""
    local, domain, port = at
    folded = fold_case(local)
    main_domain = state.main_domain
    if domain in MAIN_NAMES or domain == main_domain:
        if "%" in local and (inner := unnested(local)) is not None:
            steps.append(Step(Rule.NESTED, inner))
            return inner, relay
        if folded in SPECIAL:
            return _special(folded, at, steps)
        domain = ""
        resolved = main_domain
        names: tuple[str, ...] = (main_domain,) if main_domain else ()
    else:
        if domain in RESERVED_DOMAINS:
            if domain in SPECIAL:
                return _special(domain, at, steps)
            if domain == TELNUM and (assigned := _assigned(local, state)):
                steps.append(Step(Rule.TELNUM, assigned, None, f"{local} is assigned"))
                return assigned, relay
        resolved = state.local_domain(bare(domain))
        names = (domain,) if not resolved or resolved == domain else (domain, resolved)
    main = bool(resolved) and resolved == main_domain
    if kind is Kind.SIGNAL and not local.isalnum() and resolved:
        number = dialled_number(local)
        if number and number != local and state.find(folded, resolved) is None:
            at = Address(number, domain, port)
            local = folded = number
            steps.append(Step(Rule.NUMBER, at))
    tables = state.tables
    record = tables.first(kind, folded, names, main or not domain, bool(resolved))
    while record is not None:
        new = record.rewrite(local, names)
        if new is None:
            reason = f"{local!r} cannot be a parameter (line {record.line} of the Router table)"
            return _refused(at, steps, 404, reason)
        if len(new.local) > MAX_ADDRESS:
            # Each star copies what it stands for: a line with many of them grows without end.
            reason = f"line {record.line} of the Router table makes the address too long"
            return _refused(at, steps, 482, reason)
        marked = relay or record.marks(local)
        if new != at and new != Address(local, domain, port):
            steps.append(Step(Rule.RECORD, new, record))
            return new, marked
        # It says only that the address may be relayed: what it means, later lines decide.
        steps.append(Step(Rule.MARK, at, record))
        relay = marked
        record = tables.after(record, kind, folded, names, main or not domain, bool(resolved))
    if not domain or resolved:
        if resolved and domain and domain != resolved:
            steps.append(Step(Rule.DOMAIN, Address(local, resolved)))
            if main and "%" in local and (inner := unnested(local)) is not None:
                steps.append(Step(Rule.NESTED, inner))
                return inner, relay
        if not resolved:
            return _refused(at, steps, 404, "this server has no domain yet")
        return _local(local, folded, resolved, kind, state, caller, relay, steps)
    return _elsewhere(at, kind, state, relay, steps)


def _special(name: str, at: Address, steps: list[Step]) -> Route:
    outcome = SPECIAL[name]
    steps.append(Step(Rule.FINAL, at, None, outcome.value))
    if outcome is Outcome.REFUSED:
        return Route(outcome, at, tuple(steps), status=603, reason="the address is banned")
    status = 603 if outcome is Outcome.SPAMTRAP else 0
    return Route(outcome, at, tuple(steps), module=Module.SYSTEM, status=status)


def _assigned(local: str, state: RoutingState) -> Address | None:
    """Whom a number is assigned to: an account, or a forwarder that carries it as its name."""
    number = dialled_number(local) or local
    digits = number.removeprefix("+")
    for form in (number, f"+{digits}", digits):
        account = state.telnum(form)
        if account:
            name, _, domain = account.partition("@")
            return Address(name, domain)
    main = state.main_domain
    found = state.find(digits, main) if main else None
    if found is not None and found.object_kind is ObjectKind.FORWARDER:
        return Address(digits, main)
    return None


# A local domain.


def _local(
    local: str,
    folded: str,
    domain: str,
    kind: Kind,
    state: RoutingState,
    caller: str,
    relay: bool,
    steps: list[Step],
) -> Route | _Next:
    """Objects of a domain of ours (Router reference §5)."""
    found = state.find(folded, domain)
    if found is not None:
        # Names have neither `#` nor `%`: this is the usual case.
        if found.object_kind is ObjectKind.ACCOUNT:
            return _account(found, folded, local, domain, kind, relay, steps)
        return _object(found, "", domain, kind, relay, steps)
    if "%" in local and nested_at(local) >= 0:
        # Relaying through a secondary domain is asked for as through the main one.
        inner = unnested(local)
        assert inner is not None
        steps.append(Step(Rule.NESTED, inner))
        return inner, relay
    parts = split_local(local)
    at = Address(local, domain)
    if parts is None:
        return _refused(at, steps, 404, f"{local!r} is no address of an application")
    if parts.detail is not None:
        return _detailed(
            parts.name, parts.detail, parts.parameters, at, kind, state, caller, relay, steps
        )
    plus = local.find("+")
    if plus > 0:
        found = state.find(folded[:plus], domain)
        if found is not None and found.object_kind is ObjectKind.ACCOUNT:
            detail = local[plus + 1 :]
            return _account(found, folded[:plus], local, domain, kind, relay, steps, detail)
        if found is not None:
            return _object(found, local[plus + 1 :], domain, kind, relay, steps)
    if kind is Kind.MAIL:
        for service in LIST_SERVICES:
            if folded.endswith(service):
                found = state.find(folded.removesuffix(service), domain)
                if found is not None and found.object_kind is ObjectKind.LIST:
                    return _object(found, service[1:], domain, kind, relay, steps)
        if folded == "all":
            steps.append(Step(Rule.FINAL, at, None, "all accounts"))
            return Route(
                Outcome.ALL, at, tuple(steps), account=domain, module=Module.LOCAL, relay=relay
            )
    return _unknown(local, domain, kind, state, relay, steps)


def _account(
    found: NamedObject,
    name: str,
    local: str,
    domain: str,
    kind: Kind,
    relay: bool,
    steps: list[Step],
    detail: str = "",
) -> Route:
    own = found.name
    at = Address(own, domain)
    if own != name:
        steps.append(Step(Rule.ALIAS, at, None, f"{name} is an alias"))
    steps.append(Step(Rule.FINAL, at, None, "account"))
    address = f"{own}@{domain}"
    shown = Address(f"{own}+{detail}", domain) if detail else at
    return Route(
        Outcome.ACCOUNT, shown, tuple(steps), address, detail, None, (), Module.LOCAL, "", 0, relay
    )


def _object(
    found: NamedObject, detail: str, domain: str, kind: Kind, relay: bool, steps: list[Step]
) -> Route | _Next:
    """A group, list, forwarder or named task."""
    at = Address(found.name, domain)
    address = f"{found.name}@{domain}"
    if isinstance(found, Forwarder):
        target = parse_address(qualified(found.target, domain))
        # On behalf of an object of ours it may leave this server (Router reference §7).
        steps.append(Step(Rule.FORWARDER, target, None, address))
        return target, True
    what = found.object_kind.value
    if kind is Kind.ACCESS:
        return _refused(at, steps, 403, f"nobody can log in to the {what} {address}")
    if isinstance(found, Group):
        if not (found.signal if kind is Kind.SIGNAL else found.mail):
            service = "signals" if kind is Kind.SIGNAL else "mail"
            return _refused(at, steps, 403, f"the group {address} takes no {service}")
        steps.append(Step(Rule.FINAL, at, None, f"group of {len(found.members)}"))
        members = tuple(qualified(member, domain) for member in found.members)
        module = Module.LOCAL if kind is Kind.SIGNAL else Module.LIST
        return Route(
            Outcome.GROUP, at, tuple(steps), address, members=members, module=module, relay=relay
        )
    if isinstance(found, NamedTask):
        steps.append(Step(Rule.FINAL, at, None, f"task {found.program} of {found.owner}"))
        return Route(
            Outcome.TASK, at, tuple(steps), address, found.program, module=Module.LOCAL, relay=relay
        )
    if kind is Kind.SIGNAL:
        return _refused(at, steps, 404, f"{address} is a mailing list: it cannot be called")
    steps.append(Step(Rule.FINAL, at, None, "mailing list"))
    return Route(Outcome.LIST, at, tuple(steps), address, detail, module=Module.LIST, relay=relay)


def _detailed(
    name: str,
    detail: str,
    parameters: tuple[str, ...] | None,
    at: Address,
    kind: Kind,
    state: RoutingState,
    caller: str,
    relay: bool,
    steps: list[Step],
) -> Route | _Next:
    """``mailbox#account``, ``application{parameters}#account`` (Router reference §1.2, §1.3)."""
    domain = at.domain
    if not name:
        if not caller:
            return _refused(at, steps, 403, f"{at.local} is for callers with an account")
        name, _, domain = caller.partition("@")
        at = Address(f"{at.local}{name}", domain)
        steps.append(Step(Rule.CALLER, at))
    found = state.find(fold_case(name), domain)
    if found is None:
        return _unknown(name, domain, kind, state, relay, steps)
    if isinstance(found, Forwarder) and kind is not Kind.SIGNAL:
        return _object(found, detail, domain, kind, relay, steps)
    if found.object_kind is not ObjectKind.ACCOUNT:
        return _refused(at, steps, 404, f"{name}@{domain} is no account")
    if not detail:
        return _refused(
            at, steps, 404, f"{at} names no {'application' if kind is Kind.SIGNAL else 'mailbox'}"
        )
    own = found.name
    if own != fold_case(name):
        steps.append(Step(Rule.ALIAS, Address(own, domain), None, f"{name} is an alias"))
    written = at.local[: len(at.local) - len(name)]
    at = Address(written + own, domain)
    address = f"{own}@{domain}"
    if kind is Kind.ACCESS:
        steps.append(Step(Rule.FINAL, Address(own, domain), None, "account"))
        return Route(
            Outcome.ACCOUNT, Address(own, domain), tuple(steps), address, module=Module.LOCAL
        )
    outcome = Outcome.ACCOUNT if kind is Kind.MAIL else Outcome.APPLICATION
    steps.append(Step(Rule.FINAL, at, None, "mailbox" if kind is Kind.MAIL else "application"))
    return Route(
        outcome, at, tuple(steps), address, detail, parameters, module=Module.LOCAL, relay=relay
    )


def _unknown(
    local: str, domain: str, kind: Kind, state: RoutingState, relay: bool, steps: list[Step]
) -> Route | _Next:
    """A name that nobody has: the domain decides."""
    at = Address(local, domain)
    policy = state.unknown(domain, kind)
    if policy.action is Unknown.REROUTE and policy.address:
        target = parse_address(policy.address.replace("*", local))
        steps.append(Step(Rule.UNKNOWN, target, None, f"{at} is unknown"))
        return target, True
    if policy.action is Unknown.DISCARD or policy.action is Unknown.BOUNCE:
        bounce = policy.action is Unknown.BOUNCE and kind is Kind.MAIL
        outcome = Outcome.BOUNCE if bounce else Outcome.DISCARD
        steps.append(Step(Rule.FINAL, at, None, f"unknown, {outcome.value}"))
        return Route(outcome, at, tuple(steps), module=Module.SYSTEM)
    steps.append(Step(Rule.FINAL, at, None, "unknown"))
    return Route(
        Outcome.UNKNOWN,
        at,
        tuple(steps),
        status=404,
        reason=f"no account {at}",
        consult=policy.consult,
    )


# Elsewhere.


def _elsewhere(
    at: Address, kind: Kind, state: RoutingState, relay: bool, steps: list[Step]
) -> Route | _Next:
    """Suffixes, then other servers (Router reference §4.2, §1.4)."""
    local, domain, port = at
    if domain.endswith(".local"):
        name = domain.removesuffix(".local")
        found = state.find(name, state.main_domain) if state.main_domain else None
        if found is None or found.object_kind is not ObjectKind.ACCOUNT:
            return _refused(at, steps, 404, f"the Main Domain has no account {name}")
        account = Address(found.name, state.main_domain)
        steps.append(Step(Rule.FINAL, account, None, f"unified account for {at}"))
        return Route(
            Outcome.ACCOUNT, account, tuple(steps), str(account), module=Module.LOCAL, relay=relay
        )
    if kind is Kind.ACCESS:
        return _refused(at, steps, 404, f"{domain} is no domain of this server")
    module = _FOREIGN_MODULES[kind]
    via = _VIA.fullmatch(domain)
    suffix = None if via is not None else _SUFFIX.fullmatch(domain)
    host = bare(domain)
    sent = at
    if via is not None:
        host, text = via.groups()
        if text is not None and (_IPV4.fullmatch(f"{host}.{text}") or not 0 < int(text) <= 65_535):
            host, text = f"{host}.{text}", None
        port = port or int(text or 0)
        sent = _sent(local, host)
    elif suffix is not None:
        host, name = suffix.groups()
        if name == "list":
            return _refused(at, steps, 404, f"there is no mailing list {host}")
        module = _SUFFIX_MODULES[name]
        if kind is Kind.MAIL and module is not Module.SMTP:
            return _refused(at, steps, 404, f"mail cannot go by {module.value}")
        if kind is Kind.SIGNAL and module is Module.SMTP:
            return _refused(at, steps, 404, "calls cannot go by SMTP")
        sent = Address(local, host)
    elif domain[0] == "[":
        sent = _sent(local, domain)
    elif "." not in domain:
        return _refused(
            at, steps, 404, f"there is no domain {domain} here, nor can it be elsewhere"
        )
    steps.append(Step(Rule.FINAL, sent, None, f"{module.value} to {host}"))
    return Route(Outcome.FOREIGN, sent, tuple(steps), "", "", None, (), module, host, port, relay)


def _sent(local: str, host: str) -> Address:
    """The address in standard form, once the part that only said where to connect is cut off."""
    standard = standard_form(local)
    if standard is local:
        return Address(local, host)
    return parse_address(standard)


def _refused(at: Address, steps: list[Step], status: int, reason: str) -> Route:
    steps.append(Step(Rule.FINAL, at, None, reason))
    return Route(Outcome.REFUSED, at, tuple(steps), status=status, reason=reason)


# Groups.


def fan_out(group: Route, kind: Kind, state: RoutingState, *, caller: str = "") -> Iterator[Route]:
    """Routes of a group's members, groups among them expanded, each destination once.

    Members are reached on behalf of the group, so foreign ones may be relayed. At most
    :data:`MAX_MEMBERS` addresses are looked at; a group that contains itself ends there.
    """
    seen = {(group.outcome, group.address, group.account)}
    waiting = list(reversed(group.members))
    for _ in range(MAX_MEMBERS):
        if not waiting:
            return
        found = route(waiting.pop(), kind, state, caller=caller, relay=True)
        key = (found.outcome, found.address, found.account)
        if key in seen:
            continue
        seen.add(key)
        if found.outcome is Outcome.GROUP:
            waiting.extend(reversed(found.members))
        else:
            yield found
