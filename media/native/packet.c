/* See packet.h. RFC 3550 (RTP, RTCP), RFC 5761 (telling them apart), RFC 4961 (symmetry). */
#include "packet.h"

#include <stdlib.h>
#include <string.h>

#include "latch.h"
#include "shared.h"

#define MAX_DROPOUT 3000
#define MAX_MISORDER 100
#define RATE_BURST_S 0.25
#define RATE_MIN_BURST 8
#define ALARM_PACKETS 10
#define ALARM_INTERVAL_S 10.0
#define MAX_ROUND_TRIP (60u << 16)

enum { RTP_HEADER_BYTES = 12, RTCP_MIN_BYTES = 8, SENDER_REPORT = 200, RECEIVER_REPORT = 201 };

/* -- tables ------------------------------------------------------------------------------- */

struct stream *packet_lookup(struct table *table, uint64_t handle)
{
    struct stream *stream = atomic_load(&table->slots[handle % MAX_STREAMS]);
    return stream != NULL && stream->handle == handle ? stream : NULL;
}

bool packet_is_own_port(struct table *table, const struct address *address)
{
    struct stream *stream = atomic_load(&table->own_ports[address->port]);
    for (; stream != NULL; stream = atomic_load(&stream->next_same_port)) {
        const struct address *local = &stream->local;
        if (same_host(local, address))
            return true;
        if (local->family != address->family || local->high != 0 || local->low != 0)
            continue;
        for (size_t i = 0; i < table->local_host_count; i++)
            if (same_host(&table->local_hosts[i], address))
                return true;
    }
    return false;
}

struct stream *packet_stream_new(uint64_t handle, int fd, const struct address *local)
{
    struct stream *stream = aligned_alloc(64, (sizeof *stream + 63) / 64 * 64);
    if (stream == NULL)
        return NULL;
    memset(stream, 0, sizeof *stream);
    stream->handle = handle;
    stream->fd = fd;
    stream->local = *local;
    stream->bad = -1;
    stream->alarm_at = ALARM_PACKETS;
    atomic_init(&stream->round_trip, -1);
    atomic_init(&stream->shown_ssrc, -1);
    atomic_init(&stream->last_in_s, -1.0);
    return stream;
}

/* -- counters (counters.py) --------------------------------------------------------------- */

static int64_t lost_now(const struct stream *stream)
{
    int64_t lost = stream->cycles + stream->max - stream->base + 1 - stream->received;
    return lost > 0 ? lost : 0;
}

static void source_start(struct stream *stream, uint16_t sequence_number)
{
    if (stream->received != 0)
        stream->lost_before += lost_now(stream);
    stream->base = stream->max = sequence_number;
    stream->cycles = 0;
    stream->received = 1;
    stream->bad = -1;
}

static void source_receive(struct stream *stream, const struct rtp *rtp, double now,
                           uint32_t clock_rate)
{
    int64_t arrival = (int64_t)(now * clock_rate);
    uint16_t sequence_number = (uint16_t)rtp->sequence_number;
    if (!stream->started || rtp->ssrc != stream->ssrc) {
        if (stream->started)
            ADD(stream->source_changes, 1);
        stream->started = true;
        stream->ssrc = rtp->ssrc;
        PUT(stream->shown_ssrc, (int64_t)rtp->ssrc);
        source_start(stream, sequence_number);
    } else {
        uint16_t step = (uint16_t)(sequence_number - stream->max);
        if (step < MAX_DROPOUT) {
            if (sequence_number < stream->max)
                stream->cycles += 65536;
            stream->max = sequence_number;
            stream->received++;
        } else if (step <= 65536 - MAX_MISORDER) {
            if (sequence_number != stream->bad) {
                stream->bad = (sequence_number + 1) & 0xFFFF;
                return;
            }
            ADD(stream->source_changes, 1);
            source_start(stream, sequence_number);
        } else {
            stream->received++;
        }
        if (rtp->timestamp != stream->timestamp && stream->received > 1) {
            int64_t deviation = arrival - stream->arrival
                                - (int32_t)(rtp->timestamp - stream->timestamp);
            if (deviation < 0)
                deviation = -deviation;
            if (deviation < (int64_t)clock_rate * 60) {
                double jitter = MINE(stream->jitter);
                PUT(stream->jitter, jitter + ((double)deviation - jitter) / 16.0);
            }
        }
    }
    PUT(stream->lost, stream->lost_before + lost_now(stream));
    stream->arrival = arrival;
    stream->timestamp = rtp->timestamp;
}

