"""Who may call, under which name, and how much: authentication, privacy, limits, stopping."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from pbx.calls.directory import Account, SecretPending
from pbx.domain.nodes import AuthFailed, NodeAlive, NodeStopped, SourceBlocked
from sip.message import Response
from tests.unit.pbx.calls.lab import Lab, ScriptedMedia

TALKING = """
    alice > INVITE bob a1
    bob < INVITE a1
    bob > 200 b1
    bob < ACK
    alice < 200 b1
    alice > ACK
"""
END = """
    alice > BYE
    alice < 200 BYE
    bob < BYE
    bob > 200
"""
REFUSED = """
    bob > 486
    bob < ACK
    alice < 486
"""


def _challenge(lab: Lab, name: str) -> Response:
    """The 401 that waits in a dialog."""
    message = lab.dialogs[name].inbox.pop(0)
    assert isinstance(message, Response)
    assert message.status == 401, message.to_bytes()
    lab.phones[name.partition(".")[0]]._acknowledge_failure(lab.dialogs[name], message)
    return message


def _again(lab: Lab, name: str, authorization: str, lines: str = "") -> None:
    dialog = lab.dialogs[name]
    uri = lab.sent_uri[dialog.call_id]
    dialog.phone.request(dialog, "INVITE", uri, authorization + lines)


# Authentication.


def test_challenge() -> None:
    """401 names realm and algorithm; the answer to it is taken."""
    lab = Lab()
    lab.play("alice > INVITE bob a1 raw")
    challenge = _challenge(lab, "alice")
    value = challenge.first("WWW-Authenticate") or ""
    assert value.startswith('Digest realm="example.org", nonce="')
    assert "algorithm=MD5" in value
    assert "stale" not in value
    _again(lab, "alice", lab.phones["alice"].credentials(challenge))
    lab.play("""
        bob < INVITE
        bob > 486
        bob < ACK
        alice < 486
    """)
    lab.end()


def test_stale_and_replayed_nonces() -> None:
    """Both get a fresh challenge with stale=true: the password is right (RFC 7616 §3.3)."""
    lab = Lab()
    alice = lab.phones["alice"]
    lab.play("alice > INVITE bob a1 raw")
    authorization = alice.credentials(_challenge(lab, "alice"))
    _again(lab, "alice", authorization)
    lab.play("""
        bob < INVITE
        bob > 486
        bob < ACK
        alice < 486
    """)
    _again(lab, "alice", authorization)
    replayed = _challenge(lab, "alice")
    assert "stale=true" in (replayed.first("WWW-Authenticate") or "")
    authorization = alice.credentials(replayed)
    lab.advance(130)
    _again(lab, "alice", authorization)
    assert "stale=true" in (_challenge(lab, "alice").first("WWW-Authenticate") or "")
    assert not lab.log.of(AuthFailed)
    lab.end()


def test_wrong_password_and_unknown_user_look_the_same() -> None:
    """Byte for byte but for what is random in any answer."""
    lab = Lab()
    seen = []
    for number, user in enumerate(("alice", "nobody"), 1):
        name = f"alice.{number}"
        lab.play(f"{name} > INVITE bob a1 raw | From: <sip:{user}@example.org>")
        first = _challenge(lab, name)
        _again(lab, name, lab.phones["alice"].credentials(first, user=user, password="wrong"))
        second = _challenge(lab, name)
        seen.append([_shape(first), _shape(second)])
    assert seen[0] == seen[1]
    assert [event.account for event in lab.log.of(AuthFailed)] == [
        "alice@example.org",
        "nobody@example.org",
    ]
    lab.end()


def _shape(response: Response) -> list[tuple[str, int]]:
    return [
        (name, 0 if name in ("From", "Call-ID", "Via") else len(value))
        for name, value in response.headers
    ]


def test_lock_out() -> None:
    """After ten wrong answers even the right one is not looked at, for a while."""
    lab = Lab()
    alice = lab.phones["alice"]
    for number in range(10):
        name = f"alice.{number}"
        lab.play(f"{name} > INVITE bob a1 raw")
        _again(lab, name, alice.credentials(_challenge(lab, name), password="wrong"))
        _challenge(lab, name)
    (blocked,) = lab.log.of(SourceBlocked)
    assert blocked.source == alice.host
    lab.play("alice > INVITE bob a1 raw")
    _again(lab, "alice", alice.credentials(_challenge(lab, "alice")))
    _challenge(lab, "alice")
    assert len(lab.log.of(AuthFailed)) == 10
    lab.advance(301)
    lab.play("""
        alice.ok > INVITE bob a1
        bob < INVITE a1
        bob > 486
        bob < ACK
        alice.ok < 486
    """)
    lab.end()


def test_account_is_locked_but_not_where_it_is_registered() -> None:
    """Guessing from many addresses locks the account; its own phone goes on."""
    lab = Lab(failed_logins=2)
    for number in range(10):
        phone = lab.add(f"thief{number}", "alice", bind=False)
        name = phone.name
        lab.play(f"{name} > INVITE bob a1 raw")
        _again(lab, name, phone.credentials(_challenge(lab, name), password="wrong"))
        _challenge(lab, name)
    assert lab.log.of(SourceBlocked)[-1].source == "alice@example.org"
    other = lab.add("other", "alice", bind=False)
    lab.play("other > INVITE bob a1 raw")
    _again(lab, "other", other.credentials(_challenge(lab, "other")))
    _challenge(lab, "other")
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
    """)
    lab.play(REFUSED)
    lab.end()


