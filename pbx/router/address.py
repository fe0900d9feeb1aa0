"""Addresses: text to value and back (Router reference §1).

Fed with what people dial, type and write into headers; feeds the engine, the table and whoever
stores an address (forwarders, groups). Canonical form: the local part holds nested addresses with
``%`` (``user%next.dom@first.dom``), so the text after its last ``%`` is where it goes once the
domain part is gone. Source routes (``<@a,@b:user@c>``), bang paths (``a!user``) and quoted local
parts (RFC 5321 §4.1.2) are brought to that form; a quoted ``"user@c"@a`` means the same as
``user%c@a``, so that quoting opens no way around the relay rules.

An address written for the Main Domain has an empty domain. IP literals carry brackets.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

from pbx.router.errors import AddressError

MAX_ADDRESS: Final = 1024
"""Characters. RFC 5321 §4.5.3.1.3 allows 256; addresses of applications carry parameters."""
MAX_DOMAIN: Final = 255
"""Characters (RFC 1035 §2.3.4)."""
MAX_PORT: Final = 65_535

MAIN_NAMES: Final = frozenset({"", "localhost", "[127.0.0.1]", "[0.0.0.0]"})
"""Domain parts that mean the Main Domain whatever it is called."""

# The usual form: nothing in it needs a second look.
_PLAIN: Final = re.compile(
    r'([^\x00-\x20\x7f"<>@%!\\{}\[\]:,;]+)(?:@([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*))?'
)
_PLAIN_LOCAL: Final = re.compile(r"[^\x00-\x20\x7f-\x9f@%!\\{}\ud800-\udfff]*")
_DIGITS_AND_COLON: Final = frozenset("0123456789abcdef:")
"""How an IP address may end."""
_DOMAIN: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)
_PORT: Final = re.compile(r":([0-9]{1,5})(\._?via)?$", re.ASCII)
_NUMERIC: Final = re.compile(r"[0-9]+(?:\.[0-9]+){3}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SCHEME: Final = re.compile(r"(?:sips?|mailto|xmpp):", re.IGNORECASE)
_APPLICATION: Final = re.compile(r"[^{}#@%!]*\{[^{}]*\}#")
_DETAIL: Final = re.compile(r"([^{}]*)(?:\{([^{}]*)\})?")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NEEDS_QUOTES: Final = re.compile(r'[\s"<>\\]')
# RFC 3966 §3 visual separators, and blanks.
_DIALLED: Final = re.compile(r"\+?[0-9().\- ]*[0-9][0-9().\- ]*", re.ASCII)
_FORMATTING: Final = str.maketrans("", "", "()-. ")
_ASCII_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class Address(NamedTuple):
    """An address in canonical form."""

    local: str
    """As written, nested addresses with ``%``; empty for a domain alone."""
    domain: str
    """Lower case; empty for the Main Domain; an IP address in brackets."""
    port: int = 0
    """Port written after the domain, 0 for none."""

    def __str__(self) -> str:
        local = self.local
        if _NEEDS_QUOTES.search(local):
            escaped = local.replace("\\", "\\\\").replace('"', '\\"')
            local = f'"{escaped}"'
        if not self.domain:
            return local
        if self.port:
            stem = self.domain.removesuffix("._via")
            via = self.domain[len(stem) :]
            return f"{local}@{stem}:{self.port}{via}"
        return f"{local}@{self.domain}"


class LocalParts(NamedTuple):
    """What a local part says (Router reference §1.2, §1.3)."""

    name: str
    """The object looked up; empty in ``service{12}#``, which means the caller."""
    detail: str | None = None
    """Mailbox or application before ``#``; None without ``#``."""
    parameters: tuple[str, ...] | None = None
    """Of an application; None without ``{}``."""


