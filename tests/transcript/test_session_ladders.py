"""Ladders inside a session: 100rel, UPDATE, re-INVITE, glare, session timers, REFER, SUBSCRIBE."""

from __future__ import annotations

from sip.core import EngineConfig
from sip.flow import Flow
from tests.transcript.ladder import play

CALL = """
    alice call offer
    INVITE ->
    bob sees InviteReceived
    bob accept answer
    <- 200 INVITE
    alice sees InviteAnswered
    ACK ->
    bob sees InviteConfirmed
"""
HANG_UP = """
    alice bye
    alice sees UsageEnded by=local
    BYE ->
    bob sees UsageEnded by=remote
    <- 200 BYE
    end
"""
NO_UPDATE = EngineConfig(
    methods=("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "PRACK", "INFO", "NOTIFY", "REFER")
)


# -- reliable provisional responses (RFC 3262)


def test_answer_in_a_reliable_response() -> None:
    """The 2xx waits for the PRACK of the 183 that carries SDP (RFC 3262 §5)."""
    play(
        """
        alice call offer
        INVITE -> | Supported: 100rel
        bob sees InviteReceived
        bob provisional 183 answer reliably
        bob accept answer
        <- 183 INVITE | Require: 100rel | RSeq: | body=answer
        alice sees InviteProgress body=answer reliable=True answer_needed=False
        PRACK -> | RAck:
        <- 200 PRACK
        <- 200 INVITE
        alice sees InviteAnswered body=answer
        ACK ->
        bob sees InviteConfirmed
        """
        + HANG_UP
    )


def test_reliable_responses_go_one_at_a_time() -> None:
    """RFC 3262 §3: the second waits for the PRACK of the first; RSeq grows by one."""
    play(
        """
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob provisional 180 reliably
        bob provisional 183 answer reliably
        bob provisional 180
        <- 180 INVITE
        alice sees InviteProgress reliable=True
        PRACK ->
        <- 200 PRACK
        <- 183 INVITE
        alice sees InviteProgress body=answer reliable=True
        PRACK ->
        <- 200 PRACK
        <- 180 INVITE | !RSeq
        alice sees InviteProgress reliable=False
        bob accept
        <- 200 INVITE
        alice sees InviteAnswered body=
        ACK ->
        bob sees InviteConfirmed
        """
        + HANG_UP
    )


def test_lost_prack_and_lost_reliable_response() -> None:
    """Repetitions of the 183 do not make a second PRACK; the transaction repeats the first."""
    play(
        """
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob provisional 183 answer reliably
        x- 183 INVITE
        wait 0.5
        # Alice repeats her INVITE, which brings the 183 again.
        INVITE ->
        <- 183 INVITE
        alice sees InviteProgress reliable=True
        PRACK -x
        <- 183 INVITE
        quiet
        wait 0.5
        PRACK ->
        <- 200 PRACK
        bob accept
        <- 200 INVITE
        alice sees InviteAnswered
        ACK ->
        bob sees InviteConfirmed
        """
        + HANG_UP
    )


def test_reliable_response_that_is_never_acknowledged() -> None:
    """RFC 3262 §3: after 64·T1 the INVITE is refused with a 5xx."""
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob provisional 180
        <- 180 INVITE
        alice sees InviteProgress
        bob provisional 183 answer reliably
        x- 183 INVITE
        wait 31.9
        x- 183 INVITE
        x- 183 INVITE
        x- 183 INVITE
        x- 183 INVITE
        x- 183 INVITE
        x- 183 INVITE
        wait 0.1
        bob sees InviteFailed status=504 cause=timeout
        <- 504 INVITE
        ACK ->
        alice sees InviteFailed status=504 cause=response
        end
    """)


def test_reliability_that_the_caller_requires() -> None:
    play(
        """
        alice call offer reliable=required
        INVITE -> | Require: 100rel
        bob sees InviteReceived
        bob provisional 180
        <- 180 INVITE | RSeq:
        alice sees InviteProgress reliable=True
        PRACK ->
        <- 200 PRACK
        bob accept answer
        <- 200 INVITE
        alice sees InviteAnswered
        ACK ->
        bob sees InviteConfirmed
        """
        + HANG_UP
    )


def test_reliability_that_the_caller_switched_off() -> None:
    play(
        """
        alice call offer reliable=off
        INVITE -> | Supported: timer
        bob sees InviteReceived
        bob provisional 180 reliably
        <- 180 INVITE | !RSeq
        alice sees InviteProgress reliable=False
        bob accept answer
        <- 200 INVITE
        alice sees InviteAnswered
        ACK ->
        bob sees InviteConfirmed
        """
        + HANG_UP
    )


def test_late_offer_in_a_reliable_response() -> None:
    """The offer comes in the 183, the answer goes into the PRACK (RFC 3262 §5)."""
    play(
        """
        alice call -
        INVITE ->
        bob sees InviteReceived
        bob provisional 183 bobs-offer reliably
        <- 183 INVITE
        alice sees InviteProgress body=bobs-offer reliable=True answer_needed=True
        quiet
        alice ack alices-answer
        PRACK -> | body=alices-answer
        bob sees AnswerReceived body=alices-answer
        <- 200 PRACK
        bob accept
        <- 200 INVITE | !Content-Type
        alice sees InviteAnswered body= answer_needed=False
        ACK ->
        bob sees InviteConfirmed
        """
        + HANG_UP
    )


def test_update_in_the_early_dialog() -> None:
    """RFC 3311 §5.1: a new offer before the answer, once the first exchange is closed."""
    play(
        """
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob provisional 183 answer reliably
        <- 183 INVITE
        alice sees InviteProgress
        PRACK ->
        <- 200 PRACK
        alice offer offer2
        UPDATE -> | body=offer2
        bob sees OfferReceived body=offer2 method=UPDATE
        bob answer answer2
        <- 200 UPDATE | body=answer2
        alice sees AnswerReceived body=answer2
        bob accept
        <- 200 INVITE
        alice sees InviteAnswered
        ACK ->
        bob sees InviteConfirmed
        """
        + HANG_UP
    )


# -- re-INVITE and UPDATE in the session


def test_reinvite() -> None:
    play(
        CALL
        + """
        alice offer hold
        INVITE -> | body=hold | Contact: <sip:alice@
        bob sees OfferReceived body=hold method=INVITE
        bob answer held
        <- 200 INVITE | body=held
        alice sees AnswerReceived body=held
        ACK ->
        bob offer resume
        <- INVITE
        alice sees OfferReceived body=resume method=INVITE
        wait 0.2
        100 INVITE ->
        alice answer resumed
        200 INVITE ->
        bob sees AnswerReceived body=resumed
        <- ACK
        """
        + HANG_UP
    )


def test_refused_reinvite_leaves_the_session() -> None:
    """RFC 3261 §14.1."""
    play(
        CALL
        + """
        alice offer video
        INVITE ->
        bob sees OfferReceived
        bob reject_offer 488
        <- 488 INVITE
        ACK ->
        alice sees OfferFailed status=488
        """
        + HANG_UP
    )


def test_reinvite_without_sdp() -> None:
    """The peer makes the offer in its 2xx; the answer goes into the ACK."""
    play(
        CALL
        + """
        alice offer -
        INVITE -> | !Content-Type
        bob sees OfferRequested
        bob answer_with_offer bobs-offer
        <- 200 INVITE | body=bobs-offer
        alice sees OfferReceived body=bobs-offer method=INVITE
        quiet
        alice answer alices-answer
        ACK -> | body=alices-answer
        bob sees AnswerReceived body=alices-answer
        """
        + HANG_UP
    )


def test_same_offer_is_answered_from_memory() -> None:
    """A refresh that changes nothing does not reach the user."""
    play(
        CALL
        + """
        alice offer offer
        INVITE ->
        <- 200 INVITE | body=answer
        alice sees AnswerReceived body=answer
        ACK ->
        alice offer offer method=UPDATE
        UPDATE ->
        <- 200 UPDATE | body=answer
        alice sees AnswerReceived body=answer
        """
        + HANG_UP
    )


def test_glare() -> None:
    """RFC 3261 §14.1: both get 491; Bob, who does not own the Call-ID, tries again first."""
    ladder = play(
        CALL
        + """
        alice offer hold-a
        bob offer hold-b
        INVITE ->
        <- INVITE
        <- 491 INVITE
        491 INVITE ->
        ACK ->
        <- ACK
        wait 1.21
        <- INVITE | body=hold-b
        alice sees OfferReceived body=hold-b
        alice answer held-b
        200 INVITE ->
        bob sees AnswerReceived body=held-b
        <- ACK
        wait 1.37
        INVITE -> | body=hold-a
        bob sees OfferReceived body=hold-a
        bob answer held-a
        <- 200 INVITE
        alice sees AnswerReceived body=held-a
        ACK ->
        """
        + HANG_UP
    )
    retries = [at for at, who, line in ladder.pair.trace if line == "INVITE" and at > 0]
    assert 0 <= retries[0] <= 2.0
    assert 2.1 <= retries[1] <= 4.0


def test_offers_wait_for_each_other() -> None:
    play(
        CALL
        + """
        alice offer first
        alice offer second
        INVITE -> | body=first
        quiet
        bob sees OfferReceived body=first
        bob answer a1
        <- 200 INVITE
        alice sees AnswerReceived body=a1
        ACK ->
        INVITE -> | body=second
        bob sees OfferReceived body=second
        bob answer a2
        <- 200 INVITE
        alice sees AnswerReceived body=a2
        ACK ->
        """
        + HANG_UP
    )


def test_overlapping_invite_is_put_off() -> None:
    """RFC 3261 §14.2: a second INVITE before the final response to the first gets 500."""
    ladder = play(CALL)
    pair = ladder.pair
    alice = ladder.usages["alice"]
    for body in ("one", "two"):
        dialog = alice.dialog
        request = dialog.new_request(
            alice, "INVITE", "Content-Type: application/sdp\r\n", body.encode(), contact=True
        )
        request.start(dialog.hop(), pair.now)
    for line in (
        "INVITE -> | body=one",
        "INVITE -> | body=two",
        "bob sees OfferReceived body=one",
        "<- 500 INVITE | Retry-After:",
    ):
        ladder.step(line)


def test_offer_cancelled_by_the_peer() -> None:
    """A CANCEL of a re-INVITE ends the offer, not the session."""
    ladder = play(CALL)
    pair = ladder.pair
    for line in (
        "alice offer hold",
        "INVITE ->",
        "bob sees OfferReceived",
        "wait 0.2",
        "<- 100 INVITE",
    ):
        ladder.step(line)
    ladder.usages["alice"]._offer_client.cancel("", pair.now)
    for line in (
        "CANCEL ->",
        "bob sees OfferFailed status=487",
        "<- 200 CANCEL",
        "<- 487 INVITE",
        "ACK ->",
        "alice sees OfferFailed status=487",
        *HANG_UP.strip().splitlines(),
    ):
        ladder.step(line.strip())


def test_lost_ack_of_a_reinvite() -> None:
    play(
        CALL
        + """
        alice offer hold
        INVITE ->
        bob sees OfferReceived
        bob answer held
        <- 200 INVITE
        alice sees AnswerReceived
        ACK -x
        wait 0.5
        <- 200 INVITE
        ACK ->
        wait 5
        quiet
        """
        + HANG_UP
    )


def test_bye_while_an_offer_is_open() -> None:
    """RFC 3261 §15.1.2: the unanswered re-INVITE gets 487."""
    play(
        CALL
        + """
        alice offer hold
        INVITE ->
        bob sees OfferReceived
        bob bye
        bob sees UsageEnded by=local
        <- BYE
        alice sees UsageEnded by=remote
        200 BYE ->
        <- 487 INVITE
        ACK ->
        end
        """
    )


# -- session timers (RFC 4028)


def test_interval_too_small() -> None:
    """§9: 422 with Min-SE; the INVITE is repeated with a longer interval and a higher CSeq."""
    play(
        """
        alice call offer session_expires=90
        INVITE -> | Session-Expires: 90 | CSeq: 1 INVITE
        <- 422 INVITE | Min-SE: 600
        ACK ->
        INVITE -> | Session-Expires: 600 | Min-SE: 600 | CSeq: 2 INVITE
        bob sees InviteReceived
        bob accept answer
        <- 200 INVITE | Session-Expires: 600;refresher=uac | Require: timer
        alice sees InviteAnswered
        ACK ->
        bob sees InviteConfirmed
        """
        + HANG_UP,
        bob=EngineConfig(min_se_s=600),
    )


def test_refresh_at_half_time_by_update() -> None:
    """§10: interval 90, refresher uac: UPDATE at 45 s, without SDP, and again at 90 s."""
    ladder = play(
        """
        alice call offer session_expires=90
        """
        + CALL.replace("alice call offer", "")
        + """
        wait 45
        UPDATE -> | Session-Expires: 90;refresher=uac | !Content-Type
        <- 200 UPDATE | Session-Expires: 90;refresher=uac
        wait 45
        UPDATE ->
        <- 200 UPDATE
        """
        + HANG_UP
    )
    assert [at for at, _, line in ladder.pair.trace if line == "UPDATE"] == [45, 90]


def test_refresh_by_reinvite_when_the_peer_has_no_update() -> None:
    """§7.4: the same SDP again, byte for byte, and answered from memory."""
    play(
        """
        alice call offer session_expires=90
        """
        + CALL.replace("alice call offer", "")
        + """
        wait 45
        INVITE -> | body=offer
        <- 200 INVITE | body=answer
        ACK ->
        """
        + HANG_UP,
        bob=NO_UPDATE,
    )


def test_session_that_nobody_refreshes() -> None:
    """§10: the callee hangs up at 60 s, which is 90 − min(32, 30)."""
    ladder = play(
        """
        alice call offer session_expires=90
        """
        + CALL.replace("alice call offer", "")
        + """
        wait 60
        UPDATE -x
        UPDATE -x
        UPDATE -x
        UPDATE -x
        UPDATE -x
        UPDATE -x
        bob sees UsageEnded by=timeout
        <- BYE
        alice sees UsageEnded by=remote
        200 BYE ->
        end
        """
    )
    assert [at for at, _, line in ladder.pair.trace if line == "BYE"] == [60]


def test_refresher_that_gets_no_answer() -> None:
    """RFC 3261 §12.2.1.2: a refresh that times out ends the session."""
    ladder = play(
        """
        alice call offer session_expires=600
        """
        + CALL.replace("alice call offer", "")
    )
    ladder.pair.advance(300, deliver=False)
    ladder.pair.advance(31.9, deliver=False)
    ladder.pair.drop_all()
    ladder.step("wait 0.2")
    ladder.step("alice sees UsageEnded by=timeout")
    ladder.step("BYE ->")
    ladder.step("bob sees UsageEnded by=remote")
    ladder.step("<- 200 BYE")
    ladder.step("end")


def test_callee_refreshes_for_a_caller_without_the_extension() -> None:
    """§9, table 2: who does not support timers cannot be the refresher."""
    play(
        CALL
        + """
        wait 900
        <- UPDATE | Session-Expires: 1800;refresher=uac
        200 UPDATE -> | Session-Expires: 1800;refresher=uac
        """
        + HANG_UP,
        alice=EngineConfig(supported=("100rel",), session_expires_s=0),
    )


def test_options_probe_without_session_timer() -> None:
    """OPTIONS in the dialog finds out whether the peer is still there."""
    quiet = EngineConfig(supported=(), session_expires_s=0, keepalive_s=100)
    play(
        CALL
        + """
        wait 100
        OPTIONS ->
        <- OPTIONS
        bob sees DialogRequest
        bob respond 200
        <- 200 OPTIONS
        alice sees DialogRequest
        alice respond 501
        501 OPTIONS ->
        wait 100
        OPTIONS ->
        <- OPTIONS
        bob sees DialogRequest
        bob respond 481
        alice sees DialogRequest
        <- 481 OPTIONS
        alice sees UsageEnded by=remote
        BYE ->
        bob sees UsageEnded by=remote
        <- 200 BYE
        """,
        alice=quiet,
        bob=quiet,
    )


# -- requests in the dialog, REFER


def test_info_and_its_refusals() -> None:
    play(
        CALL
        + """
        alice request INFO
        INFO ->
        bob sees DialogRequest
        bob respond 200
        <- 200 INFO
        alice sees DialogResponse cause=response
        bob request MESSAGE
        <- MESSAGE
        alice sees DialogRequest
        alice respond 415
        415 MESSAGE ->
        bob sees DialogResponse cause=response
        """
        + HANG_UP
    )


def test_request_in_a_dialog_that_the_peer_forgot() -> None:
    """RFC 5057 §5.1: 481 ends the whole dialog."""
    play(
        CALL
        + """
        alice request INFO
        INFO ->
        bob sees DialogRequest
        bob respond 481
        <- 481 INFO
        alice sees DialogResponse
        alice sees UsageEnded by=remote
        BYE ->
        bob sees UsageEnded by=remote
        <- 200 BYE
        end
        """
    )


def test_refer_with_notifications() -> None:
    """RFC 3515 §2.4.4: 202, a first NOTIFY at once, progress one at a time, the last ends it."""
    play(
        CALL
        + """
        bob request REFER <sip:carol@192.0.2.77>
        <- REFER | Refer-To: <sip:carol@192.0.2.77>
        alice sees ReferReceived
        alice respond 202
        202 REFER ->
        bob sees DialogResponse
        NOTIFY -> | Subscription-State: active;expires=180 | Event: refer
        alice notify_refer 180
        alice notify_refer 200 final
        bob sees ReferProgress status=100 final=False
        <- 200 NOTIFY
        NOTIFY -> | Subscription-State: active
        bob sees ReferProgress status=180 final=False
        <- 200 NOTIFY
        NOTIFY -> | Subscription-State: terminated;reason=noresource
        bob sees ReferProgress status=200 reason=OK final=True
        <- 200 NOTIFY
        """
        + HANG_UP
    )


def test_transferor_hangs_up_before_the_outcome() -> None:
    """The subscription outlives the session (RFC 5057 §4): the outcome is still reported."""
    play(
        CALL
        + """
        bob request REFER <sip:carol@192.0.2.77>
        <- REFER
        alice sees ReferReceived
        alice respond 202
        202 REFER ->
        bob sees DialogResponse
        NOTIFY ->
        bob sees ReferProgress status=100
        <- 200 NOTIFY
        bob bye
        bob sees UsageEnded by=local
        <- BYE
        alice sees UsageEnded by=remote
        alice notify_refer 200 final
        200 BYE ->
        NOTIFY ->
        <- 481 NOTIFY
        end
        """
    )


def test_refer_declined() -> None:
    play(
        CALL
        + """
        bob request REFER <sip:carol@192.0.2.77>
        <- REFER
        alice sees ReferReceived
        alice respond 603
        603 REFER ->
        bob sees DialogResponse
        """
        + HANG_UP
    )


def test_refer_whose_outcome_never_comes() -> None:
    """The implicit subscription ends by itself after three minutes."""
    ladder = play(
        CALL
        + """
        bob request REFER <sip:carol@192.0.2.77>
        <- REFER
        alice sees ReferReceived
        alice respond 202
        202 REFER ->
        bob sees DialogResponse
        NOTIFY ->
        bob sees ReferProgress status=100
        <- 200 NOTIFY
        wait 180
        NOTIFY -> | Subscription-State: terminated
        bob sees ReferProgress status=100 final=True
        <- 200 NOTIFY
        """
        + HANG_UP
    )
    assert not ladder.usages["alice"]._refers


# -- subscriptions (RFC 6665)


def test_subscription() -> None:
    play("""
        alice subscribe message-summary 3600
        SUBSCRIBE -> | Event: message-summary | Expires: 3600 | Contact: <sip:
        bob sees RequestReceived
        bob accept_subscription 3600
        bob notify waiting:no
        <- 200 SUBSCRIBE | Expires: 3600 | Contact: <sip:bob@
        <- NOTIFY | Subscription-State: active;expires=3600 | Event: message-summary
        alice sees SubscriptionNotified state=active body=waiting:no
        200 NOTIFY ->
        bob notify one
        bob notify two
        bob notify three
        <- NOTIFY | body=one
        alice sees SubscriptionNotified body=one
        200 NOTIFY ->
        <- NOTIFY | body=three
        alice sees SubscriptionNotified body=three
        200 NOTIFY ->
        alice unsubscribe
        SUBSCRIBE -> | Expires: 0
        bob sees SubscriptionEnded reason=unsubscribed
        <- 200 SUBSCRIBE
        <- NOTIFY | Subscription-State: terminated;reason=timeout | body=three
        alice sees SubscriptionNotified state=terminated
        alice sees SubscriptionEnded reason=unsubscribed
        200 NOTIFY ->
        end
    """)


def test_subscription_is_refreshed() -> None:
    play("""
        alice subscribe presence 100
        SUBSCRIBE ->
        bob sees RequestReceived
        bob accept_subscription 100
        bob notify open
        <- 200 SUBSCRIBE
        <- NOTIFY
        alice sees SubscriptionNotified
        200 NOTIFY ->
        wait 90
        SUBSCRIBE -> | CSeq: 2 SUBSCRIBE
        bob sees SubscriptionRefreshed expires_s=100
        bob notify closed
        <- 200 SUBSCRIBE
        <- NOTIFY | Subscription-State: active;expires=100
        alice sees SubscriptionNotified
        200 NOTIFY ->
        bob terminate
        bob sees SubscriptionEnded reason=noresource
        <- NOTIFY | Subscription-State: terminated;reason=noresource
        alice sees SubscriptionNotified
        alice sees SubscriptionEnded reason=noresource
        200 NOTIFY ->
        end
    """)


def test_notify_before_the_answer() -> None:
    """RFC 6665 §4.1.2.4: the NOTIFY opens the dialog, the late 200 finds it."""
    play("""
        alice subscribe dialog 100
        SUBSCRIBE ->
        bob sees RequestReceived
        bob accept_subscription 100
        bob notify full
        x- 200 SUBSCRIBE
        <- NOTIFY
        alice sees SubscriptionNotified state=active
        200 NOTIFY ->
        wait 0.5
        SUBSCRIBE ->
        <- 200 SUBSCRIBE
        alice unsubscribe
        SUBSCRIBE -> | CSeq: 2 SUBSCRIBE
        bob sees SubscriptionEnded
        <- 200 SUBSCRIBE
        <- NOTIFY
        alice sees SubscriptionNotified
        alice sees SubscriptionEnded
        200 NOTIFY ->
        end
    """)


def test_subscription_refused_expired_and_unheard() -> None:
    play("""
        alice subscribe reg 60
        SUBSCRIBE ->
        bob sees RequestReceived
        bob respond 489
        <- 489 SUBSCRIBE
        alice sees SubscriptionEnded reason=rejected status=489
        end
    """)
    play("""
        alice subscribe reg 60
        SUBSCRIBE ->
        bob sees RequestReceived
        bob accept_subscription 60
        bob notify x
        <- 200 SUBSCRIBE
        <- NOTIFY
        alice sees SubscriptionNotified
        200 NOTIFY ->
        wait 60
        SUBSCRIBE -x
        SUBSCRIBE -x
        SUBSCRIBE -x
        SUBSCRIBE -x
        bob sees SubscriptionEnded reason=timeout
        <- NOTIFY | Subscription-State: terminated;reason=timeout
        alice sees SubscriptionNotified
        alice sees SubscriptionEnded reason=timeout
        200 NOTIFY ->
        wait 4
        SUBSCRIBE ->
        <- 481 SUBSCRIBE
        end
    """)


# -- one INVITE, two phones


def test_second_answer_of_a_forked_invite() -> None:
    """RFC 3261 §13.2.2.4: ACK and BYE for the phone that was too late, and again when repeated."""
    ladder = play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob accept answer
    """)
    pair = ladder.pair
    pair.collect()
    first = pair.wire[0]
    tag = ladder.usages["bob"].local_tag.encode()
    late = first.data.replace(tag, b"another-phone")
    for line in (
        "<- 200 INVITE",
        "alice sees InviteAnswered",
        "ACK ->",
        "bob sees InviteConfirmed",
    ):
        ladder.step(line)
    flow = Flow("udp", pair.alice.address, pair.bob.address)
    for expected in (["ACK", "BYE"], ["ACK"]):
        pair.alice.engine.receive_datagram(late, flow, pair.now)
        pair.collect()
        sent = [packet for packet in pair.wire if b";tag=another-phone" in packet.data]
        assert [packet.line for packet in sent] == expected
        pair.wire = []
    # The other phone answers the repeated BYE.
    ladder.step("wait 0.5")
    ladder.step("BYE ->")
    ladder.step("<- 481 BYE")
    for line in HANG_UP.strip().splitlines():
        ladder.step(line.strip())
