/* Send to and receive from a boost::interprocess::message_queue; every call is bounded. Used through ctypes. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "boost_layout.h"
#include "export.h"

enum { ROOM_MIN_NS = 50 * 1000, ROOM_MAX_NS = 1000 * 1000, WAKE_LOCK_NS = 25 * 1000 * 1000 };

/* --- a life */

static uint64_t stride_of(uint64_t size_bytes) { return sizeof(shared_message) + ((size_bytes + 7) & ~7ULL); }

EXPORT uint64_t lw_boost_file_bytes(uint64_t depth, uint64_t size_bytes) {
  return sizeof(shared_queue) + depth * (sizeof(uint64_t) + stride_of(size_bytes));
}

EXPORT uint64_t lw_boost_handle_bytes(void) { return sizeof(queue); }

EXPORT const char *lw_boost_text(queue *q) { return q->text; }

EXPORT uint64_t lw_boost_depth(queue *q) { return q->depth; }

EXPORT uint64_t lw_boost_size_bytes(queue *q) { return q->size_bytes; }

EXPORT int lw_boost_holder(queue *q) { return atomic_load(&q->holder); }

/* Map a file of shared memory. Returns 0 or an errno. */
EXPORT int lw_boost_map(queue *q, int fd, uint64_t bytes) {
  memset(q, 0, sizeof *q);
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return errno;
  q->shared = at;
  q->mapped_bytes = bytes;
  atomic_store(&q->users, 1);
  return 0;
}

static int init_sync(shared_queue *s, int is_robust) {
  pthread_mutexattr_t mutex;
  pthread_condattr_t cond;
  int failed = pthread_mutexattr_init(&mutex) || pthread_condattr_init(&cond);
  failed = failed || pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
  failed = failed || (is_robust && pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST));
  failed = failed || pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
  failed = failed || pthread_mutex_init(&s->mutex, &mutex);
  failed = failed || pthread_cond_init(&s->not_empty, &cond) || pthread_cond_init(&s->not_full, &cond);
  return failed ? ENOTSUP : 0;
}

/* Make an empty queue in a mapped file of zeros. Returns 0 or an errno. */
EXPORT int lw_boost_format(queue *q, uint64_t depth, uint64_t size_bytes, int is_robust) {
  shared_queue *s = q->shared;
  if (q->mapped_bytes != lw_boost_file_bytes(depth, size_bytes)) return EINVAL;
  atomic_store(&s->state, 1);
  s->index = (uint64_t)((uint8_t *)s->slots - (uint8_t *)&s->index);
  s->depth = depth;
  s->size_bytes = size_bytes;
  if (init_sync(s, is_robust)) return ENOTSUP;
  uint8_t *message = (uint8_t *)(s->slots + depth);
  for (uint64_t slot = 0; slot < depth; slot++, message += stride_of(size_bytes))
    s->slots[slot] = (uint64_t)(message - (uint8_t *)&s->slots[slot]);
  atomic_store(&s->state, STATE_READY);
  return 0;
}

/* Learn a queue that is ready. Returns 0 or BROKEN: it is none, or is damaged. */
EXPORT int lw_boost_learn(queue *q, uint32_t header_bytes, int marks) {
  shared_queue *s = q->shared;
  uint64_t depth = READ(s->depth), size_bytes = READ(s->size_bytes);
  if (depth - 1 >= MAX_DEPTH || size_bytes - 1 >= MAX_SIZE_BYTES ||
      q->mapped_bytes < lw_boost_file_bytes(depth, size_bytes))
    return break_queue(q, "%llu messages of %llu bytes do not fit into its %llu bytes", (long long)depth,
                       (long long)size_bytes, (long long)q->mapped_bytes);
  q->depth = depth;
  q->size_bytes = size_bytes;
  q->stride_bytes = stride_of(size_bytes);
  q->messages_at = sizeof *s + q->depth * sizeof(uint64_t);
  q->index = (uint64_t)((uint8_t *)s->slots - (uint8_t *)&s->index);
  q->header_bytes = header_bytes;
  q->mutex_kind = ((int32_t *)&s->mutex)[4];
  if (q->mutex_kind != 128 && q->mutex_kind != 144)
    return break_queue(q, "its lock is of kind %d: neither plain nor robust, shared by processes", q->mutex_kind);
  q->cond_flags = 1; /* shared by processes, real-time clock: as Boost makes them; a wait may use another clock */
  if (check_header(q) || check_position(q)) return BROKEN;
  if (marks) atomic_store(&s->mark, MARK);
  return 0;
}

static int enter(queue *q) {
  int users = atomic_load(&q->users);
  while (users > 0 && !atomic_load(&q->closed))
    if (atomic_compare_exchange_weak(&q->users, &users, users + 1)) return 1;
  return 0;
}