def fold_case(text: str) -> str:
    """Lower case of ASCII letters only: the length stays, so captured text can be cut by index."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def parse_address(text: str) -> Address:
    """Read an address. Raises :class:`AddressError`.

    A scheme (``sip:``, ``mailto:`` …) in front is dropped, and with it URI parameters behind the
    domain, which are not part of a routed address (Router reference §8).
    """
    plain = _PLAIN.fullmatch(text)
    if plain is not None and len(text) <= MAX_ADDRESS:
        local, domain = plain.groups()
        if domain is None:
            return Address(local, "")
        if domain[-1] not in "0123456789" and len(domain) <= MAX_DOMAIN:
            return Address(local, domain.lower())
    return _parse(text)


def address_of(user: str, host: str) -> Address:
    """The address of a URI: its user part with escapes decoded, its host without brackets.

    Raises :class:`AddressError` for a user part that no address can have.
    """
    if user and _PLAIN_LOCAL.fullmatch(user) is None:
        if len(user) > MAX_ADDRESS or _CONTROL.search(user) is not None:
            raise AddressError(user, 1, f"at most {MAX_ADDRESS} characters that can be printed")
        user = _canonical_local(user)
    if host[-1:] in _DIGITS_AND_COLON and (_NUMERIC.fullmatch(host) or ":" in host):
        host = f"[{host}]"
    return Address(user, host)


def _parse(text: str) -> Address:
    stripped = text.strip()
    offset = len(text) - len(text.lstrip()) + 1
    if not stripped:
        raise AddressError(text, 1, "an address such as name@example.com")
    if len(stripped) > MAX_ADDRESS:
        raise AddressError(text, MAX_ADDRESS + 1, f"at most {MAX_ADDRESS} characters")
    control = _CONTROL.search(stripped)
    if control is not None:
        raise AddressError(text, offset + control.start(), "a character that can be printed")
    inner = stripped
    if inner[0] == "<" and inner[-1] == ">":
        inner = inner[1:-1]
        offset += 1
    if inner.startswith("@"):
        return _source_route(text, inner, offset)
    scheme = _SCHEME.match(inner)
    if scheme is not None:
        inner = inner[scheme.end() :]
        offset += scheme.end()
        at = inner.rfind("@")
        inner = inner[: at + 1] + re.split("[;?]", inner[at + 1 :], maxsplit=1)[0]
    return _split(text, inner, offset)


def _source_route(text: str, inner: str, offset: int) -> Address:
    """``@a,@b:user@c``: through a, then b (RFC 5321 §4.1.2, A-d-l)."""
    route, colon, rest = inner.partition(":")
    hops = [hop.strip() for hop in route.split(",")]
    if not colon or not rest or any(hop[:1] != "@" for hop in hops):
        raise AddressError(text, offset, "a source route such as <@first.dom,@next.dom:name@dom>")
    last = _split(text, rest, offset + len(route) + 1)
    domains = [_domain(text, hop[1:], offset)[0] for hop in hops]
    local = _nest(last.local, last.domain or "localhost")
    for domain in reversed(domains[1:]):
        local = _nest(local, domain)
    return Address(local, domains[0])


def _nest(local: str, domain: str) -> str:
    return f"{local}%{domain}"


def _split(text: str, inner: str, offset: int) -> Address:
    """Split at the last ``@`` that does not stand in parameters or quotes."""
    quoted = _QUOTED.match(inner)
    if quoted is not None and inner[quoted.end() : quoted.end() + 1] in ("", "@"):
        local = re.sub(r"\\(.)", r"\1", quoted.group(1))
        if not local:
            raise AddressError(text, offset, "something between the quotes")
        domain_text = inner[quoted.end() + 1 :]
        if not domain_text and inner.endswith("@"):
            raise AddressError(text, offset + len(inner), "a domain after '@'")
        domain, port = _domain(text, domain_text, offset + quoted.end() + 1)
        return Address(_canonical_local(local), domain, port)
    start = separators_from(inner)
    at = inner.rfind("@", start)
    if at >= 0:
        local = inner[:at]
        if at == len(inner) - 1:
            raise AddressError(text, offset + at + 1, "a domain after '@'")
        domain, port = _domain(text, inner[at + 1 :], offset + at + 1)
    else:
        bang = inner.find("!", start)
        if bang > 0 and start == 0:
            # d1!d2!local: the first is the next hop.
            domain, port = _domain(text, inner[:bang], offset)
            local = inner[bang + 1 :]
        else:
            local, domain, port = inner, "", 0
    if not local:
        raise AddressError(text, offset, "a name before '@'")
    bad = re.search(r'[\s"<>\\]', local)
    if bad is not None:
        raise AddressError(
            text, offset + bad.start(), f"no {bad.group()!r} here (a quoted local part may have it)"
        )
    return Address(_canonical_local(local), domain, port)


def _canonical_local(local: str) -> str:
    """Nested addresses in ``%`` form; ``d1!d2!user`` becomes ``user%d2%d1``."""
    start = separators_from(local)
    head, rest = local[:start], local[start:]
    if "!" in rest:
        *path, last = rest.split("!")
        rest = "%".join((last, *(hop for hop in reversed(path) if hop)))
    return head + rest.replace("@", "%")


def separators_from(local: str) -> int:
    """Where separators count: after the ``name{parameters}#`` of an application."""
    if "{" not in local:
        return 0
    found = _APPLICATION.match(local)
    return 0 if found is None else found.end()


