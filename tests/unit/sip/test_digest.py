"""Digest: published vectors, nonces that cannot be replayed, both sides against each other."""

from __future__ import annotations

import pytest

from sip.digest import (
    ALGORITHMS,
    NonceBook,
    NonceVerdict,
    authorize,
    build_challenges,
    credentials_for,
    ha1,
    parse_authorization,
    parse_challenge,
    response_hash,
    select_challenge,
    uri_matches,
    verify,
)
from sip.message import Request, Response

OK, STALE, REPLAY, UNKNOWN = (
    NonceVerdict.OK,
    NonceVerdict.STALE,
    NonceVerdict.REPLAY,
    NonceVerdict.UNKNOWN,
)
IP = "192.0.2.7"


# --- arithmetic ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "secret", "response"),
    [
        ("MD5", "84f80957dacc3215381c5e933cc8476d", "00aeaccaa2c2b43fa3a40842db8a28f9"),
        (
            "SHA-256",
            "36930b92f731fa2792e53a09644a07a3e0b3341ab948a666674c71e320eb9bf9",
            "9d30f3fab5121e8f981223f22cb96e896531dca4303476b4f9be6583b22d50c4",
        ),
    ],
)
def test_register_vector(algorithm: str, secret: str, response: str) -> None:
    assert ha1(algorithm, "401", "corp1.un", "tpassword401") == secret
    found = response_hash(
        algorithm,
        secret,
        "REGISTER",
        "sip:corp1.un",
        "n0nce0001",
        nc="00000001",
        cnonce="c0ffee01",
        qop="auth",
    )
    assert found == response


def test_without_qop() -> None:
    secret = ha1("MD5", "401", "corp1.un", "tpassword401")
    found = response_hash("MD5", secret, "REGISTER", "sip:corp1.un", "n0nce0001")
    assert found == "be226a57b4770486d3e79cd3e5b356ad"


def test_rfc_2617_vector() -> None:
    """RFC 2617 §3.5."""
    secret = ha1("MD5", "Mufasa", "testrealm@host.com", "Circle Of Life")
    found = response_hash(
        "MD5",
        secret,
        "GET",
        "/dir/index.html",
        "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        nc="00000001",
        cnonce="0a4f113b",
        qop="auth",
    )
    assert found == "6629fae49393a05397450978507c4ef1"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc_7616_vector(algorithm: str, response: str) -> None:
    """RFC 7616 §3.9.1."""
    found = response_hash(
        algorithm,
        ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life"),
        "GET",
        "/dir/index.html",
        "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        nc="00000001",
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        qop="auth",
    )
    assert found == response


def test_sha_512_256_is_not_a_truncated_sha_512() -> None:
    """The example of RFC 7616 §3.9.2 is one and is wrong; this is FIPS 180-4, by OpenSSL."""
    assert ha1("SHA-512-256", "u", "r", "p") == (
        "d5e8e73ba347b9adf0e47a9ace43b7082abc8d27272e387d1d9ce24425687404"
    )


# --- challenge and credentials -------------------------------------------------------------------


def test_challenges_strongest_first() -> None:
    """RFC 8760 §2.3: one header per algorithm."""
    headers = build_challenges("corp1.un", "n1")
    assert headers == (
        (
            "WWW-Authenticate",
            'Digest realm="corp1.un", nonce="n1", qop="auth", algorithm=SHA-256',
        ),
        ("WWW-Authenticate", 'Digest realm="corp1.un", nonce="n1", qop="auth", algorithm=MD5'),
    )
    ((name, value),) = build_challenges("r", "n", ("MD5",), stale=True, proxy=True)
    assert name == "Proxy-Authenticate"
    assert parse_challenge(value).stale
    assert ALGORITHMS == ("SHA-256", "MD5")


def exchange(
    algorithms: tuple[str, ...] = ALGORITHMS, *, proxy: bool = False, nc: int = 1
) -> Request:
    """A request that answers our own challenge."""
    response = Response(
        407 if proxy else 401, "", build_challenges("r", "nonce", algorithms, proxy=proxy)
    )
    chosen = select_challenge(response)
    assert chosen is not None
    header, challenge = chosen
    value = authorize(challenge, "REGISTER", "sip:r", "401", "pw", cnonce="c", nc=nc)
    return Request("REGISTER", "sip:r", ((header, value),))


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-512-256", "MD5"])
@pytest.mark.parametrize("proxy", [False, True])
def test_client_and_server_agree(algorithm: str, proxy: bool) -> None:
    request = exchange((algorithm,), proxy=proxy, nc=10)
    header = "Proxy-Authorization" if proxy else "Authorization"
    credentials = credentials_for(request, "r", header)
    assert credentials is not None
    assert (credentials.algorithm, credentials.nc_text) == (algorithm, "0000000a")
    secret = ha1(algorithm, "401", "r", "pw")
    assert verify(credentials, "REGISTER", secret)
    assert not verify(credentials, "INVITE", secret)
    assert not verify(credentials, "REGISTER", ha1(algorithm, "401", "r", "other"))
    assert uri_matches(credentials, request)


