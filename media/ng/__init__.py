"""NG, the control protocol of rtpengine: encoding, client, values. No I/O.

``NgClient`` sends the dictionaries that ``messages.offer``, ``answer``, ``delete`` … make;
``leg_media`` reads the figures of one party out of the reply to ``delete`` or ``query``.
"""

from __future__ import annotations

from media.ng.client import Done, NgClient, NgReply
from media.ng.figures import LegMedia, leg_media
from media.ng.messages import Encoding, Message, answer, delete, hello, offer, ping, query

__all__ = [
    "Done",
    "Encoding",
    "LegMedia",
    "Message",
    "NgClient",
    "NgReply",
    "answer",
    "delete",
    "hello",
    "leg_media",
    "offer",
    "ping",
    "query",
]
