"""One connection: framing, order, limits, time-outs, logins."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from pbx.admin.jobs import Client, Done
from pbx.admin.session import (
    IDLE_S,
    LOGIN_LINE_BYTES,
    LOGIN_S,
    MAX_ERRORS,
    MAX_LOGINS,
    WAITING_LINES,
    Run,
    Session,
    SessionConfig,
)
from tests.support.admin_lab import DOMAIN, MASTER, PASSWORD, STAMP, AdminLab


def test_the_greeting_has_a_time_stamp() -> None:
    assert AdminLab().open().greeting == [f"200 Ringlog ready {STAMP}"]


@pytest.mark.parametrize("eol", [b"\n", b"\r\n"])
def test_either_line_end_will_do(eol: bytes) -> None:
    peer = AdminLab().open()
    peer.send(eol.join([b"USER postmaster", b"PASS Pa$$w0rd", b"MAINDOMAINNAME", b""]))
    assert peer.take() == [
        "300 please send the PASS", "200 login OK", "200 data follow", "corpx.un",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 5])
def test_lines_may_come_in_pieces(size: int) -> None:
    peer = AdminLab().open()
    text = "USER postmaster\r\nPASS Pa$$w0rd\r\nECHO (Пётр)\r\nQUIT\r\n".encode()
    for at in range(0, len(text), size):
        peer.send(text[at : at + size])
    assert peer.take()[-3:] == [
        "200 data follow", '("Пётр")', "200 Ringlog PWD connection closed",
    ]  # fmt: skip
    assert peer.closed


def test_commands_sent_at_once_are_answered_in_order() -> None:
    peer = AdminLab().login()
    numbers = [str(number) for number in range(50)]
    assert peer.say(*(f"ECHO {number}" for number in numbers)) == [
        f"201 {number}" for number in numbers
    ]


def test_one_job_is_out_at_a_time_and_reading_stops_when_many_wait() -> None:
    session = Session(Client("127.0.0.1"), SessionConfig("hi", "<1@x>", "x"), 0.0)
    session.receive(b"USER a\nPASS b\n", 0.0)
    session.answer(Done("login OK"), 0.0)
    session.outputs()
    session.receive(b"NOOP\n" * (WAITING_LINES + 1), 0.0)
    assert sum(isinstance(output, Run) for output in session.outputs()) == 1
    assert not session.wants_input
    session.answer(Done(), 0.0)
    assert session.wants_input


def test_inline_mode_puts_the_object_on_the_reply() -> None:
    peer = AdminLab().open()
    peer.say(f"USER {MASTER}", f"PASS {PASSWORD}")
    assert peer.say("ECHO {a=(b,c);}") == ["200 data follow", "{", "  a =  (b, c);", "}"]
    assert peer.say("INLINE", "ECHO {a=(b,c);}", "NOOP") == ["200 OK", "201 {a=(b,c);}", "200 OK"]


def test_commands_need_a_login() -> None:
    peer = AdminLab().open()
    assert peer.say("LISTDOMAINS", "NEWPASS x", "PASS x") == [
        "500 unknown command, or log in first: USER, then PASS",
        "501 log in first: USER, then PASS",
        "501 send USER first",
    ]


def test_a_long_line_is_thrown_away_and_said() -> None:
    peer = AdminLab().open()
    for _ in range(100):
        peer.send(b"x" * 1000)
        assert len(peer.session._buffer) <= LOGIN_LINE_BYTES
    peer.send(b"\r\nUSER postmaster\r\n")
    assert peer.take() == ["501 the line is longer than 4096 bytes", "300 please send the PASS"]


def test_a_line_may_be_long_after_the_login() -> None:
    peer = AdminLab().login()
    word = "x" * 100_000
    assert peer.say(f"ECHO {word}") == [f"201 {word}"]


@pytest.mark.parametrize("data", [b"\xff\xfe NOOP\r\n", b"NO\0OP\r\n", b"NOOP\rNOOP\n"])
def test_binary_input_is_an_error_and_the_connection_goes_on(data: bytes) -> None:
    peer = AdminLab().login()
    peer.send(data)
    assert peer.take()[0].startswith("501 incorrect data format: a line")
    assert peer.say("NOOP") == ["200 OK"]


def test_garbage_before_a_login_ends_the_connection() -> None:
    peer = AdminLab().open()
    peer.send(b"GET / HTTP/1.1\r\n" * (MAX_ERRORS + 5))
    assert len(peer.take()) == MAX_ERRORS
    assert peer.closed


def test_wrong_logins_end_the_connection() -> None:
    peer = AdminLab().open()
    said = [line for n in range(MAX_LOGINS) for line in (f"USER nobody{n}", "PASS wrong")]
    replies = peer.say(*said)
    assert replies.count("515 incorrect password or account name") == MAX_LOGINS
    assert peer.closed


def test_without_a_login_a_connection_lasts_a_minute() -> None:
    peer = AdminLab().open()
    peer.say("NOTIMEOUT")
    assert peer.session.next_timer() == peer.lab.clock.now + LOGIN_S
    peer.lab.clock.now += LOGIN_S
    peer.session.handle_timer(peer.lab.clock.now)
    assert peer.take() == ["501 inactivity time-out"]
    assert peer.closed


def test_an_idle_session_ends_unless_it_said_notimeout() -> None:
    peer = AdminLab().login()
    peer.lab.clock.now += IDLE_S - 1
    peer.session.handle_timer(peer.lab.clock.now)
    assert peer.say("NOOP") == ["200 OK"]
    assert peer.session.next_timer() == peer.lab.clock.now + IDLE_S
    peer.say("NOTIMEOUT")
    assert peer.session.next_timer() is None


def test_the_end_of_input_lets_the_last_commands_be_answered() -> None:
    peer = AdminLab().login()
    peer.session.receive(b"NOOP\nECHO last", peer.lab.clock.now)
    peer.session.receive_eof(peer.lab.clock.now)
    assert peer.take() == ["200 OK", "201 last"]
    assert peer.closed


def test_a_killed_session_gets_no_further_command() -> None:
    lab = AdminLab()
    victim, administrator = lab.login(), lab.login()
    session = victim.client.session
    assert administrator.say(f"KILLSESSION {session}") == ["200 OK"]
    assert victim.say("CREATEACCOUNT late") == ["501 session closed by an administrator"]
    assert victim.closed
    assert administrator.say(f"GETSESSION {session}") == ["501 unknown session"]


# ------------------------------------------------------------------------------------------ logins


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def make_recoverable(lab: AdminLab) -> None:
    peer = lab.login()
    assert peer.say(
        "UPDATEACCOUNTSETTINGS * {PasswordEncryption=clear;}",
        f'SETACCOUNTPASSWORD * PASSWORD "{PASSWORD}"',
    ) == ["200 OK", "200 OK"]


@pytest.mark.parametrize("name", [
    "postmaster", "Postmaster", '"postmaster"', "postmaster@corpX.un", "postmaster%corpX.un",
])  # fmt: skip
def test_names_that_mean_the_account(name: str) -> None:
    assert AdminLab().open().say(f"USER {name}", f"PASS {PASSWORD}")[-1] == "200 login OK"


def test_the_password_is_the_rest_of_the_line_as_it_is() -> None:
    lab = AdminLab()
    lab.administration.create_account("blank@corpx.un", ' two  words "and quotes" ')
    assert lab.open().say("USER blank", 'PASS  two  words "and quotes" ')[-1] == "200 login OK"


def test_plain_and_login() -> None:
    lab = AdminLab()
    initial = encoded(f"\0{MASTER}\0{PASSWORD}")
    assert lab.open().say(f"AUTH PLAIN {initial}") == ["200 login OK"]
    assert lab.open().say("AUTH plain", encoded(f"{MASTER}\0{MASTER}\0{PASSWORD}")) == [
        "300 ", "200 login OK",
    ]  # fmt: skip
    assert lab.open().say("AUTH LOGIN", encoded(MASTER), encoded(PASSWORD)) == [
        f"300 {encoded('Username:')}", f"300 {encoded('Password:')}", "200 login OK",
    ]  # fmt: skip
    assert lab.open().say("AUTH PLAIN =", "AUTH PLAIN", "*", "AUTH NTLM") == [
        "501 incorrect data format: base64 of UTF-8 is expected",
        "300 ",
        "501 the login was cancelled",
        "501 not supported: AUTH takes PLAIN, LOGIN, CRAM-MD5, DIGEST-MD5",
    ]


def test_apop_and_cram_need_a_recoverable_password() -> None:
    lab = AdminLab()
    apop = hashlib.md5(f"{STAMP}{PASSWORD}".encode()).hexdigest()
    cram = hmac.new(PASSWORD.encode(), STAMP.encode(), hashlib.md5).hexdigest()
    assert lab.open().say(f"APOP {MASTER} {apop}")[0].startswith("515 ")
    make_recoverable(lab)
    assert lab.open().say(f"APOP {MASTER} {apop}") == ["200 login OK"]
    assert lab.open().say("AUTH CRAM-MD5", encoded(f"{MASTER} {cram}")) == [
        f"300 {encoded(STAMP)}", "200 login OK",
    ]  # fmt: skip
    assert lab.open().say("AUTH CRAM-MD5", encoded(f"{MASTER} {'0' * 32}"))[1].startswith("515 ")


def test_an_empty_password_proves_nothing_where_none_is_kept() -> None:
    lab = AdminLab()
    apop = hashlib.md5(STAMP.encode()).hexdigest()
    cram = hmac.new(b"", STAMP.encode(), hashlib.md5).hexdigest()
    assert lab.open().say(f"APOP {MASTER} {apop}")[0].startswith("515 ")
    assert lab.open().say("AUTH CRAM-MD5", encoded(f"{MASTER} {cram}"))[1].startswith("515 ")


def digest_md5(challenge: str, password: str, *, nc: str = "00000001") -> str:
    """RFC 2831 §2.1.2, by hand."""
    fields = dict(part.split("=", 1) for part in challenge.split(","))
    nonce, realm = fields["nonce"].strip('"'), fields["realm"].strip('"')

    def h(data: bytes) -> bytes:
        return hashlib.md5(data).digest()

    a1 = h(f"{MASTER}:{realm}:{password}".encode()) + f":{nonce}:abc".encode()
    a2 = b"AUTHENTICATE:pwd/server"
    response = h(f"{h(a1).hex()}:{nonce}:{nc}:abc:auth:{h(a2).hex()}".encode()).hex()
    return encoded(
        f'username="{MASTER}",realm="{realm}",nonce="{nonce}",cnonce="abc",nc={nc},qop=auth,'
        f'digest-uri="pwd/server",response={response}'
    )


def test_digest_md5_works_with_digests_alone() -> None:
    lab = AdminLab()
    for password, nc, verdict in (
        (PASSWORD, "00000001", "200 login OK"),
        ("wrong", "00000001", "515 incorrect password or account name"),
        (PASSWORD, "00000002", "515 incorrect password or account name"),
    ):
        peer = lab.open()
        (challenge,) = peer.say("AUTH DIGEST-MD5")
        told = base64.b64decode(challenge.removeprefix("300 ")).decode()
        assert peer.say(digest_md5(told, password, nc=nc)) == [verdict]


def test_the_own_password() -> None:
    lab = AdminLab()
    lab.administration.create_account(f"user1@{DOMAIN}", "old password")
    peer = lab.open()
    assert peer.say("USER user1", "PASS old password", "NEWPASS new password")[-1] == "200 OK"
    assert lab.open().say("USER user1", "PASS new password")[-1] == "200 login OK"
    lab.login().say("UPDATEACCOUNTSETTINGS user1 {PWDAllowed=NO;}")
    assert peer.say("NEWPASS third one") == ["510 insufficient access rights"]


def test_a_session_is_of_whoever_logged_in_last() -> None:
    lab = AdminLab()
    lab.administration.create_account(f"user1@{DOMAIN}", "user password")
    peer = lab.login()
    assert peer.say("USER user1", "PASS user password", "LISTDOMAINS")[-2:] == [
        "200 login OK", "510 insufficient access rights",
    ]  # fmt: skip
