"""Values of the transaction timers (RFC 3261 §17, Table 4; RFC 6026 §8).

======  =======================================  ==================  =========
Timer   Meaning                                  UDP                 reliable
======  =======================================  ==================  =========
A       INVITE request retransmission            T1, doubling        never
B       INVITE client transaction timeout        64·T1               64·T1
D       wait for response retransmissions        64·T1 (> 32 s)      0
E       non-INVITE request retransmission        T1, doubling to T2  never
F       non-INVITE client transaction timeout    64·T1               64·T1
G       INVITE final response retransmission     T1, doubling to T2  never
H       wait for the ACK                         64·T1               64·T1
I       wait for ACK retransmissions             T4                  0
J       wait for non-INVITE retransmissions      64·T1               0
K       wait for response retransmissions        T4                  0
L       accepted INVITE server transaction       64·T1               64·T1
M       accepted INVITE client transaction       64·T1               64·T1
======  =======================================  ==================  =========
"""

from __future__ import annotations


class TimerValues:
    """All values in seconds, derived once from T1, T2 and T4."""

    __slots__ = ("t1_s", "t2_s", "t4_s", "timeout_s")

    def __init__(self, t1_s: float = 0.5, t2_s: float = 4.0, t4_s: float = 5.0) -> None:
        self.t1_s = t1_s
        self.t2_s = t2_s
        self.t4_s = t4_s
        self.timeout_s = 64 * t1_s
        """B, D, F, H, J, L and M."""
