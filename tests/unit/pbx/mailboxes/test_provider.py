"""What programs ask about mailboxes, asked by programs; the stock applications over real mail."""

from __future__ import annotations

from typing import Any

import pytest

from mail.flags import parse_flags
from mail.reading import read_message
from pbx.domain.setting_events import AccountRightsSet, AccountSettingsChanged
from pbx.eventlog import LogUnavailable, Meta
from pbx.mailboxes import desk as desks
from pbx.mailboxes.provider import MailProvider
from pbx.mailboxes.waiting import VoiceCounts, WaitingMessages
from pbx.mailboxes.worker import InlineWorker
from pbx.script.requests import mailboxes as requests
from pbx.script.requests.base import HostRequest
from pbx.script.requests.communications import SendEMail, SubmitEMail
from tests.support.mail_lab import ANN, BOB, DOMAIN, WAV, MailLab, text_message, voice_message
from tests.support.mail_run import directory_of, run_program, run_text

META = Meta(actor="test")
NO_FLAG = (
    "'Nonsense' is no flag: Seen, Answered, Flagged, Deleted, Draft, Recent, Redirected, MDNSent, "
    "Hidden, Service, Media, Junk, with Un in front for the opposite, or a keyword that begins "
    "with $"
)


@pytest.fixture
def lab() -> MailLab:
    return MailLab()


def logged(lab: MailLab, body: str, **scenario: Any) -> list[str]:
    """What a program with these statements logs."""
    return run_text(
        lab, f'entry main {{ var x, y, box = OpenMailbox("INBOX"); {body} }}', **scenario
    )


def test_every_request_about_mailboxes_is_answered(lab: MailLab) -> None:
    provider = MailProvider(
        lab.store, InlineWorker(), directory_of(lab), lab.clock,
        tasks=lambda: pytest.fail("nobody asked"), new_token=lambda: "t",
    )  # fmt: skip
    asked = {
        one
        for one in vars(requests).values()
        if isinstance(one, type) and issubclass(one, HostRequest) and one is not HostRequest
    }
    assert asked | {SubmitEMail, SendEMail} == set(provider.handlers())


def test_a_task_that_was_answered_has_its_turn(lab: MailLab) -> None:
    """Answers come from another thread, when nothing else may happen for a long time."""
    text = b"""entry main { var box = OpenMailbox("INBOX"); void(MailboxAppend(box,null,"t")); }"""
    done = run_program(lab, "x", files={"x.sppr": text})
    assert done.wakes == 2


