/* What stands in the shared memory of a Boost queue, held against what we know: nothing else of it is used. */
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>

#include "boost_layout.h"

enum { MAX_BLOCKED = 100000 };

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

/* The words that never change, and what others may do to the lock. */
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
    uint32_t tid = word & FUTEX_TID_MASK;
    if (tid > MAX_TID || (word && !tid && !(word & FUTEX_OWNER_DIED)))
      return break_queue(q, "its lock holds %#x, which is no thread", word);
  } else if (word > 2) {
    return break_queue(q, "its lock holds %#x", word);
  }
  if (owner > MAX_TID && owner < NOT_RECOVERABLE) return break_queue(q, "the owner of its lock is %#x, no thread", owner);
  if (READ(s->blocked_senders) > MAX_BLOCKED || READ(s->blocked_receivers) > MAX_BLOCKED)
    return break_queue(q, "it counts %llu senders and %llu receivers that wait", (long long)s->blocked_senders,
                       (long long)s->blocked_receivers);
  if (atomic_load(&s->mark) == MARK)
    atomic_store_explicit(&q->marked, 1, memory_order_relaxed);
  else if (atomic_load_explicit(&q->marked, memory_order_relaxed))
    return break_queue(q, "the mark of its sender was overwritten");
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
int check_whole(queue *q) {
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