static bool rate_allows(struct stream *stream, uint32_t packets_per_s, double now)
{
    if (packets_per_s == 0)
        return true;
    double interval_s = 1.0 / packets_per_s;
    int burst = (int)(packets_per_s * RATE_BURST_S);
    if (burst < RATE_MIN_BURST)
        burst = RATE_MIN_BURST;
    double full_until_s = stream->full_until_s > now ? stream->full_until_s : now;
    if (full_until_s - now > (burst - 0.5) * interval_s)
        return false;
    stream->full_until_s = full_until_s + interval_s;
    return true;
}

/* -- the packet path (core.py) ------------------------------------------------------------ */

static uint32_t get16(const uint8_t *data)
{
    return (uint32_t)data[0] << 8 | data[1];
}

static uint32_t get32(const uint8_t *data)
{
    return get16(data) << 16 | get16(data + 2);
}

static bool parse_rtp(const uint8_t *data, size_t size, struct rtp *out)
{
    if (size < RTP_HEADER_BYTES || data[0] >> 6 != 2)
        return false;
    size_t start = RTP_HEADER_BYTES + 4 * (size_t)(data[0] & 0x0F);
    if ((data[0] & 0x10) != 0) {
        if (size < start + 4)
            return false;
        start += 4 + 4 * (size_t)get16(data + start + 2);
    }
    if (size < start)
        return false;
    out->payload_type = data[1] & 0x7F;
    out->marker = data[1] > 0x7F;
    out->sequence_number = (int32_t)get16(data + 2);
    out->timestamp = get32(data + 4);
    out->ssrc = get32(data + 8);
    out->payload_bytes = size - start;
    return true;
}

static bool is_rtcp(const uint8_t *data, size_t size)
{
    return size >= 2 && data[1] >= 192 && data[1] <= 223;
}

static bool is_proper_rtcp(const uint8_t *data, size_t size)
{
    return size >= RTCP_MIN_BYTES && data[0] >> 6 == 2 && is_rtcp(data, size)
           && 4 * (size_t)get16(data + 2) + 4 <= size;
}

/* Always false, so that a caller drops and leaves in one line. */
static bool drop(struct stream *stream, enum reason reason)
{
    write_begin(&stream->version);
    ADD(stream->dropped[reason], 1);
    write_end(&stream->version);
    return false;
}

/* Drop a packet; too many strangers raise an alarm. */
static bool refuse(struct ring *ring, struct stream *stream, enum reason reason,
                   const struct address *source, double now)
{
    drop(stream, reason);
    if (reason != DROP_SOURCE)
        return false;
    uint64_t strangers = MINE(stream->dropped[reason]);
    if (strangers < stream->alarm_at || now < stream->next_alarm_s)
        return false;
    stream->alarm_at = strangers + ALARM_PACKETS;
    stream->next_alarm_s = now + ALARM_INTERVAL_S;
    tell(ring, &(struct event){.kind = EVENT_ALARM,
                               .handle = stream->handle,
                               .address = *source,
                               .dropped = strangers});
    return false;
}

/* Whom the RTP that this RTCP belongs to is accepted from. */
static bool rtp_lock(struct table *table, const struct config *config, struct address *out)
{
    struct stream *companion = packet_lookup(table, config->rtp_stream);
    if (companion != NULL) {
        const struct config *theirs = atomic_load(&companion->config);
        return theirs != NULL && latch_lock_of(companion, theirs, out);
    }
    *out = config->remote;
    return !config->nat && out->family != 0;
}

static bool destination(struct table *table, struct stream *stream, const struct config *config,
                        struct address *out)
{
    struct address lock;
    *out = config->remote;
    if (!config->nat)
        return out->family != 0;
    if (!(config->rtcp ? rtp_lock(table, config, &lock) : latch_lock_of(stream, config, &lock)))
        return config->early && out->family != 0;
    if (!config->rtcp) {
        *out = lock;
        return true;
    }
    if (read_shared(&stream->control_source, config->epoch, out) && same_host(out, &lock))
        return true;
    *out = config->remote;
    if (out->family != 0 && same_host(out, &lock))
        return true;
    *out = lock;
    out->port++;
    return out->port != 0;
}

static bool forward(struct table *table, struct stream *stream, uint64_t sink,
                    const struct address *source, bool control, struct forward *out)
{
    struct stream *target = packet_lookup(table, sink);
    const struct config *config = target != NULL ? atomic_load(&target->config) : NULL;
    if (config == NULL)
        return drop(stream, DROP_NO_SINK);
    if (!control && !config->enabled_out)
        return drop(stream, DROP_DISABLED);
    if (!destination(table, target, config, &out->destination))
        return drop(stream, DROP_NO_REMOTE);
    if (same_address(&out->destination, source))
        return drop(stream, DROP_ECHO);
    out->sink = target;
    out->control = control;
    return true;
}

