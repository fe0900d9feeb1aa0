"""Session descriptions: values (RFC 8866) and rewriting for a relay (RFC 3264)."""

from __future__ import annotations

from media.sdp.description import Codec, Connection, Description, MediaDescription, parse
from media.sdp.negotiator import MediaPorts, OriginLine, Rewrite, rewrite

__all__ = [
    "Codec",
    "Connection",
    "Description",
    "MediaDescription",
    "MediaPorts",
    "OriginLine",
    "Rewrite",
    "parse",
    "rewrite",
]
