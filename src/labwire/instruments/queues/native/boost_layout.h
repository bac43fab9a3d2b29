/* boost::interprocess::message_queue in shared memory, as Boost 1.74 to 1.91 lay it out, and our handle on one.
 *
 * The structure is Boost's; the twelve bytes after the state word are padding that Boost never touches. There labwire's
 * own ends keep a futex word, so that two of them never need the condition variables: those of glibc do not survive the
 * death of a process that waits or signals, a futex does.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
  STATE_READY = 2,
  MARK = 0x4C415752, /* in `mark`: a labwire end sends here, and bumps `sent` with each message; in a message: it did */
  MAX_TID = 4 * 1024 * 1024,    /* PID_MAX_LIMIT of the kernel */
  NOT_RECOVERABLE = 0x7ffffffe, /* as the owner of a lock; one more is: inconsistent */
  ROBUST = 16,                  /* bit of a lock's kind */
  MAX_DEPTH = 65536,
  MAX_SIZE_BYTES = 1 << 24,
  TEXT_BYTES = 192,
};

typedef struct {
  _Atomic uint32_t state;
  _Atomic uint32_t sent;    /* bumped by labwire's senders, under the lock */
  _Atomic uint32_t mark;
  _Atomic uint32_t waiters; /* labwire's receivers that sleep on `sent`; too high after a death, which costs a call */
  uint64_t index;           /* offset pointer: what it points at, minus its own address */
  uint64_t depth;
  uint64_t size_bytes;
  uint64_t count;
  pthread_mutex_t mutex;
  pthread_cond_t not_empty;
  pthread_cond_t not_full;
  uint64_t first;
  uint64_t blocked_senders;
  uint64_t blocked_receivers;
  uint64_t slots[];         /* offset pointers to the messages: those in use begin at `first`, lowest priority first */
} shared_queue;

/* Read a word of shared memory once: what is checked is then what is used. */
#define READ(word) (*(volatile __typeof__(word) *)&(word))

typedef struct {
  uint64_t length_bytes;
  uint32_t priority;
  uint32_t sender;  /* padding to Boost; MARK: one of ours, which had written the whole message before it was seen */
  uint8_t data[];
} shared_message;

/* Ours, private to the process. Nothing that stands in shared memory is used before it was held against this. */
typedef struct {
  shared_queue *shared;
  uint64_t mapped_bytes;
  uint64_t depth, size_bytes, stride_bytes, messages_at, index;
  uint32_t header_bytes;     /* of a message's own header; its last four bytes are the payload's size */
  int32_t mutex_kind;
  uint32_t cond_flags;
  _Atomic int users;         /* calls under way, plus one until it is closed */
  _Atomic int closed, broken, wakes;
  _Atomic int in_condition;  /* our threads that are inside of glibc's condition variables */
  _Atomic int marked;        /* one of ours sends here, and stays with it */
  _Atomic int foreign;       /* a message came that was none of ours */
  _Atomic int kept;          /* never unmapped: glibc may still touch it */
  _Atomic int holder;        /* thread that held the lock for longer than we waited */
  char text[TEXT_BYTES];     /* why it is broken */
} queue;

enum { /* results of calls; 0 and above are good */
  TIMED_OUT = -1, /* empty, or full */
  WOKEN = -2,
  CLOSED = -3,
  BROKEN = -4,
  LOCKED = -5,    /* a living thread keeps the lock */
  TOO_LARGE = -6,
};

static inline int is_robust_lock(const queue *q) { return q->mutex_kind & ROBUST; }

/* condition.c */
void signal_one(queue *q, pthread_cond_t *cond);
int sleep_in(queue *q, pthread_cond_t *cond, int64_t until);
void end_sleep(queue *q, pthread_cond_t *cond);

/* robust_lock.c */
int lock_queue(queue *q, int64_t timeout_ns);
void unlock_queue(queue *q);
uint32_t tid_of_this_thread(void);
int is_own_thread(uint32_t tid);
_Atomic uint32_t *lock_word(queue *q);
_Atomic uint32_t *owner_word(queue *q);
_Atomic int32_t *kind_word(queue *q);
long futex_word(_Atomic uint32_t *word, int operation, uint32_t value, const struct timespec *timeout);
int64_t now_ns(void);
struct timespec to_timespec(int64_t ns);

/* checks.c */
int break_queue(queue *q, const char *format, ...) __attribute__((format(printf, 2, 3)));
int check_header(queue *q);
int check_position(queue *q);
int check_whole(queue *q);
shared_message *message_at(queue *q, uint64_t slot);