def test_wrong_from() -> None:
    """An account calls under its own name only."""
    lab = Lab("alice bob")
    lab.play("""
        alice > INVITE bob a1 | From: <sip:bob@example.org>
        alice < 403
        alice.2 > INVITE bob a1 | From: <sip:alice@elsewhere.example>
        alice.2 < 403
        alice.3 > INVITE bob a1 | From: <tel:+49>
        alice.3 < 403
    """)
    lab.end()
    assert lab.story() == []


def test_credentials_that_cannot_be_used() -> None:
    """For another realm, or unreadable: like none."""
    lab = Lab()
    for number, value in enumerate(('Digest realm="x", nonce="1"', "Digest", "Basic eA=="), 1):
        name = f"alice.{number}"
        lab.play(f"{name} > INVITE bob a1 raw | Authorization: {value}")
        lab.play(f"{name} < 401 | WWW-Authenticate: Digest realm=")
    lab.end()


@pytest.mark.parametrize(
    ("uri", "taken"),
    [
        ("sip:bob@example.org", True),
        ("sip:192.0.2.1:5060", True),
        ("sip:elsewhere.example", False),
        ("tel:1", False),
        ("nonsense", False),
    ],
)
def test_what_the_digest_was_made_for(uri: str, taken: bool) -> None:
    """Any name of ours may stand for any other, nobody else's may."""
    lab = Lab()
    lab.play("alice > INVITE bob a1 raw")
    dialog = lab.dialogs["alice"]
    sent = lab.sent_uri[dialog.call_id]
    challenge = _challenge(lab, "alice")
    lab.sent_uri[dialog.call_id] = uri
    authorization = lab.phones["alice"].credentials(challenge)
    lab.sent_uri[dialog.call_id] = sent
    _again(lab, "alice", authorization)
    if taken:
        lab.play("bob < INVITE")
        lab.play(REFUSED)
    else:
        _challenge(lab, "alice")
        assert len(lab.log.of(AuthFailed)) == 1
    lab.end()


# Trusted sources and strangers.


def test_trusted_source() -> None:
    """Calls our accounts without credentials, and others through us (Router reference §7)."""
    lab = Lab("bob", client_ips=(ip_network("203.0.113.200/32"),))
    lab.add("gate", host="203.0.113.200")
    lab.add("out", bind=False)
    lab.outside["elsewhere.example"] = "out"
    lab.play("""
        gate > INVITE bob g1
        bob < INVITE g1 | From: <sip:gate@outside.example> | !P-Asserted-Identity
        bob > 486
        bob < ACK
        gate < 486
        gate.2 > INVITE sip:x@elsewhere.example g1
        out < INVITE g1 | Request-URI: sip:x@elsewhere.example | From: <sip:gate@outside.example>
        out > 486
        out < ACK
        gate.2 < 486
    """)
    lab.end()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("<sip:+4930@gate.example>", "P-Asserted-Identity: <sip:+4930@gate.example>"),
        ("<sip:", "!P-Asserted-Identity"),
    ],
)
def test_identity_asserted_by_a_trusted_source(value: str, told: str) -> None:
    """It is believed and told to our account, beside the From of the gateway's choice."""
    lab = Lab("bob", client_ips=(ip_network("203.0.113.200/32"),))
    lab.add("gate", host="203.0.113.200")
    lab.play(f"""
        gate > INVITE bob g1 | P-Asserted-Identity: {value}
        bob < INVITE g1 | From: <sip:gate@outside.example> | {told}
        bob > 486
        bob < ACK
        gate < 486
    """)
    lab.end()


