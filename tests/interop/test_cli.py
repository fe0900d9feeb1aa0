"""The command protocol over real connections: every transcript, every command, nc and telnet."""

from __future__ import annotations

import base64
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from pbx.admin.table import COMMANDS, OLD_NAMES, UNSUPPORTED
from tests.support.cli_client import CliClient, Reply, ReplyReader, Special
from tests.support.cli_transcript import FILES, play, steps_of
from tests.support.server_process import ServerProcess

DOMAIN: Final = "corpx.un"
PASSWORD: Final = "Pa$$w0rd"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server with the domain and the postmaster of the source document."""
    with ServerProcess(tmp_path / "data", commands=True) as running:
        running.run("domain", "create", DOMAIN)
        running.run("account", "passwd", f"postmaster@{DOMAIN}", "--password", PASSWORD)
        yield running


def connected(server: ServerProcess, *, eol: str = "\r\n", login: bool = True) -> CliClient:
    client = CliClient(*server.addresses["cli"], eol=eol)
    if login:
        assert client.login("postmaster", PASSWORD).code == 200
    return client


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcripts_over_tcp(path: Path, server: ServerProcess) -> None:
    eol = "\n" if path.stem == "levels" else "\r\n"
    with connected(server, eol=eol, login=False) as client:
        play(path, client)


class Pipelined:
    """Has sent everything already; takes the replies one by one."""

    def __init__(self, replies: ReplyReader) -> None:
        self._replies = replies

    def command(self, line: str) -> Reply:
        return self._replies.reply()


def transcript(name: str) -> tuple[Path, bytes]:
    """A transcript, and all that its client says."""
    path = next(path for path in FILES if path.stem == name)
    return path, "".join(f"{step.said}\n" for step in steps_of(path)).encode()


def test_a_whole_session_in_one_write(server: ServerProcess) -> None:
    path, said = transcript("first_lab")
    with connected(server, login=False) as client:
        client.send(said)
        play(path, Pipelined(client))
        assert client.at_end()


@pytest.mark.needs("nc", "telnet")
@pytest.mark.parametrize("program", ["nc", "telnet"])
def test_with_the_programs_of_the_source(program: str, server: ServerProcess) -> None:
    host, port = server.addresses["cli"]
    path, said = transcript("accounts")
    with subprocess.Popen(
        [program, host, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(said)
        process.stdin.flush()
        # The server ends the session. nc reads on after the end of its input and wants to see it;
        # telnet gives up then.
        if program == "nc":
            process.stdin.close()
        watchdog = threading.Timer(20, process.kill)
        watchdog.start()
        shown = process.stdout.read()
        watchdog.cancel()
    text = shown.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    greeting = text.index(b"200 Ringlog")  # telnet's own words come first
    pieces = iter([text[greeting:]])
    replies = ReplyReader(lambda: next(pieces, b""))
    assert replies.line().startswith("200 ")
    play(path, Pipelined(replies))


# A line of every command, in an order in which each succeeds; "!": it is refused, as it must.
EVERY: Final = r"""
NOOP
ECHO (a, {b = "c d";})
LISTCLICOMMANDS
GETVERSION
GETSYSTEMINFO mainDomainName
GETCURRENTTIME
WRITELOG 3 "a record of the log"
LISTDOMAINS
MAINDOMAINNAME
UPDATEDOMAINDEFAULTS {AccountsLimit = 50;}
SETDOMAINDEFAULTS {AccountsLimit = 60;}
GETDOMAINDEFAULTS
UPDATESERVERACCOUNTDEFAULTS {CallsLimit = 5;}
SETSERVERACCOUNTDEFAULTS {CallsLimit = 6;}
GETSERVERACCOUNTDEFAULTS
UPDATESERVERACCOUNTPREFS {Language = russian;}
SETSERVERACCOUNTPREFS {Language = english;}
GETSERVERACCOUNTPREFS
CREATEDOMAIN client.un {AccountsLimit = 9;}
GETSERVERTRUSTEDCERTS
SETSERVERTRUSTEDCERTS ([AQID])
GETDIRECTORYINTEGRATION
SETDIRECTORYINTEGRATION {PublicInfo = (telephoneNumber);}
GETDOMAINSETTINGS client.un
GETDOMAINEFFECTIVESETTINGS client.un
UPDATEDOMAINSETTINGS client.un {AccountsLimit = 8;}
SETDOMAINSETTINGS client.un {AccountsLimit = 7; AdminDomainName = corpx.un;}
UPDATEACCOUNTDEFAULTS client.un {MaxAccountSize = 10G;}
SETACCOUNTDEFAULTS client.un {MaxAccountSize = 20G;}
GETACCOUNTDEFAULTS client.un
UPDATEACCOUNTDEFAULTPREFS client.un {TimeZone = UTC;}
SETACCOUNTDEFAULTPREFS client.un {TimeZone = HostOS;}
GETACCOUNTDEFAULTPREFS client.un
UPDATEACCOUNTTEMPLATE client.un {RealName = "New One";}
SETACCOUNTTEMPLATE client.un {RealName = "A New One";}
GETACCOUNTTEMPLATE client.un
GETDOMAINALIASES client.un
LISTADMINDOMAINS
CREATEACCOUNT a@client.un {Password = "a password of a";}
LISTDOMAINOBJECTS client.un 10 ACCOUNTS COOKIE ""
LISTACCOUNTS client.un
GETDOMAINLOCATION client.un
SUSPENDDOMAIN client.un
RESUMEDOMAIN client.un
SETACCOUNTTYPE a@client.un AGrade
GETACCOUNTSETTINGS a@client.un
GETACCOUNTEFFECTIVESETTINGS a@client.un
GETACCOUNTONESETTING a@client.un RealName
UPDATEACCOUNTSETTINGS a@client.un {CallsLimit = 2;}
SETACCOUNTSETTINGS a@client.un {CallsLimit = 3; PasswordEncryption = clear;}
SETACCOUNTPASSWORD a@client.un PASSWORD "another password"
VERIFYACCOUNTPASSWORD a@client.un PASSWORD "another password"
GETACCOUNTPLAINPASSWORD a@client.un
SETACCOUNTRIGHTS a@client.un (Domain, BasicSettings)
GETACCOUNTRIGHTS a@client.un
UPDATEACCOUNTPREFS a@client.un {Language = russian;}
SETACCOUNTPREFS a@client.un {Language = english;}
GETACCOUNTPREFS a@client.un
GETACCOUNTEFFECTIVEPREFS a@client.un
GETACCOUNTLOCATION a@client.un
GETACCOUNTINFO a@client.un
GETACCOUNTSTAT a@client.un
RESETACCOUNTSTAT a@client.un KEY CallsSent
GETDOMAINSTAT client.un
RESETDOMAINSTAT client.un
SETSERVERMAILRULES ((5, R, (), ((Discard))))
GETSERVERMAILRULES
SETDOMAINMAILRULES client.un ((5, R, (), ((Discard))))
GETDOMAINMAILRULES client.un
SETACCOUNTMAILRULES a@client.un ((5, R, (), ((Discard))))
UPDATEACCOUNTMAILRULE a@client.un (6, R)
GETACCOUNTMAILRULES a@client.un
SETSERVERSIGNALRULES ((305, R, (), (("Reject with", 486))))
GETSERVERSIGNALRULES
SETSERVERSIGNALRULES ()
SETDOMAINSIGNALRULES client.un ((305, R, (), (("Reject with", 486))))
GETDOMAINSIGNALRULES client.un
SETACCOUNTSIGNALRULES a@client.un ((305, R, (), (("Reject with", 486))))
UPDATEACCOUNTSIGNALRULE a@client.un (306, R)
GETACCOUNTSIGNALRULES a@client.un
SETACCOUNTRSIPS a@client.un {p = {domain = voip1.un; password = secretX;};}
GETACCOUNTRSIPS a@client.un
SETACCOUNTRPOPS a@client.un {p = {domain = mail.un; password = secretX;};}
GETACCOUNTRPOPS a@client.un
UPDATESCHEDULEDTASK a@client.un {id = t; program = p; when = #T31-12-2030_00:00:00; period = day;}
SETACCOUNTALERTS a@client.un {}
POSTACCOUNTALERT a@client.un ALERT "Hello"
GETACCOUNTALERTS a@client.un
!REMOVEACCOUNTALERT a@client.un ALERT 01-01-2001_00:00:00
SETDOMAINALERTS client.un {01-01-2001_00:00:00 = "An old one";}
POSTDOMAINALERT client.un ALERT "Hello"
GETDOMAINALERTS client.un
REMOVEDOMAINALERT client.un ALERT 01-01-2001_00:00:00
SETSERVERALERTS {}
POSTSERVERALERT "Hello"
GETSERVERALERTS
!REMOVESERVERALERT 01-01-2001_00:00:00
WRITESTORAGEFILE a@client.un FILE notes/ DATA []
WRITESTORAGEFILE a@client.un FILE notes/a.txt DATA [AQID]
WRITESTORAGEFILE a@client.un FILE notes/a.txt OFFSET END DATA [BAU=]
READSTORAGEFILE a@client.un FILE notes/a.txt OFFSET 1 SIZE 3
LISTSTORAGEFILES a@client.un PATH notes
GETSTORAGEFILEINFO a@client.un
UPDATESTORAGEFILEATTR a@client.un FILE notes/a.txt (<color>red</color>)
READSTORAGEFILEATTR a@client.un FILE notes/a.txt (color)
RENAMESTORAGEFILE a@client.un FILE notes/a.txt INTO b.txt
DELETESTORAGEFILE a@client.un FILE b.txt
SETFILESUBSCRIPTION a@client.un ("~b/files")
GETFILESUBSCRIPTION a@client.un
CREATENAMEDTASK chat@client.un FOR a
UPDATENAMEDTASK chat@client.un {Program = chatroom; RealName = "A Room";}
GETNAMEDTASK chat@client.un
LISTDOMAINNAMEDTASKS client.un
LISTACCOUNTNAMEDTASKS a@client.un
RENAMENAMEDTASK chat@client.un INTO room@client.un
DELETENAMEDTASK room@client.un
CREATELIST news@client.un FOR a
UPDATELIST news@client.un {Description = "All the news"; Owner = a;}
GETLIST news@client.un
LISTLISTS client.un
GETDOMAINLISTS client.un
GETACCOUNTLISTS a@client.un
RENAMELIST news@client.un INTO olds
DELETELIST olds@client.un
!STARTPBXTASK a@client.un PROGRAM nosuchprogram ENTRY main PARAM ("401")
!SENDTASKEVENT T1@nowhere EVENT hello PARAM (1)
!READNODESTATUS T1@nowhere
!KILLNODE T1@nowhere
LISTSTOCKPBXFILES
READSTOCKPBXFILE echotest.sppr
!CREATECLUSTERPBX russian
!LISTCLUSTERPBXFILES
!STORECLUSTERPBXFILE hello.sppr DATA [AQID]
!READCLUSTERPBXFILE hello.sppr
!DELETECLUSTERPBX russian
CREATEDOMAINPBX client.un FILE russian
STOREDOMAINPBXFILE client.un FILE russian/hello.sppr DATA [AQID]
LISTDOMAINPBXFILES client.un FILE russian
READDOMAINPBXFILE client.un FILE russian/Hello.sppr
STOREDOMAINPBXFILE client.un FILE russian/hello.sppr DELETE
DELETEDOMAINPBX client.un FILE russian
CREATESERVERPBX russian
STORESERVERPBXFILE hello.sppr DATA [AQID]
LISTSERVERPBXFILES
READSERVERPBXFILE hello.sppr
DELETESERVERPBX russian
LISTACCOUNTSESSIONS postmaster
FINDACCOUNTSESSION postmaster PROTOCOL PWD
!GETSESSION nobody
!KILLSESSION nobody
KILLACCOUNTSESSIONS a@client.un
LISTMODULES
UPDATEMODULE SMPP {SystemID = me;}
SETMODULE SMPP {SystemID = you;}
GETMODULE SMPP
GETQUEUESETTINGS
SETQUEUESETTINGS {x = y;}
GETSIGNALSETTINGS
SETSIGNALSETTINGS {x = y;}
GETMEDIASERVERSETTINGS
SETMEDIASERVERSETTINGS {x = y;}
GETSESSIONSETTINGS
SETSESSIONSETTINGS {x = y;}
GETNETWORK
SETNETWORK {x = y;}
GETDNRSETTINGS
SETDNRSETTINGS {x = y;}
GETBANNED
SETBANNED {x = y;}
GETROUTERSETTINGS
SETROUTERSETTINGS {x = y;}
GETLOGSETTINGS
UPDATELOGSETTINGS {x = y;}
GETSERVERSETTINGS
UPDATESERVERSETTINGS {x = y;}
GETSERVERINTERCEPT
SETSERVERINTERCEPT {}
SETCLIENTIPS "!172.16.1.254\e172.16.1.0/24 ; office\e10.5.0.1-10.5.0.9"
GETCLIENTIPS
GETIPSTATE 172.16.1.3
TEMPBLACKLISTIP 10.5.7.9 TIMEOUT 100
SETTEMPBLACKLISTEDIPS "10.5.7.10-500,10.5.7.11-*"
GETTEMPBLACKLISTEDIPS
REPORTFAILEDLOGINADDRESS 10.5.7.12
SETSTATELEMENT 1.3.6.1.4.1.5678.2.1.1000.1 SET 15
GETSTATELEMENT 1.3.6.1.4.1.5678.2.1.1000.1
GETNEXTSTATNAME ""
CREATEGROUP g@client.un {Members = (a, "+79161234567@voip1.un"); RealName = "A Group";}
SETGROUP g@client.un {Members = (a); SetReplyTo = YES;}
GETGROUP g@client.un
RENAMEGROUP g@client.un INTO h@client.un
LISTGROUPS client.un
CREATEFORWARDER 301@client.un TO "sayhello#pbx"
GETFORWARDER 301@client.un
FINDFORWARDERS client.un TO "sayhello#pbx"
RENAMEFORWARDER 301@client.un INTO 302@client.un
LISTFORWARDERS client.un
SETACCOUNTALIASES a@client.un (401, boss)
GETACCOUNTALIASES a@client.un
SETACCOUNTTELNUMS a@client.un ("+79161234567")
GETACCOUNTTELNUMS a@client.un
MODIFYACCOUNTTELNUMS a@client.un {op = add; telnum = 4951234567;}
LISTSERVERTELNUMS 10
LISTDOMAINTELNUMS client.un FILTER 916 10
SETDOMAINALIASES client.un (mail.client.un)
GETROUTERTABLE
SETROUTERTABLE "; a table\\eS:<8(10d)@*> = gatewaycaller{+7*}#pbx"
ROUTE 401@client.un
GETSERVERSIGNALRULES
SETSERVERSIGNALRULES ()
GETDOMAINSIGNALRULES client.un
SETDOMAINSIGNALRULES client.un ((100010, Night, (), (("Reject with", 486))))
SETACCOUNTSIGNALRULES a@client.un ()
UPDATEACCOUNTSIGNALRULE a@client.un (100010, Night, (), (("Reject with", 486)))
GETACCOUNTSIGNALRULES a@client.un
DELETEGROUP h@client.un
DELETEFORWARDER 302@client.un
RENAMEACCOUNT a@client.un INTO b@client.un
DELETEACCOUNT b@client.un
DELETEDOMAIN client.un
"""
_LISTS: Final = [
    line
    for word in ("LAN", "BLACKLISTED", "WHITEHOLE", "NATED", "NATSITE", "DEBUG", "DENIED")
    for line in (f'SET{word}IPS "192.0.2.0/24"', f"GET{word}IPS", f'SET{word}IPS ""')
]


def test_the_client_drives_every_command(server: ServerProcess) -> None:
    given: set[str] = set()
    with connected(server) as client:
        for line in [*EVERY.strip().splitlines(), *_LISTS]:
            refused = line.startswith("!")
            line = line.removeprefix("!")
            name = line.split(" ")[0]
            given.add(name)
            reply = client.command(line)
            assert (reply.code == 501) == refused, f"{line}: {reply.code} {reply.text}"
            assert refused or reply.code == 200, f"{line}: {reply.code} {reply.text}"
            assert refused or reply.has_value == bool(COMMANDS[name].shows), line
        for name in UNSUPPORTED:
            reply = client.command(name)
            assert reply.code == 501
            assert reply.text.startswith("not supported: ")
        assert client.command("GETDOMAIN").code == 200  # an old name
        assert client.value("GETACCOUNTINFO * KEY LastAddress") == Special("#I[127.0.0.1]")
    assert set(COMMANDS) - given == {"SHUTDOWN"}
    assert set(OLD_NAMES) & set(COMMANDS) == set()


def test_shutdown_stops_the_server(server: ServerProcess) -> None:
    with connected(server) as client:
        assert client.command("SHUTDOWN") == Reply(200, "OK")
    assert server.wait() == 0


def test_a_program_of_ten_megabytes_and_a_line_without_end(server: ServerProcess) -> None:
    content = bytes(range(256)) * 40_000
    encoded = base64.b64encode(content).decode()
    with connected(server) as client:
        client.do(f"STORESERVERPBXFILE big.bin DATA [{encoded}]")
        assert client.value("READSERVERPBXFILE BIG.BIN") == content
        for _ in range(40):
            client.send(b"x" * 1_000_000)
        client.send(b"\n")
        assert client.reply().text == "the line is longer than 16777216 bytes"
        assert client.command("NOOP").code == 200


def test_a_second_administrator_is_told_what_the_first_one_changed(server: ServerProcess) -> None:
    with connected(server) as first, connected(server) as second:
        first.do("CREATEACCOUNT user1")
        first.do("CREATEACCOUNT helper {Password = helperhelper;}")
        first.do("SETACCOUNTRIGHTS helper (UserAccounts)")
        assert second.login("helper", "helperhelper").code == 200
        settings = second.value("GETACCOUNTSETTINGS user1")
        first.do("UPDATEACCOUNTSETTINGS user1 {RealName = Jo;}")
        assert settings == {}
        told = second.command("SETACCOUNTSETTINGS user1 {CallsLimit = 3;}")
        assert told.code == 501
        assert re.match(
            r"postmaster@corpx\.un changed RealName at ..:..:.. UTC, after you read it", told.text
        )
        assert first.value("GETACCOUNTSETTINGS user1") == {"RealName": "Jo"}
        second.do("SETACCOUNTSETTINGS user1 {CallsLimit = 3;}")
        assert first.value("GETACCOUNTSETTINGS user1") == {"CallsLimit": "3"}


def test_many_connections_from_one_address_are_refused(server: ServerProcess) -> None:
    clients = [connected(server, login=False) for _ in range(20)]
    with socket.create_connection(server.addresses["cli"], 20) as extra:
        assert extra.recv(1000) == b"501 too many connections, try again later\r\n"
    for client in clients:
        with client:
            assert client.command("QUIT").code == 200
