/* Send to and receive from one side of an AF_UNIX SEQPACKET pair, with a depth that is counted in messages.
 *
 * Both sides share a page with the number of messages sent and received each way. Each side believes only what it has
 * counted itself; what the other one wrote there can cost it its queue, nothing else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "boost_layout.h" /* for the results and the clock */
#include "export.h"

enum { PAGE_BYTES = 4096, GONE = -7, ERRNO = -1000, FULL_PAUSE_NS = 1000 * 1000, WAKE_ALL = 1 << 20 };

typedef struct { /* one direction, in the page */
  _Atomic uint64_t sent, received;
} counts;

typedef struct {
  int socket, wakes;
  counts *out, *in, *page;
  uint32_t size_bytes;
  uint64_t depth;
  pthread_mutex_t sending;
  uint64_t sent;
  _Atomic uint64_t received;
  _Atomic int users, closed;
} socket_queue;

EXPORT uint64_t lw_socket_handle_bytes(void) { return sizeof(socket_queue); }

/* Take over a socket; the page is in a file. Returns 0 or an errno, and then the socket is still the caller's. */
EXPORT int lw_socket_open(socket_queue *q, int socket, int page, int is_server, uint32_t size_bytes, uint64_t depth) {
  memset(q, 0, sizeof *q);
  void *at = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
  if (at == MAP_FAILED) return errno;
  q->wakes = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE);
  if (q->wakes < 0) {
    int failed = errno;
    munmap(at, PAGE_BYTES);
    return failed;
  }
  q->socket = socket;
  q->page = at;
  q->out = q->page + !is_server; /* requests, then responses */
  q->in = q->page + is_server;
  q->size_bytes = size_bytes;
  q->depth = depth;
  pthread_mutex_init(&q->sending, NULL);
  atomic_store(&q->users, 1);
  return 0;
}

static int enter(socket_queue *q) {
  int users = atomic_load(&q->users);
  while (users > 0 && !atomic_load(&q->closed))
    if (atomic_compare_exchange_weak(&q->users, &users, users + 1)) return 1;
  return 0;
}

static void leave(socket_queue *q) {
  if (atomic_fetch_sub(&q->users, 1) != 1) return;
  close(q->socket);
  close(q->wakes);
  munmap(q->page, PAGE_BYTES);
}

static void write_wakes(socket_queue *q, uint64_t wakes) {
  ssize_t written = write(q->wakes, &wakes, sizeof wakes);
  (void)written; /* it fails only if millions are waiting there already */
}

EXPORT void lw_socket_wake(socket_queue *q) {
  if (!enter(q)) return;
  write_wakes(q, 1);
  leave(q);
}

/* Close it; calls under way end, the last one closes the descriptors, but the peer is to know it now. */
EXPORT void lw_socket_close(socket_queue *q) {
  if (atomic_load(&q->users) <= 0 || atomic_exchange(&q->closed, 1)) return;
  shutdown(q->socket, SHUT_RDWR);
  write_wakes(q, WAKE_ALL);
  leave(q);
}

/* Messages on the way: out, if `outwards`, or in. */
EXPORT int64_t lw_socket_count(socket_queue *q, int outwards) {
  if (!enter(q)) return CLOSED;
  counts *way = outwards ? q->out : q->in;
  uint64_t received = atomic_load(&way->received), sent = atomic_load(&way->sent);
  leave(q);
  return sent - received <= q->depth ? (int64_t)(sent - received) : 0;
}