def test_identity_asserted_by_anybody_else() -> None:
    """A spoofed one is dropped: the account's own takes its place."""
    lab = Lab()
    lab.play("""
        alice > INVITE bob a1 | P-Asserted-Identity: <sip:boss@example.org>
        bob < INVITE a1 | P-Asserted-Identity: <sip:alice@example.org>
    """)
    lab.play(REFUSED)
    lab.end()


def test_anonymous_takes_over_and_is_transferred() -> None:
    lab = Lab("alice bob carol")
    lab.play(
        TALKING
        + """
        carol > INVITE bob c1 replaces=bob | Privacy: id
        alice < reINVITE c1
        alice > 200 a2
        alice < ACK
        carol < 200 a2
        carol > ACK
        bob < BYE
        bob > 200
        alice > REFER bob
        alice < 202
        alice < NOTIFY text:SIP/2.0 100 Trying
        alice > 200
        bob.2 < INVITE c1 | From: "Anonymous" <sip:anonymous@anonymous.invalid>
        bob.2 > 486
        bob.2 < ACK
        alice < NOTIFY text:SIP/2.0 486 Whatever
        alice > 200
        alice > BYE
        alice < 200 BYE
        carol < BYE
        carol > 200
    """
    )
    lab.end()


def test_strangers() -> None:
    """Challenged unless calls from outside are taken; never under a name of ours."""
    lab = Lab("bob", outside_calls=True)
    lab.add("out")
    lab.play("""
        out > INVITE bob o1
        bob < INVITE o1 | From: <sip:out@outside.example>
        bob > 486
        bob < ACK
        out < 486
        out.2 > INVITE bob o1 raw | From: <sip:bob@example.org>
        out.2 < 401
        out.3 > INVITE sip:x@elsewhere.example o1 raw
        out.3 < 401
    """)
    lab.end()


# Privacy.


@pytest.mark.parametrize(
    "lines",
    [
        "Privacy: id",
        "Privacy: header; user",
        "Privacy: ID",
        'From: "Anonymous" <sip:anonymous@anonymous.invalid>',
    ],
)
def test_anonymous_caller(lines: str) -> None:
    """The callee learns nothing, the log everything (RFC 3323, RFC 3325 §7)."""
    lab = Lab()
    lab.play(f"""
        alice > INVITE bob a1 | {lines} | Subject: from alice | Call-Info: <http://alice>
        | Organization: Alice Ltd | Alert-Info: <x:y>
        bob < INVITE a1 | From: "Anonymous" <sip:anonymous@anonymous.invalid>
        | !P-Asserted-Identity | !Subject | !Call-Info | !Organization | Alert-Info: <x:y>
        | Contact: <sip:192.0.2.1:5060>
    """)
    lab.play(REFUSED)
    lab.end()
    started = lab.log.events[0][2]
    assert getattr(started, "account", "") == "alice@example.org"
    assert getattr(started, "asserted_identity", "") == "sip:alice@example.org"


def test_privacy_none() -> None:
    lab = Lab()
    lab.play("""
        alice > INVITE bob a1 | Privacy: none | From: "Alice \\"A\\"" <sip:Alice@example.org>
        bob < INVITE a1 | From: "Alice \\"A\\"" <sip:alice@example.org>
        | P-Asserted-Identity: <sip:alice@example.org>
    """)
    lab.play(REFUSED)
    lab.end()


