/* Values that one thread writes and others read without waiting. Fed by the packet side, read by
 * the control side and by other workers. No fences: every word is atomic, which ThreadSanitizer
 * understands, and costs nothing on x86.
 */
#ifndef RINGLOG_SHARED_H
#define RINGLOG_SHARED_H

#include "packet.h"

/* Only the owner writes: it needs no order to read back its own. A store with release order
 * comes after the store that made `version` odd, which is what readers rely on. */
#define MINE(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define PUT(field, value) atomic_store_explicit(&(field), (value), memory_order_release)
#define ADD(field, value) PUT(field, MINE(field) + (value))
#define SEEN(field) atomic_load_explicit(&(field), memory_order_acquire)

static inline void write_begin(atomic_uint *version)
{
    atomic_store_explicit(version, MINE(*version) + 1, memory_order_relaxed);
}

static inline void write_end(atomic_uint *version)
{
    PUT(*version, MINE(*version) + 1);
}

static inline void share(struct shared_address *shared, const struct address *address,
                         uint64_t epoch)
{
    write_begin(&shared->version);
    PUT(shared->high, address->high);
    PUT(shared->low, address->low);
    PUT(shared->rest, epoch << 32 | (uint64_t)address->family << 16 | address->port);
    write_end(&shared->version);
}

/* False: none was learned under this epoch. */
static inline bool read_shared(struct shared_address *shared, uint64_t epoch, struct address *out)
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

static inline void tell(struct ring *ring, const struct event *event)
{
    unsigned tail = MINE(ring->tail);
    if (tail - SEEN(ring->head) == RING_EVENTS)
        return; /* lost; the counters still tell */
    ring->events[tail % RING_EVENTS] = *event;
    PUT(ring->tail, tail + 1);
}

#endif
