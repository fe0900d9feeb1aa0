"""Commands on running applications and on named tasks: replies, rights, who is named in the log."""

from __future__ import annotations

import pytest

from tests.support import task_commands
from tests.support.admin_lab import AdminLab, Peer
from tests.support.cli_client import Reply, read_object

NO = "510 insufficient access rights"


class InMemory:
    """Says lines to a session."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def command(self, line: str) -> Reply:
        first, *rest = self._peer.say(line)
        code, _, text = first.partition(" ")
        if text == "data follow":
            return Reply(int(code), text, read_object("\n".join(rest)), has_value=True)
        return Reply(int(code), text)


def test_the_dialogue() -> None:
    voice = task_commands.lab()
    task_commands.play(InMemory(AdminLab(tasks=voice.control).open()))
    assert not voice.node.tasks
    actors = {r.actor for r in voice.log.read() if r.stream.startswith("application/")}
    assert actors == {"postmaster@corpx.un"}


def test_where_no_applications_run_commands_say_so() -> None:
    master = AdminLab().login()
    for line in ("STARTPBXTASK pbx PROGRAM x", "KILLNODE T1", "READNODESTATUS T1"):
        assert master.say(line) == ["501 no applications run here: start the server (pbx serve)"]


@pytest.fixture
def lab() -> AdminLab:
    lab = AdminLab(tasks=task_commands.lab().control)
    assert (
        lab.login().say(
            "CREATEDOMAIN compX.un",
            'CREATEACCOUNT admin@compX.un {Password="admin password";}',
            'CREATEACCOUNT user1@compX.un {Password="user password";}',
            "SETACCOUNTRIGHTS admin@compX.un (Domain)",
        )
        == ["200 OK"] * 4
    )
    return lab


def test_a_domain_administrator_needs_the_right_to_impersonate(lab: AdminLab) -> None:
    admin = lab.login("admin@compX.un", "admin password")
    assert admin.say("STARTPBXTASK user1 PROGRAM x", "STARTPBXTASK pbx@corpX.un PROGRAM x") == [
        NO, NO,
    ]  # fmt: skip
    master = lab.login()
    (reply,) = master.say("STARTPBXTASK user1@compX.un PROGRAM x PARAM (1)")
    mine = reply.partition(" ")[2]
    (reply,) = master.say("STARTPBXTASK pbx@corpX.un PROGRAM x")
    theirs = reply.partition(" ")[2]
    lines = [f"READNODESTATUS {mine}", f"SENDTASKEVENT {mine} EVENT e", f"KILLNODE {mine}"]
    assert admin.say(*lines) == [NO] * 3
    assert admin.say(f"KILLNODE {theirs}") == ["501 unknown task"]
    user = lab.login("user1@compX.un", "user password")
    assert user.say(*lines) == [NO] * 3
    assert user.say("STARTPBXTASK * PROGRAM x") == [NO]
    master.say("SETACCOUNTRIGHTS admin@compX.un (Domain, CanImpersonate)")
    assert admin.say(*lines) == ["201 (1)", "200 OK", "200 OK"]
    assert admin.say(f"KILLNODE {theirs}") == ["501 unknown task"]


def test_named_tasks(lab: AdminLab) -> None:
    master = lab.login()
    master.say("SETACCOUNTRIGHTS admin@compX.un (Domain)")
    admin = lab.login("admin@compX.un", "admin password")
    assert admin.say("CREATENAMEDTASK chat FOR user1", "LISTDOMAINNAMEDTASKS") == [NO, "201 {}"]
    master.say("SETACCOUNTRIGHTS admin@compX.un (Domain, CanCreateNamedTasks)")
    assert admin.say(
        "CREATENAMEDTASK chat FOR user1",
        "CREATENAMEDTASK chat FOR user1",
        "CREATENAMEDTASK user1 FOR user1",
        "CREATENAMEDTASK room FOR nobody",
        "UPDATENAMEDTASK chat {Program = chatroom; RealName = Chat;}",
        "UPDATENAMEDTASK chat {Colour = red;}",
        "UPDATENAMEDTASK chat {Program = (a);}",
        "GETNAMEDTASK chat",
        "RENAMENAMEDTASK chat INTO room",
        "GETNAMEDTASK chat",
        "UPDATENAMEDTASK room {Program = default; RealName = default; Owner = admin;}",
        "LISTDOMAINNAMEDTASKS compX.un",
        "LISTACCOUNTNAMEDTASKS user1",
        "LISTACCOUNTNAMEDTASKS admin",
        "DELETENAMEDTASK room",
        "DELETENAMEDTASK room",
    ) == [
        "200 OK",
        "501 named task with this name already exists",
        "520 account with this name already exists",
        "501 there is no account nobody@compx.un; see: pbx account list",
        "200 OK",
        "501 Colour is no setting of a named task",
        "501 Program: expected a string",
        "201 {Owner=user1;Program=chatroom;RealName=Chat;}",
        "200 OK",
        "501 unknown named task",
        "200 OK",
        "201 {room={Owner=admin;Program=pbx;};}",
        "201 {}",
        "201 {room={Owner=admin;Program=pbx;};}",
        "200 OK",
        "501 unknown named task",
    ]


def test_files_of_applications_need_their_right(lab: AdminLab) -> None:
    admin = lab.login("admin@compX.un", "admin password")
    lines = [
        "CREATEDOMAINPBX compX.un FILE russian",
        "STOREDOMAINPBXFILE compX.un FILE russian/a.txt DATA [AQID]",
    ]
    assert admin.say(*lines, "STORESERVERPBXFILE a.txt DATA [AQID]") == [NO] * 3
    lab.login().say("SETACCOUNTRIGHTS admin@compX.un (Domain, CanModifyPBXApps)")
    assert admin.say(*lines, "STORESERVERPBXFILE a.txt DATA [AQID]") == ["200 OK", "200 OK", NO]
    assert admin.say("LISTDOMAINPBXFILES corpX.un", "READSERVERPBXFILE a.txt") == [NO, NO]
    assert admin.say("READSTOCKPBXFILE echotest.sppr")[0].startswith("201 [")
    user = lab.login("user1@compX.un", "user password")
    assert user.say("LISTSTOCKPBXFILES", "LISTDOMAINPBXFILES compX.un") == [NO, NO]


def test_files_of_accounts_are_their_owners(lab: AdminLab) -> None:
    user = lab.login("user1@compX.un", "user password")
    assert user.say(
        "WRITESTORAGEFILE * FILE a.txt DATA [AQID]", "GETSTORAGEFILEINFO *",
        "LISTSTORAGEFILES admin", "WRITESTORAGEFILE admin FILE a DATA [AQ==]",
    ) == ["200 OK", "201 (#3,#1)", NO, NO]  # fmt: skip
    admin = lab.login("admin@compX.un", "admin password")
    assert admin.say("READSTORAGEFILE user1 FILE a.txt") == [NO]
    lab.login().say("SETACCOUNTRIGHTS admin@compX.un (Domain, CanAccessWebSites)")
    assert admin.say("READSTORAGEFILE user1 FILE a.txt SIZE 1")[0].startswith("201 ([AQ==],")
    # In the name of an administrator of files.
    assert lab.login().say("GETSTORAGEFILEINFO user1@compX.un AUTH admin@compX.un") == [
        "201 (#3,#1)"
    ]
    assert user.say("GETSTORAGEFILEINFO * AUTH nobody@compX.un") == ["513 unknown user account"]


def test_a_cluster_shares_the_environment_of_the_server() -> None:
    master = AdminLab(clustered=True).login()
    assert master.say(
        "CREATECLUSTERPBX russian",
        "STORECLUSTERPBXFILE russian/a.txt DATA [AQID]",
        "READSERVERPBXFILE russian/a.txt",
        "LISTCLUSTERPBXFILES",
        "DELETECLUSTERPBX russian",
        "LISTSERVERPBXFILES",
    ) == ["200 OK", "200 OK", "201 [AQID]", "201 {russian=();}", "200 OK", "201 {}"]
