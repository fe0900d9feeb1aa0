"""Requests of real-time tasks: signalling, media, bridges, mixers, transfers (CG/PL reference §11).

Where a result is "null or error", an error is a string, ``NNN-text`` when it comes from signalling.
"""

from __future__ import annotations

from pbx.script.requests.base import REAL_TIME_ONLY, HostRequest, request
from pbx.script.values import Data, Dictionary, TaskHandle, Value


class CallRequest(HostRequest):
    """About the task's own call: signalling and media."""

    __slots__ = ()


# Incoming calls.


@request("AcceptCall", waits=True, environments=REAL_TIME_ONLY)
class AcceptCall(CallRequest):
    """Answer the pending call with the task's media channel. Result: null or error."""


@request("RedirectCall", procedure=True, environments=REAL_TIME_ONLY)
class RedirectCall(CallRequest):
    """Hand the pending call back with other targets: a URI or an array of them."""

    targets: Value


@request("ForkCall", procedure=True, environments=REAL_TIME_ONLY)
class ForkCall(CallRequest):
    """Add targets to the pending call."""

    targets: Value


@request("ProvisionCall", waits=True, environments=REAL_TIME_ONLY)
class ProvisionCall(CallRequest):
    """Send a provisional response. Result: null or error."""

    media: Value
    """A flag, or a dictionary of all parameters."""
    reliably: Value = None


@request("ProvisionCallEx", environments=REAL_TIME_ONLY, waits=True)
class ProvisionCallEx(CallRequest):
    """As ``ProvisionCall`` with a dictionary."""

    parameters: Value


@request("RejectCall", procedure=True, environments=REAL_TIME_ONLY)
class RejectCall(CallRequest):
    """Refuse the pending call: a number, ``NNN-text`` or a dictionary."""

    code: Value


@request("IncomingRequestURI", environments=REAL_TIME_ONLY)
class IncomingRequestURI(CallRequest):
    """Result: the URI of the pending INVITE, or null."""


@request("PendingRequestData", environments=REAL_TIME_ONLY)
class PendingRequestData(CallRequest):
    """Result: a field of the pending request, or null."""

    field: str


@request("PendingRequestExData", environments=REAL_TIME_ONLY)
class PendingRequestExData(CallRequest):
    """Result: a non-standard field of the pending request, or null."""

    field: str


@request("RemoteAuthentication", environments=REAL_TIME_ONLY)
class RemoteAuthentication(CallRequest):
    """Result: the address of the authenticated sender, or null."""


@request("RemoteRedirector", environments=REAL_TIME_ONLY)
class RemoteRedirector(CallRequest):
    """Result: the account whose rules sent the call here, or null."""


@request("RemoteRealName", environments=REAL_TIME_ONLY)
class RemoteRealName(CallRequest):
    """Result: the peer's display name, or null."""


@request("RemoteIPAddress", environments=REAL_TIME_ONLY)
class RemoteIPAddress(CallRequest):
    """Result: the peer's ip-address, or null."""


@request("RemoteURI", environments=REAL_TIME_ONLY)
class RemoteURI(CallRequest):
    """Result: the peer's URI, or null."""


@request("LocalURI", environments=REAL_TIME_ONLY)
class LocalURI(CallRequest):
    """Result: the address that was dialled, or null."""


@request("IsConnected", environments=REAL_TIME_ONLY)
class IsConnected(CallRequest):
    """Result: YES when a dialog is confirmed."""


@request("IsHalfConnected", environments=REAL_TIME_ONLY)
class IsHalfConnected(CallRequest):
    """Result: YES when connected, or with early media."""


# Outgoing calls.


@request("StartCall", environments=REAL_TIME_ONLY)
class StartCall(CallRequest):
    """Start a call; events tell how it goes. Result: null or error."""

    destination: Value
    """A URI or address, or a dictionary."""


@request("SetCallParameters", procedure=True, environments=REAL_TIME_ONLY)
class SetCallParameters(CallRequest):
    """Replace the parameters of calls that follow."""

    parameters: Value


@request("CancelCall", procedure=True, environments=REAL_TIME_ONLY)
class CancelCall(CallRequest):
    """Give up the pending outgoing call; no event follows."""


