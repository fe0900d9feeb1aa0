"""Mailing lists as records: replies, rights, settings kept as they come."""

from __future__ import annotations

import pytest

from tests.support.admin_lab import AdminLab

NO = "510 insufficient access rights"


@pytest.fixture
def lab() -> AdminLab:
    made = AdminLab()
    made.login().say(
        "CREATEDOMAIN compX.un",
        'CREATEACCOUNT admin@compX.un {Password = "admin password";}',
        "CREATEACCOUNT user1@compX.un",
        "SETACCOUNTRIGHTS admin@compX.un (Domain)",
    )
    return made


def test_a_list_from_its_making_to_its_end(lab: AdminLab) -> None:
    master = lab.login()
    assert master.say(
        "CREATELIST news@compX.un FOR user1",
        "CREATELIST news@compX.un FOR user1",
        "CREATELIST admin@compX.un FOR user1",
        "CREATELIST other@compX.un FOR nobody",
        'UPDATELIST news@compX.un {Description = "All the news"; Store = (a, #5);}',
        "UPDATELIST news@compX.un {Store = default; Owner = admin;}",
        "GETLIST news@compX.un",
        "LISTLISTS compX.un",
        "GETDOMAINLISTS compX.un",
        "GETACCOUNTLISTS admin@compX.un",
        "GETACCOUNTLISTS user1@compX.un",
        "UPDATELIST news@compX.un {Owner = nobody; Description = lost;}",
        "UPDATELIST news@compX.un {Owner = (a);}",
        "RENAMELIST news@compX.un INTO olds",
        "RENAMELIST olds@compX.un INTO olds@corpX.un",
        "GETLIST olds@compX.un",
        "ROUTE olds@compX.un mail",
        "DELETELIST olds@compX.un",
        "DELETELIST olds@compX.un",
        "LISTSUBSCRIBERS olds@compX.un",
    ) == [
        "200 OK",
        "501 mailing list with this name already exists",
        "520 account with this name already exists",
        "501 there is no account nobody@compx.un; see: pbx account list",
        "200 OK",
        "200 OK",
        '201 {Description="All the news";Owner=admin;}',
        "201 (news)",
        '201 {news="-1";}',
        '201 {news="-1";}',
        "201 {}",
        "501 there is no account nobody@compx.un; see: pbx account list",
        "501 Owner: expected a string",
        "200 OK",
        "501 a mailing list stays in the domain of its owner",
        '201 {Description="All the news";Owner=admin;}',
        "201 (LIST,olds@compx.un,olds@compx.un)",
        "200 OK",
        "501 unknown mailing list",
        "501 not supported: mailing lists are records: who is on one is not kept yet",
    ]


def test_each_change_needs_its_code(lab: AdminLab) -> None:
    lab.login().say("CREATELIST news@compX.un FOR user1")
    admin = lab.login("admin@compX.un", "admin password")
    makes = ["CREATELIST x FOR user1", "RENAMELIST x INTO y", "DELETELIST y"]
    changes = ["UPDATELIST news {Description = a;}"]
    assert admin.say(*makes, *changes) == [NO] * 4
    assert admin.say("LISTLISTS", "GETLIST news") == ["201 (news)", "201 {Owner=user1;}"]
    lab.login().say("SETACCOUNTRIGHTS admin@compX.un (Domain, CanCreateLists)")
    assert admin.say(*makes, *changes) == ["200 OK"] * 3 + [NO]
    lab.login().say("SETACCOUNTRIGHTS admin@compX.un (Domain, CanAccessLists)")
    assert admin.say(*makes, *changes) == [NO] * 3 + ["200 OK"]
