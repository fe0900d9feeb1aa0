"""The C core (packet.c, loop.c, module.c). `native.py` is its only user, beside the tests."""

from media.native.relay import Address, Buffer

class Relay:
    # 0 workers: no threads and no sockets, datagrams come by inject().
    def __new__(cls, workers: int, local_hosts: tuple[str, ...], /) -> Relay: ...
    def open(self, fd: int, local: Address, /) -> int: ...  # takes over the socket
    def address(self, handle: int, /) -> Address: ...
    def is_own_port(self, address: Address, /) -> bool: ...
    def configure(
        self,
        handle: int,
        sink: int,
        rtcp_sink: int,
        rtcp: bool,
        rtp_stream: int,
        mux: bool,
        remote: Address | None,
        signalling: Address | None,  # its port is not looked at
        nat: bool,
        asymmetric: bool,
        worst_rank: int,  # of a source that may be learned
        payload_types: bytes | None,  # 128 bits, lowest first; None: not RTP
        max_packets_per_s: int,
        max_packet_bytes: int,
        clock_rate: int,
        generation: int,
        enabled_in: bool,
        enabled_out: bool,
        rebind_silence_s: float,
        early: bool,  # may send before the lock
        tap: int,
        /,
    ) -> None: ...
    def stats(self, handle: int, now: float = ..., /) -> StatsTuple: ...
    def close(self, handle: int, /) -> StatsTuple: ...
    def reclaim(self) -> None: ...  # wait until closed sockets are closed
    def events(self) -> list[tuple[int, int, Address, Address | None, int]]: ...
    def fileno(self) -> int: ...
    def shutdown(self) -> None: ...
    def inject(
        self, handle: int, data: bytes, source: Address, now: float, /
    ) -> tuple[int, Address, bool] | None: ...
    def take(self, heads: Buffer, payloads: Buffer, stride: int, /) -> int: ...
    def send(
        self,
        handles: Buffer,  # uint64
        sizes: Buffer,  # uint16
        packets: Buffer,  # `stride` bytes each
        stride: int,
        control: bool,  # RTCP
        /,
    ) -> int: ...

StatsTuple = tuple[
    int,  # packets_in
    int,  # bytes_in
    int,  # packets_out
    int,  # bytes_out
    int,  # rtcp_in
    int,  # rtcp_out
    tuple[int, ...],  # dropped, in the order of DropReason
    int,  # lost
    float,  # jitter
    int,  # ssrc; -1 = none
    int,  # markers
    float,  # age of the last packet; -1 = never
    int,  # source_changes
    Address | None,  # locked
    int,  # round trip in 1/65536 s; -1 = unknown
]
