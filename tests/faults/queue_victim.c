// Processes that do to a Boost queue what no process should, at the worst moment. Built with the queues' own C files.
//
//   queue_victim echo REQUESTS RESPONSES        send back what comes, until killed
//   queue_victim wait QUEUE                     receive, in the condition variable, until killed
//   queue_victim hold QUEUE                     take the lock, print a line, and wait to be killed
//   queue_victim nameless QUEUE                 the same, killed before the owner's name was written (plain lock)
//   queue_victim write QUEUE STEP               take the lock, do a part of putting a message in, print a line, wait
//   queue_victim signal QUEUE                   hold the own lock of the condition variable, print a line, wait
//   queue_victim leave QUEUE LATE_MS            close it while a receiver times out, in a system where a broadcast takes
//                                               LATE_MS to begin (above 0) or, having begun, to touch it (below 0).
//                                               Prints whether the queue was taken for broken.
//   queue_victim scribble SEED COUNT LIVE       COUNT processes that call on a queue with random bytes in its header;
//                                               LIVE 1: written while threads wait in it; 2: again and again while
//                                               they use it, both ends being ours. Prints how they ended.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boost_layout.h"

int lw_boost_map(queue *, int, uint64_t);
int lw_boost_format(queue *, uint64_t, uint64_t, int);
int lw_boost_learn(queue *, uint32_t, int);
int lw_boost_send(queue *, const uint8_t *, uint32_t, uint32_t, int64_t);
int lw_boost_receive(queue *, uint8_t *, int64_t);
void lw_boost_wake(queue *);
void lw_boost_close(queue *);
uint64_t lw_boost_file_bytes(uint64_t, uint64_t);

enum { HEADER_BYTES = 16, SIZE_BYTES = 8208, DEPTH = 100, MS = 1000000, HANG_S = 20, AGAIN = 2, AGAIN_NS = 20 * MS };

static void open_queue(queue *q, const char *name) {
  char path[256];
  snprintf(path, sizeof path, "/dev/shm/%s", name);
  int fd = open(path, O_RDWR);
  if (fd < 0 || lw_boost_map(q, fd, lseek(fd, 0, SEEK_END)) || lw_boost_learn(q, HEADER_BYTES, 0)) {
    fprintf(stderr, "%s: %s %s\n", path, strerror(errno), q->text);
    exit(1);
  }
  close(fd);
}

static void ready(void) {
  puts("ready");
  fflush(stdout);
}

static void wait_for_death(void) {
  ready();
  for (;;) pause();
}

static void echo(const char *requests, const char *responses) {
  queue in, out;
  uint8_t buffer[SIZE_BYTES];
  open_queue(&in, requests);
  open_queue(&out, responses);
  ready();
  for (;;) {
    int size = lw_boost_receive(&in, buffer, 100 * MS);
    if (size > 0) lw_boost_send(&out, buffer, (uint32_t)size, 0, 1000LL * MS);
  }
}

// What a sender does, up to a step: 1 moved `first`; 2 has written the message; 3 counted it; 4 is rotating the index.
static void put_partly(queue *q, int step) {
  shared_queue *s = q->shared;
  uint64_t first = (s->first ? s->first : q->depth) - 1;
  shared_message *message = message_at(q, first);
  if (step >= 2) {
    memset(message->data, 0, HEADER_BYTES);
    message->data[0] = 2;
    message->length_bytes = q->size_bytes;
  }
  s->first = first;
  if (step >= 3) s->count++;
  if (step >= 4) s->slots[first] = s->slots[(first + 1) % q->depth] + sizeof(uint64_t);
}

static void hold(const char *name, int step) {
  queue q;
  open_queue(&q, name);
  if (lock_queue(&q, 1000LL * MS)) exit(2);
  if (step) put_partly(&q, step);
  wait_for_death();
}

static uint32_t *words_of(pthread_mutex_t *mutex) { return (uint32_t *)mutex; }

