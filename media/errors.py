"""The error tree of ``media``.

::

    MediaError
    ├── RemoteMediaError        the peer's fault: answered with an NG error, counted
    │   ├── NgSyntaxError       a datagram that is not an NG message
    │   │   └── BencodeError
    │   ├── SdpError            a description that cannot be read or breaks RFC 3264
    │   ├── RtpError            a packet that is not RTP (RFC 3550 §5)
    │   ├── RtcpError           a packet that is not RTCP (RFC 3550 §6)
    │   └── WavError            a sound file that cannot be read
    ├── NgRequestError          a well-formed request that cannot be carried out
    ├── ResourceError           a limit of ours was reached: refuse new work, keep the old
    │   ├── NoPorts
    │   └── NgBusy              too many unanswered requests in an NG client
    └── LocalMediaError         our own bug or configuration: raised, never answered
"""

from __future__ import annotations


class MediaError(Exception):
    """Base of every error of the package."""


class RemoteMediaError(MediaError):
    """What the peer sent is wrong."""


class NgSyntaxError(RemoteMediaError):
    """A datagram that is not ``<cookie> <dictionary>``."""

    def __init__(self, reason: str, cookie: str = "") -> None:
        super().__init__(reason)
        self.cookie = cookie
        """The cookie if it could be read: then the error can be answered."""


class BencodeError(NgSyntaxError):
    """Bytes that are not bencode, or are above a limit."""


class SdpError(RemoteMediaError):
    """A description that cannot be parsed, or an answer that does not fit its offer."""


class RtpError(RemoteMediaError):
    """Not an RTP packet."""


class RtcpError(RemoteMediaError):
    """Not an RTCP packet."""


class WavError(RemoteMediaError):
    """A sound file that cannot be played; the text says what to do."""


class NgRequestError(MediaError):
    """A request that is refused; the text becomes ``error-reason``."""


class ResourceError(MediaError):
    """A bound of ours was reached."""


class NoPorts(ResourceError):
    """The port range of a local address is used up."""


class NgBusy(ResourceError):
    """More requests are waiting for replies than the client allows."""


class LocalMediaError(MediaError):
    """A fault of this program or its configuration."""
