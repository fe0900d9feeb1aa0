/* Drives the C core of the relay without Python, for the sanitizers (relay_sanitize.sh).
 *
 * judge   packets good, mutated and random through packet_receive. Each lies in a block of exactly
 *         its size, so that reading one byte too far is seen; configurations change meanwhile.
 * threads workers relay real datagrams over loopback while this thread configures, reads, closes
 *         and opens streams as fast as it can: races and early frees are seen.
 *
 * Usage: relay_fuzz SEED JUDGED ROUNDS
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"

enum { STREAMS = 8, V4_STREAMS = 6, PEERS = 4, WORKERS = 3 };

#define CHECK(condition)                                                     \
    do {                                                                     \
        if (!(condition)) {                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);  \
            abort();                                                         \
        }                                                                    \
    } while (0)

static uint64_t state;

/* splitmix64: the same story for the same seed, everywhere. */
static uint64_t draw(void)
{
    uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static bool chance(unsigned percent)
{
    return draw() % 100 < percent;
}

static struct address address_of(uint16_t family, unsigned host, uint16_t port)
{
    struct address address = {.port = port, .family = family};
    if (family == AF_INET) {
        address.low = htonl(0x7F000001 + host);
    } else {
        address.high = 1;
        address.low = host;
    }
    return address;
}

static struct config *random_config(const uint64_t *handles, uint16_t family,
                                    const struct address *peer)
{
    struct config *config = calloc(1, sizeof *config);
    CHECK(config != NULL);
    config->generation = draw() % 2;
    config->sink = chance(80) ? handles[draw() % STREAMS] : 0;
    config->tap = chance(80) ? 7 : 0;
    config->rtcp_sink = chance(30) ? handles[draw() % STREAMS] : 0;
    /* Of the same family: that is for the control side to see to. */
    config->rtp_stream = handles[family == AF_INET ? draw() % V4_STREAMS
                                                   : V4_STREAMS + draw() % (STREAMS - V4_STREAMS)];
    config->rtcp = chance(20);
    config->mux = chance(70);
    config->nat = chance(60);
    config->asymmetric = chance(20);
    config->opaque = chance(10);
    config->enabled_in = chance(90);
    config->enabled_out = chance(90);
    config->early = chance(50);
    config->worst_rank = (uint8_t)(1 + draw() % 3);
    config->rebind_silence_s = chance(50) ? 0.0 : 1.0;
    config->max_packets_per_s = chance(30) ? 50 : 0;
    config->max_packet_bytes = 1500;
    config->clock_rate = chance(90) ? 8000 : 0;
    config->payload_types[0] = config->payload_types[1] = chance(80) ? ~UINT64_C(0) : 1;
    if (chance(80))
        config->remote = peer != NULL ? *peer : address_of(family, (unsigned)(draw() % 3), 4000);
    if (chance(80)) {
        config->signalling = address_of(family, (unsigned)(draw() % 3), 0);
    }
    return config;
}

static size_t random_packet(uint8_t *data, uint32_t *sequence)
{
    size_t size = 12 + draw() % 30;
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)draw();
    unsigned kind = (unsigned)(draw() % 100);
    if (kind < 70) { /* RTP that goes on */
        uint32_t number = (*sequence)++;
        uint8_t header[12] = {0x80, 0, (uint8_t)(number >> 8), (uint8_t)number};
        uint32_t timestamp = htonl(number * 160);
        memcpy(header + 4, &timestamp, 4);
        header[11] = 7;
        memcpy(data, header, sizeof header);
        if (kind < 5) /* with sources or an extension that may not fit */
            data[0] = (uint8_t)(0x80 | (draw() & 0x3F));
    } else if (kind < 90) { /* RTCP of nested lengths that may not fit */
        size = 8 + draw() % 90;
        for (size_t i = 0; i < size; i += 4) {
            data[i] = (uint8_t)(0x80 | draw() % 4);
            data[i + 1] = (uint8_t)(200 + draw() % 2);
            data[i + 2] = 0;
            data[i + 3] = (uint8_t)(draw() % 14);
        }
    } else if (kind < 95) {
        size = draw() % 12;
    }
    return size;
}

/* Take what was tapped; every payload lies in a block of exactly its room. */
static size_t take(struct relay *relay)
{
    enum { ROOM = 64, STRIDE = 40 };
    struct frame_head heads[ROOM];
    uint8_t *payloads = malloc(ROOM * STRIDE);
    CHECK(payloads != NULL);
    size_t count = relay_take(relay, heads, payloads, STRIDE, ROOM);
    for (size_t i = 0; i < count; i++)
        CHECK(heads[i].tap == 7 && heads[i].size <= TAP_BYTES);
    free(payloads);
    return count;
}

