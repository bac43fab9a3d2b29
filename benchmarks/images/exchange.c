/* The same exchange as the TCP image stream, with nothing around it: 64 bytes of header and an image in one gather
 * write, received with MSG_WAITALL, 64 bytes back for each image, taken by a thread of their own.
 *
 *   exchange serve            prints its port, answers one connection after the other, until its input ends
 *   exchange send PORT COUNT BYTES   prints seconds, and CPU seconds of this side
 *
 * The server prints the CPU seconds of each connection. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define HEADER 64

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int whole(int fd, void *to, size_t bytes) {
    char *at = to;
    while (bytes) {
        ssize_t got = recv(fd, at, bytes, MSG_WAITALL);
        if (got <= 0) return 0;
        at += got;
        bytes -= got;
    }
    return 1;
}

static void prepare(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static int serve(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 8)) return 1;
    getsockname(listener, (struct sockaddr *)&at, &length);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    char *image = NULL;
    uint64_t room = 0;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) return 1;
        prepare(fd);
        double began = cpu();
        char header[HEADER];
        while (whole(fd, header, HEADER)) {
            uint64_t bytes;
            memcpy(&bytes, header + 16, 8);
            if (bytes > room) {
                image = realloc(image, bytes);
                room = bytes;
            }
            if (!whole(fd, image, bytes) || send(fd, header, HEADER, 0) != HEADER) break;
        }
        close(fd);
        printf("%.9f\n", cpu() - began);
        fflush(stdout);
    }
}

static int connected;
static long count;

static void *take_acks(void *unused) {
    char header[HEADER];
    for (long n = 0; n < count; n++)
        if (!whole(connected, header, HEADER)) return (void *)1;
    return NULL;
}

static int send_all(int port, uint64_t bytes) {
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    connected = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connected, (struct sockaddr *)&at, sizeof at)) return 1;
    prepare(connected);
    char header[HEADER] = {0};
    memcpy(header + 16, &bytes, 8);
    char *image = malloc(bytes);
    memset(image, 7, bytes);
    double began = now(), used = cpu();
    pthread_t acks;
    pthread_create(&acks, NULL, take_acks, NULL);
    for (long n = 0; n < count; n++) {
        struct iovec parts[2] = {{header, HEADER}, {image, bytes}}, *at_part = parts;
        size_t left = HEADER + bytes;
        while (left) {
            ssize_t sent = writev(connected, at_part, parts + 2 - at_part);
            if (sent <= 0) return 1;
            left -= sent;
            while (at_part < parts + 2 && (size_t)sent >= at_part->iov_len) sent -= (at_part++)->iov_len;
            if (at_part < parts + 2) {
                at_part->iov_base = (char *)at_part->iov_base + sent;
                at_part->iov_len -= sent;
            }
        }
    }
    void *failed;
    pthread_join(acks, &failed);
    printf("%.9f %.9f\n", now() - began, cpu() - used);
    return failed != NULL;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "serve")) return serve();
    if (argc != 5) return 2;
    count = atol(argv[3]);
    return send_all(atoi(argv[2]), strtoull(argv[4], NULL, 10));
}