class TestTheStockApplications:
    """Caller, message, lamp, owner, menu: over the same mailbox."""

    def lamp(self, lab: MailLab) -> VoiceCounts:
        return WaitingMessages(lab.log).counts(ANN)

    def leave(self, lab: MailLab, does: str = "w5 s4 h") -> None:
        caller = {"uri": f"sip:{BOB}", "name": "Bob", "authenticated": BOB, "does": does}
        run_program(lab, "voicemail", caller=caller, accounts={ANN: {}})

    def listen(self, lab: MailLab, does: str) -> list[str]:
        caller = {"uri": f"sip:{ANN}", "authenticated": ANN, "does": does}
        destinations = {BOB: {"does": "w5 h"}, "bob": {"does": "w5 h"}}
        done = run_program(
            lab, "service", parameter=["51"], caller=caller, accounts={ANN: {}, BOB: {}},
            destinations=destinations,
        )  # fmt: skip
        return done.heard

    def test_from_the_caller_to_the_deleted_message(self, lab: MailLab) -> None:
        self.leave(lab)
        assert self.lamp(lab) == VoiceCounts(new=1)
        (message,) = lab.store.messages(ANN, 1).messages.values()
        assert message.content.subject == "Voice Message from Bob"
        assert message.content.content_class == "voice"
        mail = read_message(lab.store.read(ANN, 1, 1))
        assert mail.field("Return-Path") == f"<{ANN}>"
        assert mail.addresses("From")[0].address == BOB
        audio = mail.first("audio")
        assert audio is not None
        assert audio.filename == "voicemail.wav"
        assert audio.payload().startswith(b"RIFF")

        heard = self.listen(lab, "1 w6 * w5")
        assert heard[1:6] == ["youhave.wav", "n1.wav", "newmessages.wav", "inboxmenu.wav", "data"]
        assert self.lamp(lab) == VoiceCounts(old=1)
        self.listen(lab, "2 7 * w5")
        assert self.lamp(lab) == VoiceCounts()
        assert lab.store.messages(ANN, 1).messages == {}, "expunged on leaving"

    def test_an_urgent_one(self, lab: MailLab) -> None:
        self.leave(lab, "w8 # 4 w9")
        assert self.lamp(lab) == VoiceCounts(new=1, urgent_new=1)

    def test_a_cancelled_one_is_not_there(self, lab: MailLab) -> None:
        self.leave(lab, "w8 # * w9")
        assert self.lamp(lab) == VoiceCounts()

    def test_forwarded_to_a_neighbour_it_is_a_voice_message_there(self, lab: MailLab) -> None:
        self.leave(lab)
        self.listen(lab, "1 w6 * w5")
        log = logged(lab, f'SysLog(MailboxForwardByUID(box,1,"{BOB}"));')
        assert log == ["#null#"]
        assert WaitingMessages(lab.log).counts(BOB) == VoiceCounts(new=1)
        mail = read_message(lab.store.read(BOB, 1, 1))
        assert mail.field("Subject") == "Fwd: Voice Message from Bob"
        audio = mail.first("audio")
        original = read_message(lab.store.read(ANN, 1, 1)).first("audio")
        assert audio is not None
        assert original is not None
        assert audio.payload() == original.payload()

    def test_a_full_mailbox_loses_no_caller(self, lab: MailLab) -> None:
        """The program goes on; the reason is in its log."""
        changed = AccountSettingsChanged(values={"MaxAccountSize": "1K"})
        lab.log.append(f"account/{ANN}", 2, [changed], META)
        caller = {"uri": f"sip:{BOB}", "name": "Bob", "does": "w5 s4 h"}
        done = run_program(lab, "voicemail", caller=caller, accounts={ANN: {}})
        assert any("mail storage of ann@example.org is full" in line for line in done.log)


