/* Whom a stream listens to: the machine that latch.py specifies, in C. Called by packet.c. */
#ifndef RINGLOG_LATCH_H
#define RINGLOG_LATCH_H

#include "packet.h"

struct rtp {
    uint32_t timestamp, ssrc;
    int32_t sequence_number; /* -1: not RTP */
    uint8_t payload_type;
    bool marker;
    size_t payload_bytes;
};

/* Follow a configuration that opened learning again. */
void latch_follow(struct stream *stream, const struct config *config);

/* Whether no packet of this source can be accepted, whatever it says. */
bool latch_is_stranger(const struct stream *stream, const struct config *config,
                       const struct address *source);

/* Judge a packet whose source is no stranger: ACCEPTED or the reason to drop it. */
enum reason latch_receive(struct table *table, struct ring *ring, struct stream *stream,
                          const struct config *config, const struct address *source,
                          const struct rtp *rtp, double now);

/* Judge RTCP on the port of RTP whose source is no stranger. */
enum reason latch_control(const struct stream *stream, const struct config *config,
                          const struct address *source);

/* Whom the media of a stream is accepted from, as seen from any thread. */
bool latch_lock_of(struct stream *stream, const struct config *config, struct address *out);

#endif
