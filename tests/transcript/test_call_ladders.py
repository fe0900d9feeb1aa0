"""Ladders of whole calls: set-up, refusal, CANCEL and its races, late offer, lost messages."""

from __future__ import annotations

from sip.core import EngineConfig
from tests.transcript.ladder import play


def test_basic_call() -> None:
    """RFC 3665 §3.1; 100 only because Bob took longer than 200 ms (RFC 3261 §17.2.1)."""
    play("""
        alice call offer
        INVITE -> | Contact: <sip:alice@192.0.2.101:5060> | Max-Forwards: 70 | body=offer
        bob sees InviteReceived
        wait 0.2
        <- 100 INVITE | !Contact
        bob provisional 180
        <- 180 INVITE | Contact: <sip:bob@192.0.2.201:5060> | Allow: INVITE
        alice sees InviteProgress body= reliable=False
        bob accept answer
        <- 200 INVITE | Supported: 100rel | Session-Expires: 1800;refresher=uac
        alice sees InviteAnswered body=answer answer_needed=False
        ACK -> | !Content-Type
        bob sees InviteConfirmed body=
        alice bye
        alice sees UsageEnded by=local
        BYE ->
        bob sees UsageEnded by=remote
        <- 200 BYE
        end
    """)


def test_refusal_is_acknowledged_by_the_transaction() -> None:
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob reject 486
        <- 486 INVITE
        ACK ->
        alice sees InviteFailed status=486 cause=response
        end
    """)


def test_lost_refusal_is_repeated() -> None:
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob reject 603
        x- 603 INVITE
        wait 0.5
        # Both repeat at the same moment; the repeated INVITE is answered once more.
        INVITE ->
        <- 603 INVITE
        ACK -x
        alice sees InviteFailed status=603 cause=response
        <- 603 INVITE
        ACK ->
        quiet
        end
    """)


def test_cancel_after_ringing() -> None:
    """RFC 3261 §9: 200 to the CANCEL, 487 to the INVITE, ACK to that."""
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob provisional 180
        <- 180 INVITE
        alice sees InviteProgress
        alice cancel
        CANCEL -> | !Require | CSeq: 1 CANCEL
        bob sees InviteCancelled
        <- 200 CANCEL
        <- 487 INVITE
        ACK ->
        alice sees InviteFailed status=487 cause=cancelled
        end
    """)


def test_cancel_waits_for_a_provisional_response() -> None:
    """RFC 3261 §9.1: no CANCEL before something came back."""
    play("""
        alice call offer
        alice cancel
        INVITE ->
        bob sees InviteReceived
        quiet
        wait 0.2
        <- 100 INVITE
        CANCEL ->
        bob sees InviteCancelled
        <- 200 CANCEL
        <- 487 INVITE
        ACK ->
        alice sees InviteFailed status=487 cause=cancelled
        end
    """)


def test_answer_crosses_cancel() -> None:
    """RFC 3261 §9.1: the 2xx that crosses a CANCEL is acknowledged and ended by BYE."""
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob provisional 180
        <- 180 INVITE
        alice sees InviteProgress
        alice cancel
        bob accept answer
        CANCEL ->
        <- 200 INVITE
        alice sees InviteFailed status=487 response=None cause=cancelled
        <- 200 CANCEL
        ACK ->
        bob sees InviteConfirmed
        BYE ->
        bob sees UsageEnded by=remote
        <- 200 BYE
        end
    """)


def test_cancelled_call_that_nobody_ends() -> None:
    """RFC 3261 §9.1: 64·T1 after the CANCEL the caller gives up on a deaf server."""
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob provisional 180
        <- 180 INVITE
        alice sees InviteProgress
        alice cancel
        CANCEL -x
        wait 0.5
        CANCEL ->
        bob sees InviteCancelled
        <- 200 CANCEL
        x- 487 INVITE
        wait 31.9
        x- 487 INVITE
        x- 487 INVITE
        x- 487 INVITE
        x- 487 INVITE
        x- 487 INVITE
        x- 487 INVITE
        x- 487 INVITE
        x- 487 INVITE
        x- 487 INVITE
        x- 487 INVITE
        alice sees InviteFailed status=487 response=None cause=cancelled
        end
    """)


def test_late_offer() -> None:
    """RFC 3264 §4: the offer comes in the 2xx, the answer goes into the ACK."""
    play("""
        alice call -
        INVITE -> | !Content-Type
        bob sees InviteReceived
        bob accept bobs-offer
        <- 200 INVITE | Content-Type: application/sdp
        alice sees InviteAnswered body=bobs-offer answer_needed=True
        quiet
        alice ack alices-answer
        ACK -> | body=alices-answer
        bob sees InviteConfirmed body=alices-answer
        alice bye
        alice sees UsageEnded
        BYE ->
        bob sees UsageEnded
        <- 200 BYE
        end
    """)


def test_lost_ack_makes_the_answer_repeat() -> None:
    """RFC 3261 §13.3.1.4 and §13.2.2.4: 2xx again, ACK again; the user hears nothing of it."""
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob accept answer
        <- 200 INVITE
        alice sees InviteAnswered
        ACK -x
        wait 0.5
        <- 200 INVITE
        ACK -x
        wait 1.0
        <- 200 INVITE
        ACK ->
        bob sees InviteConfirmed
        wait 40
        quiet
        bob bye
        bob sees UsageEnded by=local
        <- BYE
        alice sees UsageEnded by=remote
        200 BYE ->
        end
    """)