static void leave(queue *q) {
  if (atomic_fetch_sub(&q->users, 1) == 1 && !atomic_load(&q->kept)) munmap(q->shared, q->mapped_bytes);
}

/* How many messages wait; 0 if it is closed. */
EXPORT uint64_t lw_boost_count(queue *q) {
  if (!enter(q)) return 0;
  uint64_t count = READ(q->shared->count);
  leave(q);
  return count;
}

/* --- waking */

static void wake_receivers(queue *q) {
  shared_queue *s = q->shared;
  atomic_fetch_add(&s->sent, 1);
  futex_word(&s->sent, FUTEX_WAKE, INT_MAX, NULL);
  if (!atomic_load(&q->in_condition)) return;
  /* They check for a wake under the lock, so having had it means that they sleep, or will not. */
  if (!lock_queue(q, WAKE_LOCK_NS)) unlock_queue(q);
  end_sleep(q, &s->not_empty);
}

EXPORT void lw_boost_wake(queue *q) {
  if (!enter(q)) return;
  atomic_fetch_add(&q->wakes, 1);
  wake_receivers(q);
  leave(q);
}

/* Unmap it; if calls are under way, the last one does. */
EXPORT void lw_boost_close(queue *q) {
  if (atomic_load(&q->users) <= 0 || atomic_exchange(&q->closed, 1)) return;
  wake_receivers(q);
  leave(q); /* the one from the beginning; calls under way have their own */
}

/* --- send */

static void point(queue *q, uint64_t slot, shared_message *message) {
  q->shared->slots[slot] = (uint64_t)((uint8_t *)message - (uint8_t *)&q->shared->slots[slot]);
}

/* How many of the waiting messages have a lower priority; -1 if the index is damaged. */
static int64_t count_below(queue *q, uint32_t priority) {
  uint64_t low = 0, high = READ(q->shared->count);
  if (high > q->depth) return -1;
  while (low < high) {
    uint64_t middle = (low + high) / 2;
    shared_message *message = message_at(q, (READ(q->shared->first) + middle) % q->depth);
    if (!message) return -1;
    if (READ(message->priority) < priority)
      low = middle + 1;
    else
      high = middle;
  }
  return (int64_t)low;
}

/* Put a message in; the lock is ours and there is room. The message is whole before it can be seen. */
static int put(queue *q, const uint8_t *data, uint32_t length_bytes, uint32_t priority) {
  shared_queue *s = q->shared;
  uint64_t first = READ(s->first);
  first = ((first ? first : q->depth) - 1) % q->depth;
  shared_message *message = message_at(q, first);
  if (!message) return BROKEN;
  int64_t below = count_below(q, priority);
  if (below < 0) return break_queue(q, "its number of messages was changed to %llu", (long long)READ(s->count));
  memcpy(message->data, data, length_bytes);
  if (length_bytes < q->size_bytes) message->data[length_bytes] = 0; /* for readers that take the payload for a string */
  for (int64_t at = 0; at < below; at++) {
    shared_message *moved = message_at(q, (first + 1 + (uint64_t)at) % q->depth);
    if (!moved) return BROKEN;
    point(q, (first + (uint64_t)at) % q->depth, moved);
  }
  if (below) point(q, (first + (uint64_t)below) % q->depth, message);
  message->sender = MARK;
  message->priority = priority;
  message->length_bytes = q->size_bytes; /* foreign readers demand whole messages */
  atomic_signal_fence(memory_order_seq_cst);
  s->first = first;
  atomic_signal_fence(memory_order_seq_cst);
  s->count++;
  return 0;
}

static int try_send(queue *q, const uint8_t *data, uint32_t length_bytes, uint32_t priority, int64_t timeout_ns) {
  shared_queue *s = q->shared;
  int result = lock_queue(q, timeout_ns);
  if (result) return result;
  if (s->count >= q->depth) {
    unlock_queue(q);
    return TIMED_OUT;
  }
  result = put(q, data, length_bytes, priority);
  if (atomic_load_explicit(&s->mark, memory_order_relaxed) != MARK) atomic_store(&s->mark, MARK);
  atomic_fetch_add(&s->sent, 1);
  int has_blocked = s->blocked_receivers != 0;
  unlock_queue(q);
  if (result) return result;
  if (atomic_load(&s->waiters)) futex_word(&s->sent, FUTEX_WAKE, 1, NULL);
  if (has_blocked) signal_one(q, &s->not_empty);
  return 0;
}