class TestMessages:
    def test_flags_times_and_uids(self, lab: MailLab) -> None:
        lab.put(voice_message())
        lab.put(text_message())
        log = logged(lab, """
            SysLog(Length(box)); SysLog(MailboxUIDs(box,null)); SysLog(MailboxUIDs(box,"Media"));
            SysLog(MailboxSetFlags(box,1,"Seen,Flagged"));
            SysLog(MailboxUIDs(box,"Unseen,Undeleted")); SysLog(MailboxFlagsByUID(box,1));
            SysLog(MailboxFlagsByUID(box,9));
            SysLog(MailboxInternalTimeByUID(box,1) == GMTTime());
            SysLog(IsDate(MailboxInternalTimeByUID(box,1)));
            SysLog(MailboxOrigUIDByUID(box,2)); SysLog(MailboxUIDByOrigUID(box,2));
            SysLog(MailboxUIDByOrigUID(box,7));
            x = NewArray(); AddElement(x,NewArray()); AddElement(x[0],1); AddElement(x[0],9);
            SysLog(MailboxSetFlags(box,x,"Unseen"));
            SysLog(MailboxUIDs(box,"Unseen"));
            SysLog(MailboxSetFlags(box,1,"Nonsense"));
            SysLog(MailboxSetFlags(box,"1","Seen"));
            SysLog(MailboxSetFlags(box,2,"Deleted")); SysLog(MailboxExpunge(box));
            SysLog(MailboxUIDs(box,null)); SysLog(Length(box));
        """)  # fmt: skip
        assert log == [
            "#2", "(#1,#2)", "(#1)", "#null#", "(#2)", "Seen,Flagged,Media", "#null#", "#null#",
            "YES", "#2", "#2", "#null#", "#null#", "(#1,#2)",
            NO_FLAG,
            "a set of messages is a number, or an array of numbers and ranges",
            "#null#", "#null#", "(#1)", "#1",
        ]  # fmt: skip

    def test_what_is_in_a_message(self, lab: MailLab) -> None:
        lab.put(voice_message("Боб <bob@example.org>"))
        log = logged(lab, """
            x = OpenMessage(box,1); y = MessagePart(x,null);
            SysLog(y.("Content-Type") + "/" + y.("Content-Subtype")); SysLog(Length(y.MIMEParts));
            y = MessagePart(x,"audio"); SysLog(y.filename); SysLog(y.MIMEPartID);
            SysLog(y.("Content-Disposition"));
            SysLog(MessagePart(x,"video"));
            SysLog(MessageHeader(x,null,"From")); SysLog(MessageHeader(x,null,"E-From"));
            SysLog(MessageHeader(x,null,"subject")); SysLog(MessageHeader(x,null,"X-None"));
            SysLog(MessageHeader(x,y,"Content-Type")); SysLog(MessageHeader(x,null,null).Subject);
            SysLog(MessageBody(x,null)); SysLog(IsData(MessageBody(x,y)));
            SysLog(MessageBody(x,"7"));
            SysLog(Length(MailboxAudioByUID(box,1))); SysLog(MailboxAudioByUID(box,2));
            SysLog(messageFields(x,"Subject")); SysLog(OpenMessage(box,5));
        """)  # fmt: skip
        assert log == [
            "multipart/mixed", "#2", "voicemail.wav", "2", "attachment", "#null#",
            '({""=bob@example.org;realName="Боб";})', "(bob@example.org)",
            '("Voice Message")', "#null#", '("audio/wav")', '("Voice Message")',
            "12 s\r\n", "YES", "the message has no such part", f"#{len(WAV)}", "#null#",
            '("Voice Message")', "#null#",
        ]  # fmt: skip

    def test_dates_and_xml(self, lab: MailLab) -> None:
        lab.put(
            b"Date: Tue, 24 Nov 2026 13:52:03 +0000\r\nContent-Type: text/xml\r\n\r\n<a><b/></a>"
        )
        lab.put(b"Date: yesterday\r\nContent-Type: text/xml\r\n\r\n<a")
        log = logged(lab, """
            x = OpenMessage(box,1); SysLog(MessageHeader(x,null,"Date"));
            SysLog(IsXML(MessageBody(x,null)));
            x = OpenMessage(box,2); SysLog(MessageHeader(x,null,"Date"));
            SysLog(FindSubstring(MessageBody(x,null),"cannot be read") >= 0);
        """)  # fmt: skip
        assert log == ["(#T24-11-2026_13:52:03)", "YES", "(yesterday)", "YES"]

    def test_attributes(self, lab: MailLab) -> None:
        lab.put(text_message())
        log = logged(lab, """
            x = NewDictionary(); x.note = "call back"; x.other = "y";
            SysLog(UpdateMessageAttr(box,1,x)); SysLog(GetMessageAttr(box,1));
            x = NewDictionary(); x.other = "default"; SysLog(UpdateMessageAttr(box,1,x));
            SysLog(GetMessageAttr(box,1)); SysLog(GetMessageAttr(box,9)); x.n = 7;
            SysLog(UpdateMessageAttr(box,1,x));
        """)  # fmt: skip
        assert log == [
            "#null#", '{note="call back";other=y;}', "#null#", '{note="call back";}',
            "there is no such message", "the attributes of a message are strings",
        ]  # fmt: skip

    def test_appending(self, lab: MailLab) -> None:
        log = logged(lab, """
            x = NewDictionary(); x.Subject = "note"; x.flags = "Seen,Draft"; x.report = "uid";
            x.internalDate = DateByMonthDay(2001,2,3);
            SysLog(MailboxAppend(box,x,"text")); SysLog(MailboxFlagsByUID(box,1));
            x.replacesUID = 1; SysLog(MailboxAppend(box,x,"text 2"));
            SysLog(MailboxUIDs(box,null));
            SysLog(MailboxOrigUIDByUID(box,2)); SysLog(MailboxUIDByOrigUID(box,1));
            x.replaceMode = "ifExists"; SysLog(MailboxAppend(box,x,"text 3"));
            x.flags = "nonsense"; SysLog(IsString(MailboxAppend(box,x,"text 3")));
            SysLog(MailboxAppend(box,null,"bare")); SysLog(Length(box));
        """)  # fmt: skip
        assert log == [
            "#1", "Seen,Draft", "#2", "(#2)", "#1", "#2",
            "the message to be replaced is gone", "YES",
            "#null#", "#2",
        ]  # fmt: skip
        assert read_message(lab.store.read(ANN, 1, 2)).text() == "text 2\r\n"

    def test_copies_and_moves(self, lab: MailLab) -> None:
        for _ in range(3):
            lab.put(text_message())
        log = logged(lab, """
            SysLog(MailboxCopy(box,1,"Work"));
            x = NewDictionary(); x.targetMailbox = "Work"; x.mailboxClass = "IPF.StickyNote";
            x.report = "uid"; SysLog(MailboxCopy(box,1,x));
            x.doMove = "YES"; y = NewArray(); AddElement(y,2); AddElement(y,3);
            SysLog(MailboxCopy(box,y,x)); SysLog(MailboxUIDs(box,null));
            SysLog(MailboxCopy(box,1,"Work")); SysLog(MailboxUIDs(OpenMailbox("Work"),null));
            SysLog(MailboxCopy(box,1,7));
        """)  # fmt: skip
        assert log == [
            "there is no such mailbox", "(#1)", "(#2,#3)", "(#1)", "#null#", "(#1,#2,#3,#4)",
            "the parameters name the target mailbox",
        ]  # fmt: skip
        assert lab.store.box(ANN, "Work").mailbox_class == "IPF.StickyNote"

    def test_sent_on_unchanged(self, lab: MailLab) -> None:
        lab.put(voice_message())
        log = logged(lab, f"""
            SysLog(MailboxRedirectByUID(box,1,"{BOB}, bob")); SysLog(MailboxFlagsByUID(box,1));
            SysLog(MailboxRedirectByUID(box,1,"x@elsewhere.net"));
            SysLog(MailboxRedirectByUID(box,9,"{BOB}")); SysLog(MailboxForwardByUID(box,1,""));
        """)  # fmt: skip
        assert log == [
            "#null#", "Redirected,Media",
            "x@elsewhere.net: mail to other servers is not available yet",
            "there is no such message", "the message has no recipient",
        ]  # fmt: skip
        (message,) = lab.store.messages(BOB, 1).messages.values()
        raw = lab.store.read(BOB, 1, message.uid)
        assert raw.endswith(voice_message())
        assert read_message(raw).field("Resent-From") == ANN


