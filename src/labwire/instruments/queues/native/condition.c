/* The condition variables of a Boost queue: only a foreign peer makes us use them.
 *
 * Those of glibc do not survive the death of a process that waits or signals: whoever comes next may wait inside without
 * end. So they are looked at first, and threads of ours that hang all the same are freed when the queue is closed or
 * found broken. Nobody uses a queue after that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <time.h>

#include "boost_layout.h"

enum {
  MS = 1000 * 1000,
  PATIENCE_MS = 25,
  INSIDE_MS = 200, /* who is inside for longer is dead: a living one may only have lost its processor to others */
  BEGIN_MS = 1000,
  MAX_SLEEPERS = 100000,
  OLD_FLAGS = 9,
  NEW_FLAGS = 7,
  FLAGS = 7,
  OWN_LOCK = 3,
  SIGNALS = 1 << 16, /* plenty, and the group is not closed */
};

/* Words inside glibc's structure, which has two forms: the newer one has no references. */
typedef struct {
  _Atomic uint32_t *references, *own_lock, *flags, *signals;
} words;

/* Which form this glibc has: told by where it notes that a condition variable is shared. No version number tells it, as
 * the newer form was carried back into older ones. */
static int flags_at(void) {
  static _Atomic int known;
  int at = atomic_load(&known);
  if (at) return at;
  union {
    pthread_cond_t cond;
    uint32_t words[sizeof(pthread_cond_t) / sizeof(uint32_t)];
  } fresh = {.words = {0}};
  pthread_condattr_t shared;
  if (pthread_condattr_init(&shared) || pthread_condattr_setpshared(&shared, PTHREAD_PROCESS_SHARED)) return -1;
  pthread_cond_init(&fresh.cond, &shared);
  at = fresh.words[OLD_FLAGS] == 1 ? OLD_FLAGS : fresh.words[NEW_FLAGS] == 1 ? NEW_FLAGS : -1;
  atomic_store(&known, at);
  return at;
}

static int find_words(words *found, pthread_cond_t *cond) {
  _Atomic uint32_t *first = (_Atomic uint32_t *)cond;
  int at = flags_at();
  if (at < 0) return 0;
  *found = (words){at == OLD_FLAGS ? first + 4 : NULL, first + at - 1, first + at, first + at + 1};
  return 1;
}

/* Whether glibc can be let near it. */
static int is_usable(queue *q, pthread_cond_t *cond) {
  words in;
  if (!find_words(&in, cond)) return 1;
  uint32_t flags = atomic_load(in.flags), sleepers = flags >> 3;
  uint64_t references = in.references ? (uint64_t)(in.references[0] >> 1) + (in.references[1] >> 1) : 0;
  if ((flags & FLAGS) != q->cond_flags || sleepers > MAX_SLEEPERS || references > sleepers + 64)
    return break_queue(q, "a condition variable was overwritten: %#x", flags), 0;
  struct timespec pause = to_timespec(MS / 10);
  for (int64_t until = 0; atomic_load(in.own_lock) & OWN_LOCK; nanosleep(&pause, NULL)) {
    if (!until) until = now_ns() + INSIDE_MS * MS;
    if (now_ns() > until) return break_queue(q, "a process died inside a condition variable"), 0;
  }
  return 1;
}

void signal_one(queue *q, pthread_cond_t *cond) {
  atomic_fetch_add(&q->in_condition, 1);
  if (is_usable(q, cond)) pthread_cond_signal(cond);
  atomic_fetch_sub(&q->in_condition, 1);
}

/* --- waiting: glibc gives back only a lock that it has taken itself */

static volatile uint64_t *links_of(queue *q) { return (volatile uint64_t *)lock_word(q) + 3; }

/* Having it from glibc: remember where its list of locks leads, as unlocking follows that, even into nowhere. */
static void note_links(queue *q, uint64_t links[2]) {
  links[0] = links_of(q)[0];
  links[1] = links_of(q)[1];
}

/* Have glibc unlock it, unless somebody has scribbled over the lock meanwhile. */
static void unlock_by_glibc(queue *q, const uint64_t links[2]) {
  uint32_t owner = atomic_load(owner_word(q));
  int is_ours = owner == tid_of_this_thread() || owner >= NOT_RECOVERABLE;
  int is_linked = !is_robust_lock(q) || (links_of(q)[0] == links[0] && links_of(q)[1] == links[1]);
  if (is_ours && is_linked && atomic_load(kind_word(q)) == q->mutex_kind) {
    pthread_mutex_unlock(&q->shared->mutex);
    return;
  }
  atomic_store(&q->kept, 1);
  break_queue(q, "its lock was overwritten while it was held");
}

