/* Workers of the relay: each is a thread with an epoll loop over the sockets it owns.
 *
 * Control functions are called by one thread at a time (module.c holds the GIL); they never
 * wait for a worker, except relay_reclaim(wait) and relay_shutdown.
 *
 * Reclamation: a worker publishes `active`, the value of the relay's clock when it woke, and 0
 * while it waits; between two waits it may hold pointers to configurations and streams. What the
 * control side has unlinked is stamped with the clock, the clock advances, and it is freed once
 * every worker is at rest or woke later than the stamp.
 */
#ifndef RINGLOG_LOOP_H
#define RINGLOG_LOOP_H

#include <pthread.h>

#include "packet.h"

enum { MAX_WORKERS = 64 };

struct relay;

struct worker {
    _Alignas(64) _Atomic uint64_t active;
    struct relay *relay;
    pthread_t thread;
    int epoll_fd;
    bool started;
    struct ring ring;
    struct batch *batch;
};

struct relay {
    struct table table;
    unsigned worker_count; /* 0: no threads and no sockets, datagrams come by packet_receive */
    int event_fd; /* readable when events wait */
    int stop_fd;  /* readable when the workers have to end */
    atomic_bool stopping;
    _Atomic uint64_t clock;
    struct worker *workers;
    struct config *retired_configs;
    struct stream *retired_streams;
    uint64_t serial; /* of handles */
    uint64_t epochs; /* of configurations */
    uint32_t next_slot, stream_count;
};

/* NULL with errno set. The array of hosts becomes the relay's. */
struct relay *relay_new(unsigned workers, struct address *local_hosts, size_t local_host_count);

/* Take over a bound, non-blocking socket; 0 with errno set. On failure it stays the caller's. */
uint64_t relay_open(struct relay *relay, int fd, const struct address *local);

/* Swap in a configuration made with malloc. Sets its epoch. */
void relay_configure(struct relay *relay, struct stream *stream, struct config *config);

/* Have rings for tapped packets; false with errno set. */
bool relay_enable_taps(struct relay *relay);

/* Take up to `room` tapped packets, in the order of arrival per worker; payloads are `stride`
 * bytes apart. */
size_t relay_take(struct relay *relay, struct frame_head *heads, uint8_t *payloads, size_t stride,
                  size_t room);

/* Send a packet of our own to the peer of a stream. */
bool relay_send(struct relay *relay, struct stream *stream, const uint8_t *data, size_t size,
                bool control);

/* Unlink a stream; its socket is closed when no worker can use it any more. */
void relay_close(struct relay *relay, struct stream *stream);

/* Free what no worker can hold; with `wait`, all of it. Returns whether something is left. */
bool relay_reclaim(struct relay *relay, bool wait);

/* Stop and join the threads, close every socket. Idempotent. */
void relay_shutdown(struct relay *relay);
void relay_free(struct relay *relay);

double relay_now(void);

#endif