def test_anonymous_stays_anonymous_when_transferred() -> None:
    lab = Lab("alice bob carol")
    lab.play("""
        alice > INVITE bob a1 | Privacy: id
        bob < INVITE a1
        bob > 200 b1
        bob < ACK
        alice < 200 b1
        alice > ACK
        bob > REFER carol
        bob < 202
        bob < NOTIFY text:SIP/2.0 100 Trying
        bob > 200
        carol < INVITE a1 | From: "Anonymous" <sip:anonymous@anonymous.invalid>
        | !P-Asserted-Identity
        carol > 486
        carol < ACK
        bob < NOTIFY text:SIP/2.0 486 Whatever
        bob > 200
    """)
    lab.play(END)
    lab.end()


# Limits.


def test_limit_of_the_caller() -> None:
    lab = Lab("alice bob carol")
    lab.limit("alice", 1)
    lab.play(
        TALKING
        + """
        alice.2 > INVITE carol a2
        alice.2 < 403
        """
        + END
        + """
        alice.3 > INVITE carol a3
        carol < INVITE a3
        carol > 486
        carol < ACK
        alice.3 < 486
    """
    )
    lab.end()
    assert "ended alice.2 403 limit/21 by server" in lab.story()


def test_limit_of_the_callee() -> None:
    """The default limit of the server counts where the account has none."""
    lab = Lab("alice bob carol", calls_per_account=1)
    lab.limit("alice", 9)
    lab.play(
        TALKING
        + """
        alice.2 > INVITE bob a2
        alice.2 < 486
        """
        + END
    )
    lab.end()
    assert "ended alice.2 486 limit/17 by server" in lab.story()


def test_limit_of_a_redirect_target() -> None:
    lab = Lab("alice bob carol")
    lab.limit("carol", 0)
    lab.play("""
        alice > INVITE bob a1
        bob < INVITE a1
        bob > 302 | Contact: <sip:carol@example.org>
        bob < ACK
        alice < 486
    """)
    lab.end()


def test_calls_to_oneself_count_once() -> None:
    lab = Lab("alice")
    lab.add("desk", "alice")
    lab.limit("alice", 1)
    lab.play("""
        alice > INVITE alice a1
        alice.2 < INVITE a1
        desk < INVITE a1
        desk > 603
        desk < ACK
        alice.2 > 100
        alice.2 < CANCEL
        alice.2 > 200 CANCEL
        alice.2 > 487 INVITE
        alice.2 < ACK
        alice < 603
    """)
    lab.end()


def test_all_calls() -> None:
    """Before anybody is asked who he is: 503, and when to come back."""
    lab = Lab("alice bob carol", calls_total=1)
    lab.play(
        TALKING
        + """
        carol > INVITE bob c1 raw
        carol < 503 | Retry-After:
        """
        + END
    )
    lab.end()
    assert lab.node.statistics()["refused_total"] == 1


def test_setups_per_second() -> None:
    """Calls count, not INVITEs: the one that is challenged does not."""
    lab = Lab(setups_per_s=1.0)
    call = """
        {0} > INVITE nobody a1
        {0} < 404
    """
    lab.play(call.format("alice"))
    lab.play("""
        alice.2 > INVITE nobody a1
        alice.2 < 503 | Retry-After:
        +1
    """)
    lab.play(call.format("alice.3"))
    lab.end()


def test_log_takes_nothing() -> None:
    """New calls are refused; the one that is up ends properly."""
    lab = Lab("alice bob carol")
    lab.play(TALKING)
    lab.log.healthy = False
    lab.play("""
        carol > INVITE bob c1 raw
        carol < 503 | Retry-After:
    """)
    lab.play(END)
    lab.end()
    assert lab.story()[-1] == "closed 200 normal/16 by caller"


# Life of the node.