static int victim(int count, char **values) {
  const char *mode = values[1], *name = values[2];
  queue q;
  uint8_t buffer[SIZE_BYTES];
  if (!strcmp(mode, "echo") && count == 4) echo(name, values[3]);
  if (!strcmp(mode, "hold")) hold(name, 0);
  if (!strcmp(mode, "write") && count == 4) hold(name, atoi(values[3]));
  open_queue(&q, name);
  if (!strcmp(mode, "wait")) {
    atomic_store(&q.foreign, 1);
    ready();
    for (;;) lw_boost_receive(&q, buffer, 1000LL * MS);
  }
  if (!strcmp(mode, "nameless")) {
    if (lock_queue(&q, 1000LL * MS)) return 2;
    words_of(&q.shared->mutex)[2] = 0;
    wait_for_death();
  }
  if (!strcmp(mode, "signal")) {
    ((uint32_t *)&q.shared->not_empty)[8] |= 2;  // glibc 2.25 to 2.40: locked, with waiters
    wait_for_death();
  }
  return 64;
}

// --- a broadcast that comes late

static int late_ms;
void __real_pthread_cond_broadcast(pthread_cond_t *);
int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

typedef struct {
  void *(*run)(void *);
  void *given;
} late;

static void *run_late(void *at) {
  late one = *(late *)at;
  free(at);
  usleep((useconds_t)late_ms * 1000);
  return one.run(one.given);
}

// The linker puts these in the place of glibc's.
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *given) {
  if (late_ms <= 0) return __real_pthread_create(thread, how, run, given);
  late *one = malloc(sizeof *one);
  *one = (late){run, given};
  return __real_pthread_create(thread, how, run_late, one);
}

void __wrap_pthread_cond_broadcast(pthread_cond_t *cond) {
  if (late_ms < 0) usleep((useconds_t)-late_ms * 1000);
  __real_pthread_cond_broadcast(cond);
}

static void *receive_once(void *at) {
  uint8_t buffer[SIZE_BYTES];
  lw_boost_receive(at, buffer, 10 * MS);
  return NULL;
}

static int leave_early(const char *name, int ms) {
  queue q;
  pthread_t receiver;
  open_queue(&q, name);
  atomic_store(&q.foreign, 1);
  pthread_create(&receiver, NULL, receive_once, &q);
  while (!atomic_load(&q.in_condition)) usleep(100);
  late_ms = ms;
  lw_boost_wake(&q);
  int is_broken = atomic_load(&q.broken);
  lw_boost_close(&q);
  pthread_join(receiver, NULL);
  usleep(3 * 1000 * (useconds_t)abs(ms));  // until the broadcast has touched whatever is there
  puts(is_broken ? "broken" : "whole");
  return 0;
}

// --- random bytes

static uint64_t rng_state;

