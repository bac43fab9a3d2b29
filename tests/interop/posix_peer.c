/* A foreign peer on POSIX message queues, with nothing but the system's functions.
 *
 *   posix_peer echo REQUESTS RESPONSES create|open DEPTH   answer every COMMAND with a RESPONSE, end with SHUTDOWN
 *   posix_peer call REQUESTS RESPONSES create|open DEPTH   send ten COMMANDs, check each RESPONSE, send SHUTDOWN
 */
#include <fcntl.h>
#include <mqueue.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { COMMAND = 1, RESPONSE = 2, SHUTDOWN = 3 };

#pragma pack(push, 1)
typedef struct {
  uint32_t type;
  uint64_t id;
  uint32_t payload_size;
  char payload[8192];
} message;
#pragma pack(pop)
_Static_assert(sizeof(message) == 8208, "as the spec says");

static mqd_t get(const char *name, int create, long depth) {
  struct mq_attr attributes = {.mq_maxmsg = depth, .mq_msgsize = sizeof(message)};
  struct timespec pause = {.tv_nsec = 1000000};
  for (int tries = 0; tries < 20000; tries++, nanosleep(&pause, NULL)) {
    mqd_t queue = create ? mq_open(name, O_RDWR | O_CREAT, 0600, &attributes) : mq_open(name, O_RDWR);
    if (queue >= 0) return queue;
    if (create) break;
  }
  perror(name);
  exit(1);
}

static message receive(mqd_t from) {
  message got;
  ssize_t size = mq_receive(from, (char *)&got, sizeof got, NULL);
  if (size != sizeof got) {
    fprintf(stderr, "a message of %zd bytes\n", size);
    exit(2);
  }
  return got;
}

static void send_one(mqd_t to, uint32_t type, uint64_t id, const char *payload) {
  message given = {.type = type, .id = id, .payload_size = (uint32_t)strlen(payload)};
  memcpy(given.payload, payload, given.payload_size);
  if (mq_send(to, (const char *)&given, sizeof given, 0)) {
    perror("send");
    exit(3);
  }
}

int main(int count, char **values) {
  if (count != 6) return 64;
  int create = !strcmp(values[4], "create");
  mqd_t requests = get(values[2], create, atol(values[5])), responses = get(values[3], create, atol(values[5]));
  if (!strcmp(values[1], "echo")) {
    for (message got; (got = receive(requests)).type != SHUTDOWN;) {
      got.payload[got.payload_size] = 0;
      send_one(responses, RESPONSE, got.id, got.payload);
    }
  } else {
    for (uint64_t id = 1; id <= 10; id++) {
      char payload[64];
      snprintf(payload, sizeof payload, "{\"number\":%d}", (int)id);
      send_one(requests, COMMAND, id, payload);
      message got = receive(responses);
      if (got.type != RESPONSE || got.id != id || strcmp(got.payload, payload)) return 4;
    }
    send_one(requests, SHUTDOWN, 0, "");
  }
  if (create) {
    mq_unlink(values[2]);
    mq_unlink(values[3]);
  }
  return 0;
}
