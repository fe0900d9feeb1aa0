/* See packet.h. RFC 3550 (RTP, RTCP), RFC 5761 (telling them apart), RFC 4961 (symmetry). */
#include "packet.h"

#include <stdlib.h>
#include <string.h>

#define LOCK_PACKETS 4
#define CANDIDATE_LIFE_S 1.0
#define RIVAL_S 0.2
#define MAX_SEQUENCE_STEP 3000
#define MAX_DROPOUT 3000
#define MAX_MISORDER 100
#define RATE_BURST_S 0.25
#define RATE_MIN_BURST 8
#define ALARM_PACKETS 10
#define ALARM_INTERVAL_S 10.0
#define MAX_ROUND_TRIP (60u << 16)

enum { RANK_SDP_ADDRESS, RANK_SDP_HOST, RANK_SIGNALLING_HOST, RANK_OTHER };
enum { RTP_HEADER_BYTES = 12, RTCP_MIN_BYTES = 8, SENDER_REPORT = 200, RECEIVER_REPORT = 201 };

/* Only the owner writes: it needs no order to read back its own. A store with release order
 * comes after the store that made `version` odd, which is what readers rely on. */
#define MINE(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define PUT(field, value) atomic_store_explicit(&(field), (value), memory_order_release)
#define ADD(field, value) PUT(field, MINE(field) + (value))
#define SEEN(field) atomic_load_explicit(&(field), memory_order_acquire)

struct rtp {
    uint32_t timestamp, ssrc;
    int32_t sequence_number; /* -1: not RTP */
    uint8_t payload_type;
    bool marker;
    size_t payload_bytes;
};

/* -- shared values ------------------------------------------------------------------------ */

static void write_begin(atomic_uint *version)
{
    atomic_store_explicit(version, MINE(*version) + 1, memory_order_relaxed);
}

static void write_end(atomic_uint *version)
{
    PUT(*version, MINE(*version) + 1);
}

static void share(struct shared_address *shared, const struct address *address, uint64_t epoch)
{
    write_begin(&shared->version);
    PUT(shared->high, address->high);
    PUT(shared->low, address->low);
    PUT(shared->rest, epoch << 32 | (uint64_t)address->family << 16 | address->port);
    write_end(&shared->version);
}

/* False: none was learned under this epoch. */
static bool read_shared(struct shared_address *shared, uint64_t epoch, struct address *out)
{
    uint64_t rest;
    unsigned before, after;
    do {
        before = SEEN(shared->version);
        out->high = SEEN(shared->high);
        out->low = SEEN(shared->low);
        rest = SEEN(shared->rest);
        after = atomic_load_explicit(&shared->version, memory_order_relaxed);
    } while (before != after || (before & 1) != 0);
    out->family = (uint16_t)(rest >> 16);
    out->port = (uint16_t)rest;
    return out->family != 0 && rest >> 32 == (epoch & 0xFFFFFFFF);
}

static void tell(struct ring *ring, const struct event *event)
{
    unsigned tail = MINE(ring->tail);
    if (tail - SEEN(ring->head) == RING_EVENTS)
        return; /* lost; the counters still tell */
    ring->events[tail % RING_EVENTS] = *event;
    PUT(ring->tail, tail + 1);
}

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

/* -- latch (latch.py) --------------------------------------------------------------------- */

static uint8_t rank_of(const struct config *config, const struct address *source)
{
    if (config->remote.family != 0 && same_host(source, &config->remote))
        return source->port == config->remote.port ? RANK_SDP_ADDRESS : RANK_SDP_HOST;
    if (config->signalling.family != 0 && same_host(source, &config->signalling))
        return RANK_SIGNALLING_HOST;
    return RANK_OTHER;
}

/* Follow a configuration that opened learning again. */
static void latch_follow(struct stream *stream, const struct config *config)
{
    if (stream->epoch == config->epoch)
        return;
    stream->epoch = config->epoch;
    stream->learning = config->nat;
    stream->rebinding = false;
    stream->candidates = 0;
}

static bool latch_is_stranger(const struct stream *stream, const struct config *config,
                              const struct address *source)
{
    if (!config->nat) {
        if (config->remote.family == 0 || !same_host(source, &config->remote))
            return true;
        return source->port != config->remote.port && !config->asymmetric;
    }
    if (stream->learning)
        return rank_of(config, source) > config->worst_rank;
    return !same_host(source, &stream->locked);
}

static struct candidate *latch_candidate(struct stream *stream, const struct address *source,
                                         uint8_t rank, double now)
{
    struct candidate *worst = NULL, *place;
    for (uint32_t i = 0; i < stream->candidates; i++) {
        struct candidate *one = &stream->candidate[i];
        if (same_address(&one->source, source))
            return one;
        if (worst == NULL || one->rank > worst->rank
            || (one->rank == worst->rank && one->last_s < worst->last_s))
            worst = one;
    }
    if (stream->candidates < MAX_CANDIDATES || worst == NULL)
        place = &stream->candidate[stream->candidates++];
    else if (worst->rank > rank || now - worst->last_s > CANDIDATE_LIFE_S)
        place = worst;
    else
        return NULL;
    memset(place, 0, sizeof *place);
    place->source = *source;
    place->rank = rank;
    return place;
}

/* Count one packet of a candidate; returns how many came in sequence. */
static uint32_t latch_weigh(struct candidate *one, const struct rtp *rtp, double now)
{
    bool in_sequence = one->count > 0 && now - one->last_s <= CANDIDATE_LIFE_S
                       && rtp->ssrc == one->ssrc
                       && (rtp->sequence_number < 0
                           || rtp->sequence_number == ((one->sequence_number + 1) & 0xFFFF));
    one->count = in_sequence ? one->count + 1 : 1;
    one->ssrc = rtp->ssrc;
    one->sequence_number = rtp->sequence_number;
    one->last_s = now;
    return one->count;
}