@request("Disconnect", "DisconnectEx", procedure=True, environments=REAL_TIME_ONLY)
class Disconnect(CallRequest):
    """Hang up, or drop the pending call."""

    reason_code: Value = None
    reason_text: Value = None


@request("SendCallOptions", waits=True, environments=REAL_TIME_ONLY)
class SendCallOptions(CallRequest):
    """OPTIONS to the peer or to a URI. Result: null or error."""

    parameters: Value


@request("SendCallNotify", waits=True, environments=REAL_TIME_ONLY)
class SendCallNotify(CallRequest):
    """NOTIFY. Result: null or error."""

    parameters: Dictionary


@request("SendCallRegister", waits=True, environments=REAL_TIME_ONLY)
class SendCallRegister(CallRequest):
    """REGISTER. Result: a timestamp when it expires, or error."""

    parameters: Dictionary


# Media.


@request("PlayFile", procedure=True, waits=True, environments=REAL_TIME_ONLY)
class PlayFile(CallRequest):
    """Play a file of the environment: once, for so many milliseconds, or (negative) endlessly."""

    name: str
    milliseconds: int | None = None


@request("PlayFileInLoop", procedure=True, waits=True, environments=REAL_TIME_ONLY)
class PlayFileInLoop(CallRequest):
    """The older name of ``PlayFile`` with a time."""

    name: str
    milliseconds: int


@request("Play", procedure=True, waits=True, environments=REAL_TIME_ONLY)
class Play(CallRequest):
    """Play a datablock."""

    data: Data
    milliseconds: int | None = None


@request("PlayInLoop", procedure=True, waits=True, environments=REAL_TIME_ONLY)
class PlayInLoop(CallRequest):
    """The older name of ``Play`` with a time."""

    data: Data
    milliseconds: int


@request("PlayTone", procedure=True, waits=True, environments=REAL_TIME_ONLY)
class PlayTone(CallRequest):
    """Play one or two frequencies; `ratio` is the second's strength in percent."""

    frequency_hz: int
    milliseconds: int
    frequency2_hz: int | None = None
    ratio: int | None = None


@request("IsPlayCompleted", environments=REAL_TIME_ONLY)
class IsPlayCompleted(CallRequest):
    """Result: YES when the last sound was played to its end."""


@request("GetPlayPosition", environments=REAL_TIME_ONLY)
class GetPlayPosition(CallRequest):
    """Result: milliseconds of the last pass, 0 when it was suppressed."""


@request("SetPlayPosition", procedure=True, environments=REAL_TIME_ONLY)
class SetPlayPosition(CallRequest):
    """Skip so many milliseconds of the next sound."""

    milliseconds: int


@request("GetPlayDuration", environments=REAL_TIME_ONLY)
class GetPlayDuration(CallRequest):
    """Result: length of a sound in milliseconds, or null."""

    data: Data


@request("Record", waits=True, environments=REAL_TIME_ONLY)
class Record(CallRequest):
    """Result: a WAV datablock, or null when it was suppressed."""

    seconds: int


@request("RecordSilence", environments=REAL_TIME_ONLY)
class RecordSilence(CallRequest):
    """Set the seconds of silence that end a recording. Result: the setting before."""

    seconds: Value


@request("DTMF", environments=REAL_TIME_ONLY)
class DTMF(CallRequest):
    """Result: the digits that wait, as a string."""


@request("ClearDTMF", procedure=True, environments=REAL_TIME_ONLY)
class ClearDTMF(CallRequest):
    """Forget the digits that wait."""


@request("ReadDTMF", waits=True, environments=REAL_TIME_ONLY)
class ReadDTMF(CallRequest):
    """Result: the next digit, or null after so many seconds or an event."""

    seconds: int


@request("WaitDTMF", waits=True, environments=REAL_TIME_ONLY)
class WaitDTMF(CallRequest):
    """Result: YES when a digit waits, else null after so many seconds or an event."""

    seconds: int


@request("SetInterruptOnDTMF", environments=REAL_TIME_ONLY)
class SetInterruptOnDTMF(CallRequest):
    """Whether digits interrupt sounds. Result: the setting before."""

    flag: Value


