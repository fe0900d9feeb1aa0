/* The yardstick of benchmarks/relay.py: the plainest relay that can be written in C. It receives a
 * datagram and sends it on, one system call each; it looks at nothing and counts nothing.
 *
 * Usage: relay_bare epoll|block PORT...
 * Opens one socket for each PORT of the load generator, prints their ports, and forwards what
 * arrives on socket i to PORT i^1, until standard input ends. With `block` there is one socket,
 * read by a blocking recvfrom: no waiting for readiness at all, the least that any relay can do.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256 };

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((in_port_t)port)};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return name;
}

static int bound(int *port)
{
    struct sockaddr_in name = loopback(0);
    socklen_t length = sizeof name;
    int size = 1 << 20, fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof name) < 0
        || getsockname(fd, (struct sockaddr *)&name, &length) < 0) {
        perror("bind");
        exit(1);
    }
    *port = ntohs(name.sin_port);
    return fd;
}

int main(int count, char **arguments)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (count < 4)
        return 2;
    int ports = count - 2, block = strcmp(arguments[1], "block") == 0;
    int *fds = calloc((size_t)ports, sizeof *fds);
    struct sockaddr_in *targets = calloc((size_t)ports, sizeof *targets);
    int epoll = epoll_create1(0);
    for (int i = 0; i < ports; i++) {
        int port = 0;
        if (i == 0 || !block)
            fds[i] = bound(&port);
        else
            fds[i] = fds[0];
        targets[i] = loopback(atoi(arguments[2 + (i ^ 1)]));
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (port != 0)
            epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event);
        socklen_t length = sizeof(struct sockaddr_in);
        struct sockaddr_in name;
        getsockname(fds[i], (struct sockaddr *)&name, &length);
        printf("%d ", ntohs(name.sin_port));
    }
    printf("\n");
    fflush(stdout);
    char data[2048];
    struct sockaddr_in source;
    socklen_t length;
    if (block)
        for (int i = 0;; i = (i + 1) % ports) {
            length = sizeof source;
            ssize_t size = recvfrom(fds[0], data, sizeof data, 0, (struct sockaddr *)&source,
                                    &length);
            if (size >= 0)
                sendto(fds[0], data, (size_t)size, 0, (struct sockaddr *)&targets[i],
                       sizeof targets[i]);
        }
    struct epoll_event ready[EVENTS];
    for (;;) {
        int n = epoll_wait(epoll, ready, EVENTS, -1);
        for (int k = 0; k < n; k++) {
            uint32_t i = ready[k].data.u32;
            length = sizeof source;
            ssize_t size = recvfrom(fds[i], data, sizeof data, MSG_DONTWAIT,
                                    (struct sockaddr *)&source, &length);
            if (size >= 0)
                sendto(fds[i ^ 1], data, (size_t)size, 0, (struct sockaddr *)&targets[i],
                       sizeof targets[i]);
        }
    }
}