static void latch_lock(struct stream *stream, const struct address *source)
{
    stream->learning = stream->rebinding = false;
    stream->candidates = 0;
    stream->locked = *source;
    share(&stream->lock, source, stream->epoch);
}

static enum reason latch_learn(struct table *table, struct ring *ring, struct stream *stream,
                               const struct config *config, const struct address *source,
                               const struct rtp *rtp, double now)
{
    if (packet_is_own_port(table, source))
        return DROP_OWN_PORT;
    if (rtp->payload_bytes == 0)
        return DROP_NOT_LOCKED;
    struct candidate *one = latch_candidate(stream, source, rank_of(config, source), now);
    if (one == NULL || latch_weigh(one, rtp, now) < LOCK_PACKETS)
        return DROP_NOT_LOCKED;
    for (uint32_t i = 0; i < stream->candidates; i++) {
        const struct candidate *rival = &stream->candidate[i];
        if (rival->rank < one->rank && rival->count > 1 && now - rival->last_s <= RIVAL_S)
            return DROP_NOT_LOCKED;
    }
    latch_lock(stream, source);
    tell(ring, &(struct event){
                   .kind = EVENT_LOCKED, .handle = stream->handle, .address = *source});
    return ACCEPTED;
}

static enum reason latch_rebind(struct table *table, struct ring *ring, struct stream *stream,
                                const struct config *config, const struct address *source,
                                const struct rtp *rtp, double now)
{
    if (now - stream->last_s < config->rebind_silence_s || rtp->ssrc != stream->last_ssrc)
        return DROP_SOURCE;
    if (rtp->sequence_number >= 0) {
        uint32_t step = (uint32_t)(rtp->sequence_number - stream->last_sequence_number) & 0xFFFF;
        uint32_t elapsed = rtp->timestamp - stream->last_timestamp;
        if (step == 0 || step >= MAX_SEQUENCE_STEP || elapsed >= 1u << 31)
            return DROP_SOURCE;
    }
    if (packet_is_own_port(table, source))
        return DROP_OWN_PORT;
    if (!stream->rebinding) {
        stream->rebinding = true;
        stream->candidates = 0;
    }
    struct candidate *one = latch_candidate(stream, source, RANK_SDP_HOST, now);
    if (one == NULL || latch_weigh(one, rtp, now) < LOCK_PACKETS)
        return DROP_NOT_LOCKED;
    struct address old = stream->locked;
    latch_lock(stream, source);
    tell(ring, &(struct event){.kind = EVENT_REBOUND,
                               .handle = stream->handle,
                               .address = *source,
                               .old = old});
    write_begin(&stream->version);
    ADD(stream->source_changes, 1);
    write_end(&stream->version);
    return ACCEPTED;
}

/* Judge a packet whose source is no stranger. */
static enum reason latch_receive(struct table *table, struct ring *ring, struct stream *stream,
                                 const struct config *config, const struct address *source,
                                 const struct rtp *rtp, double now)
{
    if (config->nat && (stream->learning || !same_address(source, &stream->locked))) {
        enum reason reason
            = stream->learning ? latch_learn(table, ring, stream, config, source, rtp, now)
                               : latch_rebind(table, ring, stream, config, source, rtp, now);
        if (reason != ACCEPTED)
            return reason;
    } else if (stream->rebinding) {
        stream->rebinding = false;
        stream->candidates = 0;
    }
    stream->last_ssrc = rtp->ssrc;
    stream->last_sequence_number = rtp->sequence_number;
    stream->last_timestamp = rtp->timestamp;
    stream->last_s = now;
    return ACCEPTED;
}

/* RTCP on the port of RTP. Strangers were dropped before. */
static enum reason latch_control(const struct stream *stream, const struct config *config,
                                 const struct address *source)
{
    if (!config->nat)
        return ACCEPTED;
    if (stream->learning)
        return DROP_NOT_LOCKED;
    return same_address(source, &stream->locked) ? ACCEPTED : DROP_SOURCE;
}

/* Whom the media of a stream is accepted from, as seen from any thread. */
static bool lock_of(struct stream *stream, const struct config *config, struct address *out)
{
    if (config->nat)
        return read_shared(&stream->lock, config->epoch, out);
    *out = config->remote;
    return out->family != 0;
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
        return theirs != NULL && lock_of(companion, theirs, out);
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
    if (!(config->rtcp ? rtp_lock(table, config, &lock) : lock_of(stream, config, &lock)))
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

static bool receive_media(struct table *table, struct ring *ring, struct stream *stream,
                          const struct config *config, size_t size, const struct rtp *rtp,
                          const struct address *source, double now, struct forward *out)
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
            return receive_media(table, ring, stream, config, size, &none, source, now, out);
        } else if (!is_rtcp(data, size)) {
            struct rtp rtp;
            if (!parse_rtp(data, size, &rtp))
                return drop(stream, DROP_NOT_RTP);
            if ((config->payload_types[rtp.payload_type >> 6] >> (rtp.payload_type & 63) & 1) == 0)
                return drop(stream, DROP_PAYLOAD_TYPE);
            return receive_media(table, ring, stream, config, size, &rtp, source, now, out);
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
    if (config == NULL || !lock_of(stream, config, &out->locked))
        out->locked.family = 0;
}
