/* The packet path of the relay: what is accepted, where it leaves, what is counted.
 *
 * Fed by loop.c with datagrams and by module.c with configurations; no system call is made here.
 * The latch is in latch.c. latch.py, counters.py and core.py are the same rules in Python and say
 * why they are so; both are driven side by side by tests/property/test_relay_twins.py.
 *
 * Who writes what:
 *   control side (Python, under the GIL): `config`, the tables.
 *   packet side (the one worker that owns the stream's socket): latch and counters.
 *   any worker: packets_out, bytes_out, rtcp_out of a sink, by atomic addition.
 * The packet side takes no lock. Configurations are immutable and replaced by pointer; what was
 * replaced is freed when every worker has passed a quiescent state (loop.h).
 */
#ifndef RINGLOG_PACKET_H
#define RINGLOG_PACKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MAX_STREAMS = 65536,
    DATAGRAM_BYTES = 2048,
    MAX_CANDIDATES = 4,
    RING_EVENTS = 4096,
    TAP_FRAMES = 8192, /* of one worker: two seconds of 80 legs, 160 ms of 1,000 at 50 packets/s */
    TAP_BYTES = 1500,
};

/* DropReason of relay.py, in its order. */
enum reason {
    DROP_IDLE,
    DROP_SOURCE,
    DROP_NOT_LOCKED,
    DROP_NOT_RTP,
    DROP_PAYLOAD_TYPE,
    DROP_SIZE,
    DROP_RATE,
    DROP_OWN_PORT,
    DROP_DISABLED,
    DROP_NO_SINK,
    DROP_NO_REMOTE,
    DROP_ECHO,
    DROP_SEND,
    DROP_OVERRUN,
    DROP_REASONS,
    ACCEPTED = DROP_REASONS,
};

enum event_kind { EVENT_LOCKED, EVENT_REBOUND, EVENT_ALARM };

/* An address without scope: media never runs on link-local addresses. */
struct address {
    uint64_t high, low; /* network order; of IPv4 only the first half of `low` */
    uint16_t port;      /* host order */
    uint16_t family;    /* AF_INET, AF_INET6; 0 = none */
};

static inline bool same_host(const struct address *a, const struct address *b)
{
    return a->low == b->low && a->high == b->high && a->family == b->family;
}

static inline bool same_address(const struct address *a, const struct address *b)
{
    return a->port == b->port && same_host(a, b);
}

/* An address that one thread writes and others read without waiting (a sequence lock whose
 * every word is atomic). `epoch` ties it to the configuration under which it was learned. */
struct shared_address {
    atomic_uint version; /* odd while it is written */
    _Atomic uint64_t high, low, rest;
};

struct config {
    uint64_t epoch; /* changes when learning opens again */
    uint64_t generation;
    uint64_t sink, rtcp_sink, rtp_stream; /* handles */
    struct address remote;                /* family 0 = none */
    struct address signalling;            /* port 0 */
    uint64_t payload_types[2];            /* bit set */
    double rebind_silence_s;
    uint32_t max_packets_per_s, max_packet_bytes, clock_rate;
    uint32_t tap; /* without a sink: RTP is handed to the audio path under this number; 0 = no */
    uint8_t worst_rank;
    bool rtcp, mux, nat, asymmetric, opaque, enabled_in, enabled_out, early;
    /* retirement */
    struct config *next;
    uint64_t retired_at;
};

struct candidate {
    struct address source;
    double last_s;
    uint32_t ssrc;
    int32_t sequence_number; /* -1: the datagrams have none */
    uint32_t count;
    uint8_t rank;
};

struct stream {
    /* set when it is opened */
    uint64_t handle;
    int fd;
    uint32_t worker;
    struct address local;
    _Atomic(struct stream *) next_same_port;
    /* retirement */
    struct stream *next;
    uint64_t retired_at;

    _Atomic(struct config *) config;

