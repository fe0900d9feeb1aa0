/* Load of benchmarks/relay.py: telephones that send RTP through a relay and time what comes back.
 *
 * Usage: relay_load PHONES PACKETS_PER_S SECONDS
 * Binds PHONES sockets and prints their ports on a line; reads the relay's ports, one for each
 * phone, from standard input; sends 172-byte RTP packets in turn from every phone; prints
 *   {"sent": …, "took_s": …, "received": …, "p50_us": …, "p99_us": …}
 * Phones are paced by sleeping a quarter of a millisecond, so packets come in small lumps, as they
 * do from a network card. The kernel stamps each arrival, so the receiving thread may be lazy and
 * leave the processors to the relay.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PACKET_BYTES = 172, STAMP = 12, BATCH = 32, BUCKETS = 100000, WARM_UP_MS = 300 };

static int phones, *fds;
static long rate;
static double seconds;
static uint64_t *sequence;
static atomic_bool stopping;
static uint64_t received, counted, delays_us[BUCKETS], counted_from;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void sleep_ns(long ns)
{
    struct timespec time = {.tv_nsec = ns};
    nanosleep(&time, NULL);
}

static void take(struct msghdr *message, const char *data)
{
    uint64_t sent, arrived = 0;
    memcpy(&sent, data + STAMP, sizeof sent);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec time;
            memcpy(&time, CMSG_DATA(c), sizeof time);
            arrived = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
        }
    received++;
    if (sent < counted_from)
        return;
    counted++;
    uint64_t us = arrived > sent ? (arrived - sent) / 1000 : 0;
    delays_us[us < BUCKETS ? us : BUCKETS - 1]++;
}

static void *receive(void *unused)
{
    static char data[BATCH][256], control[BATCH][64];
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];
    struct epoll_event ready[256];
    int epoll = epoll_create1(0);
    (void)unused;
    for (int i = 0; i < phones; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event);
    }
    while (!atomic_load(&stopping)) {
        sleep_ns(4000000);
        int n;
        while ((n = epoll_wait(epoll, ready, 256, 0)) > 0)
            for (int k = 0; k < n; k++) {
                for (int i = 0; i < BATCH; i++) {
                    parts[i] = (struct iovec){data[i], sizeof data[i]};
                    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i],
                                                          .msg_iovlen = 1,
                                                          .msg_control = control[i],
                                                          .msg_controllen = sizeof control[i]};
                }
                int got = recvmmsg(ready[k].data.fd, messages, BATCH, MSG_DONTWAIT, NULL);
                for (int i = 0; i < got; i++)
                    take(&messages[i].msg_hdr, data[i]);
            }
    }
    return NULL;
}

static void send_one(int phone)
{
    uint8_t packet[PACKET_BYTES] = {0x80, 0};
    uint32_t number = (uint32_t)sequence[phone]++, timestamp = htonl(number * 160);
    packet[2] = (uint8_t)(number >> 8);
    packet[3] = (uint8_t)number;
    memcpy(packet + 4, &timestamp, 4);
    memcpy(packet + 8, &phone, sizeof phone);
    uint64_t stamp = now_ns(CLOCK_REALTIME);
    memcpy(packet + STAMP, &stamp, sizeof stamp);
    send(fds[phone], packet, sizeof packet, MSG_DONTWAIT);
}

static uint64_t percentile(double part)
{
    uint64_t left = (uint64_t)((double)counted * part);
    for (uint64_t us = 0; us < BUCKETS; us++) {
        if (delays_us[us] > left)
            return us;
        left -= delays_us[us];
    }
    return BUCKETS;
}

int main(int count, char **arguments)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    prctl(PR_SET_TIMERSLACK, 1000);
    if (count != 4)
        return 2;
    phones = atoi(arguments[1]);
    rate = atol(arguments[2]);
    seconds = atof(arguments[3]);
    fds = calloc((size_t)phones, sizeof *fds);
    sequence = calloc((size_t)phones, sizeof *sequence);
    for (int i = 0; i < phones; i++) {
        struct sockaddr_in name = {.sin_family = AF_INET};
        socklen_t length = sizeof name;
        int one = 1;
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[i] = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(fds[i], SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
        if (fds[i] < 0 || bind(fds[i], (struct sockaddr *)&name, sizeof name) < 0) {
            perror("bind");
            return 1;
        }
        getsockname(fds[i], (struct sockaddr *)&name, &length);
        printf("%d ", ntohs(name.sin_port));
    }
    printf("\n");
    fflush(stdout);
    for (int i = 0; i < phones; i++) {
        struct sockaddr_in name = {.sin_family = AF_INET};
        int port;
        if (scanf("%d", &port) != 1)
            return 1;
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        name.sin_port = htons((in_port_t)port);
        connect(fds[i], (struct sockaddr *)&name, sizeof name);
    }
    counted_from = now_ns(CLOCK_REALTIME) + WARM_UP_MS * UINT64_C(1000000);
    pthread_t receiver;
    pthread_create(&receiver, NULL, receive, NULL);
    uint64_t started = now_ns(CLOCK_MONOTONIC), sent = 0;
    uint64_t total = (uint64_t)(seconds * (double)rate);
    while (sent < total) {
        uint64_t due = (now_ns(CLOCK_MONOTONIC) - started) * (uint64_t)rate / 1000000000u;
        for (; sent < due && sent < total; sent++)
            send_one((int)(sent % (uint64_t)phones));
        sleep_ns(250000);
    }
    double took = (double)(now_ns(CLOCK_MONOTONIC) - started) / 1e9;
    sleep_ns(200000000);
    atomic_store(&stopping, true);
    pthread_join(receiver, NULL);
    printf("{\"sent\": %lu, \"took_s\": %.3f, \"received\": %lu, \"p50_us\": %lu, \"p99_us\": %lu}\n",
           (unsigned long)sent, took, (unsigned long)received, (unsigned long)percentile(0.5),
           (unsigned long)percentile(0.99));
    return 0;
}