/* Sleep until signalled, if there still is a reason to. What goes wrong, who locks it next finds out. */
static void wait_for_signal(queue *q, pthread_cond_t *cond, int64_t until) {
  shared_queue *s = q->shared;
  uint64_t links[2];
  struct timespec soon = to_timespec(now_ns() + PATIENCE_MS * MS), deadline = to_timespec(until);
  if (check_header(q)) return; /* right before glibc looks at it */
  int result = pthread_mutex_clocklock(&s->mutex, CLOCK_MONOTONIC, &soon);
  if (result && result != EOWNERDEAD) return;
  note_links(q, links);
  if (!result && !READ(s->count) && !atomic_load(&q->closed) && !atomic_load(&q->broken) && atomic_load(&q->wakes) <= 0) {
    s->blocked_receivers++;
    result = pthread_cond_clockwait(cond, &s->mutex, CLOCK_MONOTONIC, &deadline);
    if (result == ENOTRECOVERABLE) return;
    note_links(q, links);
    if (READ(s->blocked_receivers)) s->blocked_receivers--;
  }
  if (result == EOWNERDEAD && !check_whole(q)) pthread_mutex_consistent(&s->mutex);
  unlock_by_glibc(q, links);
}

/* Sleep until signalled; the lock is ours before, and after if 0 is returned. */
int sleep_in(queue *q, pthread_cond_t *cond, int64_t until) {
  /* Counted while the lock is ours: who ends our sleep either sees us, or has said before that it is over. */
  atomic_fetch_add(&q->in_condition, 1);
  int may_wait = is_usable(q, cond);
  unlock_queue(q);
  if (may_wait) wait_for_signal(q, cond, until);
  atomic_fetch_sub(&q->in_condition, 1);
  return lock_queue(q, until - now_ns());
}

/* --- waking, without being lost ourselves */

typedef struct {
  pthread_cond_t *cond;
  _Atomic int has_begun;
  _Atomic int parties; /* who still needs this: the broadcast, and who waits for it */
} broadcast;

static void *run_broadcast(void *given) {
  broadcast *b = given;
  atomic_store(&b->has_begun, 1);
  pthread_cond_broadcast(b->cond);
  if (atomic_fetch_sub(&b->parties, 1) == 1) free(b);
  return NULL;
}

/* Wait for a broadcast. On a busy machine a thread may take long to begin: that says nothing about the queue. */
static void await_broadcast(broadcast *b) {
  struct timespec pause = to_timespec(MS / 20);
  for (int64_t until = now_ns() + BEGIN_MS * MS; !atomic_load(&b->has_begun) && now_ns() < until;) nanosleep(&pause, NULL);
  for (int64_t until = now_ns() + PATIENCE_MS * MS; atomic_load(&b->parties) == 2 && now_ns() < until;)
    nanosleep(&pause, NULL);
}

/* Broadcast in a thread that may be lost. Returns whether it came back. */
static int try_broadcast(queue *q, pthread_cond_t *cond) {
  broadcast *b = malloc(sizeof *b);
  pthread_t thread;
  if (!b) return 1;
  b->cond = cond;
  atomic_init(&b->has_begun, 0);
  atomic_init(&b->parties, 2);
  if (pthread_create(&thread, NULL, run_broadcast, b)) {
    free(b);
    return 1; /* they wake up by themselves, at the end of their slice */
  }
  pthread_detach(thread);
  await_broadcast(b);
  int came_back = atomic_load(&b->parties) == 1;
  if (!came_back) atomic_store(&q->kept, 1); /* it may still touch the memory, so that stays mapped */
  if (atomic_fetch_sub(&b->parties, 1) == 1) free(b);
  return came_back;
}

/* Put what our threads hang in into a state that lets them out: the queue is not used any more. */
static void let_out(queue *q, pthread_cond_t *cond) {
  words in;
  if (!find_words(&in, cond)) return;
  atomic_store(kind_word(q), q->mutex_kind);
  if (!is_own_thread(atomic_load(owner_word(q)))) {
    atomic_store(owner_word(q), 0);
    atomic_store(lock_word(q), 0);
  }
  for (int group = 0; group < 2; group++) {
    if (in.references) atomic_store(in.references + group, 0);
    atomic_store(in.signals + group, SIGNALS);
  }
  atomic_fetch_and(in.own_lock, ~(uint32_t)OWN_LOCK);
  futex_word(lock_word(q), FUTEX_WAKE, INT_MAX, NULL);
  for (size_t at = 0; at < sizeof *cond / sizeof(uint32_t); at++)
    futex_word((_Atomic uint32_t *)cond + at, FUTEX_WAKE, INT_MAX, NULL);
}

/* Let our threads that sleep look again; if the queue is broken or closed, let them out. */
void end_sleep(queue *q, pthread_cond_t *cond) {
  int is_over = atomic_load(&q->broken) || !is_usable(q, cond) || !try_broadcast(q, cond);
  if (is_over) break_queue(q, "a process died inside a condition variable");
  struct timespec pause = to_timespec(MS / 2);
  for (int tries = 0; (is_over || atomic_load(&q->closed)) && atomic_load(&q->in_condition) && tries < 2000; tries++) {
    nanosleep(&pause, NULL);
    if (!is_over && tries < 2 * PATIENCE_MS) continue;
    atomic_store(&q->kept, 1);
    let_out(q, &q->shared->not_empty);
    let_out(q, &q->shared->not_full);
  }
}