    /* packet side */
    _Alignas(64) uint64_t epoch; /* of the configuration that the latch follows */
    bool learning, rebinding;    /* with nat: else LOCKED */
    uint32_t candidates;
    uint64_t last_wake; /* loop.c: when its socket was readable last */
    struct address locked; /* with nat, when not learning */
    uint32_t last_ssrc, last_timestamp;
    int32_t last_sequence_number;
    double last_s; /* of the latch: the last packet that it accepted */
    double full_until_s;
    bool started;
    uint32_t ssrc, timestamp;
    uint16_t base, max;
    int32_t bad;
    int64_t cycles, received, lost_before, arrival;
    uint64_t alarm_at;
    double next_alarm_s;
    struct candidate candidate[MAX_CANDIDATES];

    struct shared_address lock;           /* `locked` for other threads */
    struct shared_address control_source; /* of the last accepted RTCP */
    _Atomic uint64_t report;              /* last SR: middle NTP bits, our time; 0 = none */
    _Atomic int64_t round_trip;           /* in 1/65536 s; -1 = none */

    /* counters: written by the packet side between two changes of `version` */
    atomic_uint version;
    _Atomic uint64_t packets_in, bytes_in, rtcp_in, markers, source_changes;
    _Atomic int64_t lost;
    _Atomic int64_t shown_ssrc; /* -1 = none */
    _Atomic double jitter, last_in_s; /* last_in_s < 0: never */
    _Atomic uint64_t dropped[DROP_REASONS];

    _Alignas(64) _Atomic uint64_t packets_out, bytes_out, rtcp_out;
};

struct event {
    enum event_kind kind;
    uint64_t handle;
    struct address address, old;
    uint64_t dropped;
};

/* An RTP packet for the audio path. The head is what `take` copies out (relay.py, FRAME_FIELDS). */
struct frame_head {
    uint64_t handle;
    double arrival_s;
    uint32_t ssrc, timestamp, tap;
    uint16_t sequence_number, size; /* of the payload */
    uint8_t payload_type, marker, rest[6];
};

struct frame {
    struct frame_head head;
    uint8_t payload[TAP_BYTES];
};

/* Packets of one worker for the audio path: it writes, the control side reads. */
struct frames {
    _Alignas(64) atomic_uint head;
    _Alignas(64) atomic_uint tail;
    struct frame frame[TAP_FRAMES];
};

/* Events of one worker: it writes, the control side reads. */
struct ring {
    _Alignas(64) atomic_uint head; /* next to read */
    _Alignas(64) atomic_uint tail; /* next to write */
    struct event events[RING_EVENTS];
    _Atomic(struct frames *) frames; /* NULL until the first stream is tapped */
};

/* What the packet side may look at. */
struct table {
    _Atomic(struct stream *) slots[MAX_STREAMS];    /* by the low bits of the handle */
    _Atomic(struct stream *) own_ports[MAX_STREAMS]; /* chains by bound port */
    struct address *local_hosts;                    /* never changes */
    size_t local_host_count;
};

struct forward {
    struct stream *sink;
    struct address destination;
    bool control;
};

struct stats {
    uint64_t packets_in, bytes_in, packets_out, bytes_out, rtcp_in, rtcp_out, markers,
        source_changes, dropped[DROP_REASONS];
    int64_t lost, ssrc, round_trip;
    double jitter, last_in_s;
    struct address locked;
};

struct stream *packet_stream_new(uint64_t handle, int fd, const struct address *local);
struct stream *packet_lookup(struct table *table, uint64_t handle);
bool packet_is_own_port(struct table *table, const struct address *address);

/* Judge a datagram. True: send it as `out` says and call packet_sent or packet_refused. */
bool packet_receive(struct table *table, struct ring *ring, struct stream *stream,
                    const uint8_t *data, size_t size, const struct address *source, double now,
                    struct forward *out);
/* Where a packet of our own toward the peer of a stream goes; false: nowhere, counted. */
bool packet_aim(struct table *table, struct stream *stream, bool control, struct forward *out);
void packet_sent(const struct forward *out, size_t size);
void packet_refused(struct stream *stream);
void packet_stats(struct stream *stream, struct stats *out);

#endif
