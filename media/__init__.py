"""Media: descriptions, RTP values, the packet relay and its NG control protocol.

Knows nothing of SIP. Only ``media.server`` (listeners, run) and ``media.native`` do I/O.
"""