def test_client_takes_the_topmost_it_knows() -> None:
    headers = (
        ("WWW-Authenticate", "Basic realm=x"),
        ("WWW-Authenticate", 'Digest realm="open'),
        ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-3'),
        ("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth-int", algorithm=MD5'),
        ("WWW-Authenticate", 'Digest realm="r", nonce="n2", algorithm=MD5'),
        ("WWW-Authenticate", 'Digest realm="r", nonce="n3", algorithm=SHA-256'),
    )
    chosen = select_challenge(Response(401, "", headers))
    assert chosen is not None
    assert chosen[1].nonce == "n2"
    assert select_challenge(Response(401, "", headers[:4])) is None
    assert select_challenge(Response(407, "", headers)) is None


def test_client_answers_an_old_server() -> None:
    """RFC 2069: no qop, no algorithm; opaque is returned."""
    challenge = parse_challenge('Digest realm="r", nonce="n", opaque="o"')
    value = authorize(challenge, "INVITE", "sip:b", "u", "p", cnonce="c")
    credentials = parse_authorization(value)
    assert credentials.opaque == "o"
    assert "qop" not in credentials.params
    assert "algorithm" not in credentials.params
    assert credentials.response == response_hash(
        "MD5", ha1("MD5", "u", "r", "p"), "INVITE", "sip:b", "n"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("qop=auth", "qop=auth-int"),
        (", qop=auth", ""),
        ("algorithm=SHA-256", "algorithm=SHA-1"),
        ('cnonce="c"', 'cnonce=""'),
        ('response="', 'response="\udcff'),
        ("nc=00000001", "nc=00000002"),
    ],
)
def test_credentials_that_prove_nothing(old: str, new: str) -> None:
    value = exchange().all("Authorization")[0]
    assert old in value
    credentials = parse_authorization(value.replace(old, new))
    assert not verify(credentials, "REGISTER", ha1("SHA-256", "401", "r", "pw"))


def test_an_empty_client_nonce_is_refused_even_if_right() -> None:
    challenge = parse_challenge(build_challenges("r", "n")[0][1])
    value = authorize(challenge, "REGISTER", "sip:r", "401", "pw", cnonce="")
    assert not verify(parse_authorization(value), "REGISTER", ha1("SHA-256", "401", "r", "pw"))


def test_foreign_credentials_are_passed_over() -> None:
    ours = exchange().all("Authorization")[0]
    request = Request(
        "REGISTER",
        "sip:r",
        (
            ("Authorization", "NoOneKnowsThisScheme opaque-data=here"),
            ("Authorization", 'Digest realm="elsewhere", nonce="n"'),
            ("Authorization", 'Digest realm="open'),
            ("Authorization", ours),
        ),
    )
    found = credentials_for(request, "r")
    assert found is not None
    assert str(found) == ours
    assert credentials_for(request, "r2") is None


@pytest.mark.parametrize(
    ("uri", "requested", "matches"),
    [
        ("sip:r", "sip:r:5060;transport=udp", True),
        ("sip:%34%30%31@r", "sip:401@R", True),
        ("sip:402@r", "sip:401@r", False),
        ("sip:401@other", "sip:401@r", False),
        ("tel:1", "tel:1", True),
        ("tel:1", "sip:1@r", False),
        ("nonsense", "sip:r", False),
    ],
)
def test_uri_is_compared_loosely(uri: str, requested: str, matches: bool) -> None:
    credentials = parse_authorization(f'Digest realm="r", uri="{uri}"')
    assert uri_matches(credentials, Request("REGISTER", requested, ())) is matches


# --- nonces --------------------------------------------------------------------------------------


@pytest.fixture
def book() -> NonceBook:
    return NonceBook(b"s" * 32, life_s=300, max_entries=4)