/* Send; returns 0, TIMED_OUT (it stayed full), LOCKED, CLOSED, BROKEN or TOO_LARGE. */
EXPORT int lw_boost_send(queue *q, const uint8_t *data, uint32_t length_bytes, uint32_t priority, int64_t timeout_ns) {
  if (!enter(q)) return CLOSED;
  int result = length_bytes > q->size_bytes ? TOO_LARGE : try_send(q, data, length_bytes, priority, timeout_ns);
  if (result == TIMED_OUT && timeout_ns > 0) {
    /* Full, which is rare: looked at again and again, as a dead receiver tells nobody. */
    int64_t until = now_ns() + timeout_ns, pause_ns = ROOM_MIN_NS, left;
    while (result == TIMED_OUT && (left = until - now_ns()) > 0) {
      struct timespec pause = to_timespec(pause_ns < left ? pause_ns : left);
      nanosleep(&pause, NULL);
      if (pause_ns < ROOM_MAX_NS) pause_ns *= 2;
      result = atomic_load(&q->closed) ? CLOSED : try_send(q, data, length_bytes, priority, left);
    }
  }
  leave(q);
  return result;
}

/* --- receive */

/* How much of a message says something: the header, and as much payload as the header says. */
static uint64_t told_bytes(queue *q, const uint8_t *data, uint64_t length_bytes) {
  uint64_t header = q->header_bytes;
  if (length_bytes <= header) return length_bytes;
  uint32_t payload;
  memcpy(&payload, data + header - sizeof payload, sizeof payload);
  if (payload == 0) return header + strnlen((const char *)data + header, length_bytes - header);
  return payload < length_bytes - header ? header + payload : length_bytes;
}

/* Take the next message out; the lock is ours and there is one. */
static int take(queue *q, uint8_t *buffer) {
  shared_queue *s = q->shared;
  shared_message *message = message_at(q, (READ(s->first) + READ(s->count) - 1) % q->depth);
  if (!message) return BROKEN;
  uint64_t length_bytes = READ(message->length_bytes);
  if (length_bytes > q->size_bytes) return break_queue(q, "a message says that it has %llu bytes", (long long)length_bytes);
  length_bytes = told_bytes(q, message->data, length_bytes);
  memcpy(buffer, message->data, length_bytes);
  if (READ(message->sender) != MARK) atomic_store(&q->foreign, 1);
  message->sender = 0;
  message->length_bytes = 0;
  message->priority = 0;
  atomic_signal_fence(memory_order_seq_cst);
  s->count--;
  return (int)length_bytes;
}

static int take_wake(queue *q) {
  int wakes = atomic_load(&q->wakes);
  while (wakes > 0)
    if (atomic_compare_exchange_weak(&q->wakes, &wakes, wakes - 1)) return 1;
  return 0;
}

/* Sleep on the futex, as the sender is ours; the lock is not held. */
static int wait_for_ours(queue *q, uint32_t seen, int64_t left_ns) {
  shared_queue *s = q->shared;
  struct timespec timeout = to_timespec(left_ns);
  atomic_fetch_add(&s->waiters, 1);
  futex_word(&s->sent, FUTEX_WAIT, seen, &timeout);
  atomic_fetch_sub(&s->waiters, 1);
  return lock_queue(q, left_ns);
}

static int receive(queue *q, uint8_t *buffer, int64_t timeout_ns) {
  shared_queue *s = q->shared;
  int result = lock_queue(q, timeout_ns);
  int64_t until = 0, left = timeout_ns;
  while (!result) {
    if (READ(s->count)) {
      result = take(q, buffer);
      int has_blocked = s->blocked_senders != 0;
      unlock_queue(q);
      if (has_blocked && result >= 0) signal_one(q, &s->not_full);
      return result;
    }
    int is_closed = atomic_load(&q->closed);
    if (!until && left > 0) until = now_ns() + timeout_ns;
    left = until ? until - now_ns() : 0;
    if (is_closed || left <= 0 || take_wake(q)) {
      unlock_queue(q);
      return is_closed ? CLOSED : left <= 0 && !take_wake(q) ? TIMED_OUT : WOKEN;
    }
    if (atomic_load(&q->foreign) || atomic_load(&s->mark) != MARK) {
      result = sleep_in(q, &s->not_empty, until);
    } else {
      uint32_t seen = atomic_load(&s->sent);
      unlock_queue(q);
      result = wait_for_ours(q, seen, left);
    }
  }
  return result;
}

/* Receive; returns the number of bytes, TIMED_OUT, WOKEN, CLOSED, LOCKED or BROKEN. The buffer has size_bytes. */
EXPORT int lw_boost_receive(queue *q, uint8_t *buffer, int64_t timeout_ns) {
  if (!enter(q)) return CLOSED;
  int result = receive(q, buffer, timeout_ns);
  leave(q);
  return result;
}