class TestMailboxes:
    def test_list_create_rename_delete(self, lab: MailLab) -> None:
        lab.put(voice_message())
        log = logged(lab, """
            SysLog(CreateMailbox("Work/Old",null));
            SysLog(CreateMailbox("Cal","IPF.Appointment"));
            SysLog(CreateMailbox("Cal",null)); SysLog(CreateMailbox("a//b",null) != null);
            x = ListMailboxes(null); SysLog(Length(x)); SysLog(x.Work); SysLog(x.INBOX.Messages);
            SysLog(x.INBOX.UnseenMedia); SysLog(x.Cal.Class); SysLog(Length(ListMailboxes("W%")));
            SysLog(RenameMailbox("Work/Old","Job",null)); SysLog(OpenMailbox("Work/Old"));
            SysLog(DeleteMailbox("Job",null)); SysLog(OpenMailbox("Job"));
            SysLog(Length(ListMailboxes("*")));
            SysLog(DeleteMailbox("INBOX",null));
        """)  # fmt: skip
        assert log == [
            "#null#", "#null#", "there is a mailbox Cal already", "YES", "#4", "()", "#1", "#1",
            "IPF.Appointment", "#1", "#null#", "there is no such mailbox", "#null#",
            "there is no such mailbox", "#2",
            "INBOX cannot be deleted: mail is delivered into it",
        ]  # fmt: skip

    def test_a_mailbox_with_others_below_is_both(self, lab: MailLab) -> None:
        log = logged(lab, """
            void(CreateMailbox("A",null)); void(CreateMailbox("A/B",null));
            void(CreateMailbox("F/",null));
            x = ListMailboxes("*"); SysLog(IsArray(x.A)); SysLog(x.A[0].Messages); SysLog(x.F);
            SysLog(OpenMailbox("F"));
        """)  # fmt: skip
        assert log == ["YES", "#0", "()", "there is no such mailbox"]

    def test_mailboxes_of_others_are_used_by_right(self, lab: MailLab) -> None:
        lab.store.create(BOB, "Team")
        lab.put(text_message(), BOB, "Team")
        team = lab.store.box(BOB, "Team").number
        opening = 'SysLog(OpenMailbox("~bob/Team")); '
        assert logged(lab, opening) == ["there is no such mailbox"], "not even seen"
        lab.store.set_access(BOB, team, {"ann": "l"})
        assert logged(lab, opening + 'x = ListMailboxes("~bob/*"); SysLog(x);') == [
            "no right r in the mailbox Team", '{"~bob/Team"=l;}',
        ]  # fmt: skip
        lab.store.set_access(BOB, team, {"ann": "lr"})
        log = logged(lab, """
            x = OpenMailbox("~bob@example.org/Team"); SysLog(MailboxUIDs(x,null));
            SysLog(MailboxSetFlags(x,1,"Seen")); SysLog(MailboxSetFlags(x,1,"Flagged"));
            SysLog(MailboxExpunge(x)); SysLog(MailboxAppend(x,null,"t"));
            SysLog(GetMailboxACLs("~bob/Team")); SysLog(CreateMailbox("~bob/Team/Sub",null));
            SysLog(CreateMailbox("~bob/Top",null)); SysLog(DeleteMailbox("~bob/Team",null));
            SysLog(RenameMailbox("~bob/Team","Mine",null)); SysLog(OpenMailbox("~nobody/x"));
            SysLog(MailboxCopy(box,1,"~bob/Team"));
        """)  # fmt: skip
        assert log == [
            "(#1)", "no right s in the mailbox Team", "no right w in the mailbox Team",
            "no right d in the mailbox Team", "no right i in the mailbox Team",
            "no right a in the mailbox Team", "no right c in the mailbox Team",
            "only bob@example.org makes mailboxes at the top of its own",
            "only bob@example.org makes mailboxes at the top of its own",
            "a mailbox stays with its account: copy its messages instead",
            "there is no account nobody", "no right i in the mailbox Team",
        ]  # fmt: skip
        lab.store.set_access(BOB, team, {"ann": "lrswid"})
        log = logged(lab, """
            x = OpenMailbox("~bob/Team"); SysLog(MailboxSetFlags(x,1,"Seen,Deleted"));
            SysLog(MailboxAppend(x,null,"t")); SysLog(MailboxExpunge(x));
            SysLog(MailboxUIDs(x,null));
        """)  # fmt: skip
        assert log == ["#null#", "#null#", "#null#", "(#2)"]

    def test_rights_taken_away_end_at_once(self, lab: MailLab) -> None:
        lab.store.create(ANN, "Own")
        log = logged(lab, """
            x = NewDictionary(); x.bob = "lr"; SysLog(SetMailboxACLs("Own",x));
            SysLog(GetMailboxACLs("Own"));
            x = NewDictionary(); x.bob = NewArray(); SysLog(SetMailboxACLs("Own",x));
            SysLog(GetMailboxACLs("Own")); x.bob = 7; SysLog(IsString(SetMailboxACLs("Own",x)));
            x.bob = "z"; SysLog(SetMailboxACLs("Own",x));
        """)  # fmt: skip
        assert log == [
            "#null#", "{bob=lr;}", "#null#", "{}", "YES",
            "'z' is no right: the letters are lrswipcda",
        ]  # fmt: skip

    def test_a_master_may_do_everything(self, lab: MailLab) -> None:
        lab.put(text_message(), BOB)
        lab.log.append(f"account/{ANN}", 2, [AccountRightsSet(rights=("Master",))], META)
        log = logged(lab, """
            x = OpenMailbox("~bob/INBOX"); SysLog(MailboxUIDs(x,null));
            SysLog(CreateMailbox("~bob/New",null)); SysLog(GetMailboxAliases("bob"));
        """)  # fmt: skip
        assert log == ["(#1)", "#null#", "{}"]

    def test_hidden_messages_are_for_administrators(self, lab: MailLab) -> None:
        lab.store.create(BOB, "Team")
        for _ in range(2):
            lab.put(text_message(), BOB, "Team")
        team = lab.store.box(BOB, "Team").number
        lab.store.set_flags(BOB, team, [1], parse_flags("Hidden"))
        lab.store.set_access(BOB, team, {"ann": "lrsw"})
        log = logged(lab, """
            x = OpenMailbox("~bob/Team"); SysLog(MailboxUIDs(x,null));
            SysLog(MailboxFlagsByUID(x,1));
            SysLog(OpenMessage(x,1)); y = NewArray(); AddElement(y,1); AddElement(y,2);
            SysLog(MailboxSetFlags(x,y,"Flagged"));
        """)  # fmt: skip
        assert log == ["(#2)", "#null#", "#null#", "#null#"]
        flags = {uid: m.flags for uid, m in lab.store.messages(BOB, team).messages.items()}
        assert flags == {1: {"Hidden"}, 2: {"Flagged"}}

    def test_aliases_and_subscription(self, lab: MailLab) -> None:
        lab.store.create(BOB, "group1")
        lab.store.create(BOB, "group1/sub")
        for name in ("group1", "group1/sub"):
            lab.store.set_access(BOB, lab.store.box(BOB, name).number, {"anyone": "lr"})
        log = logged(lab, """
            x = NewDictionary(); x.team = "~bob/group1"; SysLog(SetMailboxAliases(x,null));
            SysLog(GetMailboxAliases(null)); SysLog(ObjectClass(OpenMailbox("team")));
            SysLog(ObjectClass(OpenMailbox("team/sub")));
            SysLog(IsDictionary(ListMailboxes("*").team));
            x.team = "group1"; SysLog(SetMailboxAliases(x,null));
            SysLog(GetMailboxAliases("bob"));
            y = NewArray(); AddElement(y,"INBOX"); AddElement(y,"~bob/group1");
            SysLog(SetMailboxSubscription(y,null)); SysLog(GetMailboxSubscription(null));
            AddElement(y,5); SysLog(SetMailboxSubscription(y,null));
        """)  # fmt: skip
        assert log == [
            "#null#", '{team="~bob/group1";}', "STMailbox", "STMailbox", "YES",
            "an alias stands for a mailbox of somebody: ~account/mailbox",
            "only bob@example.org may do that", "#null#", '(INBOX,"~bob/group1")',
            "the subscription is an array of names",
        ]  # fmt: skip


