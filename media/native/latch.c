/* See latch.h and, for the reasons of the numbers, latch.py. */
#include "latch.h"

#include <string.h>

#include "shared.h"

#define LOCK_PACKETS 4
#define CANDIDATE_LIFE_S 1.0
#define RIVAL_S 0.2
#define MAX_SEQUENCE_STEP 3000

enum { RANK_SDP_ADDRESS, RANK_SDP_HOST, RANK_SIGNALLING_HOST, RANK_OTHER };

static uint8_t rank_of(const struct config *config, const struct address *source)
{
    if (config->remote.family != 0 && same_host(source, &config->remote))
        return source->port == config->remote.port ? RANK_SDP_ADDRESS : RANK_SDP_HOST;
    if (config->signalling.family != 0 && same_host(source, &config->signalling))
        return RANK_SIGNALLING_HOST;
    return RANK_OTHER;
}

void latch_follow(struct stream *stream, const struct config *config)
{
    if (stream->epoch == config->epoch)
        return;
    stream->epoch = config->epoch;
    stream->learning = config->nat;
    stream->rebinding = false;
    stream->candidates = 0;
}

bool latch_is_stranger(const struct stream *stream, const struct config *config,
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

enum reason latch_receive(struct table *table, struct ring *ring, struct stream *stream,
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

enum reason latch_control(const struct stream *stream, const struct config *config,
                          const struct address *source)
{
    if (!config->nat)
        return ACCEPTED;
    if (stream->learning)
        return DROP_NOT_LOCKED;
    return same_address(source, &stream->locked) ? ACCEPTED : DROP_SOURCE;
}

bool latch_lock_of(struct stream *stream, const struct config *config, struct address *out)
{
    if (config->nat)
        return read_shared(&stream->lock, config->epoch, out);
    *out = config->remote;
    return out->family != 0;
}