def test_nonce_lives_and_dies(book: NonceBook) -> None:
    nonce = book.issue("r", IP, 100.0)
    assert book.check(nonce, "r", IP, 1, 100.0) is OK
    assert book.check(nonce, "r", IP, 2, 400.0) is OK
    assert book.check(nonce, "r", IP, 3, 400.1) is STALE
    assert len(book) == 0
    assert book.check(nonce, "r", IP, 1, 99.0) is STALE  # not from the future either


def test_nonces_differ_within_one_instant(book: NonceBook) -> None:
    assert len({book.issue("r", IP, 1.0) for _ in range(100)}) == 100


def test_issuing_costs_no_memory(book: NonceBook) -> None:
    for _ in range(1000):
        book.issue("r", IP, 1.0)
    assert len(book) == 0


def test_count_is_taken_once(book: NonceBook) -> None:
    nonce = book.issue("r", IP, 0.0)
    order = [1, 3, 2, 70, 69, 10]
    assert [book.check(nonce, "r", IP, nc, 1.0) for nc in order] == [OK] * 6
    assert [book.check(nonce, "r", IP, nc, 1.0) for nc in [*order, 6, 7]] == [
        *([REPLAY] * 6),
        REPLAY,  # 64 behind: cannot be told from a replay
        OK,
    ]
    assert book.check(nonce, "r", IP, 5000, 1.0) is OK
    assert book.check(nonce, "r", IP, 70, 1.0) is REPLAY
    assert book.check(nonce, "r", IP, 4999, 1.0) is OK
    assert book.check(nonce, "r", IP, 4999, 1.0) is REPLAY


@pytest.mark.parametrize(
    ("realm", "ip", "nc"), [("other", IP, 1), ("r", "192.0.3.7", 1), ("r", IP, 0), ("r", IP, -1)]
)
def test_nonce_of_somebody_else(book: NonceBook, realm: str, ip: str, nc: int) -> None:
    nonce = book.issue("r", IP, 0.0)
    assert book.check(nonce, realm, ip, nc, 0.0) is UNKNOWN


@pytest.mark.parametrize("nonce", ["", "n0nce0001", "ключ", "A" * 32, "====", "A" * 5000])
def test_nonce_that_is_none(book: NonceBook, nonce: str) -> None:
    assert book.check(nonce, "r", IP, 1, 0.0) is UNKNOWN


def test_every_bit_of_a_nonce_counts(book: NonceBook) -> None:
    nonce = book.issue("r", IP, 0.0)
    for index, letter in enumerate(nonce):
        forged = nonce[:index] + ("A" if letter != "A" else "B") + nonce[index + 1 :]
        assert book.check(forged, "r", IP, 1, 0.0) is UNKNOWN
    assert NonceBook(b"t" * 32).check(nonce, "r", IP, 1, 0.0) is UNKNOWN


def test_neighbours_share_a_network(book: NonceBook) -> None:
    """Carrier NAT may show another address of the same network."""
    assert book.check(book.issue("r", "192.0.2.7", 0.0), "r", "192.0.2.99", 1, 0.0) is OK
    v6 = book.issue("r", "2001:db8:1:2::3", 0.0)
    assert book.check(v6, "r", "2001:db8:1:9::4", 1, 0.0) is OK
    assert book.check(v6, "r", "2001:db8:2::3", 2, 0.0) is UNKNOWN
    odd = book.issue("r", "no:address", 0.0)
    assert book.check(odd, "r", "no:address", 1, 0.0) is OK


def test_full_book_forgets_safely(book: NonceBook) -> None:
    """What is pushed out becomes stale, never fresh again; so does all issued before it."""
    unused = book.issue("r", IP, 0.0)
    nonces = [book.issue("r", IP, 1.0 + n) for n in range(5)]
    assert [book.check(nonce, "r", IP, 1, 10.0) for nonce in nonces] == [OK] * 5
    assert len(book) == 4
    assert book.check(nonces[0], "r", IP, 1, 10.0) is STALE
    assert book.check(unused, "r", IP, 1, 10.0) is STALE
    assert book.check(nonces[1], "r", IP, 1, 10.0) is REPLAY
    assert book.check(nonces[1], "r", IP, 2, 10.0) is OK


def test_expired_entries_make_room(book: NonceBook) -> None:
    old = [book.issue("r", IP, 0.0) for _ in range(4)]
    assert [book.check(nonce, "r", IP, 1, 0.0) for nonce in old] == [OK] * 4
    late = book.issue("r", IP, 299.0)
    fresh = book.issue("r", IP, 301.0)
    assert book.check(fresh, "r", IP, 1, 301.0) is OK
    assert len(book) == 1
    assert book.check(late, "r", IP, 1, 301.0) is OK  # nothing alive was forgotten