class TestViews:
    def test_sorted_filtered_and_told_change_by_change(self, lab: MailLab) -> None:
        for subject in ("b", "c", "a"):
            lab.put(text_message(subject))
        log = logged(lab, """
            x = NewDictionary(); x.mailbox = "INBOX"; x.sortField = "Subject";
            x.filter = "Undeleted";
            x.filterField = "FLAGS"; y = OpenMailboxView(x); SysLog(MailboxUIDs(y,null));
            SysLog(Length(y));
            SysLog(Sync(y)); void(MailboxSetFlags(box,1,"Seen"));
            void(MailboxSetFlags(box,2,"Deleted"));
            x = NewDictionary(); x.Subject = "0"; void(MailboxAppend(box,x,"t"));
            SysLog(Sync(y)); SysLog(Sync(y)); SysLog(Sync(y)); SysLog(Sync(y));
            SysLog(MailboxUIDs(y,null));
            x = NewDictionary(); x.k = "v"; void(UpdateMessageAttr(box,3,x)); SysLog(Sync(y));
            SysLog(Sync(y));
            x = NewDictionary(); x.flags = "Flagged"; x.useIndex = "YES";
            SysLog(MailboxSetFlags(y,1,x));
            SysLog(MailboxUIDs(box,"Flagged")); SysLog(Sync(box));
        """)  # fmt: skip
        assert log == [
            "(#3,#1,#2)", "#3", "#null#", "{UID=#2;index=#2;mode=removed;}",
            "{UID=#1;index=#1;mode=updated;}", "{UID=#4;index=#0;mode=added;}", "#null#",
            "(#4,#3,#1)", "{UID=#3;index=#1;mode=attrsUpdated;}", "#null#", "#null#", "(#3)",
            "Sync is for mailbox views",
        ]  # fmt: skip

    def test_a_subscribed_view_sends_events(self, lab: MailLab) -> None:
        log = logged(lab, """
            x = NewDictionary(); x.mailbox = "INBOX"; y = OpenMailboxView(x);
            SubscribeEvents(y,"ref");
            void(MailboxAppend(box,null,"one")); void(MailboxAppend(box,null,"two"));
            x = ReadInput(5); SysLog(IsMailboxNotifyEvent(x)); SysLog(x.parameter);
            SysLog(ReadInput(1));
            SysLog(Sync(y).mode); SysLog(Sync(y).mode); SysLog(Sync(y)); SubscribeEvents(y,null);
            void(MailboxAppend(box,null,"three")); SysLog(ReadInput(1)); SysLog(Sync(y).UID);
        """)  # fmt: skip
        assert log == ["YES", "ref", "#null#", "added", "added", "#null#", "#null#", "#3"]

    @pytest.mark.parametrize(
        ("parameters", "words"),
        [
            ("", "the parameters of a view name its mailbox"),
            ('x.mailbox = "none";', "there is no such mailbox"),
            ('x.mailbox = "INBOX"; x.sortField = "Mood";', "a view cannot be sorted by"),
            ('x.mailbox = "INBOX"; x.sortOrder = "up";', "sortOrder is asc or desc"),
            ('x.mailbox = "INBOX"; x.filter = "a"; x.filterField = "B";', "cannot be filtered"),
            ('x.mailbox = "INBOX"; x.filter = "a"; x.filterField = "FLAGS";', "is no flag"),
        ],
    )
    def test_what_is_no_view(self, lab: MailLab, parameters: str, words: str) -> None:
        (line,) = logged(lab, f"x = NewDictionary(); {parameters} SysLog(OpenMailboxView(x));")
        assert words in line

    def test_with_a_class_it_is_made(self, lab: MailLab) -> None:
        log = logged(lab, """
            x = NewDictionary(); x.mailbox = "Notes"; x.mailboxClass = "IPF.StickyNote";
            x.sortField = "UID";
            x.sortOrder = "desc"; SysLog(ObjectClass(OpenMailboxView(x)));
        """)  # fmt: skip
        assert log == ["STMailboxView"]
        assert lab.store.box(ANN, "Notes").mailbox_class == "IPF.StickyNote"

    def test_indexes_are_for_views_only(self, lab: MailLab) -> None:
        text = """entry main { var box = OpenMailbox("INBOX"), x = NewDictionary();
                  x.flags = "Seen"; x.useIndex = "YES"; void(MailboxSetFlags(box,1,x)); }"""
        with pytest.raises(AssertionError, match="useIndex is for mailbox views"):
            run_text(lab, text)