static int try_send(socket_queue *q, const uint8_t *data, uint32_t length_bytes) {
  int result = 0;
  pthread_mutex_lock(&q->sending);
  uint64_t waiting = q->sent - atomic_load(&q->out->received);
  if (waiting >= q->depth) {
    result = waiting == q->depth ? TIMED_OUT : BROKEN;
  } else {
    atomic_store(&q->out->sent, q->sent + 1); /* first, so that nobody sees more received than sent */
    if (send(q->socket, data, length_bytes, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
      q->sent++;
    } else {
      atomic_store(&q->out->sent, q->sent);
      switch (errno) {
        case EAGAIN: /* the buffer is smaller than we asked for */
        case EINTR: result = TIMED_OUT; break;
        case EPIPE:
        case ECONNRESET:
        case ENOTCONN:
        case ECONNREFUSED: result = GONE; break;
        default: result = ERRNO - errno;
      }
    }
  }
  pthread_mutex_unlock(&q->sending);
  return result;
}

/* Send; returns 0, TIMED_OUT (it stayed full), CLOSED, GONE, BROKEN, TOO_LARGE, or ERRNO - errno. */
EXPORT int lw_socket_send(socket_queue *q, const uint8_t *data, uint32_t length_bytes, uint32_t priority,
                          int64_t timeout_ns) {
  (void)priority; /* a socket is first in, first out */
  if (!enter(q)) return CLOSED;
  int result = length_bytes > q->size_bytes ? TOO_LARGE : try_send(q, data, length_bytes);
  if (result == TIMED_OUT && timeout_ns > 0) {
    int64_t until = now_ns() + timeout_ns, left;
    while (result == TIMED_OUT && (left = until - now_ns()) > 0) {
      struct pollfd hangup = {.fd = q->socket}; /* tells of a hang-up only */
      struct timespec pause = to_timespec(left < FULL_PAUSE_NS ? left : FULL_PAUSE_NS);
      ppoll(&hangup, 1, &pause, NULL);
      result = atomic_load(&q->closed) ? CLOSED : hangup.revents ? GONE : try_send(q, data, length_bytes);
    }
  }
  leave(q);
  return result;
}

/* Take a message, if one is there. Returns its length, TIMED_OUT (there is none), GONE, or ERRNO - errno. */
static int take(socket_queue *q, uint8_t *buffer) {
  for (;;) {
    ssize_t length = recv(q->socket, buffer, q->size_bytes + 1, MSG_DONTWAIT); /* one more shows what is too long */
    if (length > 0) return (int)length;
    if (length == 0) { /* an empty message, or the end */
      struct pollfd end = {.fd = q->socket, .events = POLLRDHUP};
      return poll(&end, 1, 0) > 0 ? GONE : 0;
    }
    if (errno == EAGAIN) return TIMED_OUT;
    /* A reset is told once, before what the dead peer had sent: that is still to be read. */
    if (errno != EINTR && errno != ECONNRESET) return ERRNO - errno;
  }
}

static int receive(socket_queue *q, uint8_t *buffer, int64_t timeout_ns) {
  int64_t until = 0, left_ns = timeout_ns;
  int is_there = atomic_load(&q->in->sent) != atomic_load(&q->received); /* a hint, which saves a call */
  for (;; is_there = 1) {
    int result = is_there ? take(q, buffer) : TIMED_OUT;
    if (result >= 0) atomic_store(&q->in->received, atomic_fetch_add(&q->received, 1) + 1);
    if (result != TIMED_OUT) return result < 0 && atomic_load(&q->closed) ? CLOSED : result;
    if (!until) until = now_ns() + timeout_ns;
    struct pollfd polled[2] = {{.fd = q->socket, .events = POLLIN | POLLRDHUP}, {.fd = q->wakes, .events = POLLIN}};
    struct timespec timeout = to_timespec(left_ns > 0 ? left_ns : 0);
    ppoll(polled, 2, &timeout, NULL);
    uint64_t wake;
    if (atomic_load(&q->closed)) return CLOSED;
    if (polled[0].revents) continue; /* messages go before wakes */
    if (polled[1].revents && read(q->wakes, &wake, sizeof wake) > 0) return WOKEN;
    left_ns = until - now_ns();
    if (left_ns <= 0) return TIMED_OUT;
  }
}

/* Receive; returns the number of bytes, TIMED_OUT, WOKEN, CLOSED, GONE, or ERRNO - errno. The buffer has size_bytes + 1. */
EXPORT int lw_socket_receive(socket_queue *q, uint8_t *buffer, int64_t timeout_ns) {
  if (!enter(q)) return CLOSED;
  int result = receive(q, buffer, timeout_ns);
  leave(q);
  return result;
}