@request("SendDTMF", environments=REAL_TIME_ONLY)
class SendDTMF(CallRequest):
    """Send a digit to the peer. Result: null or error."""

    symbol: str


@request("SetLocalHold", procedure=True, environments=REAL_TIME_ONLY)
class SetLocalHold(CallRequest):
    """Put the peer on hold, or take it back."""

    flag: Value


@request("ReleaseMediaChannel", procedure=True, environments=REAL_TIME_ONLY)
class ReleaseMediaChannel(CallRequest):
    """Close the media channel of a task that is disconnected or bridged."""


@request("MediaOption", environments=REAL_TIME_ONLY)
class MediaOption(CallRequest):
    """Result: an option's value; a second argument sets it."""

    name: str
    value: Value = None


@request("MediaChannelOption", environments=REAL_TIME_ONLY)
class MediaChannelOption(CallRequest):
    """The older name of ``MediaOption``."""

    name: str
    value: Value


@request("MixerDelay", environments=REAL_TIME_ONLY)
class MixerDelay(CallRequest):
    """Set the mixer's delay. Result: the value before."""

    value: Value


@request("MixerJitter", environments=REAL_TIME_ONLY)
class MixerJitter(CallRequest):
    """Set the mixer's jitter buffer. Result: the value before."""

    value: Value


@request("MixerThreshold", environments=REAL_TIME_ONLY)
class MixerThreshold(CallRequest):
    """Set the mixer's silence level. Result: the value before."""

    value: Value


@request("SetDTMFReadMode", procedure=True, environments=REAL_TIME_ONLY)
class SetDTMFReadMode(CallRequest):
    """How digits of the peer are detected."""

    mode: Value


@request("SetDTMFSendMode", procedure=True, environments=REAL_TIME_ONLY)
class SetDTMFSendMode(CallRequest):
    """How digits are sent."""

    mode: Value


@request("WAVLastSilence", environments=REAL_TIME_ONLY)
class WAVLastSilence(CallRequest):
    """Result: milliseconds of silence at the end of a recording."""

    data: Data
    level: Value = None
    minimum: Value = None


# Bridges.


@request("StartBridge", waits=True, environments=REAL_TIME_ONLY)
class StartBridge(CallRequest):
    """Offer the peer's media to another task and wait. Result: null or error."""

    task: Value


@request("AcceptBridge", waits=True, environments=REAL_TIME_ONLY)
class AcceptBridge(CallRequest):
    """Join my peer and that of the event's sender. Result: null or error."""

    event: Value


@request("RejectBridge", procedure=True, environments=REAL_TIME_ONLY)
class RejectBridge(CallRequest):
    """The sender's ``StartBridge`` returns the error."""

    event: Value
    error: Value


@request("StartBridgedCall", environments=REAL_TIME_ONLY)
class StartBridgedCall(CallRequest):
    """Start a call with the media of the event's sender. Result: null or error."""

    destination: Value
    event: Value


@request("StartMixedCall", environments=REAL_TIME_ONLY)
class StartMixedCall(CallRequest):
    """Start a call that joins my mixer with the event's sender. Result: null or error."""

    destination: Value
    event: Value


@request("BreakBridge", waits=True, environments=REAL_TIME_ONLY)
class BreakBridge(CallRequest):
    """Take the peer's media back. Result: null or error."""


@request("IsBridged", environments=REAL_TIME_ONLY)
class IsBridged(CallRequest):
    """Result: YES while my peer is bridged."""


# Mixers.


@request("AttachMixer", waits=True, environments=REAL_TIME_ONLY)
class AttachMixer(CallRequest):
    """Take the event's sender's peer into my mixer. Result: null or error."""

    event: Value


@request("DetachMixer", waits=True, environments=REAL_TIME_ONLY)
class DetachMixer(CallRequest):
    """Give one leg (or, for null, all) back. Result: null or error."""

    task: TaskHandle | None


@request("MixerAttached", environments=REAL_TIME_ONLY)
class MixerAttached(CallRequest):
    """Result: an array of tasks, or null."""


@request("MuteMixer", procedure=True, environments=REAL_TIME_ONLY)
class MuteMixer(CallRequest):
    """How a leg (null: my own peer) is heard and what it hears."""

    task: TaskHandle | None
    flag: Value


