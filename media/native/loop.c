/* See loop.h. */
#define _GNU_SOURCE
#include "loop.h"

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BURST_PACKETS = 16, /* of one socket in a row: bounds what a flood takes from the others */
    BATCH_EVENTS = 256, /* sockets served between two waits: bounds how long frees are held up */
};

/* Working memory of a worker, reused for every datagram. */
struct batch {
    struct epoll_event ready[BATCH_EVENTS];
    uint8_t data[DATAGRAM_BYTES];
};

double relay_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* -- packet side -------------------------------------------------------------------------- */

static void from_socket(const struct sockaddr_in6 *name, struct address *out)
{
    if (name->sin6_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)name;
        *out = (struct address){
            .low = v4->sin_addr.s_addr, .port = ntohs(v4->sin_port), .family = AF_INET};
    } else {
        *out = (struct address){.port = ntohs(name->sin6_port), .family = AF_INET6};
        memcpy(&out->high, &name->sin6_addr.s6_addr[0], 8);
        memcpy(&out->low, &name->sin6_addr.s6_addr[8], 8);
    }
}

static socklen_t to_socket(const struct address *address, struct sockaddr_in6 *out)
{
    if (address->family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        *v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(address->port)};
        v4->sin_addr.s_addr = (in_addr_t)address->low;
        return sizeof *v4;
    }
    *out = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(address->port)};
    memcpy(&out->sin6_addr.s6_addr[0], &address->high, 8);
    memcpy(&out->sin6_addr.s6_addr[8], &address->low, 8);
    return sizeof *out;
}

/* Relay one datagram of a socket; false: there was none.
 *
 * recvfrom and sendto on purpose: telephones send one packet each 20 ms, so a socket holds one at
 * a time and its sink sends one at a time. recvmmsg and sendmmsg cost 1 us more for that one.
 */
static bool serve(struct worker *worker, struct stream *stream, double now)
{
    struct batch *batch = worker->batch;
    struct sockaddr_in6 name; /* holds a sockaddr_in, too */
    socklen_t length = sizeof name;
    struct address source;
    struct forward forward;
    ssize_t size = recvfrom(stream->fd, batch->data, DATAGRAM_BYTES, MSG_DONTWAIT | MSG_TRUNC,
                            (struct sockaddr *)&name, &length);
    if (size < 0)
        return false;
    from_socket(&name, &source);
    if (!packet_receive(&worker->relay->table, &worker->ring, stream, batch->data, (size_t)size,
                        &source, now, &forward))
        return true;
    length = to_socket(&forward.destination, &name);
    if (sendto(forward.sink->fd, batch->data, (size_t)size, MSG_DONTWAIT,
               (struct sockaddr *)&name, length)
        >= 0)
        packet_sent(&forward, (size_t)size);
    else
        packet_refused(stream);
    return true;
}

/* Serve a socket that is readable. One that was readable in the wake before, too, is not paced
 * like a telephone: it is emptied, up to a burst, to save a wait for each of its packets. */
static void serve_ready(struct worker *worker, struct stream *stream, uint64_t wake, double now)
{
    bool again = stream->last_wake + 1 == wake;
    stream->last_wake = wake;
    for (int left = again ? BURST_PACKETS : 1; left > 0; left--)
        if (!serve(worker, stream, now))
            break;
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    struct relay *relay = worker->relay;
    struct batch *batch = worker->batch;
    uint64_t wake = 1;
    prctl(PR_SET_NAME, "relay");
    for (; !atomic_load(&relay->stopping); wake++) {
        int ready = epoll_wait(worker->epoll_fd, batch->ready, BATCH_EVENTS, -1);
        unsigned events = atomic_load_explicit(&worker->ring.tail, memory_order_relaxed);
        double now = relay_now();
        atomic_store(&worker->active, atomic_load(&relay->clock));
        for (int i = 0; i < ready; i++) {
            /* By handle: a stream may have been freed before this worker was seen as active. */
            struct stream *stream = packet_lookup(&relay->table, batch->ready[i].data.u64);
            if (stream != NULL)
                serve_ready(worker, stream, wake, now);
        }
        atomic_store(&worker->active, 0);
        if (events != atomic_load_explicit(&worker->ring.tail, memory_order_relaxed)) {
            uint64_t one = 1;
            if (write(relay->event_fd, &one, sizeof one) < 0)
                continue; /* its counter is full: it is readable anyway */
        }
    }
    return NULL;
}

/* -- control side ------------------------------------------------------------------------- */

