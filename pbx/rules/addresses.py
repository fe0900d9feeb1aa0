"""Where an action sends a call: the address forms that rules know.

::

    401, +79161234567      a name or number of the owner's domain
    bob@example.com        an address, URI parameters may follow
    <sip:bob@example.com;services=no>   any URI
    #voicemail             an application on behalf of the called account
    queue{sales,2}#pbx     an application with parameters on behalf of pbx of the owner's domain
    queue#pbx@example.com  … of another domain

Several are separated by commas (Telephony reference §3.5, Router reference §1.3).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from pbx.rules.errors import RuleError

MAX_TARGETS: Final = 20
"""Addresses of one action: no call rings at more places anyway."""

_FORMS: Final = (
    "a name, a number, name@domain, <sip:URI>, #application, application#account or "
    "application{parameter,…}#account@domain"
)
# RFC 3261 §25.1: unreserved and user-unreserved, escapes; `;` and `?` would begin parameters here.
_USER: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$,/]|%[0-9A-Fa-f]{2})+")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PARAMETERS: Final = re.compile(r"(?:;[^\s;<>,\"]+)*")
_APPLICATION: Final = re.compile(r"([A-Za-z0-9_.\-]+(?:/[A-Za-z0-9_.\-]+)*)(?:\{([^{}]*)\})?")
_URI: Final = re.compile(r"(?:sips?|tel|xmpp|im|smpp):[^\s<>\"]+", re.IGNORECASE)


class Target(NamedTuple):
    """One address of an action; exactly one of `uri`, `name` and `application` is set."""

    text: str
    """As it is written."""
    uri: str = ""
    """Complete."""
    name: str = ""
    """Without a domain: the owner's is meant."""
    application: str = ""
    parameters: tuple[str, ...] | None = None
    """Of the application; None: without any."""
    account: str = ""
    """On whose behalf the application runs, with or without domain; empty: the called account."""

    def uri_at(self, domain: str) -> str:
        """The URI to route, `domain` being the owner's; empty for an application."""
        return f"sip:{self.name}@{domain}" if self.name else self.uri

    def account_at(self, domain: str) -> str:
        """``name@domain`` of the application's account; empty: the called account."""
        if not self.account or "@" in self.account:
            return self.account
        return f"{self.account}@{domain}"


def parse_targets(text: str) -> tuple[Target, ...]:
    """The addresses of an action's parameter, in order. Raises :class:`RuleError`."""
    pieces = [piece.strip() for piece in _split(text)]
    targets = tuple(parse_target(piece) for piece in pieces if piece)
    if not targets:
        raise RuleError(f"no address is given: expected {_FORMS}")
    if len(targets) > MAX_TARGETS:
        raise RuleError(f"{len(targets)} addresses are given: at most {MAX_TARGETS} are possible")
    return targets


def parse_target(text: str) -> Target:
    """One address. Raises :class:`RuleError`."""
    if text.startswith("<") and text.endswith(">"):
        inner = text[1:-1].strip()
        if _URI.fullmatch(inner):
            return Target(text, uri=inner)
    elif _URI.fullmatch(text):
        return Target(text, uri=text)
    elif "#" in text:
        found = _application(text)
        if found is not None:
            return found
    else:
        found = _plain(text)
        if found is not None:
            return found
    raise RuleError(f'"{text}" is no address: expected {_FORMS}')


def _plain(text: str) -> Target | None:
    user, at, rest = text.partition("@")
    if not at:
        # People write numbers with spaces.
        user = user.replace(" ", "")
        return Target(text, name=user) if _USER.fullmatch(user) else None
    host, semicolon, parameters = rest.partition(";")
    if (
        _USER.fullmatch(user)
        and _HOST.fullmatch(host)
        and _PARAMETERS.fullmatch(semicolon + parameters)
    ):
        return Target(text, uri=f"sip:{text}")
    return None


def _application(text: str) -> Target | None:
    before, _, after = text.partition("#")
    if not before:
        before, after = after, ""
        alone = True
    else:
        alone = False
    match = _APPLICATION.fullmatch(before)
    if match is None:
        return None
    if not alone:
        user, at, host = after.partition("@")
        if not _USER.fullmatch(user) or (at and not _HOST.fullmatch(host)):
            return None
    given = match[2]
    parameters = None if given is None else tuple(part.strip() for part in given.split(","))
    return Target(text, application=match[1], parameters=parameters, account=after.lower())


def _split(text: str) -> list[str]:
    """At commas outside of ``{}``, ``<>`` and quotes."""
    pieces, start, depth, quoted = [], 0, 0, False
    for index, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif letter in "{<":
            depth += 1
        elif letter in "}>":
            depth = max(0, depth - 1)
        elif letter in ",\n" and not depth:
            pieces.append(text[start:index])
            start = index + 1
    pieces.append(text[start:])
    return pieces
