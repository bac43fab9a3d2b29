/* The lock of a Boost queue, which other processes may have died with, or scribbled over.
 *
 * It is a mutex of glibc in shared memory. We take it and give it back as glibc does, but by ourselves: glibc ends the
 * process, or follows pointers into nowhere, when it finds there what cannot be. Each word is read once, looked at, and
 * only exchanged for another if it still is what we saw. A thread that dies is told of by the system, which looks at one
 * lock besides those in the list that glibc keeps: the one that is being taken or given back. Ours is that all the time
 * that we hold it, so nothing in shared memory is linked into that list.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "boost_layout.h"

enum {
  LOOK_NS = 20 * 1000 * 1000, /* how long a lock may be held before we look who holds it */
  NAMELESS_NS = 300 * 1000 * 1000, /* between locking and writing its name a living thread may lose its processor */
  PLAIN_LOCKED = 1,
  PLAIN_WAITED_FOR = 2,
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

/* --- what the system knows of a thread */

static _Thread_local struct {
  struct robust_list_head *list; /* that the system goes through when the thread ends */
  uint32_t tid;
} self;

static void forget_tid(void) { self.tid = 0; }

__attribute__((constructor)) static void forget_tid_in_children(void) { pthread_atfork(NULL, NULL, forget_tid); }

uint32_t tid_of_this_thread(void) {
  if (!self.tid) self.tid = (uint32_t)syscall(SYS_gettid);
  return self.tid;
}

/* Have the system mark the lock if this thread dies; with NULL, no more. Plain locks are marked by nobody. */
static void have_watched(queue *q) {
  size_t bytes;
  if (!self.list && syscall(SYS_get_robust_list, 0, &self.list, &bytes)) self.list = NULL;
  if (!self.list) return; /* forbidden here: whoever comes next finds that the holder does not exist */
  void *entry = q ? (uint8_t *)lock_word(q) - self.list->futex_offset : NULL;
  *(void *volatile *)&self.list->list_op_pending = entry;
  atomic_signal_fence(memory_order_seq_cst);
}