static uint64_t rng(void) {  // splitmix64
  uint64_t z = rng_state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

static void scribble(queue *q) {
  uint64_t end = sizeof(shared_queue) + (rng() % 2 ? 8 * DEPTH : 0), at = rng() % end, length = 1 + rng() % 64;
  if (rng() % 4 == 0) at = 0, length = end;  // all of it
  for (; length && at < end; length--, at++) ((volatile uint8_t *)q->shared)[at] = (uint8_t)rng();
}

static _Atomic int is_enough;

// Only in the words of the lock, and put back at once: so it is seldom found out before it is used.
static void *scribble_on(void *at) {
  static const uint32_t values[] = {0, 1, 2, 16, 128, 144, 0x80000000, 0x40000000, 0x7fffffff, 0xffffffff};
  volatile uint32_t *lock = words_of(&((shared_queue *)at)->mutex);
  uint64_t state = (uint64_t)getpid();
  while (!atomic_load(&is_enough)) {
    state = state * 6364136223846793005 + 1442695040888963407;
    volatile uint32_t *word = lock + (state >> 32) % 10;
    uint32_t before = *word;
    *word = values[(state >> 40) % 10];
    *word = before;
  }
  return NULL;
}

static void *receive_some(void *at) {
  uint8_t buffer[SIZE_BYTES];
  int result;
  do result = lw_boost_receive(at, buffer, 100 * MS);
  while (result >= 0 || result == TIMED_OUT || result == LOCKED);
  return NULL;
}

typedef struct {
  queue *q;
  sem_t done;
} supervised;

// A supervisor that hears of the worker's death when a call hangs, and closes the queue.
static void *supervise(void *at) {
  supervised *s = at;
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += 300 * MS;
  if (until.tv_nsec >= 1000 * MS) until.tv_sec++, until.tv_nsec -= 1000 * MS;
  while (sem_timedwait(&s->done, &until) && errno == EINTR) continue;
  lw_boost_wake(s->q);
  lw_boost_close(s->q);
  return NULL;
}

static void one_trial(int is_live) {
  queue q;
  supervised s = {.q = &q};
  uint8_t message[64] = {1}, buffer[SIZE_BYTES];
  pthread_t threads[2], supervisor;
  int fd = memfd_create("scribbled", 0), is_ours = is_live == AGAIN || rng() % 2;
  uint64_t bytes = lw_boost_file_bytes(DEPTH, SIZE_BYTES);
  if (fd < 0 || ftruncate(fd, (off_t)bytes) || lw_boost_map(&q, fd, bytes)) _exit(3);
  if (lw_boost_format(&q, DEPTH, SIZE_BYTES, rng() % 2) || lw_boost_learn(&q, HEADER_BYTES, is_ours)) _exit(3);
  alarm(HANG_S);
  sem_init(&s.done, 0, 0);
  pthread_create(&supervisor, NULL, supervise, &s);
  if (is_live) {
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, receive_some, &q);
    usleep((useconds_t)(rng() % 400));
  } else {
    for (uint64_t left = rng() % (DEPTH + 1); left; left--) lw_boost_send(&q, message, sizeof message, rng() % 3, 0);
  }
  if (is_live == AGAIN) {
    pthread_t scribbler;
    void *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);  // outlives what the queue maps
    if (mapped == MAP_FAILED) _exit(3);
    pthread_create(&scribbler, NULL, scribble_on, mapped);
    for (int64_t until = now_ns() + AGAIN_NS; now_ns() < until && !atomic_load(&q.broken); sched_yield())
      lw_boost_send(&q, message, sizeof message, 0, 0);
    atomic_store(&is_enough, 1);
    pthread_join(scribbler, NULL);
  } else {
    scribble(&q);
  }
  lw_boost_send(&q, message, sizeof message, rng() % 3, 30 * MS);
  if (!is_live) lw_boost_receive(&q, buffer, 30 * MS);
  sem_post(&s.done);
  pthread_join(supervisor, NULL);
  for (int i = 0; is_live && i < 2; i++) pthread_join(threads[i], NULL);
  _exit(0);
}

static int scribble_trials(uint64_t seed, long count, int is_live) {
  long ended[128] = {0};
  for (long at = 0; at < count; at++) {
    rng_state = seed * 1000003 + (uint64_t)at;
    pid_t pid = fork();
    if (pid == 0) one_trial(is_live);
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) return 1;
    int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    ended[signal]++;
    if (signal || WEXITSTATUS(status)) fprintf(stderr, "trial %ld: status %#x\n", at, status);
  }
  printf("%ld %ld %ld %ld %ld\n", ended[0], ended[SIGALRM], ended[SIGABRT], ended[SIGSEGV], ended[SIGBUS]);
  return 0;
}

int main(int count, char **values) {
  if (count == 5 && !strcmp(values[1], "scribble"))
    return scribble_trials(strtoull(values[2], NULL, 10), atol(values[3]), atoi(values[4]));
  if (count == 4 && !strcmp(values[1], "leave")) return leave_early(values[2], atoi(values[3]));
  return count >= 3 ? victim(count, values) : 64;
}