def test_ack_that_never_comes_ends_the_call() -> None:
    """RFC 3261 §13.3.1.4: after 64·T1 the callee sends BYE."""
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob accept answer
        <- 200 INVITE
        alice sees InviteAnswered
        ACK -x
        wait 31.9
        x- 200 INVITE
        x- 200 INVITE
        x- 200 INVITE
        x- 200 INVITE
        x- 200 INVITE
        x- 200 INVITE
        x- 200 INVITE
        x- 200 INVITE
        x- 200 INVITE
        x- 200 INVITE
        wait 0.2
        bob sees UsageEnded by=ack-timeout
        <- BYE
        alice sees UsageEnded by=remote
        200 BYE ->
        end
    """)


def test_callee_hangs_up_before_the_ack() -> None:
    """RFC 3261 §15: the callee's BYE waits for the ACK of its 2xx."""
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob accept answer
        bob bye
        bob sees UsageEnded by=local
        <- 200 INVITE
        alice sees InviteAnswered
        ACK ->
        <- BYE
        alice sees UsageEnded by=remote
        200 BYE ->
        end
    """)


def test_lost_bye_is_repeated() -> None:
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob accept answer
        <- 200 INVITE
        alice sees InviteAnswered
        ACK ->
        bob sees InviteConfirmed
        alice bye
        alice sees UsageEnded by=local
        BYE -x
        wait 0.5
        BYE ->
        bob sees UsageEnded by=remote
        x- 200 BYE
        wait 1.0
        BYE ->
        <- 200 BYE
        end
    """)


def test_both_hang_up_at_once() -> None:
    """Crossing BYEs are both answered 200, and each side ends once."""
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob accept answer
        <- 200 INVITE
        alice sees InviteAnswered
        ACK ->
        bob sees InviteConfirmed
        alice bye
        bob bye
        alice sees UsageEnded by=local
        bob sees UsageEnded by=local
        BYE ->
        <- BYE
        <- 200 BYE
        200 BYE ->
        end
    """)


def test_caller_sends_bye_on_the_early_dialog() -> None:
    """RFC 3261 §15: a caller may; the callee answers 200 and ends the INVITE with 487."""
    ladder = play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob provisional 180
        <- 180 INVITE
        alice sees InviteProgress
    """)
    pair = ladder.pair
    dialog = ladder.usages["alice"].dialog
    bye = dialog.new_request(ladder.usages["alice"], "BYE", "Reason: SIP;cause=600\r\n")
    ladder.usages["alice"]._closing += 1  # as `_send_bye` would
    bye.start(dialog.hop(), pair.now)
    for line in (
        "BYE ->",
        "bob sees InviteCancelled reason_header=SIP;cause=600",
        "<- 200 BYE",
        "<- 487 INVITE",
        "ACK ->",
        "alice sees InviteFailed status=487 cause=response",
        "end",
    ):
        ladder.step(line)


def test_redirection_is_left_to_the_user() -> None:
    play("""
        alice call offer
        INVITE ->
        bob sees InviteReceived
        bob reject 302
        <- 302 INVITE
        ACK ->
        alice sees InviteFailed status=302 cause=response
        end
    """)


def test_silent_callee_times_out() -> None:
    """Timer check: an INVITE over UDP leaves at 0, .5, 1.5, 3.5, 7.5, 15.5, 31.5 s, ends at 32."""
    ladder = play("""
        alice call offer
        wait 31.9
        INVITE -x
        INVITE -x
        INVITE -x
        INVITE -x
        INVITE -x
        INVITE -x
        INVITE -x
        wait 0.1
        alice sees InviteFailed status=408 cause=timeout
        end
    """)
    times = [at for at, _, line in ladder.pair.trace if line == "INVITE"]
    assert times == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]


def test_trying_at_once_when_configured() -> None:
    play(
        """
        alice call offer
        INVITE ->
        bob sees InviteReceived
        <- 100 INVITE
        bob reject 480
        <- 480 INVITE
        ACK ->
        alice sees InviteFailed status=480
        end
        """,
        bob=EngineConfig(trying_delay_s=0),
    )