static void measure_round_trip(struct stream *stream, struct stream *sink, const uint8_t *data,
                               size_t size, double now)
{
    uint32_t our_time = (uint32_t)(uint64_t)(now * 65536.0);
    uint64_t sent = sink != NULL ? SEEN(sink->report) : 0;
    size_t position = 0;
    while (size >= position + RTCP_MIN_BYTES && data[position] >> 6 == 2) {
        uint8_t kind = data[position + 1];
        size_t end = position + 4 + 4 * (size_t)get16(data + position + 2);
        if (end > size)
            return;
        size_t blocks = position + (kind == SENDER_REPORT ? 28 : 8);
        if (kind == SENDER_REPORT && end >= blocks)
            PUT(stream->report, (uint64_t)get32(data + position + 10) << 32 | our_time);
        if ((kind == SENDER_REPORT || kind == RECEIVER_REPORT) && sent != 0) {
            size_t count = end >= blocks ? (end - blocks) / 24 : 0;
            if (count > (data[position] & 0x1F))
                count = data[position] & 0x1F;
            for (const uint8_t *block = data + blocks; count > 0; count--, block += 24) {
                uint32_t round_trip = our_time - (uint32_t)sent - get32(block + 20);
                if (get32(block + 16) == sent >> 32 && round_trip < MAX_ROUND_TRIP)
                    PUT(stream->round_trip, (int64_t)round_trip);
            }
        }
        position = end;
    }
}

static enum reason screen_control(struct table *table, const struct config *config,
                                  const struct address *source)
{
    struct address lock;
    if (!rtp_lock(table, config, &lock))
        return DROP_NOT_LOCKED;
    if (!same_host(source, &lock))
        return DROP_SOURCE;
    if (!config->asymmetric && source->port != lock.port + 1
        && (config->remote.family == 0 || source->port != config->remote.port))
        return DROP_SOURCE;
    return ACCEPTED;
}

static bool receive_control(struct table *table, struct stream *stream,
                            const struct config *config, const uint8_t *data, size_t size,
                            const struct address *source, double now, struct forward *out)
{
    if (!rate_allows(stream, config->max_packets_per_s, now))
        return drop(stream, DROP_RATE);
    write_begin(&stream->version);
    ADD(stream->rtcp_in, 1);
    write_end(&stream->version);
    if (config->rtcp)
        share(&stream->control_source, source, config->epoch);
    uint64_t sink = config->rtcp_sink != 0 ? config->rtcp_sink : config->sink;
    measure_round_trip(stream, packet_lookup(table, sink), data, size, now);
    return forward(table, stream, sink, source, true, out);
}

/* Hand a packet to the audio path. Always false: it is not forwarded. */
static bool hand_over(struct ring *ring, struct stream *stream, const struct config *config,
                      const uint8_t *data, size_t size, const struct rtp *rtp, double now)
{
    struct frames *frames = atomic_load_explicit(&ring->frames, memory_order_acquire);
    size_t payload = rtp->payload_bytes;
    if ((data[0] & 0x20) != 0) { /* RFC 3550 §5.1: the last octet counts the padding */
        if (payload == 0 || data[size - 1] == 0 || data[size - 1] > payload)
            return drop(stream, DROP_NOT_RTP);
        payload -= data[size - 1];
    }
    if (frames == NULL)
        return drop(stream, DROP_NO_SINK);
    if (payload > TAP_BYTES)
        return drop(stream, DROP_SIZE);
    unsigned tail = MINE(frames->tail);
    if (tail - SEEN(frames->head) == TAP_FRAMES)
        return drop(stream, DROP_OVERRUN);
    struct frame *frame = &frames->frame[tail % TAP_FRAMES];
    frame->head = (struct frame_head){
        .handle = stream->handle,
        .arrival_s = now,
        .ssrc = rtp->ssrc,
        .timestamp = rtp->timestamp,
        .tap = config->tap,
        .sequence_number = (uint16_t)rtp->sequence_number,
        .size = (uint16_t)payload,
        .payload_type = (uint8_t)rtp->payload_type,
        .marker = rtp->marker,
    };
    memcpy(frame->payload, data + (size - rtp->payload_bytes), payload);
    PUT(frames->tail, tail + 1);
    return false;
}

