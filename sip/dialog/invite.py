"""INVITE usage: signatures only for now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sip.flow import Flow
    from sip.request import ClientRequest
    from sip.transaction.server import ServerTransaction

ExtraHeaders = Iterable[tuple[str, str]]


class InviteUsage:
    """One INVITE session of a dialog. Every method takes `now` by keyword."""

    role: str  # "uac" | "uas"
    state: str  # "trying" | "proceeding" | "early" | "answered" | "confirmed" | "ended"
    call_id: str
    local_tag: str
    remote_tag: str
    local_uri: str  # text of our From/To without the tag
    remote_uri: str
    remote_allow: frozenset[str]  # methods, empty when the peer never said
    remote_supported: frozenset[str]
    local_body: bytes  # last SDP we sent
    remote_body: bytes  # last SDP the peer sent
    last_cseq: int
    flow: Flow | None  # last flow a message of the peer came over
    user: object

    def provisional(
        self,
        status: int,
        body: bytes = b"",
        headers: ExtraHeaders = (),
        reliable: bool | None = None,
        *,
        now: float,
        reason: str | None = None,
        content_type: str = "application/sdp",
    ) -> None:
        """UAS: send 1xx. `reliable` None: only if the peer requires 100rel; True: if it can."""

    def accept(
        self,
        body: bytes = b"",
        headers: ExtraHeaders = (),
        *,
        now: float,
        status: int = 200,
        reason: str | None = None,
        content_type: str = "application/sdp",
    ) -> None:
        """UAS: send 2xx (after a pending PRACK); retransmitted until ACK."""

    def reject(
        self,
        status: int,
        reason: str | None = None,
        headers: ExtraHeaders = (),
        *,
        now: float,
        body: bytes = b"",
        content_type: str = "",
    ) -> None:
        """UAS: 3xx-6xx final; the usage is gone (no event)."""

    def cancel(self, headers: ExtraHeaders = (), *, now: float) -> None:
        """UAC: CANCEL once a provisional came; ends in InviteFailed(cause="cancelled")."""

    def ack(self, body: bytes = b"", *, now: float) -> None:
        """UAC, late offer: the answer, in the ACK (or in the PRACK of a reliable 1xx)."""

    def offer(self, body: bytes, method: str | None = None, *, now: float) -> None:
        """Send a re-INVITE or UPDATE; b"" asks the peer for an offer. Queued; 491 retried.

        Ends in AnswerReceived, OfferReceived (after b"") or OfferFailed.
        """

    def answer(self, body: bytes, headers: ExtraHeaders = (), *, now: float) -> None:
        """Answer OfferReceived."""

    def answer_with_offer(self, body: bytes, headers: ExtraHeaders = (), *, now: float) -> None:
        """Answer OfferRequested: 200 with an offer; AnswerReceived follows with the ACK."""

    def reject_offer(self, status: int = 488, headers: ExtraHeaders = (), *, now: float) -> None:
        """Refuse OfferReceived or OfferRequested; the session stays as it was."""

    def bye(self, headers: ExtraHeaders = (), *, now: float) -> None:
        """End the session: UsageEnded(by="local") at once; BYE leaves as soon as allowed."""

    def request(
        self,
        method: str,
        headers: ExtraHeaders = (),
        body: bytes = b"",
        *,
        now: float,
        content_type: str = "",
        user: object = None,
    ) -> ClientRequest:
        """Any other in-dialog request (INFO, MESSAGE, REFER …); DialogResponse follows."""

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        reason: str | None = None,
        headers: ExtraHeaders = (),
        body: bytes = b"",
        *,
        now: float,
        content_type: str = "",
    ) -> None:
        """Answer DialogRequest or ReferReceived."""

    def notify_refer(
        self, status: int, reason: str | None = None, final: bool = False, *, now: float
    ) -> None:
        """Report the progress of an accepted REFER (RFC 3515 §2.4.5)."""
