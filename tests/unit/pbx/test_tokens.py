"""``pbx.tokens`` and ``pbx.domain.tokens``: making, checking, revoking."""

from __future__ import annotations

from itertools import count

import pytest

from pbx.commands import Administration
from pbx.eventlog import MemoryLog
from pbx.kernel.errors import DomainError
from pbx.tokens import Issued, Principal, TokenDirectory, create_token, revoke_token

NOW = 1_000


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


def made(log: MemoryLog, *scopes: str, domain: str = "", expires_ns: int = 0) -> Issued:
    number = log.head() + 1
    return create_token(
        log,
        actor="test",
        name=" billing ",
        scopes=scopes or ("events:read",),
        domain=domain,
        expires_ns=expires_ns,
        now_ns=NOW,
        random=lambda length: number.to_bytes(length, "big"),
    )


def test_a_token_is_shown_once_and_only_its_hash_is_kept(log: MemoryLog) -> None:
    issued = made(log)
    prefix, token_id, secret = issued.text.split("_")
    assert (prefix, token_id, len(secret)) == ("ringlog", issued.state.token_id, 64)
    [record] = log.read()
    assert secret.encode() not in record.data
    assert issued.state.secret_sha256.encode() not in record.data, "the hash is sealed"
    assert "secret" not in repr(issued.state)


def test_who_shows_it_is_known(log: MemoryLog) -> None:
    issued = made(log, "events:read", "cdrs:read")
    principal = TokenDirectory(log).check(issued.text, NOW)
    assert principal == Principal(
        issued.state.token_id, "billing", frozenset(("events:read", "cdrs:read"))
    )
    assert principal.actor == f"token:{issued.state.token_id}"
    assert principal.may("cdrs:read")
    assert not principal.may("admin")


def test_two_tokens_are_told_apart(log: MemoryLog) -> None:
    first, second = made(log), made(log)
    directory = TokenDirectory(log)
    for issued in (first, second):
        found = directory.check(issued.text, NOW)
        assert found is not None
        assert found.token_id == issued.state.token_id
    crossed = first.text[:24] + second.text[24:]
    assert directory.check(crossed, NOW) is None


def test_a_revoked_token_opens_nothing_and_its_hash_is_destroyed(log: MemoryLog) -> None:
    issued = made(log)
    directory = TokenDirectory(log)
    principal = directory.check(issued.text, NOW)
    assert principal is not None
    assert directory.still(principal, NOW)
    erased: list[str] = []
    revoke_token(log, issued.state.token_id, actor="test", erase=erased.append)
    assert directory.check(issued.text, NOW) is None
    assert not directory.still(principal, NOW)
    assert not directory.any_usable(NOW)
    assert erased == [f"token/{issued.state.token_id}"]
    head = log.head()
    revoke_token(log, issued.state.token_id, actor="test", erase=erased.append)
    assert log.head() == head, "what is closed needs no closing"


def test_an_expired_token_opens_nothing(log: MemoryLog) -> None:
    issued = made(log, expires_ns=NOW + 5)
    directory = TokenDirectory(log)
    assert directory.check(issued.text, NOW + 4) is not None
    assert directory.check(issued.text, NOW + 5) is None
    assert directory.any_usable(NOW + 4)
    assert not directory.any_usable(NOW + 5)


def test_a_directory_without_keys_lets_nobody_in(log: MemoryLog) -> None:
    """The log of the feeds is opened so."""
    from pbx.eventlog import Codec
    from pbx.eventlog.record import Decision

    issued = made(log)
    keyless = MemoryLog(codec=Codec())
    keyless.commit([Decision(record.stream, 0, [record.row]) for record in log.read()])
    assert TokenDirectory(keyless).check(issued.text, NOW) is None
    assert len(TokenDirectory(keyless).all()) == 1


def test_a_token_for_a_domain(log: MemoryLog) -> None:
    Administration(log, actor="test").create_domain("a.example")
    issued = made(log, domain="A.example.")
    principal = TokenDirectory(log).check(issued.text, NOW)
    assert principal is not None
    assert principal.domain == "a.example"
    assert log.at(log.head()).tenant == "a.example"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"scopes": ("everything",)}, "'everything' is no scope: choose from events:read"),
        ({"domain": "none.example"}, "there is no domain none.example"),
        ({"domain": "not a domain"}, "is no domain name"),
        ({"expires_ns": NOW}, "expired already"),
    ],
)
def test_what_cannot_be_is_refused(log: MemoryLog, wanted: dict[str, object], words: str) -> None:
    scopes = wanted.pop("scopes", ())
    with pytest.raises(DomainError, match=words):
        made(log, *scopes, **wanted)  # type: ignore[misc, arg-type]
    assert log.head() == 0


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 129])
def test_a_name_says_something(log: MemoryLog, name: str) -> None:
    with pytest.raises(DomainError, match="name"):
        create_token(
            log,
            actor="test",
            name=name,
            scopes=("admin",),
            now_ns=NOW,
            random=lambda length: bytes(length),
        )


def test_a_domain_has_no_administrators_of_everything(log: MemoryLog) -> None:
    Administration(log, actor="test").create_domain("a.example")
    with pytest.raises(DomainError, match="for all"):
        made(log, "admin", domain="a.example")


def test_an_unknown_token_cannot_be_revoked(log: MemoryLog) -> None:
    with pytest.raises(DomainError, match="no token feed"):
        revoke_token(log, "feed", actor="test", erase=print)


def test_an_id_that_is_taken_is_not_given_twice(log: MemoryLog) -> None:
    numbers = count()

    def random(length: int) -> bytes:
        next(numbers)
        return bytes(length)

    arguments = {"actor": "t", "name": "t", "scopes": ("admin",), "now_ns": NOW, "random": random}
    create_token(log, **arguments)  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="exists already"):
        create_token(log, **arguments)  # type: ignore[arg-type]


def test_a_scope_may_include_another(log: MemoryLog) -> None:
    principal = TokenDirectory(log).check(made(log, "config:write").text, NOW)
    assert principal is not None
    assert principal.may("config:read")
    assert not principal.may("calls:read")
    assert not principal.may("admin")


def test_a_token_with_the_rights_of_an_account_is_for_its_domain(log: MemoryLog) -> None:
    administration = Administration(log, actor="test")
    administration.create_domain("example.com")
    administration.create_domain("example.net")
    administration.create_account("ann@example.com")

    def with_account(account: str, domain: str = "", *scopes: str) -> Issued:
        return create_token(
            log,
            actor="test",
            name="crm",
            scopes=scopes or ("config:write",),
            domain=domain,
            account=account,
            now_ns=NOW,
            random=lambda length: b"7" * length,
        )

    with pytest.raises(DomainError, match=r"no account eve@example\.com"):
        with_account("eve@example.com")
    with pytest.raises(DomainError, match=r"is not of the domain example\.net"):
        with_account("ann@example.com", "example.net")
    with pytest.raises(DomainError, match="cannot have the scope admin"):
        with_account("ann@example.com", "", "admin")
    with pytest.raises(DomainError, match="--account"):
        with_account("", "example.com")
    issued = with_account("Ann@Example.com")
    principal = TokenDirectory(log).check(issued.text, NOW)
    assert principal is not None
    assert (principal.domain, principal.account) == ("example.com", "ann@example.com")