static bool worker_start(struct relay *relay, struct worker *worker)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0}; /* no stream's handle */
    worker->relay = relay;
    worker->batch = calloc(1, sizeof *worker->batch);
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (worker->batch == NULL || worker->epoll_fd < 0
        || epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, relay->stop_fd, &event) < 0)
        return false;
    errno = pthread_create(&worker->thread, NULL, run, worker);
    worker->started = errno == 0;
    return worker->started;
}

struct relay *relay_new(unsigned workers, struct address *local_hosts, size_t local_host_count)
{
    /* The ring of the first worker serves packet_receive when there are no threads. */
    unsigned rings = workers == 0 ? 1 : workers;
    struct relay *relay = calloc(1, sizeof *relay);
    struct worker *array = aligned_alloc(64, rings * sizeof *array);
    if (relay == NULL || array == NULL) {
        free(relay);
        free(array);
        free(local_hosts);
        errno = ENOMEM;
        return NULL;
    }
    memset(array, 0, rings * sizeof *array);
    for (unsigned i = 0; i < rings; i++)
        array[i].epoll_fd = -1;
    relay->workers = array;
    relay->worker_count = workers;
    relay->table.local_hosts = local_hosts;
    relay->table.local_host_count = local_host_count;
    atomic_init(&relay->clock, 1);
    relay->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    relay->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    bool good = relay->event_fd >= 0 && relay->stop_fd >= 0;
    for (unsigned i = 0; good && i < workers; i++)
        good = worker_start(relay, &array[i]);
    if (!good) {
        int cause = errno;
        relay_shutdown(relay);
        relay_free(relay);
        errno = cause;
        return NULL;
    }
    return relay;
}

uint64_t relay_open(struct relay *relay, int fd, const struct address *local)
{
    if (relay->stream_count == MAX_STREAMS) {
        errno = ENFILE;
        return 0;
    }
    while (atomic_load(&relay->table.slots[relay->next_slot]) != NULL)
        relay->next_slot = (relay->next_slot + 1) % MAX_STREAMS;
    uint64_t handle = ++relay->serial * MAX_STREAMS + relay->next_slot;
    struct stream *stream = packet_stream_new(handle, fd, local);
    if (stream == NULL) {
        errno = ENOMEM;
        return 0;
    }
    if (relay->worker_count > 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = handle};
        stream->worker = (uint32_t)(relay->serial % relay->worker_count);
        if (epoll_ctl(relay->workers[stream->worker].epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
            free(stream);
            return 0;
        }
    }
    _Atomic(struct stream *) *chain = &relay->table.own_ports[local->port];
    atomic_store(&stream->next_same_port, atomic_load(chain));
    atomic_store(chain, stream);
    atomic_store(&relay->table.slots[relay->next_slot], stream);
    relay->next_slot = (relay->next_slot + 1) % MAX_STREAMS;
    relay->stream_count++;
    return handle;
}

static void retire_config(struct relay *relay, struct config *config)
{
    config->retired_at = atomic_fetch_add(&relay->clock, 1);
    config->next = relay->retired_configs;
    relay->retired_configs = config;
}

void relay_configure(struct relay *relay, struct stream *stream, struct config *config)
{
    struct config *former = atomic_load(&stream->config);
    bool anew = former == NULL || former->generation != config->generation
                || former->nat != config->nat;
    config->epoch = anew ? ++relay->epochs : former->epoch;
    atomic_store(&stream->config, config);
    if (former != NULL)
        retire_config(relay, former);
}

bool relay_enable_taps(struct relay *relay)
{
    for (unsigned i = 0; i < (relay->worker_count > 0 ? relay->worker_count : 1); i++) {
        struct ring *ring = &relay->workers[i].ring;
        if (atomic_load(&ring->frames) != NULL)
            continue;
        size_t size = (sizeof(struct frames) + 63) / 64 * 64;
        struct frames *frames = aligned_alloc(64, size); /* pages are touched as they are needed */
        if (frames == NULL)
            return false;
        atomic_init(&frames->head, 0);
        atomic_init(&frames->tail, 0);
        atomic_store(&ring->frames, frames);
    }
    return true;
}

size_t relay_take(struct relay *relay, struct frame_head *heads, uint8_t *payloads, size_t stride,
                  size_t room)
{
    size_t count = 0;
    for (unsigned i = 0; i < (relay->worker_count > 0 ? relay->worker_count : 1); i++) {
        struct frames *frames = atomic_load(&relay->workers[i].ring.frames);
        if (frames == NULL)
            continue;
        unsigned head = atomic_load_explicit(&frames->head, memory_order_relaxed);
        unsigned tail = atomic_load_explicit(&frames->tail, memory_order_acquire);
        for (; head != tail && count < room; head++, count++) {
            const struct frame *frame = &frames->frame[head % TAP_FRAMES];
            size_t size = frame->head.size < stride ? frame->head.size : stride;
            heads[count] = frame->head;
            memcpy(payloads + count * stride, frame->payload, size);
        }
        atomic_store_explicit(&frames->head, head, memory_order_release);
    }
    return count;
}

