/* The lock of a Boost queue that other processes may have died with, or scribbled over. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "boost_layout.h"

enum {
  LOOK_NS = 20 * 1000 * 1000, /* how long a lock may be held before we look who holds it */
  NAMELESS_NS = 300 * 1000 * 1000, /* between locking and writing its name a living thread may lose its processor */
  MAX_BLOCKED = 100000,
  TID_MASK = 0x3fffffff,
  OWNER_DIED = 0x40000000,
  MAX_TID = 4 * 1024 * 1024, /* PID_MAX_LIMIT of the kernel */
  NOT_RECOVERABLE = 0x7ffffffe, /* as an owner; one more is: inconsistent */
  ROBUST = 16,       /* bit of a mutex kind */
};

/* Words inside a mutex of glibc; part of its ABI. */
_Atomic uint32_t *lock_word(queue *q) { return (_Atomic uint32_t *)&q->shared->mutex; }
_Atomic uint32_t *owner_word(queue *q) { return lock_word(q) + 2; }
_Atomic int32_t *kind_word(queue *q) { return (_Atomic int32_t *)lock_word(q) + 4; }

long futex_word(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout) {
  return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

struct timespec to_timespec(int64_t ns) {
  return (struct timespec){.tv_sec = ns / 1000000000LL, .tv_nsec = ns % 1000000000LL};
}

int break_queue(queue *q, const char *format, ...) {
  int expected = 0;
  if (atomic_compare_exchange_strong(&q->broken, &expected, 1)) {
    va_list values;
    va_start(values, format);
    vsnprintf(q->text, sizeof q->text, format, values);
    va_end(values);
  }
  return BROKEN;
}

/* --- what stands in shared memory, held against what we know */

/* The words that never change, and the mutex: before glibc touches it, whose assertions end a process. */
int check_header(queue *q) {
  shared_queue *s = q->shared;
  uint32_t state = atomic_load(&s->state);
  if (state != STATE_READY) return break_queue(q, "its state word is %u, not %u", state, STATE_READY);
  if (READ(s->index) != q->index) return break_queue(q, "its index pointer was changed to %#llx", (long long)s->index);
  if (READ(s->depth) != q->depth) return break_queue(q, "its depth was changed to %llu", (long long)s->depth);
  if (READ(s->size_bytes) != q->size_bytes)
    return break_queue(q, "its message size was changed to %llu", (long long)s->size_bytes);
  int32_t kind = atomic_load(kind_word(q));
  if (kind != q->mutex_kind) return break_queue(q, "the kind of its lock was changed to %d", kind);
  uint32_t word = atomic_load(lock_word(q)), owner = atomic_load(owner_word(q));
  if (kind & ROBUST) {
    if ((word & TID_MASK) > MAX_TID) return break_queue(q, "its lock holds %#x, which is no thread", word);
  } else if (word > 2) {
    return break_queue(q, "its lock holds %#x", word);
  }
  if (owner > MAX_TID && owner < NOT_RECOVERABLE) return break_queue(q, "the owner of its lock is %#x, no thread", owner);
  if (READ(s->blocked_senders) > MAX_BLOCKED || READ(s->blocked_receivers) > MAX_BLOCKED)
    return break_queue(q, "it counts %llu senders and %llu receivers that wait", (long long)s->blocked_senders,
                       (long long)s->blocked_receivers);
  return 0;
}

/* The words that change under the lock. */
int check_position(queue *q) {
  shared_queue *s = q->shared;
  if (READ(s->count) > q->depth) return break_queue(q, "it counts %llu messages of %llu", (long long)s->count, (long long)q->depth);
  if (READ(s->first) >= q->depth) return break_queue(q, "its first message is at %llu", (long long)s->first);
  return 0;
}

/* Return the message that a slot points to, NULL if it points anywhere else. */
shared_message *message_at(queue *q, uint64_t slot) {
  uint64_t pointer = READ(q->shared->slots[slot]);
  uint64_t at = (uint64_t)((uint8_t *)&q->shared->slots[slot] - (uint8_t *)q->shared) + pointer;
  uint64_t offset = at - q->messages_at;
  if (offset % q->stride_bytes || offset / q->stride_bytes >= q->depth) {
    break_queue(q, "slot %llu of its index points nowhere: %#llx", (long long)slot, (long long)pointer);
    return NULL;
  }
  return (shared_message *)((uint8_t *)q->shared + at);
}

/* Every slot points to a message of its own. */
static int check_slots(queue *q) {
  uint8_t seen[MAX_DEPTH / 8] = {0};
  for (uint64_t slot = 0; slot < q->depth; slot++) {
    shared_message *message = message_at(q, slot);
    if (!message) return BROKEN;
    uint64_t number = ((uint8_t *)message - (uint8_t *)q->shared - q->messages_at) / q->stride_bytes;
    uint8_t bit = (uint8_t)(1 << number % 8);
    if (seen[number / 8] & bit)
      return break_queue(q, "two slots point to message %llu: a process died inside", (long long)number);
    seen[number / 8] |= bit;
  }
  return 0;
}

/* Lengths and priorities are what they can be; free messages are marked as such, which Boost demands. */
static int check_messages(queue *q) {
  shared_queue *s = q->shared;
  uint32_t lowest = 0;
  for (uint64_t at = 0; at < q->depth; at++) {
    shared_message *message = message_at(q, (READ(s->first) + at) % q->depth);
    if (!message) return BROKEN;
    if (at >= READ(s->count)) {
      message->length_bytes = 0;
      message->priority = 0;
      continue;
    }
    if (message->length_bytes > q->size_bytes || message->priority < lowest)
      return break_queue(q, "message %llu of %llu has length %llu and priority %u: a process died inside", (long long)at,
                         (long long)s->count, (long long)message->length_bytes, message->priority);
    lowest = message->priority;
  }
  return 0;
}

static int is_all_ours(queue *q) {
  uint64_t count = READ(q->shared->count);
  for (uint64_t at = 0; at < count && at < q->depth; at++) {
    shared_message *message = message_at(q, (READ(q->shared->first) + at) % q->depth);
    if (!message || message->sender != MARK) return 0;
  }
  return 1;
}

/* A foreign sender counts a message first and writes it then, so the newest one may be half of an old one: drop it. */
static int drop_newest(queue *q) {
  shared_queue *s = q->shared;
  if (!s->count) return 0;
  uint64_t first = READ(s->first), count = READ(s->count);
  shared_message *newest = message_at(q, first % q->depth), *oldest = message_at(q, (first + count - 1) % q->depth);
  if (!newest || !oldest) return BROKEN;
  if (newest->priority != oldest->priority && !is_all_ours(q))
    return break_queue(q, "a foreign process died inside, and with priorities nobody can tell which message it wrote");
  if (newest->sender == MARK) return 0;
  newest->length_bytes = 0;
  newest->priority = 0;
  s->first = (s->first + 1) % q->depth;
  s->count--;
  return 0;
}

/* Hold everything against what must be, after a process has died inside; the lock is ours. What can be mended is. */
static int check_whole(queue *q) {
  shared_queue *s = q->shared;
  if (check_header(q) || check_position(q) || check_slots(q)) return BROKEN;
  /* `first` moves before `count`: a death between leaves the last message just outside. */
  uint64_t count = READ(s->count);
  shared_message *outside = message_at(q, (READ(s->first) + count) % q->depth);
  if (!outside) return BROKEN;
  if (count < q->depth && outside->length_bytes) s->count = count + 1;
  if (check_messages(q)) return BROKEN;
  return drop_newest(q);
}

/* --- who holds the lock */

static int is_thread_dead(uint32_t tid) {
  if (kill((pid_t)tid, 0) && errno == ESRCH) return 1;
  char path[40], line[512];
  snprintf(path, sizeof path, "/proc/%u/stat", tid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, line, sizeof line - 1);
  close(fd);
  if (length <= 0) return errno == ESRCH;
  line[length] = 0;
  char *state = strrchr(line, ')'); /* the name before it may hold anything */
  return state && state[1] == ' ' && strchr("ZXx", state[2]);
}

int is_own_thread(uint32_t tid) { return tid && tid <= MAX_TID && !syscall(SYS_tgkill, getpid(), tid, 0); }

static volatile uint64_t *links_of(queue *q) { return (volatile uint64_t *)lock_word(q) + 3; }

/* Having locked it: remember where the list leads, as unlocking follows that, even into nowhere. */
void note_links(queue *q) {
  q->links[0] = links_of(q)[0];
  q->links[1] = links_of(q)[1];
}

static void note_lock(queue *q) {
  q->locked_by = atomic_load(owner_word(q));
  note_links(q);
}

static int are_links_ours(queue *q) {
  return !(q->mutex_kind & ROBUST) || (links_of(q)[0] == q->links[0] && links_of(q)[1] == q->links[1]);
}

/* Unlock it, unless somebody has scribbled over the lock meanwhile. */
void unlock_queue(queue *q) {
  uint32_t owner = atomic_load(owner_word(q));
  int is_ours = owner == q->locked_by || owner >= NOT_RECOVERABLE;
  if (is_ours && are_links_ours(q) && atomic_load(kind_word(q)) == q->mutex_kind) {
    pthread_mutex_unlock(&q->shared->mutex);
    return;
  }
  atomic_store(&q->kept, 1);
  break_queue(q, "its lock was overwritten while it was held");
}

/* After EOWNERDEAD: the lock is ours if 0 is returned. */
int recover_queue(queue *q) {
  note_lock(q);
  if (check_whole(q)) {
    unlock_queue(q); /* not made consistent: nobody gets it any more */
    return BROKEN;
  }
  pthread_mutex_consistent(&q->shared->mutex);
  note_lock(q);
  return 0;
}

/* Take over a lock whose owner is dead. 1: it is ours now. 0: it is free, or somebody living has it. */
int rescue_lock(queue *q) {
  uint32_t word = atomic_load(lock_word(q));
  int is_robust = q->mutex_kind & ROBUST;
  uint32_t owner = is_robust ? word & TID_MASK : atomic_load(owner_word(q));
  if (!word || (is_robust && (!owner || word & OWNER_DIED))) return 0;
  atomic_store(&q->holder, (int)owner);
  if (is_robust) {
    if (!is_thread_dead(owner)) return 0;
    word = atomic_load(lock_word(q)); /* the system hands the lock of a dead thread on, so this is no thread's doing */
    if ((word & TID_MASK) != owner || word & OWNER_DIED) return 0;
    return break_queue(q, "its lock is held by thread %u, which does not exist", owner);
  }
  if (!owner) { /* died, or was stopped, between taking the lock and writing its name */
    struct timespec pause = to_timespec(1000 * 1000);
    for (int64_t until = now_ns() + NAMELESS_NS; now_ns() < until; nanosleep(&pause, NULL))
      if (!atomic_load(lock_word(q)) || atomic_load(owner_word(q))) return 0;
  } else if (!is_thread_dead(owner)) {
    return 0;
  }
  uint32_t self = (uint32_t)syscall(SYS_gettid);
  if (!atomic_compare_exchange_strong(owner_word(q), &owner, self)) return 0; /* another was faster */
  q->locked_by = self;
  if (check_whole(q)) {
    unlock_queue(q);
    return BROKEN;
  }
  return 1;
}

/* Lock it. Returns 0, LOCKED or BROKEN. However short the timeout, a lock gets the time in which a living owner is done. */
int lock_queue(queue *q, int64_t timeout_ns) {
  if (timeout_ns < LOOK_NS) timeout_ns = LOOK_NS;
  if (atomic_load_explicit(&q->broken, memory_order_relaxed)) return BROKEN;
  if (check_header(q)) return BROKEN;
  int result = pthread_mutex_trylock(&q->shared->mutex);
  if (result == EBUSY) {
    int64_t now = now_ns(), until = now + timeout_ns;
    do {
      if (check_header(q)) return BROKEN; /* right before glibc looks at it */
      struct timespec slice = to_timespec(until - now < LOOK_NS ? until : now + LOOK_NS);
      result = pthread_mutex_clocklock(&q->shared->mutex, CLOCK_MONOTONIC, &slice);
      if (result != ETIMEDOUT) break;
      int rescued = rescue_lock(q);
      if (rescued) return rescued < 0 ? rescued : 0;
    } while ((now = now_ns()) < until);
  }
  if (result == EOWNERDEAD) return recover_queue(q);
  if (result == ETIMEDOUT) return LOCKED;
  if (result == ENOTRECOVERABLE) return break_queue(q, "a process died holding its lock and left it inconsistent");
  if (result) return break_queue(q, "its lock cannot be taken: %s", strerror(result));
  note_lock(q);
  if (check_position(q)) {
    unlock_queue(q);
    return BROKEN;
  }
  return 0;
}
