"""Commands over HTTP."""

from __future__ import annotations

import base64
from urllib.parse import quote_plus

from pbx.admin.http import HttpReply, HttpRequest, http_command
from tests.support.admin_lab import MASTER, PASSWORD, AdminLab

BASIC = "Basic " + base64.b64encode(f"{MASTER}:{PASSWORD}".encode()).decode()


def get(lab: AdminLab, command: str, *, peer: str = "127.0.0.1", login: str = BASIC) -> HttpReply:
    query = f"command={quote_plus(command)}".encode()
    return http_command(lab.service, HttpRequest("GET", query, authorization=login, peer=peer))


def test_results_and_refusals() -> None:
    lab = AdminLab()
    assert get(lab, "NOOP") == HttpReply(200)
    assert get(lab, "ECHO (Пётр, {a=b;})") == HttpReply(200, '("Пётр", {a=b;})\n')
    assert get(lab, "CREATEACCOUNT postmaster") == HttpReply(
        550, "520 account with this name already exists\n"
    )
    assert len(lab.service.sessions) == 0


def test_a_form_in_the_body() -> None:
    lab = AdminLab()
    body = f"command={quote_plus('updatedomainsettings corpX.un {PrivateSecureKey=[AQID];}')}"
    form = "application/x-www-form-urlencoded; charset=utf-8"
    request = HttpRequest("POST", b"", body.encode(), form, BASIC)
    assert http_command(lab.service, request) == HttpReply(200)
    assert get(lab, "GETDOMAINSETTINGS corpX.un").body == "{\n  PrivateSecureKey =  [AQID];\n}\n"


def test_who_is_asked_who_he_is() -> None:
    lab = AdminLab()
    for login in ("", "Basic !", "Bearer x", "Basic " + base64.b64encode(b"x:y").decode()):
        reply = get(lab, "NOOP", login=login)
        assert reply.status == 401
        assert reply.headers[0][0] == "WWW-Authenticate"


def test_clients_alone_may_come_by_default() -> None:
    lab = AdminLab()
    assert get(lab, "NOOP", peer="10.0.0.1").status == 403
    assert get(lab, 'UPDATEDOMAINSETTINGS corpX.un {ClientIPs="10.0.0.0/24";}').status == 200
    assert get(lab, "NOOP", peer="10.0.0.1").status == 200
    assert get(lab, "UPDATEMODULE HTTPU {CLI=everybody;}").status == 200
    assert get(lab, "NOOP", peer="192.0.2.1").status == 200
    assert get(lab, "UPDATEMODULE HTTPU {CLI=disabled;}").status == 200
    assert get(lab, "NOOP").status == 403


def test_wrong_requests() -> None:
    lab = AdminLab()
    request = HttpRequest("PUT", b"command=NOOP", authorization=BASIC)
    assert http_command(lab.service, request).status == 405
    for query in (b"", b"command=", b"command=NOOP&command=NOOP", b"other=NOOP", b"command=%ff%"):
        request = HttpRequest("GET", query, authorization=BASIC)
        assert http_command(lab.service, request).status in (400, 550), query
    request = HttpRequest("POST", b"", b"NOOP", "text/plain", BASIC)
    assert http_command(lab.service, request).status == 400


def test_a_blacklisted_address_gets_nothing() -> None:
    lab = AdminLab()
    get(lab, "UPDATEMODULE HTTPU {CLI=everybody;}")
    get(lab, "TEMPBLACKLISTIP 10.0.0.1 TIMEOUT 60")
    assert get(lab, "NOOP", peer="10.0.0.1").status == 403
    lab.clock.now += 60
    assert get(lab, "NOOP", peer="10.0.0.1").status == 200