class TestSending:
    def test_to_several_accounts_with_everything(self, lab: MailLab) -> None:
        lab.administrate.create_group(f"both@{DOMAIN}", ["ann", "bob", "x@elsewhere.net"])
        lab.administrate.create_group(f"us@{DOMAIN}", ["ann", "bob"])
        lab.administrate.create_forwarder(f"fwd@{DOMAIN}", "bob")
        lab.store.create(BOB, "Team")
        log = logged(lab, """
            x = NewDictionary(); x.To = "us"; x.Cc = NewArray(); AddElement(x.Cc,"fwd");
            x.Bcc = "team#bob";
            x.Subject = "Привет"; x.("X-Priority") = "1"; x.("Message-ID") = "<mine@x>";
            x.sourceType = "PBX";
            x.("Content-Class") = "voice"; x.("Reply-To") = "b@x"; SysLog(SubmitEMail(x,"text"));
            x.To = "both"; SysLog(SubmitEMail(x,"text"));
            x.Bcc = "Team#bob"; x.To = "us"; SysLog(SubmitEMail(x,"text"));
        """)  # fmt: skip
        assert log == [
            "bob@example.org: there is no such mailbox",
            "x@elsewhere.net: mail to other servers is not available yet", "#null#",
        ]  # fmt: skip
        team = lab.store.box(BOB, "Team")
        (message,) = lab.store.messages(BOB, team.number).messages.values()
        assert message.content.urgent
        mail = read_message(lab.store.read(BOB, team.number, message.uid))
        assert mail.field("Bcc") == ""
        assert mail.field("Subject") == "Привет"
        assert mail.field("Message-ID") == "<mine@x>"
        assert mail.field("From") == ANN
        assert mail.field("sourceType") == ""
        assert mail.date_s() == lab.clock.wall_ns() // 10**9
        inbox = lab.store.box(BOB, "INBOX").number
        assert len(lab.store.messages(BOB, inbox).messages) == 2, "once each, by whatever ways"
        sources = [r.event for r in lab.log.read(types=["mail.stored.v1"])]
        assert {one.source for one in sources} == {"PBX"}  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        ("headers", "words"),
        [
            ("", "the message has no recipient"),
            ('x.To = "nobody";', "nobody"),
            ('x.To = "x@elsewhere.net";', "mail to other servers is not available yet"),
            (f'x.To = "{ANN}, x@elsewhere.net";', "mail to other servers is not available yet"),
        ],
    )
    def test_nobody_gets_what_cannot_reach_all(
        self, lab: MailLab, headers: str, words: str
    ) -> None:
        (line,) = logged(lab, f'x = NewDictionary(); {headers} SysLog(SubmitEMail(x,"t"));')
        assert words in line
        assert not list(lab.log.read(types=["mail.stored.v1"]))

    def test_contents(self, lab: MailLab) -> None:
        lab.put(voice_message())
        log = logged(lab, """
            var m = OpenMessage(box,1), part, all = NewArray();
            AddElement(all,"text"); AddElement(all,EmptyData());
            part = NewDictionary(); part.body = "<p>"; part.("Content-Type") = "text";
            part.("Content-Subtype") = "html";
            AddElement(all,part);
            part = NewDictionary(); part.source = m; part.MIMEPartID = "2"; AddElement(all,part);
            part = NewDictionary(); part.source = m; part.MIMEPartID = "message";
            AddElement(all,part);
            SysLog(SendEMail(null,"s","ann",null,all));
            part = NewDictionary(); part.source = m; part.MIMEPartID = "9";
            SysLog(SendEMail(null,"s","ann",null,part));
            part = NewDictionary(); part.source = box; part.MIMEPartID = "1";
            SysLog(SendEMail(null,"s","ann",null,part));
            SysLog(SendEMail("Ann <ann@example.org>",null,"ann",null,GMTTime()));
            SysLog(SendEMail(null,null,"ann",null,NewArray()));
        """)  # fmt: skip
        assert log == [
            "#null#", "the message has no part '9'",
            "the source of a part is a message that is open",
            "the content of a message is a string, a datablock, an array or a dictionary",
            "a message has 1 to 200 parts",
        ]  # fmt: skip
        mail = read_message(lab.store.read(ANN, 1, 2))
        assert [part.content_type for part in mail.children] == [
            "text/plain", "application/octet-stream", "text/html", "audio/wav", "message/rfc822",
        ]  # fmt: skip
        assert mail.children[3].payload() == WAV
        assert mail.children[4].payload() == voice_message()