bool relay_send(struct relay *relay, struct stream *stream, const uint8_t *data, size_t size,
                bool control)
{
    struct forward forward;
    struct sockaddr_in6 name;
    if (!packet_aim(&relay->table, stream, control, &forward))
        return false;
    socklen_t length = to_socket(&forward.destination, &name);
    if (sendto(stream->fd, data, size, MSG_DONTWAIT, (struct sockaddr *)&name, length) < 0)
        return false; /* the kernel's buffer is full: to the peer it is a lost packet */
    packet_sent(&forward, size);
    return true;
}

void relay_close(struct relay *relay, struct stream *stream)
{
    if (relay->worker_count > 0)
        epoll_ctl(relay->workers[stream->worker].epoll_fd, EPOLL_CTL_DEL, stream->fd, NULL);
    atomic_store(&relay->table.slots[stream->handle % MAX_STREAMS], NULL);
    _Atomic(struct stream *) *link = &relay->table.own_ports[stream->local.port];
    while (atomic_load(link) != stream)
        link = &atomic_load(link)->next_same_port;
    atomic_store(link, atomic_load(&stream->next_same_port));
    relay->stream_count--;
    stream->retired_at = atomic_fetch_add(&relay->clock, 1);
    stream->next = relay->retired_streams;
    relay->retired_streams = stream;
}

static void stream_free(struct stream *stream)
{
    if (stream->fd >= 0)
        close(stream->fd);
    free(atomic_load(&stream->config));
    free(stream);
}

/* The stamp below which nothing is held any more. */
static uint64_t horizon(struct relay *relay)
{
    uint64_t oldest = UINT64_MAX;
    for (unsigned i = 0; i < relay->worker_count; i++) {
        uint64_t active = atomic_load(&relay->workers[i].active);
        if (active != 0 && active < oldest)
            oldest = active;
    }
    return oldest;
}

bool relay_reclaim(struct relay *relay, bool wait)
{
    while (relay->retired_configs != NULL || relay->retired_streams != NULL) {
        uint64_t free_before = horizon(relay);
        struct config **config = &relay->retired_configs;
        while (*config != NULL) {
            struct config *one = *config;
            if (one->retired_at < free_before) {
                *config = one->next;
                free(one);
            } else {
                config = &one->next;
            }
        }
        struct stream **stream = &relay->retired_streams;
        while (*stream != NULL) {
            struct stream *one = *stream;
            if (one->retired_at < free_before) {
                *stream = one->next;
                stream_free(one);
            } else {
                stream = &one->next;
            }
        }
        if (!wait)
            break;
        sched_yield();
    }
    return relay->retired_configs != NULL || relay->retired_streams != NULL;
}

void relay_shutdown(struct relay *relay)
{
    uint64_t one = 1;
    atomic_store(&relay->stopping, true);
    if (relay->stop_fd >= 0 && write(relay->stop_fd, &one, sizeof one) < 0)
        return; /* an eventfd that was never written takes a one */
    for (unsigned i = 0; i < relay->worker_count; i++)
        if (relay->workers[i].started) {
            pthread_join(relay->workers[i].thread, NULL);
            relay->workers[i].started = false;
        }
    relay_reclaim(relay, true);
    for (unsigned slot = 0; slot < MAX_STREAMS; slot++) {
        struct stream *stream = atomic_load(&relay->table.slots[slot]);
        if (stream != NULL) {
            atomic_store(&relay->table.slots[slot], NULL);
            stream_free(stream);
        }
    }
    relay->stream_count = 0;
}

void relay_free(struct relay *relay)
{
    for (unsigned i = 0; i < relay->worker_count; i++) {
        if (relay->workers[i].epoll_fd >= 0)
            close(relay->workers[i].epoll_fd);
        free(relay->workers[i].batch);
    }
    for (unsigned i = 0; i < (relay->worker_count > 0 ? relay->worker_count : 1); i++)
        free(atomic_load(&relay->workers[i].ring.frames));
    if (relay->event_fd >= 0)
        close(relay->event_fd);
    if (relay->stop_fd >= 0)
        close(relay->stop_fd);
    free(relay->table.local_hosts);
    free(relay->workers);
    free(relay);
}