static bool receive_media(struct table *table, struct ring *ring, struct stream *stream,
                          const struct config *config, const uint8_t *data, size_t size,
                          const struct rtp *rtp, const struct address *source, double now,
                          struct forward *out)
{
    enum reason reason = latch_receive(table, ring, stream, config, source, rtp, now);
    if (reason != ACCEPTED)
        return refuse(ring, stream, reason, source, now);
    if (!rate_allows(stream, config->max_packets_per_s, now))
        return drop(stream, DROP_RATE);
    write_begin(&stream->version);
    ADD(stream->packets_in, 1);
    ADD(stream->bytes_in, size);
    PUT(stream->last_in_s, now);
    if (rtp->sequence_number >= 0) {
        ADD(stream->markers, rtp->marker);
        source_receive(stream, rtp, now, config->clock_rate);
    }
    write_end(&stream->version);
    if (!config->enabled_in)
        return drop(stream, DROP_DISABLED);
    if (config->sink == 0 && config->tap != 0 && !config->opaque)
        return hand_over(ring, stream, config, data, size, rtp, now);
    return forward(table, stream, config->sink, source, false, out);
}

bool packet_receive(struct table *table, struct ring *ring, struct stream *stream,
                    const uint8_t *data, size_t size, const struct address *source, double now,
                    struct forward *out)
{
    const struct config *config = atomic_load(&stream->config);
    if (config == NULL)
        return drop(stream, DROP_IDLE);
    if (size > config->max_packet_bytes)
        return drop(stream, DROP_SIZE);
    enum reason reason = ACCEPTED;
    if (config->rtcp) {
        reason = screen_control(table, config, source);
        if (reason == ACCEPTED && !is_proper_rtcp(data, size))
            reason = DROP_NOT_RTP;
    } else {
        latch_follow(stream, config);
        if (latch_is_stranger(stream, config, source)) {
            reason = DROP_SOURCE;
        } else if (config->opaque) {
            struct rtp none = {.sequence_number = -1, .payload_bytes = size};
            return receive_media(table, ring, stream, config, data, size, &none, source, now, out);
        } else if (!is_rtcp(data, size)) {
            struct rtp rtp;
            if (!parse_rtp(data, size, &rtp))
                return drop(stream, DROP_NOT_RTP);
            if ((config->payload_types[rtp.payload_type >> 6] >> (rtp.payload_type & 63) & 1) == 0)
                return drop(stream, DROP_PAYLOAD_TYPE);
            return receive_media(table, ring, stream, config, data, size, &rtp, source, now, out);
        } else if (!config->mux || !is_proper_rtcp(data, size)) {
            reason = DROP_NOT_RTP;
        } else {
            reason = latch_control(stream, config, source);
        }
    }
    if (reason != ACCEPTED)
        return refuse(ring, stream, reason, source, now);
    return receive_control(table, stream, config, data, size, source, now, out);
}

bool packet_aim(struct table *table, struct stream *stream, bool control, struct forward *out)
{
    const struct config *config = atomic_load(&stream->config);
    /* No counter of the stream is written here: they are the worker's, and whoever reads them would
     * wait for ever for a version that two threads have counted up at once. */
    if (config == NULL)
        return false;
    if (!control && !config->enabled_out)
        return false; /* a hold: the audio path goes on without being heard */
    if (!destination(table, stream, config, &out->destination))
        return false; /* not known yet: nothing is lost that could be sent later */
    out->sink = stream;
    out->control = control;
    return true;
}

void packet_sent(const struct forward *out, size_t size)
{
    if (out->control) {
        atomic_fetch_add_explicit(&out->sink->rtcp_out, 1, memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&out->sink->packets_out, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&out->sink->bytes_out, size, memory_order_relaxed);
    }
}

void packet_refused(struct stream *stream)
{
    drop(stream, DROP_SEND);
}

void packet_stats(struct stream *stream, struct stats *out)
{
    unsigned before, after;
    do {
        before = SEEN(stream->version);
        out->packets_in = SEEN(stream->packets_in);
        out->bytes_in = SEEN(stream->bytes_in);
        out->rtcp_in = SEEN(stream->rtcp_in);
        out->markers = SEEN(stream->markers);
        out->source_changes = SEEN(stream->source_changes);
        out->lost = SEEN(stream->lost);
        out->ssrc = SEEN(stream->shown_ssrc);
        out->jitter = SEEN(stream->jitter);
        out->last_in_s = SEEN(stream->last_in_s);
        for (size_t i = 0; i < DROP_REASONS; i++)
            out->dropped[i] = SEEN(stream->dropped[i]);
        after = atomic_load_explicit(&stream->version, memory_order_relaxed);
    } while (before != after || (before & 1) != 0);
    out->packets_out = SEEN(stream->packets_out);
    out->bytes_out = SEEN(stream->bytes_out);
    out->rtcp_out = SEEN(stream->rtcp_out);
    out->round_trip = SEEN(stream->round_trip);
    const struct config *config = atomic_load(&stream->config);
    if (config == NULL || !latch_lock_of(stream, config, &out->locked))
        out->locked.family = 0;
}