def test_stop() -> None:
    """Ends what rings and what talks, takes nothing new, says when it is done."""
    lab = Lab("alice bob carol dan", media=ScriptedMedia())
    lab.play(
        TALKING.replace("INVITE a1", "INVITE (a1)").replace("200 b1\n    alice", "200 (b1)\n alice")
        + """
        carol > INVITE dan c1
        dan < INVITE (c1)
        dan > 180
        carol < 180
        +1
        media hold
    """
    )
    stopped: list[float] = []
    lab.node.stop(lab.now, lambda: stopped.append(lab.now))
    lab.pump()
    lab.play("""
        alice < BYE | Reason: Q.850;cause=41;text="server stops"
        alice > 200
        bob < BYE
        bob > 200
        carol < 503
        dan < CANCEL
        dan > 200 CANCEL
        dan > 487 INVITE
        dan < ACK
        alice.2 > INVITE bob a1 raw
        alice.2 < 503 | Retry-After:
    """)
    assert stopped == []
    lab.play("media go all")
    assert stopped == [lab.now]
    assert len(lab.log.of(NodeStopped)) == 1
    lab.end()
    assert "closed 200 admin/41 by server @1000 talk 1000" in lab.story()
    assert "closed 503 admin/41 by server @1000" in lab.story()


def test_heartbeat() -> None:
    """A sign of life each second while a call is up, and none after."""
    lab = Lab(heartbeat_s=1.0)
    lab.node.start("1", 1, ("udp",), lab.now)
    lab.play(TALKING + "+3.5\n" + END + "+10")
    assert [event.calls for event in lab.log.of(NodeAlive)] == [1, 1, 1]


def test_caller_is_lost() -> None:
    """The stream of the caller closes while it rings."""
    lab = Lab()
    lab.play("""
        alice > INVITE bob a1 | Require: 100rel
        bob < INVITE a1
        bob > 180
        alice < 180
        bob > 183
        +32.5
        alice < 504
        bob < CANCEL
        bob > 200 CANCEL
        bob > 487 INVITE
        bob < ACK
    """)
    lab.end()


def test_a_secret_that_is_opened_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key is in another machine's database: the request rests until it is there; who tries
    names meets the same for a name that nobody has."""
    lab = Lab("alice bob")
    opened = False
    asked: list[tuple[str, str]] = []
    secret = Account.secret

    def slow(self: Account, login: str, algorithm: str) -> str:
        if not opened:
            raise SecretPending
        return secret(self, login, algorithm)

    monkeypatch.setattr(Account, "secret", slow)
    monkeypatch.setattr(lab.directory, "prepare", lambda *names: asked.append(names))
    lab.play("alice > INVITE bob a1 raw")
    challenge = _challenge(lab, "alice")
    assert asked == [("alice", "example.org")]
    _again(lab, "alice", lab.phones["alice"].credentials(challenge))
    lab.advance(0.1)
    lab.quiet()
    assert not lab.log.of(AuthFailed)
    opened = True
    lab.advance(0.03)
    lab.play("bob < INVITE" + REFUSED)
    lab.end()


def test_a_secret_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is kept waiting for long, nor is it held against the phone."""
    lab = Lab("alice bob")

    def closed(self: Account, login: str, algorithm: str) -> str:
        raise SecretPending

    monkeypatch.setattr(Account, "secret", closed)
    lab.play("alice > INVITE bob a1 raw")
    _again(lab, "alice", lab.phones["alice"].credentials(_challenge(lab, "alice")))
    lab.advance(0.6)
    lab.play("""
        alice < 503 | Retry-After
        alice > ACK
    """)
    assert not lab.log.of(AuthFailed)
    lab.end()


def test_names_that_nobody_has_look_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab("alice bob")
    delayed: list[str] = []

    def delays(address: str) -> bool:
        delayed.append(address)
        return len(delayed) == 1

    monkeypatch.setattr(lab.directory, "delays", delays)
    lab.play("alice > INVITE bob a1 raw")
    first = lab.phones["alice"].credentials(_challenge(lab, "alice"))
    _again(lab, "alice", first.replace('username="alice"', 'username="nobody"'))
    lab.advance(0.03)
    assert "stale" not in (_challenge(lab, "alice").first("WWW-Authenticate") or "")
    assert delayed == ["nobody@example.org"] * 2


def test_a_configuration_that_is_too_old_admits_nobody() -> None:
    """The database of the configuration cannot be brought level; calls that are up go on."""
    lab = Lab("alice bob")
    lab.play(TALKING)
    lab.node.behind = True
    lab.play("""
        alice.2 > INVITE bob c1
        alice.2 < 503 | Retry-After
        alice.2 > ACK
    """)
    lab.node.behind = False
    lab.play(END)
    lab.end()