def _domain(text: str, domain: str, offset: int) -> tuple[str, int]:
    """A domain part with its port. Raises :class:`AddressError` with the place in `text`."""
    port = 0
    found = _PORT.search(domain)
    if found is not None and (domain[0] == "[" or domain.count(":") == 1):
        port = int(found.group(1))
        if not 1 <= port <= MAX_PORT:
            raise AddressError(text, offset + found.start() + 1, f"a port from 1 to {MAX_PORT}")
        domain = domain[: found.start()] + (found.group(2) or "")
    try:
        return (normal_domain(domain), port) if domain else ("", 0)
    except ValueError as error:
        raise AddressError(text, offset, str(error)) from None


def normal_domain(text: str) -> str:
    """A domain name or IP literal in canonical form. Raises ``ValueError`` saying what it wants."""
    name = text.lower().removesuffix(".")
    if name[:1] == "[" and name[-1:] == "]":
        return f"[{_ip(name[1:-1].removeprefix('ipv6:'))}]"
    if _NUMERIC.fullmatch(name) or name.count(":") >= 2:
        return f"[{_ip(name)}]"
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError(_DOMAIN_EXPECTED) from None
    if len(name) <= MAX_DOMAIN and _DOMAIN.fullmatch(name):
        return name
    raise ValueError(_DOMAIN_EXPECTED)


_DOMAIN_EXPECTED: Final = "a domain such as example.com or [192.0.2.1]"


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("an IP address such as 192.0.2.1 or [2001:db8::1]") from None


def bare(domain: str) -> str:
    """A domain without the brackets of an IP literal, as directories know it."""
    return domain[1:-1] if domain[:1] == "[" else domain


def nested_at(local: str) -> int:
    """Index of the ``%`` before the next domain of a nested address, -1 if it is none."""
    return local.rfind("%", separators_from(local))


def unnested(local: str) -> Address | None:
    """The address inside a local part, None if it is simple. Raises :class:`AddressError`."""
    at = nested_at(local)
    if at < 0:
        return None
    if at == 0 or at == len(local) - 1:
        raise AddressError(local, at + 1, "a name before '%' and a domain after it")
    domain, port = _domain(local, local[at + 1 :], at + 2)
    return Address(local[:at], domain, port)


def standard_form(local: str) -> str:
    """The nested address of a local part as others read it: ``a%dom`` becomes ``a@dom``."""
    at = nested_at(local)
    return local if at <= 0 else f"{local[:at]}@{local[at + 1 :]}"


def split_local(local: str) -> LocalParts | None:
    """The parts of a local part without ``%``; None if its ``#`` or braces make no sense."""
    if "#" not in local:
        return LocalParts(local)
    left, _, name = local.rpartition("#")
    found = _DETAIL.fullmatch(left)
    if found is None:
        return None
    detail, inside = found.groups()
    if inside is None:
        return LocalParts(name, detail)
    if not detail:
        return None
    return LocalParts(name, detail, tuple(inside.split(",")) if inside else ())


def dialled_number(local: str) -> str:
    """What a dialled string with separators means, ``7(123)456-78-90``; empty if it is none.

    Digits with a leading ``+`` if there was one (Router reference §1.5, RFC 3966 §5.1.1).
    """
    if _DIALLED.fullmatch(local) is None:
        return ""
    return local.translate(_FORMATTING)


def qualified(text: str, domain: str, owner: str = "") -> str:
    """An address as the owner of a rule, forwarder or group means it: absolute.

    Without a domain it is in `domain`, the owner's; ``#app`` is the application `app` on behalf of
    `owner`, an account name (Router reference §1.3). Raises :class:`AddressError`.
    """
    address = parse_address(text)
    local = address.local
    if local[0] == "#" and owner and not address.domain:
        return str(Address(f"{local[1:]}#{owner}", domain))
    if address.domain or nested_at(local) >= 0:
        return str(address)
    return str(Address(local, domain))