# Transfer and signalling within a call.


@request("TransferSupported", environments=REAL_TIME_ONLY)
class TransferSupported(CallRequest):
    """Result: YES when the peer takes REFER."""


@request("TransferCall", waits=True, environments=REAL_TIME_ONLY)
class TransferCall(CallRequest):
    """Send the peer to another address and wait for the outcome. Result: null or error."""

    destination: str


@request("StartTransfer", waits=True, environments=REAL_TIME_ONLY)
class StartTransfer(CallRequest):
    """Offer my peer to another task, to be joined directly. Result: null or error."""

    task: Value


@request("AcceptTransfer", waits=True, environments=REAL_TIME_ONLY)
class AcceptTransfer(CallRequest):
    """Join the two peers directly. Result: null or error."""

    event: Value


@request("RejectTransfer", procedure=True, environments=REAL_TIME_ONLY)
class RejectTransfer(CallRequest):
    """The sender's ``StartTransfer`` returns the error."""

    event: Value
    error: Value


@request("StartTransferCall", environments=REAL_TIME_ONLY)
class StartTransferCall(CallRequest):
    """Start a call that takes the event's sender's peer over. Result: null or error."""

    destination: Value
    event: Value


@request("SendCallInfo", environments=REAL_TIME_ONLY)
class SendCallInfo(CallRequest):
    """INFO with a body. Result: null or error."""

    parameters: Value


@request("SendCallInfoResponse", environments=REAL_TIME_ONLY)
class SendCallInfoResponse(CallRequest):
    """Answer an INFO. Result: null or error."""

    parameters: Value


@request("SendDialogIM", environments=REAL_TIME_ONLY)
class SendDialogIM(CallRequest):
    """A text message within the call. Result: null or error."""

    content: Value


@request("SignalOption", environments=REAL_TIME_ONLY)
class SignalOption(CallRequest):
    """Result: an option's value; a second argument sets it."""

    name: str
    value: Value = None


@request("SetReferMode", procedure=True, environments=REAL_TIME_ONLY)
class SetReferMode(CallRequest):
    """The older form of the option ``refer``."""

    mode: Value


@request("SetBridgeBreakMode", procedure=True, environments=REAL_TIME_ONLY)
class SetBridgeBreakMode(CallRequest):
    """The older form of the option ``bridgeBreak``."""

    mode: Value


@request("SetTransferReportMode", environments=REAL_TIME_ONLY)
class SetTransferReportMode(CallRequest):
    """The older form of the option ``transferReport``. Result: the value before."""

    mode: Value


@request("SetBridgedProvision", environments=REAL_TIME_ONLY)
class SetBridgedProvision(CallRequest):
    """The older form of the option ``bridgedProvisionRelay``. Result: the value before."""

    mode: Value


@request("SetProvisionCode", procedure=True, environments=REAL_TIME_ONLY)
class SetProvisionCode(CallRequest):
    """The code of provisional responses that follow."""

    code: Value


@request("SetForeignCredentials", procedure=True, environments=REAL_TIME_ONLY)
class SetForeignCredentials(CallRequest):
    """Name and password for calls that follow."""

    name: Value
    password: Value


@request("SetInterceptParams", procedure=True, environments=REAL_TIME_ONLY)
class SetInterceptParams(CallRequest):
    """Parameters of lawful interception; not offered by this server."""

    parameters: Value


@request("SetSecondaryForCall", procedure=True, environments=REAL_TIME_ONLY)
class SetSecondaryForCall(CallRequest):
    """Mark this task as a secondary one of its call."""


@request("SetLocalContactParameter", procedure=True, environments=REAL_TIME_ONLY)
class SetLocalContactParameter(CallRequest):
    """A parameter of our Contact field: ``""`` for a bare one, null removes it."""

    name: str
    value: Value


@request("CallDialogDataEx", environments=REAL_TIME_ONLY)
class CallDialogDataEx(CallRequest):
    """Result: data of the dialog, or null."""

    name: Value


@request("UpdateProvisionedCall", environments=REAL_TIME_ONLY)
class UpdateProvisionedCall(CallRequest):
    """Change a call that has early media. Result: null or error."""

    parameters: Value