static int is_thread_dead(uint32_t tid) {
  if (kill((pid_t)tid, 0) && errno == ESRCH) return 1;
  char path[40], line[512];
  snprintf(path, sizeof path, "/proc/%u/stat", tid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return kill((pid_t)tid, 0) && errno == ESRCH; /* gone since, or there is no /proc */
  ssize_t length = read(fd, line, sizeof line - 1);
  close(fd);
  if (length <= 0) return errno == ESRCH;
  line[length] = 0;
  char *state = strrchr(line, ')'); /* the name before it may hold anything */
  return state && state[1] == ' ' && strchr("ZXx", state[2]);
}

int is_own_thread(uint32_t tid) { return tid && tid <= MAX_TID && !syscall(SYS_tgkill, getpid(), tid, 0); }

/* --- taking and giving back */

/* Give the lock back, leaving `owner` in it. Returns 0, or BROKEN if it is no longer ours to give. */
static int give_back(queue *q, uint32_t owner) {
  uint32_t tid = tid_of_this_thread(), word = atomic_load(lock_word(q)), named = tid;
  int is_robust = is_robust_lock(q), is_ours = atomic_compare_exchange_strong(owner_word(q), &named, owner);
  do is_ours = is_ours && (is_robust ? (word & FUTEX_TID_MASK) == tid : word && word <= PLAIN_WAITED_FOR);
  while (is_ours && !atomic_compare_exchange_weak(lock_word(q), &word, 0));
  if (is_ours && word != (is_robust ? tid : PLAIN_LOCKED)) futex_word(lock_word(q), FUTEX_WAKE, 1, NULL);
  if (is_robust) have_watched(NULL);
  return is_ours ? 0 : break_queue(q, "its lock was overwritten while it was held: %#x", word);
}

void unlock_queue(queue *q) { give_back(q, 0); }

/* Take a lock that was free, or whose owner died: then the queue is looked through. Returns 0 or BROKEN. */
static int enter_lock(queue *q, int has_died) {
  uint32_t owner = atomic_load(owner_word(q));
  int is_lost = is_robust_lock(q) && owner == NOT_RECOVERABLE;
  if (is_lost) break_queue(q, "a process died holding its lock and left it inconsistent");
  atomic_store_explicit(owner_word(q), tid_of_this_thread(), memory_order_release);
  if (!is_lost && !(has_died ? check_whole(q) : check_position(q))) return 0;
  give_back(q, is_robust_lock(q) && (is_lost || has_died) ? NOT_RECOVERABLE : 0);
  return BROKEN;
}

/* Try to take it; whoever has slept leaves word that others may sleep as well. Returns 0, EOWNERDEAD or EBUSY. */
static int try_lock(queue *q, int has_slept) {
  uint32_t word = atomic_load(lock_word(q)), taken = has_slept ? PLAIN_WAITED_FOR : PLAIN_LOCKED;
  if (is_robust_lock(q)) {
    if (word && !(word & FUTEX_OWNER_DIED)) return EBUSY;
    taken = tid_of_this_thread() | (word & FUTEX_WAITERS) | (has_slept ? FUTEX_WAITERS : 0);
  } else if (word) {
    return EBUSY;
  }
  if (!atomic_compare_exchange_strong(lock_word(q), &word, taken)) return EBUSY;
  return word & FUTEX_OWNER_DIED ? EOWNERDEAD : 0;
}

/* Sleep until the lock is given back. Returns whether all the time passed. */
static int sleep_on_lock(queue *q, int64_t slice_ns) {
  uint32_t word = atomic_load(lock_word(q)), waited_for = is_robust_lock(q) ? word | FUTEX_WAITERS : PLAIN_WAITED_FOR;
  if (!word || (is_robust_lock(q) && word & FUTEX_OWNER_DIED)) return 0;
  if (word != waited_for && !atomic_compare_exchange_strong(lock_word(q), &word, waited_for)) return 0;
  struct timespec timeout = to_timespec(slice_ns);
  return futex_word(lock_word(q), FUTEX_WAIT, waited_for, &timeout) && errno == ETIMEDOUT;
}

/* Take over a lock whose owner is dead, which the system has not told. 1: it is ours now. 0: it is free, or somebody
 * living has it. */
static int rescue_lock(queue *q) {
  uint32_t word = atomic_load(lock_word(q));
  int is_robust = is_robust_lock(q);
  uint32_t owner = is_robust ? word & FUTEX_TID_MASK : atomic_load(owner_word(q));
  if (!word || (is_robust && word & FUTEX_OWNER_DIED)) return 0;
  atomic_store(&q->holder, (int)owner);
  if (is_robust) {
    if (!is_thread_dead(owner)) return 0;
    word = atomic_load(lock_word(q)); /* the system hands the lock of a dead thread on, so this is no thread's doing */
    if ((word & FUTEX_TID_MASK) != owner || word & FUTEX_OWNER_DIED) return 0;
    return break_queue(q, "its lock is held by thread %u, which does not exist", owner);
  }
  if (!owner) { /* died, or was stopped, between taking the lock and writing its name */
    struct timespec pause = to_timespec(1000 * 1000);
    for (int64_t until = now_ns() + NAMELESS_NS; now_ns() < until; nanosleep(&pause, NULL))
      if (!atomic_load(lock_word(q)) || atomic_load(owner_word(q))) return 0;
  } else if (!is_thread_dead(owner)) {
    return 0;
  }
  return atomic_compare_exchange_strong(owner_word(q), &owner, tid_of_this_thread()); /* or another was faster */
}

/* Wait for it, at most so long. Returns 0, EOWNERDEAD, EBUSY or BROKEN. */
static int await_lock(queue *q, int64_t timeout_ns) {
  int64_t now = now_ns(), until = now + timeout_ns;
  do {
    int has_passed = sleep_on_lock(q, until - now < LOOK_NS ? until - now : LOOK_NS);
    if (check_header(q)) return BROKEN;
    int result = try_lock(q, 1);
    if (result != EBUSY) return result;
    /* Who may not wait longer looks as well: on a busy machine the time may be over before a slice of it has passed. */
    int rescued = has_passed || now_ns() >= until ? rescue_lock(q) : 0;
    if (rescued) return rescued < 0 ? BROKEN : EOWNERDEAD;
  } while ((now = now_ns()) < until);
  return EBUSY;
}

/* Lock it. Returns 0, LOCKED or BROKEN. However short the timeout, a lock gets the time in which a living owner is done. */
int lock_queue(queue *q, int64_t timeout_ns) {
  if (atomic_load_explicit(&q->broken, memory_order_relaxed) || check_header(q)) return BROKEN;
  if (is_robust_lock(q)) have_watched(q);
  int result = try_lock(q, 0);
  if (result == EBUSY) result = await_lock(q, timeout_ns > LOOK_NS ? timeout_ns : LOOK_NS);
  if (!result || result == EOWNERDEAD) return enter_lock(q, result == EOWNERDEAD);
  if (is_robust_lock(q)) have_watched(NULL);
  return result == EBUSY ? LOCKED : result;
}
