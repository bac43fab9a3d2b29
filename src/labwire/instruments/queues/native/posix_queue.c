/* Send to and receive from a POSIX message queue, by poll on its descriptor: monotonic time, and a way to wake.
 *
 * The kernel keeps the queue, so a process that dies leaves nothing locked.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <mqueue.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "boost_layout.h" /* for the results and the clock */
#include "export.h"

enum { ERRNO = -1000, MAX_MESSAGE_BYTES = 16384, WAKE_ALL = 1 << 20 };

typedef struct {
  mqd_t queue; /* a descriptor, on Linux */
  int wakes;
  uint32_t size_bytes, header_bytes;
  _Atomic int users, closed;
} posix_queue;

EXPORT uint64_t lw_posix_handle_bytes(void) { return sizeof(posix_queue); }

/* Open a queue, or create it if depth is not 0. Returns 0 or an errno. */
EXPORT int lw_posix_open(posix_queue *q, const char *name, long depth, long size_bytes, uint32_t header_bytes) {
  memset(q, 0, sizeof *q);
  struct mq_attr attributes = {.mq_maxmsg = depth, .mq_msgsize = size_bytes};
  int flags = O_RDWR | O_NONBLOCK | O_CLOEXEC;
  if (size_bytes > MAX_MESSAGE_BYTES) return EMSGSIZE;
  q->queue = depth ? mq_open(name, flags | O_CREAT | O_EXCL, 0600, &attributes) : mq_open(name, flags);
  if (q->queue < 0) return errno;
  if (mq_getattr(q->queue, &attributes) || attributes.mq_msgsize > MAX_MESSAGE_BYTES ||
      (q->wakes = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE)) < 0) {
    int failed = errno ? errno : EMSGSIZE;
    mq_close(q->queue);
    return failed;
  }
  q->size_bytes = (uint32_t)attributes.mq_msgsize;
  q->header_bytes = header_bytes;
  atomic_store(&q->users, 1);
  return 0;
}

EXPORT int lw_posix_unlink(const char *name) { return mq_unlink(name) ? errno : 0; }

static int enter(posix_queue *q) {
  int users = atomic_load(&q->users);
  while (users > 0 && !atomic_load(&q->closed))
    if (atomic_compare_exchange_weak(&q->users, &users, users + 1)) return 1;
  return 0;
}

static void leave(posix_queue *q) {
  if (atomic_fetch_sub(&q->users, 1) != 1) return;
  mq_close(q->queue);
  close(q->wakes);
}

/* Tell depth, message size and number of messages. Returns 0, an errno or CLOSED. */
EXPORT int lw_posix_look(posix_queue *q, int64_t *depth, int64_t *size_bytes, int64_t *count) {
  if (!enter(q)) return CLOSED;
  struct mq_attr attributes = {0};
  int failed = mq_getattr(q->queue, &attributes) ? errno : 0;
  *depth = attributes.mq_maxmsg;
  *size_bytes = attributes.mq_msgsize;
  *count = attributes.mq_curmsgs;
  leave(q);
  return failed;
}

static void write_wakes(posix_queue *q, uint64_t wakes) {
  ssize_t written = write(q->wakes, &wakes, sizeof wakes);
  (void)written; /* it fails only if millions are waiting there already */
}

EXPORT void lw_posix_wake(posix_queue *q) {
  if (!enter(q)) return;
  write_wakes(q, 1);
  leave(q);
}

EXPORT void lw_posix_close(posix_queue *q) {
  if (atomic_load(&q->users) <= 0 || atomic_exchange(&q->closed, 1)) return;
  write_wakes(q, WAKE_ALL);
  leave(q); /* the one from the beginning; calls under way have their own */
}

/* Wait for the queue, or for a wake. Returns 0: look again. */
static int wait_for(posix_queue *q, short events, int64_t *left_ns, int64_t until) {
  if (*left_ns <= 0) return TIMED_OUT;
  struct pollfd polled[2] = {{.fd = q->queue, .events = events}, {.fd = q->wakes, .events = POLLIN}};
  struct timespec timeout = to_timespec(*left_ns);
  ppoll(polled, 2, &timeout, NULL);
  uint64_t wake;
  if (atomic_load(&q->closed)) return CLOSED;
  if (!polled[0].revents && polled[1].revents && events == POLLIN && read(q->wakes, &wake, sizeof wake) > 0) return WOKEN;
  *left_ns = until - now_ns();
  return 0;
}

/* Send; returns 0, TIMED_OUT, CLOSED, TOO_LARGE, or ERRNO - errno. */
EXPORT int lw_posix_send(posix_queue *q, const uint8_t *data, uint32_t length_bytes, uint32_t priority, int64_t timeout_ns) {
  if (!enter(q)) return CLOSED;
  uint8_t whole[MAX_MESSAGE_BYTES];
  int result = length_bytes > q->size_bytes ? TOO_LARGE : 0;
  int64_t left_ns = timeout_ns, until = 0;
  if (!result) {
    memcpy(whole, data, length_bytes);
    memset(whole + length_bytes, 0, q->size_bytes - length_bytes); /* foreign readers demand whole messages */
  }
  while (!result && mq_send(q->queue, (const char *)whole, q->size_bytes, priority)) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN) {
      result = ERRNO - errno;
    } else {
      if (!until) until = now_ns() + timeout_ns;
      result = wait_for(q, POLLOUT, &left_ns, until);
    }
  }
  leave(q);
  return result;
}

static uint32_t told_bytes(posix_queue *q, const uint8_t *data, uint32_t length_bytes) {
  uint32_t header = q->header_bytes, payload;
  if (length_bytes <= header) return length_bytes;
  memcpy(&payload, data + header - sizeof payload, sizeof payload);
  if (payload == 0) return header + (uint32_t)strnlen((const char *)data + header, length_bytes - header);
  return payload < length_bytes - header ? header + payload : length_bytes;
}

/* Receive; returns the number of bytes, TIMED_OUT, WOKEN, CLOSED, or ERRNO - errno. The buffer has size_bytes. */
EXPORT int lw_posix_receive(posix_queue *q, uint8_t *buffer, int64_t timeout_ns) {
  if (!enter(q)) return CLOSED;
  int64_t left_ns = timeout_ns, until = 0;
  int result = 0;
  ssize_t length;
  while ((length = mq_receive(q->queue, (char *)buffer, q->size_bytes, NULL)) < 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN) {
      result = ERRNO - errno;
    } else {
      uint64_t wake;
      if (!until) {
        until = now_ns() + timeout_ns;
        if (left_ns <= 0 && read(q->wakes, &wake, sizeof wake) > 0) result = WOKEN;
      }
      if (!result) result = wait_for(q, POLLIN, &left_ns, until);
    }
    if (result) break;
  }
  if (!result) result = (int)told_bytes(q, buffer, (uint32_t)length);
  leave(q);
  return result;
}