class TestBounds:
    def test_handles_of_a_task(self, lab: MailLab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(desks, "MAX_HANDLES", 3)
        opening = 'OpenMailbox("INBOX")'
        log = logged(lab, f"x = {opening}; x = {opening}; SysLog({opening});")
        assert log == ["the program has 3 mailboxes and messages open"]

    def test_a_handle_of_another_task_opens_nothing(self, lab: MailLab) -> None:
        text = """
            entry Child { SysLog(MailboxUIDs(Vars().startParameter,null)); }
            entry main { var box = OpenMailbox("INBOX"); void(spawn Child(box));
            void(ReadInput(1)); }
        """
        assert run_text(lab, text) in (["there is no such mailbox"], ["#null#"])

    def test_calendars_say_that_they_are_not_there(self, lab: MailLab) -> None:
        asked = 'OpenCalendar("Calendar")', "ProcessCalendar(null,NewDictionary())"
        log = logged(lab, " ".join(f"SysLog({one});" for one in asked))
        assert set(log) == {"500-calendars are not available on this server"}

    def test_a_mailbox_that_goes_while_it_is_open(self, lab: MailLab) -> None:
        log = logged(lab, """
            void(CreateMailbox("Work",null)); x = OpenMailbox("Work");
            void(DeleteMailbox("Work",null));
            SysLog(MailboxUIDs(x,null)); SysLog(MailboxAppend(x,null,"t"));
        """)  # fmt: skip
        assert log == ["there is no such mailbox"] * 2

    def test_a_log_that_takes_nothing(self, lab: MailLab, monkeypatch: pytest.MonkeyPatch) -> None:
        lab.put(text_message())

        def full(*arguments: object) -> int:
            raise LogUnavailable("the disk is full")

        monkeypatch.setattr(lab.log, "append", full)
        log = logged(lab, 'SysLog(MailboxSetFlags(box,1,"Seen")); SysLog(MailboxUIDs(box,"Seen"));')
        assert log == ["500-the disk is full", "()"]

    def test_a_defect_ends_no_thread_and_no_program(
        self, lab: MailLab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*arguments: object, **more: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(lab.store, "expunge", broken)
        assert logged(lab, "SysLog(MailboxExpunge(box));") == ["500-internal error"]

    def test_too_many_requests_at_once(self, lab: MailLab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(InlineWorker, "submit", lambda self, job, done: False)
        assert logged(lab, "SysLog(box);") == ["500-the mail store is busy, try again later"]