static void judge(unsigned long packets)
{
    struct relay *relay = relay_new(0, NULL, 0);
    CHECK(relay != NULL);
    uint64_t handles[STREAMS];
    uint32_t sequences[STREAMS] = {0};
    double now = 100.0;
    unsigned long forwarded = 0, tapped = 0;
    CHECK(relay_enable_taps(relay));
    for (unsigned i = 0; i < STREAMS; i++) {
        struct address local
            = address_of(i < V4_STREAMS ? AF_INET : AF_INET6, 0, (uint16_t)(4000 + i));
        handles[i] = relay_open(relay, -1, &local);
        CHECK(handles[i] != 0);
    }
    for (unsigned long n = 0; n < packets; n++) {
        unsigned which = (unsigned)(draw() % STREAMS);
        if (chance(2))
            tapped += take(relay);
        struct stream *stream = packet_lookup(&relay->table, handles[which]);
        uint16_t family = stream->local.family;
        if (chance(1))
            relay_configure(relay, stream, random_config(handles, family, NULL));
        if (n % 1000 == 999) {
            struct address local = stream->local;
            relay_close(relay, stream);
            CHECK(!relay_reclaim(relay, false));
            handles[which] = relay_open(relay, -1, &local);
            stream = packet_lookup(&relay->table, handles[which]);
        }
        struct address source
            = address_of(family, (unsigned)(draw() % 3), (uint16_t)(4000 + draw() % 2));
        for (unsigned run = (unsigned)(draw() % 6); run > 0; run--) {
            uint8_t made[512];
            size_t size = random_packet(made, &sequences[which]);
            uint8_t *exact = malloc(size == 0 ? 1 : size);
            CHECK(exact != NULL);
            memcpy(exact, made, size);
            struct forward out;
            if (packet_receive(&relay->table, &relay->workers[0].ring, stream, exact, size,
                               &source, now, &out)) {
                CHECK(!same_address(&out.destination, &source));
                CHECK(out.destination.family == out.sink->local.family);
                packet_sent(&out, size);
                forwarded++;
            }
            free(exact);
            now += chance(1) ? 3.0 : 0.02;
        }
    }
    struct stats stats;
    packet_stats(packet_lookup(&relay->table, handles[0]), &stats);
    CHECK(forwarded > packets / 100);
    CHECK(tapped > packets / 1000);
    CHECK(stats.lost >= 0);
    printf("judged %lu runs, %lu packets forwarded\n", packets, forwarded);
    relay_shutdown(relay);
    relay_free(relay);
}

static int bound(uint16_t port, struct address *out)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t length = sizeof name;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    if (bind(fd, (struct sockaddr *)&name, sizeof name) < 0) {
        close(fd);
        return -1;
    }
    CHECK(getsockname(fd, (struct sockaddr *)&name, &length) == 0);
    *out = (struct address){.low = name.sin_addr.s_addr,
                            .port = ntohs(name.sin_port),
                            .family = AF_INET};
    return fd;
}

static void threads(unsigned long rounds)
{
    struct relay *relay = relay_new(WORKERS, NULL, 0);
    CHECK(relay != NULL);
    uint64_t handles[STREAMS];
    struct address locals[STREAMS], peers[PEERS];
    int peer_fds[PEERS];
    uint32_t sequences[STREAMS] = {0};
    uint64_t relayed = 0, events = 0;
    CHECK(relay_enable_taps(relay));
    for (unsigned i = 0; i < PEERS; i++)
        peer_fds[i] = bound(0, &peers[i]);
    for (unsigned i = 0; i < STREAMS; i++)
        handles[i] = relay_open(relay, bound(0, &locals[i]), &locals[i]);
    for (unsigned long round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < STREAMS; i++) {
            struct stream *stream = packet_lookup(&relay->table, handles[i]);
            struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(locals[i].port)};
            to.sin_addr.s_addr = (in_addr_t)locals[i].low;
            uint8_t data[512];
            for (unsigned run = (unsigned)(draw() % 8); run > 0; run--) {
                size_t size = random_packet(data, &sequences[i]);
                sendto(peer_fds[i % PEERS], data, size, 0, (struct sockaddr *)&to, sizeof to);
            }
            if (chance(30)) {
                relay_configure(relay, stream, random_config(handles, AF_INET, &peers[i % PEERS]));
                relay_reclaim(relay, false);
            }
            take(relay);
            relay_send(relay, stream, data, 20, chance(20));
            struct stats stats;
            packet_stats(stream, &stats);
            if (chance(5)) {
                relayed += stats.packets_out;
                relay_close(relay, stream);
                relay_reclaim(relay, true);
                int fd = bound(locals[i].port, &locals[i]);
                handles[i] = relay_open(relay, fd >= 0 ? fd : bound(0, &locals[i]), &locals[i]);
                CHECK(handles[i] != 0);
            }
        }
        for (unsigned i = 0; i < PEERS; i++) {
            uint8_t data[512];
            while (recv(peer_fds[i], data, sizeof data, 0) >= 0)
                continue;
        }
        for (unsigned i = 0; i < WORKERS; i++) { /* as module.c takes them */
            struct ring *ring = &relay->workers[i].ring;
            unsigned tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
            unsigned head = atomic_load_explicit(&ring->head, memory_order_relaxed);
            for (; head != tail; head++, events++)
                CHECK(ring->events[head % RING_EVENTS].handle != 0);
            atomic_store_explicit(&ring->head, head, memory_order_release);
        }
    }
    relay_shutdown(relay);
    relay_free(relay);
    for (unsigned i = 0; i < PEERS; i++)
        close(peer_fds[i]);
    printf("%lu rounds, %lu packets relayed, %lu events\n", rounds, (unsigned long)relayed,
           (unsigned long)events);
    CHECK(relayed > 0);
}

int main(int count, char **arguments)
{
    CHECK(count == 4);
    state = strtoull(arguments[1], NULL, 10);
    printf("seed %s\n", arguments[1]);
    judge(strtoul(arguments[2], NULL, 10));
    threads(strtoul(arguments[3], NULL, 10));
    return 0;
}
